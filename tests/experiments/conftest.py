"""A quick run of all experiments, for the tests of what it writes."""

import json

import pytest

from fastnn import experiments
from fastnn.experiments import style


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A quick run of everything: its folder, its results, what progress told."""
    out = tmp_path_factory.mktemp("report")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._SETTINGS, "savefig.dpi", 40)  # of the files beside the page
        results = experiments.run(out, quick=True, progress=lambda *args: told.append(args))
    return out, results, told


@pytest.fixture(scope="session")
def numbers(report):
    """What results.json holds."""
    return json.loads((report[0] / "results.json").read_text(encoding="utf-8"))
