"""scikit-learn estimators over the compiled kernels.

| file | what it holds |
|---|---|
| ``mlp.py`` | ``MLPClassifier``, ``MLPRegressor``: labels and values, targets and predictions |
| ``base.py`` | what they share: parameters, checks, bookkeeping of an epoch, model files |
| ``solvers.py`` | what they train with: epochs of compiled steps, L-BFGS |
"""

from fastnn.estimators.mlp import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
