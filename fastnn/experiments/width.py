"""Networks with one hidden layer of few or many units on the two moons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Run, Tick
from fastnn.experiments.moons import best_moons_accuracy
from fastnn.experiments.result import Picture, Result, means_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Numbers = dict[int, dict[str, Any]]


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
    """Compare networks with one hidden layer of few or many units.

    Parameters
    ----------
    units : sequence of int
        Numbers of hidden units.
    shown : sequence of int
        Numbers of hidden units for which decision boundaries are drawn.
    activation : str
        Activation of the hidden layer.
    seeds, epochs, backend, tick
        As for :func:`activations`.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> result = experiments.hidden_units()  # doctest: +SKIP
    >>> print(result.findings[0])  # doctest: +SKIP
    """
    shown = [h for h in shown if h in units] or list(units)[:3]
    held_out = jobs.moons(jobs.HELD_OUT_SEED, jobs.HELD_OUT)

    def one(job: tuple[int, int]) -> Run:
        h, seed = job
        network = jobs.make_network([2, h, 2], activation=activation, seed=seed, backend=backend)
        return jobs.train_and_measure(network, jobs.moons(seed), held_out, epochs=epochs)

    # Widest networks first, so that all cores finish at about the same time.
    runs = jobs.by_case(one, sorted(product(units, range(seeds)), reverse=True), tick)
    table = {h: _numbers([runs[h, s] for s in range(seeds)]) for h in units}
    best = best_moons_accuracy()
    best_units = min(units, key=lambda h: table[h]["held_out_loss"]["mean"])
    most_accurate = max(units, key=lambda h: table[h]["held_out_accuracy"]["mean"])
    several = jobs.n_seeds(seeds)
    return Result(
        "hidden_units",
        "Hidden units: when more stops helping",
        f"A 2-h-2 network with {activation}, trained as above, for h = "
        f"{', '.join(map(str, units))} hidden units in one layer; {several} each, "
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
        _pictures(
            [(f"{activation}, 2-{h}-2", runs[h, 0]) for h in shown], shown, table, best, several
        ),
        [
            means_table(
                ["hidden units", "parameters"],
                [([str(h), str(table[h]["parameters"])], table[h]) for h in units],
                several,
            )
        ],
        _findings(table, best_units, most_accurate, best),
    )


def _pictures(
    named_runs: list[tuple[str, Run]],
    shown: Sequence[int],
    table: Numbers,
    best: float,
    several: str,
) -> list[Picture]:
    """Boundaries of some networks, and curves over the number of hidden units."""
    return [
        Picture(
            "hidden_units_boundaries",
            f"Boundaries with {', '.join(map(str, shown))} hidden units, seed 0. With more "
            "units the line bends around single points.",
            "Three panels with the same points and axes; the boundary grows more crooked "
            "from left to right.",
            partial(
                style.boundaries,
                named_runs,
                *jobs.moons(0),
            ),
        ),
        Picture(
            "hidden_units_curves",
            "Training and held-out results over the number of hidden units; bars are one "
            "standard error.",
            "Two line charts over the number of hidden units. The training loss keeps "
            "falling; the held-out loss falls, then rises.",
            partial(_draw_curves, table, best, several),
        ),
    ]


def _numbers(runs: Sequence[Run]) -> dict[str, Any]:
    """Results of one width over all seeds."""
    return {
        "parameters": runs[0].network.n_params,
        "diverged": sum(run.diverged for run in runs),
        **jobs.summaries(runs),
    }


def _draw_curves(table: Numbers, best: float, several: str, narrow: bool) -> Figure:
    figure, axes = style.panels(2, 1 if narrow else 2, size=(4.2, 3.2) if narrow else (4.4, 3.5))
    for ax, kind in zip(axes, ("loss", "accuracy"), strict=True):
        for part, color, marker, line in (
            ("train", style.BLUE, "o", "-"),
            ("held_out", style.VERMILION, "s", "--"),
        ):
            style.error_line(
                ax,
                list(table),
                [record[f"{part}_{kind}"] for record in table.values()],
                label="training" if part == "train" else "held out",
                color=color,
                marker=marker,
                linestyle=line,
            )
        ax.set_xscale("log")
        ax.set_xticks(list(table), [str(h) for h in table])
        ax.minorticks_off()
        ax.set_xlabel("hidden units")
        ax.set_ylabel("loss without L2 term" if kind == "loss" else "accuracy")
        ax.set_title(f"{kind.capitalize()}, mean of {several}")
        ax.grid(True)
    axes[0].set_ylim(bottom=0)
    axes[1].axhline(best, color=style.GREY, linestyle=":", label=f"best possible {best:.3f}")
    for ax in axes:
        ax.legend()
    return figure


def _findings(table: Numbers, best_units: int, most_accurate: int, best: float) -> list[str]:
    """Findings from the means, as sentences."""
    least, widest = min(table), max(table)

    def mean(h: int, key: str) -> str:
        return f"{table[h][key]['mean']:.4f}"

    return [
        f"The training loss goes from {mean(least, 'train_loss')} with "
        f"{least} to {mean(widest, 'train_loss')} with {widest} units.",
        f"The held-out loss is least with {best_units} units "
        f"({mean(best_units, 'held_out_loss')}) and "
        f"{mean(widest, 'held_out_loss')} with {widest}.",
        f"Held-out accuracy is highest with {most_accurate} units "
        f"({mean(most_accurate, 'held_out_accuracy')}); with {widest} it is "
        f"{mean(widest, 'held_out_accuracy')}. The ceiling is {best:.4f}.",
    ]
