"""scikit-learn estimators over the compiled kernels.

| file | what it holds |
|---|---|
| ``classifier.py`` | ``MLPClassifier``: labels, their targets, class weights, probabilities |
| ``regressor.py`` | ``MLPRegressor``: values, losses of a regression |
| ``bagging.py`` | ``MLPBaggingClassifier``, ``MLPBaggingRegressor``; imported when asked for |
| ``conformal.py`` | ``ConformalRegressor``, ``ConformalClassifier``; imported when asked for |
| ``parallel.py`` | ``JoblibBackend``: scikit-learn's fits in parallel, one network per core |
| ``search.py`` | settings by cross-validation, for ``fastnn search``; imported when asked for |
| ``base.py`` | what they share: checks, fitting, predicting |
| ``parameters.py`` | names and bounds of the parameters |
| ``epochs.py``, ``lbfgs.py`` | epochs of compiled steps; full-batch L-BFGS |
| ``solvers.py`` | what both take: data, update rules, the state between calls |
| ``callbacks.py``, ``fields.py`` | scikit-learn's callbacks; what a model file keeps |
"""

from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.parallel import JoblibBackend
from fastnn.estimators.regressor import MLPRegressor

__all__ = ["JoblibBackend", "MLPClassifier", "MLPRegressor"]
