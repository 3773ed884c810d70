"""Base class of the optimizers: immutable settings of an update rule, checked by their bounds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from fastnn.backends.interface import Rule


N_RULE_CONSTANTS = 3  # of each rule; fewer are filled up with zeros


def check_bounds(name: str, value: float, low: float, high: float, low_open: bool = False) -> None:
    """Raise unless ``low <= value < high`` (``low < value`` if open)."""
    number = isinstance(value, (int, float)) or hasattr(value, "__float__")
    if not number or not (low < value if low_open else low <= value) or not value < high:
        bracket = "(" if low_open else "["
        raise ValueError(f"{name} must be a number in {bracket}{low:g}, {high:g}); got {value!r}")


_POSITIVE = {"bounds": (0.0, math.inf, True)}  # metadata of a field: arguments of check_bounds
_SHARE = {"bounds": (0.0, 1.0, True)}


def positive(default: float, high: float = math.inf) -> Any:
    """Field of a number in ``(0, high)``."""
    return field(default=default, metadata={"bounds": (0.0, high, True)})


def not_negative(default: float, high: float = math.inf) -> Any:
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

    learning_rate: float = positive(1e-3)
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
                check_bounds(each.name, value, *bounds)
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
