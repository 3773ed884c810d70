"""``MLPClassifier``: scikit-learn's estimator on the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastnn.estimators.base import BaseMLP
from fastnn.estimators.checks import (
    check_class_weight,
    check_classes,
    plain_labels,
    validate_parameters_once,
)
from fastnn.estimators.parameters import interval, is_stochastic, store_parameters
from fastnn.estimators.plain_data import is_plain_vector
from fastnn.estimators.scoring import ScoreMixin


class MLPClassifier(ScoreMixin, ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier: scikit-learn's ``MLPClassifier`` on compiled kernels.

    Parameters, attributes and results are those of scikit-learn: the same ``random_state`` gives
    the same initial weights, sample order and held-out samples, and therefore the same loss curve
    up to rounding. The parameters after ``max_fun`` are additions of fastnn.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(100,)
        Number of units of each hidden layer.
    activation : str, CustomActivation or sequence of these, default="relu"
        One for all hidden layers or one for each: identity, logistic (or sigmoid), tanh, relu,
        leaky_relu, elu, softplus, silu, gelu, selu or mish, or a :class:`fastnn.CustomActivation`.
    solver : {"adam", "sgd", "lbfgs", "adamw", "adagrad", "rmsprop", "lm"}, default="adam"
        Update rule; "lm" is :class:`fastnn.LevenbergMarquardt`.
    alpha : float, default=0.0001
        L2 penalty: ``alpha / 2`` times the sum of the squared weights, divided by the number of
        samples of the batch (the sum of their weights), is added to the loss.
    batch_size : int or "auto", default="auto"
        Samples per step; "auto" is min(200, n_samples). L-BFGS uses all.
    learning_rate : str, default="constant"
        "constant"; for sgd "invscaling" (divided by ``(samples seen + 1) ** power_t`` after
        every epoch) and "adaptive" (divided by 5 when training would otherwise stop); for all
        solvers except lbfgs "cosine" (down to 0), "step" (a tenth after each
        third), "one_cycle" (up from 1/25, then down) and "coslog4" (up from 0 and down, four
        times), over ``max_iter`` epochs, updated in every step.
    learning_rate_init : float, default=0.001
        Initial step size.
    power_t : float, default=0.5
        Exponent of the schedule "invscaling".
    max_iter : int, default=200
        Maximum number of epochs (iterations of L-BFGS).
    shuffle : bool, default=True
        Shuffle the samples in every epoch.
    random_state : int, RandomState or None
        Determines initial weights, held-out samples, sample order and dropout.
    tol : float, default=1e-4
        Minimum improvement of the loss or score; for L-BFGS the tolerance of the gradient.
    verbose : bool or int, default=False
        Whether to print the loss after every epoch.
    warm_start : bool, default=False
        ``fit`` starts from the previous solution.
    momentum : float in [0, 1], default=0.9
        Momentum of sgd.
    nesterovs_momentum : bool, default=True
        Use Nesterov momentum with sgd.
    early_stopping : bool, default=False
        Hold out validation samples, stop when their score no longer improves, and keep the best
        parameters.
    validation_fraction : float, default=0.1
        Share of the samples held out for early stopping.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay of the moments of adam and adamw.
    epsilon : float, default=1e-8
        Added to the denominator by adam, adamw, adagrad and rmsprop.
    n_iter_no_change : int or inf, default=10
        Number of epochs without improvement after which training stops.
    max_fun : int, default=15000
        Maximum number of function evaluations of L-BFGS.
    backend : {"auto", "cython", "numba", "numpy"}, default="auto"
        "auto" chooses the fastest one available (that supports custom functions, if there are any).
    dtype : {"float32", "float64"} or None
        Data type of parameters and training; None for that of ``X``.
    class_weight : dict, "balanced" or None
        Factors of the sample weights by class.
    dropout : float or sequence of float, default=0
        Dropout rate of all hidden layers or of each.
    scoring : str, callable or None
        Score for early stopping: None for the accuracy, "loss" for the negative validation loss, or
        a scorer of scikit-learn.
    weight_decay : float, default=0.01
        Weight decay of adamw.
    rho : float in [0, 1), default=0.9
        Decay of the mean square of rmsprop.
    warmup : int, default=0
        Number of epochs with linearly increasing learning rate at the start.
    clip_norm : float, optional
        Maximum norm of the gradient.
    clip_value : float, optional
        Maximum absolute value of each entry of the gradient, instead of ``clip_norm``.
    ema : float in (0, 1), optional
        Decay of an exponential moving average of the parameters that is used for predictions,
        ``coefs_`` and ``intercepts_``.
    label_smoothing : float in [0, 1), default=0
        Share of each target that is distributed equally among all classes.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        Class labels.
    coefs_ : list of ndarray, each (fan_in, fan_out)
        Weights of each layer.
    intercepts_ : list of ndarray, each (fan_out,)
        Changing ``coefs_`` or ``intercepts_`` in place changes the predictions.
    loss_ : float
        Loss of the last epoch.
    best_loss_ : float or None
        Smallest loss; None with early stopping. Not for L-BFGS.
    loss_curve_ : list of float
        Mean over the batches of each epoch, computed before each step. Not for L-BFGS.
    validation_scores_, validation_loss_curve_ : list of float or None
        After each epoch, if there are validation data.
    best_validation_score_ : float or None
        Best validation score.
    t_ : int
        Number of samples processed.
    n_iter_ : int
        Number of epochs (iterations) of the last ``fit``.
    n_features_in_, n_layers_, n_outputs_ : int
        Number of features, of layers including the input, and of outputs.
    feature_names_in_ : ndarray of str
        Column names, if ``X`` had them.
    out_activation_ : {"softmax", "logistic"}
        Activation of the output layer.

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
    _NEWER_PARAMETERS = (*BaseMLP._NEWER_PARAMETERS, "label_smoothing")

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
        store_parameters(self, locals())

    def _loss_name(self) -> str:
        return "cross_entropy" if self.out_activation_ == "softmax" else "binary_cross_entropy"

    def _loss_settings(self) -> dict[str, Any]:
        return {"label_smoothing": float(self.label_smoothing)}

    def _output_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """Validate samples and labels; learn the classes, or compare them with known ones."""
        X, y = self._check_data(X, plain_labels(y), reset)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            check_classes(y)
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return X, y
        known = self.classes_
        plain = is_plain_vector(y) and y.dtype.kind != "f"
        quick = plain and known.dtype.kind in "iu" and not self.warm_start
        if quick and (known.take(np.searchsorted(known, y), mode="clip") == y).all():
            return X, y
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
        X, y = self._check_data(X, plain_labels(y), reset=False)
        check_classes(y)
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"validation_data has labels unknown to the training: {unknown}")
        return X, self._encode(y)[0]

    def _encode(self, y: Any) -> tuple[np.ndarray, int]:
        """Return the encoded targets and the number of outputs."""
        kind = self._label_binarizer.y_type_
        if kind in ("binary", "multiclass"):
            n_outputs = 1 if kind == "binary" else len(self.classes_)
            return np.searchsorted(self.classes_, y)[:, None], n_outputs
        targets = self._label_binarizer.transform(y)
        return targets, targets.shape[1]

    def _weights(self, sample_weight: Any, y: Any, incremental: bool) -> Any:
        """Sample weights times class weights."""
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
        """Labels for a stratified split: as in scikit-learn, for two classes only."""
        return targets.astype(bool) if self.n_outputs_ == 1 else None

    def _labels(self, targets: np.ndarray) -> np.ndarray:
        """Convert encoded targets to labels."""
        if self.out_activation_ == "softmax":
            return self.classes_[targets[:, 0].astype(np.intp)]
        return self._label_binarizer.inverse_transform(
            targets[:, 0] if self.n_outputs_ == 1 else targets
        )

    def _decide(self, p: np.ndarray) -> np.ndarray:
        """Convert probabilities to labels."""
        if self.out_activation_ == "softmax":
            return self.classes_[p.argmax(axis=1)]
        return self._label_binarizer.inverse_transform(p[:, 0] if self.n_outputs_ == 1 else p)

    @staticmethod
    def _default_score(y: np.ndarray, predicted: np.ndarray, weights: Any) -> float:
        return float(accuracy_score(y, predicted, sample_weight=weights))

    @available_if(is_stochastic)
    @validate_parameters_once
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train one epoch on the given samples.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.
        y : array-like, shape (n_samples,) or (n_samples, n_labels)
            Targets, one per sample.
        sample_weight : array-like, shape (n_samples,), optional
            Weight of each sample; default: 1.
        classes : array-like, shape (n_classes,), optional
            All labels that can occur; required in the first call.

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
        known = getattr(self, "classes_", None)
        same = known is not None and (classes is None or np.array_equal(known, classes))
        if not same and _check_partial_fit_first_call(self, plain_labels(classes)):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else self.classes_)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the order of ``classes_``; for multilabel, the probability of each label.

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = fastnn.MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
        >>> model.predict_proba(X[:2]).shape
        (2, 3)
        """
        p = self._predict_outputs(X)
        if len(self.classes_) == 1:  # possible for a bootstrap sample
            return np.ones_like(p)
        return np.hstack([1 - p, p]) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithms of the probabilities; minus infinity for zero.

        Parameters
        ----------
        X : {array-like, sparse matrix}, shape (n_samples, n_features)
            Samples, one per row.

        Returns
        -------
        ndarray, shape (n_samples, n_classes)

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = fastnn.MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
        >>> np.allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))
        True
        """
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(p, out=p)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
