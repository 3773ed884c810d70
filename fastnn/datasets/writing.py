"""Atomic writing of files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LONGEST_NAME = 255  # bytes, in most file systems


def private_folder(path: Path) -> Path:
    """Create a folder that only this user can access, unless it exists; return its path."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, contents: bytes) -> None:
    """Write a file completely or not at all, even if the power fails.

    After an error (no space, a disk error, Ctrl-C) an existing file of that name is unchanged, and
    no temporary file remains. A new version of a file has the permissions of the earlier one; a
    symbolic link is kept, and the file that it points to is written. A device or a pipe is written
    directly.

    Parameters
    ----------
    path : Path
        Path of the file; its folder is created if necessary.
    contents : bytes
        Contents of the file.

    Raises
    ------
    OSError
        If the file cannot be written, or is write-protected; the error contains its path.

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
    try:
        mode = _existing_mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            with open(path, "wb") as file:
                file.write(contents)
        else:
            _replace(Path(os.path.realpath(path)), contents, mode)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


def _existing_mode(path: Path) -> int | None:
    """Type and permissions of a file; None if it does not exist.

    Raises
    ------
    OSError
        If it is a folder, or may not be written.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return mode


def _replace(path: Path, contents: bytes, mode: int | None) -> None:
    """Write a temporary file in the same folder, which then takes the place of the file."""
    temporary = path.with_name(
        f"{temporary_name(path.name)}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    )
    permissions = 0o666 if mode is None else stat.S_IMODE(mode)
    try:
        # From the start, nobody reads it who could not read the earlier one.
        with open(
            temporary, "xb", opener=lambda name, flags: os.open(name, flags, permissions)
        ) as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, permissions)  # also what umask forbids
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(name: str) -> str:
    """First part of the names of the temporary files for a file, short enough for the system."""
    longest = LONGEST_NAME - len(f"..{2**32}-{'f' * 8}.tmp")
    return "." + os.fsencode(name)[:longest].decode(errors="ignore")


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
