"""``python -m benchmarks.waits``: cases, units, table and chart."""

import pytest
from matplotlib.image import imread

from benchmarks.waits.__main__ import Worker, draw, in_units, ratio, table
from benchmarks.waits.cases import CASES


@pytest.mark.parametrize("library", ["estimators", "network", "sklearn"])
@pytest.mark.parametrize("case", ["two_rows", "step_2", "predict_1", "partial_fit", "frame"])
def test_small_cases_run(library, case):
    worker = Worker(library)
    if library == "network" and case in ("partial_fit", "frame"):
        assert not worker.prepare(case)  # those are for scikit-learn's interface
    else:
        assert worker.prepare(case)
        assert worker.calls >= 1


def test_every_case_says_what_it_is():
    assert all(case.__doc__ for case in CASES)


def test_units():
    texts = [in_units(seconds) for seconds in (12.0, 0.0345, 6.78e-5, 1e-8)]
    assert texts == ["12.0 s", "34.5 ms", "67.8 µs", "0.0100 µs"]


def test_table_and_chart(tmp_path):
    times = {"network": 2e-3, "estimators": 4e-3, "sklearn": 1e-2, "torch": 6e-3}
    assert ratio(times) == pytest.approx(3)
    assert ratio({"network": 1.0}) is None
    run = {
        "machine": {"cpu": "a processor", "cores": 2, "usable_cores": 2, "date": "2026-11-30"},
        "libraries": list(times),
        "results": {"step_2": times, "digits": {"estimators": 1.0, "sklearn": 2.0}},
    }
    first, second = table(run).splitlines()[2:4]
    assert first.endswith("| 4.00 ms | 10.0 ms | 6.00 ms | 3.00× |")
    assert second == "| digits, default settings, 60 epochs |  | 1.00 s | 2.00 s |  | 2.00× |"
    draw(run, tmp_path / "waits.png")
    height, width, _ = imread(tmp_path / "waits.png").shape
    assert (width, height) == (960, 192)
