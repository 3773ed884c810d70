"""Data sets and pairs of estimators, ours and scikit-learn's, for the tests."""

from functools import cache

from sklearn.datasets import make_classification, make_multilabel_classification, make_regression


@cache
def make_data(name):
    """Estimator's name, samples, targets."""
    if name == "multiclass":
        return (
            "MLPClassifier",
            *make_classification(330, 12, n_informative=8, n_classes=3, random_state=0),
        )
    if name == "binary":
        return ("MLPClassifier", *make_classification(330, 12, random_state=0))
    if name == "multilabel":
        return ("MLPClassifier", *make_multilabel_classification(330, random_state=0))
    X, y = make_regression(
        330, 6, n_targets=3 if name == "multioutput" else 1, noise=5, random_state=0
    )
    return "MLPRegressor", X, y / y.std()


DATA = ("multiclass", "binary", "multilabel", "regression", "multioutput")
