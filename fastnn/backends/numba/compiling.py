"""Decorators that compile functions.

``public`` functions are called from Python, with arrays; all others are only called by compiled
code, with pointers:

| decorator | for |
|---|---|
| ``inner`` | most functions |
| ``noalias`` | functions whose pointers do not overlap |
| ``noinline``, ``noalias_noinline`` | the same, never inlined |
| ``optimized`` | functions that are optimised on their own before they are inlined |
| ``elementary`` | elementary functions, whose sums must not be reordered |
"""

from __future__ import annotations

import gc
import inspect
from typing import Any

from llvmlite import binding
from numba import njit
from numba.core import ir as numba_ir
from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompilerBase
from numba.core.compiler_machinery import AnalysisPass, PassManager, register_pass
from numba.extending import intrinsic

# The compiler may reorder sums and turn divisions into products, but must handle NaN and infinity.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}
# No reordering of sums: it would break the argument reduction with a two-part constant.
FASTMATH_ELEMENTARY = {"contract", "nsz"}


# By default Numba optimises each function together with all of its callees and generates machine
# code, at every level of the call tree, although only the machine code of the public functions
# runs. Here the other functions are only translated to LLVM code, with the passes that they need
# (they have no closures, generators or array expressions); the public functions link and optimise
# them. A test checks that the private names of Numba which are overridden here still exist.


class _UnlinkedLibrary(JITCodeLibrary):
    """LLVM code of one function, neither linked nor optimised nor compiled to machine code."""

    def add_linking_library(self, library):
        self._linking_libraries.append(library)

    def _optimize_functions(self, ll_module):
        pass

    def finalize(self):
        self._finalized = True

    def _get_module_for_linking(self):
        """Return the code of this function and of all its callees, to link into a public one."""
        if self._shared_module is None:
            module = self._final_module.clone()
            for library in self._dependencies({}):
                translated = isinstance(library, _UnlinkedLibrary)
                other = library._final_module if translated else library._get_module_for_linking()
                module.link_in(other, preserve=True)
            for function in module.functions:
                if not function.is_declaration and function.linkage == binding.Linkage.external:
                    function.linkage = binding.Linkage.linkonce_odr
            self._shared_module = module
        return self._shared_module

    def _dependencies(self, found):
        """Collect the libraries that this one needs, as keys of a dictionary, which keeps order."""
        for library in self._linking_libraries:
            if library not in found and library is not self:
                found[library] = None
                if isinstance(library, _UnlinkedLibrary):
                    library._dependencies(found)
        return found

    def get_pointer_to_function(self, name):
        return 0

    @property
    def codegen(self):
        return self  # Numba only calls its set_env

    def set_env(self, env_name, env):
        """Do nothing: there is no machine code into which to write the environment."""


class _NoInlineLibrary(_UnlinkedLibrary):
    """Code of a function that is not inlined.

    Besides the time to compile, this keeps rarely used code out of the loop over the layers: LLVM
    loads the constants of inlined code before the loop, even if it is never executed.
    """

    attribute = "noinline"

    def add_ir_module(self, module):
        for function in module.functions:
            if not function.is_declaration:
                function.attributes.add(self.attribute)
        super().add_ir_module(module)


class _AlwaysInlineLibrary(_NoInlineLibrary):
    """Code of a function that is always inlined: LLVM does not vectorise a loop with a call."""

    attribute = "alwaysinline"


class _PublicLibrary(JITCodeLibrary):
    """Code of a function that Python calls, with all of its callees.

    The callees are made internal, so that LLVM can remove their unused arguments and inline all
    that are called in one place. Compiling takes more time than in proportion to the size of a
    function: larger ones are therefore decorated with ``noinline``.
    """

    def _optimize_final_module(self):
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == binding.Linkage.linkonce_odr:
                function.linkage = binding.Linkage.internal
        super()._optimize_final_module()


class _PublicCompiler(Compiler):
    """Numba's compiler for functions that Python calls."""

    def define_pipelines(self):
        name, codegen = self.state.func_id.func_qualname, self.state.targetctx.codegen()
        self.state.library = _PublicLibrary(codegen, name)
        self.state.library.enable_object_caching()
        return super().define_pipelines()

    def compile_extra(self, func):
        # Compiling creates 100,000s of objects that live until its end; without this, the garbage
        # collector took a tenth of the time.
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if collects:
                gc.enable()


@register_pass(mutates_CFG=False, analysis_only=False)
class _CountedDeletions(AnalysisPass):
    """Remove the deletions of variables without a reference count: half of all statements."""

    _name = "counted_deletions"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        models, types = state.targetctx.data_model_manager, state.typemap
        for block in state.func_ir.blocks.values():
            block.body = [
                statement
                for statement in block.body
                if not isinstance(statement, numba_ir.Del)
                or models[types[statement.value]].contains_nrt_meminfo()
            ]
        return True


class _InnerCompiler(CompilerBase):
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
        _CountedDeletions,
        typed_passes.AnnotateTypes,
        typed_passes.NativeLowering,
        typed_passes.NoPythonBackend,
    )

    library = _UnlinkedLibrary

    def define_pipelines(self):
        name, codegen = self.state.func_id.func_qualname, self.state.targetctx.codegen()
        self.state.library = self.library(codegen, name)
        manager = PassManager("inner")
        for one in self.passes:
            manager.add_pass(one, one.name())
        manager.finalize()
        return [manager]


class _NoAliasCompiler(_InnerCompiler):
    """Numba's compiler for functions whose pointers do not overlap."""

    def define_pipelines(self):
        self.state.flags.noalias = True
        return super().define_pipelines()


class _NoInlineCompiler(_InnerCompiler):
    library = _NoInlineLibrary


class _AlwaysInlineCompiler(_InnerCompiler):
    library = _AlwaysInlineLibrary


class _NoAliasNoInlineCompiler(_NoAliasCompiler):
    library = _NoInlineLibrary


_common: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_inner = _common | {"no_cpython_wrapper": True}
inner = njit(fastmath=FASTMATH, pipeline_class=_InnerCompiler, **_inner)
noinline = njit(fastmath=FASTMATH, pipeline_class=_NoInlineCompiler, **_inner)
noalias = njit(fastmath=FASTMATH, pipeline_class=_NoAliasCompiler, **_inner)
noalias_noinline = njit(fastmath=FASTMATH, pipeline_class=_NoAliasNoInlineCompiler, **_inner)
optimized = njit(fastmath=FASTMATH, **_inner)
elementary = njit(fastmath=FASTMATH_ELEMENTARY, pipeline_class=_AlwaysInlineCompiler, **_inner)


def public(function):
    """Decorate a function that Python calls: compile it on the first call, cache it on disk."""
    dispatcher = njit(fastmath=FASTMATH, pipeline_class=_PublicCompiler, **_common)(function)
    try:
        from fastnn.backends.numba.cache import cache_of

        dispatcher._cache = cache_of(function)
    except Exception:  # e.g. after a change of Numba's private API: each process then compiles
        pass
    return dispatcher


def llvm_intrinsic(signature_of):
    """Decorate a function that emits LLVM code: make it callable from compiled code.

    The decorated function takes the LLVM builder and values. ``signature_of`` returns Numba's
    signature for the types of the arguments.
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
