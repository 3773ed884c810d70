"""Counter-based random streams: the same integers in every backend, in any order."""

from __future__ import annotations

import numpy as np

from fastnn.backends import codes

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd


def mix(z):
    """Return the next output of SplitMix64 from the state ``z``, both uint64.

    Source: Steele, Lea, Flood, Fast splittable pseudorandom number generators
    (OOPSLA 2014), with the finaliser constants of Stafford's variant 13.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(z) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def stream(seed, purpose, number):
    """Return the key of a random stream, whose draw at position i is ``mix(key + i)``."""
    with np.errstate(over="ignore"):
        return mix(mix(mix(np.uint64(seed)) + np.uint64(purpose)) + np.uint64(number))


def shuffle(seed, epoch, order):
    """Draw a random order of the samples for one epoch (Fisher-Yates).

    Parameters
    ----------
    seed, epoch : int
        Determine the order.
    order : ndarray of int64, shape (samples,)
        Output: a permutation of 0 .. samples - 1.
    """
    samples = order.shape[0]
    key = stream(seed, codes.STREAM_SHUFFLE, epoch)
    with np.errstate(over="ignore"):
        draws = mix(key + np.arange(samples, dtype=np.uint64)) >> np.uint64(32)
    # floor(draw / 2**32 * (i + 1)); deviates from uniform by at most samples / 2**32
    partners = (draws * np.arange(1, samples + 1, dtype=np.uint64)) >> np.uint64(32)
    items = list(range(samples))
    for i in range(samples - 1, 0, -1):
        j = int(partners[i])
        items[i], items[j] = items[j], items[i]
    order[:] = items


def dropout_mask(rate, key, first, units, samples):
    """Return a mask of shape (units, samples), True if a unit is kept.

    ``first`` is the position of the first sample in the batch. The 32-bit finaliser is Wellons'
    "lowbias32" (Hash function prospector, 2018), since most processors have vector instructions
    for 32-bit multiplications but not for 64-bit ones.
    """
    with np.errstate(over="ignore"):
        rows = mix(key + np.arange(units, dtype=np.uint64)).astype(np.uint32)
        h = rows[:, None] + np.arange(first, first + samples, dtype=np.uint32) * np.uint32(
            0x9E3779B9
        )
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
        h = h ^ (h >> np.uint32(16))
    return h >= np.uint32(rate * 2.0**32)
