"""Check that enough memory is available before a call allocates it.

Linux grants allocations beyond the available memory and kills the process when it uses them.
"""

from __future__ import annotations

import os
from contextlib import suppress

_FREE = "/proc/meminfo"
_CONTAINER = "/sys/fs/cgroup/memory."  # prefix of the paths inside a container
SMALL = 1 << 28  # bytes; smaller amounts are not checked
_MOST = 1 << 60  # bytes assumed to be free if the system does not tell


def available() -> int:
    """Available memory in bytes: minimum over machine, container and process limit (ulimit -v)."""
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
    """Read a number from a file; ValueError for the word "max"."""
    with open(path) as file:
        return int(file.read())


def check_memory(what: str, n_bytes: int) -> None:
    """Raise unless ``n_bytes`` are available.

    Parameters
    ----------
    what : str
        What needs the memory, with the name of the argument, for the error message.
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
