"""Storage of the finished fits of a search: in memory, or in a folder to resume from."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fastnn.datasets import write_atomically
from fastnn.errors import ModelFormatError
from fastnn.network import Network
from fastnn.tables.trials import Fit
from fastnn.training.checkpoints import differences, plain

STATE_FILE = "search.json"
FOLDER = "trials"
FORMAT = 1


class FitKey(NamedTuple):
    """Identifies a fit of a search: number of the trial, number of epochs, number of the fold."""

    trial: int
    epochs: int
    fold: int


class FitStore(Protocol):
    """Interface of a storage of finished fits."""

    def get(self, key: FitKey) -> Fit | None:
        """Return a finished fit; None if it is not stored."""

    def put(self, key: FitKey, fit: Fit, network: Network) -> None:
        """Store a finished fit."""

    def network(self, key: FitKey) -> Network:
        """Return the network of a stored fit."""


class FitMemory:
    """Storage in memory, for a search that cannot be resumed."""

    def __init__(self) -> None:
        self._kept: dict[FitKey, tuple[Fit, Network]] = {}

    def get(self, key: FitKey) -> Fit | None:
        """See :class:`FitStore`."""
        found = self._kept.get(key)
        return None if found is None else found[0]

    def put(self, key: FitKey, fit: Fit, network: Network) -> None:
        """See :class:`FitStore`."""
        self._kept[key] = fit, network

    def network(self, key: FitKey) -> Network:
        """See :class:`FitStore`."""
        return self._kept[key][1]


class SearchFolder:
    """Folder of a search that can be resumed.

    Parameters
    ----------
    run : Path
        Folder of the run.
    fingerprint : dict
        Settings on which the results depend, and a digest of the rows.

    Attributes
    ----------
    folder : Path
        Folder with the finished fits.

    Raises
    ------
    ValueError
        If the folder contains another search.
    ModelFormatError
        If the file with the state of the search is damaged.
    """

    def __init__(self, run: Path, fingerprint: dict[str, Any]) -> None:
        self.folder, self.fingerprint = run / FOLDER, plain(fingerprint)
        self._state = run / STATE_FILE
        if self._state.exists():
            found = differences(read_state(self._state)["purpose"], self.fingerprint)
            if found:
                raise ValueError(f"{run}: has the trials of another search: {'; '.join(found)}")
            for left_over in self.folder.glob(".*.tmp"):  # from a process that was killed
                left_over.unlink(missing_ok=True)
        else:
            self._write(over=False)

    def _write(self, over: bool) -> None:
        state = {"format": FORMAT, "over": over, "purpose": self.fingerprint}
        write_atomically(self._state, (json.dumps(state, indent=1) + "\n").encode())

    def finish(self) -> None:
        """Mark the search as finished and remove its fits; call after the result is written."""
        self._write(over=True)
        remove_fits(self.folder)

    @staticmethod
    def remove(run: Path) -> None:
        """Remove the state and the fits of an earlier search."""
        (run / STATE_FILE).unlink(missing_ok=True)
        remove_fits(run / FOLDER)


def remove_fits(folder: Path) -> None:
    """Remove the fits of a search, and their folder if it is then empty."""
    for path in [*folder.glob("trial-*.safetensors"), *folder.glob("fit-*.json")]:
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class FitFolder(SearchFolder):
    """Storage of fits as model files in a folder, each written atomically.

    A fit that diverged is not stored; it is repeated, and diverges again, when the search resumes.

    Parameters
    ----------
    run, fingerprint
        As for :class:`SearchFolder`.
    backend : str
        Backend of the networks that are loaded.

    Raises
    ------
    ValueError
        If the folder contains another search.
    ModelFormatError
        If a file in it is damaged.
    """

    def __init__(self, run: Path, fingerprint: dict[str, Any], backend: str = "auto") -> None:
        super().__init__(run, fingerprint)
        self.backend = backend
        self._known: dict[FitKey, Fit] = {}

    def _path(self, key: FitKey) -> Path:
        return (
            self.folder / f"trial-{key.trial:04d}-epochs-{key.epochs}-fold-{key.fold}.safetensors"
        )

    def get(self, key: FitKey) -> Fit | None:
        """See :class:`FitStore`."""
        if key not in self._known:
            path = self._path(key)
            if not path.exists():
                return None
            from fastnn import storage

            kept: Any = storage.describe(path).training.get("search")
            try:
                values = {name: kept[name] for name in asdict(Fit(0, 0, 0))}
                self._known[key] = Fit(
                    **{name: float("nan" if v is None else v) for name, v in values.items()}
                )
            except (TypeError, KeyError, ValueError):
                raise ModelFormatError(f"{path}: not a trial of a search; delete it") from None
        return self._known[key]

    def put(self, key: FitKey, fit: Fit, network: Network) -> None:
        """See :class:`FitStore`."""
        from fastnn import storage

        values = {name: v if math.isfinite(v) else None for name, v in asdict(fit).items()}
        storage.save(network, self._path(key), training={"search": values})
        self._known[key] = fit

    def network(self, key: FitKey) -> Network:
        """See :class:`FitStore`."""
        from fastnn import storage

        model: Any = storage.load(self._path(key), backend=self.backend)
        return model


class ScoreFolder(SearchFolder):
    """Storage of scores by a digest of settings and samples, for the search of the preset plain."""

    def _path(self, key: str) -> Path:
        return self.folder / f"fit-{key}.json"

    def get(self, key: str) -> tuple[float, float] | None:
        """Return score and seconds of a finished fit; None if it is not stored.

        Raises
        ------
        ModelFormatError
            If its file is damaged.
        """
        path = self._path(key)
        if not path.exists():
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return float(kept["score"]), float(kept["seconds"])
        except (ValueError, TypeError, KeyError):
            raise ModelFormatError(f"{path}: not the score of a fit; delete it") from None

    def put(self, key: str, score: float, seconds: float) -> None:
        """Store score and seconds of a finished fit."""
        text = json.dumps({"score": score, "seconds": seconds}) + "\n"
        write_atomically(self._path(key), text.encode())


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of a search.

    Raises
    ------
    ModelFormatError
        If the file is not the state of a search, or has another format version.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        good = isinstance(state["purpose"], dict) and isinstance(state["over"], bool)
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise ModelFormatError(f"{path}: not the state of a search")
    if state.get("format") != FORMAT:
        raise ModelFormatError(
            f"{path}: written in format {state.get('format')}, by another fastnn"
        )
    return state
