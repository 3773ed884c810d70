"""Memory that a call would need, against what there is: refused before anything is allocated.

Linux promises memory that it does not have, and ends the process that uses it.
"""

from __future__ import annotations

import os
from contextlib import suppress

_FREE = "/proc/meminfo"
_CONTAINER = "/sys/fs/cgroup/memory."  # as a container sees its limit
SMALL = 1 << 28  # bytes: less is not worth a look
_MOST = 1 << 60  # bytes, where nobody says how many there are


def available() -> int:
    """Bytes that are free: of the machine, of the process's container, of its limit (ulimit -v)."""
    free = [_MOST]
    with suppress(OSError, ValueError, IndexError):
        with open(_FREE) as file:
            lines = dict(line.split(":") for line in file)
        free.append(
            1024 * sum(int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
        )
    with suppress(OSError, ValueError):
        free.append(_number(f"{_CONTAINER}max") - _number(f"{_CONTAINER}current"))
    if len(free) == 1:  # macOS
        with suppress(OSError, ValueError, AttributeError):
            free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free.append(limit)
    return max(0, min(free))


def _number(path: str) -> int:
    """The number in a file; ValueError for the word max."""
    with open(path) as file:
        return int(file.read())


def check_memory(what: str, n_bytes: int) -> None:
    """Raise unless so many bytes are free.

    Parameters
    ----------
    what : str
        What needs them, with the argument's name.
    n_bytes : int

    Raises
    ------
    ValueError
    """
    if n_bytes <= SMALL:
        return
    free = available()
    if n_bytes > free:
        raise ValueError(f"{what} needs {n_bytes:,} bytes of memory; {free:,} are free")
