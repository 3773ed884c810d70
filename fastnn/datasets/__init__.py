"""Built-in and file data as plain arrays.

>>> from fastnn import datasets
>>> data = datasets.load("moons")
>>> data.X.shape, data.task
((200, 2), 'classification')
"""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
import io
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets.columns import choose_columns
from fastnn.datasets.task import guess_task

BUILT_IN = (
    "moons",
    "circles",
    "blobs",
    "quantiles",
    "iris",
    "wine",
    "digits",
    "breast_cancer",
    "diabetes",
    "mnist",
)
SUFFIXES = (".csv", ".tsv", ".npz", ".parquet")
TASKS = ("classification", "regression")

N_SYNTHETIC = 200

# How CSV files write that a value is not there.
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and targets, and where held-out ones come from.

    Attributes
    ----------
    name : str
    X : ndarray, shape (samples, features)
    y : ndarray, shape (samples,)
    task : {"classification", "regression"}
    feature_names : tuple of str
    target_name : str
    X_test, y_test : ndarray or None
        The test set, where the data have one.
    scale : float
        What a network should divide the features by; 255 for pixels kept as bytes.
    draw : callable or None
        ``draw(n, seed)`` gives ``n`` fresh samples ``X, y`` of synthetic data.
    notes : tuple of str
        What was decided about the columns, if it is worth saying.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    task: str
    feature_names: tuple[str, ...]
    target_name: str
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    scale: float = 1.0
    draw: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None
    notes: tuple[str, ...] = ()

    def inputs(self, X: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
        """Features as a network takes them: of a real type, divided by ``scale``.

        Parameters
        ----------
        X : ndarray
            ``self.X``, ``self.X_test`` or rows of them.
        dtype : numpy dtype

        Returns
        -------
        ndarray
        """
        return scaled(X, self.scale, dtype)


def scaled(X: np.ndarray, scale: float, dtype: Any) -> np.ndarray:
    """``X / scale`` in ``dtype``, with one copy at most."""
    if scale == 1.0:
        return np.asarray(X, dtype)
    X = np.array(X, dtype)
    X /= np.dtype(dtype).type(scale)
    return X


def load(
    name_or_path: str | os.PathLike,
    *,
    target: str | int | None = None,
    task: str | None = None,
    features: Sequence[str] | None = None,
    data_dir: str | os.PathLike | None = None,
    seed: int = 0,
) -> Dataset:
    """Load built-in data or a file.

    Parameters
    ----------
    name_or_path : str or path
        moons, circles, blobs, quantiles (two synthetic features each), iris, wine,
        digits, breast_cancer, diabetes, mnist; or a .csv, .tsv, .npz or .parquet
        file. An NPZ file holds ``X`` and ``y``, or one array a column.
    target : str or int, optional
        Column of the targets, by name or position; files need it (an NPZ file
        with ``X`` takes ``y``).
    task : {"classification", "regression"}, optional
        Default: by the target's values (:func:`fastnn.datasets.task.guess_task`).
    features : sequence of str, optional
        Columns to take, in this order; default: all but the target. See :func:`load_features`.
    data_dir : path, optional
        Folder of the MNIST files; default: the environment variable
        ``FASTNN_DATA_DIR``, then the cache folder, then a download into it.
    seed : int, default=0
        Of the synthetic data.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the data cannot be used; the message names file and column.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> load("iris").y[:2].tolist()
    ['setosa', 'setosa']
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; got {task!r}")
    name = os.fspath(name_or_path)
    if name in BUILT_IN:
        if target is not None:
            raise ValueError(f"{name} is built in and has its own target; leave out target")
        if name in _SYNTHETIC:
            return _synthetic(name, seed, task)
        if name == "mnist":
            return _mnist(data_dir, task)
        return _from_sklearn(name, task)
    return _from_file(Path(name), target, task, features)


def load_features(
    path: str | os.PathLike,
    features: Sequence[str],
    *,
    target: str | None = None,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Features alone, from a file that need not have targets.

    Parameters
    ----------
    path : path
    features : sequence of str
        Column names. Columns are found by name; in order if the file has no names, or if these
        only count ("0", "1", ... or "x0", "x1", ...), and their number is right.
    target : str, optional
        A column that is no feature, if the file has it.
    notes : list of str, optional
        Gets what was decided about the columns.

    Returns
    -------
    ndarray of float64, shape (samples, len(features))

    Raises
    ------
    ValueError
        If a column is missing or cannot be used; the message names it.
    """
    table = _read(Path(path))
    if table.X is not None:
        if table.X.shape[1] != len(features):
            raise ValueError(
                f"{path}: X has {table.X.shape[1]} columns; "
                f"the network was trained with {len(features)}"
            )
        _check_numbers(table.X, [str(name) for name in features], table.path)
        return table.X
    columns, decided = choose_columns(table.names, features, table.path, target)
    if notes is not None:
        notes += decided
    return _feature_matrix(table, columns)


def train_test_split(
    y: np.ndarray, fraction: float, seed: int, *, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two parts, drawn at random.

    Parameters
    ----------
    y : ndarray, shape (samples,)
    fraction : float
        Share of the second part.
    seed : int
    stratify : bool
        Take the share of every class; a class with one sample stays in the first.

    Returns
    -------
    train, test : ndarray of int, sorted
    """
    rng = np.random.default_rng(seed)
    groups = np.unique(y, return_inverse=True)[1] if stratify else np.zeros(len(y), np.int64)
    parts = []
    for group in range(groups.max(initial=0) + 1):
        members = rng.permutation(np.flatnonzero(groups == group))
        parts.append(members[: min(round(fraction * len(members)), len(members) - 1)])
    test = np.sort(np.concatenate(parts))
    return np.setdiff1d(np.arange(len(y)), test), test


# --- built in -----------------------------------------------------------------


def _moons(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Same numbers as ``sklearn.datasets.make_moons(n, noise=0.2, random_state=seed)``.

    Written out because importing scikit-learn takes longer than training on them.
    """
    rng = np.random.RandomState(seed)
    outer, inner = np.linspace(0, np.pi, n // 2), np.linspace(0, np.pi, n - n // 2)
    X = np.vstack(
        [
            np.append(np.cos(outer), 1 - np.cos(inner)),
            np.append(np.sin(outer), 1 - np.sin(inner) - 0.5),
        ]
    ).T
    y = np.repeat([0, 1], [len(outer), len(inner)])
    order = np.arange(n)
    rng.shuffle(order)
    return X[order] + rng.normal(scale=0.2, size=X.shape), y[order]


def _circles(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_circles

    return make_circles(n, noise=0.1, factor=0.5, random_state=seed)


def _blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_blobs

    # Fixed centres, so that another seed draws from the same distribution.
    centers = [(-2.5, -1.0), (0.0, 2.5), (2.5, -1.0), (0.0, -4.0)]
    return make_blobs(n, centers=centers, cluster_std=1.0, random_state=seed)


def _quantiles(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import make_gaussian_quantiles

    return make_gaussian_quantiles(n_samples=n, n_features=2, n_classes=3, random_state=seed)


_SYNTHETIC = {"moons": _moons, "circles": _circles, "blobs": _blobs, "quantiles": _quantiles}


def _synthetic(name: str, seed: int, task: str | None) -> Dataset:
    """Two features, classes as integers, fresh samples at will."""
    draw = _SYNTHETIC[name]
    X, y = draw(N_SYNTHETIC, seed)
    y = y.astype(np.int64)
    return Dataset(name, X, y, task or "classification", ("x0", "x1"), "class", draw=draw)


def _from_sklearn(name: str, task: str | None) -> Dataset:
    """scikit-learn's small tables; classes by their names, digits as integers."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    y = data.target
    if name in ("iris", "wine", "breast_cancer") and task != "regression":
        y = data.target_names[y]
    elif name == "digits":
        y = y.astype(np.int64)
    features = tuple(str(feature) for feature in data.feature_names)
    y, task = _check_target(y, task, "target", name)
    scale = 16.0 if name == "digits" else 1.0
    return Dataset(name, data.data, y, task, features, "target", scale=scale)


# --- MNIST --------------------------------------------------------------------

# SHA-256 and size of the contents. Mirrors compress them differently, so the bytes of a
# .gz file say nothing.
MNIST_FILES = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        47040016,
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        60008,
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        7840016,
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        10008,
    ),
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://systemds.apache.org/assets/datasets/mnist/",
)


def cache_dir() -> Path:
    """Folder where downloaded data are kept."""
    import pooch

    return Path(pooch.os_cache("fastnn"))


def _mnist(data_dir: str | os.PathLike | None, task: str | None) -> Dataset:
    """60,000 and 10,000 images of 28 by 28 bytes."""
    given = data_dir or os.environ.get("FASTNN_DATA_DIR")
    folders = [*([Path(given).expanduser()] if given else []), cache_dir()]
    parts = [_mnist_contents(name, folders) for name in MNIST_FILES]
    X, y, X_test, y_test = (
        np.frombuffer(part, np.uint8, offset=16).reshape(-1, 784)
        if k % 2 == 0
        else np.frombuffer(part, np.uint8, offset=8).astype(np.int64)
        for k, part in enumerate(parts)
    )
    features = tuple(f"pixel{k}" for k in range(784))
    return Dataset(
        "mnist", X, y, task or "classification", features, "digit", X_test, y_test, 255.0
    )


def _mnist_contents(name: str, folders: Sequence[Path]) -> bytes:
    """One of the four files, out of the first folder that has it or from a mirror."""
    cache = folders[-1]
    for folder in folders:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                contents = _checked_mnist(path.read_bytes(), name)
                if contents is not None:
                    return contents
                if folder is not cache:
                    raise ValueError(f"{path} is damaged: its contents are not MNIST's {name}")
    reasons = []
    for mirror in MNIST_MIRRORS:
        try:
            raw = _download(f"{mirror}{name}.gz")
        except Exception as error:  # whatever pooch, requests or the network come up with
            reasons.append(f"{mirror.split('/')[2]}: {type(error).__name__}")
            continue
        contents = _checked_mnist(raw, name)
        if contents is None:
            reasons.append(f"{mirror.split('/')[2]}: wrong contents")
            continue
        write_atomically(cache / f"{name}.gz", raw)
        return contents
    raise FileNotFoundError(
        f"MNIST's {name}.gz is not in {' or '.join(map(str, folders))} and could not be "
        f"downloaded ({'; '.join(reasons)}): copy the four files (train- and t10k-, "
        "images-idx3-ubyte and labels-idx1-ubyte, gzipped or not) into a folder and name it "
        "with --data-dir or FASTNN_DATA_DIR"
    )


def _checked_mnist(raw: bytes, name: str) -> bytes | None:
    """The contents, gzipped or not; None if they are not those of ``name``."""
    digest, size = MNIST_FILES[name]
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
                raw = file.read(size + 1)  # never more than what is expected
        except (OSError, EOFError, ValueError, zlib.error):
            return None
    if len(raw) != size or hashlib.sha256(raw).hexdigest() != digest:
        return None
    return raw


def _download(url: str) -> bytes:
    """What lies at ``url``; the caller checks it."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        with tempfile.TemporaryDirectory() as folder:
            downloader = pooch.HTTPDownloader(timeout=20)
            path = pooch.retrieve(url, None, "file", folder, downloader=downloader)
            return Path(path).read_bytes()
    finally:
        logger.setLevel(level)


def write_atomically(path: Path, contents: bytes) -> None:
    """Write a file that is there in full or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(
            errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)
        ) from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


# --- files --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns by name; numbers where all values are, else objects with None for missing.

    ``X`` is the matrix of an NPZ file that has one; the columns are then its other arrays.
    """

    path: Path
    names: list[str]
    columns: list[np.ndarray]
    X: np.ndarray | None = None
    typed: bool = True

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[self.names.index(name)]


def _from_file(
    path: Path, target: str | int | None, task: str | None, features: Sequence[str] | None
) -> Dataset:
    """A table's columns as features and target."""
    table = _read(path)
    if target is None and table.X is not None and "y" in table.names:
        target = "y"
    name = _column_name(table, target)
    y = table[name]
    if not table.typed and y.dtype.kind == "f" and np.array_equal(y, np.floor(y)):
        y = _whole(y)  # a text file cannot say which type a 1 has
    y, task = _check_target(y, task, name, str(path))
    notes: list[str] = []
    if table.X is not None:
        X, names = table.X, [f"x{k}" for k in range(table.X.shape[1])]
        _check_numbers(X, names, path)
    elif features:
        columns, notes = choose_columns(table.names, features, path, name)
        names, X = list(features), _feature_matrix(table, columns)
    else:
        names = [other for other in table.names if other != name]
        X = _feature_matrix(table, names)
    if len(X) != len(y):
        raise ValueError(f"{path}: X has {len(X)} rows, {name!r} has {len(y)}")
    return Dataset(path.stem, X, y, task, tuple(names), name, notes=tuple(notes))


def _read(path: Path) -> _Table:
    """The table in a file."""
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".npz": _read_npz, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None or not path.exists():
        known = f"built in are {', '.join(BUILT_IN)}; files end in {', '.join(SUFFIXES)}"
        if path.exists():
            raise ValueError(f"{path}: unknown kind of file; {known}")
        raise FileNotFoundError(f"no data set and no file {str(path)!r}; {known}")
    table = reader(path)
    for k, name in enumerate(table.names):
        if name in table.names[:k]:
            raise ValueError(f"{path}: two columns are called {name!r}")
    if table.X is None and (not table.columns or len(table.columns[0]) == 0):
        raise ValueError(f"{path}: there are no rows")
    return table


def _read_csv(path: Path) -> _Table:
    """CSV with or without a line of names.

    Not read with pandas, so that a file means the same with and without it.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            line = file.readline()
            delimiter = max(",;\t", key=line.count)
            first = next(csv.reader([line], delimiter=delimiter), [])
            if not first:
                raise ValueError(f"{path}: the first line is empty")
            has_names = not all(_is_number(cell) for cell in first)
            if has_names:
                names = [cell.strip() for cell in first]
            else:
                names = [str(k) for k in range(len(first))]
                file.seek(0)
            start = file.tell()
            matrix = _all_numbers(file, delimiter, len(names))
            if matrix is not None:
                return _Table(path, names, list(matrix.T), typed=False)
            file.seek(start)
            reader = csv.reader(file, delimiter=delimiter)
            rows = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise ValueError(
                        f"{path}, line {reader.line_num + has_names}: {len(row)} values; "
                        f"the first line has {len(names)}"
                    )
                rows.append(row)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text file in UTF-8 ({error})") from None
        except csv.Error as error:
            raise ValueError(f"{path}: {error}") from None
    return _Table(path, names, [_column(cells) for cells in zip(*rows, strict=True)], typed=False)


def _all_numbers(file: Any, delimiter: str, width: int) -> np.ndarray | None:
    """The rest of a CSV file if it is a full matrix of numbers; None if not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no rows
        try:
            matrix = np.loadtxt(file, delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
        except ValueError:
            return None
    return matrix if matrix.shape[1] == width and len(matrix) else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in _MISSING


def _column(cells: Sequence[str]) -> np.ndarray:
    """Numbers with NaN for missing, or strings with None for missing."""
    values = [cell.strip() for cell in cells]
    missing = [value.lower() in _MISSING for value in values]
    try:
        return np.array(
            [np.nan if gone else float(value) for value, gone in zip(values, missing, strict=True)]
        )
    except ValueError:
        return np.array(
            [None if gone else value for value, gone in zip(values, missing, strict=True)], object
        )


def _read_npz(path: Path) -> _Table:
    """Arrays ``X`` and others, or one array a column."""
    try:
        # Opened here: np.load leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, zlib.error):
        # NumPy's own words advise allow_pickle, which runs what the file says.
        raise ValueError(
            f"{path}: not a NumPy archive (.npz) of plain numbers and strings"
        ) from None
    X = arrays.pop("X", None)
    if X is not None and X.ndim != 2:
        raise ValueError(f"{path}: X must be 2-D (samples, features); got shape {X.shape}")
    if X is not None and X.shape[0] == 0:
        raise ValueError(f"{path}: there are no rows")
    if X is None:
        for name, array in arrays.items():
            if array.ndim != 1 or len(array) != len(next(iter(arrays.values()))):
                raise ValueError(
                    f"{path}: without an array X every array must be a column of the same "
                    f"length; {name!r} has shape {array.shape}"
                )
    return _Table(path, list(arrays), list(arrays.values()), X)


def _read_parquet(path: Path) -> _Table:
    """Columns of a Parquet file."""
    try:
        import pandas as pd

        frame = pd.read_parquet(path)
    except ImportError:
        raise ImportError(
            "reading Parquet needs pandas and pyarrow; install them with: "
            'pip install "fastnn-cpu[parquet]"'
        ) from None
    except OSError:
        raise
    except Exception as error:  # pyarrow has its own kinds
        raise ValueError(f"{path}: not a Parquet file ({_first_line(error)})") from None
    columns = []
    for _, series in frame.items():
        if pd.api.types.is_bool_dtype(series) and not series.hasnans:
            columns.append(series.to_numpy(bool))
        elif pd.api.types.is_integer_dtype(series) and not series.hasnans:
            columns.append(series.to_numpy(np.int64))
        elif pd.api.types.is_numeric_dtype(series):
            columns.append(series.to_numpy(np.float64, na_value=np.nan))
        else:
            values = series.astype(object)
            columns.append(values.where(series.notna(), None).to_numpy(object))
    return _Table(path, [str(name) for name in frame.columns], columns)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _column_name(table: _Table, target: str | int | None) -> str:
    """Name of the target's column, given by name or position."""
    listed = ", ".join(map(repr, table.names[:12])) + (", ..." if len(table.names) > 12 else "")
    listed = f"columns: {listed or 'none'}"
    if target is None:
        raise ValueError(f"{table.path}: name the target's column with target (--target); {listed}")
    if target in table.names:
        return str(target)
    try:
        return table.names[int(target)]
    except (ValueError, IndexError):
        raise ValueError(f"{table.path}: there is no column {target!r}; {listed}") from None


def _feature_matrix(table: _Table, names: Sequence[str]) -> np.ndarray:
    """Columns as one matrix of float64."""
    if not names:
        raise ValueError(f"{table.path}: there is no column beside the target")
    for name in names:
        if name not in table.names:
            raise ValueError(f"{table.path}: there is no column {name!r}, which the features need")
        column = table[name]
        if column.dtype.kind not in "fiub":
            row = next((k for k, value in enumerate(column) if value is not None), 0)
            raise ValueError(
                f"{table.path}: column {name!r} is not numeric ({column[row]!r} in row {row + 1}); "
                "leave it out or encode it as numbers"
            )
    X = np.column_stack([table[name].astype(np.float64, copy=False) for name in names])
    _check_numbers(X, names, table.path)
    return X


def _check_numbers(X: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Raise where values are missing or infinite."""
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{path}: X must be numbers; got dtype {X.dtype}")
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        row, k = bad[0]
        what = "a missing value" if np.isnan(X[row, k]) else "an infinite value"
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise ValueError(f"{path}: column {names[k]!r} has {what} in row {row + 1}{more}")


def _check_target(y: np.ndarray, task: str | None, name: str, where: str) -> tuple[np.ndarray, str]:
    """Targets without gaps, and what kind of task they make."""
    if y.ndim != 1:
        raise ValueError(f"{where}: target {name!r} must be 1-D; got shape {y.shape}")
    missing = np.isnan(y) if y.dtype.kind == "f" else np.array([value is None for value in y])
    if missing.any():
        raise ValueError(
            f"{where}: target {name!r} has a missing value in row {missing.argmax() + 1}"
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise ValueError(
            f"{where}: target {name!r} has an infinite value in row {np.isinf(y).argmax() + 1}"
        )
    if y.dtype.kind not in "fiub":
        y = np.array([str(value) for value in y])
    if task is None:
        task = guess_task(y)
    if task == "classification" and y.dtype.kind == "f":
        if not np.array_equal(y, np.floor(y)):
            raise ValueError(f"{where}: target {name!r} has fractions, which are no class labels")
        y = _whole(y)
    if task == "regression":
        if y.dtype.kind == "U":
            raise ValueError(f"{where}: target {name!r} is not numeric ({str(y[0])!r} in row 1)")
        y = y.astype(np.float64)
    return y, task


def _whole(y: np.ndarray) -> np.ndarray:
    """Whole floats as int64 where they fit."""
    return y.astype(np.int64) if (np.abs(y) < 2.0**53).all() else y
