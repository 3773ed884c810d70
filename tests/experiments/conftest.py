"""A quick run of all experiments, for the tests of its output."""

import json

import pytest

from fastnn import experiments
from fastnn.experiments import style


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A quick run of all experiments: its folder, its results, and the calls of ``progress``."""
    out = tmp_path_factory.mktemp("report")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._SETTINGS, "savefig.dpi", 40)  # for the PNG files
        results = experiments.run(out, quick=True, progress=lambda *args: told.append(args))
    return out, results, told


@pytest.fixture(scope="session")
def numbers(report):
    """Contents of results.json."""
    return json.loads((report[0] / "results.json").read_text(encoding="utf-8"))
