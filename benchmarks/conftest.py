"""Options and fixtures of ``pytest benchmarks``.

A contender works in its own process (:class:`fastnn.bench.Child`) and reports
seconds a step. ``CLOCK`` advances by what was reported, so that pytest-benchmark's
table is in time a step and does not hold the time of the pipe between the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fastnn import bench

ROUNDS = 5


class Clock:
    """A timer that moves only when told, but for a tick each time it is read.

    Without the tick pytest-benchmark could not find its precision.
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
    group.addoption("--peers", help="names with commas, all or none (default: the strongest few)")
    group.addoption("--backends", help="the same for backends")
    group.addoption("--seconds", type=float, default=1.0, help="timing of a contender at a job")
    group.addoption("--data-dir", help="where MNIST lies (default: FASTNN_DATA_DIR)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``job`` and ``contender``: every job of the module's JOBS by everyone who takes it."""
    if "contender" not in metafunc.fixturenames:
        return
    config = metafunc.config
    contenders = [
        *bench.choose(config.getoption("--backends"), peer=False),
        *bench.choose(config.getoption("--peers"), peer=True),
    ]
    pairs = [(job, c) for c in contenders for job in metafunc.module.JOBS if c.takes(job)]
    metafunc.parametrize(
        ("job", "contender"), pairs, ids=[f"{job.name}-{c.name}" for job, c in pairs]
    )


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """BLAS, threads, versions and vector level go into the JSON."""
    machine_info["fastnn"] = bench.machine()


@pytest.fixture(scope="session")
def processes(request: pytest.FixtureRequest) -> Iterator[dict[str, bench.Child]]:
    """The process of the contender at work; one at a time."""
    running: dict[str, bench.Child] = {}
    yield running
    for child in running.values():
        child.close()


@pytest.fixture
def timed_step(
    request: pytest.FixtureRequest,
    processes: dict[str, bench.Child],
    benchmark: Callable,
    job: bench.Job,
    contender: bench.Contender,
) -> Callable[[], None]:
    """Check, warm up and time the contender at the job."""
    reason = contender.why_missing()
    if reason:
        pytest.skip(f"{contender.title}: {reason}")
    for name in [name for name in processes if name != contender.name]:
        processes.pop(name).close()
    if contender.name not in processes:
        data_dir = request.config.getoption("--data-dir")
        processes[contender.name] = bench.Child(contender.name, data_dir)
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
        except bench.ContenderError as error:
            processes.pop(contender.name).close()
            pytest.fail(f"{contender.title}: {error}")

    return run
