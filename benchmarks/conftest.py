"""Options and fixtures of ``pytest benchmarks``.

A contender runs in its own process (:class:`ContenderProcess`) and reports seconds per step.
``CLOCK`` advances by the reported time, so that the table of pytest-benchmark shows time per step
without the communication between the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.contenders import choose
from benchmarks.contenders.base import Contender
from benchmarks.jobs import Job
from benchmarks.machine import machine
from benchmarks.measuring import ContenderProcess
from benchmarks.processes import ChildError

ROUNDS = 5


class Clock:
    """A timer that is advanced explicitly, plus a tick at each reading.

    Without the tick pytest-benchmark could not determine its precision.
    """

    TICK = 1e-10

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        self.now += self.TICK
        return self.now


CLOCK = Clock()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastnn benchmarks")
    group.addoption("--peers", help="comma-separated, all or none (default: the strongest)")
    group.addoption("--backends", help="the same for backends")
    group.addoption("--seconds", type=float, default=1.0, help="timing of a contender at a job")
    group.addoption("--data-dir", help="folder of MNIST's files (default: FASTNN_DATA_DIR)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize ``job`` and ``contender``: the module's JOBS by contenders that support them."""
    if "contender" not in metafunc.fixturenames:
        return
    config = metafunc.config
    contenders = [
        *choose(config.getoption("--backends"), peer=False),
        *choose(config.getoption("--peers"), peer=True),
    ]
    pairs = [(job, c) for c in contenders for job in metafunc.module.JOBS if c.takes(job)]
    metafunc.parametrize(
        ("job", "contender"), pairs, ids=[f"{job.name}-{c.name}" for job, c in pairs]
    )


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Add BLAS, threads, versions and vector level to the JSON."""
    machine_info["fastnn"] = machine()


@pytest.fixture(scope="session")
def processes(request: pytest.FixtureRequest) -> Iterator[dict[str, ContenderProcess]]:
    """The process of the current contender; one at a time."""
    running: dict[str, ContenderProcess] = {}
    yield running
    for child in running.values():
        child.close()


@pytest.fixture
def timed_step(
    request: pytest.FixtureRequest,
    processes: dict[str, ContenderProcess],
    benchmark: Callable,
    job: Job,
    contender: Contender,
) -> Callable[[], None]:
    """Check, warm up and time the contender at the job."""
    reason = contender.why_missing()
    if reason:
        pytest.skip(f"{contender.title}: {reason}")
    for name in [name for name in processes if name != contender.name]:
        processes.pop(name).close()
    if contender.name not in processes:
        data_dir = request.config.getoption("--data-dir")
        processes[contender.name] = ContenderProcess(contender.name, data_dir)
    child = processes[contender.name]

    def run() -> None:
        try:
            answer = child.prepare(job)
            assert answer["equal"], f"loss {answer['loss']}, expected {answer['reference']}"
            benchmark.group = f"{job.name}: {job.describe()}"
            benchmark.extra_info.update(answer, peer=contender.peer)
            seconds = request.config.getoption("--seconds") / ROUNDS

            def step() -> None:
                CLOCK.now += child.time(seconds)

            benchmark.pedantic(step, rounds=ROUNDS, iterations=1)
        except ChildError as error:
            processes.pop(contender.name).close()
            pytest.fail(f"{contender.title}: {error}")

    return run
