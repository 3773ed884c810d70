"""Settings of the losses that regressors share, of networks and of tables."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import StrOptions

from fastnn.backends import codes
from fastnn.estimators.parameters import interval
from fastnn.network.custom import CustomLoss
from fastnn.network.spec import as_quantiles


class LossSettings:
    """Parameters ``loss``, ``quantile``, ``delta`` and ``beta`` of a regressor.

    Attributes
    ----------
    LOSS_CONSTRAINTS : dict
        What scikit-learn checks of them before every fit.
    """

    loss: str | CustomLoss
    quantile: float | Sequence[float]
    delta: float
    beta: float

    LOSS_CONSTRAINTS: ClassVar[dict] = {
        "loss": [StrOptions(set(codes.REGRESSION))],
        "quantile": [interval("quantile"), "array-like"],
        "delta": [interval("delta")],
        "beta": [interval("beta")],
    }

    def _loss_settings(self) -> dict[str, Any]:
        """Arguments of the network that go with the loss."""
        return {
            "quantile": as_quantiles(self.quantile),
            "delta": float(self.delta),
            "beta": float(self.beta),
        }

    def _outputs_per_target(self) -> int:
        """As of the network."""
        if self.loss == "gaussian":
            return 2
        if self.loss != "quantile" or isinstance(self.quantile, Real):
            return 1
        several = as_quantiles(self.quantile)
        return len(several) if isinstance(several, tuple) else 1


def check_not_negative(loss: str | CustomLoss, y: Any, name: str = "y") -> None:
    """Raise for targets that the loss poisson does not have."""
    if loss == "poisson" and (y < 0).any():
        raise ValueError(f"{name} must not be negative for loss='poisson'; got {y.min():g}")
