"""The target of a table."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fastnn
from fastnn.tables import Encoding, TableModel, table_target


@pytest.mark.parametrize(
    ("y", "task", "values"),
    [
        (["a", None, "b"], "classification", ["a", "b"]),
        ([1, 2, None, 1], "classification", [1, 2, 1]),
        ([1.5, np.nan, 2.0], "regression", [1.5, 2.0]),
        ([True, False, None], "classification", [True, False]),
        (pd.Series(["x", pd.NA, "y"], dtype="string"), "classification", ["x", "y"]),
        (pd.Series([1, 2, pd.NA], dtype="Int64"), "classification", [1, 2]),
        (pd.Series([3, 1, 3]).astype("category"), "classification", [3, 1, 3]),
        (pl.Series([0.5, None, 2.0]), "regression", [0.5, 2.0]),
        (pa.chunked_array([["u", None], ["v"]]), "classification", ["u", "v"]),
        (np.array(["yes", "no"], object), "classification", ["yes", "no"]),
        (["$1.50", "$2.25", ""], "regression", [1.5, 2.25]),
        (np.arange(40), "regression", list(map(float, range(40)))),
    ],
)
def test_targets_of_every_library(y, task, values):
    found = table_target(y)
    assert found.task == task
    assert found.values.tolist() == values
    assert found.known.sum() == len(values)
    assert bool(found.notes) == (not found.known.all()) or task == "classification" or "$" in str(y)


def test_the_task_can_be_given():
    assert table_target([0, 1, 2, 1], "regression").values.dtype == np.float64
    assert table_target([0.0, 1.0, 0.0], "classification").values.tolist() == [0, 1, 0]
    assert table_target([True, False], "regression").values.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="task must be one of"):
        table_target([1, 2], "ranking")
    with pytest.raises(ValueError, match="target 'y' is not numeric"):
        table_target(["a", "b"], "regression")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([5, 5, 5], "target 'y' is 5 in all 3 rows; there is nothing to learn"),
        ([None, None], "target 'y' has no values"),
        (pd.date_range("2024-01-01", periods=3), "has dates"),
        (["2024-01-01", "2024-01-02"], "has dates"),
        ([1.0, np.inf], "infinite value in row 2"),
        ([f"w{k}" for k in range(300)], "300 different values in 300 rows, too many"),
        ([[1], [2]], "list in its cells"),
    ],
)
def test_what_is_no_target(y, message):
    with pytest.raises(ValueError, match=message):
        table_target(y)


def test_score_of_a_model_leaves_out_rows_without_a_target():
    table = {"x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    encoding = Encoding.fit(table)
    net = fastnn.Network([1, 2], random_state=0)
    y = np.array(["a", "a", "a", "b", "b", "b"])
    net.fit(encoding.transform(table), y, epochs=300, optimizer=fastnn.Adam(0.1))
    model = TableModel(encoding, net)
    assert model.score(table, y) == 1
    assert model.score(table, ["a", None, "b", "b", None, "b"]) == 0.75
