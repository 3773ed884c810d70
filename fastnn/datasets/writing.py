"""Files that are written in full or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def private_folder(path: Path) -> Path:
    """A folder for this user alone; made if it is not there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, contents: bytes) -> None:
    """Write a file that is there in full or not at all, after a loss of power too.

    Whatever goes wrong (no space, a fault of the disk, Ctrl-C), an earlier file of that name stays
    as it was, and nothing else is left.

    Parameters
    ----------
    path : Path
        Its folder is made if need be.
    contents : bytes
        What to write.

    Raises
    ------
    OSError
        With the name of the file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from fastnn.datasets import write_atomically
    >>> write_atomically(Path("notes.txt"), b"all of it, or nothing")
    >>> Path("notes.txt").read_text()
    'all of it, or nothing'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(
            errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)
        ) from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have the folder's entries on the disk, where the file system can do that."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(number)
