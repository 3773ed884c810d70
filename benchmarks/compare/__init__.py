"""Today's tree against another revision, timed in turn: ``python -m benchmarks.compare BASE``.

BASE is a git revision, which is checked out and built below ``build/compare`` and kept there, or
the directory of a checkout that is built already. For each job and backend, both trees do the same
steps from the same weights, alternately (A B B A ...), in two processes of which one works at a
time. Each pair of turns gives one ratio of times, today / BASE. The processes are started three
times, since a process can be fast or slow by chance, e.g. by the addresses of its memory.

The table shows the median time of a step or call, the median of the ratios with its 95% confidence
interval (that of the sign test), and whether the results are equal bit by bit, else the relative
difference of the loss.

``--check`` fails a job if its whole interval is above the backend's tolerance. Where the true ratio
is just at the tolerance, this happens by chance in 2.5% of the cases at most; with fewer than six
pairs more often (``numba-cold`` has three: 12%). A job that cannot run fails too.

Exit status: 0; 1 if ``--check`` failed; 2 if nothing could be compared.
"""
