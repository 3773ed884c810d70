"""How functions are compiled.

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

import inspect

from numba import njit
from numba.core.compiler import Compiler
from numba.extending import intrinsic

# The compiler may reorder sums and turn divisions into products, but not forget NaN.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}
# Reordering would undo the two-part reduction of arguments.
FASTMATH_MATHS = {"contract", "nsz"}


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
    try:
        from fastnn.backends.numba.cache import cache_of

        dispatcher._cache = cache_of(function)
    except Exception:  # whatever a change of Numba's private parts leads to: each process compiles
        pass
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
