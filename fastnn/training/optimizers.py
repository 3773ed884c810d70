"""The optimizers, by class and by name.

The formulas are given at :func:`fastnn.backends.numpy.update`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fastnn.backends import codes
from fastnn.training.levenberg_marquardt import LevenbergMarquardt
from fastnn.training.optimizer import Optimizer, not_negative, positive


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

    learning_rate: float = positive(1e-2)
    momentum: float = not_negative(0.0, 1.0)
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

    beta_1: float = not_negative(0.9, 1.0)
    beta_2: float = not_negative(0.999, 1.0)
    epsilon: float = positive(1e-8)

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

    weight_decay: float = not_negative(0.01)

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

    learning_rate: float = positive(1e-2)
    epsilon: float = positive(1e-10)

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

    rho: float = not_negative(0.9, 1.0)
    epsilon: float = positive(1e-8)

    rule: ClassVar[int] = codes.RMSPROP
    name: ClassVar[str] = "rmsprop"
    kernel_settings: ClassVar[tuple[str, ...]] = ("rho", "epsilon")


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
