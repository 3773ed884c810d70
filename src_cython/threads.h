/* How the threads of a team wait for each other and distribute work.
 *
 * They share SYNC_SIZE integers: [0] and [1] are the barrier's, [2] counts tickets, [SYNC_ABORT] is
 * set by Python where a thread of the team will never come, from [8] on
 * stand the losses of the groups of blocks, behind them who has claimed each group.
 */
#ifndef FASTNN_THREADS_H
#define FASTNN_THREADS_H

#include "platform.h"

#if defined(_WIN32)
#include <windows.h>
#define SLEEP_BRIEFLY() Sleep(0)
#else
#include <time.h>
/* Not sched_yield: where another program has one of the cores, both threads may be on the other,
 * and Linux lets the one that yields go on for milliseconds. */
#define SLEEP_BRIEFLY() nanosleep(&(struct timespec){0, 10000}, NULL)
#endif

#if defined(__GNUC__)
#define ATOMIC_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define ATOMIC_STORE(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)
#define ATOMIC_ADD(p, value) __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL)
#define ATOMIC_REPLACE(p, old, value)                                                             \
    __atomic_compare_exchange_n(p, &(int64_t){old}, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else
#define ATOMIC_LOAD(p) _InterlockedOr64((volatile __int64 *)(p), 0)
#define ATOMIC_STORE(p, value) _InterlockedExchange64((volatile __int64 *)(p), value)
#define ATOMIC_ADD(p, value) _InterlockedExchangeAdd64((volatile __int64 *)(p), value)
#define ATOMIC_REPLACE(p, old, value)                                                             \
    (_InterlockedCompareExchange64((volatile __int64 *)(p), value, old) == (old))
#endif

INLINE void pause_processor(void)
{
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Turns of a barrier's loop before the thread sleeps: about as long as waking up takes. */
#define SPINS 10000

/* Wait for all threads: sync[0] counts those that have arrived, sync[1] how often all had. False if
 * one of them will not come, which is looked at if `at_start`: no Python runs later, so that nothing
 * can keep a thread away. */
INLINE int wait_for_all(int n_threads, int64_t *sync, const int at_start)
{
    int64_t turn = ATOMIC_LOAD(sync + 1);
    if (ATOMIC_ADD(sync, 1) == n_threads - 1) {
        ATOMIC_STORE(sync, 0);
        ATOMIC_STORE(sync + 1, turn + 1);
        return 1;
    }
    for (int spins = 0; ATOMIC_LOAD(sync + 1) == turn; spins++) {
        if (at_start && ATOMIC_LOAD(sync + SYNC_ABORT))
            return 0;
        if (spins < SPINS)
            pause_processor();
        else
            SLEEP_BRIEFLY();
    }
    return 1;
}

FUNCTION void barrier(int n_threads, int64_t *sync) { wait_for_all(n_threads, sync, 0); }

FUNCTION int assemble(int n_threads, int64_t *sync) { return wait_for_all(n_threads, sync, 1); }

/* The next ticket; no two threads get the same. */
FUNCTION int64_t take_ticket(int64_t *sync) { return ATOMIC_ADD(sync + 2, 1); }

/* Claim a group of blocks for the step `turn`; false if another thread has. *claimed is the last
 * step in which a thread had it, plus 1. */
FUNCTION int claim(int64_t *claimed, int64_t turn)
{
    const int64_t last = ATOMIC_LOAD(claimed);
    return last <= turn && ATOMIC_REPLACE(claimed, last, turn + 1);
}

#endif
