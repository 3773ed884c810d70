"""Plans and the workspace."""

from functools import partial
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import (
    load_backend,
)

from fastnn.backends import codes
from fastnn.backends import numpy as reference
from fastnn.backends.plan import (
    ALIGNMENT,
    aligned_empty,
    aligned_zeros,
    make_plan,
)


def test_plan_has_room_for_products():
    # no matrix of the workspace overlaps another or reaches beyond the end
    for dropout, itemsize in product(([], [0.0, 0.5]), (4, 8)):
        activations = [codes.SILU, codes.TANH, codes.IDENTITY]
        plan = make_plan([3, 7, 5, 2], activations, [0.0] * 3, dropout, 1, itemsize, reference)
        header, block = plan.header, plan.block_size
        used = [
            (header[codes.WORK_INPUT], 3),
            (header[codes.WORK_TARGETS], 1),
            (header[codes.WORK_SAMPLE_WEIGHT], 1),
            (header[codes.WORK_DELTA], 7),
            (header[codes.WORK_DELTA_OTHER], 7),
        ]
        for row in plan.layers:
            used += [
                (start, row[codes.FAN_OUT]) for start in {row[codes.NET_INPUT], row[codes.OUTPUT]}
            ]
        used.sort()
        ends = [start + units * block for start, units in used]
        starts = [start for start, _ in used[1:]]
        assert all(end <= start for end, start in zip(ends[:-1], starts, strict=True))
        assert ends[-1] <= header[codes.WORK_SIZE]


def test_memory_is_aligned_to_cache_lines():
    for make, dtype in product((aligned_empty, aligned_zeros), (np.float32, np.float64)):
        arrays = [make((3, k), dtype) for k in range(1, 20)]
        assert all(array.ctypes.data % ALIGNMENT == 0 for array in arrays)
        assert all(array.shape == (3, k) for k, array in enumerate(arrays, 1))
        if make is aligned_zeros:
            assert not any(array.any() for array in arrays)


def test_plan_without_room_for_packed_products_raises():
    cython = load_backend("cython")
    sizes, activations = [300, 300, 2], [codes.RELU, codes.IDENTITY]
    X, out = np.zeros((40, 300), np.float32), np.empty((40, 2), np.float32)
    for packed in (True, False):
        scratch = cython.product_scratch if packed else reference.product_scratch
        planner = SimpleNamespace(
            WIDE_LAYER_WEIGHTS=cython.WIDE_LAYER_WEIGHTS, product_scratch=scratch
        )
        plan = make_plan(sizes, activations, [0.0] * 2, [], 1, 4, planner)
        params = np.zeros(plan.n_params, np.float32)
        call = partial(
            cython.forward, plan.net(codes.CROSS_ENTROPY), X, True, params,
            plan.workspace(np.float32), out,
        )  # fmt: skip
        if packed or cython.LEVEL == "baseline":  # which leaves wide layers to BLAS
            assert call()
        else:
            with pytest.raises(ValueError, match="no room for packed products"):
                call()
