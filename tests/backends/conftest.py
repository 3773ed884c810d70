"""Fixtures for the tests of the backends."""

import zlib

import numpy as np
import pytest
from helpers import DTYPES
from threadpoolctl import threadpool_limits

from fastnn.backends.tuning import tuned

# Parametrized tests of which `make test` runs only one case in k, chosen by a checksum of its name.
# The other cases are marked as slow (`make test PYTEST_ARGS="-m slow"`).
GRIDS = {
    "test_loss_and_grad": 3,
    "test_forward": 3,
    "test_training_with_inactive_units_matches_reference": 2,
    "test_bits_independent_of_threads": 3,
    "test_training_with_split_units_matches_reference": 2,
    "test_wide_layer_updates_match_reference": 2,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        one_in = GRIDS.get(getattr(item, "originalname", None), 1)
        if zlib.crc32(item.name.encode()) % one_in:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def _one_thread_of_blas():
    """Use one BLAS thread: several threads slow the small products of the reference down."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def rng(request):
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture
def split_units():
    """Make plans in which threads split the units of every layer, even of a small one."""
    with tuned(split_units_bytes=0):
        yield


@pytest.fixture(params=["blocks", "units"])
def division(request):
    """Division of the work among threads: by samples (blocks), or by the units of each layer.

    BLAS is limited to one thread. If units are split, BLAS threads would divide the products again,
    at other places.
    """
    limits = {"split_units_bytes": 0} if request.param == "units" else {}
    with threadpool_limits(limits=1, user_api="blas"), tuned(**limits):
        yield
