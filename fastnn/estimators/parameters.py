"""Parameters of the estimators: names, bounds and constraints for scikit-learn's validation."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fastnn.backends import BACKENDS, codes
from fastnn.network.custom import CustomActivation
from fastnn.network.spec import bounds, choices
from fastnn.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP

STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw", "adagrad", "rmsprop")

# scikit-learn's names of activations, and the names in this package.
NATIVE_NAMES = {"logistic": "sigmoid"}
ACTIVATIONS = {*codes.ACTIVATIONS, *NATIVE_NAMES}


def is_stochastic(estimator: BaseMLP) -> bool:
    """Whether ``partial_fit`` is available; raises an error with the reason if not."""
    if estimator.solver not in STOCHASTIC_SOLVERS:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


def interval(name: str) -> Interval:
    """Bounds of a network setting as a constraint of scikit-learn."""
    limits = bounds(name)
    if "gt" in limits:
        return Interval(Real, limits["gt"], limits.get("lt"), closed="neither")
    return Interval(Real, limits["ge"], limits.get("lt"), closed="left")


# Constraints that scikit-learn checks before every fit.
CONSTRAINTS: dict[str, list] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(ACTIVATIONS), CustomActivation, list, tuple, np.ndarray],
    "solver": [StrOptions({"lbfgs", "lm", *STOCHASTIC_SOLVERS})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *SCHEDULES})],
    "warmup": [Interval(Integral, 0, None, closed="left")],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [
        Interval(Integral, 1, None, closed="left"),
        Options(Real, {np.inf}),
    ],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "backend": [StrOptions({"auto", *BACKENDS})],
    "dtype": [
        StrOptions(set(choices("dtype"))),
        Options(type, {np.float32, np.float64}),
        None,
    ],
    "dropout": [interval("dropout"), list, tuple, np.ndarray],
    "scoring": [StrOptions({"loss", *get_scorer_names()}), callable, None],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "rho": [Interval(Real, 0, 1, closed="left")],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "clip_value": [Interval(Real, 0, None, closed="neither"), None],
    "ema": [Interval(Real, 0, 1, closed="neither"), None],
}


def layer_units(sizes: Any) -> list[int]:
    """Units of each hidden layer."""
    if isinstance(sizes, np.ndarray):
        sizes = np.atleast_1d(sizes)
    units = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in units):
        raise ValueError(
            f"hidden_layer_sizes must be whole numbers, > 0, one for each hidden layer; got "
            f"{sizes!r}"
        )
    return [int(n) for n in units]


def each_activation(activation: Any, n_hidden: int) -> list[str | CustomActivation]:
    """Validate activations; return a list with one for each hidden layer."""
    if isinstance(activation, str | CustomActivation):
        return [activation] * n_hidden
    names = list(activation)
    known = [isinstance(name, CustomActivation) or name in ACTIVATIONS for name in names]
    if len(names) != n_hidden or not all(known):
        raise ValueError(
            f"activation must be one of {', '.join(sorted(ACTIVATIONS))}, or a sequence of "
            f"{n_hidden}, one for each hidden layer; got {activation!r}"
        )
    return names


def store_parameters(estimator: Any, arguments: dict[str, Any]) -> None:
    """Store the arguments of ``__init__`` as attributes, unchanged."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
