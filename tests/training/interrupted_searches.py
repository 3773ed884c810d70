"""Interrupt searches at random times: ``interrupted_searches.py BACKEND COUNT [KIND ...]``.

The functions behind ``fastnn search`` are called, with few fits of milliseconds, in one folder
after another until the signal comes. A search that is continued in the folder of the interrupted
one must end with the result of one that nothing interrupted.
"""

import functools
import itertools
import math
import tempfile
from pathlib import Path

import interrupting
import numpy as np
from interrupted_commands import ROWS, damaged
from interrupting import Kind

from fastnn.cli import searching, tables, tabular_search
from fastnn.cli.search_settings import SearchSettings
from fastnn.estimators.search import Search, cross_validate, results
from fastnn.tables import realmlp
from fastnn.tables.fit_store import ScoreFolder

realmlp.HIDDEN = 16, 8
ROOT = tempfile.TemporaryDirectory()
FOLDERS = (Path(ROOT.name) / str(number) for number in itertools.count())


class Folders:
    """Repeated searches; the folder is that of the last one."""

    def __init__(self, search):
        self.search = search

    def __call__(self, repetitions):
        for _ in range(repetitions):
            self.folder = next(FOLDERS)
            self.folder.mkdir()
            found = self.search(self.folder)
            if found["stopped"] == "interrupted":
                break
        return found


def loaded(data, preset, backend, **more):
    """Settings and data of a search, as the command has them."""
    settings = SearchSettings.check(
        {"data": data, "preset": preset, "backend": backend, "threads": 2, "folds": 2, **more}
    )
    dataset, rows, _, encoding = tables.load(settings, data_seed=True)
    return settings.completed(encoding is not None), dataset, rows


@functools.cache
def plain_search(backend):
    """The preset plain: scikit-learn's search."""
    settings, dataset, rows = loaded("iris", "plain", backend, trials=3, epochs=5)
    model = searching._model(dataset.task, settings)
    distributions = searching._distributions(settings)
    search = Search(str(settings.method), 3, 2, None, 2, settings.seed)
    X, y = searching.part(dataset, rows, np.dtype(model.dtype))

    def run(folder):
        kept = ScoreFolder(folder, {"rows": len(X)})
        found = cross_validate(model, distributions, X, y, search, kept=kept)
        table, best = results(found)
        del table["seconds"]
        return {"stopped": "trials", "best": best, **table}

    return run


@functools.cache
def table_search(backend):
    """The preset tabular, whose result is an ensemble."""
    path = Path(ROOT.name) / "t.csv"
    path.write_text("x,kind,y\n" + ROWS)
    settings, dataset, rows = loaded(str(path), "tabular", backend, target="y", trials=3, epochs=6)
    problem = tabular_search.problem_of(dataset, rows, settings, "accuracy")

    def run(folder):
        found = tabular_search.run(problem, settings, folder, quiet=True).found
        return {
            "stopped": found.stopped,
            "trials": [(each.number, each.epochs, each.score, each.loss) for each in found.trials],
            "members": found.members,
            "score": found.score,
            "networks": [net.params.tobytes() for net in found.model.networks],
        }

    return run


@functools.cache
def whole(searches, backend):
    """Result of a search that nothing interrupted."""
    folder = next(FOLDERS)
    folder.mkdir()
    return searches(backend)(folder)


def repeated(searches, backend):
    """Repeated searches, which are interrupted."""
    folders = Folders(searches(backend))
    return folders, folders


def wrong_search(searches, folders, result, call, make, backend):
    """Describe what is wrong with the files, or with the continued search; "" if nothing."""
    if found := damaged(folders.folder, False):
        return found
    expected = whole(searches, backend)
    if result is not None and result["stopped"] != "interrupted":
        return f"stopped by {result['stopped']}"
    if result is not None:  # what was finished, at an earlier round of halving
        scores = {trial[:2]: trial[2] for trial in expected["trials"]}
        for number, epochs, score, _ in result["trials"]:
            if not math.isclose(scores.get((number, epochs), score), score, rel_tol=0):
                return f"another score of trial {number}"
    again = folders.search(folders.folder)
    return "" if again == expected else f"another result than without an interrupt: {again}"


def kind(searches):
    """Kind of call for a kind of search."""
    return Kind(
        functools.partial(repeated, searches),
        functools.partial(wrong_search, searches),
        None,
        longest=0.1,
    )


KINDS = {"search": kind(plain_search), "table search": kind(table_search)}

if __name__ == "__main__":
    interrupting.main(KINDS)
