/* Synchronisation of a team of threads: barrier, tickets, claiming of work.
 *
 * The threads share SYNC_SIZE integers: [0] and [1] belong to the barrier, [2] counts tickets, and
 * Python sets [SYNC_ABORT] if a thread of the team will never arrive. From [8] on are the losses of
 * the groups of blocks (float64), then for each group the last step in which it was claimed.
 */
#ifndef FASTNN_THREADS_H
#define FASTNN_THREADS_H

#include "platform.h"

#if defined(_WIN32)
#include <windows.h>
#define SLEEP_BRIEFLY() Sleep(0)
#else
#include <time.h>
/* Not sched_yield: if another program uses one of the cores, both threads may be on the other, and
 * Linux may let the thread that yields continue for milliseconds. */
#define SLEEP_BRIEFLY() nanosleep(&(struct timespec){0, 10000}, NULL)
#endif

#if defined(__GNUC__)
#define ATOMIC_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define ATOMIC_STORE(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)
#define ATOMIC_FETCH_ADD(p, value) __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL)
#define ATOMIC_COMPARE_EXCHANGE(p, old, value)                                                    \
    __atomic_compare_exchange_n(p, &(int64_t){old}, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else
#define ATOMIC_LOAD(p) _InterlockedOr64((volatile __int64 *)(p), 0)
#define ATOMIC_STORE(p, value) _InterlockedExchange64((volatile __int64 *)(p), value)
#define ATOMIC_FETCH_ADD(p, value) _InterlockedExchangeAdd64((volatile __int64 *)(p), value)
#define ATOMIC_COMPARE_EXCHANGE(p, old, value)                                                    \
    (_InterlockedCompareExchange64((volatile __int64 *)(p), value, old) == (old))
#endif

INLINE void cpu_relax(void)
{
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Iterations of the barrier's loop before the thread sleeps: about the time of waking it up. */
#define SPIN_LIMIT 10000

/* Wait for all threads. sync[0] counts the threads that have arrived, sync[1] the completed
 * barriers. Returns false if a thread will not arrive. This is checked only if `at_start`: no
 * Python code runs between later barriers, so that nothing can stop a thread there. */
INLINE int wait_at_barrier(int n_threads, int64_t *sync, const int at_start)
{
    int64_t generation = ATOMIC_LOAD(sync + 1);
    if (ATOMIC_FETCH_ADD(sync, 1) == n_threads - 1) {
        ATOMIC_STORE(sync, 0);
        ATOMIC_STORE(sync + 1, generation + 1);
        return 1;
    }
    for (int spins = 0; ATOMIC_LOAD(sync + 1) == generation; spins++) {
        if (at_start && ATOMIC_LOAD(sync + SYNC_ABORT))
            return 0;
        if (spins < SPIN_LIMIT)
            cpu_relax();
        else
            SLEEP_BRIEFLY();
    }
    return 1;
}

NOINLINE void barrier_wait(int n_threads, int64_t *sync) { wait_at_barrier(n_threads, sync, 0); }

NOINLINE int start_barrier(int n_threads, int64_t *sync)
{
    return wait_at_barrier(n_threads, sync, 1);
}

/* Take the next ticket, a number that no other thread gets. */
NOINLINE int64_t take_ticket(int64_t *sync) { return ATOMIC_FETCH_ADD(sync + 2, 1); }

/* Claim a group of blocks for a step of the chunk; false if another thread has claimed it. *claimed
 * is the last step in which a thread claimed the group, plus 1. */
NOINLINE int claim(int64_t *claimed, int64_t iteration)
{
    const int64_t last = ATOMIC_LOAD(claimed);
    return last <= iteration && ATOMIC_COMPARE_EXCHANGE(claimed, last, iteration + 1);
}

#endif
