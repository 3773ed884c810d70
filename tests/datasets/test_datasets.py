import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import builtin

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("n", "seed"), [(200, 0), (201, 5), (10_000, 20_000)])
def test_moons_are_those_of_scikit_learn(n, seed):
    from sklearn.datasets import make_moons

    X, y = builtin.moons(n, seed)
    expected_X, expected_y = make_moons(n, noise=0.2, random_state=seed)
    np.testing.assert_array_equal(X, expected_X)
    np.testing.assert_array_equal(y, expected_y)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("moons", (200, 2), [0, 1]),
        ("circles", (200, 2), [0, 1]),
        ("blobs", (200, 2), [0, 1, 2, 3]),
        ("quantiles", (200, 2), [0, 1, 2]),
        ("iris", (150, 4), ["setosa", "versicolor", "virginica"]),
        ("wine", (178, 13), ["class_0", "class_1", "class_2"]),
        ("digits", (1797, 64), list(range(10))),
        ("breast_cancer", (569, 30), ["benign", "malignant"]),
    ],
)
def test_built_in_classes(name, shape, classes):
    data = datasets.load(name)
    assert data.X.shape == shape
    assert data.y.shape == shape[:1]
    assert len(data.feature_names) == shape[1]
    assert data.task == "classification"
    assert np.unique(data.y).tolist() == classes
    assert np.abs(data.inputs(data.X)).max() <= (1.0 if name == "digits" else np.inf)


def test_diabetes_is_a_regression():
    data = datasets.load("diabetes")
    assert data.X.shape == (442, 10)
    assert data.task == "regression"
    assert data.y.dtype == np.float64
    assert (data.y[0], data.y.min(), data.y.max()) == (151.0, 25.0, 346.0)


@pytest.mark.parametrize("name", ["moons", "circles", "blobs", "quantiles"])
def test_fresh_points_are_new_but_of_the_same_kind(name):
    data = datasets.load(name)
    X, y = data.draw(5000, 1)
    assert X.shape == (5000, 2)
    assert not np.isin(X[:, 0], data.X[:, 0]).any()
    for label in np.unique(data.y):
        mine, fresh = data.X[data.y == label], X[y == label]
        error = mine.std(axis=0) / np.sqrt(len(mine))
        assert (np.abs(mine.mean(axis=0) - fresh.mean(axis=0)) < 4 * error).all()


def test_seed_of_synthetic_data():
    first, again, other = (datasets.load("circles", seed=seed).X for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# --- files --------------------------------------------------------------------


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_words_as_classes(tmp_path):
    path = write(tmp_path / "a.csv", 'width,"height, cm",kind\n1,2.5,cat\n3,4,dog\n\n5,6e1,"cat"\n')
    data = datasets.load(path, target="kind")
    np.testing.assert_array_equal(data.X, [[1, 2.5], [3, 4], [5, 60]])
    assert data.y.tolist() == ["cat", "dog", "cat"]
    assert data.task == "classification"
    assert data.feature_names == ("width", "height, cm")
    assert data.target_name == "kind"
    assert data.name == "a"


@pytest.mark.parametrize("target", ["y", "1", "-2", 1])
def test_target_by_name_or_position(tmp_path, target):
    data = datasets.load(write(tmp_path / "a.csv", "a,y,b\n1,0,2\n3,1,4\n"), target=target)
    np.testing.assert_array_equal(data.X, [[1, 2], [3, 4]])
    assert data.y.tolist() == [0, 1]
    assert data.y.dtype == np.int64


def test_csv_without_names_and_other_delimiters(tmp_path):
    rows = "1;2;0\n3;4;1\n"
    data = datasets.load(write(tmp_path / "a.csv", rows), target=-1)
    np.testing.assert_array_equal(data.X, [[1, 2], [3, 4]])
    tabs = datasets.load(write(tmp_path / "a.tsv", rows.replace(";", "\t")), target="2")
    np.testing.assert_array_equal(tabs.X, data.X)
    assert tabs.feature_names == ("0", "1")


def test_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,y\r\n1,x\r\n2,z\r\n")
    assert datasets.load(path, target="y").feature_names == ("a",)


def test_columns_can_be_chosen(tmp_path):
    path = write(tmp_path / "a.csv", "a,word,b,y\n1,x,2,0\n3,z,4,1\n")
    data = datasets.load(path, target="y", features=["b", "a"])
    np.testing.assert_array_equal(data.X, [[2, 1], [4, 3]])


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["yes", "no"] * 10, "classification"),
        (["True", "False"] * 10, "classification"),
        ([0, 1] * 10, "classification"),
        (["1.0", "2.0"] * 10, "classification"),
        (list(range(20)), "regression"),
        ([0.5, 1.0] * 10, "regression"),
    ],
)
def test_task_by_the_target(tmp_path, values, task):
    text = "x,y\n" + "".join(f"{k},{value}\n" for k, value in enumerate(values))
    data = datasets.load(write(tmp_path / "a.csv", text), target="y")
    assert data.task == task
    assert (data.y.dtype == np.float64) == (task == "regression")


def test_task_can_be_given(tmp_path):
    path = write(tmp_path / "a.csv", "x,y\n1,0\n2,1\n")
    data = datasets.load(path, target="y", task="regression")
    assert data.task == "regression"
    assert data.y.dtype == np.float64


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,y\n1,0\n,1\n", {}, r"a\.csv: column 'a' has a missing value in line 3; fill"),
        ("a,y\n1,0\nNaN,1\n", {}, r"column 'a' has a missing value in line 3 \('NaN'\)"),
        (
            "a,b,y\n1,,0\n,-,1\n3,4,",
            {},
            r"'b' has 2 missing values, the first in line 2 \(all gaps: 'b': 2, 'a': 1, 'y': 1\)",
        ),
        ("a,b,y\n1,?,0\ninf,2,1\n?,2,1", {"features": ["a"]}, "column 'a' has an infinite value"),
        ("a,y\n1,0\nred,1\n", {}, "'a' has 'red' in line 3, unlike others such as '1'"),
        ("a,y\n1,\n2,1\n", {}, "target 'y' has a missing value in line 2"),
        ("a,y\n1,n/a\n2,cat\n", {}, r"target 'y' has a missing value in line 2 \('n/a'\)"),
        ("a,y\n1,inf\n2,0.5\n", {}, "target 'y' has an infinite value"),
        ("a,b\n1,2\n", {}, "there is no column 'y'; columns: 'a', 'b'"),
        ("a,b\n1,2\n", {"target": None}, "name the target's column; columns: 'a', 'b'"),
        ("a,b\n1,2\n", {"target": 2}, "there is no column 2"),
        ("size,sold\n1,2\n", {"target": "solt"}, "'sold'; did you mean 'sold'\\?$"),
        ("a,y\n1,0\n1,2,3\n", {}, "line 3: 3 values where the others have 2"),
        ("a,a,y\n1,2,3\n", {}, "two columns are called 'a'"),
        ("a,y\n", {}, "there are no rows"),
        ("", {}, "there are no rows; the file is empty"),
        ("y\n1\n", {}, "no column beside the target"),
        ("a,y\n1,0.5\n2,1\n", {"task": "classification"}, "has fractions"),
        ("a,y\n1,x\n2,z\n", {"task": "regression"}, "'y' is not numeric"),
        ("a,y\n1,x\n2,z\n", {"task": "guess"}, "task must be one of"),
        ("a,y\n1,2\n", {"features": ["c"]}, "no column 'c'"),
    ],
)
def test_bad_files_are_named(tmp_path, text, options, message):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=message) as error:
        datasets.load(path, **{"target": "y", **options})
    assert "\n" not in str(error.value)


def test_other_bad_input(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data set and no file 'nowhere.csv'; built in"):
        datasets.load("nowhere.csv", target="y")
    with pytest.raises(FileNotFoundError, match="no data set and no file 'moon'"):
        datasets.load("moon")
    with pytest.raises(ValueError, match="unknown kind of file"):
        datasets.load(write(tmp_path / "a.docx", "1"), target="y")
    with pytest.raises(ValueError, match="has its own target"):
        datasets.load("iris", target="y")
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"\x01\x00\x81,\n")
    with pytest.raises(ValueError, match="not a text file"):
        datasets.load(binary, target="y")


def test_npz(tmp_path):
    X, y = np.arange(12.0).reshape(6, 2), np.array(["a", "b"] * 3)
    np.savez(tmp_path / "m.npz", X=X, y=y)
    data = datasets.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(data.X, X)
    assert data.y.tolist() == y.tolist()
    np.savez(tmp_path / "c.npz", u=X[:, 0], v=X[:, 1], z=X[:, 0] / 7)
    data = datasets.load(tmp_path / "c.npz", target="z")
    np.testing.assert_array_equal(data.X, X)
    assert data.task == "regression"


def test_bad_npz(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((3, 2)), y=np.zeros(2, int))
    with pytest.raises(ValueError, match="X has 3 rows, 'y' has 2"):
        datasets.load(path)
    np.savez(path, X=np.ones(3), y=np.zeros(3, int))
    with pytest.raises(ValueError, match=r"X must be 2-D .*\(3,\)"):
        datasets.load(path)
    np.savez(path, X=np.ones((2, 2)), y=np.array([{}, None], object))
    with pytest.raises(ValueError, match="of plain numbers and strings"):
        datasets.load(path)
    np.savez_compressed(path, X=np.ones((9, 2)), y=np.zeros(9, int))
    raw = path.read_bytes()
    start = 30 + sum(raw[26:30:2])  # behind the first file's header, its name and extra field
    scrambled = raw[:start] + b"\xff" + raw[start + 1 :]
    for damaged in (b"PK nothing", scrambled, raw[:-40]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a NumPy archive"):
            datasets.load(path)


def test_archives_that_are_none_of_numpy(tmp_path):
    path = tmp_path / "a.npz"
    with open(path, "wb") as file:
        np.save(file, np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"one array \(\.npy\), not an archive; .*np\.savez"):
        datasets.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "numbers")
    with pytest.raises(ValueError, match=r"'README\.txt' is not an array"):
        datasets.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", "numbers")
    with pytest.raises(ValueError, match="not a NumPy archive"):
        datasets.load(path)


@pytest.mark.parametrize(
    ("local", "central", "value", "message"),
    [
        (6, 8, 1, r"'X\.npy' is encrypted"),  # a bit of the flags
        (8, 10, 99, "not a NumPy archive"),  # the method of compression
    ],
)
def test_archives_that_cannot_be_unpacked(tmp_path, local, central, value, message):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((3, 2)), y=np.arange(3))
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        start = raw.find(signature)
        while start >= 0:
            raw[start + offset] = value
            start = raw.find(signature, start + 4)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        datasets.load(path)


def test_shapes_are_checked_before_an_archive_is_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.zeros((4000, 4000)), y=np.zeros(3))  # 128 MB
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="X has 4000 rows, 'y' has 3"):
            datasets.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_parquet(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"n": [1, 2, 3], "flag": [True, False, True], "kind": ["u", "v", "u"]})
    frame.to_parquet(path)
    data = datasets.load(path, target="kind")
    np.testing.assert_array_equal(data.X, [[1, 1], [2, 0], [3, 1]])
    assert data.y.tolist() == ["u", "v", "u"]
    frame["n"] = [1.0, None, 3.0]
    frame.to_parquet(path)
    with pytest.raises(ValueError, match="column 'n' has a missing value in row 2"):
        datasets.load(path, target="kind")
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match="not a Parquet file"):
        datasets.load(path, target="kind")


def test_features_alone(tmp_path):
    named = write(tmp_path / "a.csv", "y,b,a\ncat,1,2\ndog,3,4\n")
    np.testing.assert_array_equal(datasets.load_features(named, ["a", "b"]), [[2, 1], [4, 3]])
    bare = write(tmp_path / "b.csv", "1,2\n3,4\n")
    np.testing.assert_array_equal(datasets.load_features(bare, ["a", "b"]), [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="no column 'c'"):
        datasets.load_features(named, ["a", "c"])


@pytest.mark.parametrize("stratify", [False, True])
def test_split(stratify):
    y = np.array([0] * 70 + [1] * 29 + [2])
    train, test = datasets.train_test_split(y, 0.2, 0, stratify=stratify)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(100))
    assert len(test) == 20
    if stratify:
        assert np.bincount(y[test], minlength=3).tolist() == [14, 6, 0]
    again = datasets.train_test_split(y, 0.2, 0, stratify=stratify)[1]
    other = datasets.train_test_split(y, 0.2, 1, stratify=stratify)[1]
    np.testing.assert_array_equal(test, again)
    assert not np.array_equal(test, other)


# --- the package --------------------------------------------------------------


def test_writing_files_needs_no_reader():
    code = """
import sys
import tracemalloc
import zipfile
import fastnn.datasets
assert "numpy" not in sys.modules
from fastnn.datasets import write_atomically
print(sorted(name for name in sys.modules if name.startswith("fastnn.datasets.")))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['fastnn.datasets.writing']"


def test_names_of_the_package():
    assert set(datasets.__all__) <= set(dir(datasets))
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        datasets.lode  # noqa: B018
