"""Fixtures for the libraries to which networks are exported."""

import pytest

from fastnn.extras import require


@pytest.fixture(scope="module")
def torch():
    return require("torch", "this test", "test")


@pytest.fixture(scope="module")
def keras():
    return require("keras", "this test", "test")
