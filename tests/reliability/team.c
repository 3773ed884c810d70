/* A team of threads that does work in turns, with all that src_cython/threads.h has: test_team.py.
 *
 * Memory that is not atomic is written by the one who claimed it and read by all behind a barrier;
 * ThreadSanitizer tells whether the barrier orders that. Exit code 1: work was lost or done twice.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FASTNN_PLATFORM_H /* not needed here, nor the header that setup.py makes */
#define INLINE static inline __attribute__((unused))
#define NOINLINE static __attribute__((noinline, unused))
#include "threads.h"

enum { GROUPS = 5, PIECES = 7, MOST = 8 };
static int n_threads, steps, absent; /* absent: who does not come, or -1 */
static int64_t sync_[SYNC_SIZE];
static int64_t values[GROUPS], claims[GROUPS], pieces[PIECES];
static int64_t own_steps[MOST];
static int came[MOST];

static void expect(int64_t is, int64_t should, const char *what)
{
    if (is != should) {
        fprintf(stderr, "%s: %lld, not %lld\n", what, (long long)is, (long long)should);
        exit(1);
    }
}

static void one_step(int own, int64_t step, int64_t *tickets)
{
    own_steps[own] = step;
    for (int g = 0; g < GROUPS; g++)
        if (claim(sync_ + 8 + g, step)) {
            values[g] = 100 * step + g;
            claims[g]++;
        }
    barrier_wait(n_threads, sync_);
    for (int k = 0; k < n_threads; k++)
        expect(own_steps[k], step, "step of a thread");
    for (int g = 0; g < GROUPS; g++) {
        expect(values[g], 100 * step + g, "value of a group");
        expect(claims[g], step + 1, "claims of a group");
    }
    int64_t ticket;
    while ((ticket = take_ticket(sync_) - *tickets) < PIECES)
        pieces[ticket]++;
    *tickets += PIECES + n_threads; /* each asks once in vain */
    barrier_wait(n_threads, sync_);
    for (int k = 0; k < PIECES; k++)
        expect(pieces[k], step + 1, "turns of a piece");
    barrier_wait(n_threads, sync_);
}

static void *member(void *number)
{
    const int own = (int)(intptr_t)number;
    int64_t tickets = 0;
    if (own == absent) {
        ATOMIC_STORE(sync_ + SYNC_ABORT, 1);
        return NULL;
    }
    came[own] = start_barrier(n_threads, sync_);
    for (int64_t step = 0; came[own] && step < steps; step++)
        one_step(own, step, &tickets);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[MOST];
    n_threads = argc == 4 ? atoi(argv[1]) : 0;
    if (n_threads < 2 || n_threads > MOST)
        return 2;
    steps = atoi(argv[2]);
    absent = atoi(argv[3]);
    for (int k = 0; k < n_threads; k++)
        if (pthread_create(threads + k, NULL, member, (void *)(intptr_t)k))
            return 2;
    for (int k = 0; k < n_threads; k++)
        pthread_join(threads[k], NULL);
    for (int k = 0; k < n_threads; k++)
        expect(came[k], absent < 0, "came together");
    return 0;
}
