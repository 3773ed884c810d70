"""Disk cache of compiled code, which is invalidated if any source file changes."""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from pathlib import Path

from numba.core.caching import CompileResultCacheImpl, FunctionCache


def sources():
    """Return the files whose code or constants are part of the compiled code."""
    here = Path(__file__).parent
    shared = [here.parent / name for name in ("codes.py", "interface.py", "plan.py")]
    return sorted(here.glob("*.py")) + shared


def digest():
    """Return a digest of all sources; raise OSError if they are not files."""
    found = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        found.update(f"{path.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _make_private(path):
    """Restrict a cache folder to its owner, since who can write to it could replace the code.

    Folders next to the sources (``__pycache__``) are as safe as the sources and not changed.
    """
    if os.name == "nt" or Path(path).name == "__pycache__":
        return
    found = os.stat(path)
    if found.st_uid != os.geteuid():
        raise RuntimeError(f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o700)


class _Implementation(CompileResultCacheImpl):
    """Numba's cache implementation, with a source stamp that includes all sources.

    Numba itself checks only the file of the public function.
    """

    stamp = None

    def __init__(self, function):
        super().__init__(function)
        _make_private(self.locator.get_cache_path())
        if _Implementation.stamp is None:
            _Implementation.stamp = digest()
        own = self.locator.get_source_stamp()
        self.locator.get_source_stamp = lambda: (own, _Implementation.stamp)


class _Cache(FunctionCache):
    """A cache whose errors never make a call fail.

    Code that cannot be read is compiled; code that cannot be written is not cached.
    """

    _impl_class = _Implementation

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a truncated file, or one of another version or program
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn(error)
            self.disable()


def cache_of(function):
    """Return the cache of a public function; raise an error if stale code could not be detected.

    This happens if the sources cannot be read, if Numba's private API has changed, or if no folder
    is writable, as in a read-only installation without a home folder. The first time, a warning
    is issued too.
    """
    try:
        cache = _Cache(function)
        if cache._cache_file._source_stamp[-1] != _Implementation.stamp:
            raise RuntimeError("the stamp of the cache is not ours")
    except Exception as error:
        _warn(error)
        raise
    return cache


def folder():
    """Return the folder of the cache; None if compiled code cannot be cached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _Cache(folder)._cache_path
        except Exception:
            return None


_told = False


def _warn(error):
    """Warn once that compiled code is not cached."""
    global _told
    if not _told:
        _told = True
        reason = str(error)
        if "no locator available" in reason:
            reason = "there is no folder that it can write to"
        text = (
            f"Numba's compiled code is not kept ({reason}), so that every process compiles anew; "
            "set NUMBA_CACHE_DIR to a folder that can be written"
        )
        # shown as a single line, without a line of source code
        warnings.warn_explicit(text, UserWarning, "fastnn", 0)
