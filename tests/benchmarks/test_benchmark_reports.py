"""Tables and figures of the benchmarks, and what they are computed from."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import fastnn
from benchmarks import (
    outputs,
    processes,
    scaling,
    tabular,
)
from benchmarks.cnn import __main__ as cnn_command
from benchmarks.cnn import measuring as cnn_measuring
from benchmarks.cnn import report

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
