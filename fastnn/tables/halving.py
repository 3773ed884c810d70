"""Asynchronous successive halving: which fit of a search comes next.

Rounds do not wait for each other, as in ASHA (Li and others, "A system for massively parallel
hyperparameter tuning", 2020). There, a trial continues if it is among the best of those that happen
to be finished. Here, it is compared with the trials before it in a fixed order: the result of a
search then does not depend on the order in which fits finish.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Round:
    """A round of successive halving.

    Attributes
    ----------
    epochs : int
    size : int
        Number of its trials, when all have been chosen.
    share : float
        Fits are started such that the work of the rounds, as a fraction of the total work of each
        round, is proportional to the shares.
    trials : list of int
        Trials chosen so far. A trial is compared with those before it.
    orders : dict of int to tuple
        Sort key of each finished trial.
    compared : int
        Number of trials, from the start of the list, from which the next round has been chosen.
    waiting : list
        Heap of fits to start: (negative cost, trial, fold).
    started : float
        Work of the started fits, as a fraction of that of the round.
    """

    epochs: int
    size: int
    share: float
    trials: list[int] = field(default_factory=list)
    orders: dict[int, Any] = field(default_factory=dict)
    compared: int = 0
    waiting: list[tuple[float, int, int]] = field(default_factory=list)
    started: float = 0.0


class Halving:
    """The fits of a search, in the order in which they are to be started.

    Trial 0 is not compared with the others: its fits come first, with the epochs of the last round.
    After each trial of a round, in the order of the list, so many trials of the next round are
    chosen that both rounds are complete to the same fraction; each time the best trial up to there
    that has not been chosen yet.

    Parameters
    ----------
    rounds : sequence of (int, int)
        Epochs and number of trials of each round, without trial 0.
    n_folds : int
        Number of fits of a trial in each round.
    cost : callable
        ``cost(trial)`` is the relative cost of an epoch. Within a round, long fits start first.

    Examples
    --------
    >>> halving = Halving([(10, 3), (30, 1)], 1, lambda trial: 1.0)
    >>> [halving.start() for _ in range(5)]
    [(0, 30, 0), (1, 10, 0), (2, 10, 0), (3, 10, 0), None]
    >>> for trial, order in (3, 0), (1, 2), (2, 1):
    ...     halving.finish(trial, 10, order)
    >>> halving.start()
    (3, 30, 0)
    """

    def __init__(
        self, rounds: Sequence[tuple[int, int]], n_folds: int, cost: Callable[[int], float]
    ) -> None:
        # A later round starts early, on a few workers, so that not all of its long fits are left
        # for the end; the first round ends early, since later rounds need its last trials.
        last = len(rounds) - 1
        self.rounds = [
            Round(epochs, size, 2.0 ** (last - k)) for k, (epochs, size) in enumerate(rounds)
        ]
        self.n_folds, self.cost = n_folds, cost
        trials = range(1, rounds[0][1] + 1)
        self.mean_cost = sum(map(cost, trials)) / max(1, len(trials))
        self._own = [(0, rounds[-1][0], fold) for fold in range(n_folds)]
        for trial in trials:
            self._choose(trial, self.rounds[0])

    def _choose(self, trial: int, of: Round) -> None:
        of.trials.append(trial)
        for fold in range(self.n_folds):
            heapq.heappush(of.waiting, (-self.cost(trial), trial, fold))

    def start(self) -> tuple[int, int, int] | None:
        """Trial, epochs and fold of the next fit; None if it depends on fits that are running."""
        if self._own:
            return self._own.pop(0)
        waiting = [each for each in self.rounds if each.waiting]
        if not waiting:
            return None
        of = min(waiting, key=lambda each: each.started / each.share)
        negative, trial, fold = heapq.heappop(of.waiting)
        of.started -= negative / (self.mean_cost * self.n_folds * of.size)
        return trial, of.epochs, fold

    def finish(self, trial: int, epochs: int, order: Any) -> None:
        """Record that all fits of a trial with some number of epochs are finished.

        Parameters
        ----------
        trial, epochs : int
        order : sortable
            Better trials have smaller keys. None: the trial failed and does not continue.
        """
        if trial == 0:
            return
        k = next(k for k, each in enumerate(self.rounds) if each.epochs == epochs)
        this = self.rounds[k]
        this.orders[trial] = order
        if k + 1 == len(self.rounds):
            return
        following = self.rounds[k + 1]
        chosen = set(following.trials)
        while this.compared < len(this.trials) and this.trials[this.compared] in this.orders:
            this.compared += 1
            before = this.trials[: this.compared]
            left = [n for n in before if n not in chosen and this.orders[n] is not None]
            left.sort(key=lambda n: this.orders[n])
            number = following.size * this.compared // this.size - len(chosen)
            for best in left[: max(0, number)]:
                chosen.add(best)
                self._choose(best, following)
