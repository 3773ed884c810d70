"""Compiled code on disk, fresh only as long as all sources are what they were."""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from pathlib import Path

from numba.core.caching import CompileResultCacheImpl, FunctionCache


def sources():
    """Files whose code or constants end up in the compiled code."""
    here = Path(__file__).parent
    shared = [here.parent / name for name in ("codes.py", "interface.py", "plan.py")]
    return sorted(here.glob("*.py")) + shared


def digest():
    """Digest of all sources; it raises OSError where these are not files."""
    found = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        found.update(f"{path.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _make_private(path):
    """Keep others out of a folder of compiled code, which whoever can write there could exchange.

    Folders beside the sources (``__pycache__``) are as safe as the sources.
    """
    if os.name == "nt" or Path(path).name == "__pycache__":
        return
    found = os.stat(path)
    if found.st_uid != os.geteuid():
        raise RuntimeError(f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o700)


class _Implementation(CompileResultCacheImpl):
    """Numba's, whose code is fresh only if all sources are as they were.

    Numba itself looks at the file of the public function alone.
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
    """A cache that never makes a call fail: what cannot be read is compiled, and not kept if it
    cannot be written."""

    _impl_class = _Implementation

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # files cut short, of another version, or not ours
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn(error)
            self.disable()


def cache_of(function):
    """Cache of a public function; an error where stale code could not be told from fresh.

    That is: the sources cannot be read, Numba has changed, or no folder can be written to, as in
    a read-only installation without a home. The first time there is a warning too.
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
    """Folder that compiled code is kept in; None where it cannot be kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _Cache(folder)._cache_path
        except Exception:
            return None


_told = False


def _warn(error):
    """Tell once that compiled code is not kept."""
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
        warnings.warn_explicit(text, UserWarning, "fastnn", 0)  # one line, without the source's
