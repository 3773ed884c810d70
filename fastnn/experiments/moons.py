"""The experiments on the two moons: data, activations, hidden units, layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Run, Tick
from fastnn.experiments.result import Picture, Result, Table, mean_sd, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Losses of the reference program, 2-3-2, seed 0, after these numbers of steps.
REFERENCE_STEPS = (1, 1001, 19001)
REFERENCE_LOSSES = {
    "tanh": (0.432387, 0.068947, 0.070758),
    "sigmoid": (0.628571, 0.088431, 0.078155),
    "relu": (0.560274, 0.072179, 0.071219),
}


def best_moons_accuracy(noise: float = jobs.NOISE, step: float = 0.02) -> float:
    """The accuracy that no classifier of the two moons can exceed.

    Each class has the density of a half circle blurred by a Gaussian; the best
    guess is the denser class, right with probability ``integral max(p0, p1) / 2``.

    Parameters
    ----------
    noise : float
        Standard deviation of the Gaussian.
    step : float
        Of the grid that the integral is summed over.

    Returns
    -------
    float
    """
    angles = np.pi * (np.arange(400) + 0.5) / 400
    arcs = (
        np.column_stack([np.cos(angles), np.sin(angles)]),
        np.column_stack([1 - np.cos(angles), 0.5 - np.sin(angles)]),
    )
    reach = 6 * noise
    across = np.arange(-1 - reach, 2 + reach, step)
    up = np.arange(-0.5 - reach, 1 + reach, step)
    densities = []
    for arc in arcs:
        # A Gaussian of two dimensions is a product: a matrix product sums over the arc.
        gx = np.exp(-0.5 * ((across[:, None] - arc[:, 0]) / noise) ** 2)
        gy = np.exp(-0.5 * ((up[:, None] - arc[:, 1]) / noise) ** 2)
        densities.append(gy @ gx.T / (len(angles) * 2 * np.pi * noise**2))
    return float(np.maximum(*densities).sum() * step**2 / 2)


def data(*, samples: int = jobs.SAMPLES, noise: float = jobs.NOISE, seed: int = 0) -> Result:
    """The two moons as a scatter plot.

    Parameters
    ----------
    samples : int
    noise : float
    seed : int

    Returns
    -------
    Result
    """
    X, y = jobs.moons(seed, samples, noise)
    best = best_moons_accuracy(noise)

    def draw(narrow: bool) -> Figure:
        size = (4.2, 3.6) if narrow else (6.4, 4.4)
        figure, (ax,) = style.panels(1, 1, size=size)
        style.scatter(ax, X, y, size=26, label=True)
        style.set_frame(ax, style.frame(X))
        style.labels([ax], 1)
        ax.set_title(f"Two moons: {samples} points, noise {noise:g}, seed {seed}")
        ax.legend(loc="upper right")
        return figure

    counts = np.bincount(y).tolist()
    return Result(
        "data",
        "Data: two moons",
        f"{samples} points on two half circles that reach into each other, moved by Gaussian "
        f"noise of standard deviation {noise:g} (seed {seed}).",
        {
            "samples": samples,
            "noise": noise,
            "seed": seed,
            "class_counts": counts,
            "low": X.min(axis=0).tolist(),
            "high": X.max(axis=0).tolist(),
            "best_accuracy": best,
        },
        [
            Picture(
                "data",
                "The training data. Circles are class 0, triangles class 1.",
                f"Scatter plot of {samples} points. Class 0 is a half circle open below, class 1 "
                "one open above; the tips lie inside each other and a few points overlap.",
                draw,
            )
        ],
        findings=[
            f"{counts[0]} points are of class 0 and {counts[1]} of class 1.",
            "The noise makes the classes overlap. Integrating their densities gives the best "
            f"accuracy that any classifier can have on fresh points: {best:.4f}.",
        ],
    )


def activations(
    *,
    activations: Sequence[str] = jobs.ACTIVATIONS,
    seeds: int = 6,
    epochs: int = jobs.EPOCHS,
    backend: str = "auto",
    tick: Tick | None = None,
) -> Result:
    """Tanh, sigmoid and relu in a 2-3-2 network.

    Parameters
    ----------
    activations : sequence of str
    seeds : int
        Runs of each; a seed sets both the weights and the training data.
    epochs : int
        Steps of full-batch gradient descent.
    backend : str
    tick : callable, optional
        Told the share that is done.

    Returns
    -------
    Result
    """
    held_out = jobs.moons(jobs.HELD_OUT_SEED, jobs.HELD_OUT)

    def one(job: tuple[str, int]) -> tuple[Run, dict[str, float]]:
        name, seed = job
        train_set = jobs.moons(seed)
        network = jobs.make_network([2, 3, 2], activation=name, seed=seed, backend=backend)
        run = jobs.train(network, *train_set, epochs=epochs)
        return run, jobs.measure(run, train_set, held_out)

    cases = list(product(activations, range(seeds)))
    answers = dict(zip(cases, jobs.each(one, cases, tick), strict=True))

    steps = [step for step in REFERENCE_STEPS if step < epochs]
    table: dict[str, Any] = {}
    for name in activations:
        first = answers[name, 0][0]
        reference = REFERENCE_LOSSES.get(name)
        shown, losses = jobs.thin(first.losses)
        table[name] = {
            "losses_after_steps": {step: float(first.losses[step]) for step in steps},
            "losses_a_step_before": {step: float(first.losses[step - 1]) for step in steps},
            "reference_losses": None
            if reference is None
            else dict(zip(REFERENCE_STEPS, reference, strict=True)),
            "last_swing": sorted(map(float, first.losses[-2:])),
            "curve": {"steps": shown.tolist(), "losses": losses.tolist()},
            **{
                key: summary([answers[name, s][1][key] for s in range(seeds)])
                for key in ("train_accuracy", "held_out_accuracy", "train_loss", "held_out_loss")
            },
        }
    pairs = {}
    for i, a in enumerate(activations):
        for b in activations[i + 1 :]:
            difference = np.subtract(
                table[a]["held_out_accuracy"]["values"], table[b]["held_out_accuracy"]["values"]
            )
            pairs[f"{a} - {b}"] = summary(difference)

    X, y = jobs.moons(0)
    limits = style.frame(X)

    def draw_boundaries(narrow: bool) -> Figure:
        titled = []
        for name in activations:
            run, measured = answers[name, 0]
            titled.append((run.network, style.boundary_title(f"{name}, 2-3-2", measured)))
        return style.boundaries(
            titled, X, y, limits, columns=1 if narrow else 3,
            size=(4.2, 3.4) if narrow else (3.2, 2.8),
        )  # fmt: skip

    def draw_losses(narrow: bool) -> Figure:
        figure, (ax,) = style.panels(1, 1, size=(4.2, 3.4) if narrow else (7.0, 3.8))
        for name in activations:
            look = style.activation_style(name)
            ax.plot(
                *jobs.thin(answers[name, 0][0].losses, 500),
                color=look["color"],
                linestyle=look["linestyle"],
                linewidth=1.5,
                label=f"{name}, held out {answers[name, 0][1]['held_out_accuracy']:.3f}",
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1.0], ["0.05", "0.1", "0.2", "0.5", "1"])
        ax.minorticks_off()
        ax.grid(True)
        ax.set_xlabel("steps")
        ax.set_ylabel("loss with L2 term")
        ax.set_title(f"2-3-2, learning rate {jobs.LEARNING_RATE:g}, seed 0")
        ax.legend()
        return figure

    best = best_moons_accuracy()

    def draw_seeds(narrow: bool) -> Figure:
        figure, axes = style.panels(
            2, 1 if narrow else 2, size=(4.2, 3.0) if narrow else (3.8, 3.4), sharey=True
        )
        for ax, key, title in zip(
            axes,
            ("train_accuracy", "held_out_accuracy"),
            ("training, 200 points", f"held out, {jobs.HELD_OUT:,} points"),
            strict=True,
        ):
            for i, name in enumerate(activations):
                look = style.activation_style(name)
                style.spread(
                    ax, i, table[name][key], color=look["color"], marker=look["marker"], filled=True
                )
            ax.axhline(best, color=style.GREY, linestyle=":", linewidth=1.2)
            ax.text(
                len(activations) - 0.52, best, f"best possible {best:.3f}",
                ha="right", va="bottom", fontsize=8.5, color=style.GREY,
            )  # fmt: skip
            ax.set_xticks(range(len(activations)), activations)
            ax.set_xlim(-0.5, len(activations) - 0.5)
            ax.grid(True, axis="y")
            ax.set_title(title)
            ax.set_ylabel("accuracy")
        return figure

    rows = []
    for name in activations:
        record = table[name]
        for step in steps:
            ours = record["losses_after_steps"][step]
            known = record["reference_losses"]
            rows.append(
                [
                    name,
                    f"{step:,}",
                    f"{ours:.6f}",
                    f"{record['losses_a_step_before'][step]:.6f}",
                    "-" if known is None else f"{known[step]:.6f}",
                ]
            )
    findings = [
        "On the training set of seed 0 the three activations end at nearly the same loss. "
        "Each draws a boundary that follows the moons: tanh and sigmoid a smooth one, relu one "
        "made of straight pieces."
    ]
    for name in activations:
        swing = table[name]["last_swing"]
        if swing[1] - swing[0] > 2e-4:
            findings.append(
                f"{name} ends in a swing: its loss jumps between {swing[0]:.6f} and "
                f"{swing[1]:.6f} in turn, because the learning rate is too high for the valley. "
                "Rounding decides which of the two falls on an odd step, so backends differ there."
            )
    for pair, record in pairs.items():
        findings.append(
            f"Held-out accuracy, {pair}, over {jobs.n_seeds(seeds)}: {record['mean']:+.4f} "
            f"with a standard error of {record['se']:.4f}"
            + (
                ", more than twice the error."
                if abs(record["mean"]) > 2 * record["se"] and seeds > 2
                else ", so these seeds do not rank them."
            )
        )
    return Result(
        "activations",
        "Activations: tanh, sigmoid, relu",
        f"A 2-3-2 network on the moons, {epochs:,} steps of full-batch gradient descent, learning "
        f"rate {jobs.LEARNING_RATE:g}, L2 {jobs.L2:g}, LeCun's normal weights, float64. Each of "
        f"{jobs.n_seeds(seeds)} draws its own weights and its own 200 points; accuracy is also "
        f"taken on {jobs.HELD_OUT:,} fresh points.",
        {
            "epochs": epochs,
            "seeds": seeds,
            "layer_sizes": [2, 3, 2],
            "learning_rate": jobs.LEARNING_RATE,
            "l2": jobs.L2,
            "best_accuracy": best,
            "activations": table,
            "held_out_differences": pairs,
        },
        [
            Picture(
                "activations_boundaries",
                "Decision boundaries of seed 0. The ground shows the probability, the line where "
                "it is one half.",
                "Three panels with the same points and axes: the boundary runs in an S between "
                "the moons, smooth for tanh and sigmoid, in straight pieces for relu.",
                draw_boundaries,
            ),
            Picture(
                "activations_losses",
                "Loss over the steps of seed 0, both axes logarithmic. A learning rate of 2 is "
                "high: the curves fall fast and then tremble.",
                "Loss curves of tanh, sigmoid and relu; all fall from about 0.6 to about 0.07; "
                "sigmoid falls later.",
                draw_losses,
            ),
            Picture(
                "activations_seeds",
                "Every run as a point, the mean as a bar.",
                "Accuracies by seed for the three activations, training on the left, held-out "
                "on the right.",
                draw_seeds,
            ),
        ],
        [
            Table(
                "Loss after so many steps, beside the reference program",
                ["activation", "steps", "fastnn", "a step before", "reference"],
                rows,
            ),
            Table(
                f"Mean ± standard deviation over {jobs.n_seeds(seeds)}",
                ["activation", "training accuracy", "held-out accuracy", "training loss",
                 "held-out loss"],
                [
                    [
                        name,
                        *(
                            mean_sd(table[name][key])
                            for key in (
                                "train_accuracy",
                                "held_out_accuracy",
                                "train_loss",
                                "held_out_loss",
                            )
                        ),
                    ]
                    for name in activations
                ],
            ),
        ],
        findings,
    )  # fmt: skip


def hidden_units(
    *,
    units: Sequence[int] = (1, 2, 3, 4, 5, 15, 50, 100),
    shown: Sequence[int] = (3, 5, 15),
    activation: str = "tanh",
    seeds: int = 6,
    epochs: int = jobs.EPOCHS,
    backend: str = "auto",
    tick: Tick | None = None,
) -> Result:
    """One hidden layer with few and with many units.

    Parameters
    ----------
    units : sequence of int
        Numbers of hidden units.
    shown : sequence of int
        Those whose boundaries are drawn.
    activation : str
    seeds, epochs, backend, tick
        As for :func:`activations`.

    Returns
    -------
    Result
    """
    shown = [h for h in shown if h in units] or list(units)[:3]
    held_out = jobs.moons(jobs.HELD_OUT_SEED, jobs.HELD_OUT)

    def one(job: tuple[int, int]) -> tuple[Run, dict[str, float]]:
        h, seed = job
        train_set = jobs.moons(seed)
        network = jobs.make_network([2, h, 2], activation=activation, seed=seed, backend=backend)
        run = jobs.train(network, *train_set, epochs=epochs)
        return run, jobs.measure(run, train_set, held_out)

    # The widest first, so that both cores end together.
    cases = sorted(product(units, range(seeds)), reverse=True)
    answers = dict(zip(cases, jobs.each(one, cases, tick), strict=True))
    keys = ("train_accuracy", "held_out_accuracy", "train_loss", "held_out_loss")
    table = {
        h: {
            "parameters": answers[h, 0][0].network.n_params,
            "diverged": sum(answers[h, s][0].diverged for s in range(seeds)),
            **{key: summary([answers[h, s][1][key] for s in range(seeds)]) for key in keys},
        }
        for h in units
    }
    best_units = min(units, key=lambda h: table[h]["held_out_loss"]["mean"])
    most_accurate = max(units, key=lambda h: table[h]["held_out_accuracy"]["mean"])
    widest = max(units)
    best = best_moons_accuracy()

    X, y = jobs.moons(0)
    limits = style.frame(X)

    def draw_boundaries(narrow: bool) -> Figure:
        titled = []
        for h in shown:
            run, measured = answers[h, 0]
            titled.append((run.network, style.boundary_title(f"{activation}, 2-{h}-2", measured)))
        return style.boundaries(
            titled, X, y, limits, columns=1 if narrow else 3,
            size=(4.2, 3.4) if narrow else (3.2, 2.8),
        )  # fmt: skip

    def draw_curves(narrow: bool) -> Figure:
        figure, axes = style.panels(
            2, 1 if narrow else 2, size=(4.2, 3.2) if narrow else (4.4, 3.5)
        )
        for ax, kind in zip(axes, ("loss", "accuracy"), strict=True):
            for part, color, marker, line in (
                ("train", style.BLUE, "o", "-"),
                ("held_out", style.VERMILION, "s", "--"),
            ):
                style.error_line(
                    ax,
                    units,
                    [table[h][f"{part}_{kind}"] for h in units],
                    label="training" if part == "train" else "held out",
                    color=color,
                    marker=marker,
                    linestyle=line,
                )
            ax.set_xscale("log")
            ax.set_xticks(list(units), [str(h) for h in units])
            ax.minorticks_off()
            ax.set_xlabel("hidden units")
            ax.set_ylabel("loss without L2 term" if kind == "loss" else "accuracy")
            ax.grid(True)
        axes[0].set_ylim(bottom=0)
        axes[0].set_title(f"Loss, mean of {jobs.n_seeds(seeds)}")
        axes[1].set_title(f"Accuracy, mean of {jobs.n_seeds(seeds)}")
        axes[1].axhline(best, color=style.GREY, linestyle=":", label=f"best possible {best:.3f}")
        axes[0].legend()
        axes[1].legend()
        return figure

    return Result(
        "hidden_units",
        "Hidden units: when more stops helping",
        f"A 2-h-2 network with {activation}, trained as above, for h = "
        f"{', '.join(map(str, units))} hidden units in one layer; {jobs.n_seeds(seeds)} each, "
        f"{epochs:,} steps.",
        {
            "epochs": epochs,
            "seeds": seeds,
            "activation": activation,
            "best_accuracy": best,
            "units": table,
            "least_held_out_loss": best_units,
            "highest_held_out_accuracy": most_accurate,
        },
        [
            Picture(
                "hidden_units_boundaries",
                f"Boundaries with {', '.join(map(str, shown))} hidden units, seed 0. With more "
                "units the line bends around single points.",
                "Three panels with the same points and axes; the boundary grows more crooked "
                "from left to right.",
                draw_boundaries,
            ),
            Picture(
                "hidden_units_curves",
                "Training and held-out results over the number of hidden units; bars are one "
                "standard error.",
                "Two line charts over the number of hidden units. The training loss keeps "
                "falling; the held-out loss falls, then rises.",
                draw_curves,
            ),
        ],
        [
            Table(
                f"Mean ± standard deviation over {jobs.n_seeds(seeds)}",
                ["hidden units", "parameters", "training accuracy", "held-out accuracy",
                 "training loss", "held-out loss"],
                [
                    [str(h), str(table[h]["parameters"]), *(mean_sd(table[h][key]) for key in keys)]
                    for h in units
                ],
            )
        ],
        [
            f"The training loss goes from {table[min(units)]['train_loss']['mean']:.4f} with "
            f"{min(units)} to {table[widest]['train_loss']['mean']:.4f} with {widest} units.",
            f"The held-out loss is least with {best_units} units "
            f"({table[best_units]['held_out_loss']['mean']:.4f}) and "
            f"{table[widest]['held_out_loss']['mean']:.4f} with {widest}.",
            f"Held-out accuracy is highest with {most_accurate} units "
            f"({table[most_accurate]['held_out_accuracy']['mean']:.4f}); with {widest} it is "
            f"{table[widest]['held_out_accuracy']['mean']:.4f}. The ceiling is {best:.4f}.",
        ],
    )  # fmt: skip


def width_for(depth: int, budget: int) -> int:
    """Units a layer so that ``depth`` equal hidden layers have about ``budget`` parameters.

    A network 2-w-...-w-2 has ``(depth - 1) w^2 + (depth + 4) w + 2`` of them.
    """
    return min(
        range(1, budget + 1), key=lambda w: abs((depth - 1) * w * w + (depth + 4) * w + 2 - budget)
    )


def layers(
    *,
    depths: Sequence[int] = (1, 2, 3, 4, 5, 10),
    width: int = 8,
    budget: int = 330,
    activations: Sequence[str] = jobs.ACTIVATIONS,
    seeds: int = 6,
    epochs: int = 3_000,
    learning_rate: float = 0.5,
    backend: str = "auto",
    tick: Tick | None = None,
) -> Result:
    """Deep against shallow, at one width and at one number of parameters.

    Parameters
    ----------
    depths : sequence of int
        Numbers of hidden layers.
    width : int
        Units of every hidden layer.
    budget : int
        Number of parameters for the second comparison.
    activations : sequence of str
    seeds, epochs, backend, tick
        As for :func:`activations`.
    learning_rate : float

    Returns
    -------
    Result
    """
    held_out = jobs.moons(jobs.HELD_OUT_SEED, jobs.HELD_OUT)
    optimizer = fastnn.SGD(learning_rate=learning_rate)
    deepest = max(depths)

    def make(name: str, depth: int, units: int, seed: int, kind: str) -> fastnn.Network:
        network = jobs.make_network(
            [2, *[units] * depth, 2],
            activation=name,
            seed=seed,
            backend=backend,
            initializer="he_normal" if kind == "cure" and name == "relu" else "lecun_normal",
        )
        if kind == "cure":
            jobs.enlarge_for_sigmoid(network)
        return network

    def one(job: tuple[str, str, int, int, int]) -> tuple[Run, dict[str, float], list[float]]:
        kind, name, depth, units, seed = job
        train_set = jobs.moons(seed)
        network = make(name, depth, units, seed, kind)
        gradients = network.unflatten(network.gradients(*train_set))[0]
        # Of the loss alone: the L2 term would hide how little comes back.
        norms = [
            float(np.linalg.norm(g - network.l2 * w))
            for g, w in zip(gradients, network.weights, strict=True)
        ]
        update = fastnn.Adam(learning_rate=0.01) if kind == "cure" else optimizer
        run = jobs.train(network, *train_set, epochs=epochs, optimizer=update)
        return run, jobs.measure(run, train_set, held_out), norms

    widths = {depth: width_for(depth, budget) for depth in depths}
    cases = [
        *(("width", a, d, width, s) for a, d, s in product(activations, depths, range(seeds))),
        *(("budget", a, d, widths[d], s) for a, d, s in product(activations, depths, range(seeds))),
        *(("cure", a, deepest, width, s) for a, s in product(activations, range(seeds))),
    ]
    answers = dict(zip(cases, jobs.each(one, cases, tick), strict=True))
    keys = ("train_accuracy", "held_out_accuracy", "train_loss", "held_out_loss")

    def collect(kind: str, name: str, depth: int, units: int) -> dict[str, Any]:
        chosen = [answers[kind, name, depth, units, s] for s in range(seeds)]
        norms = np.array([norms for _, _, norms in chosen])
        return {
            "layer_sizes": [2, *[units] * depth, 2],
            "parameters": chosen[0][0].network.n_params,
            "diverged": sum(run.diverged for run, _, _ in chosen),
            "stuck": sum(measured["train_accuracy"] < 0.6 for _, measured, _ in chosen),
            # Geometric mean: the norms of different seeds differ by factors.
            "gradient_norms": np.exp(np.log(np.maximum(norms, 1e-300)).mean(axis=0)).tolist(),
            **{key: summary([measured[key] for _, measured, _ in chosen]) for key in keys},
        }

    same_width = {a: {d: collect("width", a, d, width) for d in depths} for a in activations}
    same_budget = {a: {d: collect("budget", a, d, widths[d]) for d in depths} for a in activations}
    cures = {a: collect("cure", a, deepest, width) for a in activations}

    X, y = jobs.moons(0)
    limits = style.frame(X)
    shallow = min(depths)
    deep = max([d for d in depths if shallow < d <= 5], default=deepest)

    def draw_boundaries(narrow: bool) -> Figure:
        # Wide: a row a depth. Narrow: a row an activation.
        pairs = (
            [(a, d) for a in activations for d in (shallow, deep)]
            if narrow
            else [(a, d) for d in (shallow, deep) for a in activations]
        )
        titled = []
        for name, depth in pairs:
            run, measured, _ = answers["width", name, depth, width, 0]
            title = style.boundary_title(f"{name}, {depth} × {width}", measured, short=narrow)
            titled.append((run.network, title))
        figure = style.boundaries(
            titled, X, y, limits, columns=2 if narrow else len(activations),
            size=(2.4, 2.35) if narrow else (3.2, 2.8), points=8 if narrow else 12,
        )  # fmt: skip
        if narrow:
            figure.suptitle("Accuracy: training / held out", fontsize=10)
        return figure

    def draw_depth(groups: dict[str, dict[int, dict]], title: str) -> Any:
        def draw(narrow: bool) -> Figure:
            figure, axes = style.panels(
                3,
                1 if narrow else 3,
                size=(4.2, 2.9) if narrow else (3.3, 3.2),
                extra_height=0.55,
            )
            for ax, key in zip(
                axes, ("train_loss", "held_out_loss", "held_out_accuracy"), strict=True
            ):
                for name in activations:
                    style.error_line(
                        ax,
                        range(len(depths)),
                        [groups[name][d][key] for d in depths],
                        label=name,
                        **style.activation_style(name),
                    )
                ax.set_xticks(range(len(depths)), [str(d) for d in depths])
                ax.set_xlabel("hidden layers")
                ax.set_title(
                    {
                        "train_loss": "Training loss",
                        "held_out_loss": "Held-out loss",
                        "held_out_accuracy": "Held-out accuracy",
                    }[key]
                )
                ax.grid(True)
            top = max(axes[0].get_ylim()[1], axes[1].get_ylim()[1])
            for ax in axes[:2]:
                ax.set_ylim(0, top)
                ax.axhline(np.log(2), color=style.GREY, linestyle=":", linewidth=1.2)
            axes[1].text(
                0, np.log(2), "guessing: log 2", va="bottom", fontsize=8.5, color=style.GREY
            )
            axes[2].set_ylim(0.45, 1.0)
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
            figure.suptitle(title, fontsize=10.5)
            return figure

        return draw

    def draw_gradients(narrow: bool) -> Figure:
        figure, axes = style.panels(
            2, 1 if narrow else 2, size=(4.2, 3.2) if narrow else (4.4, 3.5), sharey=True
        )
        for ax, groups, title in zip(
            axes,
            ({a: same_width[a][deepest] for a in activations}, cures),
            ("LeCun's weights", "larger weights"),
            strict=True,
        ):
            for name in activations:
                norms = groups[name]["gradient_norms"]
                ax.plot(
                    range(1, len(norms) + 1),
                    norms,
                    markersize=5,
                    linewidth=1.5,
                    label=name,
                    **style.activation_style(name),
                )
            ax.set_yscale("log")
            ax.set_xticks(range(1, deepest + 2))
            ax.set_xlabel("layer, from the input to the output")
            ax.grid(True)
            ax.set_title(f"{deepest} hidden layers, {title}")
            ax.set_ylabel("norm of the gradient at the start")
        axes[0].legend()
        return figure

    def shrink(record: dict[str, Any]) -> float:
        return record["gradient_norms"][0] / record["gradient_norms"][-1]

    findings = []
    for name in activations:
        best = max(depths, key=lambda d, n=name: same_width[n][d]["held_out_accuracy"]["mean"])
        last = same_width[name][deepest]
        findings.append(
            f"{name}: held-out accuracy is highest with {best} hidden "
            f"layer{'' if best == 1 else 's'} "
            f"({same_width[name][best]['held_out_accuracy']['mean']:.4f}); with {deepest} it is "
            f"{last['held_out_accuracy']['mean']:.4f}, and {last['stuck']} of {seeds} seeds stay "
            "near guessing (training accuracy below 0.6). There the first layer's gradient is "
            f"{shrink(last):.2g} times the last one's at the start."
        )
    findings.append(
        "Depth hurts where the gradient dies on its way back: each layer multiplies it by the "
        "weights and by the activation's slope, at most 1/4 for sigmoid, at most 1 for tanh, 0 or "
        "1 for relu."
    )
    if "relu" in activations:
        findings.append(
            "relu loses the signal on its way forward already: it cuts half of it off in each "
            "layer, and LeCun's weights do not make up for that. So every layer's gradient is "
            f"small, also the last one's: {same_width['relu'][deepest]['gradient_norms'][-1]:.2g} "
            f"with {deepest} hidden layers, {cures['relu']['gradient_norms'][-1]:.2g} with He's "
            "weights."
        )
    findings.append(
        f"With larger weights (four times LeCun's for sigmoid, He's for relu) less is lost; with "
        f"Adam, which makes up for a small gradient, "
        f"{deepest} hidden layers reach held-out accuracies of "
        + ", ".join(f"{cures[a]['held_out_accuracy']['mean']:.4f} ({a})" for a in activations)
        + "."
    )
    sizes = ", ".join(
        f"{d} × {widths[d]} ({same_budget[activations[0]][d]['parameters']})" for d in depths
    )
    return Result(
        "layers",
        "Layers: deep against shallow",
        f"{', '.join(map(str, depths))} hidden layers of {width} units on the moons, {epochs:,} "
        f"steps of full-batch gradient descent at learning rate {learning_rate:g}, "
        f"{jobs.n_seeds(seeds)}. Then about {budget} parameters spent on depth or on width: "
        f"{sizes}.",
        {
            "epochs": epochs,
            "seeds": seeds,
            "learning_rate": learning_rate,
            "width": width,
            "budget": budget,
            "same_width": same_width,
            "same_budget": same_budget,
            "suited_weights": cures,
        },
        [
            Picture(
                "layers_boundaries",
                f"Boundaries of {shallow} and of {deep} hidden layers, seed 0.",
                f"Boundaries of three activations with {shallow} and with {deep} hidden layers on "
                "the same points; the deep ones bend more.",
                draw_boundaries,
            ),
            Picture(
                "layers_depth",
                "The same width in every layer: more layers mean more parameters. Bars are one "
                "standard error.",
                "Three line charts over the number of hidden layers: the training loss falls up "
                f"to 5 layers; at {deepest} layers plain gradient descent gets stuck.",
                draw_depth(same_width, f"Hidden layers of {width} units, {jobs.n_seeds(seeds)}"),
            ),
            Picture(
                "layers_budget",
                f"About {budget} parameters in all: deep and narrow against shallow and wide.",
                "Three line charts over the number of hidden layers at a fixed number of "
                "parameters.",
                draw_depth(same_budget, f"About {budget} parameters, {jobs.n_seeds(seeds)}"),
            ),
            Picture(
                "layers_gradients",
                "Why depth can hurt: the size of the gradient by layer before the first step "
                "(geometric mean over the seeds).",
                "Two charts of the gradient norm by layer on a logarithmic axis. With LeCun's "
                "weights the sigmoid's gradient falls by many orders of magnitude towards the "
                "input; with suited weights it falls far less.",
                draw_gradients,
            ),
        ],
        [
            Table(
                f"Held-out accuracy, mean ± standard deviation over {jobs.n_seeds(seeds)}",
                ["hidden layers", *(f"{a}, {width} units" for a in activations),
                 *(f"{a}, {budget} parameters" for a in activations)],
                [
                    [
                        str(d),
                        *(mean_sd(same_width[a][d]["held_out_accuracy"], 3) for a in activations),
                        *(mean_sd(same_budget[a][d]["held_out_accuracy"], 3) for a in activations),
                    ]
                    for d in depths
                ],
            ),
            Table(
                f"{deepest} hidden layers of {width} units",
                ["activation", "first / last gradient", "held out, gradient descent",
                 "first / last gradient, suited weights", "held out, suited weights and Adam"],
                [
                    [
                        a,
                        f"{shrink(same_width[a][deepest]):.1e}",
                        mean_sd(same_width[a][deepest]["held_out_accuracy"]),
                        f"{shrink(cures[a]):.1e}",
                        mean_sd(cures[a]["held_out_accuracy"]),
                    ]
                    for a in activations
                ],
            ),
        ],
        findings,
    )  # fmt: skip
