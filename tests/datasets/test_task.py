"""Classes or values: what the numbers of a target are taken for."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine

from fastnn.datasets.task import guess_task

rng = np.random.default_rng(0)
normal = rng.normal(size=1000)

CASES = {
    # 40 class numbers, which were a regression (R^2 0.27; 96.7% right as classes)
    "40 classes": (rng.integers(0, 40, 600), "classification"),
    "40 classes, few rows": (rng.integers(1, 41, 200), "classification"),
    "one number missing": (
        rng.permutation(np.delete(np.arange(30), 17).repeat(5)),
        "classification",
    ),
    "0/1/2 in 12 rows": (np.array([0, 1, 2] * 4), "classification"),
    "1/2/3 as floats": (np.array([1.0, 2.0, 3.0] * 4), "classification"),
    "-1 and 1": (np.array([-1, 1, 1]), "classification"),
    "a rare class": (np.r_[np.zeros(500), np.ones(480), [2] * 3], "classification"),
    "stars": (np.r_[[1] * 3, [2] * 5, [3] * 20, [4] * 40, [5] * 60], "classification"),
    "other codes": (np.array([10, 20, 35] * 5), "classification"),
    "booleans": (np.array([True, False]), "classification"),
    "strings": (np.array(["1", "2.5"]), "classification"),
    "iris": (load_iris().target, "classification"),
    "digits": (load_digits().target, "classification"),
    # a measurement to the nearest unit: 22 values, which were classes
    "rounded": (np.round(20 + 3.2 * normal).astype(int), "regression"),
    "rounded from 0": (np.clip(np.round(11 + 3.5 * normal), 0, 22).astype(int), "regression"),
    "counts": (rng.poisson(8, 3000), "regression"),
    "years": (rng.integers(1950, 2020, 5000), "regression"),
    "few rows": (np.array([0, 4, 2, 7, 1, 3]), "regression"),
    "row numbers": (np.arange(500), "regression"),
    "fractions": (np.array([0.5, 1.0] * 10), "regression"),
    "diabetes": (load_diabetes().target, "regression"),
    "proline": (load_wine().data[:, -1], "regression"),
}


@pytest.mark.parametrize("name", CASES)
def test_guess(name):
    y, task = CASES[name]
    assert guess_task(y) == task


def test_cases_have_what_their_names_say():
    assert 15 < len(np.unique(CASES["rounded"][0])) < 30
    assert len(np.unique(CASES["40 classes"][0])) == 40
