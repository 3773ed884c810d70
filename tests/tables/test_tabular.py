"""``TabularClassifier`` and ``TabularRegressor``."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn.tables.estimators import TabularClassifier, TabularRegressor

WEIGHTS = "rows are held out by chance, so that a weight is not the same as repetition"
FAILED = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
}


@parametrize_with_checks(
    [TabularClassifier(n_epochs=32), TabularRegressor(n_epochs=32)],
    expected_failed_checks=lambda estimator: FAILED,
)
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings
def test_scikit_learn_checks(estimator, check):
    check(estimator)
