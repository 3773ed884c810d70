"""Random streams of the compiled backends against the reference's."""

from itertools import product

import numpy as np
import pytest
from helpers import (
    assert_bits,
)

from fastnn.backends import numpy as reference


@pytest.mark.parametrize("samples", [1, 2, 3, 17, 1000])
def test_shuffle_kernel(compiled, samples):
    for seed, epoch in product((0, 1, 2**31 - 2), (0, 1, 12345)):
        expected, order = np.empty(samples, np.int64), np.full(samples, -1)
        reference.shuffle(seed, epoch, expected)
        compiled.shuffle(seed, epoch, order)
        assert_bits(order, expected)
