"""How functions are compiled, and the cache of compiled code on disk.

``public`` functions are called from Python, with arrays; all others are called by compiled code
only, with pointers:

| decorator | for |
|---|---|
| ``inner`` | small functions that have loops of their own |
| ``distinct`` | the same, where no two of the pointers overlap |
| ``maths`` | elementary functions, whose sums must keep their order |
| ``glue`` | functions that mostly call others |
"""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.compiler import Compiler
from numba.extending import intrinsic

# The compiler may reorder sums and turn divisions into products, but not forget NaN.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}
# Reordering would undo the two-part reduction of arguments.
FASTMATH_MATHS = {"contract", "nsz"}


# --- compiling ------------------------------------------------------------------
#
# Numba optimises each function together with all that it calls, and makes machine code of it, at
# every level of calls; what runs is the code of the public functions. The classes below leave out
# what nothing uses. They set private attributes of Numba's libraries of code, which a test looks
# for: without these, compiling would merely take longer.


class _Inner(Compiler):
    """Numba's compiler for functions that only compiled functions call: no machine code."""

    def define_pipelines(self):
        state = self.state
        library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        library.enable_object_caching()
        if all(hasattr(library, name) for name in LIBRARY_NAMES):
            library._codegen = _NoMachineCode(library._codegen)
            library._finalize_final_module = lambda: setattr(library, "_finalized", True)
            # the address of a wrapper that Python could call
            library.get_pointer_to_function = lambda name: 0
        state.library = library
        return super().define_pipelines()


LIBRARY_NAMES = (
    "_codegen",
    "_finalized",
    "_finalize_final_module",
    "_optimize_final_module",
    "get_pointer_to_function",
)


class _NoMachineCode:
    """Numba's code generator for a function that has no machine code of its own."""

    def __init__(self, codegen):
        self._codegen = codegen

    def __getattr__(self, name):
        return getattr(self._codegen, name)

    def set_env(self, name, env):
        """Nothing: the function's environment would be written into its machine code."""


class _Distinct(_Inner):
    """The pointers that a function gets do not overlap."""

    def define_pipelines(self):
        self.state.flags.noalias = True
        return super().define_pipelines()


class _Glue(_Inner):
    """Not optimised before the public function that it becomes part of."""

    def define_pipelines(self):
        pipelines = super().define_pipelines()
        self.state.library._optimize_final_module = lambda: None
        return pipelines


_common = {"nogil": True, "error_model": "numpy"}
_inner = _common | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner = njit(fastmath=FASTMATH, pipeline_class=_Inner, **_inner)
distinct = njit(fastmath=FASTMATH, pipeline_class=_Distinct, **_inner)
glue = njit(fastmath=FASTMATH, pipeline_class=_Glue, **_inner)
maths = njit(fastmath=FASTMATH_MATHS, pipeline_class=_Inner, **_inner)


def public(function):
    """Compile a function that Python calls, on its first call; later processes load the code."""
    dispatcher = njit(fastmath=FASTMATH, **_common)(function)
    cache = cache_of(function)
    if cache is not None:
        dispatcher._cache = cache
    return dispatcher


def emitted(signature_of):
    """Decorator: what a function of LLVM's builder and values emits becomes a compiled function.

    ``signature_of`` gives Numba's signature for the types of the arguments.
    """

    def decorate(emit):
        def define(typingctx, *arguments):
            def codegen(context, builder, signature, args):
                result = emit(builder, *args)
                return context.get_dummy_value() if result is None else result

            return signature_of(*arguments), codegen

        define.__name__, define.__signature__ = emit.__name__, inspect.signature(emit)
        return intrinsic(define)

    return decorate


# --- cache ----------------------------------------------------------------------


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


def cache_of(function):
    """Cache of a public function; None where stale code could not be told from fresh.

    That is: the sources cannot be read, Numba has changed, or no folder can be written to. The
    function is then compiled in each process.
    """
    try:
        cache = _Cache(function)
        stamped = cache._cache_file._source_stamp[-1] == _Implementation.stamp
    except Exception:  # whatever a change of Numba's private parts leads to
        return None
    return cache if stamped else None


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
