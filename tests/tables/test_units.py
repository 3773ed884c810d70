"""Numbers with units, times, and other texts that mean numbers."""

import json

import numpy as np
import pytest

from fastnn import TabularRegressor
from fastnn.export import to_c
from fastnn.export.table import what_to_pass
from fastnn.tables import Encoding, Remarks, table_target


@pytest.mark.parametrize(
    ("form", "value", "what"),
    [
        ("{} kg", lambda k: k, "number in kg"),
        ("{}\u00b0C", lambda k: k, "number in \u00b0C"),
        ("${}", lambda k: k, "number in $"),
        ("{}%", lambda k: k, "number in %"),
        ("{}:30", lambda k: k + 0.5, "number of hours"),
        ("{}h 15m", lambda k: k + 0.25, "number in h"),
        ("R$ {}", lambda k: k, "number in R$"),
        ("{} \u20bd", lambda k: k, "number in \u20bd"),
    ],
)
def test_numbers_with_a_unit(form, value, what):
    numbers = np.random.default_rng(0).permutation(40)
    texts = [form.format(k) for k in numbers]
    encoding = Encoding.fit({"a": texts}, scaling=None)
    assert encoding.summary() == [("a", what)]
    expected = value(numbers.astype(float))[:, None]
    np.testing.assert_allclose(encoding.transform({"a": texts}), expected, rtol=1e-12)
    # the unit is kept with the model; plain numbers and numbers of other types have this unit
    state, arrays = encoding.to_state()
    again = Encoding.from_state(json.loads(json.dumps(state)), arrays)
    np.testing.assert_allclose(again.transform({"a": texts}), expected, rtol=1e-12)
    np.testing.assert_array_equal(again.transform({"a": ["7", "8"]}), [[7], [8]])
    np.testing.assert_array_equal(again.transform({"a": [7.5]}), [[7.5]])


@pytest.mark.parametrize("unit", ["cm", "\u20ac"])
def test_another_unit_is_no_number(unit):
    """In training, and later: 500 cm are not 500 kg."""
    usual = "$" if unit == "\u20ac" else "kg"
    texts = [f"{k} {usual}" for k in range(1, 46)] + [f"{900 + k} {unit}" for k in range(3)]
    encoding = Encoding.fit({"a": texts}, scaling=None)
    assert encoding.columns[0].gaps == 3
    assert f"'900 {unit}'" in encoding.summary()[0][1]
    remarks = Remarks()
    X = encoding.transform({"a": [f"5 {unit}", f"5 {usual}"]}, remarks)
    np.testing.assert_array_equal(X, [[23, 1], [5, 0]])
    assert f"'5 {unit}'" in " ".join(remarks.lines())


@pytest.mark.parametrize(
    ("texts", "values", "what"),
    [
        (
            ["5 kg", "200 g", "1 kg", "3000 mg"],
            [5, 0.2, 1, 0.003],
            "number in kg (g, mg converted)",
        ),
        (
            ["1.5M", "300K", "2.3k", "950"],
            [1.5e6, 3e5, 2300, 950],
            "number with multipliers (M, K, k)",
        ),
        (["$1.5M", "$2.5 billion"], [1.5e6, 2.5e9], "number in $ with multipliers (M, billion)"),
        (["12%", "0.5", "30%"], [12, 0.5, 30], "number in % (1 without a unit, taken as %)"),
        (["256 GB", "512 GB", "1 TB"], [256, 512, 1000], "number in GB (TB converted)"),
        (["300 K", "290 K", "310 K"], [300, 290, 310], "number in K"),
    ],
)
def test_several_units(texts, values, what):
    encoding = Encoding.fit({"a": texts}, scaling=None)
    assert encoding.summary() == [("a", what)]
    np.testing.assert_allclose(encoding.transform({"a": texts})[:, 0], values, rtol=1e-12)
    # rows by themselves, and numbers of a typed column, mean the same
    for text, value in zip(texts, values, strict=True):
        np.testing.assert_allclose(encoding.transform({"a": [text]})[0, 0], value, rtol=1e-12)
    np.testing.assert_array_equal(encoding.transform({"a": [1500.0]}), [[1500]])


def test_units_of_early_versions():
    """Files in which k was a unit."""
    state, arrays = Encoding.fit({"a": ["2.3 kg", "1 kg"]}, scaling=None).to_state()
    state["columns"][0]["unit"] = "k"
    X = Encoding.from_state(state, arrays).transform({"a": ["2.3k", "5"]})
    np.testing.assert_array_equal(X, [[2.3], [5]])


def test_house_numbers_are_no_thousands():
    texts = [f"{k % 60 + 1}" for k in range(100)] + ["12K"]
    assert Encoding.fit({"a": texts}, scaling=None).columns[0].odd == ["12K"]


def test_units_in_equal_parts_are_categories():
    texts = [f"{k % 5} kg" if k % 2 else f"{k % 5} cm" for k in range(40)]
    assert Encoding.fit({"a": texts}, scaling=None).columns[0].kind == "category"
    texts = ["0", "1", "2", "3+"] * 10
    assert Encoding.fit({"a": texts}, scaling=None).columns[0].kind == "category"


def test_targets_with_units():
    weights = [f"{60 + k / 2} kg" for k in range(40)]
    target = table_target(weights)
    assert target.task == "regression"
    np.testing.assert_array_equal(target.values, 60 + np.arange(40) / 2)
    assert "'60.5 kg' read as 60.5" in target.notes[0] or "kg' read as" in target.notes[0]
    times = table_target([f"{k % 24}:30" for k in range(48)], task="regression")
    np.testing.assert_array_equal(times.values, np.arange(48) % 24 + 0.5)
    prices = table_target([f"{k / 10}M" if k % 2 else f"{k}K" for k in range(1, 41)])
    expected = [k * 1e5 if k % 2 else k * 1e3 for k in range(1, 41)]
    np.testing.assert_allclose(prices.values, expected, rtol=1e-12)
    # few different ones are names of classes
    assert table_target(["1 star", "2 stars", "1 star"]).task == "classification"
    sizes = table_target(["5 kg", "10 kg"] * 5)
    assert (sizes.task, set(sizes.values)) == ("classification", {"5 kg", "10 kg"})


def test_categories_are_described_in_one_line():
    cells = ["first\nsecond", "x" * 50, "Rome", "rome"] * 5
    ((_, what),) = Encoding.fit({"a": cells}, scaling=None).summary()
    assert what == (
        "4 categories (Rome, first second, rome, " + "x" * 27 + "...), a column each; "
        "'Rome' and 'rome' differ in case only"
    )


def test_classes_that_differ_in_case_only():
    target = table_target(["Yes", "yes", "No"])
    assert target.notes == [
        "caution: target 'y': 'Yes' and 'yes' differ in case only; they count as different classes"
    ]


def test_texts_that_name_the_rows_teach_nothing():
    with pytest.raises(ValueError, match=r"no column is left to learn from \(a: identifier\)"):
        Encoding.fit({"a": [f"{k}, {k * k}" for k in range(40)]})


def test_exports_say_in_what_numbers_are():
    table = {
        "weight": [f"{k * k % 37} kg" for k in range(40)],
        "start": [f"{k % 24}:30" for k in range(40)],
        "price": [f"${k}.5M" for k in range(40)],
    }
    model = TabularRegressor(n_epochs=1, backend="numpy").fit(table, np.sqrt(np.arange(40)))
    inputs = {code.name: what_to_pass(code) for code in model.encoding_.columns}
    assert inputs == {
        "weight": "double in kg; NaN for a missing value",
        "start": "double in hours; NaN for a missing value",
        "price": "double in $; NaN for a missing value",
    }
    assert "numbers[0]  weight: a number in kg, NAN if missing" in to_c(model)


def test_a_misspelt_column_is_suggested():
    with pytest.raises(ValueError, match=r"no column 'Wieght'.*; did you mean 'weight'\?$"):
        Encoding.fit({"weight": [1, 2]}, kinds={"Wieght": "number"})
