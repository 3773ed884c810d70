"""``MLPClassifier``: scikit-learn's, over the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastnn.estimators.base import BaseMLP, ScoreMixin, is_plain_vector
from fastnn.estimators.checks import check_class_weight, check_classes
from fastnn.estimators.parameters import interval, is_stochastic, keep


class MLPClassifier(ScoreMixin, ClassifierMixin, BaseMLP):
    """Classifier: scikit-learn's ``MLPClassifier`` over compiled kernels.

    Takes what scikit-learn's takes, and gives the same: from one ``random_state`` the same
    starting weights, order of the samples and held-out samples, and so, to rounding, the same
    loss curve. Parameters behind ``max_fun`` are fastnn's own.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(100,)
        Units of each hidden layer.
    activation : str, CustomActivation or sequence of these, default="relu"
        One for all hidden layers or one for each: identity, logistic (or sigmoid), tanh, relu,
        leaky_relu, elu, softplus, silu, gelu, selu or mish, or a :class:`fastnn.CustomActivation`.
    solver : {"adam", "sgd", "lbfgs", "adamw", "adagrad", "rmsprop"}, default="adam"
    alpha : float, default=0.0001
        Strength of L2: a batch's loss gets ``alpha / 2`` times the sum of the squared weights,
        divided by its number of samples (the sum of their weights).
    batch_size : int or "auto", default="auto"
        Samples a step; "auto" is min(200, n_samples). L-BFGS takes all.
    learning_rate : str, default="constant"
        "constant"; for sgd "invscaling" (divided by ``(samples seen + 1) ** power_t`` after
        every epoch) and "adaptive" (divided by 5 when otherwise training would stop); for
        sgd, adam and the others but lbfgs "cosine" (down to 0), "step" (a tenth after each
        third), "one_cycle" (up from 1/25, then down) and "coslog4" (up from 0 and down, four
        times), over ``max_iter`` epochs, with the rate of every step.
    learning_rate_init : float, default=0.001
        Step size at the start.
    power_t : float, default=0.5
        Exponent of the schedule "invscaling".
    max_iter : int, default=200
        Most epochs (iterations of L-BFGS).
    shuffle : bool, default=True
        New order of the samples every epoch.
    random_state : int, RandomState or None
        Starting weights, held-out samples, order, dropout.
    tol : float, default=1e-4
        Smallest improvement that counts; for L-BFGS the largest entry of the gradient.
    verbose : bool or int, default=False
        Print every epoch.
    warm_start : bool, default=False
        ``fit`` goes on from the last solution.
    momentum : float in [0, 1], default=0.9
        Of sgd.
    nesterovs_momentum : bool, default=True
        Whether momentum is Nesterov's; of sgd.
    early_stopping : bool, default=False
        Hold out samples, stop when their score no longer improves, keep the best parameters.
    validation_fraction : float, default=0.1
        Share of the samples that early stopping holds out.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Of adam and adamw.
    epsilon : float, default=1e-8
        Of adam, adamw, adagrad and rmsprop.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement before training stops.
    max_fun : int, default=15000
        Most evaluations of L-BFGS.
    backend : {"auto", "cython", "numba", "numpy"}, default="auto"
        "auto" takes the fastest that is there (that can call custom functions, if there are any).
    dtype : {"float32", "float64"} or None
        Of parameters and training; None takes that of ``X``.
    class_weight : dict, "balanced" or None
        Factor of a sample's weight by its class.
    dropout : float or sequence of float, default=0
        Rate behind all hidden layers or behind each.
    scoring : str, callable or None
        What early stopping watches: None is the accuracy, "loss" the validation loss (negative),
        else a scorer of scikit-learn.
    weight_decay : float, default=0.01
        Of adamw.
    rho : float in [0, 1), default=0.9
        Of rmsprop.
    warmup : int, default=0
        Epochs in which the learning rate rises linearly to what it would be.
    clip_norm : float, optional
        Longest gradient of a step; a longer one is shortened to it.
    clip_value : float, optional
        Instead: every entry of the gradient is clipped to plus and minus this.
    ema : float in (0, 1), optional
        Predictions are those of an exponentially moving average of the parameters with this
        decay, as are ``coefs_`` and ``intercepts_``.
    label_smoothing : float in [0, 1), default=0
        This share of every target's 1 goes to all classes (two classes and multilabel: to yes
        and no) alike.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    coefs_ : list of ndarray, each (fan_in, fan_out)
    intercepts_ : list of ndarray, each (fan_out,)
        In place changes of both count for predictions.
    loss_ : float
        Of the last epoch.
    best_loss_ : float or None
        None with early stopping. Not for L-BFGS.
    loss_curve_ : list of float
        Mean over the batches of each epoch, each before its step. Not for L-BFGS.
    validation_scores_, validation_loss_curve_ : list of float or None
        After each epoch, where there are validation data.
    best_validation_score_ : float or None
    t_ : int
        Samples seen.
    n_iter_ : int
        Epochs (iterations) of the last ``fit``.
    n_features_in_, n_layers_, n_outputs_ : int
    feature_names_in_ : ndarray of str
        If ``X`` had them.
    out_activation_ : {"softmax", "logistic"}

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(300, noise=0.2, random_state=0)
    >>> model = fastnn.MLPClassifier((8, 8), solver="lbfgs", max_iter=1000, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.95
    True
    >>> model.predict_proba(X[:3]).shape
    (3, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [interval("label_smoothing")],
    }
    _LATER = (*BaseMLP._LATER, "label_smoothing")

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        backend: str = "auto",
        dtype: Any = None,
        class_weight: Any = None,
        dropout: Any = 0.0,
        scoring: str | Callable | None = None,
        weight_decay: float = 0.01,
        rho: float = 0.9,
        warmup: int = 0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        keep(self, locals())

    def _loss_name(self) -> str:
        return "cross_entropy" if self.out_activation_ == "softmax" else "binary_cross_entropy"

    def _loss_settings(self) -> dict[str, Any]:
        return {"label_smoothing": float(self.label_smoothing)}

    def _output_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """Checked samples and labels; learns or compares the classes."""
        X, y = self._checked(X, y, reset)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            check_classes(y)
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return X, y
        plain = is_plain_vector(y) and y.dtype.kind != "f"
        if not plain:
            check_classes(y)
        classes = np.unique(y) if plain else unique_labels(y)
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same "
                    "classes as in the previous call to fit. Previously "
                    f"got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return X, y

    def _validation_input(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X, y = self._checked(X, y, reset=False)
        check_classes(y)
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"validation_data has labels unknown to the training: {unknown}")
        return X, self._encode(y)[0]

    def _encode(self, y: Any) -> tuple[np.ndarray, int]:
        """Targets, and how many outputs they need."""
        kind = self._label_binarizer.y_type_
        if kind in ("binary", "multiclass"):
            n_outputs = 1 if kind == "binary" else len(self.classes_)
            return np.searchsorted(self.classes_, y)[:, None], n_outputs
        targets = self._label_binarizer.transform(y)
        return targets, targets.shape[1]

    def _weights(self, sample_weight: Any, y: Any, incremental: bool) -> Any:
        """Weights of the samples times those of their classes."""
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                'class_weight="balanced" needs all labels at once; for partial_fit give a dict'
            )
        check_class_weight(self.class_weight)
        by_class = compute_sample_weight(self.class_weight, y)
        return by_class if sample_weight is None else sample_weight * by_class

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """What a split keeps the shares of: as in scikit-learn two classes, not more."""
        return targets.astype(bool) if self.n_outputs_ == 1 else None

    def _labels(self, targets: np.ndarray) -> np.ndarray:
        """Labels from targets."""
        if self.out_activation_ == "softmax":
            return self.classes_[targets[:, 0].astype(np.intp)]
        return self._label_binarizer.inverse_transform(
            targets[:, 0] if self.n_outputs_ == 1 else targets
        )

    def _decide(self, p: np.ndarray) -> np.ndarray:
        """Labels from probabilities."""
        if self.out_activation_ == "softmax":
            return self.classes_[p.argmax(axis=1)]
        return self._label_binarizer.inverse_transform(p[:, 0] if self.n_outputs_ == 1 else p)

    @staticmethod
    def _default_score(y: np.ndarray, predicted: np.ndarray, weights: Any) -> float:
        return float(accuracy_score(y, predicted, sample_weight=weights))

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """One epoch over the samples given.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_labels)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample; by default all weigh alike.
        classes : array-like, shape (n_classes,), optional
            All labels there will be; needed in the first call.

        Returns
        -------
        self

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.MLPClassifier((8,), random_state=0)
        >>> for X, y in ([[[0.0], [1.0]], [0, 1]], [[[2.0]], [2]]):
        ...     model = model.partial_fit(X, y, classes=[0, 1, 2])
        >>> model.classes_
        array([0, 1, 2])
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the order of ``classes_``; for multilabel that of each label.

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = fastnn.MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
        >>> model.predict_proba(X[:2]).shape
        (2, 3)
        """
        p = self._predicted(X)
        if len(self.classes_) == 1:  # as in a bag that drew no other
            return np.ones_like(p)
        return np.hstack([1 - p, p]) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, minus infinity where one is zero.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
        """
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(p, out=p)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
