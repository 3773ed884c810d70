"""Compiled code on disk, fresh only as long as all sources are what they were."""

from __future__ import annotations

import hashlib
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


class _Implementation(CompileResultCacheImpl):
    """Numba's, whose code is fresh only if all sources are as they were.

    Numba itself looks at the file of the public function alone.
    """

    stamp = None

    def __init__(self, function):
        super().__init__(function)
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
        except OSError:
            self.disable()


def cache_of(function):
    """Cache of a public function; an error where stale code could not be told from fresh.

    That is: the sources cannot be read, Numba has changed, or no folder can be written to.
    """
    cache = _Cache(function)
    if cache._cache_file._source_stamp[-1] != _Implementation.stamp:
        raise RuntimeError("the stamp of the cache is not ours")
    return cache
