"""A quick run of all experiments, for the tests of what it writes."""

import json

import pytest

from fastnn import experiments


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A quick run of everything: its folder, its results, what progress told."""
    out = tmp_path_factory.mktemp("report")
    told = []
    results = experiments.run(out, quick=True, progress=lambda *args: told.append(args))
    return out, results, told


@pytest.fixture(scope="session")
def numbers(report):
    """What results.json holds."""
    return json.loads((report[0] / "results.json").read_text(encoding="utf-8"))
