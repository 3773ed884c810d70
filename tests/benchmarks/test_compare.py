"""``python -m benchmarks.compare``: arguments, the rule of ``--check``, and one small run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.compare", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def _benchmarks_are_found(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "BASE is missing"),
        (["no-such-revision"], "'no-such-revision' is neither a git revision nor a checkout"),
        (["HEAD", "--jobs", "moons,nonsense"], "unknown name 'nonsense'"),
        (["HEAD", "--backends", "fortran"], "unknown name 'fortran'; there are cython, numba"),
        (["HEAD", "--rounds", "0"], "must be a positive number; got '0'"),
        (["HEAD", "--seconds", "nan"], "must be a positive number; got 'nan'"),
        (["HEAD", "--quick", "--jobs", "moons"], "--quick and --jobs exclude each other"),
        (["HEAD", "--jobs", "numba_predict", "--backends", "cython"], "none of these jobs"),
        (["HEAD", "--json", "/no/such/folder/x.json"], "no such directory: /no/such/folder"),
    ],
)
def test_bad_arguments_are_one_line(arguments, part, capsys):
    from benchmarks.compare.__main__ import main

    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert part in message
    assert message.count("\n") == 1


def test_jobs_are_listed():
    done = run("--list")
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert len(set(names)) == len(names)
    assert {"moons", "wide-later", "2x300/128", "predict-100k", "numba-cold"} <= set(names)


def test_jobs_can_be_done():
    from benchmarks.compare import worker
    from benchmarks.compare.jobs import JOBS, QUICK
    from benchmarks.compare.trees import PROCESSES

    assert set(QUICK) <= set(JOBS)
    for job in JOBS.values():
        assert (job.name in PROCESSES) if job.kind == "process" else (job.kind in worker.KINDS)
        # whole batches only, so that a number of steps is a number of samples
        assert job.kind != "fit" or job.samples % (job.batch_size or job.samples) == 0


def row(ratios, **values):
    from benchmarks.compare.jobs import JOBS
    from benchmarks.compare.measuring import Row

    return Row("moons", JOBS["moons"], "cython", times=([1.0] * len(ratios), ratios), **values)


@pytest.mark.parametrize(
    ("worse", "better", "fails"),
    [(30, 15, True), (29, 16, False), (12, 3, True), (11, 4, False), (5, 0, True), (4, 1, False)],
)
def test_the_whole_interval_must_be_worse(worse, better, fails):
    ratios = [1.04] * worse + [1.0] * better
    assert row(ratios).fails(1.03) == fails
    assert not row(ratios).fails(1.05)


def test_a_job_that_cannot_run_fails():
    assert row([], error="today: no such loss").fails(1.03)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 15, 45, 100])
def test_interval_is_that_of_the_sign_test(n):
    from scipy.stats import binom

    from benchmarks.compare.measuring import interval

    low, high = interval([float(k) for k in range(n, 0, -1)])
    assert low + high == n + 1
    below = binom.cdf([low - 1, low], n, 0.5)  # so few, or one more, under the true median
    assert below[1] > 0.025
    assert below[0] <= 0.025 or low == 1


@pytest.mark.parametrize(
    ("digests", "losses", "expected"),
    [
        (({"a"}, {"a"}), [2.0, 2.0], "equal bits"),
        (({"a"}, {"b"}), [2.0, 2.2], "loss differs by 1e-01"),
        (({"a"}, {"a", "b"}), [2.0, 2.0], "not repeatable"),
        ((set(), set()), [0.0, 0.0], ""),  # fresh processes give no result
    ],
)
def test_results_are_compared(digests, losses, expected):
    assert row([1.0], digests=digests, losses=losses).result == expected


def test_table_and_durations():
    from benchmarks.compare.__main__ import TOLERANCES, duration, summary, table

    rows = [row([1.5, 1.5, 1.5]), row([], error="it broke")]
    text, markdown = (table(rows, TOLERANCES, kind) for kind in (False, True))
    assert text.splitlines()[1].split()[:6] == ["moons", "cython", "1", "s", "1.5", "s"]
    assert text.splitlines()[1].endswith("FAILS")
    assert "it broke" in text.splitlines()[2]
    assert all(line.count(" | ") == 7 for line in markdown.splitlines())
    assert summary(rows)[0].startswith("cython: geometric mean 1.500")
    assert [duration(s) for s in (1.234e-8, 9.996e-7, 0.5, 12.34)] == [
        "12.3 ns", "1 us", "500 ms", "12.3 s"
    ]  # fmt: skip


def test_another_fastnn_is_refused(tmp_path):
    """An installed fastnn must not be timed in place of the tree's."""
    from benchmarks.compare.trees import Failure, Tree, Worker

    (tmp_path / "setup.py").touch()
    with pytest.raises(Failure, match="not the one in"), Worker(Tree(tmp_path, "empty")):
        pass


@pytest.mark.slow
def test_the_tree_against_itself(tmp_path):
    file = tmp_path / "numbers.json"
    done = run(
        str(ROOT), "--jobs", "moons,2x64/32,fit-2,import", "--backends", "numba,cython",
        "--rounds", "3", "--seconds", "0.001", "--json", str(file),
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    results = json.loads(file.read_text())["results"]
    assert len(results) == 7
    for result in results:
        pairs = 1 if result["job"] == "import" else 3  # fresh processes: a third
        assert len(result["base"]) == len(result["today"]) == pairs
        assert min(result["base"] + result["today"]) > 0
        assert result["result"] == ("" if result["job"] == "import" else "equal bits")
