"""Deep and shallow networks on the two moons, with equal width or equal number of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Run, Tick
from fastnn.experiments.result import Picture, Result, Table, mean_sd
from fastnn.network import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ByDepth = dict[str, dict[int, dict[str, Any]]]  # numbers by activation and depth


def width_for(depth: int, budget: int) -> int:
    """Units per layer so that ``depth`` equal hidden layers have about ``budget`` parameters.

    A network 2-w-...-w-2 has ``(depth - 1) w^2 + (depth + 4) w + 2`` parameters.
    """
    return min(
        range(1, budget + 1), key=lambda w: abs((depth - 1) * w * w + (depth + 4) * w + 2 - budget)
    )


@dataclass(frozen=True)
class _Numbers:
    """Settings and results of the comparison."""

    activations: Sequence[str]
    depths: Sequence[int]
    width: int
    budget: int
    seeds: int
    same_width: ByDepth
    same_budget: ByDepth
    suited: dict[str, dict[str, Any]]

    @property
    def deepest(self) -> int:
        return max(self.depths)


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
    """Compare deep and shallow networks of equal width or equal number of parameters.

    Parameters
    ----------
    depths : sequence of int
        Numbers of hidden layers.
    width : int
        Units of every hidden layer.
    budget : int
        Number of parameters for the second comparison.
    activations : sequence of str
        Names of the activations to compare.
    seeds, epochs, backend, tick
        As for :func:`activations`.
    learning_rate : float
        Learning rate of gradient descent.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> result = experiments.layers()  # doctest: +SKIP
    >>> print(result.findings[0])  # doctest: +SKIP
    """
    held_out = jobs.moons(jobs.HELD_OUT_SEED, jobs.HELD_OUT)
    widths = {depth: width_for(depth, budget) for depth in depths}

    def one(job: tuple[str, str, int, int]) -> tuple[Run, list[float]]:
        kind, name, depth, seed = job
        units = widths[depth] if kind == "budget" else width
        network = _network([2, *[units] * depth, 2], name, seed, backend, kind == "suited")
        update: fastnn.SGD | fastnn.Adam = fastnn.SGD(learning_rate=learning_rate)
        if kind == "suited":
            update = fastnn.Adam(learning_rate=0.01)
        train_set = jobs.moons(seed)
        norms = _gradient_norms(network, *train_set)
        run = jobs.train_and_measure(network, train_set, held_out, epochs=epochs, optimizer=update)
        return run, norms

    cases = [
        *product(("width", "budget"), activations, depths, range(seeds)),
        *product(("suited",), activations, (max(depths),), range(seeds)),
    ]
    answers = jobs.by_case(one, cases, tick)

    def collect(kind: str, name: str, depth: int) -> dict[str, Any]:
        return _summary([answers[kind, name, depth, seed] for seed in range(seeds)])

    same_width, same_budget = (
        {a: {d: collect(kind, a, d) for d in depths} for a in activations}
        for kind in ("width", "budget")
    )
    suited = {a: collect("suited", a, max(depths)) for a in activations}
    numbers = _Numbers(activations, depths, width, budget, seeds, same_width, same_budget, suited)
    first = {(a, d): answers["width", a, d, 0][0] for a in activations for d in depths}
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
            "suited_weights": suited,
        },
        _pictures(numbers, first),
        [_depths_table(numbers), _deepest_table(numbers)],
        _findings(numbers),
    )


# --- training and results -----------------------------------------------------------


def _network(sizes: list[int], activation: str, seed: int, backend: str, suited: bool) -> Network:
    """A network with LeCun's initialization, or with one that is suited to the activation."""
    network = jobs.make_network(
        sizes,
        activation=activation,
        seed=seed,
        backend=backend,
        initializer="he_normal" if suited and activation == "relu" else "lecun_normal",
    )
    if suited:
        jobs.enlarge_for_sigmoid(network)
    return network


def _gradient_norms(network: Network, X: np.ndarray, y: np.ndarray) -> list[float]:
    """Norm of the loss gradient of each layer's weights.

    Without the L2 term, which would hide how small the gradient of the first layers is.
    """
    gradients = network.unflatten(network.gradients(X, y))[0]
    return [
        float(np.linalg.norm(g - network.l2 * w))
        for g, w in zip(gradients, network.weights, strict=True)
    ]


def _summary(answers: Sequence[tuple[Run, list[float]]]) -> dict[str, Any]:
    """Numbers of one architecture over all seeds."""
    runs = [run for run, _ in answers]
    norms = np.array([norms for _, norms in answers])
    return {
        "layer_sizes": list(runs[0].network.layer_sizes),
        "parameters": runs[0].network.n_params,
        "diverged": sum(run.diverged for run in runs),
        "stuck": sum(run.measured["train_accuracy"] < 0.6 for run in runs),
        # Geometric mean, since the norms of different seeds differ by factors.
        "gradient_norms": np.exp(np.log(np.maximum(norms, 1e-300)).mean(axis=0)).tolist(),
        **jobs.summaries(runs),
    }


def _shrink(record: dict[str, Any]) -> float:
    """Gradient norm of the first layer, divided by that of the last one."""
    return record["gradient_norms"][0] / record["gradient_norms"][-1]


# --- figures ------------------------------------------------------------------------


def _pictures(numbers: _Numbers, first: dict[tuple[str, int], Run]) -> list[Picture]:
    deepest, budget, several = numbers.deepest, numbers.budget, jobs.n_seeds(numbers.seeds)
    shallow = min(numbers.depths)
    deep = max([d for d in numbers.depths if shallow < d <= 5], default=deepest)
    return [
        Picture(
            "layers_boundaries",
            f"Boundaries of {shallow} and of {deep} hidden layers, seed 0.",
            f"Boundaries of three activations with {shallow} and with {deep} hidden layers on "
            "the same points; the deep ones bend more.",
            partial(_draw_boundaries, numbers, (shallow, deep), first),
        ),
        Picture(
            "layers_depth",
            "The same width in every layer: more layers mean more parameters. Bars are one "
            "standard error.",
            "Three line charts over the number of hidden layers: the training loss falls up "
            f"to 5 layers; at {deepest} layers plain gradient descent gets stuck.",
            partial(
                _draw_depth,
                numbers.same_width,
                f"Hidden layers of {numbers.width} units, {several}",
            ),
        ),
        Picture(
            "layers_budget",
            f"About {budget} parameters in all: deep and narrow against shallow and wide.",
            "Three line charts over the number of hidden layers at a fixed number of parameters.",
            partial(_draw_depth, numbers.same_budget, f"About {budget} parameters, {several}"),
        ),
        Picture(
            "layers_gradients",
            "Why depth can hurt: the size of the gradient by layer before the first step "
            "(geometric mean over the seeds).",
            "Two charts of the gradient norm by layer on a logarithmic axis. With LeCun's "
            "weights the sigmoid's gradient falls by many orders of magnitude towards the "
            "input; with suited weights it falls far less.",
            partial(_draw_gradients, numbers),
        ),
    ]


def _draw_boundaries(
    numbers: _Numbers, depths: tuple[int, int], first: dict[tuple[str, int], Run], narrow: bool
) -> Figure:
    # Wide layout: one row per depth. Narrow layout: one row per activation.
    pairs = list(product(numbers.activations, depths))
    if not narrow:
        pairs = [(name, depth) for depth, name in product(depths, numbers.activations)]
    return style.boundaries(
        [(f"{name}, {depth} × {numbers.width}", first[name, depth]) for name, depth in pairs],
        *jobs.moons(0),
        narrow,
        sizes=((2.4, 2.35), (3.2, 2.8)),
        columns=(2, len(numbers.activations)),
        points=8 if narrow else 12,
        short=narrow,
    )


def _draw_depth(groups: ByDepth, title: str, narrow: bool) -> Figure:
    figure, axes = style.panels(
        3, 1 if narrow else 3, size=(4.2, 2.9) if narrow else (3.3, 3.2), extra_height=0.55
    )
    titles = {
        "train_loss": "Training loss",
        "held_out_loss": "Held-out loss",
        "held_out_accuracy": "Held-out accuracy",
    }
    for ax, (key, what) in zip(axes, titles.items(), strict=True):
        for name, by_depth in groups.items():
            style.error_line(
                ax,
                range(len(by_depth)),
                [record[key] for record in by_depth.values()],
                label=name,
                **style.activation_style(name),
            )
        ax.set_xticks(range(len(by_depth)), [str(d) for d in by_depth])
        ax.set_xlabel("hidden layers")
        ax.set_title(what)
        ax.grid(True)
    top = max(axes[0].get_ylim()[1], axes[1].get_ylim()[1])
    for ax in axes[:2]:
        ax.set_ylim(0, top)
        ax.axhline(np.log(2), color=style.GREY, linestyle=":", linewidth=1.2)
    axes[1].text(0, np.log(2), "guessing: log 2", va="bottom", fontsize=8.5, color=style.GREY)
    axes[2].set_ylim(min(0.45, axes[2].get_ylim()[0]), 1.0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title, fontsize=10.5)
    return figure


def _draw_gradients(numbers: _Numbers, narrow: bool) -> Figure:
    figure, axes = style.panels(
        2, 1 if narrow else 2, size=(4.2, 3.2) if narrow else (4.4, 3.5), sharey=True
    )
    deepest = numbers.deepest
    plain = {name: by_depth[deepest] for name, by_depth in numbers.same_width.items()}
    for ax, group, title in zip(
        axes, (plain, numbers.suited), ("LeCun's weights", "larger weights"), strict=True
    ):
        for name, record in group.items():
            norms = record["gradient_norms"]
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


# --- tables and sentences -----------------------------------------------------------


def _depths_table(numbers: _Numbers) -> Table:
    names, groups = numbers.activations, (numbers.same_width, numbers.same_budget)
    return Table(
        f"Held-out accuracy, mean ± standard deviation over {jobs.n_seeds(numbers.seeds)}",
        [
            "hidden layers",
            *(f"{a}, {numbers.width} units" for a in names),
            *(f"{a}, {numbers.budget} parameters" for a in names),
        ],
        [
            [str(d), *(mean_sd(g[a][d]["held_out_accuracy"], 3) for g in groups for a in names)]
            for d in numbers.depths
        ],
    )


def _deepest_table(numbers: _Numbers) -> Table:
    rows = []
    for name in numbers.activations:
        row = [name]
        for record in (numbers.same_width[name][numbers.deepest], numbers.suited[name]):
            row += [f"{_shrink(record):.1e}", mean_sd(record["held_out_accuracy"])]
        rows.append(row)
    return Table(
        f"{numbers.deepest} hidden layers of {numbers.width} units",
        [
            "activation",
            "first / last gradient",
            "held out, gradient descent",
            "first / last gradient, suited weights",
            "held out, suited weights and Adam",
        ],
        rows,
    )


def _findings(numbers: _Numbers) -> list[str]:
    names, deepest, suited = numbers.activations, numbers.deepest, numbers.suited
    sentences = [_best_depth(numbers, name) for name in names]
    sentences.append(
        "Depth hurts where the gradient dies on its way back: each layer multiplies it by the "
        "weights and by the activation's slope, at most 1/4 for sigmoid, at most 1 for tanh, 0 or "
        "1 for relu."
    )
    if "relu" in names:
        norm = numbers.same_width["relu"][deepest]["gradient_norms"][-1]
        sentences.append(
            "relu loses the signal on its way forward already: it cuts half of it off in each "
            "layer, and LeCun's weights do not make up for that. So every layer's gradient is "
            f"small, also the last one's: {norm:.2g} with {deepest} hidden layers, "
            f"{suited['relu']['gradient_norms'][-1]:.2g} with He's weights."
        )
    sentences.append(
        "With larger weights (four times LeCun's for sigmoid, He's for relu) less is lost; with "
        "Adam, which makes up for a small gradient, "
        f"{deepest} hidden layers reach held-out accuracies of "
        + ", ".join(f"{suited[a]['held_out_accuracy']['mean']:.4f} ({a})" for a in names)
        + "."
    )
    return sentences


def _best_depth(numbers: _Numbers, name: str) -> str:
    """Sentence on the number of layers with the highest accuracy for an activation."""
    means = {d: r["held_out_accuracy"]["mean"] for d, r in numbers.same_width[name].items()}
    best, deepest = max(means, key=means.__getitem__), numbers.deepest
    last = numbers.same_width[name][deepest]
    return (
        f"{name}: held-out accuracy is highest with {best} hidden "
        f"layer{'' if best == 1 else 's'} ({means[best]:.4f}); with {deepest} it is "
        f"{means[deepest]:.4f}, and {last['stuck']} of {numbers.seeds} seeds stay "
        "near guessing (training accuracy below 0.6). There the first layer's gradient is "
        f"{_shrink(last):.2g} times the last one's at the start."
    )
