"""Counter-based random streams: the same integers in every backend, in any order."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types

from fastnn.backends import codes
from fastnn.backends.numba.compiling import inner, llvm_intrinsic, public
from fastnn.backends.numba.pointers import at, cast_like, pointer


@inner
def mix_bits(z):
    """See :func:`mix`."""
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inner
def stream_key(seed, purpose, number):
    """See :func:`stream`."""
    return mix_bits(mix_bits(mix_bits(np.uint64(seed)) + np.uint64(purpose)) + np.uint64(number))


@public
def mix(z):
    """Return the next output of SplitMix64 from the state ``z``."""
    return mix_bits(np.uint64(z))


@public
def stream(seed, purpose, number):
    """Return the key of a random stream, whose draw at position i is ``mix(key + i)``."""
    return stream_key(seed, purpose, number)


@inner
def shuffle_order(seed, epoch, samples, order):
    """See :func:`shuffle`."""
    key = stream_key(seed, np.int64(codes.STREAM_SHUFFLE), epoch)
    for i in range(samples):
        order[i] = i
    for i in range(samples - 1, 0, -1):
        draw = mix_bits(key + np.uint64(i)) >> np.uint64(32)
        j = np.int64((draw * np.uint64(i + 1)) >> np.uint64(32))
        kept = order[i]
        order[i] = order[j]
        order[j] = kept


@public
def shuffle(seed, epoch, order):
    """Draw a random order of the samples for one epoch (Fisher-Yates)."""
    shuffle_order(seed, epoch, order.shape[0], pointer(order))


@llvm_intrinsic(lambda h: types.uint32(types.uint32))
def _hash32(builder, h):
    """Finaliser "lowbias32", in LLVM code because Numba would widen each operation to 64 bits."""
    word = ir.IntType(32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
        h = builder.xor(h, builder.lshr(h, word(shift)))
        if factor:
            h = builder.mul(h, word(factor))
    return h


@inner
def apply_dropout(rate, key, first, da):
    """Multiply ``da`` by ``1 / (1 - rate)`` where a unit is kept, and set it to 0 elsewhere."""
    threshold = np.uint32(rate * 4294967296.0)
    zero = cast_like(da.data, 0.0)
    factor = cast_like(da.data, 1.0 / (1.0 - rate))
    for unit in range(da.rows):
        row = np.uint32(mix_bits(key + np.uint64(unit)))
        p = at(da.data, unit * da.ld)
        for s in range(da.columns):
            h = _hash32(np.uint32(row + np.uint32(first + s) * np.uint32(0x9E3779B9)))
            p[s] = p[s] * factor if h >= threshold else zero
