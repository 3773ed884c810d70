"""Settings of Levenberg-Marquardt; :mod:`fastnn.training.second_order` computes its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from fastnn.backends import codes
from fastnn.training.optimizer import Optimizer, not_negative, positive


@dataclass(frozen=True)
class LevenbergMarquardt(Optimizer):
    """Levenberg-Marquardt: damped Gauss-Newton steps on all samples, for small networks.

    A step solves ``(H + damping I) d = -g`` with the gradient g of the objective over all samples
    and its Gauss-Newton matrix H, for squared error the mean of ``J.T J`` plus L2. If the
    objective decreases, the step is accepted and the damping is decreased; otherwise the damping
    is increased and the step repeated. An epoch of ``fit`` is one such step. Computations are in
    float64; use ``dtype="float64"`` for the last digits.

    Supports the losses squared_error, huber, poisson, cross_entropy and binary_cross_entropy. The
    network must have no dropout and at most 3,000 parameters, since the time of a step grows with
    the cube of their number and the memory with its square. ``fit`` must use full batches. For
    huber, H has the weights of iteratively reweighted least squares.

    Parameters
    ----------
    damping : float, default=1e-3
        Initial damping (Marquardt's parameter, mu in MATLAB).
    decrease : float in (0, 1), default=0.1
        Factor of the damping after an accepted step.
    increase : float above 1, default=10
        Factor of the damping after a rejected step.
    max_damping : float, default=1e10
        Training stops if a larger damping would be needed to decrease the objective.
    min_gradient : float, default=1e-7
        Training stops when the largest entry of the gradient is at most this.
    goal : float, default=0
        Training stops when the objective is at most this.
    regularization : {None, "bayesian"}
        "bayesian": the L2 penalty of all parameters, including biases, and the variance of the
        noise are re-estimated after each step (MacKay, 1992; Foresee and Hagan, 1997), so that no
        validation data are needed. For squared error, with ``l2=0`` of the network. Losses of the
        history are then without the penalty, and ``posterior_`` of the network is a
        :class:`fastnn.Posterior`.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> x = np.linspace(-1, 1, 100)[:, None]
    >>> net = fastnn.Network([1, 10, 1], loss="squared_error", dtype="float64", random_state=0)
    >>> history = net.fit(x, np.sin(3 * x), optimizer=fastnn.LevenbergMarquardt())
    >>> net.loss(x, np.sin(3 * x)) < 1e-6
    True
    """

    damping: float = positive(1e-3)
    decrease: float = positive(0.1, 1.0)
    increase: float = field(default=10.0, metadata={"bounds": (1.0, math.inf, True)})
    max_damping: float = positive(1e10)
    min_gradient: float = not_negative(1e-7)
    goal: float = not_negative(0.0)
    regularization: str | None = None

    # settings of the base class that do not apply
    learning_rate: float = field(init=False, repr=False, default=1.0)
    clip_norm: None = field(init=False, repr=False, default=None)
    clip_value: None = field(init=False, repr=False, default=None)
    ema: None = field(init=False, repr=False, default=None)

    rule: ClassVar[int] = codes.SGD  # placeholder: the kernels' update rules are not called
    name: ClassVar[str] = "lm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_damping < self.damping:
            raise ValueError(
                f"max_damping must be at least damping={self.damping:g}; got {self.max_damping!r}"
            )
        if self.regularization not in (None, "bayesian"):
            raise ValueError(
                f"regularization must be None or 'bayesian'; got {self.regularization!r}"
            )

    @property
    def is_bayesian(self) -> bool:
        """Whether the strength of the L2 penalty is estimated."""
        return self.regularization is not None

    @property
    def _n_rule_moments(self) -> int:
        """The damping and, if estimated, the precisions of parameters and noise."""
        return 3 if self.is_bayesian else 1

    def to_dict(self) -> dict[str, Any]:
        """Return name and settings.

        Examples
        --------
        >>> from fastnn import LevenbergMarquardt
        >>> LevenbergMarquardt(damping=0.01).to_dict()["damping"]
        0.01
        """
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return {"name": self.name, **own}
