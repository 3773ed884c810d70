"""Old location of the estimators for tables, in which pickles of earlier versions look for them."""

from fastnn.tables.classifier import TabularClassifier
from fastnn.tables.regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]
