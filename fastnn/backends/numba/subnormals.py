"""Flushing of subnormal numbers to zero, a mode of the processor that is set per thread.

Arithmetic with numbers below the smallest normal one (1.2e-38 in float32) is up to a hundred times
slower. Weights of constant inputs and of inactive units become subnormal by L2 or weight decay, and
Adam's moments as they decay. The mode is restored before a kernel returns.
"""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnn.backends.numba.compiling import llvm_intrinsic

_MACHINE = platform.machine().lower()
_X86 = _MACHINE in ("x86_64", "amd64", "i686", "i386")
_ARM = _MACHINE in ("aarch64", "arm64")
_FLUSH = 0x8040 if _X86 else 1 << 24  # MXCSR: flush to zero, denormals are zeros; FPCR: FZ
_WORD = ir.IntType(32 if _X86 else 64)


def _call(builder, name, result, *arguments):
    """Call a function or intrinsic of LLVM."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _set(builder, mode):
    if _X86:  # the register is read and written through memory
        slot = cgutils.alloca_once_value(builder, mode)
        place = builder.bitcast(slot, ir.IntType(8).as_pointer())
        _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), place)
    elif _ARM:
        _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), mode)


@llvm_intrinsic(lambda: types.uint64())
def flush_subnormals(builder):
    """Flush subnormal numbers to zero; return the old mode for :func:`restore_subnormals`."""
    if _X86:
        slot = cgutils.alloca_once(builder, _WORD)
        place = builder.bitcast(slot, ir.IntType(8).as_pointer())
        _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), place)
        mode = builder.load(slot)
    elif _ARM:
        mode = _call(builder, "llvm.aarch64.get.fpcr", _WORD)
    else:  # the results are correct, but subnormal numbers are slow
        return ir.IntType(64)(0)
    _set(builder, builder.or_(mode, _WORD(_FLUSH)))
    return builder.zext(mode, ir.IntType(64)) if _X86 else mode


@llvm_intrinsic(lambda mode: types.void(types.uint64))
def restore_subnormals(builder, mode):
    """Restore the mode that :func:`flush_subnormals` returned."""
    _set(builder, builder.trunc(mode, _WORD) if _X86 else mode)
