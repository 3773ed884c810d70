"""``python -m benchmarks``: its processes, and what the command writes."""

import dataclasses
import importlib.util
import json
import os

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import (
    charts,
    measuring,
    processes,
    published,
    tables,
)
from benchmarks.__main__ import command
from benchmarks.cnn.__main__ import CURVES
from benchmarks.contenders import CONTENDERS, base
from benchmarks.jobs import JOBS
from benchmarks.measuring import measure, medians_in_turn
from benchmarks.passes import calibrated
from fastnn import backends

TINY = dataclasses.replace(JOBS["moons"], name="tiny", samples=20, check_steps=5)

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
