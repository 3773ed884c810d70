"""Scores on held-out samples, and cautions about their reliability.

Accuracy says little if most samples belong to one class. It is then reported with the accuracy of
always predicting that class, the balanced accuracy and the AUC. A score computed from few samples
is reported with a caution.
"""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble

IMBALANCE = 3  # ratio of the largest to the smallest class
MAJORITY = 0.75  # share of the largest class
FEW = 30  # samples below which a score gets a caution
FEW_OF_A_CLASS = 5  # samples of a class below which scores of imbalanced classes get a caution


def class_scores(
    model: Network | Ensemble | MLPClassifier | MLPRegressor, X: np.ndarray, y: np.ndarray
) -> dict[str, Any]:
    """Compute additional scores for imbalanced classes; empty if the classes are balanced.

    Parameters
    ----------
    model : Network or estimator
        A trained model; for a regressor the result is empty.
    X : ndarray, shape (samples, features)
    y : ndarray, shape (samples,)

    Returns
    -------
    dict
        ``majority_class``, ``majority_share``, ``balanced_accuracy`` and ``auc``. The AUC is the
        area under the ROC curve, for more than two classes the mean over one-vs-rest; None if a
        class is missing from ``y``. The balanced accuracy is the mean recall over the classes in
        ``y``; None if ``y`` has a single class.
    """
    classes = getattr(model, "classes_", None)
    if classes is None or not len(y):
        return {}
    labels, counts = np.unique(y, return_counts=True)
    if not _imbalanced(counts, len(np.unique(classes))):
        return {}
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    auc = None
    if len(labels) == len(classes) > 1:
        p = model.predict_proba(X)
        given = p[:, 1] if len(classes) == 2 else p.astype(np.float64)
        if given.ndim == 2:
            given /= given.sum(axis=1, keepdims=True)  # float32 sums differ slightly from 1
        auc = float(roc_auc_score(y, given, multi_class="ovr", labels=classes))
    recall = None
    if len(labels) > 1:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
            recall = balanced_accuracy_score(y, model.predict(X))
    return {
        "majority_class": labels[counts.argmax()].item(),
        "majority_share": float(counts.max() / len(y)),
        "balanced_accuracy": None if recall is None else float(recall),
        "auc": auc,
    }


def _imbalanced(counts: np.ndarray, n_classes: int) -> bool:
    """Whether the largest class is several times the smallest, beyond random variation."""
    least = counts.min() if len(counts) == n_classes else 0
    if counts.max() < IMBALANCE * least:
        return False
    mean = counts.sum() / n_classes
    return counts.max() >= MAJORITY * counts.sum() or least < mean - 2 * np.sqrt(mean)


def caution(y: np.ndarray, accuracy: float | None, imbalanced: bool) -> str | None:
    """Return a one-line caution if there are too few samples for a reliable score, else None.

    Parameters
    ----------
    y : ndarray, shape (samples,)
        Targets of the scored samples.
    accuracy : float or None
        Accuracy; None for a regression.
    imbalanced : bool
        Whether :func:`class_scores` found the classes imbalanced.
    """
    if not len(y):
        return None
    if len(y) < FEW:
        if accuracy is None:
            return f"{len(y)} samples are few for a score; fastnn search cross-validates"
        low, high = interval(accuracy, len(y))
        return f"{len(y)} samples are few: anything from {low:.0%} to {high:.0%} is likely (95%)"
    if not imbalanced:
        return None
    labels, counts = np.unique(y, return_counts=True)
    if counts.min() >= FEW_OF_A_CLASS:
        return None
    label, count = labels[counts.argmin()].item(), counts.min()
    return f"only {count} of the samples {'is' if count == 1 else 'are'} of class {label!r}"


def interval(share: float, n: int) -> tuple[float, float]:
    """95% Wilson score interval of a proportion of ``n`` samples (Wilson 1927)."""
    from scipy.stats import binomtest

    found = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def check_scoring(scoring: str | None) -> None:
    """Raise ValueError unless ``scoring`` is None or the name of a scikit-learn scorer."""
    if scoring is None:
        return  # importing scikit-learn takes longer than a short training

    from sklearn.metrics import get_scorer_names

    if scoring not in (names := get_scorer_names()):
        close = ", ".join(get_close_matches(scoring, names)) or "accuracy, roc_auc, r2"
        raise ValueError(
            f"--scoring must be the name of a score of scikit-learn ({close}, ...); got {scoring!r}"
        )


def scored(
    model: Network | Ensemble | MLPClassifier | MLPRegressor,
    scoring: str,
    X: np.ndarray,
    y: np.ndarray,
) -> float | None:
    """Compute a score of scikit-learn; None if there are no samples.

    Raises
    ------
    ValueError
        If the score is not defined for such targets.
    """
    if not len(y):
        return None
    from sklearn.base import BaseEstimator
    from sklearn.metrics import get_scorer

    if not isinstance(model, BaseEstimator):
        model = _as_estimator(model)
    return _evaluate(get_scorer(scoring), scoring, model, X, y)


def _as_estimator(net: Any) -> Any:
    """Adapter that presents a network as an estimator to scorers."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    mixin: Any = RegressorMixin if net.is_regression else ClassifierMixin

    class NetworkEstimator(mixin, BaseEstimator):
        """The network as a fitted estimator."""

        classes_ = net.classes_

        def predict(self, X: Any) -> np.ndarray:
            return net.predict_point(X)

        if not net.is_regression:
            predict_proba = staticmethod(net.predict_proba)

        def __sklearn_is_fitted__(self) -> bool:
            return True

    return NetworkEstimator()


def check_defined(name: str, scoring: str | None, task: str, y: np.ndarray) -> None:
    """Raise ValueError if a score of scikit-learn is not defined for such targets.

    Parameters
    ----------
    name : str
        Name of the score.
    scoring : str or None
        The value of ``--scoring``, for the error message.
    task : str
    y : ndarray, shape (samples,)
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.metrics import get_scorer

    X = np.zeros((len(y), 1))
    dummy: Any = DummyRegressor()
    if task == "classification":
        dummy = DummyClassifier(strategy="uniform", random_state=0)
    _evaluate(get_scorer(name), scoring, dummy.fit(X, y), X, y)


def _evaluate(scorer: Any, scoring: str | None, model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Compute a score; raise ValueError if it is not defined for such targets."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(scorer(model, X, y))
    except Exception as error:  # scorers raise many types of exceptions
        text = str(error).split("\n")[0]
        raise ValueError(f"--scoring {scoring} is not defined for this target: {text}") from None


def score_rows(scores: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Format the scores of imbalanced classes and the caution as rows of text.

    Parameters
    ----------
    scores : dict
        Result that contains the output of :func:`class_scores` and :func:`caution`.
    prefix : str
        Prefix of the keys.
    """
    rows = []
    share = scores.get(f"{prefix}majority_share")
    if share is not None:
        label = scores[f"{prefix}majority_class"]
        rows.append(("baseline", f"{share:.2%} by always predicting {label!r}"))
        recall, auc = scores[f"{prefix}balanced_accuracy"], scores[f"{prefix}auc"]
        rows.append(("balanced accuracy", "-" if recall is None else f"{recall:.2%}"))
        rows.append(("AUC", "- (a class is missing)" if auc is None else f"{auc:.4f}"))
    if scores.get(f"{prefix}caution"):
        rows.append(("caution", scores[f"{prefix}caution"]))
    return rows


def held_out_scores(
    model: Network | Ensemble | MLPClassifier | MLPRegressor,
    X: np.ndarray,
    y: np.ndarray,
    accuracy: float | None,
    prefix: str,
) -> dict[str, Any]:
    """Collect :func:`class_scores` and :func:`caution`, if any, with prefixed keys."""
    scores = class_scores(model, X, y)
    text = caution(y, accuracy, bool(scores))
    if text is not None:
        scores["caution"] = text
    return {f"{prefix}{name}": value for name, value in scores.items()}
