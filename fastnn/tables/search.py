"""The search for settings of RealMLP-TD-S: successive halving, then a greedy ensemble.

Every fit is one of a trial, a fold and a number of epochs, and depends on nothing else: neither
on who does it nor on the order. So a search that goes on from kept fits, one on a cluster and one
on a single core have the same result.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import joblib
import numpy as np
from joblib.parallel import get_active_backend

from fastnn.estimators.parallel import JoblibBackend
from fastnn.network import Network
from fastnn.network.ensemble import Ensemble
from fastnn.tables.kept import Key, Store
from fastnn.tables.trials import Fit, Problem, drawn_settings, fit, fit_fold

FACTOR = 3  # of successive halving: so many times fewer trials, and more epochs
FEWEST_EPOCHS = 16  # of its first round
ROUNDS = 25  # of the greedy selection
CANDIDATES = 20  # trials that it chooses from
UNIT_COST = 30  # of a unit's activation, in weights


@dataclass(frozen=True)
class Plan:
    """How to search.

    Attributes
    ----------
    trials : int
    epochs : int
        Number of epochs of the last round.
    method : {"halving", "random"}
        halving: all trials with few epochs, the best third with more, and so on.
    ensemble : int
        Most trials in the ensemble; 0: one network trained with the best settings.
    time_limit : float or None
        Seconds.
    """

    trials: int = 20
    epochs: int = 256
    method: str = "halving"
    ensemble: int = 5
    time_limit: float | None = None

    def rounds(self) -> list[tuple[int, int]]:
        """Epochs and number of trials of each round; the preset's own settings come on top."""
        others = self.trials - 1
        rounds = [(self.epochs, others)]
        while self.method == "halving" and rounds[0][1] > 0:
            epochs = rounds[0][0] // FACTOR
            if epochs < FEWEST_EPOCHS or others <= FACTOR ** len(rounds) // 2:
                break
            rounds.insert(0, (epochs, others))
            rounds[1:] = [
                (later, max(1, -(-others // FACTOR**k)))
                for k, (later, _) in enumerate(rounds[1:], 1)
            ]
        return rounds

    def n_fits(self, folds: int) -> int:
        """How many fits there are."""
        return folds * (1 + sum(number for _, number in self.rounds()))


def fit_cost(features: int, settings: dict[str, Any]) -> float:
    """Work of an epoch in relation to other settings: the weights, and the units of each layer."""
    sizes = [features, *settings["hidden_layer_sizes"]]
    return sum((a + UNIT_COST) * b for a, b in pairwise(sizes))


@dataclass
class Trial:
    """A trial and what it came to with the most epochs it had.

    Attributes
    ----------
    number : int
    settings : dict
    epochs : int
    score, deviation, loss : float
        Mean and standard deviation over the folds; NaN if a fold diverged.
    seconds : float
        Of a fit, mean over the folds.
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
        """Smaller for better trials."""
        failed = np.isnan(self.score)
        return (bool(failed), -np.nan_to_num(self.score), np.nan_to_num(self.loss), self.number)


@dataclass
class Found:
    """What a search came to.

    Attributes
    ----------
    model : Ensemble or Network
    score : float
        Of the model's predictions for rows that its networks have not seen, all folds together; of
        a single network that of its trial.
    trials : list of Trial
        Best first, those of later rounds before.
    members : dict of int to float
        Weight of each trial in the ensemble, by its number.
    stopped : str
        "trials", "time limit" or "interrupted".
    """

    model: Ensemble | Network
    score: float
    trials: list[Trial]
    members: dict[int, float]
    stopped: str


def search(
    problem: Problem,
    plan: Plan,
    store: Store,
    n_jobs: int | None = None,
    advance: Callable[[int], object] = lambda done: None,
) -> Found:
    """Search, on the active backend of joblib; without one, one fit per core in threads.

    Parameters
    ----------
    problem : Problem
    plan : Plan
    store : Store
        May have fits already, which are not done again.
    n_jobs : int, optional
        Fits at a time; default: all cores, or what the backend says.
    advance : callable, optional
        Told how many fits are done.

    Raises
    ------
    ValueError
        If no trial has a score.
    KeyboardInterrupt
        If one came before the first trial was finished.
    """
    run = _Running(problem, plan, store, advance)
    try:
        with warnings.catch_warnings(), _parallel(problem, n_jobs) as parallel:
            # of fits that were cut off by Ctrl-C
            warnings.filterwarnings("ignore", r".*tasks? .*(not used|cancelled)", UserWarning)
            run.go(parallel)
    except KeyboardInterrupt:
        if not run.scored:
            raise
        run.stopped = "interrupted"
    return run.found()


@contextlib.contextmanager
def _parallel(problem: Problem, n_jobs: int | None) -> Iterator[joblib.Parallel]:
    """Joblib's ``Parallel`` on the right backend."""
    backend, jobs = get_active_backend()
    client = getattr(backend, "client", None)
    if client is not None:  # Dask: the data go to each worker once, not with each round
        context = joblib.parallel_config("dask", client=client, scatter=[problem])
    elif type(backend).__name__ == "LokyBackend" and jobs in (None, 1):  # nobody chose one
        n_jobs = -1 if n_jobs is None else n_jobs
        context = joblib.parallel_config(JoblibBackend(), n_jobs=n_jobs)
    else:
        context = contextlib.nullcontext()
    with context:
        # a fit is long: none waits in a batch behind another
        yield joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)


class _Running:
    """A search that is going on."""

    def __init__(
        self, problem: Problem, plan: Plan, store: Store, advance: Callable[[int], object]
    ) -> None:
        self.problem, self.plan, self.store, self.advance = problem, plan, store, advance
        self.settings = drawn_settings(problem, plan.trials)
        self.fits: dict[Key, Fit] = {}
        self.trials: dict[int, Trial] = {}
        self.stopped = "trials"
        self.deadline = None if plan.time_limit is None else time.time() + plan.time_limit

    @property
    def scored(self) -> bool:
        """Whether any trial is finished and has a score."""
        return any(np.isfinite(trial.score) for trial in self.trials.values())

    def go(self, parallel: joblib.Parallel) -> None:
        """All rounds; the preset's own settings come first, at once with all epochs."""
        rounds = self.plan.rounds()
        best = [*range(1, len(self.settings))]
        work = [([0], self.plan.epochs)]
        for k, (epochs, number) in enumerate(rounds):
            if k:
                order = sorted(best, key=lambda n: self.trials[n].order)
                best = sorted(order[:number])
            work.append((best, epochs))
            # the first round keeps the cores busy beside the preset's own settings
            jobs = [each for trials, epochs in work for each in self._keys(trials, epochs)]
            work = []
            self._round(parallel, jobs)
            if self.stopped != "trials":
                return

    def _keys(self, trials: Sequence[int], epochs: int) -> list[Key]:
        folds = range(self.problem.n_folds)
        return [Key(trial, epochs, fold) for trial in trials for fold in folds]

    def _round(self, parallel: joblib.Parallel, keys: Sequence[Key]) -> None:
        """Do those fits that are not kept."""
        missing = []
        for key in keys:
            kept = self.store.get(key)
            if kept is None:
                missing.append(key)
            else:
                self._add(key, kept)
        self.advance(len(self.fits))
        if not missing:
            return
        # Long ones first, so that no worker is left with one at the end; before them the preset's
        # own settings, which a time limit must not miss.
        missing.sort(key=lambda key: (key.trial > 0, -self._cost(key)))
        results = parallel(
            joblib.delayed(_numbered)(self.problem, key, *self._task(key)) for key in missing
        )
        try:
            for key, done, network in results:
                if network is not None:
                    self.store.put(key, done, network)
                elif np.isinf(done.loss):
                    self.stopped = "time limit"
                    continue
                self._add(key, done)
                self.advance(len(self.fits))
        finally:
            results.close()

    def _cost(self, key: Key) -> float:
        """Work of a fit, roughly: weights, of which a few count as many."""
        return key.epochs * fit_cost(self.problem.x.shape[1], self.settings[key.trial])

    def _task(self, key: Key) -> tuple[dict[str, Any], float | None]:
        return self.settings[key.trial], self.deadline

    def _add(self, key: Key, done: Fit) -> None:
        """Take a fit in, and its trial when it has all folds."""
        self.fits[key] = done
        folds = [self.fits.get(other) for other in self._keys([key.trial], key.epochs)]
        if any(each is None for each in folds):
            return
        scores, losses, seconds = np.array(
            [(each.score, each.loss, each.seconds) for each in folds if each is not None]
        ).T
        self.trials[key.trial] = Trial(
            key.trial,
            self.settings[key.trial],
            key.epochs,
            float(scores.mean()),
            float(scores.std()),
            float(losses.mean()),
            float(seconds.mean()),
        )

    # --- the result -------------------------------------------------------------------

    def found(self) -> Found:
        """The model of what is finished."""
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
            return Found(model, score, trials, members, self.stopped)
        network = single(self.problem, best.settings, self.plan.epochs)
        return Found(network, best.score, trials, {best.number: 1.0}, self.stopped)

    def _ensemble(self) -> tuple[Ensemble, float, dict[int, float]]:
        """The greedy ensemble of the best trials."""
        scored = [trial for trial in self.trials.values() if np.isfinite(trial.score)]
        candidates = sorted(scored, key=lambda trial: trial.order)[:CANDIDATES]
        networks = {
            trial.number: [
                self.store.network(key) for key in self._keys([trial.number], trial.epochs)
            ]
            for trial in candidates
        }
        predicted = [self._held_out(networks[trial.number]) for trial in candidates]
        rows = np.arange(len(self.problem.x))
        counts = greedy(predicted, lambda p: self.problem.quality(p, rows), self.plan.ensemble)
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
        """Predictions for each row by the network of its fold."""
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
    problem: Problem, key: Key, settings: dict[str, Any], deadline: float | None
) -> tuple[Key, Fit, Network | None]:
    """A fit and which one it is, since they come in any order."""
    return (key, *fit_fold(problem, settings, key.epochs, key.trial, key.fold, deadline))


def single(problem: Problem, settings: dict[str, Any], epochs: int) -> Network:
    """One network trained with all rows but those of the first fold, which choose its epoch."""
    kept, held_out = np.flatnonzero(problem.folds != 0), np.flatnonzero(problem.folds == 0)
    return fit(problem, settings, epochs, kept, held_out, problem.seed, n_threads=None)


def greedy(
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
        Score, higher is better, and loss, which decides between equal scores, of predictions.
    most : int
        Candidates in the ensemble.
    rounds : int

    Returns
    -------
    dict of int to int
        How often each candidate was taken, of the round with the best ensemble.
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
