# How the threads of a team divide the units of a layer.

cdef extern from "threads.h" nogil:
    void barrier(int n_threads, int64_t *sync) noexcept
    bint assemble(int n_threads, int64_t *sync) noexcept
    int64_t take_ticket(int64_t *sync) noexcept
    bint claim(int64_t *claimed, int64_t turn) noexcept

cdef enum:
    UNITS = 48  # whole tiles of packed products; and what BLAS products are divided into


cdef inline Team alone() noexcept nogil:
    """A team of one thread."""
    return Team(0, 1, NULL, 0, 0)


cdef inline void meet(Team *team) noexcept nogil:
    """Barrier."""
    if team.n_threads > 1:
        barrier(<int> team.n_threads, team.sync)


cdef inline Size share(Size n, Size line, Size thread, Size n_threads) noexcept nogil:
    """Where a thread's share of n things begins; shares are whole multiples of ``line``."""
    if n_threads == 1:
        return thread * n
    return smaller(thread * ((n + line - 1) // line) // n_threads * line, n)


cdef inline bint take_piece(Team *team, Size n, Size line, Size *first, Size *last) noexcept nogil:
    """The next ``first`` to ``last`` of n things that no thread has, or False if none is left.

    Whichever thread is ready takes one, since cores are not equally fast, nor always there. Pieces
    get smaller towards the end, down to ``line`` things. Before the first one ``last`` is zero;
    before the first of other things the team must have met.
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
            team.tickets += piece + team.n_threads  # each thread asks once in vain
            return False
        size = (n - first[0] + 2 * team.n_threads - 1) // (2 * team.n_threads)
        last[0] = first[0] + (size + line - 1) // line * line
        # the rest goes with the last piece: BLAS may take other loops for a small one
        if last[0] + smaller(line, UNITS) > n:
            last[0] = n
    return True
