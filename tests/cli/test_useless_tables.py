"""Tables from which nothing can be learnt, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

QUICK = ["--epochs", "2", "--backend", "numpy", "--no-plots", "--target", "y"]
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(40, 2)).round(3), columns=["a", "b"])


def write(**columns):
    X.assign(**columns).to_csv("table.csv", index=False)
    return "table.csv"


def test_no_column_varies(refused):
    file = write(a=7, b=0.5, y=[0, 1] * 20)
    message = refused("train", file, *QUICK)
    assert "table.csv: no column varies ('a' is 7 in all rows, 'b' is 0.5 in all rows)" in message
    assert "no column varies" in refused("search", file, "--target", "y", "--trials", "2")


def test_a_target_that_names_the_rows(run_json):
    names = write(y=[f"person {k}" for k in range(40)])
    notes = " ".join(run_json("train", names, *QUICK, "--out", "r")["notes"])
    assert "the target has 40 classes in 40 rows; does it name the rows?" in notes
    assert "determines the target" not in notes


def test_a_target_that_is_another_column_is_still_told(run_json):
    y = np.where(X["a"] > 0, "high", "low")
    file = write(copy=np.where(y == "high", 1, 2), y=y)
    notes = " ".join(run_json("train", file, *QUICK, "--out", "r")["notes"])
    assert "column 'copy' determines the target" in notes
    assert "classes in" not in notes


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e200])
def test_targets_of_an_absurd_size_are_copies_of_a_column_too(scale):
    from fastnn.tables.baselines import copies_of_target
    from fastnn.tables.columns import Column

    a, b = X["a"].to_numpy(), X["b"].to_numpy()
    columns = [Column("a", a), Column("b", b)]
    assert copies_of_target(columns, scale * a, "regression") == ["a"]


def test_one_line_about_a_target_beyond_float32(refused):
    assert "column 'y' has 9e+299" in refused("train", write(y=[9e299, *X["a"][1:]]), *QUICK)


def test_a_quotation_mark_that_stays_open(refused):
    with open("open.csv", "w") as file:
        file.write('a,b,y\n1,"2,0\n3,4,1\n' * 5)
    assert "open.csv, line 1: ',' expected after '\"'" in refused("train", "open.csv", *QUICK)
