"""Experiments with more classes and dimensions: Gaussian quantiles and handwritten digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Pair, Run, Tick
from fastnn.experiments.result import Picture, Result, mean_sd, means_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"quantiles": "Gaussian quantiles", "digits": "Digits"}


def _quantiles(seed: int, samples: int) -> Pair:
    """Three equally probable classes, by the distance from the centre.

    scikit-learn splits each data set at its empirical quantiles, so that two data sets disagree
    near the boundaries. Here the quantiles of the Gaussian are used: P(r^2 > t) = exp(-t / 2).
    """
    from sklearn.datasets import make_gaussian_quantiles

    X, _ = make_gaussian_quantiles(n_samples=samples, n_classes=3, random_state=seed)
    cuts = -2 * np.log([2 / 3, 1 / 3])
    return X, np.searchsorted(cuts, (X**2).sum(axis=1))


def _digits(seed: int) -> tuple[Pair, Pair]:
    """The 8x8 digits: three quarters for training, one quarter held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16.0, y, test_size=0.25, random_state=seed, stratify=y
    )
    return (X_train, y_train), (X_test, y_test)


def more_data(
    *,
    activations: Sequence[str] = jobs.ACTIVATIONS,
    samples: int = 500,
    epochs: int = 1_500,
    digits_epochs: int = 60,
    hidden: int = 32,
    seeds: int = 6,
    backend: str = "auto",
    tick: Tick | None = None,
) -> Result:
    """Train on three classes of Gaussian quantiles and on ten classes of digits.

    Parameters
    ----------
    activations : sequence of str
        Names of the activations to compare.
    samples : int
        Number of training points of the quantiles.
    epochs, digits_epochs : int
        Full-batch steps on the quantiles; epochs with batches of 64 on the digits.
    hidden : int
        Number of hidden units for the digits.
    seeds, backend, tick
        As for :func:`fastnn.experiments.activations`.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> result = experiments.more_data()  # doctest: +SKIP
    >>> print(result.findings[0])  # doctest: +SKIP
    """
    fresh = _quantiles(jobs.HELD_OUT_SEED, jobs.HELD_OUT)
    splits = {seed: _digits(seed) for seed in range(seeds)}

    def one(job: tuple[str, str, int]) -> Run:
        kind, name, seed = job
        settings = {"activation": name, "seed": seed, "backend": backend, "initializer": "auto"}
        if kind == "quantiles":
            return _train_quantiles(_quantiles(seed, samples), fresh, epochs, settings)
        return _train_digits(*splits[seed], hidden, digits_epochs, settings)

    runs = jobs.by_case(one, product(KINDS, activations, range(seeds)), tick)
    table = {
        kind: {a: jobs.summaries([runs[kind, a, s] for s in range(seeds)]) for a in activations}
        for kind in KINDS
    }
    name = activations[0]
    read = _Reading.of(name, runs["digits", name, 0], *splits[0][1])
    several = jobs.n_seeds(seeds)
    return Result(
        "more_data",
        "More classes, more dimensions",
        f"Gaussian quantiles: {samples} points of a round Gaussian, cut by distance into three "
        f"equally probable classes; 2-8-8-3, {epochs:,} full-batch steps. Digits: 1,797 images of "
        f"8x8 pixels, a quarter held out; 64-{hidden}-10, {digits_epochs} passes in batches of "
        f"64. Adam at 0.01, {several}.",
        {
            "samples": samples,
            "epochs": epochs,
            "digits_epochs": digits_epochs,
            "hidden": hidden,
            "seeds": seeds,
            **table,
            "confusion": read.confusion.tolist(),
            "misread": len(read.wrong),
            "held_out_digits": len(read.y),
        },
        _pictures(
            [(f"{a}, 2-8-8-3", runs["quantiles", a, 0]) for a in activations],
            _quantiles(0, samples),
            read,
            table["digits"],
        ),
        [
            means_table(
                ["data", "activation"],
                [([kind, a], table[kind][a]) for kind in KINDS for a in activations],
                several,
            )
        ],
        [
            *(_accuracies(what, table[kind]) for kind, what in KINDS.items()),
            "Nothing in the formulas changes with the number of classes or of inputs; only the "
            "shapes do.",
        ],
    )


def _train_quantiles(train_set: Any, held_out: Any, epochs: int, settings: dict[str, Any]) -> Run:
    """Train a network on the three classes, with full batches."""
    network = jobs.make_network([2, 8, 8, 3], **settings)
    adam = fastnn.Adam(learning_rate=0.01)
    return jobs.train_and_measure(network, train_set, held_out, optimizer=adam, epochs=epochs)


def _train_digits(
    train_set: Any, held_out: Any, hidden: int, epochs: int, settings: dict[str, Any]
) -> Run:
    """Train a network on the ten classes, in batches."""
    network = jobs.make_network([64, hidden, 10], l2=1e-4, **settings)
    adam = fastnn.Adam(learning_rate=0.01)
    return jobs.train_and_measure(
        network, train_set, held_out, optimizer=adam, epochs=epochs, batch_size=64
    )


def _accuracies(what: str, records: dict[str, dict[str, Any]]) -> str:
    means = (f"{mean_sd(r['held_out_accuracy'])} ({name})" for name, r in records.items())
    return f"{what}, held-out accuracy: {', '.join(means)}."


# --- predictions for digits ---------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """Predictions for held-out digits; ``wrong`` has the most confident mistakes first."""

    activation: str
    run: Run
    X: np.ndarray
    y: np.ndarray
    guesses: np.ndarray
    confidence: np.ndarray
    wrong: np.ndarray

    @classmethod
    def of(cls, activation: str, run: Run, X: np.ndarray, y: np.ndarray) -> _Reading:
        guesses = run.network.predict(X)
        confidence = run.network.predict_proba(X)[np.arange(len(y)), guesses]
        wrong = np.flatnonzero(guesses != y)
        wrong = wrong[np.argsort(-confidence[wrong])]
        return cls(activation, run, X, y, guesses, confidence, wrong)

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix: counts by true digit (rows) and predicted digit (columns)."""
        counts = np.zeros((10, 10), np.int64)
        np.add.at(counts, (self.y, self.guesses), 1)
        return counts


# --- figures ------------------------------------------------------------------------


def _pictures(
    quantiles: list[tuple[str, Run]],
    points: Pair,
    read: _Reading,
    digits: dict[str, dict[str, Any]],
) -> list[Picture]:
    return [
        Picture(
            "more_data_boundaries",
            "Three classes: a disc, a ring around it, and the rest. No noise: a perfect "
            "classifier exists.",
            "Three panels, one an activation, with three classes; two closed boundaries lie "
            "inside each other.",
            partial(
                style.boundaries,
                quantiles,
                *points,
                sizes=((4.2, 4.3), (3.2, 3.5)),
                margin=0.2,
                points=10,
            ),
        ),
        Picture(
            "more_data_digits",
            "Held-out digits that were misread, the surest mistakes first; in brackets the "
            "probability given to the wrong answer.",
            "Small images of misread digits, each with its true class, the answer and its "
            "probability.",
            partial(_draw_digits, read),
        ),
        Picture(
            "more_data_confusion",
            "Left: which digit was read as which; mistakes are shaded. Right: every seed.",
            "A 10 by 10 confusion matrix with nearly all counts on the diagonal, and the "
            "accuracies of all seeds by activation.",
            partial(_draw_confusion, read, digits),
        ),
    ]


def _draw_digits(read: _Reading, narrow: bool) -> Figure:
    chosen = read.wrong[: 8 if narrow else 16]
    if not len(chosen):
        figure, (ax,) = style.panels(1, 1, size=(4.2, 1.0))
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no digit was misread", ha="center")
        return figure
    figure, axes = style.panels(
        len(chosen), 4 if narrow else 8, size=(1.05, 1.35) if narrow else (1.15, 1.4),
        extra_height=0.3,
    )  # fmt: skip
    for ax, i in zip(axes, chosen, strict=True):
        ax.imshow(read.X[i].reshape(8, 8), cmap="gray_r", interpolation="nearest")
        ax.set_title(
            f"a {read.y[i]}, read {read.guesses[i]}\n({read.confidence[i]:.2f})", fontsize=8.5
        )
        ax.set_xticks([])
        ax.set_yticks([])
        for side in ax.spines.values():
            side.set_visible(True)
            side.set_color("#bbbbbb")
    figure.suptitle(
        f"{'-'.join(map(str, read.run.network.layer_sizes))}, {read.activation}, held out "
        f"{read.run.measured['held_out_accuracy']:.3f}"
        + ("\n" if narrow else "; ")
        + (f"{len(chosen)} of " if len(chosen) < len(read.wrong) else "")
        + f"the {len(read.wrong)} misread of {len(read.y)} digits",
        fontsize=10,
    )
    return figure


def _draw_confusion(read: _Reading, digits: dict[str, dict[str, Any]], narrow: bool) -> Figure:
    figure, (ax, beside) = style.panels(2, 1 if narrow else 2, size=(4.2, 3.9))
    _matrix(ax, read.confusion)
    ax.set_title(f"Held-out digits, {read.activation}, seed 0")
    for i, (name, record) in enumerate(digits.items()):
        style.spread_both(beside, i, record, name)
    beside.set_xticks(range(len(digits)), digits)
    beside.set_ylabel("accuracy")
    beside.set_title("Digits. Open: training, filled: held out")
    beside.grid(True, axis="y")
    return figure


def _matrix(ax: Axes, confusion: np.ndarray) -> None:
    """Draw the counts; only errors are shaded, so that single ones are visible."""
    errors = confusion.copy()
    np.fill_diagonal(errors, 0)
    ax.imshow(errors, cmap="Oranges", interpolation="nearest", vmin=0, vmax=max(errors.max(), 1))
    for i, j in product(range(10), range(10)):
        if confusion[i, j]:
            dark = i != j and errors[i, j] > 0.6 * errors.max()
            ax.text(
                j, i, confusion[i, j], ha="center", va="center", fontsize=8.5,
                color="white" if dark else style.BLACK if i != j else style.GREY,
            )  # fmt: skip
    ax.set_xticks(range(10))
    ax.set_yticks(range(10))
    ax.set_xlabel("read as")
    ax.set_ylabel("is")
