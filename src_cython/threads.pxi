# Division of a layer's units between the threads of a team.

cdef extern from "threads.h" nogil:
    void barrier_wait(int n_threads, int64_t *sync) noexcept
    bint start_barrier(int n_threads, int64_t *sync) noexcept
    int64_t take_ticket(int64_t *sync) noexcept
    bint claim(int64_t *claimed, int64_t iteration) noexcept

cdef enum:
    UNITS = 48  # a multiple of the tiles of packed products; the pieces of BLAS products


cdef inline Team single_thread() noexcept nogil:
    """Return a team of one thread."""
    return Team(0, 1, NULL, 0, 0)


cdef inline void barrier(Team *team) noexcept nogil:
    """Wait for all threads of the team at a barrier."""
    if team.n_threads > 1:
        barrier_wait(<int> team.n_threads, team.sync)


cdef inline Size share_start(Size n, Size grain, Size thread, Size n_threads) noexcept nogil:
    """Return the start of a thread's share of n items, a multiple of ``grain`` (or n)."""
    if n_threads == 1:
        return thread * n
    return minimum(thread * ((n + grain - 1) // grain) // n_threads * grain, n)


cdef inline bint take_piece(Team *team, Size n, Size grain, Size *first, Size *last) noexcept nogil:
    """Take the next piece of n items, from ``first`` up to ``last``; False if none remains.

    As OpenMP's guided schedule: threads take pieces as they become free, since cores may differ in
    speed or be busy with other programs, and the pieces get smaller towards the end, down to
    ``grain`` items. The caller sets ``last`` to zero before the first piece; between different sets
    of items, the team must pass a barrier.
    """
    cdef Size ticket, piece, size
    if team.n_threads == 1:
        first[0], last[0] = last[0], n
        return first[0] < n
    ticket = take_ticket(team.sync) - team.tickets
    last[0] = 0
    for piece in range(ticket + 1):
        first[0] = last[0]
        if first[0] >= n:
            team.tickets += piece + team.n_threads  # each thread takes one ticket too many
            return False
        size = (n - first[0] + 2 * team.n_threads - 1) // (2 * team.n_threads)
        last[0] = first[0] + (size + grain - 1) // grain * grain
        # the last piece includes the remainder: BLAS may use another kernel for a small piece
        if last[0] + minimum(grain, UNITS) > n:
            last[0] = n
    return True
