"""Libraries that networks are exported to."""

import pytest

from fastnn.extras import require


@pytest.fixture(scope="module")
def torch():
    return require("torch", "this test", "test")


@pytest.fixture(scope="module")
def keras():
    return require("keras", "this test", "test")
