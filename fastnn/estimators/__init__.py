"""scikit-learn estimators over the compiled kernels.

| file | what it holds |
|---|---|
| ``mlp.py`` | ``MLPClassifier``, ``MLPRegressor``: labels and values, targets and predictions |
| ``bagging.py`` | ``MLPBaggingClassifier``, ``MLPBaggingRegressor``; imported when asked for |
| ``parallel.py`` | ``JoblibBackend``: scikit-learn's fits in parallel, one network a core |
| ``search.py`` | settings by cross-validation, for ``fastnn search``; imported when asked for |
| ``base.py`` | what they share: parameters, checks, bookkeeping of an epoch, model files |
| ``solvers.py`` | what they train with: epochs of compiled steps, L-BFGS |
"""

from fastnn.estimators.mlp import MLPClassifier, MLPRegressor
from fastnn.estimators.parallel import JoblibBackend

__all__ = ["JoblibBackend", "MLPClassifier", "MLPRegressor"]
