"""Running all experiments and writing their report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastnn
from fastnn import backends
from fastnn.datasets import write_atomically
from fastnn.errors import ModelFormatError
from fastnn.experiments import (
    activation_functions,
    depth,
    gradients,
    moons,
    more,
    report,
    rings,
    trouble,
    width,
)
from fastnn.experiments.jobs import cached_trainings, remove_cache
from fastnn.experiments.result import Result
from fastnn.extras import require
from fastnn.training.checkpoints import differences
from fastnn.training.team import raise_interrupt

EXPERIMENTS: dict[str, Callable[..., Result]] = {
    "data": moons.data,
    "activations": activation_functions.activations,
    "hidden_units": width.hidden_units,
    "layers": depth.layers,
    "circles": rings.circles,
    "more_data": more.more_data,
    "numerics": trouble.numerics,
    "gradient_check": gradients.gradient_check,
}

SEEDS = 6
# Experiments without the argument seeds, and without the argument backend.
_WITHOUT_SEEDS = ("data", "numerics", "gradient_check")
_WITHOUT_BACKEND = ("data", "numerics")

# Small enough for a test. "activations" keeps its steps, for the comparison with reference losses.
_QUICK: dict[str, dict[str, Any]] = {
    "hidden_units": {"units": (1, 3, 5, 15), "epochs": 400},
    "layers": {"depths": (1, 2, 5), "budget": 150, "epochs": 150},
    "circles": {"epochs": 150, "many": 2_000, "many_epochs": 2},
    "more_data": {"epochs": 150, "digits_epochs": 4},
    "numerics": {"steps": 20, "scales": (1.0, 1000.0)},
    "gradient_check": {"networks": ((2, 3, 2), (2, 4, 4, 2))},
}
QUICK_SEEDS = 2

# Approximate shares of the running time, for the progress bar.
_SHARES = {
    "data": 1,
    "activations": 10,
    "hidden_units": 40,
    "layers": 40,
    "circles": 25,
    "more_data": 10,
    "numerics": 5,
    "gradient_check": 5,
    "report": 25,
}

ProgressCallback = Callable[[str, float], None]


def choose(only: str | Sequence[str] | None) -> list[str]:
    """Names of the selected experiments, in the order of the report.

    Parameters
    ----------
    only : str or sequence of str, optional
        Names, or a string of comma-separated names; None for all.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If a name is unknown, or if there are no names.
    """
    if only is None:
        return list(EXPERIMENTS)
    parts = only.split(",") if isinstance(only, str) else list(only)
    names = [part.strip().replace("-", "_") for part in parts if part.strip()]
    for name in names:
        if name not in EXPERIMENTS:
            raise ValueError(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    if not names:
        raise ValueError(f"only names no experiment; there are {', '.join(EXPERIMENTS)}")
    return [name for name in EXPERIMENTS if name in names]


STATE_FILE = "run.json"  # exists while a run is in progress, and after it was stopped
CACHE_FOLDER = "trainings"


def _begin(folder: Path, asked: dict[str, Any], resume: bool) -> None:
    """Write the state file; with ``resume``, check that the stopped run had the same arguments."""
    path = folder / STATE_FILE
    if resume:
        found = differences(read_state(folder), asked)
        if found:
            raise ValueError(f"{folder}: another run was stopped there: {'; '.join(found)}")
        return
    path.unlink(missing_ok=True)
    remove_cache(folder / CACHE_FOLDER)
    write_atomically(path, (json.dumps(asked) + "\n").encode())


def read_state(folder: Path) -> dict[str, Any]:
    """Read the arguments of a run that was stopped.

    Raises
    ------
    FileNotFoundError
        If the folder does not contain a stopped run.
    ModelFormatError
        If the file is not the state of a run.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no experiments were stopped there (no {STATE_FILE})")
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if {*state} == {"fastnn", "only", "backend", "seeds", "quick"}:
            return state
    except (ValueError, TypeError):
        pass
    raise ModelFormatError(f"{path}: not the state of a run")


@dataclass
class _Progress:
    """Reports the fraction of the whole run that is done, in units of ``_SHARES``."""

    tell: ProgressCallback | None
    whole: float
    done: float = 0.0

    def start(self, name: str) -> None:
        """Report the beginning of an experiment."""
        if self.tell is not None:
            self.tell(name, self.done / self.whole)

    def tick_for(self, name: str) -> Callable[[float], None] | None:
        """Callback that takes the fraction of one experiment or of the report."""
        if self.tell is None:
            return None
        tell, before = self.tell, self.done
        return lambda share: tell(name, (before + share * _SHARES[name]) / self.whole)


def _options(name: str, backend: str, seeds: int, quick: bool) -> dict[str, Any]:
    """Arguments of an experiment, except for the progress callback."""
    options: dict[str, Any] = dict(_QUICK.get(name, {})) if quick else {}
    if name not in _WITHOUT_SEEDS:
        options["seeds"] = seeds
    if name not in _WITHOUT_BACKEND:
        options["backend"] = backend
    return options


def run(
    out: str | Path | None = None,
    *,
    only: str | Sequence[str] | None = None,
    backend: str = "auto",
    seeds: int | None = None,
    quick: bool = False,
    progress: ProgressCallback | None = None,
    resume: bool = False,
) -> dict[str, Result]:
    """Run experiments and write their report.

    Checkpoints of the trainings are stored in the folder of the report until it is written.

    Parameters
    ----------
    out : path, optional
        Folder of the report; None: no files are written.
    only : str or sequence of str, optional
        Names of :data:`EXPERIMENTS`; default: all.
    backend : str, default="auto"
        Name of the backend.
    seeds : int, optional
        Number of runs per setting; default: 6, or 2 with ``quick``.
    quick : bool, default=False
        Use few steps, to check that everything works.
    progress : callable, optional
        Called with the name of the experiment and the fraction of the whole run that is done.
    resume : bool, default=False
        Continue a run in ``out`` that was stopped and had the same arguments.

    Returns
    -------
    dict of Result by name

    Raises
    ------
    ValueError
        If an argument is invalid, or if the stopped run had other arguments.
    FileNotFoundError
        If there is no run to resume.

    Examples
    --------
    >>> from fastnn import experiments
    >>> results = experiments.run("report", only="data", quick=True)
    >>> list(results)
    ['data']
    """
    names = choose(only)
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds must be at least 1; got {seeds}")
    seeds = seeds or (QUICK_SEEDS if quick else SEEDS)
    backend = backends.load(backend).NAME
    folder = None if out is None else Path(out)
    require("matplotlib", "an experiment", "experiments")
    if folder is not None:
        require("jinja2", "the report")
    if folder is not None:
        # Fail before the experiments, not after them, if the folder is not writable.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").touch()
        asked = {"only": names, "backend": backend, "seeds": seeds, "quick": quick}
        _begin(folder, {"fastnn": fastnn.__version__, **asked}, resume)
    parts = [*names, *(["report"] if folder else [])]
    shown = _Progress(progress, sum(_SHARES[name] for name in parts))
    started = time.perf_counter()
    results: dict[str, Result] = {}
    drawn: dict[str, Future[dict[str, dict[str, str]]]] = {}
    # Compiled training releases the GIL, so that figures are drawn concurrently.
    drawer = ThreadPoolExecutor(1)
    try:
        for name in names:
            options = _options(name, backend, seeds, quick)
            if name != "data":
                options["tick"] = shown.tick_for(name)
            shown.start(name)
            with cached_trainings(None if folder is None else folder / CACHE_FOLDER):
                results[name] = EXPERIMENTS[name](**options)
            if folder is not None:
                drawn[name] = drawer.submit(report.draw, results[name], folder)
            shown.done += _SHARES[name]
        if folder is not None:
            about = report.About(backend, seeds, quick, time.perf_counter() - started)
            embedded: dict[str, Any] = {}
            tick = shown.tick_for("report")
            for number, name in enumerate(names):
                embedded |= drawn[name].result()
                if tick is not None:
                    tick((number + 1) / len(names))
            report.write(results, embedded, folder, about)
            (folder / STATE_FILE).unlink(missing_ok=True)
            remove_cache(folder / CACHE_FOLDER)
    except RuntimeError as error:
        raise_interrupt(error)
        raise
    finally:
        drawer.shutdown(cancel_futures=True)
    return results
