"""scikit-learn estimators on the compiled kernels.

| file | contents |
|---|---|
| ``classifier.py`` | ``MLPClassifier``: labels, their targets, class weights, probabilities |
| ``regressor.py`` | ``MLPRegressor``: values, losses of a regression |
| ``bagging.py`` | ``MLPBaggingClassifier``, ``MLPBaggingRegressor``; imported on demand |
| ``conformal.py`` | ``ConformalRegressor``, ``ConformalClassifier``; imported on demand |
| ``conformal_base.py`` | their folds, and the scores of the held-out samples |
| ``parallel.py`` | ``JoblibBackend``: scikit-learn's fits in parallel, one network per core |
| ``search.py`` | settings by cross-validation, for ``fastnn search``; imported on demand |
| ``base.py`` | base class: validation, fitting, prediction |
| ``checks.py`` | error messages that name the argument |
| ``parameters.py`` | names and bounds of the parameters |
| ``epochs.py``, ``lbfgs.py``, ``lm.py`` | epochs of compiled steps; L-BFGS; Levenberg-Marquardt |
| ``solvers.py`` | shared by the solvers: data, update rules, the state between calls |
| ``callbacks.py``, ``fields.py`` | scikit-learn's callbacks; contents of a model file |
| ``checkpoints.py`` | checkpoints of ``fit`` |
"""

from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.parallel import JoblibBackend
from fastnn.estimators.regressor import MLPRegressor

__all__ = ["JoblibBackend", "MLPClassifier", "MLPRegressor"]
