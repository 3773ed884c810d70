"""Base class of ``TabularClassifier`` and ``TabularRegressor``."""

from __future__ import annotations

import math
import os
import warnings
from datetime import date, timedelta
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from fastnn.backends import BACKENDS
from fastnn.estimators.checks import RollbackOnError
from fastnn.network import Network
from fastnn.network.ensemble import Ensemble
from fastnn.tables.baselines import copies_of_target
from fastnn.tables.checkpoints import CheckpointOptions
from fastnn.tables.columns import Column, columns_of, without_records
from fastnn.tables.doubts import doubts
from fastnn.tables.encoding import Encoding
from fastnn.tables.importances import importances
from fastnn.tables.members import train_members
from fastnn.tables.missing import by_column, declare, unmatched
from fastnn.tables.model import NoCompiledCalls, TableModel
from fastnn.tables.remarks import Remarks
from fastnn.validation import refuse_masked


class BaseTabular(NoCompiledCalls, BaseEstimator):
    """Base class of the estimators for tables.

    Subclasses define ``_check_targets`` (validates the targets and returns them as a matrix for
    the kernels), ``_n_classes`` (0 for a regression), ``_loss_of_network`` (loss and its settings),
    ``_by_error``, ``_strata``, ``_weights``, ``_score_of`` and ``_describe``.
    """

    _warns_of_copies = True  # False in the command line, which makes this check before encoding
    _parameter_constraints: ClassVar[dict] = {
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "calibrate": ["boolean"],
        "log_features": ["boolean"],
        "columns": [dict, None],
        "missing_values": [Real, str, date, list, tuple, set, np.ndarray, dict, None],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "backend": [StrOptions({"auto", *BACKENDS})],
        "dtype": [StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64})],
    }

    # --- fitting ------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int | timedelta | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn the encoding and train.

        Parameters
        ----------
        X : DataFrame, table, dict of columns or array-like, shape (n_samples, n_features)
            Rows, which may contain text, categories, dates and missing values.
        y : array-like, shape (n_samples,), or (n_samples, n_outputs) for a regression
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Samples of weight 0 are left out.
        X_val, y_val : optional
            Validation rows, instead of holding out rows of ``X``.
        checkpoint, checkpoint_every, resume : various
            As for :meth:`fastnn.Network.fit`, except that ``resume`` must be a bool. Each member
            has a file of its own. Needs ``random_state`` and no ``time_limit``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is invalid, or if all columns are left out.
        DivergenceError
            If the loss is not finite before the first epoch ends.

        Notes
        -----
        After an error the estimator is what it was before the call.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = fastnn.TabularClassifier(n_epochs=16, random_state=0)
        >>> model.fit(table, y, X_val=table, y_val=y).n_iter_
        16
        """
        checkpointing = CheckpointOptions.of(self, checkpoint, checkpoint_every, resume)
        with RollbackOnError(self):
            self._fit(X, y, sample_weight, X_val, y_val, checkpointing)
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        checkpointing: CheckpointOptions | None,
    ) -> None:
        refuse_masked("X", X)
        columns = self._declared(self._read(X, reset=True))
        rows, weights = self._rows(columns, y, sample_weight)
        check_consistent_length(columns[0].values, y)
        columns = columns if rows is None else [column.take(rows) for column in columns]
        targets = self._check_targets(y, reset=True)
        targets = targets if rows is None else targets[rows]
        weights = self._weights(weights, targets)
        rng = check_random_state(self.random_state)
        given = X_val is not None or y_val is not None
        if given:
            if X_val is None or y_val is None:
                raise ValueError("give X_val and y_val, or neither")
            kept, held = np.arange(len(targets)), None
        else:
            kept, held = self._split(targets, rng)
        # In an array without column names, consecutive integers may be data: keep them.
        self.encoding_ = Encoding.fit(
            columns,
            kinds=self.columns,
            scaling=None,
            log_features=self.log_features,
            rows=kept,
            keep_index=not hasattr(self, "feature_names_in_"),
        )
        self._warn_of_copies(columns, targets)
        said = Remarks()  # no warnings of held-out values below those of training
        x = self.encoding_.transform(columns, said)
        held_out: tuple | None = None
        if given:
            x_val = self.encoding_.transform(self._read(X_val, reset=False), said)
            targets_val = self._check_targets(y_val, reset=False)
            check_consistent_length(x_val, targets_val)
            held_out = x_val, targets_val, self._weights(None, targets_val)
        elif held is not None:
            held_out = x[held], targets[held], None if weights is None else weights[held]
        for line in said.odd_lines():
            warnings.warn(line, stacklevel=4)
        weights = None if weights is None else weights[kept]
        self._train((x[kept], targets[kept], weights), held_out, rng, checkpointing)
        self._held_out = held_out
        self.__dict__.pop("_importances", None)

    def _warn_of_copies(self, columns: list[Column], targets: np.ndarray) -> None:
        """Warn of columns that are copies of the target, unless there is only one column."""
        used = [column for column in columns if column.name in set(self.encoding_.used)]
        if self._warns_of_copies:
            given = set(self.columns or ())
            for text in doubts([column for column in used if column.name not in given]):
                if text.startswith("caution: "):
                    warnings.warn(text.removeprefix("caution: "), stacklevel=5)
        if not self._warns_of_copies or len(used) < 2 or targets.shape[1] > 1:
            return
        task = "classification" if self._n_classes() else "regression"
        for name in copies_of_target(used, targets[:, 0], task):
            warnings.warn(
                f"column {name!r} determines the target (leakage); is it known when "
                f"predicting? columns={{{name!r}: 'drop'}} leaves it out",
                stacklevel=5,
            )

    def _rows(
        self, columns: list[Column], y: Any, sample_weight: Any
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Rows of nonzero weight (None if all are), and their weights (None if all are equal)."""
        n = len(columns[0])
        if y is None:
            name = type(self).__name__
            raise ValueError(f"{name} requires y to be passed, but the target y is None")
        refuse_masked("y", y)
        if sample_weight is None:
            return None, None
        refuse_masked("sample_weight", sample_weight)
        weights = _check_sample_weight(sample_weight, np.empty((n, 1)), ensure_non_negative=True)
        rows = np.flatnonzero(weights)
        if not len(rows):
            raise ValueError("sample_weight is 0 for all samples")
        weights = weights[rows]
        if (weights == weights[0]).all():
            weights = None
        return (None if len(rows) == n else rows), weights

    def _split(
        self, targets: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Split the rows into those for training and those held out (None if no row is)."""
        rows = np.arange(len(targets))
        if self.validation_fraction == 0:
            return rows, None
        n_held = math.ceil(self.validation_fraction * len(rows))
        if n_held >= len(rows):
            raise ValueError(
                f"n_samples={len(rows)} rows of nonzero weight are too few to hold out some with "
                f"validation_fraction={self.validation_fraction}; 0 holds out none"
            )
        kept, held = train_test_split(
            rows,
            test_size=float(self.validation_fraction),
            random_state=rng,
            stratify=self._strata(targets, min(n_held, len(rows) - n_held)),
        )
        return kept, held

    def _train(
        self,
        data: tuple,
        held_out: tuple | None,
        rng: np.random.RandomState,
        checkpointing: CheckpointOptions | None = None,
    ) -> None:
        """Train the members and set the attributes that describe their training."""
        results = train_members(self, data, held_out, rng, checkpointing)
        self.networks_ = [net for net, _ in results]
        records = [record for _, record in results]
        self.n_iter_ = max(len(record.losses) for record in records)
        self.best_iter_ = [record.best_epoch + 1 for record in records]
        self.loss_curves_ = [record.losses for record in records]
        self.validation_curves_ = [record.errors for record in records]
        for record in records:
            if record.stopped == "interrupted":
                warnings.warn("Training interrupted by user.", stacklevel=5)
            elif record.stopped == "diverged":
                warnings.warn(
                    f"The loss after epoch {len(record.losses)} is not finite; the parameters of "
                    f"epoch {record.best_epoch + 1} are kept.",
                    ConvergenceWarning,
                    stacklevel=5,
                )
        stopped = [record.stopped for record in records]
        self.stopped_ = next((why for why in stopped if why != "epochs"), "epochs")

    # --- input ---------------------------------------------------------------------------

    def _read(self, X: Any, reset: bool) -> list[Column]:
        """Convert ``X`` to columns; check their names and their number."""
        X = without_records(X)
        is_dict = isinstance(X, dict) and not scipy.sparse.issparse(X)  # dok_matrix is a dict
        if not is_dict and not hasattr(X, "columns") and not hasattr(X, "__dataframe__"):
            if isinstance(X, (str, bytes)) or not (
                hasattr(X, "__len__") or hasattr(X, "__array__")
            ):
                raise ValueError(f"X must be a table; got {type(X).__name__}")
            array = X if isinstance(getattr(X, "dtype", None), np.dtype) else np.asarray(X)
            if array.dtype.kind not in "USO":
                options: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
                return columns_of(validate_data(self, X, reset=reset, **options))
            X = np.asarray(X, object)
        columns = columns_of(X)
        if is_dict:  # validate_data does not accept a dict
            if reset:
                self.feature_names_in_ = np.array([column.name for column in columns], object)
                self.n_features_in_ = len(columns)
        else:
            validate_data(self, X, reset=reset, skip_check_array=True)
        if not len(columns[0]):
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {len(columns)})) while a minimum of 1 "
                f"is required by {type(self).__name__}."
            )
        return columns

    def _declared(self, columns: list[Column]) -> list[Column]:
        """Training columns with gaps for ``missing_values``; warn of values that do not occur."""
        given = by_column(self.missing_values, [column.name for column in columns])
        for text in unmatched(columns, given):
            warnings.warn(f"missing_values: no column has the value {text!r}", stacklevel=5)
        return declare(columns, given)

    # --- results -------------------------------------------------------------------------

    @property
    def network_(self) -> Network:
        """The trained network; its inputs are the encoded columns (``encoding_.transform(X)``)."""
        check_is_fitted(self)
        if len(self.networks_) > 1:
            raise AttributeError(
                f"there are {len(self.networks_)} members: networks_ has the network of each"
            )
        return self.networks_[0]

    @property
    def feature_importances_(self) -> np.ndarray:
        """Decrease of the score on the held-out rows when the values of a column are permuted.

        The score is accuracy or R^2; mean over five permutations of at most 2,000 rows. Computed on
        first access. The held-out rows are not pickled.
        """
        check_is_fitted(self)
        if "_importances" not in self.__dict__:
            held_out = getattr(self, "_held_out", None)
            if held_out is None:
                raise AttributeError(
                    "feature_importances_ need held-out rows: there were none, or the estimator "
                    "was pickled before they were asked for"
                )
            groups, first = [], 0
            for column in self.encoding_.columns:
                groups.append(range(first, first := first + len(column.outputs())))
            x, y = held_out[:2]
            self._importances = importances(self._score_of, x, y, groups).mean(axis=1)
        return self._importances

    def out_of_range(self, X: Any) -> np.ndarray:
        """Find rows far outside the range of the training data.

        Parameters
        ----------
        X : table with the columns of training
            Samples, one per row.

        Returns
        -------
        ndarray of bool, shape (n_samples,)
            True where an encoded column is more than three interquartile ranges (or half ranges, if
            that is 0) below the smallest or above the largest value of training.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = fastnn.TabularClassifier(n_epochs=16, random_state=0).fit(table, y)
        >>> model.out_of_range({"size": [3.0, 3000.0], "colour": ["red", "red"]})
        array([False,  True])
        """
        return self._averaged().out_of_range(self._encoded(X))

    def save(self, path: str | os.PathLike) -> None:
        """Write a model file; :func:`fastnn.load` reads it as a :class:`fastnn.TableModel`.

        The file contains the networks and the encoding, but neither settings nor data. Predictions
        are bitwise equal to those of the estimator.

        Parameters
        ----------
        path : path
            By convention with the extension ``.safetensors``.

        Examples
        --------
        >>> import fastnn
        >>> table = {"size": [1.0, 2.0, 8.0, 9.0] * 10, "colour": ["red", "blue", None, "red"] * 10}
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = fastnn.TabularClassifier(n_epochs=16, random_state=0).fit(table, y)
        >>> model.save("sizes.safetensors")
        >>> again = fastnn.load("sizes.safetensors")
        >>> bool((again.predict(table) == model.predict(table)).all())
        True
        """
        check_is_fitted(self)
        TableModel(self.encoding_, self._averaged()).save(path)

    def _averaged(self) -> Network | Ensemble:
        """The network of the encoded columns, or the ensemble if there are several."""
        return self.networks_[0] if len(self.networks_) == 1 else Ensemble(self.networks_)

    def _mean_of_members(self, x: np.ndarray) -> np.ndarray:
        """Mean of the members' predictions for encoded rows."""
        model = self._averaged()
        return model.predict(x) if model.is_regression else model.predict_proba(x)

    def _encoded(self, X: Any) -> np.ndarray:
        """Encode ``X`` as inputs of the networks."""
        check_is_fitted(self)
        refuse_masked("X", X)
        return self.encoding_.transform(self._read(X, reset=False))

    def _outputs(self, X: Any) -> np.ndarray:
        """Mean of the members' predictions for the rows of ``X``."""
        return self._mean_of_members(self._encoded(X))

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_held_out"}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "networks_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags
