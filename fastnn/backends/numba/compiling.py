"""How functions are compiled.

``public`` functions are called from Python, with arrays; all others are called by compiled code
only, with pointers:

| decorator | for |
|---|---|
| ``inner`` | most functions |
| ``apart`` | functions that a small network never calls; see :class:`_NotInlined` |
| ``distinct`` | functions no two of whose pointers overlap |
| ``maths`` | elementary functions, whose sums must keep their order |
"""

from __future__ import annotations

import gc
import inspect
from typing import Any

from llvmlite.binding import Linkage
from numba import njit
from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompilerBase
from numba.core.compiler_machinery import PassManager
from numba.extending import intrinsic

# The compiler may reorder sums and turn divisions into products, but not forget NaN.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}
# Reordering would undo the two-part reduction of arguments.
FASTMATH_MATHS = {"contract", "nsz"}


# Left to itself Numba optimises each function together with all that it calls, and makes machine
# code of it, at every level of calls; but what runs is the code of the public functions. So the
# others are only translated, by the passes that such code needs (it has no closures, generators or
# array expressions), and linked and optimised where they end up. A test looks for the private names
# of Numba that are overridden here.


class _Translated(JITCodeLibrary):
    """LLVM code of one function: not linked, not optimised, not made machine code."""

    def add_linking_library(self, library):
        self._linking_libraries.append(library)

    def _optimize_functions(self, ll_module):
        pass

    def finalize(self):
        self._finalized = True

    def _get_module_for_linking(self):
        """The code of this function and of all that it needs, for a caller that is optimised."""
        if self._shared_module is None:
            module = self._final_module.clone()
            for library in self._needed({}):
                translated = isinstance(library, _Translated)
                other = library._final_module if translated else library._get_module_for_linking()
                module.link_in(other, preserve=True)
            for function in module.functions:
                if not function.is_declaration and function.linkage == Linkage.external:
                    function.linkage = Linkage.linkonce_odr
            self._shared_module = module
        return self._shared_module

    def _needed(self, found):
        """Libraries that this one needs, in the order found (the keys of a dictionary)."""
        for library in self._linking_libraries:
            if library not in found and library is not self:
                found[library] = None
                if isinstance(library, _Translated):
                    library._needed(found)
        return found

    def get_pointer_to_function(self, name):
        return 0

    @property
    def codegen(self):
        return self  # of which only set_env is asked

    def set_env(self, env_name, env):
        """The function's environment would be written into its machine code."""


class _NotInlined(_Translated):
    """Code that stays a function of its own.

    Inlined into a loop over layers, its constants are loaded before the loop even where it is never
    called: dropout's took a tenth of the step of a 2-3-2 network.
    """

    def add_ir_module(self, module):
        for function in module.functions:
            if not function.is_declaration:
                function.attributes.add("noinline")
        super().add_ir_module(module)


class _Public(Compiler):
    """Numba's compiler for functions that Python calls."""

    def compile_extra(self, func):
        # 100,000s of objects that live until the end: a tenth of the time went to look for cycles
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if collects:
                gc.enable()


class _Inner(CompilerBase):
    """Numba's compiler for functions that only compiled functions call."""

    passes = (
        untyped_passes.TranslateByteCode,
        untyped_passes.FixupArgs,
        untyped_passes.IRProcessing,
        untyped_passes.GenericRewrites,
        untyped_passes.ReconstructSSA,
        typed_passes.NopythonTypeInference,
        typed_passes.PreLowerStripPhis,
        typed_passes.IRLegalization,
        typed_passes.AnnotateTypes,
        typed_passes.NativeLowering,
        typed_passes.NoPythonBackend,
    )

    library = _Translated

    def define_pipelines(self):
        name, codegen = self.state.func_id.func_qualname, self.state.targetctx.codegen()
        self.state.library = self.library(codegen, name)
        manager = PassManager("inner")
        for one in self.passes:
            manager.add_pass(one, one.name())
        manager.finalize()
        return [manager]


class _Distinct(_Inner):
    """The pointers that a function gets do not overlap."""

    def define_pipelines(self):
        self.state.flags.noalias = True
        return super().define_pipelines()


class _Apart(_Inner):
    library = _NotInlined


_common: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_inner = _common | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner = njit(fastmath=FASTMATH, pipeline_class=_Inner, **_inner)
apart = njit(fastmath=FASTMATH, pipeline_class=_Apart, **_inner)
distinct = njit(fastmath=FASTMATH, pipeline_class=_Distinct, **_inner)
maths = njit(fastmath=FASTMATH_MATHS, pipeline_class=_Inner, **_inner)


def public(function):
    """Compile a function that Python calls, on its first call; later processes load the code."""
    dispatcher = njit(fastmath=FASTMATH, pipeline_class=_Public, **_common)(function)
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
