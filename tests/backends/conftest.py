"""Fixtures of the tests of the backends."""

import zlib

import numpy as np
import pytest
from helpers import DTYPES
from threadpoolctl import threadpool_limits

from fastnn.backends.tuning import tuned

# Of these grids `make test` runs one in so many cases, the same ones everywhere; the others are
# slow ones (`make test PYTEST_ARGS="-m slow"`).
GRIDS = {
    "test_loss_and_grad": 3,
    "test_forward": 3,
    "test_run_with_inactive_units": 2,
    "test_threads_change_no_bit": 3,
    "test_run_with_split_units": 2,
    "test_updates_of_wide_layers": 2,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        one_in = GRIDS.get(getattr(item, "originalname", None), 1)
        if zlib.crc32(item.name.encode()) % one_in:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def _one_thread_of_blas():
    """The reference's small products: threads that wait for each other take twice the time."""
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
    """Plans in which threads split the units of a layer, however small it is."""
    with tuned(shared_bytes=0):
        yield


@pytest.fixture(params=["blocks", "units"])
def division(request):
    """How threads split the work: by samples (blocks), or by the units of each layer.

    With units split, threads of BLAS would split the products once more, at other places.
    """
    limits = {"shared_bytes": 0} if request.param == "units" else {}
    with threadpool_limits(limits=1, user_api="blas"), tuned(**limits):
        yield
