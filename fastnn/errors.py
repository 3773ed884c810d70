"""Errors that callers may want to catch."""

from __future__ import annotations


class DivergenceError(ArithmeticError):
    """Training met a loss that is not finite; the network keeps its last finite parameters.

    Attributes
    ----------
    step : int
        Step of this ``fit`` (from 1) whose loss was not finite.
    loss : float
        That loss.
    """

    def __init__(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        advice: str = "standardised inputs, or dtype='float64'",
    ) -> None:
        self.step = step
        self.loss = loss
        self.learning_rate = learning_rate
        self.advice = advice
        super().__init__(
            f"the loss became {loss} at step {step}: try a learning rate below "
            f"{learning_rate:g}, {advice}"
        )

    def __reduce__(self) -> tuple:
        """Pickle by the constructor's arguments."""
        return type(self), (self.step, self.loss, self.learning_rate, self.advice)


class ModelFormatError(ValueError):
    """A model file is damaged, inconsistent or not one of ours."""
