"""RealMLP-TD-S, a multilayer perceptron for tables: initial weights, scales and update rule.

The simplified variant of the method of Holzmüller, Grinsztajn, Steinwart, "Better by default:
strong pre-tuned MLPs and boosted trees on tabular data" (2024). Two parts of it are implemented in
the update rule rather than as layers, so that the trained network is an ordinary one:

* A layer in the paper is ``x W / sqrt(fan_in) + b`` with W and b of order 1. Here the weights are
  ``W / sqrt(fan_in)``. With Adam, this is equivalent to a learning rate divided by
  ``sqrt(fan_in)`` and an epsilon multiplied by it.
* Each feature has a trainable factor, which is multiplied into the weights of the first layer
  (``fastnn.backends.interface.Rule.front``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastnn.backends.codes import FAN_IN
from fastnn.backends.interface import Rule
from fastnn.network import Network
from fastnn.network.scales import Scales, output_scales, shift_and_scale
from fastnn.training.optimizers import Adam

HIDDEN = (256, 256, 256)
MIN_BYTES = 4 * sum(a * b for a, b in pairwise(HIDDEN))  # lower bound for a network
SMOOTH_CLIP = 3.0
LABEL_SMOOTHING = 0.1
ACTIVATION = {"classification": "selu", "regression": "mish"}
FRONT_RATE, BIAS_RATE = 6.0, 0.1  # factors of the learning rate
MIN_MEAN = 1e-6  # lower bound of a mean before its logarithm is taken
_AT_A_TIME = 1 << 20  # values whose quartiles are computed in one call, in about 0.05 s


@dataclass(frozen=True)
class Samples:
    """Samples in the form that a network's kernels take.

    Attributes
    ----------
    x : ndarray, shape (samples, features)
        Scaled features.
    targets : ndarray, shape (samples, 1 or outputs)
        Class indices, or scaled values.
    weights : ndarray, shape (samples,) or (0,)
        Sample weights; empty if all are equal.
    """

    x: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def new_network(
    x: np.ndarray,
    targets: np.ndarray,
    n_classes: int,
    *,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    dropout: float = 0.0,
    dtype: Any = "float32",
    backend: str = "auto",
    seed: int = 0,
    n_threads: int | None = None,
    **loss: Any,
) -> Network:
    """Create a network with its scales and initial weights.

    Parameters
    ----------
    x : ndarray of float64, shape (samples, features)
        Training samples, from which the scales are computed.
    targets : ndarray, shape (samples, 1 or outputs)
        Class indices; for a regression, unscaled values.
    n_classes : int
        0 for a regression.
    hidden : sequence of int, optional
        Units of the hidden layers; default: :data:`HIDDEN`.
    activation : str, optional
        Default: that of :data:`ACTIVATION`.
    dropout, dtype, backend, n_threads
        As for :class:`fastnn.Network`.
    seed : int
        Seed of the weights and of the sample order.
    **loss
        ``loss`` and its settings, as for :class:`fastnn.Network`; default: "cross_entropy", for a
        regression "squared_error".

    Returns
    -------
    Network
        Takes unscaled features, such as ``x``.
    """
    task = "classification" if n_classes else "regression"
    loss.setdefault("loss", "cross_entropy" if n_classes else "squared_error")
    per_target = 1
    if not n_classes:
        per_target = {"gaussian": 2, "quantile": np.size(loss.get("quantile", 0.5))}.get(
            loss["loss"], 1
        )
    net = Network(
        [
            x.shape[1],
            *(HIDDEN if hidden is None else hidden),
            n_classes or per_target * targets.shape[1],
        ],
        activation=activation or ACTIVATION[task],
        dropout=dropout,
        standardize=True,
        smooth_clip=SMOOTH_CLIP,
        dtype=dtype,
        backend=backend,
        random_state=seed,
        n_threads=n_threads,
        **loss,
    )
    rng = np.random.RandomState(seed)
    for w, b in zip(net.weights[:-1], net.biases[:-1], strict=True):
        w[...] = rng.standard_normal(w.shape) / math.sqrt(len(w))
        b[...] = rng.standard_normal(b.shape)
    net.weights[-1][...], net.biases[-1][...] = 0.0, 0.0
    net.scales, constant = robust_scales(x)
    net.weights[0][constant] = 0.0
    if net.spec.scales_targets:
        shift, scale, *_ = shift_and_scale(targets, "y")
        shift, scale = output_scales(shift, scale, net.spec)
        net.scales.target_shift, net.scales.target_scale = shift, scale
    elif net.is_regression:  # Poisson: the predictions are exponentials of the outputs
        net.biases[-1][...] = np.log(np.maximum(targets.mean(axis=0), MIN_MEAN))
    return net


def robust_scales(x: np.ndarray) -> tuple[Scales, np.ndarray]:
    """Scales of the features from their medians and quartiles.

    Parameters
    ----------
    x : ndarray of float64, shape (samples, features)

    Returns
    -------
    scales : Scales
        The shift is the median. The factor is 1 / interquartile range or, if that is 0,
        1 / (half of the range); for a constant column it is 1.
    constant : ndarray of bool, shape (features,)
        Mask of the constant columns, whose factor is 0 in the paper.
    """
    low, high = x.min(axis=0), x.max(axis=0)
    # A few columns per call, since an interrupt is handled only after a call has ended.
    step = max(1, _AT_A_TIME // len(x))
    parts = [x[:, k : k + step] for k in range(0, x.shape[1], step)]
    found = [np.quantile(part, (0.25, 0.5, 0.75), axis=0) for part in parts]
    q25, median, q75 = np.concatenate(found, axis=1)
    spread = np.where(q75 == q25, 0.5 * (high - low), q75 - q25)
    constant = low == high
    scale = 1.0 / np.where(constant, 1.0, spread + 1e-30)
    return Scales(median, scale, input_low=low, input_high=high), constant


def rule_of(net: Network, optimizer: Adam, batch_size: int = 0, sparse: bool = False) -> Rule:
    """The rule for a network: Adam with rates and epsilons per array, and the feature factors."""
    # The training plan; unlike that for predictions, it includes rows for dropout.
    layers = net.model.batch_plan(batch_size, sparse).layers
    plain = optimizer.for_kernels()
    constants = np.repeat(plain.constants, 2 * len(layers) + 1, axis=0)
    root = np.sqrt(layers[:, FAN_IN])
    constants[:-1:2, 2] *= root  # epsilon of weights
    constants[:-1:2, 6] = 1 / root  # factors of the rate
    constants[1::2, 6] = BIAS_RATE
    constants[-1, 6] = FRONT_RATE
    w = net.weights[0]
    front = np.zeros((len(w), w.shape[1] + 3), net.dtype)
    front[:, :-3], front[:, -3] = w, 1.0
    return plain._replace(constants=constants, front=front)
