"""Support of scikit-learn's callbacks during a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.estimators.base import BaseMLP

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Placeholder before scikit-learn 1.9, which introduced callbacks."""


__all__ = ["CallbackSupportMixin", "Callbacks"]


class Callbacks:
    """Contexts of scikit-learn's callbacks: one for ``fit`` with a subcontext for each epoch."""

    def __init__(self, estimator: BaseMLP, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator = estimator
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self.context.call_on_fit_task_begin(**self.arguments)
        self.part: Any = None
        self.stopped = False

    def _attributes(self) -> dict[str, Any]:
        """Attributes with which a copy of the estimator predicts with the current parameters."""
        return {
            "coefs_": [w.copy() for w in self.estimator.coefs_],
            "intercepts_": [b.copy() for b in self.estimator.intercepts_],
        }

    def begin_iteration(self) -> None:
        """Called before an epoch."""
        self.part = self.context.subcontext(task_name="epoch")
        self.part.call_on_fit_task_begin(**self.arguments)

    def end_iteration(self) -> bool:
        """Called after an epoch; return whether a callback requests a stop."""
        self.stopped |= bool(
            self.part.call_on_fit_task_end(
                **self.arguments, reconstruction_attributes=self._attributes
            )
        )
        return self.stopped

    def iteration(self) -> bool:
        """Called after an iteration of L-BFGS, which does not announce its beginning."""
        self.begin_iteration()
        return self.end_iteration()

    def end(self) -> None:
        """Called after ``fit``."""
        self.context.call_on_fit_task_end(
            **self.arguments, reconstruction_attributes=self._attributes
        )
