"""Predictions beside the columns of a file with decimal commas."""

import csv

import pytest


@pytest.mark.parametrize("sign", [",", "."])
def test_predictions_have_the_decimal_sign_of_the_file(run, tmp_path, sign):
    rows = [f"{'ab'[k % 2]};{k / 2};{k * 1.25 + 1}".replace(".", sign) for k in range(60)]
    (tmp_path / "t.csv").write_text("town;area;price\n" + "\n".join(rows) + "\n")
    given = ("--target", "price", "--preset", "tabular", "--epochs", 2, "--no-plots")
    assert run("train", "t.csv", *given, "--out", "a")[0] == 0
    code, written, _ = run("predict", "a", "t.csv")
    assert code == 0
    table = list(csv.reader(written.splitlines(), delimiter=";"))
    assert [row[:3] for row in table[1:]] == [row.split(";") for row in rows]
    predictions = [row[3] for row in table[1:]]
    assert any(sign in cell for cell in predictions)
    other = "." if sign == "," else ","
    assert not any(other in cell for cell in predictions)
