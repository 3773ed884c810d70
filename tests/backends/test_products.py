"""Products of a layer against the reference."""

import numpy as np
import pytest
from kernel_cases import WIDTH, compare, nans, normal

# fan_in, fan_out, samples: one of each, primes, more than a vector or a tile and not a multiple
# of it, both sides of the width from which BLAS is called.
SHAPES = (
    (1, 1, 1),
    (2, 3, 1),
    (1, 7, 5),
    (3, 2, 31),
    (5, 4, 33),
    (13, 17, 129),
    (64, 1, 3),
    (WIDTH, WIDTH - 1, 65),
    (WIDTH + 1, WIDTH, 64),
    (101, 97, 37),
    (300, 11, 600),
    (261, 109, 530),  # beyond what is done at a time, in each direction
    (64, 521, 290),
    (150, 1024, 35),  # rows a page apart
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_kernels_match_reference(compiled, dtype, shape, rng):
    fan_in, fan_out, samples = shape
    x = normal(rng, (fan_in, samples), dtype)
    w = normal(rng, (fan_in, fan_out), dtype, fan_in**-0.5)
    b = normal(rng, fan_out, dtype)
    dz = normal(rng, (fan_out, samples), dtype, 1 / samples)
    out, dx = np.empty_like(dz), np.empty_like(x)
    compare(compiled, "dense_forward", [x, w, b], writes=[out], compiled_writes=nans(out))
    compare(compiled, "dense_backward_inputs", [w, dz], writes=[dx], compiled_writes=nans(dx))
    compare(
        compiled,
        "dense_backward_params",
        [x, dz],
        [False],
        writes=[w, b],
        compiled_writes=nans(w, b),
    )
    compare(compiled, "dense_backward_params", [x, dz], [True], writes=[w, b])
