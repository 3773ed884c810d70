"""Hyperparameter search for RealMLP-TD-S: successive halving, then a greedy ensemble.

Each fit is determined by its trial, its fold and its number of epochs. It does not depend on the
worker that executes it, nor on the order of the fits. The result of a search is therefore the same
on a cluster, on a single core, and if the search is resumed from stored fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn.network import Network
from fastnn.network.ensemble import Ensemble
from fastnn.tables.fit_store import FitKey, FitStore
from fastnn.tables.halving import Halving
from fastnn.tables.pools import Results, pool
from fastnn.tables.trials import Deadline, Fit, Problem, drawn_settings, fit, fit_fold

FACTOR = 3  # of successive halving: each round has a third of the trials and 3 times the epochs
MIN_EPOCHS = 16  # minimum number of epochs in the first round
ROUNDS = 25  # rounds of the greedy selection
CANDIDATES = 20  # maximum number of trials from which the greedy selection chooses
UNIT_COST = 30  # cost of an activation, in units of the cost of a weight


@dataclass(frozen=True)
class Plan:
    """Settings of a search.

    Attributes
    ----------
    trials : int
        Number of trials.
    epochs : int
        Number of epochs of the last round.
    method : {"halving", "random"}
        "halving": all trials with few epochs, the best third of them with three times as many, and
        so on (:class:`fastnn.tables.halving.Halving`). "random": all trials with all epochs.
    ensemble : int
        Maximum number of trials in the ensemble; 0: train a single network with the best settings.
    time_limit : float or None
        Limit in seconds.
    """

    trials: int = 20
    epochs: int = 256
    method: str = "halving"
    ensemble: int = 5
    time_limit: float | None = None

    def rounds(self) -> list[tuple[int, int]]:
        """Epochs and number of trials of each round, without trial 0, the preset's own settings."""
        others = self.trials - 1
        rounds = [(self.epochs, others)]
        while self.method == "halving" and rounds[0][1] > 0:
            epochs = rounds[0][0] // FACTOR
            if epochs < MIN_EPOCHS or others <= FACTOR ** len(rounds) // 2:
                break
            rounds.insert(0, (epochs, others))
            rounds[1:] = [
                (later, max(1, -(-others // FACTOR**k)))
                for k, (later, _) in enumerate(rounds[1:], 1)
            ]
        return rounds

    def n_fits(self, folds: int) -> int:
        """Number of fits of the search."""
        return folds * (1 + sum(number for _, number in self.rounds()))


def fit_cost(features: int, settings: dict[str, Any]) -> float:
    """Relative cost of an epoch, from the numbers of weights and units."""
    sizes = [features, *settings["hidden_layer_sizes"]]
    return sum((a + UNIT_COST) * b for a, b in pairwise(sizes))


@dataclass
class Trial:
    """Result of a trial with the largest number of epochs for which it was run.

    Attributes
    ----------
    number : int
    settings : dict
    epochs : int
    score, deviation, loss : float
        Mean and standard deviation of the score, and mean loss, over the folds; NaN if a fold
        diverged.
    seconds : float
        Time of a fit, mean over the folds.
    """

    number: int
    settings: dict[str, Any]
    epochs: int
    score: float
    deviation: float
    loss: float
    seconds: float

    @property
    def order(self) -> tuple[bool, float, float, int]:
        """Sort key; better trials have smaller keys."""
        failed = np.isnan(self.score)
        return (bool(failed), -np.nan_to_num(self.score), np.nan_to_num(self.loss), self.number)


@dataclass
class SearchResult:
    """Result of a search.

    Attributes
    ----------
    model : Ensemble or Network
    score : float
        Score of the ensemble's out-of-fold predictions, computed over the rows of all folds; for a
        single network, the score of its trial.
    trials : list of Trial
        Sorted by decreasing number of epochs; with equal numbers, the best trial first.
    members : dict of int to float
        Weight of each trial in the ensemble, by its number.
    stopped : str
        Why the search ended: "trials", "time limit" or "interrupted".
    """

    model: Ensemble | Network
    score: float
    trials: list[Trial]
    members: dict[int, float]
    stopped: str


def search(
    problem: Problem,
    plan: Plan,
    store: FitStore,
    n_jobs: int | None = None,
    advance: Callable[[int], object] = lambda done: None,
) -> SearchResult:
    """Search on the active joblib backend; by default in threads, one fit per core.

    Parameters
    ----------
    problem : Problem
    plan : Plan
    store : FitStore
        Fits that it contains already are not repeated.
    n_jobs : int, optional
        Number of fits in parallel; default: one per core, or the setting of the backend.
    advance : callable, optional
        Called with the number of completed fits.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError
        If no trial has a score.
    KeyboardInterrupt
        If the search is interrupted before a trial has a score.
    """
    run = _SearchRun(problem, plan, store, advance)
    try:
        with pool(_numbered, problem, n_jobs) as results_of:
            run.execute(results_of)
    except KeyboardInterrupt:
        if not run.scored:
            raise
        run.stopped = "interrupted"
    return run.result()


class _SearchRun:
    """State of a running search."""

    def __init__(
        self, problem: Problem, plan: Plan, store: FitStore, advance: Callable[[int], object]
    ) -> None:
        self.problem, self.plan, self.store, self.advance = problem, plan, store, advance
        self.settings = drawn_settings(problem, plan.trials)
        self.fits: dict[FitKey, Fit] = {}
        self.trials: dict[int, Trial] = {}
        self.stopped = "trials"
        self.deadline = None if plan.time_limit is None else Deadline.after(plan.time_limit)
        features = problem.x.shape[1]
        self.halving = Halving(
            plan.rounds(), problem.n_folds, lambda trial: fit_cost(features, self.settings[trial])
        )

    @property
    def scored(self) -> bool:
        """Whether a completed trial has a score."""
        return any(np.isfinite(trial.score) for trial in self.trials.values())

    def execute(self, results_of: Callable[[Callable[[], tuple | None]], Results]) -> None:
        """Run all fits that are not stored yet."""
        self.advance(0)
        results = results_of(self._next)
        try:
            for key, done, network in results:
                if network is not None:
                    self.store.put(key, done, network)
                elif np.isinf(done.loss):
                    self.stopped = "time limit"
                    continue
                self._add(key, done)
        finally:
            results.close()

    def _next(self) -> tuple[FitKey, dict[str, Any], Deadline | None] | None:
        """Arguments of the next fit; None if there is none as yet."""
        while self.stopped == "trials":
            started = self.halving.start()
            if started is None:
                return None
            key = FitKey(*started)
            stored = self.store.get(key)
            if stored is None:
                return key, self.settings[key.trial], self.deadline
            self._add(key, stored)
        return None

    def _keys(self, trial: int, epochs: int) -> list[FitKey]:
        return [FitKey(trial, epochs, fold) for fold in range(self.problem.n_folds)]

    def _add(self, key: FitKey, done: Fit) -> None:
        """Record a fit, and its trial when all folds are complete."""
        self.fits[key] = done
        self.advance(len(self.fits))
        folds = [self.fits.get(other) for other in self._keys(key.trial, key.epochs)]
        if any(each is None for each in folds):
            return
        scores, losses, seconds = np.array(
            [(each.score, each.loss, each.seconds) for each in folds if each is not None]
        ).T
        trial = self.trials[key.trial] = Trial(
            key.trial,
            self.settings[key.trial],
            key.epochs,
            float(scores.mean()),
            float(scores.std()),
            float(losses.mean()),
            float(seconds.mean()),
        )
        order = None if np.isnan(trial.score) else trial.order
        self.halving.finish(trial.number, trial.epochs, order)

    # --- the result -------------------------------------------------------------------

    def result(self) -> SearchResult:
        """Build the result from the completed trials."""
        if not self.scored:
            if self.stopped == "time limit":
                raise ValueError(
                    f"the time limit of {self.plan.time_limit:g} s was over before a trial was "
                    f"finished; give more time, or fewer epochs or folds"
                )
            raise ValueError("every trial diverged or has no score; try another score")
        trials = sorted(self.trials.values(), key=lambda trial: (-trial.epochs, *trial.order))
        best = min(self.trials.values(), key=lambda trial: trial.order)
        if self.plan.ensemble:
            model, score, members = self._ensemble()
            return SearchResult(model, score, trials, members, self.stopped)
        network = train_single(self.problem, best.settings, self.plan.epochs)
        return SearchResult(network, best.score, trials, {best.number: 1.0}, self.stopped)

    def _ensemble(self) -> tuple[Ensemble, float, dict[int, float]]:
        """Select an ensemble of the best trials; return it with its score and the trials' weights.

        The networks of all folds of a selected trial are members.
        """
        scored = [trial for trial in self.trials.values() if np.isfinite(trial.score)]
        candidates = sorted(scored, key=lambda trial: trial.order)[:CANDIDATES]
        networks = {
            trial.number: [
                self.store.network(key) for key in self._keys(trial.number, trial.epochs)
            ]
            for trial in candidates
        }
        predicted = [self._held_out(networks[trial.number]) for trial in candidates]
        rows = np.arange(len(self.problem.x))
        counts = select_ensemble(
            predicted, lambda p: self.problem.quality(p, rows), self.plan.ensemble
        )
        mean: Any = sum(n * predicted[k].astype(np.float64) for k, n in counts.items()) / sum(
            counts.values()
        )
        score = self.problem.quality(mean, rows)[0]
        chosen: list[Network] = []
        weights: list[float] = []
        for k, count in counts.items():
            own = networks[candidates[k].number]
            chosen += own
            weights += [count / len(own)] * len(own)
        total = sum(counts.values())
        members = {candidates[k].number: n / total for k, n in counts.items()}
        for net in chosen:
            net.n_threads = None
        return Ensemble(chosen, weights), score, members

    def _held_out(self, networks: Sequence[Network]) -> np.ndarray:
        """Out-of-fold predictions: each row is predicted by the network of its fold."""
        problem, predicted = self.problem, None
        for fold, net in enumerate(networks):
            rows = np.flatnonzero(problem.folds == fold)
            values = problem.predicted(net, rows)
            if predicted is None:
                predicted = np.empty((len(problem.x), values.shape[1]), values.dtype)
            predicted[rows] = values
        assert predicted is not None
        return predicted


def _numbered(
    problem: Problem, key: FitKey, settings: dict[str, Any], deadline: Deadline | None
) -> tuple[FitKey, Fit, Network | None]:
    """Execute a fit; also return its key, since results arrive in any order."""
    return (key, *fit_fold(problem, settings, key.epochs, key.trial, key.fold, deadline))


def train_single(problem: Problem, settings: dict[str, Any], epochs: int) -> Network:
    """Train one network with all folds but the first, which serves to choose the best epoch."""
    kept, held_out = np.flatnonzero(problem.folds != 0), np.flatnonzero(problem.folds == 0)
    return fit(problem, settings, epochs, kept, held_out, problem.seed, n_threads=None)


def select_ensemble(
    predicted: Sequence[np.ndarray],
    quality: Callable[[np.ndarray], tuple[float, float]],
    most: int,
    rounds: int = ROUNDS,
) -> dict[int, int]:
    """Ensemble selection with replacement (Caruana, Niculescu-Mizil, Crew, Ksikes, 2004).

    Parameters
    ----------
    predicted : sequence of ndarray, each (rows, outputs)
        Predictions of each candidate.
    quality : callable
        ``quality(predictions)`` returns the score (larger is better) and the loss, which breaks
        ties.
    most : int
        Maximum number of different candidates in the ensemble.
    rounds : int
        Number of rounds; each adds a candidate, possibly one that was selected before.

    Returns
    -------
    dict of int to int
        How often each candidate was selected up to the round with the best ensemble.
    """
    total: Any = 0.0
    counts: dict[int, int] = {}
    best: tuple[tuple[float, float], dict[int, int]] | None = None
    for size in range(1, rounds + 1):
        open_to = range(len(predicted)) if len(counts) < most else sorted(counts)
        found = []
        for k in open_to:
            score, loss = quality((total + predicted[k]) / size)
            found.append(((-np.nan_to_num(score, nan=-np.inf), loss), k))
        order, k = min(found)
        total = total + predicted[k].astype(np.float64)
        counts[k] = counts.get(k, 0) + 1
        if best is None or order < best[0]:
            best = order, dict(counts)
    assert best is not None
    return best[1]
