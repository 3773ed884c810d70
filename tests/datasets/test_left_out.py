"""Columns and rows that are left out, and what is said of it."""

import numpy as np
import pandas as pd
import pytest

from fastnn import datasets

rng = np.random.default_rng(0)


def table(n=30):
    """Noise, sorted by class: only the number of a row tells its class."""
    X = rng.normal(size=(n, 2)).round(6)
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": np.repeat(["x", "y", "z"], n // 3)})


def saved(tmp_path, frame, **options):
    frame.to_csv(tmp_path / "a.csv", **options)
    return tmp_path / "a.csv"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Unnamed: 0", np.arange(30)),
        ("Unnamed: 0", np.arange(30) + 1),
        ("", np.arange(30)),
        ("", rng.permutation(100)[:30]),  # of rows that were drawn, or shuffled
        ("", [f"row {k}" for k in range(30)]),
        ("count", np.arange(30)),
        ("nr", np.arange(30) + 1),
        ("id", rng.permutation(1000)[:30]),
    ],
)
def test_what_only_counts_rows_is_left_out(tmp_path, name, values):
    frame = table()
    frame.insert(0, name, values)
    path = saved(tmp_path, frame, index=False)
    shown = name or "Unnamed: 0"
    data = datasets.load(path, target="kind")
    np.testing.assert_array_equal(data.X, frame[["a", "b"]])
    assert data.feature_names == ("a", "b")
    assert data.notes[1] == (
        f"left out, since they only count or name the rows: {shown!r} (--keep-index keeps them)"
    )
    if not isinstance(values, list):
        data = datasets.load(path, target="kind", keep_index=True)
        assert data.feature_names == (shown, "a", "b")
        np.testing.assert_array_equal(data.X[:, 0], values)
        assert len(data.notes) == 1
    assert datasets.load(path, target="kind", features=["b"]).feature_names == ("b",)


def test_the_index_of_to_csv(tmp_path):
    frame = table()
    data = datasets.load(saved(tmp_path, frame), target="kind")
    np.testing.assert_array_equal(data.X, frame[["a", "b"]])
    again = pd.read_csv(tmp_path / "a.csv")  # with a column Unnamed: 0, and saved once more
    data = datasets.load(saved(tmp_path, again), target="kind")
    assert data.feature_names == ("a", "b")
    assert "'Unnamed: 0.1', 'Unnamed: 0'" in data.notes[1]
    frame.to_parquet(tmp_path / "a.parquet")
    assert datasets.load(tmp_path / "a.parquet", target="kind").feature_names == ("a", "b")
    frame.index = rng.permutation(30)
    frame.to_parquet(tmp_path / "a.parquet")
    data = datasets.load(tmp_path / "a.parquet", target="kind")
    assert data.feature_names == ("a", "b")
    assert data.notes == ("a.parquet: the index '__index_level_0__' is left out",)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(30) * 2,
        np.arange(30)[::-1],
        np.arange(30) + 2,
        np.arange(30) // 2,
        np.arange(30) + 0.5,
        rng.permutation(30),
    ],
)
def test_what_does_not_count_rows_stays(tmp_path, values):
    frame = table()
    frame.insert(1, "year", values)
    data = datasets.load(saved(tmp_path, frame, index=False), target="kind")
    assert data.feature_names == ("a", "year", "b")


def test_a_feature_that_is_the_only_one_stays(tmp_path):
    frame = pd.DataFrame({"time": np.arange(30), "level": rng.normal(size=30)})
    data = datasets.load(saved(tmp_path, frame, index=False), target="level")
    assert data.feature_names == ("time",)
    # and so in few rows, which may be counted by chance
    frame = pd.DataFrame({"u": [1, 2, 3], "v": [4, 4, 5], "level": [0.5, 1.5, 2]})
    data = datasets.load(saved(tmp_path, frame, index=False), target="level")
    assert data.feature_names == ("u", "v")


def test_rows_with_gaps(tmp_path):
    frame = table()
    frame.loc[[3, 7], "b"] = np.nan
    frame.loc[7, "a"] = np.nan
    frame.loc[20, "kind"] = None
    path = saved(tmp_path, frame, index=False)
    with pytest.raises(ValueError, match=r"'b' has 2 missing values, the first in line 5 \(all"):
        datasets.load(path, target="kind")
    data = datasets.load(path, target="kind", gaps="drop")
    whole = frame.dropna()
    np.testing.assert_array_equal(data.X, whole[["a", "b"]])
    assert data.y.tolist() == whole["kind"].tolist()
    assert data.notes[1] == (
        "left out 3 of 30 rows, which have gaps ('b': 2, 'a': 1, 'kind': 1; "
        "--gaps error refuses them)"
    )
    with pytest.raises(ValueError, match="gaps must be one of error, drop; got 'fill'"):
        datasets.load(path, target="kind", gaps="fill")


def test_gaps_in_many_rows(tmp_path):
    frame = table()
    frame["b"] = np.where(np.arange(30) < 20, np.nan, 1.5)
    path = saved(tmp_path, frame, index=False)
    data = datasets.load(path, target="kind", gaps="drop")
    assert len(data.X) == 10
    assert "--ignore leaves out a column instead" in data.notes[1]
    frame["a"] = np.where(np.arange(30) >= 20, np.nan, 1.5)
    with pytest.raises(ValueError, match=r"no row is without gaps \('b': 20, 'a': 10\); leave col"):
        datasets.load(saved(tmp_path, frame, index=False), target="kind", gaps="drop")
    frame["a"], frame["b"] = np.nan, 1.0
    data = datasets.load(saved(tmp_path, frame, index=False), target="kind")
    assert data.feature_names == ("b",)
    assert data.notes[1] == "left out, since all rows have gaps there: 'a'"


def test_gaps_in_arrays_and_parquet(tmp_path):
    X = np.arange(12.0).reshape(6, 2)
    X[2, 1] = np.nan
    np.savez(tmp_path / "a.npz", X=X, y=np.arange(6) % 2)
    with pytest.raises(ValueError, match="column 'x1' has a missing value in row 3"):
        datasets.load(tmp_path / "a.npz")
    data = datasets.load(tmp_path / "a.npz", gaps="drop")
    np.testing.assert_array_equal(data.X, np.delete(X, 2, axis=0))
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], "Int64"),
            "flag": pd.array([True, False, None], "boolean"),
            "when": np.array(["1970-01-02", "1970-01-03", "2000-01-01T12"], "datetime64[us]"),
            "kind": pd.Categorical(["u", "v", "u"]),
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    data = datasets.load(tmp_path / "a.parquet", target="kind", gaps="drop")
    np.testing.assert_array_equal(data.X, [[1, 1, 1]])
    data = datasets.load(tmp_path / "a.parquet", target="kind", features=["when"])
    np.testing.assert_array_equal(data.X[:, 0], [1, 2, 10957.5])
    assert data.y.tolist() == ["u", "v", "u"]
    with pytest.raises(ValueError, match="target 'when' has dates"):
        datasets.load(tmp_path / "a.parquet", target="when")


def test_features_with_gaps(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n-,3\n4,\n")
    with pytest.raises(ValueError, match=r"'a' has a missing value in line 3 \('-'\)"):
        datasets.load_features(path, ["a", "b"])
    notes = []
    X = datasets.load_features(path, ["a", "b"], gaps="keep", notes=notes)
    np.testing.assert_array_equal(X, [[1, 2], [np.nan, 3], [4, np.nan]])
    assert notes == [
        "a.csv: commas between the values, names in line 1 (--no-header if they are values), 3 rows"
    ]
    with pytest.raises(ValueError, match="gaps must be error or keep; got 'drop'"):
        datasets.load_features(path, ["a"], gaps="drop")


def test_options_of_files_with_built_in_data():
    with pytest.raises(ValueError, match="iris is built in; header is for files"):
        datasets.load("iris", header=True)
    with pytest.raises(ValueError, match="moons is built in; ignore is for files"):
        datasets.load("moons", ignore=["x0"])
    assert datasets.load("iris", gaps="drop").notes == ()
