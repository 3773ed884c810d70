"""Exceptions of this package."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class DivergenceError(ArithmeticError):
    """The loss of a training is not finite; the parameters of the network are.

    They are those of the step before or of an earlier one: see :meth:`fastnn.Network.fit`.

    Attributes
    ----------
    step : int
        Step of this ``fit`` (counted from 1) whose loss was not finite.
    loss : float
        The loss at this step.
    learning_rate : float
        Learning rate of the training.
    index : int or None
        Position of the network in :func:`fastnn.fit_many`.
    results : list or None
        Results that ``fit_many`` would have returned with ``errors="return"``.

    Examples
    --------
    >>> from fastnn import SGD, DivergenceError, Network
    >>> net = Network([1, 8, 1], loss="squared_error", random_state=0)
    >>> try:
    ...     net.fit([[0.0], [100.0]], [0.0, 1e4], optimizer=SGD(1.0))
    ... except DivergenceError as error:
    ...     print(error.learning_rate)
    1.0
    """

    def __init__(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        advice: str = "standardised inputs, or dtype='float64'",
        index: int | None = None,
    ) -> None:
        self.step = step
        self.loss = loss
        self.learning_rate = learning_rate
        self.advice = advice
        self.index = index
        self.results: list | None = None
        super().__init__(
            ("" if index is None else f"network {index}: ")
            + f"the loss became {loss} at step {step}: try a learning rate below "
            f"{learning_rate:g}, {advice}"
        )

    def __reduce__(self) -> tuple:
        """Pickle the arguments of the constructor."""
        return type(self), (self.step, self.loss, self.learning_rate, self.advice, self.index)


class ModelFormatError(ValueError):
    """A model file is damaged, inconsistent or not a fastnn file; or a model cannot be saved.

    Examples
    --------
    >>> import fastnn
    >>> from pathlib import Path
    >>> size = Path("model.safetensors").write_bytes(b"no model")
    >>> try:
    ...     fastnn.load("model.safetensors")
    ... except fastnn.ModelFormatError as error:
    ...     print(str(error).split(":")[0])
    model.safetensors
    """

    def __init__(self, message: str = "") -> None:
        """Control characters of ``message``, as in names from the file, are escaped."""
        super().__init__(_CONTROL.sub(lambda found: repr(found[0])[1:-1], message))
