"""Update rules: small immutable descriptions, the numbers that an update needs.

The formulas are at :func:`fastnn.backends.numpy.update`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fastnn.backends import codes

if TYPE_CHECKING:
    from fastnn.backends.interface import Rule


@dataclass(frozen=True)
class Optimizer:
    """What all update rules share.

    Parameters
    ----------
    learning_rate : float
        Step size, positive.
    clip_norm : float, optional
        Longest gradient: a longer one, over all parameters and L2 included, is shortened to it.
        By keyword, as are the next two.
    clip_value : float, optional
        Instead: every entry of the gradient is clipped to plus and minus this.
    ema : float in (0, 1), optional
        Predictions after training are those of an exponentially moving average of the
        parameters, ``ema`` times itself plus ``1 - ema`` times the parameters after each step;
        the first step's begin it. Training goes on from the parameters themselves.
    """

    learning_rate: float = 1e-3
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)
    ema: float | None = field(default=None, kw_only=True)

    rule: ClassVar[int]
    name: ClassVar[str]

    def __post_init__(self) -> None:
        _check("learning_rate", self.learning_rate, 0.0, math.inf, low_open=True)
        for name, high in (("clip_norm", math.inf), ("clip_value", math.inf), ("ema", 1.0)):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), 0.0, high, low_open=True)
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError(
                f"give clip_norm or clip_value, not both; got {self.clip_norm!r} and "
                f"{self.clip_value!r}"
            )

    @property
    def constants(self) -> tuple[float, ...]:
        """The rule's three numbers, clip_norm, clip_value and ema (or 0), factor of the rate."""
        rest = (self.clip_norm, self.clip_value, self.ema)
        return (*self._numbers, *(float(value or 0.0) for value in rest), 1.0)

    def for_kernels(self) -> Rule:
        """The update rule as the kernels take it.

        Examples
        --------
        >>> from fastnn import SGD
        >>> SGD(0.1).for_kernels()  # doctest: +SKIP
        """
        import numpy as np

        from fastnn.backends.interface import Rule

        return Rule(self.rule, np.array([self.constants], np.float64), self.decay)

    @property
    def n_moments(self) -> int:
        """Numbers that are kept for each parameter: the rule's, then the average."""
        return self._n_own + int(self.ema is not None)

    @property
    def _numbers(self) -> tuple[float, float, float]:
        raise NotImplementedError

    @property
    def _n_own(self) -> int:
        return 1

    @property
    def decay(self) -> float:
        """Decoupled weight decay."""
        return 0.0

    def to_dict(self) -> dict[str, Any]:
        """Name and settings.

        Examples
        --------
        >>> from fastnn import RMSprop
        >>> RMSprop(0.01).to_dict()["rho"]
        0.9
        """
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Step size.
    momentum : float in [0, 1), default=0
        Share of the last step that is added to the next one.
    nesterov : bool, default=False
        Look ahead along the momentum.
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

    learning_rate: float = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    rule: ClassVar[int] = codes.SGD
    name: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("momentum", self.momentum, 0.0, 1.0)

    @property
    def _numbers(self) -> tuple[float, float, float]:
        return float(self.momentum), float(self.nesterov), 0.0

    @property
    def _n_own(self) -> int:
        return int(self.momentum > 0)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), in the form with the corrected learning rate.

    Parameters
    ----------
    learning_rate : float, default=0.001
        Step size.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay of the first and second moments.
    epsilon : float, default=1e-8
        Added to the denominator, against a division by zero.
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

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    rule: ClassVar[int] = codes.ADAM
    name: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("beta_1", self.beta_1, 0.0, 1.0)
        _check("beta_2", self.beta_2, 0.0, 1.0)
        _check("epsilon", self.epsilon, 0.0, math.inf, low_open=True)

    @property
    def _numbers(self) -> tuple[float, float, float]:
        return float(self.beta_1), float(self.beta_2), float(self.epsilon)

    @property
    def _n_own(self) -> int:
        return 2


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019); biases do not decay.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon : float
        As for :class:`Adam`.
    weight_decay : float, default=0.01
        Each step multiplies the weights by ``1 - learning_rate * weight_decay``.
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

    weight_decay: float = 0.01

    name: ClassVar[str] = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("weight_decay", self.weight_decay, 0.0, math.inf)

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
        Added to the denominator, against a division by zero.
    clip_norm, clip_value, ema : float, optional
        As for :class:`Optimizer`.

    Examples
    --------
    >>> from fastnn import AdaGrad, Network
    >>> history = Network([1, 2]).fit([[0], [1]], [0, 1], optimizer=AdaGrad(0.1), epochs=50)
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """

    learning_rate: float = 1e-2
    epsilon: float = 1e-10

    rule: ClassVar[int] = codes.ADAGRAD
    name: ClassVar[str] = "adagrad"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("epsilon", self.epsilon, 0.0, math.inf, low_open=True)

    @property
    def _numbers(self) -> tuple[float, float, float]:
        return float(self.epsilon), 0.0, 0.0


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012).

    Parameters
    ----------
    learning_rate : float, default=0.001
        Step size.
    rho : float in [0, 1), default=0.9
        Decay of the mean square.
    epsilon : float, default=1e-8
        Added to the denominator, against a division by zero.
    clip_norm, clip_value, ema : float, optional
        As for :class:`Optimizer`.

    Examples
    --------
    >>> from fastnn import Network, RMSprop
    >>> history = Network([1, 2]).fit([[0], [1]], [0, 1], optimizer=RMSprop(0.01), epochs=50)
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """

    rho: float = 0.9
    epsilon: float = 1e-8

    rule: ClassVar[int] = codes.RMSPROP
    name: ClassVar[str] = "rmsprop"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("rho", self.rho, 0.0, 1.0)
        _check("epsilon", self.epsilon, 0.0, math.inf, low_open=True)

    @property
    def _numbers(self) -> tuple[float, float, float]:
        return float(self.rho), float(self.epsilon), 0.0


OPTIMIZERS = {cls.name: cls for cls in (SGD, Adam, AdamW, AdaGrad, RMSprop)}


def get_optimizer(optimizer: Optimizer | str | None) -> Optimizer:
    """An optimiser from itself, its name, or None for Adam with its defaults."""
    if optimizer is None:
        return _DEFAULT
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        return OPTIMIZERS[optimizer]()
    raise ValueError(
        f"optimizer must be one of {', '.join(OPTIMIZERS)} or an object such as "
        f"fastnn.SGD(learning_rate=0.1); got {optimizer!r}"
    )


def optimizer_of(fields: dict[str, Any]) -> Optimizer:
    """The optimiser that :meth:`Optimizer.to_dict` described.

    Raises
    ------
    ValueError
        If there is no such optimiser, or a setting is not its own or not allowed.
    """
    settings = dict(fields)
    name = settings.pop("name", None)
    cls = OPTIMIZERS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(f"the optimizer must be one of {', '.join(OPTIMIZERS)}; got {fields!r}")
    try:
        return cls(**settings)
    except TypeError as error:
        raise ValueError(f"the optimizer {cls.name}: {error}") from None


def _check(name: str, value: float, low: float, high: float, low_open: bool = False) -> None:
    """Raise unless ``low <= value < high`` (``low < value`` if open)."""
    number = isinstance(value, (int, float)) or hasattr(value, "__float__")
    if not number or not (low < value if low_open else low <= value) or not value < high:
        bracket = "(" if low_open else "["
        raise ValueError(f"{name} must be a number in {bracket}{low:g}, {high:g}); got {value!r}")


_DEFAULT = Adam()
