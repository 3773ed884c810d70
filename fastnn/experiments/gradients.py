"""Comparison of the derived gradients with finite differences and the complex step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.backends import codes
from fastnn.backends import numpy as kernels
from fastnn.backends.plan import make_plan
from fastnn.experiments import jobs, style
from fastnn.experiments.jobs import Tick
from fastnn.experiments.result import Picture, Result, Table, vector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastnn.network import Network

# Far above the observed errors, far below the effect of any mistake in a formula.
COMPLEX_BOUND = 1e-12
DIFFERENCE_BOUND = 1e-6


class Objective:
    """Loss of a network as a function of its flat parameter array, which may be complex.

    Parameters
    ----------
    network : Network
    X, y : ndarray
        Points and class indices.
    """

    def __init__(self, network: Network, X: np.ndarray, y: np.ndarray) -> None:
        activations = [codes.ACTIVATIONS[name] for name in (*network.activations, "identity")]
        self.plan = make_plan(
            list(network.layer_sizes), activations, [0.0] * len(activations), [], 1, 8, kernels
        )
        self.l2 = network.l2
        self.x = np.ascontiguousarray(X.T)
        self.targets = y.astype(np.float64)[None]

    def __call__(self, params: np.ndarray) -> Any:
        """Loss with L2 term at ``params``."""
        return kernels.loss_and_grad(
            self.plan.net(codes.CROSS_ENTROPY, self.l2),
            self.x,
            self.targets,
            np.empty(0),
            0,
            0,
            params,
            np.empty(0),
            np.empty((1, len(params)), params.dtype),
        )

    def forward_difference(self, params: np.ndarray, h: float) -> np.ndarray:
        """``(f(p + h) - f(p)) / h`` for each parameter."""
        base = self(params)
        return np.array([(self(p) - base) / h for p in _shifted(params, h)])

    def central_difference(self, params: np.ndarray, h: float) -> np.ndarray:
        """``(f(p + h) - f(p - h)) / 2h`` for each parameter."""
        up, down = _shifted(params, h), _shifted(params, -h)
        return np.array([(self(p) - self(q)) / (2 * h) for p, q in zip(up, down, strict=True)])

    def complex_step(self, params: np.ndarray, h: float = 1e-30) -> np.ndarray:
        """``Im f(p + ih) / h`` for each parameter; without subtraction, hence no cancellation."""
        points = _shifted(params.astype(np.complex128), 1j * h)
        return np.array([np.imag(self(p)) / h for p in points])


def _shifted(params: np.ndarray, h: complex) -> list[np.ndarray]:
    """Copies of ``params``, one per entry, with ``h`` added to that entry."""
    points = []
    for i in range(len(params)):
        point = params.copy()
        point[i] += h
        points.append(point)
    return points


def softmax(z: np.ndarray) -> np.ndarray:
    """Stable softmax of the logits of one sample, which may be complex."""
    e = np.exp(z - z.real.max())
    return e / e.sum()


def softmax_pieces() -> dict[str, Any]:
    """Jacobian of softmax, its error against the complex step, and the resulting gradients.

    One of the gradients uses only the diagonal of the Jacobian, as in the original report.
    """
    z, target, h = np.array([1.0, 2.0, 3.0]), 0, 1e-30
    p = softmax(z)
    columns = [np.imag(softmax(point)) / h for point in _shifted(z.astype(complex), 1j * h)]
    by_step = np.stack(columns, axis=1)
    jacobian = np.diag(p) - np.outer(p, p)
    dp = np.zeros(3)
    dp[target] = -1 / p[target]
    return {
        "logits": z,
        "target": target,
        "probabilities": p,
        "jacobian": jacobian,
        "jacobian_error": float(np.abs(jacobian - by_step).max()),
        "gradient_full": jacobian.T @ dp,
        "gradient_p_minus_y": p - np.eye(3)[target],
        "gradient_diagonal_only": p * (1 - p) * dp,
    }


def activation_pieces() -> dict[str, Any]:
    """Errors of activation slopes against the complex step, including the original's mistakes."""
    z, h = np.linspace(-3, 3, 25), 1e-30
    result: dict[str, Any] = {}
    for name in ("tanh", "sigmoid"):
        code = codes.ACTIVATIONS[name]
        point = (z + 1j * h)[None]
        out = np.empty_like(point)
        kernels.activation_forward(point, code, 0.0, out)
        exact = out.imag[0] / h
        a = np.ascontiguousarray(out.real)
        slope = np.ones_like(a)
        kernels.activation_backward(a, a, code, 0.0, slope)
        result[name] = {"error": float(np.abs(slope[0] - exact).max())}
        if name == "tanh":
            up, down = np.exp(z), np.exp(-z)
            correct = ((up + down) ** 2 - (up - down) ** 2) / (up + down) ** 2
            slips = {"denominator_lost": (up + down) ** 2 - (up - down) ** 2}
        else:
            e, s = np.exp(-z), 1 / (1 + np.exp(-z))
            correct = e / (1 + e) ** 2
            slips = {"stray_minus": -correct, "product_for_difference": s * (1 * s)}
        result[name]["correct_line_error"] = float(np.abs(correct - exact).max())
        for slip, values in slips.items():
            result[name][f"{slip}_error"] = float(np.abs(values - exact).max())
    z = np.array([[-1.0, -0.0, 0.0, 1.0]])
    a, slope = np.empty_like(z), np.ones_like(z)
    kernels.activation_forward(z, codes.RELU, 0.0, a)
    kernels.activation_backward(z, a, codes.RELU, 0.0, slope)
    result["relu"] = {"z": z[0], "slope": slope[0], "max_0_1": np.maximum(0, np.ones(4))}
    return result


def gradient_check(
    *,
    networks: Sequence[Sequence[int]] = ((2, 3, 2), (2, 8, 8, 8, 2)),
    activations: Sequence[str] = jobs.ACTIVATIONS,
    l2: float = 0.01,
    samples: int = 40,
    backend: str = "auto",
    tick: Tick | None = None,
) -> Result:
    """Compare gradients by the derived formulas, by differences and by the complex step.

    Parameters
    ----------
    networks : sequence of layer sizes
        Layer sizes of the networks to check.
    activations : sequence of str
        Names of the activations to compare.
    l2 : float
        L2 penalty; large, so that a mistake in its term would be visible.
    samples : int
        Number of samples.
    backend, tick
        As for :func:`fastnn.experiments.activations`. ``backend`` computes the gradients; the
        differences and the complex step use the loss of the NumPy kernels.

    Returns
    -------
    Result

    Examples
    --------
    >>> from fastnn import experiments
    >>> result = experiments.gradient_check(networks=[(2, 3, 2)], activations=["tanh"])
    >>> print(result.findings[0])  # doctest: +SKIP
    """
    X, y = jobs.moons(0, samples)
    rows: list[dict[str, Any]] = []
    cases = list(product(networks, activations))
    for number, (sizes, name) in enumerate(cases):
        network = jobs.make_network(sizes, activation=name, seed=0, backend=backend, l2=l2)
        rows += _errors(network, name, X, y)
        if tick is not None:
            tick((number + 1) / (len(cases) + 1))
    network = jobs.make_network(
        networks[0], activation=activations[0], seed=0, backend=backend, l2=l2
    )
    sweep = _sweep(network, X, y)
    if tick is not None:
        tick(1.0)
    worst_complex = max(row["complex_error"] for row in rows)
    worst_difference = max(row["difference_error"] for row in rows)
    softmax_data = softmax_pieces()
    return Result(
        "gradient_check",
        "Gradient check",
        f"The gradient by the formulas of docs/derivations.md, on {samples} points with L2 "
        f"{l2:g}, against central differences (h = 1e-5) and the complex step (h = 1e-30). "
        "Errors are the largest of an array, divided by its largest entry.",
        {
            "l2": l2,
            "samples": samples,
            "rows": rows,
            "worst_complex_error": worst_complex,
            "worst_difference_error": worst_difference,
            "bounds": {"complex": COMPLEX_BOUND, "difference": DIFFERENCE_BOUND},
            "sweep": sweep,
            "softmax": softmax_data,
            "activations": activation_pieces(),
        },
        [
            Picture(
                "gradient_check",
                "Differences must choose: a large step is inexact, a small one drowns in "
                "rounding. The complex step subtracts nothing and is exact for any small h.",
                "Errors over the step h on logarithmic axes. Both differences form a V with a "
                "lowest point near 1e-8 and 1e-5; the complex step falls to rounding error and "
                "stays there.",
                partial(_draw, sweep, f"{'-'.join(map(str, networks[0]))}, {activations[0]}"),
            )
        ],
        _tables(rows, softmax_data),
        [
            f"The largest error against the complex step is {worst_complex:.1e}, against "
            f"differences {worst_difference:.1e}: the formulas are right to rounding.",
            "With the diagonal of softmax's Jacobian alone the wrong classes get no gradient at "
            "all, and the target's own is the only one that is right.",
        ],
    )


def _errors(network: Network, activation: str, X: np.ndarray, y: np.ndarray) -> list[dict]:
    """Errors of the gradient of a network, for each array of parameters."""
    # Nonzero biases: with zeros, a mistake in their gradient might go unnoticed.
    network.params += 0.1 * np.random.RandomState(1).randn(network.n_params)
    objective, params = Objective(network, X, y), network.params.copy()
    derived = network.gradients(X, y)
    central = objective.central_difference(params, 1e-5)
    exact = objective.complex_step(params)
    parts = [network.unflatten(flat) for flat in (derived, central, exact)]
    rows = []
    for layer, kind in product(range(len(network.weights)), range(2)):
        d, c, e = (part[kind][layer] for part in parts)
        size = float(np.abs(e).max())
        rows.append(
            {
                "network": "-".join(map(str, network.layer_sizes)),
                "activation": activation,
                "parameter": f"{'Wb'[kind]}{layer + 1}",
                "shape": list(d.shape),
                "largest": size,
                "difference_error": float(np.abs(d - c).max() / size),
                "complex_error": float(np.abs(d - e).max() / size),
            }
        )
    return rows


def _sweep(network: Network, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Largest error of each method as a function of the step size h."""
    objective, params = Objective(network, X, y), network.params.copy()
    derived = network.gradients(X, y)
    size = float(np.abs(derived).max())
    steps = np.logspace(-16, -1, 46)
    methods = {
        "forward": objective.forward_difference,
        "central": objective.central_difference,
        "complex": objective.complex_step,
    }
    return {
        "h": steps,
        **{
            key: [float(np.abs(method(params, h) - derived).max() / size) for h in steps]
            for key, method in methods.items()
        },
    }


def _draw(sweep: dict[str, Any], network: str, narrow: bool) -> Figure:
    figure, (ax,) = style.panels(1, 1, size=(4.2, 3.5) if narrow else (7.0, 3.8))
    for key, label, color, marker, line in (
        ("forward", "one-sided difference", style.VERMILION, "s", "--"),
        ("central", "central difference", style.ORANGE, "^", "-."),
        ("complex", "complex step", style.BLUE, "o", "-"),
    ):
        ax.plot(
            sweep["h"], np.maximum(sweep[key], 1e-17), color=color, marker=marker, linestyle=line,
            markersize=4, linewidth=1.4, label=label, markevery=3,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(3e-18, 30)
    ax.set_xlabel("step h")
    ax.set_ylabel("largest error / largest gradient")
    ax.set_title(f"{network}: gradient by formula and by three checks")
    ax.grid(True)
    ax.legend(loc="upper center", ncols=1 if narrow else 3)
    return figure


def _tables(rows: list[dict[str, Any]], softmax_data: dict[str, Any]) -> list[Table]:
    return [
        Table(
            "Derived formulas against the two checks",
            ["network", "activation", "parameter", "shape", "against differences",
             "against complex step"],
            [
                [
                    r["network"],
                    r["activation"],
                    r["parameter"],
                    " × ".join(map(str, r["shape"])),
                    f"{r['difference_error']:.1e}",
                    f"{r['complex_error']:.1e}",
                ]
                for r in rows
            ],
        ),
        Table(
            "Gradient by the logits (1, 2, 3) when class 0 is the target",
            ["how", "dL/dz"],
            [
                ["full Jacobian", vector(softmax_data["gradient_full"])],
                ["p - y", vector(softmax_data["gradient_p_minus_y"])],
                ["diagonal p(1 - p) only", vector(softmax_data["gradient_diagonal_only"])],
            ],
        ),
    ]  # fmt: skip
