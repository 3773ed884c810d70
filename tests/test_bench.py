"""What ``fastnn bench`` computes, not how fast it is."""

import dataclasses
import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fastnn import backends, bench

TINY = dataclasses.replace(bench.JOBS["moons"], name="tiny", samples=20, check_steps=5)
ADAM = dataclasses.replace(bench.map_job(6, 32, 2), name="adam", check_steps=70)
EXPM = dataclasses.replace(bench.JOBS["expm"], samples=50, check_steps=5)
PREDICT = dataclasses.replace(bench.JOBS["predict-1k"], samples=7)


@pytest.mark.parametrize("job", bench.JOBS.values(), ids=bench.JOBS)
def test_jobs_are_well_formed(job):
    assert job.name in bench.JOBS
    assert job.samples % job.samples_a_step == 0
    assert len(job.n_weights) == len(job.layer_sizes) - 1
    assert job.flops > 0 < job.moved_bytes
    small = dataclasses.replace(job, samples=min(job.samples, 256))
    x, y, source = bench.make_data(small, data_dir="/nonexistent")
    assert x.shape == (small.samples, job.layer_sizes[0])
    assert x.dtype == job.dtype
    assert len(y) == small.samples
    assert np.isfinite(x).all()
    if job.loss == "cross_entropy":
        assert 0 <= y.min() <= y.max() < job.layer_sizes[-1]
    else:
        assert y.shape == (small.samples, job.layer_sizes[-1])
    assert ("random" in source) == (job.data == "mnist")
    net = bench.Task(job, x, y, source).network()
    assert net.n_params == job.n_params


def test_weights_may_have_been_trained_before():
    later = dataclasses.replace(ADAM, epochs_before=2)
    assert later.describe() == ADAM.describe() + ", from epoch 3 on"
    first, trained = (bench.Task.make(job).network("numpy") for job in (ADAM, later))
    task = bench.Task.make(ADAM)
    first.fit(
        task.x, task.y, optimizer=task.optimizer, epochs=2, batch_size=ADAM.batch_size,
        shuffle=False,
    )  # fmt: skip
    # float32, by another backend, after some steps
    np.testing.assert_allclose(trained.params, first.params, rtol=1e-3, atol=1e-5)
    task, contender = bench.Task.make(later), bench.CONTENDERS["numba"]
    assert bench.check(task, contender, contender.make(task))["equal"]


def test_operations_of_a_step():
    job = dataclasses.replace(bench.JOBS["moons"], samples=10)
    # forward and weights: 2-3 and 3-2; inputs: 3-2 only
    assert job.flops == 2 * 10 * ((6 + 6) * 2 + 6)
    assert dataclasses.replace(job, predict=True).flops == 2 * 10 * 12


def test_exponential_of_2x2_matrices():
    from scipy.linalg import expm

    rows = np.random.RandomState(0).uniform(-1, 1, (50, 4))
    expected = np.array([expm(row.reshape(2, 2)).ravel() for row in rows])
    np.testing.assert_allclose(bench.expm_2x2(rows), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("steps", "whole", "rows_and_epochs"),
    [(1, 1, (32, 1)), (32, 32, (1024, 1)), (70, 64, (1024, 2)), (0, 1, (32, 1))],
)
def test_steps_are_whole_passes(steps, whole, rows_and_epochs):
    task = bench.Task.make(ADAM)
    assert task.whole(steps) == whole
    assert task.rows_and_epochs(whole) == rows_and_epochs


@pytest.mark.parametrize("job", [TINY, ADAM, EXPM, PREDICT], ids=lambda job: job.name)
@pytest.mark.parametrize("name", ["numpy", "numpy-shuffled", "numpy-hand", "sklearn"])
def test_contender_computes_the_same(job, name):
    contender = bench.CONTENDERS[name]
    if not contender.takes(job):
        pytest.skip("shuffling needs batches")
    job = dataclasses.replace(job, check_steps=min(job.check_steps, 64), dtype="float64")
    task = bench.Task.make(job)
    runner = contender.make(task)
    answer = bench.check(task, contender, runner)
    assert answer["equal"], answer
    assert answer["difference"] < 1e-9
    # the first weights come back
    runner.reset()
    assert bench.check(task, contender, runner) == answer
    assert bench.seconds_a_step(task, runner, 1e-4, 1e-4) > 0


def test_torch_has_an_adam_of_its_own():
    torch = pytest.importorskip("torch")
    task = bench.Task.make(ADAM)
    params = bench.NumpyByHand(task, torch_adam=True)
    ours = bench.NumpyByHand(task)
    p = torch.zeros(params.params.size, requires_grad=True)
    rule = torch.optim.Adam([p], lr=task.optimizer.learning_rate, eps=task.optimizer.epsilon)
    for runner in (params, ours):
        runner.params[:] = 0.0
    for _ in range(3):
        g = np.full(p.shape, 1e-8, np.float32)  # of epsilon's size, where it matters
        p.grad = torch.from_numpy(g.copy())
        rule.step()
        params._update(g.copy())
        ours._update(g.copy())
    np.testing.assert_allclose(params.params, p.detach().numpy(), rtol=1e-4)
    assert abs(ours.params / params.params - 1).min() > 0.01


def test_difference_is_seen():
    task = bench.Task.make(TINY)
    contender = bench.CONTENDERS["numpy-hand"]
    runner = contender.make(task)
    runner.start[0] += 0.1
    runner.reset()
    assert not bench.check(task, contender, runner)["equal"]


@pytest.fixture
def without_torch(monkeypatch):
    find = bench.importlib.util.find_spec
    monkeypatch.setattr(
        bench.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name)
    )


def run_command(*arguments):
    app = typer.Typer()
    app.command()(bench.command)
    return CliRunner().invoke(app, [*arguments])


def test_command_writes_json_and_chart(tmp_path, without_torch, monkeypatch):
    monkeypatch.setitem(bench.JOBS, "moons", TINY)
    result = run_command(
        "--jobs=moons,predict-1",
        "--backends=numpy",
        "--peers=numpy-hand,torch",
        "--seconds=0.02",
        "--rounds=2",
        f"--json={tmp_path / 'bench.json'}",
        f"--plot={tmp_path / 'bench.png'}",
    )
    assert result.exit_code == 0, result.output
    assert "missing: torch, not installed: pip install torch" in result.output
    run = json.loads((tmp_path / "bench.json").read_text())
    assert set(run) >= {"machine", "settings", "jobs", "contenders", "missing", "results", "ratios"}
    assert run["missing"] == {"torch": "not installed: pip install torch"}
    facts = run["machine"]
    assert set(facts["versions"]) >= {"python", "numpy", "scipy"}
    assert facts["cpu"]
    assert facts["cores"] >= 1
    assert facts["gemm_gflops"]["float32"]["all_cores"] > 0
    assert facts["copy_gbytes"]["one_core"] > 0
    assert any(pool["user_api"] == "blas" for pool in facts["thread_pools"])
    assert (facts["vector_level"] is None) == (backends.why_missing("cython") is not None)
    assert len(run["results"]) == 4
    for entry in run["results"]:
        assert "error" not in entry
        assert entry["equal"]
        assert len(entry["rounds"]) == 2
        assert entry["us_per_step"] > 0
    for job in ("tiny", "predict-1"):
        assert run["ratios"][job]["best_peer"] == "numpy-hand"
        assert run["ratios"][job]["backends"]["numpy"] > 0
        assert run["jobs"][job]["floor"]["sum_us"] > 0
    assert (tmp_path / "bench.png").stat().st_size > 10_000
    table = bench.markdown(run)
    assert "| fastnn numpy |" in table
    assert "| NumPy by hand |" in table
    assert "missing: torch" in table


def test_map_names_the_fastest(tmp_path, monkeypatch):
    result = run_command(
        "--map",
        "--widths=2,4",
        "--backends=numpy",
        "--peers=numpy-hand",
        "--seconds=0.01",
        "--rounds=1",
        f"--json={tmp_path / 'map.json'}",
        f"--plot={tmp_path / 'map.svg'}",
    )
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "map.json").read_text())
    assert [(c["width"], c["batch"]) for c in run["map"]] == [
        (width, batch) for batch in ("32", "128", "full") for width in (2, 4)
    ]
    for cell in run["map"]:
        assert cell["fastest"] in ("numpy", "numpy-hand")
        assert set(cell["us_per_sample"]) == {"numpy", "numpy-hand"}
    assert "2, full" in bench.markdown(run)
    assert (tmp_path / "map.svg").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jobs=nothing"], "job must be one of moons"),
        (["--peers=cntk"], "peer must be one of numpy-hand"),
        (["--backends=fortran"], "backend must be one of cython"),
        (["--map", "--widths=2,x"], "widths must be whole numbers"),
        (["--map", "--layers=0"], "layers must be whole numbers"),
        (["--backends=none", "--peers=none"], "nothing to time"),
        (["--json=/nonexistent/bench.json"], "no such directory"),
    ],
)
def test_bad_arguments(arguments, message):
    result = run_command(*arguments)
    assert result.exit_code == 2
    # typer draws a box and breaks lines in it
    flat = " ".join(result.output.replace("│", " ").split())
    assert message in flat


def test_failing_contender_is_named(monkeypatch):
    """A process that dies, or computes something else, is an entry with its reason."""
    broken = dataclasses.replace(TINY, layer_sizes=(3, 3, 2))  # two features come
    contender = bench.CONTENDERS["numpy-hand"]
    run = bench.measure([broken], [contender], seconds=0.01, rounds=1)
    (entry,) = run["results"]
    assert entry["us_per_step"] is None
    assert "ValueError" in entry["error"]
    assert run["ratios"]["tiny"]["best_peer"] is None
    assert any("failed: numpy-hand at tiny" in line for line in bench.remarks(run))


def test_child_that_ends_tells_why():
    child = bench.Child("numpy-hand")
    with pytest.raises(bench.ContenderError, match="took more than"):
        child.ask(0.0, ask="machine")
    child.close()
