"""Atomic writing of files."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

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
    new, failed = Replacement(path), True
    try:
        with new.named_errors(), new.open() as file:
            file.write(contents)
            if new.is_regular:
                file.flush()
                os.fsync(file.fileno())
        failed = False
    finally:
        new.end(failed)


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


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Context in which no other process may write into a folder in this context.

    The lock is one of the system on the folder itself, which ends with the process. Where folders
    cannot be locked (Windows, some network file systems), nothing is done.

    Raises
    ------
    BlockingIOError
        If another process, or this one, is writing there.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = "another fastnn is writing into this folder"
            raise BlockingIOError(errno.EWOULDBLOCK, text, str(folder)) from None
        except OSError:  # not supported by the file system
            pass
        yield
    finally:
        os.close(number)


class Replacement:
    """A temporary file that takes the place of a file when it is complete.

    It is in the folder of the file, which is created if necessary. For a device or a pipe there is
    no temporary file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    written : Path
        The file to write.
    is_regular : bool
        Whether ``path`` is, or becomes, a regular file.

    Raises
    ------
    OSError
        If the file is a folder, or is write-protected.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(
                errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)
            ) from None
        mode = _existing_mode(path)
        self.is_regular = mode is None or stat.S_ISREG(mode)
        self._permissions = None if mode is None else stat.S_IMODE(mode)
        self._target = self.written = path
        if self.is_regular:
            self._target = Path(os.path.realpath(path))  # a symbolic link is kept
            name = temporary_name(self._target.name)
            unique = f"{os.getpid()}-{os.urandom(4).hex()}"
            self.written = self._target.with_name(f"{name}.{unique}.tmp")

    def open(self) -> BinaryIO:
        """Create the temporary file, which nobody may read who could not read the earlier one."""
        if not self.is_regular:
            return open(self.written, "wb")
        permissions = 0o666 if self._permissions is None else self._permissions
        return open(
            self.written, "xb", opener=lambda name, flags: os.open(name, flags, permissions)
        )

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Context in which errors of the system are raised with the path of the file."""
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(error.errno, os.strerror(error.errno), str(self.path)) from None

    def end(self, failed: bool) -> None:
        """Put the temporary file in its place, or remove it."""
        if not self.is_regular:
            return
        try:
            if not failed:
                if self._permissions is not None:
                    os.chmod(self.written, self._permissions)  # umask took some of them away
                with self.named_errors():
                    os.replace(self.written, self._target)
                    _sync_folder(self._target.parent)
        finally:
            with suppress(OSError):  # the folder may be read-only
                self.written.unlink()


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


def remove_left_over(folder: Path, name: str | None = None) -> None:
    """Remove temporary files of processes that were killed while writing.

    Parameters
    ----------
    folder : Path
    name : str, optional
        Name of the file that was written; default: any file of the folder.
    """
    if os.name == "nt":
        return
    first = r"\..+" if name is None else re.escape(temporary_name(name))
    pattern = re.compile(rf"{first}\.(\d+)-[0-9a-f]+\.tmp", re.DOTALL)
    for other in folder.iterdir():
        match = pattern.fullmatch(other.name)
        if match is None:
            continue
        try:
            os.kill(int(match[1]), 0)
        except ProcessLookupError:
            with suppress(OSError):
                other.unlink()
        except (OSError, OverflowError):  # the process is alive and belongs to another user
            pass
