"""More classes and more dimensions: Gaussian quantiles and handwritten digits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

import fastnn
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Run, Tick
from fastnn.experiments.result import Picture, Result, Table, mean_sd, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pair = tuple[np.ndarray, np.ndarray]


def _quantiles(seed: int, samples: int) -> Pair:
    """Three classes by the distance from the centre, equally probable.

    scikit-learn cuts each sample at its own quantiles, so two samples disagree
    near the cuts. Here both are cut at the Gaussian's: P(r^2 > t) = exp(-t / 2).
    """
    from sklearn.datasets import make_gaussian_quantiles

    X, _ = make_gaussian_quantiles(n_samples=samples, n_classes=3, random_state=seed)
    cuts = -2 * np.log([2 / 3, 1 / 3])
    return X, np.searchsorted(cuts, (X**2).sum(axis=1))


def _digits(seed: int) -> tuple[Pair, Pair]:
    """The 8x8 digits, three quarters to train on and one held out."""
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
    """Three classes of Gaussian quantiles, ten classes of digits.

    Parameters
    ----------
    activations : sequence of str
    samples : int
        Training points of the quantiles.
    epochs, digits_epochs : int
        Full-batch steps on the quantiles, passes in batches of 64 over the digits.
    hidden : int
        Hidden units for the digits.
    seeds, backend, tick
        As for :func:`fastnn.experiments.activations`.

    Returns
    -------
    Result
    """
    fresh = _quantiles(jobs.HELD_OUT_SEED, jobs.HELD_OUT)
    splits = {seed: _digits(seed) for seed in range(seeds)}

    def one(job: tuple[str, str, int]) -> tuple[Run, dict[str, float]]:
        kind, name, seed = job
        if kind == "quantiles":
            train_set, held_out = _quantiles(seed, samples), fresh
            network = jobs.make_network(
                [2, 8, 8, 3], activation=name, seed=seed, backend=backend, initializer="auto"
            )
            options = {"epochs": epochs}
        else:
            train_set, held_out = splits[seed]
            network = jobs.make_network(
                [64, hidden, 10],
                activation=name,
                seed=seed,
                backend=backend,
                initializer="auto",
                l2=1e-4,
            )
            options = {"epochs": digits_epochs, "batch_size": 64}
        run = jobs.train(network, *train_set, optimizer=fastnn.Adam(learning_rate=0.01), **options)
        return run, jobs.measure(run, train_set, held_out)

    cases = list(product(("quantiles", "digits"), activations, range(seeds)))
    answers = dict(zip(cases, jobs.each(one, cases, tick), strict=True))
    keys = ("train_accuracy", "held_out_accuracy", "train_loss", "held_out_loss")
    table = {
        kind: {
            name: {
                key: summary([answers[kind, name, s][1][key] for s in range(seeds)]) for key in keys
            }
            for name in activations
        }
        for kind in ("quantiles", "digits")
    }

    first = activations[0]
    network = answers["digits", first, 0][0].network
    X_test, y_test = splits[0][1]
    guesses = network.predict(X_test)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (y_test, guesses), 1)
    p = network.predict_proba(X_test)
    wrong = np.flatnonzero(guesses != y_test)
    # The surest mistakes first.
    wrong = wrong[np.argsort(-p[wrong, guesses[wrong]])]

    X, y = _quantiles(0, samples)
    limits = style.frame(X, 0.2)

    def draw_boundaries(narrow: bool) -> Figure:
        titled = []
        for name in activations:
            run, measured = answers["quantiles", name, 0]
            titled.append((run.network, style.boundary_title(f"{name}, 2-8-8-3", measured)))
        return style.boundaries(
            titled, X, y, limits, columns=1 if narrow else 3,
            size=(4.2, 4.3) if narrow else (3.2, 3.5), points=10,
        )  # fmt: skip

    def draw_digits(narrow: bool) -> Figure:
        columns = 4 if narrow else 8
        chosen = wrong[: 8 if narrow else 16]
        size = (1.05, 1.35) if narrow else (1.15, 1.4)
        if not len(chosen):
            figure, (ax,) = style.panels(1, 1, size=(4.2, 1.0))
            ax.set_axis_off()
            ax.text(0.5, 0.5, "no digit was misread", ha="center")
            return figure
        figure, axes = style.panels(len(chosen), columns, size=size, extra_height=0.3)
        for ax, i in zip(axes, chosen, strict=True):
            ax.imshow(X_test[i].reshape(8, 8), cmap="gray_r", interpolation="nearest")
            ax.set_title(
                f"a {y_test[i]}, read {guesses[i]}\n({p[i, guesses[i]]:.2f})", fontsize=8.5
            )
            ax.set_xticks([])
            ax.set_yticks([])
            for side in ax.spines.values():
                side.set_visible(True)
                side.set_color("#bbbbbb")
        figure.suptitle(
            f"64-{hidden}-10, {first}, held out "
            f"{answers['digits', first, 0][1]['held_out_accuracy']:.3f}"
            + ("\n" if narrow else "; ")
            + (f"{len(chosen)} of " if len(chosen) < len(wrong) else "")
            + f"the {len(wrong)} misread of {len(y_test)} digits",
            fontsize=10,
        )
        return figure

    def draw_confusion(narrow: bool) -> Figure:
        figure, axes = style.panels(2, 1 if narrow else 2, size=(4.2, 3.9))
        ax = axes[0]
        # Single errors are what one wants to see: the diagonal gets no shade.
        errors = confusion.copy()
        np.fill_diagonal(errors, 0)
        ax.imshow(
            errors, cmap="Oranges", interpolation="nearest", vmin=0, vmax=max(errors.max(), 1)
        )
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
        ax.set_title(f"Held-out digits, {first}, seed 0")
        ax = axes[1]
        for i, name in enumerate(activations):
            look = style.activation_style(name)
            for shift, key, filled in (
                (-0.21, "train_accuracy", False),
                (0.21, "held_out_accuracy", True),
            ):
                style.spread(
                    ax, i + shift, table["digits"][name][key],
                    color=look["color"], marker=look["marker"], filled=filled,
                )  # fmt: skip
        ax.set_xticks(range(len(activations)), activations)
        ax.set_ylabel("accuracy")
        ax.set_title("Digits. Open: training, filled: held out")
        ax.grid(True, axis="y")
        return figure

    sentences = []
    for kind, what in (("quantiles", "Gaussian quantiles"), ("digits", "Digits")):
        sentences.append(
            f"{what}, held-out accuracy: "
            + ", ".join(
                f"{mean_sd(table[kind][a]['held_out_accuracy'])} ({a})" for a in activations
            )
            + "."
        )
    return Result(
        "more_data",
        "More classes, more dimensions",
        f"Gaussian quantiles: {samples} points of a round Gaussian, cut by distance into three "
        f"equally probable classes; 2-8-8-3, {epochs:,} full-batch steps. Digits: 1,797 images of "
        f"8x8 pixels, a quarter held out; 64-{hidden}-10, {digits_epochs} passes in batches of "
        f"64. Adam at 0.01, {jobs.n_seeds(seeds)}.",
        {
            "samples": samples,
            "epochs": epochs,
            "digits_epochs": digits_epochs,
            "hidden": hidden,
            "seeds": seeds,
            **table,
            "confusion": confusion.tolist(),
            "misread": len(wrong),
            "held_out_digits": len(y_test),
        },
        [
            Picture(
                "more_data_boundaries",
                "Three classes: a disc, a ring around it, and the rest. No noise: a perfect "
                "classifier exists.",
                "Three panels, one an activation, with three classes; two closed boundaries lie "
                "inside each other.",
                draw_boundaries,
            ),
            Picture(
                "more_data_digits",
                "Held-out digits that were misread, the surest mistakes first; in brackets the "
                "probability given to the wrong answer.",
                "Small images of misread digits, each with its true class, the answer and its "
                "probability.",
                draw_digits,
            ),
            Picture(
                "more_data_confusion",
                "Left: which digit was read as which; mistakes are shaded. Right: every seed.",
                "A 10 by 10 confusion matrix with nearly all counts on the diagonal, and the "
                "accuracies of all seeds by activation.",
                draw_confusion,
            ),
        ],
        [
            Table(
                f"Mean ± standard deviation over {jobs.n_seeds(seeds)}",
                ["data", "activation", "training accuracy", "held-out accuracy", "training loss",
                 "held-out loss"],
                [
                    [kind, name, *(mean_sd(table[kind][name][key]) for key in keys)]
                    for kind in ("quantiles", "digits")
                    for name in activations
                ],
            )
        ],
        [
            *sentences,
            "Nothing in the formulas changes with the number of classes or of inputs; only the "
            "shapes do.",
        ],
    )  # fmt: skip
