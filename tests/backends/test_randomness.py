"""Random streams: known outputs, the same integers everywhere, and their distribution."""

from itertools import product

import numpy as np
import pytest
from helpers import assert_bits
from scipy.stats import chi2

from fastnn.backends import codes
from fastnn.backends import numpy as reference

# The generator's published outputs for the state 1234567, as in the references of many
# languages' standard libraries (first ones of https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64).
SPLITMIX = (
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
)
GOLDEN, WORD = 0x9E3779B97F4A7C15, 1 << 64


def test_splitmix64_test_vector(kernels):
    # mix(state) is the output that follows it; the state itself counts up by GOLDEN
    states = [np.uint64((1234567 + i * GOLDEN) % WORD) for i in range(5)]
    assert tuple(int(kernels.mix(state)) for state in states) == SPLITMIX


def test_streams_are_equal_in_all_backends(compiled):
    for seed in (0, 1, 2**31 - 2):
        for purpose in (0, 1, 7):
            for number in (0, 1, 10**9):
                expected = reference.stream(seed, purpose, number)
                assert int(compiled.stream(seed, purpose, number)) == int(expected)


def orders(kernels, samples, epochs, seed=3):
    table = np.full((epochs, samples), -1, np.int64)
    for epoch, order in enumerate(table):
        kernels.shuffle(seed, epoch, order)
    return table


@pytest.mark.parametrize("samples", [1, 2, 3, 17, 1000])
def test_shuffle_matches_reference(compiled, samples):
    for seed, epoch in product((0, 1, 2**31 - 2), (0, 1, 12345)):
        expected, order = np.empty(samples, np.int64), np.full(samples, -1)
        reference.shuffle(seed, epoch, expected)
        compiled.shuffle(seed, epoch, order)
        assert_bits(order, expected)


@pytest.mark.parametrize("samples", [1, 2, 3, 10, 257])
def test_shuffle_returns_permutations(kernels, samples):
    table = orders(kernels, samples, 20)
    np.testing.assert_array_equal(np.sort(table, axis=1), np.tile(np.arange(samples), (20, 1)))


def test_shuffle_differs_by_epoch_and_seed(kernels):
    table = np.vstack([orders(kernels, 50, 40, seed=seed) for seed in (3, 4)])
    assert len({tuple(order) for order in table.tolist()}) == 80


def chi_square(counts, expected):
    return ((counts - expected) ** 2 / expected).sum()


def test_shuffle_is_uniform():
    # every sample equally often at every place; all 24 orders of 4 equally often. The bound is
    # passed by chance once in a million, and the streams are fixed
    samples, epochs = 10, 5000
    table = orders(reference, samples, epochs)
    counts = np.array([np.bincount(place, minlength=samples) for place in table.T])
    # rows and columns add up: (n - 1)**2 degrees of freedom
    assert chi_square(counts, epochs / samples) < chi2.isf(1e-6, (samples - 1) ** 2)
    table = orders(reference, 4, epochs)
    _, counts = np.unique(table, axis=0, return_counts=True)
    assert len(counts) == 24
    assert chi_square(counts, epochs / 24) < chi2.isf(1e-6, 23)


def mask(kernels, rate, key, shape, first=0):
    out = np.full(shape, np.nan)
    kernels.dropout_forward(np.ones(shape), rate, key, first, out)
    return out


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_dropout_rate_and_scale(kernels, rate):
    shape = (50, 2000)
    out = mask(kernels, rate, np.uint64(99), shape)
    kept = out != 0
    np.testing.assert_allclose(out[kept], 1 / (1 - rate), rtol=1e-15)
    # five standard deviations of a binomial: one in a million
    n = out.size
    assert abs(kept.mean() - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / n)
    # and of each unit, each sample
    for axis in (0, 1):
        m = shape[axis]
        worst = np.abs(kept.mean(axis=axis) - (1 - rate)).max()
        assert worst <= 6 * np.sqrt(rate * (1 - rate) / m) + 1 / m


def test_dropout_masks_are_independent():
    # neighbours in units, samples, steps and layers agree half of the time
    keys = [
        reference.stream(seed, codes.STREAM_DROPOUT + layer, step)
        for seed, layer, step in ((0, 1, 0), (0, 1, 1), (0, 2, 0), (1, 1, 0))
    ]
    masks = [mask(reference, 0.5, key, (40, 500)) != 0 for key in keys]
    bound = 5 * 0.5 / np.sqrt(39 * 499)
    one = masks[0]
    pairs = [(one[1:], one[:-1]), (one[:, 1:], one[:, :-1]), *((one, other) for other in masks[1:])]
    for a, b in pairs:
        assert abs((a == b).mean() - 0.5) < bound


def test_dropout_mask_depends_on_position_in_batch(kernels):
    # blocks of a batch see parts of one mask
    whole = mask(kernels, 0.4, np.uint64(5), (7, 300))
    parts = [mask(kernels, 0.4, np.uint64(5), (7, 100), first) for first in (0, 100, 200)]
    np.testing.assert_array_equal(np.hstack(parts), whole)
