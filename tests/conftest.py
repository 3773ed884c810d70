"""Fixtures for backends and other shared resources.

If a backend is not available, the test fails in CI and is skipped elsewhere.
"""

import os
import signal
import sys

import hypothesis
import numpy as np
import pytest
import seeded
from helpers import compiled_names, load_backend

from fastnn.backends import BACKENDS

# Other random numbers (`make seeds`), if not 0.
other = int(os.environ.get("FASTNN_SEED", "0"))

# The same examples in every run, unless other ones are asked for: Hypothesis ignores
# --hypothesis-seed in a derandomized run. No deadline, and no health check for slow tests, since
# functions may be compiled on first use and the machine may be busy.
hypothesis.settings.register_profile(
    "fastnn",
    derandomize=not other,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fastnn")

# With FASTNN_SEED=k, generators that tests create with an integer seed return other numbers.
# Generators created by the package are not changed, since its results for a given seed are
# specified.
if other:
    usual_rng = np.random.default_rng

    def other_rng(seed=None):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if seed is None or not isinstance(seed, int) or caller.partition(".")[0] == "fastnn":
            return usual_rng(seed)
        return usual_rng([seed, other])

    np.random.default_rng = other_rng

# A process started with "&" by a shell ignores SIGINT, and so do its children; tests that interrupt
# a run would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The slowest files, in descending order of time. With "--dist loadfile", all tests of a file run in
# one process: a slow file that started late would leave the other processes idle.
LONG_FILES = (
    *("test_pages.py", "test_threads_and_processes.py", "test_experiments.py", "test_compiled.py"),
    *("test_cnn.py", "test_benchmarks.py", "test_growth.py", "test_custom.py", "test_docs.py"),
    *("test_compiled_jacobian.py", "test_numba_backend.py", "test_cnn_commands.py"),
    *("test_train_tables.py", "test_tabular.py", "test_custom_loops.py", "test_losses.py"),
    *("test_same_as_sklearn.py", "test_board.py", "test_cli.py", "test_interrupts.py"),
    *("test_network_kernels.py", "test_play_page.py", "test_jacobian.py", "test_numba_tape.py"),
    *("test_realmlp.py", "test_extras.py", "test_model_files_attacked.py"),
    "test_exported_tables.py",
)


@pytest.hookimpl(tryfirst=True)  # before "-m seeded" chooses
def pytest_collection_modifyitems(items):
    if other:
        for item in items:
            name = item.originalname if item.cls is None else item.cls.__name__
            chosen = seeded.depends_on_seed(item.path, name) and not seeded.is_repetition(item)
            if chosen and seeded.has_turn(item, other):
                item.add_marker("seeded")
    places = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


seconds = {}  # of each test, with another seed


def pytest_runtest_logreport(report):
    if other:
        seconds[report.nodeid] = seconds.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish():
    if other and seconds:
        seeded.remember(seconds)


@pytest.fixture(params=sorted(BACKENDS))
def backend(request):
    """Name of a backend."""
    load_backend(request.param)
    return request.param


@pytest.fixture(params=sorted(BACKENDS))
def kernels(request):
    """Module of a backend."""
    return load_backend(request.param)


@pytest.fixture(params=compiled_names())
def compiled(request):
    """Module of a compiled backend: Numba, or Cython at one of its vector levels."""
    return load_backend(request.param)


@pytest.fixture(autouse=True)
def no_figure_is_left():
    """Close the pyplot figures of a test, since the next test in the process may count figures."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, for tests of pages; without it a failure in CI, elsewhere a skip."""
    from benchmarks import chromium

    if chromium.program() is None:
        reason = "no chromium: the page is not checked in a browser"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with chromium.browsing(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
