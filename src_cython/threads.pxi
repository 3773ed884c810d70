# Division of a layer's units between the threads of a team.

cdef extern from "threads.h" nogil:
    void barrier(int n_threads, int64_t *sync) noexcept
    bint assemble(int n_threads, int64_t *sync) noexcept
    int64_t take_ticket(int64_t *sync) noexcept
    bint claim(int64_t *claimed, int64_t turn) noexcept

cdef enum:
    UNITS = 48  # a multiple of the tiles of packed products; the pieces of BLAS products


cdef inline Team alone() noexcept nogil:
    """Return a team of one thread."""
    return Team(0, 1, NULL, 0, 0)


cdef inline void meet(Team *team) noexcept nogil:
    """Wait for all threads of the team at a barrier."""
    if team.n_threads > 1:
        barrier(<int> team.n_threads, team.sync)


cdef inline Size share(Size n, Size line, Size thread, Size n_threads) noexcept nogil:
    """Return the start of a thread's share of n items, a multiple of ``line`` (or n)."""
    if n_threads == 1:
        return thread * n
    return smaller(thread * ((n + line - 1) // line) // n_threads * line, n)


cdef inline bint take_piece(Team *team, Size n, Size line, Size *first, Size *last) noexcept nogil:
    """Take the next piece of n items, from ``first`` up to ``last``; False if none remains.

    Threads take pieces as they become free, since cores may differ in speed or be busy with other
    programs. Pieces get smaller towards the end, down to ``line`` items. The caller sets ``last``
    to zero before the first piece; between different sets of items, the team must meet.
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
        last[0] = first[0] + (size + line - 1) // line * line
        # the last piece includes the remainder: BLAS may use another kernel for a small piece
        if last[0] + smaller(line, UNITS) > n:
            last[0] = n
    return True
