"""What ``benchmarks/`` computes and writes, not how fast anything is."""

import dataclasses
import importlib.util
import json
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import fastnn
from benchmarks import (
    charts,
    jobs,
    measuring,
    outputs,
    processes,
    published,
    scaling,
    tables,
    tabular,
)
from benchmarks.__main__ import command
from benchmarks.cnn import __main__ as cnn_command
from benchmarks.cnn import measuring as cnn_measuring
from benchmarks.cnn import report
from benchmarks.cnn.__main__ import CURVES
from benchmarks.contenders import CONTENDERS, base
from benchmarks.contenders.numpy_hand import NumpyByHand
from benchmarks.jobs import JOBS
from benchmarks.measuring import ContenderProcess, check, measure, medians_in_turn, seconds_per_step
from benchmarks.passes import calibrated
from benchmarks.tasks import Task, expm_2x2, make_data
from fastnn import backends

TINY = dataclasses.replace(JOBS["moons"], name="tiny", samples=20, check_steps=5)
ADAM = dataclasses.replace(jobs.map_job(6, 32, 2), name="adam", check_steps=70)
EXPM = dataclasses.replace(JOBS["expm"], samples=50, check_steps=5)
PREDICT = dataclasses.replace(JOBS["predict-1k"], samples=7)


# --- jobs and tasks -----------------------------------------------------------------


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_jobs_are_well_formed(job):
    assert job.name in JOBS
    assert job.samples % job.samples_per_step == 0
    assert len(job.n_weights) == len(job.layer_sizes) - 1
    assert job.flops > 0 < job.moved_bytes
    small = dataclasses.replace(job, samples=min(job.samples, 256))
    x, y, source = make_data(small, data_dir="/nonexistent")
    assert x.shape == (small.samples, job.layer_sizes[0])
    assert x.dtype == job.dtype
    assert len(y) == small.samples
    assert np.isfinite(x).all()
    if job.loss == "cross_entropy":
        assert 0 <= y.min() <= y.max() < job.layer_sizes[-1]
    else:
        assert y.shape == (small.samples, job.layer_sizes[-1])
    assert ("random" in source) == (job.data == "mnist")
    assert Task(job, x, y, source).new_network("numpy").n_params == job.n_params


def test_weights_may_have_been_trained_before():
    later = dataclasses.replace(ADAM, epochs_before=2)
    assert later.describe() == ADAM.describe() + ", from epoch 3 on"
    first, trained = (Task.make(job).network("numpy") for job in (ADAM, later))
    task = Task.make(ADAM)
    first.fit(
        task.x, task.y, optimizer=task.optimizer, epochs=2, batch_size=ADAM.batch_size,
        shuffle=False,
    )  # fmt: skip
    # float32, by another backend, after some steps
    np.testing.assert_allclose(trained.params, first.params, rtol=1e-3, atol=1e-5)
    task, contender = Task.make(later), CONTENDERS["numba"]
    assert check(task, contender, contender.make(task))["equal"]


def test_operations_of_a_step():
    job = dataclasses.replace(JOBS["moons"], samples=10)
    # forward and weights: 2-3 and 3-2; inputs: 3-2 only
    assert job.flops == 2 * 10 * ((6 + 6) * 2 + 6)
    assert dataclasses.replace(job, predict=True).flops == 2 * 10 * 12


def test_exponential_of_2x2_matrices():
    from scipy.linalg import expm

    rows = np.random.default_rng(0).uniform(-1, 1, (50, 4))
    expected = np.array([expm(row.reshape(2, 2)).ravel() for row in rows])
    # float64: some tens of roundings of numbers up to 3
    np.testing.assert_allclose(expm_2x2(rows), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("steps", "whole", "rows_and_epochs"),
    [(1, 1, (32, 1)), (32, 32, (1024, 1)), (70, 64, (1024, 2)), (0, 1, (32, 1))],
)
def test_steps_are_whole_epochs(steps, whole, rows_and_epochs):
    task = Task.make(ADAM)
    assert task.whole_epochs(steps) == whole
    assert task.rows_and_epochs(whole) == rows_and_epochs


def test_stacked_batches_are_the_batches():
    task = Task.make(ADAM)
    x, y = task.stacked_batches()
    assert len(x) == len(task.batches()) == ADAM.steps_per_epoch
    for k, (inputs, targets) in enumerate(task.batches()):
        np.testing.assert_array_equal(x[k], inputs)
        np.testing.assert_array_equal(y[k], targets)


# --- contenders ---------------------------------------------------------------------


@pytest.mark.parametrize("job", [TINY, ADAM, EXPM, PREDICT], ids=lambda job: job.name)
@pytest.mark.parametrize("name", ["numpy", "numpy-shuffled", "numpy-hand", "sklearn"])
def test_contender_computes_the_same(job, name):
    contender = CONTENDERS[name]
    if not contender.takes(job):
        pytest.skip("shuffling needs batches")
    job = dataclasses.replace(job, check_steps=min(job.check_steps, 64), dtype="float64")
    task = Task.make(job)
    runner = contender.make(task)
    answer = check(task, contender, runner)
    assert answer["equal"], answer
    # float64, at most 64 steps
    assert answer["difference"] < 1e-9
    # the initial weights come back
    runner.reset()
    assert check(task, contender, runner) == answer
    assert seconds_per_step(task, runner, 1e-4, 1e-4) > 0


def need(contender):
    """A peer of the extra "test" must be there in CI; others are optional."""
    reason = contender.why_missing()
    if reason and os.environ.get("CI") and contender.needs != "jax":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize(
    "name",
    [
        "torch",
        "tf-xla-loop",
        "jax-loop",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                *("keras", "torch-1", "torch-compiled"),
                *("tf-function", "tf-xla-step", "jax-step"),
            )
        ),
    ],
)
def test_peer_in_its_process_computes_the_same(name):
    """Each job's first steps, from the same weights, have the loss of the NumPy backend."""
    need(CONTENDERS[name])
    child = ContenderProcess(name)
    try:
        for job in (TINY, ADAM, EXPM, PREDICT):
            if CONTENDERS[name].takes(job):
                whole = min(job.check_steps, 64)  # epochs of fastnn
                answer = child.prepare(dataclasses.replace(job, check_steps=whole))
                assert answer["equal"], (job.name, answer)
                assert child.time(1e-3) > 0
    finally:
        child.close()


def test_torch_has_an_adam_of_its_own():
    torch = pytest.importorskip("torch")
    task = Task.make(ADAM)
    params, ours = NumpyByHand(task, torch_adam=True), NumpyByHand(task)
    p = torch.zeros(params.params.size, requires_grad=True)
    rule = torch.optim.Adam([p], lr=task.optimizer.learning_rate, eps=task.optimizer.epsilon)
    for runner in (params, ours):
        runner.params[:] = 0.0
    for _ in range(3):
        g = np.full(p.shape, 1e-8, np.float32)  # as small as epsilon, where it matters
        p.grad = torch.from_numpy(g.copy())
        rule.step()
        params._update(g.copy())
        ours._update(g.copy())
    # float32: three steps of a dozen roundings each; the formulas differ by more than 1%
    np.testing.assert_allclose(params.params, p.detach().numpy(), rtol=1e-4)
    assert abs(ours.params / params.params - 1).min() > 0.01


def test_difference_is_seen():
    task = Task.make(TINY)
    contender = CONTENDERS["numpy-hand"]
    runner = contender.make(task)
    runner.start[0] += 0.1
    runner.reset()
    assert not check(task, contender, runner)["equal"]


# --- processes and turns ------------------------------------------------------------


def test_child_that_is_late_is_ended():
    child = processes.Child("time")
    with pytest.raises(processes.ChildError, match="took more than 0 s"):
        child.ask("sleep", 30, limit=0.1)
    child.close()


def test_child_answers_until_it_fails():
    child = processes.Child("operator")
    assert child.ask("add", 2, 3) == 5
    with pytest.raises(processes.ChildError, match="ZeroDivisionError"):
        child.ask("truediv", 1, 0)
    assert child.ask("add", 1, 1) == 2
    child.close()


def test_child_that_dies_tells_why():
    child = processes.Child("os")
    with pytest.raises(processes.ChildError, match="ended with 3"):
        child.ask("_exit", 3)
    child.close()


def test_function_in_a_fresh_process():
    assert processes.in_fresh_process("os", "getpid") != os.getpid()


def test_medians_are_taken_in_turn():
    calls = []

    def contender(name, values):
        values = iter(values)
        return lambda: (calls.append(name), next(values))[1]

    timed = {"a": contender("a", [5, 1, 3]), "b": contender("b", [2, 2, 8])}
    assert medians_in_turn(timed, rounds=3) == {"a": 3, "b": 2}
    assert calls == ["a", "b"] * 3


def test_repetitions_fill_a_turn():
    repetitions = []

    def seconds(n):
        repetitions.append(n)
        return 0.002 * n

    assert calibrated(seconds)() == pytest.approx(0.002)
    assert repetitions == [1, 1, 50]


# --- the command --------------------------------------------------------------------


@pytest.fixture
def without_torch(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        base.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name)
    )


def run_command(*arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [*arguments])


def test_command_writes_json_and_chart(tmp_path, without_torch, monkeypatch):
    monkeypatch.setitem(JOBS, "moons", TINY)
    fresh = processes.in_fresh_process
    monkeypatch.setattr(measuring, "in_fresh_process", lambda *call: fresh(*call, 64, 2**10))
    result = run_command(
        "--jobs=moons,predict-1",
        "--backends=numpy",
        "--peers=numpy-hand,torch",
        "--seconds=0.02",
        "--rounds=2",
        f"--json={tmp_path / 'bench.json'}",
        f"--plot={tmp_path / 'bench.svg'}",
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
    table = tables.markdown(run)
    assert "| fastnn numpy |" in table
    assert "| NumPy by hand |" in table
    assert "missing: torch" in table
    panels = charts.draw(run).axes
    assert [ax.get_title(loc="left").splitlines()[0] for ax in panels] == ["tiny", "predict-1"]
    for ax in panels:
        assert {"fastnn numpy", "NumPy by hand"} == {t.get_text() for t in ax.get_yticklabels()}
    assert (tmp_path / "bench.svg").read_text().startswith("<?xml")


def test_charts_of_the_published_tables():
    text = (published.HERE / "README.md").read_text(encoding="utf-8")
    run = published.jobs_run(text)
    assert set(run["jobs"]) > set(published.SPEED)
    (ax,) = charts.draw(run).axes
    assert [t.get_text().splitlines()[0] for t in ax.get_yticklabels()] == list(run["jobs"])
    drawn = {points.get_label(): points.get_offsets() for points in ax.collections}
    # Numba's time on moons over Cython's, as the table has them
    row = next(line for line in text.splitlines() if line.startswith("| fastnn numba |"))
    times = {e["contender"]: e["us_per_step"] for e in run["results"] if e["job"] == "moons"}
    assert float(row.split("|")[2]) == times["numba"]
    np.testing.assert_allclose(drawn["fastnn numba"][0], [times["numba"] / times["cython"], 0])
    # of other libraries the fastest form, which is the bold one of the table
    jax = [e for e in run["results"] if e["job"] == "circles" and e["contender"].startswith("JAX")]
    assert min(jax, key=lambda e: e["us_per_step"])["contender"] == "JAX whole loop"
    assert run["ratios"]["circles"]["best_peer"] == "JAX whole loop"
    assert len(published.map_run(text)["map"]) == 99
    ratios, facts = published.waits_ratios(text)
    assert min(ratios.values()) > 0
    assert facts["usable_cores"] >= 1
    # a curve ends near the mean over the seeds, which the table has
    curves = json.loads(CURVES.read_text(encoding="utf-8"))
    for curve in curves["curves"]:
        row = next(x for x in text.splitlines() if x.startswith(f"| {curve['name']} | "))
        *_, error, _ = [cell.strip() for cell in row.strip("| ").split("|")]
        assert 100 - 100 * curve["points"][-1][1] == pytest.approx(float(error.split()[0]), abs=0.3)


@pytest.mark.slow
def test_map_names_the_fastest(tmp_path):
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
    assert "2, full" in tables.markdown(run)
    ax, scale = charts.draw(run).axes
    assert scale.get_ylabel() == "best backend against the best peer"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "4"]
    assert len([text for text in ax.texts if "×" in text.get_text()]) == 6
    assert (tmp_path / "map.svg").read_text().startswith("<?xml")


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
    """A process that fails is an entry with its reason."""
    monkeypatch.setattr(measuring, "in_fresh_process", lambda *function: {})  # speeds take seconds
    broken = dataclasses.replace(TINY, layer_sizes=(3, 3, 2))  # two features come
    contender = CONTENDERS["numpy-hand"]
    run = measure([broken], [contender], seconds=0.01, rounds=1)
    (entry,) = run["results"]
    assert entry["us_per_step"] is None
    assert "ValueError" in entry["error"]
    assert run["ratios"]["tiny"]["best_peer"] is None
    assert any("failed: numpy-hand at tiny" in line for line in tables.remarks(run))


# --- outputs ------------------------------------------------------------------------


def test_table_takes_the_place_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a:begin -->\nold\n<!-- a:end -->\nafter\n")
    table = outputs.markdown_table(["job", "us"], [["moons", "1.5"]])
    outputs.write_table(page, table, "a")
    assert page.read_text() == (
        "before\n<!-- a:begin -->\n| job | us |\n|---|---:|\n| moons | 1.5 |\n"
        "<!-- a:end -->\nafter\n"
    )
    with pytest.raises(SystemExit, match="no <!-- b:begin -->"):
        outputs.write_table(page, table, "b")


def test_every_table_of_the_readme_has_its_markers():
    text = (processes.ROOT / "benchmarks" / "README.md").read_text()
    names = ("bench", "map", "cliffs", "activation-sparsity", "cnn", "startup", "memory")
    for name in (*names, "calls", "many"):
        assert outputs.insert(text, "", name) != text


# --- the convolutional network ------------------------------------------------------


def cnn_run(**changes):
    step = {"contender": "tf.function", "precision": "float32", "batch": 50, "seconds": 0.05}
    curve = {
        "name": "course",
        "points": [[1.0, 0.5], [2.0, 0.988], [4.0, 0.989]],
        "seconds_to": {"0.9867": 2.0, "0.99": None},
        "ends": [[4.0, 0.989], [6.0, 0.991]],
    }
    run = {
        "machine": {"cpu": "CPU", "usable_cores": 2, "date": "2026-11-28 00:00", "versions": {}},
        "quick": False,
        "data": "mnist",
        "failed": [["JAX, float32", "jax is not installed"]],
        "steps": [step | {"images_per_second": 1000.0}],
        "inference": [step | {"images": 1}],
        "summaries": {"off": [0.05, 0.1], "light": [0.05, 0.15]},
        "curves": [curve],
        "bfloat16": {"hardware": False, "timed": False},
    }
    return run | changes


def test_tables_of_the_convolutional_network():
    lines = report.markdown(cnn_run()).splitlines()
    assert "| tf.function, float32 | 50.0 (1,000) |" in lines
    assert "| tf.function, float32 | 50.0 |  |" in lines
    # the median of 4 and 6 seconds; (1.1 + 0.9) / 2, and 0.1 as its standard error
    assert "| course | 2.00 | never | 5.00 | 1/1.0 | 1.00 ± 0.10 % | 2 |" in lines
    assert any("seconds to 1.33% error | seconds to 1% error" in line for line in lines)
    # 0.05 s more per report, every 100 steps of 0.05 s
    assert any("light 1.0%" in line for line in lines)
    assert "- failed: JAX, float32: jax is not installed" in lines
    assert not any("quick run" in line or "not MNIST" in line for line in lines)
    lines = report.markdown(cnn_run(quick=True, data="digits")).splitlines()
    assert any("quick run" in line for line in lines)
    assert "- images: digits, not MNIST" in lines


def test_figure_of_the_convolutional_network():
    (ax,) = report.draw(cnn_run()).axes
    (course,) = [line for line in ax.lines if line.get_label() == "convolutional, course"]
    # errors in percent: 1 - accuracy, to rounding
    np.testing.assert_allclose(course.get_ydata(), [50, 1.2, 1.1], rtol=1e-9)
    # one measure, in the axis and in all its labels
    assert ax.get_ylabel() == "test error"
    assert not ax.texts


def test_options_of_the_convolutional_network():
    def chosen(*arguments):
        return cnn_command.chosen_options(cnn_command.parser().parse_args(arguments))

    assert chosen() == cnn_measuring.Options()
    quick = chosen("--quick", "--batches=50,128", "--data=digits")
    assert (quick.quick, quick.rounds, quick.batches) == (True, 1, (50, 128))
    assert quick.data == "digits"
    assert chosen("--rounds=7").rounds == 7


# --- tables that packages ship ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "contender", "settings"),
    [("wine", "fastnn", {"n_epochs": 40}), ("diabetes", "random forest", {})],
)
def test_tabular_contenders_are_measured(name, contender, settings):
    x, y = tabular.table_of(name, 100)
    assert len(x) == len(y) == 100
    regression = tabular.TABLES[name][1]
    make = partial(tabular.CONTENDERS[contender], **settings)
    results = tabular.measure(make, x, y, regression)
    errors, auc, seconds, per_row, size, cpu, cpu_per_row = np.array(results, float).T
    assert len(results) == 5
    assert errors.mean() < (y.std() if regression else 0.2)
    assert np.isnan(auc).all() if regression else (auc > 0.9).all()
    assert (np.stack([seconds, per_row, size, cpu, cpu_per_row]) > 0).all()


def test_tabular_ranks():
    errors = pd.DataFrame([[1.0, 2, 3, 1], [2.0, 2, 1, 4]], ["a", "b"], ["w", "x", "y", "z"])
    lines = tabular.summary(errors, "a").splitlines()
    # ranks 1, 1.5, 2, 1 and 2, 1.5, 1, 2
    assert lines[2] == "| a | 1.38 | | | | |"
    assert lines[3] == "| b | 1.62 | +0.25 ± 0.48 | 2 | 1 | 1 |"
    results = [(0.1, 0.9, 1.0, 2.0, 3000), (0.3, 0.7, 3.0, 4.0, 5000)]
    assert tabular.row("a", results, False) == "| a | 0.2 ± 0.1 | 0.8000 | 2.00 | 3.0 | 4 |"
    assert tabular.row("a", results[:1], True) == "| a | 0.1 | 1.00 | 2.0 | 3 |"
    of_a_large_one = [(*results[0], 1.5, 2.5)]
    wanted = "| a | 0.1 | 0.9000 | 1.50 | 2.5 | 3 |"
    assert tabular.row("a", of_a_large_one, False, True) == wanted
    head, line = tabular.heading("t", pd.DataFrame({"c": [1]}), False, True).splitlines()[-2:]
    assert head.count("|") == line.count("|") == wanted.count("|")


def test_schedule_of_a_step():
    def step(sizes, samples, n_threads):
        plan = fastnn.Network(sizes, random_state=0).model.batch_plan(samples)
        return scaling.computed(plan, samples, 1.0, 0.0, n_threads)

    assert step([2, 3, 2], 200, 16) == (1, 1.0)  # too little work for a second thread
    used, seconds = step([64, 100, 10], 192, 16)  # two blocks of 96
    assert (used, round(seconds, 6)) == (2, 0.5)
    used, seconds = step([784, 1024, 1024, 10], 128, 4)  # 21 pieces of units: 6 for one thread
    assert used == 4
    assert 6 / 21 < seconds < 0.3  # 10 outputs are one thread's
    assert scaling.share_of_units(1024, 1) == 1.0


def test_derivatives_agree_and_make_a_table():
    """Whoever computes a step or a Jacobian computes the same: the functions check it."""
    from benchmarks import derivatives

    runs = derivatives.steps(2) | derivatives.jacobians((2, 3, 2))
    assert {"fastnn cython", "fastnn numba", "fastnn numpy"} <= set(runs)
    assert derivatives.calls_that_take(1e-9, runs["fastnn numpy"], 1) == 1
    table = derivatives.table({"a": {"fastnn": 1.234}, "b": {"fastnn": 20.0, "PyTorch": 3e4}})
    assert table.splitlines()[2:] == ["| fastnn | 1.23 | 20 |", "| PyTorch |  | 3e+04 |"]
