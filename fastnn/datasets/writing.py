"""Atomic writing of files."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Create a folder that only this user can access, unless it exists; return its path."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, contents: bytes) -> None:
    """Write a file completely or not at all, even if the power fails.

    After an error (no space, a disk error, Ctrl-C) an existing file of that name is unchanged, and
    no temporary file remains.

    Parameters
    ----------
    path : Path
        Path of the file; its folder is created if necessary.
    contents : bytes
        Contents of the file.

    Raises
    ------
    OSError
        If the file cannot be written; the error contains its path.

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
    """Flush the entries of a folder to disk, if the file system supports this."""
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
