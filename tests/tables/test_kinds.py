"""Kinds of columns that are guessed."""

import numpy as np
import pandas as pd
import pytest

from fastnn.tables import TableEncoder
from fastnn.tables.columns import as_column, label


def kind_of(values, **options):
    return TableEncoder(**options).fit({"c": values, "other": np.arange(len(values)) % 7 * 0.5})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "3+", "0"] * 10, "category"),  # few numbers and a word
        ([*map(str, range(40)), "unknown", "unknown"], "number"),
        ([*map(str, range(40)), *("unknown",) * 30], "number"),
        ([*map(str, range(40)), *(f"A{k}" for k in range(30))] * 2, "category"),
        (["$1,200", "$3.50", "-"] * 5, "number"),
        (["12%", "1%"] * 5, "number"),
        (["2024-02-29", "2023-01-01"] * 5, "date"),
        (["2024-02-29T12:30", None] * 5, "date"),
        (["yes", "No", None] * 5, "boolean"),
        (["yes", "yes", None] * 5, "category"),  # one of them alone says little
        (["", " ", None] * 5, "drop"),
        ([f"a {k}" for k in range(25)], "drop"),
        ([f"a {k}" for k in range(24)] * 2, "category"),
        ([f"a long text {k // 2 * 2}" for k in range(900)], "category"),
        (np.arange(30), "drop"),
        (np.arange(30)[::-1], "number"),
        (["a"] * 30, "drop"),
        (np.array(["2024-01-01", "2024-03-01"] * 5, "datetime64[D]"), "date"),
        (np.array([1, 5] * 5, "timedelta64[h]"), "number"),
        ([b"a", b"b", b"c"] * 5, "category"),
        ([1, "a", 2.0] * 5, "category"),
    ],
)
def test_guesses(values, kind):
    assert kind_of(values).encoding_.columns[0].kind == kind


def test_identifiers_by_name():
    values = np.random.default_rng(0).permutation(1000)[:50]
    for name, dropped in (
        ("customer_id", True),
        ("CustomerID", True),
        ("PassengerId", True),
        ("valid", False),
        ("paid", False),
    ):
        columns = TableEncoder().fit({name: values, "x": values % 3}).encoding_.columns
        assert (columns[0].why == "identifier") == dropped, name
    # kept if it is asked for, or if there is nothing else
    assert TableEncoder(keep_index=True).fit({"id": values, "x": values % 3}).n_features_in_ == 2
    encoder = TableEncoder(scaling=None).fit({"t": np.arange(30)})
    assert encoder.get_feature_names_out().tolist() == ["t"]


def test_sentences_are_no_identifiers():
    """Nor are they anything else; the reason is told."""
    rng = np.random.default_rng(0)
    words = ["quiet", "bright", "old", "near the park", "dear"]
    texts = [f"{' '.join(rng.choice(words, 4))} {k}" for k in range(40)]
    names = [f"A-{k}" for k in range(40)]
    table = {"remark": texts, "name": names, "x": np.arange(40) % 7 * 0.5}
    why = [code.why for code in TableEncoder().fit(table).encoding_.columns]
    assert why == ["free text, 40 different values", "identifier", ""]


@pytest.mark.parametrize(
    "categories", [["b", " a", "unused"], [2.0, 10.5, 7.0], [True, False], [1, "x", None]]
)
def test_categories_of_pandas_are_those_of_their_values(categories):
    """Gaps and unused categories too; of values of any type."""
    pd = pytest.importorskip("pandas")
    kinds = [category for category in categories if category is not None]
    series = pd.Series(pd.Categorical([*kinds[:2] * 20, None], categories=kinds))
    column = as_column("c", series)
    assert column.hint == "category"
    assert column.values.tolist() == [label(v) for v in kinds[:2]] * 20 + [None]


def test_many_categories():
    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in rng.zipf(1.5, 3000)]
    encoder = kind_of(words, max_categories=20, scaling=None)
    code = encoder.encoding_.columns[0]
    counts = pd.Series(words).value_counts()
    assert set(code.categories) == set(counts.index[:20])
    assert code.others == len(counts) - 20
    assert "the 20 most frequent of them" in encoder.summary()
    out = encoder.transform({"c": [counts.index[-1], "w1"], "other": [0, 0]})
    assert out[0, :20].sum() == 0
    assert out[1, :20].sum() == 1
    free = [f"text {k if k % 9 else 0}" for k in range(900)]
    assert "free text" in kind_of(free).encoding_.columns[0].why
    many = [f"w{k}" for k in range(5000)]
    with pytest.raises(ValueError, match="5,000 different values in 5,000 rows, too many"):
        TableEncoder({"c": "category"}).fit({"c": many})
