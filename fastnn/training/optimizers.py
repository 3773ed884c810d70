"""Optimizers: immutable settings of the update rules.

The formulas are given at :func:`fastnn.backends.numpy.update`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.backends import codes

if TYPE_CHECKING:
    from fastnn.backends.interface import Rule


N_RULE_CONSTANTS = 3  # of each rule; fewer are filled up with zeros


def _check(name: str, value: float, low: float, high: float, low_open: bool = False) -> None:
    """Raise unless ``low <= value < high`` (``low < value`` if open)."""
    number = isinstance(value, (int, float)) or hasattr(value, "__float__")
    if not number or not (low < value if low_open else low <= value) or not value < high:
        bracket = "(" if low_open else "["
        raise ValueError(f"{name} must be a number in {bracket}{low:g}, {high:g}); got {value!r}")


_POSITIVE = {"bounds": (0.0, math.inf, True)}  # metadata of a field: arguments of _check
_SHARE = {"bounds": (0.0, 1.0, True)}


def _positive(default: float, high: float = math.inf) -> Any:
    """Field of a number in ``(0, high)``."""
    return field(default=default, metadata={"bounds": (0.0, high, True)})


def _not_negative(default: float, high: float = math.inf) -> Any:
    """Field of a number in ``[0, high)``."""
    return field(default=default, metadata={"bounds": (0.0, high, False)})


@dataclass(frozen=True)
class Optimizer:
    """Base class of the update rules.

    Parameters
    ----------
    learning_rate : float
        Step size, positive.
    clip_norm : float, optional
        Maximum norm of the gradient with respect to all parameters, including the L2 term.
        Keyword only, as are the next two.
    clip_value : float, optional
        Maximum absolute value of each entry of the gradient, instead of ``clip_norm``.
    ema : float in (0, 1), optional
        Decay of an exponential moving average of the parameters that is used for predictions:
        after each step it is ``ema`` times itself plus ``1 - ema`` times the parameters, starting
        with those of the first step. Further training continues from the parameters themselves.
    """

    learning_rate: float = _positive(1e-3)
    # type checkers take kw_only only from a call of field
    clip_norm: float | None = field(default=None, kw_only=True, metadata=_POSITIVE)
    clip_value: float | None = field(default=None, kw_only=True, metadata=_POSITIVE)
    ema: float | None = field(default=None, kw_only=True, metadata=_SHARE)

    rule: ClassVar[int]
    name: ClassVar[str]
    kernel_settings: ClassVar[tuple[str, ...]] = ()  # the fields that are constants of the rule

    def __post_init__(self) -> None:
        for each in fields(self):
            bounds, value = each.metadata.get("bounds"), getattr(self, each.name)
            if bounds is not None and not (value is None and each.default is None):
                _check(each.name, value, *bounds)
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError(
                f"give clip_norm or clip_value, not both; got {self.clip_norm!r} and "
                f"{self.clip_value!r}"
            )

    @property
    def constants(self) -> tuple[float, ...]:
        """The rule's three constants, clip_norm, clip_value, ema (0 if None), rate factor."""
        own = [float(getattr(self, name)) for name in self.kernel_settings]
        own += [0.0] * (N_RULE_CONSTANTS - len(own))
        shared = (self.clip_norm, self.clip_value, self.ema)
        return (*own, *(float(value or 0.0) for value in shared), 1.0)

    def for_kernels(self) -> Rule:
        """Return the update rule in the form the kernels take.

        Examples
        --------
        >>> from fastnn import SGD
        >>> SGD(0.1, momentum=0.9).for_kernels().constants[0, 0]
        np.float64(0.9)
        """
        import numpy as np

        from fastnn.backends.interface import Rule

        return Rule(self.rule, np.array([self.constants], np.float64), self.decay)

    @property
    def n_moments(self) -> int:
        """Number of values kept for each parameter: the moments and, with ``ema``, the average."""
        return self._n_rule_moments + int(self.ema is not None)

    @property
    def _n_rule_moments(self) -> int:
        return 1

    @property
    def decay(self) -> float:
        """Decoupled weight decay."""
        return 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return name and settings.

        Examples
        --------
        >>> from fastnn import RMSprop
        >>> RMSprop(0.01).to_dict()["rho"]
        0.9
        """
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Step size.
    momentum : float in [0, 1), default=0
        Share of the previous step that is added to the current one.
    nesterov : bool, default=False
        Use Nesterov momentum.
    clip_norm, clip_value, ema : float, optional
        As for :class:`Optimizer`.

    Examples
    --------
    >>> from fastnn import Network, SGD
    >>> history = Network([1, 2]).fit(
    ...     [[0], [1]], [0, 1], optimizer=SGD(0.5, momentum=0.9, nesterov=True), epochs=50
    ... )
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """

    learning_rate: float = _positive(1e-2)
    momentum: float = _not_negative(0.0, 1.0)
    nesterov: bool = False

    rule: ClassVar[int] = codes.SGD
    name: ClassVar[str] = "sgd"
    kernel_settings: ClassVar[tuple[str, ...]] = ("momentum", "nesterov")

    @property
    def _n_rule_moments(self) -> int:
        return int(self.momentum > 0)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015).

    Parameters
    ----------
    learning_rate : float, default=0.001
        Step size.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay rates of the first and second moments.
    epsilon : float, default=1e-8
        Added to the denominator to avoid division by zero.
    clip_norm, clip_value, ema : float, optional
        As for :class:`Optimizer`.

    Examples
    --------
    >>> from fastnn import Adam, Network
    >>> history = Network([1, 2]).fit(
    ...     [[0], [1]], [0, 1], optimizer=Adam(0.01, clip_norm=1.0), epochs=50
    ... )
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """

    beta_1: float = _not_negative(0.9, 1.0)
    beta_2: float = _not_negative(0.999, 1.0)
    epsilon: float = _positive(1e-8)

    rule: ClassVar[int] = codes.ADAM
    name: ClassVar[str] = "adam"
    kernel_settings: ClassVar[tuple[str, ...]] = ("beta_1", "beta_2", "epsilon")

    @property
    def _n_rule_moments(self) -> int:
        return 2


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay of the weights, not the biases (Loshchilov, Hutter, 2019).

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon : float
        As for :class:`Adam`.
    weight_decay : float, default=0.01
        Each step also multiplies the weights by ``1 - learning_rate * weight_decay``.
    clip_norm, clip_value, ema : float, optional
        As for :class:`Optimizer`.

    Examples
    --------
    >>> from fastnn import AdamW, Network
    >>> net = Network([1, 2], random_state=0)
    >>> history = net.fit([[0], [1]], [0, 1], optimizer=AdamW(0.01, weight_decay=0.1))
    >>> history.steps
    100
    """

    weight_decay: float = _not_negative(0.01)

    name: ClassVar[str] = "adamw"

    @property
    def decay(self) -> float:
        return float(self.weight_decay)


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """AdaGrad (Duchi, Hazan, Singer, 2011).

    Parameters
    ----------
    learning_rate : float, default=0.01
        Step size.
    epsilon : float, default=1e-10
        Added to the denominator to avoid division by zero.
    clip_norm, clip_value, ema : float, optional
        As for :class:`Optimizer`.

    Examples
    --------
    >>> from fastnn import AdaGrad, Network
    >>> history = Network([1, 2]).fit([[0], [1]], [0, 1], optimizer=AdaGrad(0.1), epochs=50)
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """

    learning_rate: float = _positive(1e-2)
    epsilon: float = _positive(1e-10)

    rule: ClassVar[int] = codes.ADAGRAD
    name: ClassVar[str] = "adagrad"
    kernel_settings: ClassVar[tuple[str, ...]] = ("epsilon",)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012).

    Parameters
    ----------
    learning_rate : float, default=0.001
        Step size.
    rho : float in [0, 1), default=0.9
        Decay rate of the mean square of the gradient.
    epsilon : float, default=1e-8
        Added to the denominator to avoid division by zero.
    clip_norm, clip_value, ema : float, optional
        As for :class:`Optimizer`.

    Examples
    --------
    >>> from fastnn import Network, RMSprop
    >>> history = Network([1, 2]).fit([[0], [1]], [0, 1], optimizer=RMSprop(0.01), epochs=50)
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """

    rho: float = _not_negative(0.9, 1.0)
    epsilon: float = _positive(1e-8)

    rule: ClassVar[int] = codes.RMSPROP
    name: ClassVar[str] = "rmsprop"
    kernel_settings: ClassVar[tuple[str, ...]] = ("rho", "epsilon")


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

    damping: float = _positive(1e-3)
    decrease: float = _positive(0.1, 1.0)
    increase: float = field(default=10.0, metadata={"bounds": (1.0, math.inf, True)})
    max_damping: float = _positive(1e10)
    min_gradient: float = _not_negative(1e-7)
    goal: float = _not_negative(0.0)
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


OPTIMIZERS = {cls.name: cls for cls in (SGD, Adam, AdamW, AdaGrad, RMSprop)}
# Optimizers that need all data at once, which only Network.fit accepts.
_FULL_BATCH_OPTIMIZERS: dict[str, type[Optimizer]] = {LevenbergMarquardt.name: LevenbergMarquardt}


def get_optimizer(optimizer: Optimizer | str | None, whole_fit: bool = False) -> Optimizer:
    """Return an optimizer, given as an object, by name, or as None for Adam with its defaults.

    Parameters
    ----------
    optimizer : Optimizer, str or None
    whole_fit : bool
        Whether to accept optimizers that need all data at once, such as Levenberg-Marquardt.
    """
    choices = {**OPTIMIZERS, **_FULL_BATCH_OPTIMIZERS} if whole_fit else OPTIMIZERS
    if optimizer is None:
        return _DEFAULT
    if isinstance(optimizer, str) and optimizer in choices:
        return choices[optimizer]()
    by_name = isinstance(optimizer, str) and optimizer in _FULL_BATCH_OPTIMIZERS
    if not whole_fit and (by_name or isinstance(optimizer, LevenbergMarquardt)):
        raise ValueError("Levenberg-Marquardt trains on all data at once: it is for Network.fit")
    if isinstance(optimizer, Optimizer):
        return optimizer
    raise ValueError(
        f"optimizer must be one of {', '.join(choices)} or an object such as "
        f"fastnn.SGD(learning_rate=0.1); got {optimizer!r}"
    )


def optimizer_from_dict(fields: dict[str, Any]) -> Optimizer:
    """Create an optimizer from the result of :meth:`Optimizer.to_dict`.

    Raises
    ------
    ValueError
        If the name is unknown, or a setting is unknown or not allowed.
    """
    settings = dict(fields)
    name = settings.pop("name", None)
    choices = {**OPTIMIZERS, **_FULL_BATCH_OPTIMIZERS}
    cls = choices.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(f"the optimizer must be one of {', '.join(choices)}; got {fields!r}")
    try:
        return cls(**settings)
    except TypeError as error:
        raise ValueError(f"the optimizer {cls.name}: {error}") from None


_DEFAULT = Adam()
