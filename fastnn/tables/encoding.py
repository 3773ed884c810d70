"""Encoding of a table as plain data, applied and stored without scikit-learn.

``codes.py`` defines how each kind of column is encoded.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from unicodedata import normalize

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastnn.datasets.table import did_you_mean, listed
from fastnn.network.scales import apply_smooth_clip
from fastnn.tables.codes import ColumnCode, encode, learn
from fastnn.tables.columns import Column, columns_of, without_records
from fastnn.tables.kinds import KINDS, Guess, guess
from fastnn.tables.missing import by_column, declare
from fastnn.tables.remarks import Remarks

SCALINGS = ("robust-clip", "standard", None)
CLIP = 3.0
FAR = 1e150  # limit before the smooth clip: its square is finite, and the result is the same
VERSION = 1


class _State(BaseModel):
    """The part of an encoding that is stored as JSON."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    version: Literal[1]
    scaling: Literal["robust-clip", "standard"] | None
    columns: list[ColumnCode] = Field(min_length=1)
    positional: bool = False


@dataclass(frozen=True)
class Encoding:
    """A fitted encoding.

    Attributes
    ----------
    columns : tuple of ColumnCode
        In the order of the training table, including columns that are left out.
    scaling : {"robust-clip", "standard"} or None
    positional : bool
        Whether the training table had no column names, so that columns are matched by position.
    shift, factor : ndarray of float64, shape (encoded columns,), or None
        The scaled columns are ``z = (x - shift) * factor``, with "robust-clip" followed by
        ``z / sqrt(1 + (z / 3)^2)``. None without scaling.
    names : tuple of str
        Names of the encoded columns.

    Examples
    --------
    >>> from fastnn.tables import Encoding
    >>> encoding = Encoding.fit({"colour": ["red", "blue", "red"], "size": [1.0, None, 3.5]})
    >>> encoding.names
    ('colour=blue', 'size', 'size=missing')
    >>> encoding.transform({"size": [2.0], "colour": ["blue"]}).shape
    (1, 3)
    """

    columns: tuple[ColumnCode, ...]
    scaling: str | None = None
    positional: bool = False
    shift: np.ndarray | None = None
    factor: np.ndarray | None = None
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = [name for column in self.columns for name in column.outputs()]
        object.__setattr__(self, "names", tuple(_distinct(names)))

    @property
    def n_outputs(self) -> int:
        """Number of encoded columns."""
        return len(self.names)

    @property
    def used(self) -> list[str]:
        """Names of the columns of the table that are not left out."""
        return [column.name for column in self.columns if column.kind != "drop"]

    @classmethod
    def fit(
        cls,
        table: Any,
        *,
        kinds: Mapping[str, str] | None = None,
        scaling: str | None = "robust-clip",
        max_categories: int = 256,
        keep_index: bool = False,
        log_features: bool = False,
        missing_values: Any = None,
        rows: np.ndarray | None = None,
    ) -> Encoding:
        """Learn an encoding.

        Parameters
        ----------
        table : table, or list of Column
            A table, or a mapping of columns.
        kinds : mapping of str to str, optional
            Kinds of columns by name, instead of detecting them.
        scaling, max_categories, keep_index, log_features, missing_values
            See :class:`fastnn.tables.TableEncoder`.
        rows : ndarray of int, optional
            Rows to learn from; kinds are detected from all rows. Default: all.

        Returns
        -------
        Encoding

        Raises
        ------
        ValueError
            If all columns are left out, or if a column is invalid or not of the given kind.

        Examples
        --------
        >>> from fastnn.tables import Encoding
        >>> table = {"colour": ["red", "blue", "red"], "stars": [1, 2, 3]}
        >>> Encoding.fit(table).names
        ('colour=blue', 'stars')
        >>> Encoding.fit(table, kinds={"stars": "category"}).names
        ('colour=blue', 'stars=1', 'stars=2', 'stars=3')
        """
        table = without_records(table)
        columns: list[Column] = table if _are_columns(table) else columns_of(table)
        columns = declare(columns, by_column(missing_values, [column.name for column in columns]))
        kinds = {normalize("NFC", str(name)): kind for name, kind in (kinds or {}).items()}
        _check_kinds(kinds, [column.name for column in columns])
        codes = []
        for column in columns:
            if column.name in kinds:
                found = Guess(kinds[column.name], "as asked")
            else:
                found = guess(column, max_categories, keep_index)
            part = column if rows is None else column.take(rows)
            given = column.name in kinds
            codes.append(learn(part, found, max_categories, given, log_features))
        if all(code.kind == "drop" for code in codes):
            kept = _kept_after_all(codes, columns)
            if kept is None:
                why = "; ".join(f"{code.name}: {code.why}" for code in codes[:8])
                raise ValueError(f"no column is left to learn from ({why})")
            column = columns[kept]
            part = column if rows is None else column.take(rows)
            kind = guess(column, max_categories, keep_index=True)
            codes[kept] = learn(part, kind, max_categories, False)
        encoding = cls(tuple(codes), positional=not _named(table))
        if scaling is None:
            return encoding
        every = columns if rows is None else [column.take(rows) for column in columns]
        shift, factor = _scales(encoding.transform(every), scaling)
        return replace(encoding, scaling=scaling, shift=shift, factor=factor)

    def transform(self, table: Any, remarks: Remarks | None = None) -> np.ndarray:
        """Encode a table.

        Parameters
        ----------
        table : table, or list of Column
            Columns are matched by name, in any order; additional ones are ignored.
        remarks : Remarks, optional
            Collects remarks: ignored columns, unknown categories, values that were clipped before
            the logarithm, and text that is not of the column's kind. If None, warnings are issued
            for the last two.

        Returns
        -------
        ndarray of float64, shape (rows, n_outputs)

        Raises
        ------
        ValueError
            If a column is missing or cannot be read; the message names it.

        Examples
        --------
        >>> from fastnn.tables import Encoding
        >>> table = {"colour": ["red", "blue", "red"], "size": [1.0, None, 3.0]}
        >>> encoding = Encoding.fit(table, scaling=None)
        >>> encoding.transform({"size": [2.0, None], "colour": ["blue", "red"]})
        array([[ 1.,  2.,  0.],
               [-1.,  2.,  1.]])
        """
        columns = table if _are_columns(table) else columns_of(table)
        found = self._find(columns, remarks)
        said = Remarks() if remarks is None else remarks
        out = np.zeros((len(columns[0]), self.n_outputs))
        first = 0
        for code, column in zip(self.columns, found, strict=True):
            width = len(code.outputs())
            if column is not None and width:
                encode(code, column, out[:, first : first + width], said)
            first += width
        if remarks is None:  # otherwise the caller reports values that were replaced
            for line in said.value_lines():
                warnings.warn(line, stacklevel=2)
        if self.shift is not None and self.factor is not None:
            with np.errstate(over="ignore"):
                out -= self.shift
                out *= self.factor
            if self.scaling == "robust-clip":
                np.clip(out, -FAR, FAR, out=out)
                apply_smooth_clip(out, CLIP)
        return out

    def _find(self, columns: Sequence[Column], remarks: Remarks | None) -> list[Column | None]:
        """The column of the table for each training column; None for one that is left out."""
        by_name = {column.name: column for column in columns}
        for code in self.columns:  # files of early versions may have decomposed characters
            if (composed := normalize("NFC", code.name)) in by_name:
                by_name.setdefault(code.name, by_name[composed])
        missing = [name for name in self.used if name not in by_name]
        in_order = self.positional or all(name.removeprefix("x").isdecimal() for name in by_name)
        in_order &= len(columns) == len(self.columns) and len(missing) == len(self.used)
        if missing and in_order:
            if remarks is not None:
                remarks.in_order = True
            return list(columns)
        if missing:
            raise ValueError(
                f"there is no column {listed(missing)}, which the model was trained with; the "
                f"table has {listed([column.name for column in columns])}"
            )
        if self.positional and not set(by_name) <= {code.name for code in self.columns}:
            raise ValueError(
                f"the table has {len(columns)} columns; the model was trained with "
                f"{len(self.columns)}"
            )
        if remarks is not None:
            known = {code.name for code in self.columns}
            remarks.ignored = [column.name for column in columns if column.name not in known]
        return [by_name.get(code.name) if code.kind != "drop" else None for code in self.columns]

    def summary(self) -> list[tuple[str, str]]:
        """Name of each column and description of its encoding.

        Examples
        --------
        >>> from fastnn.tables import Encoding
        >>> table = {"colour": ["red", "blue", "red"], "size": [1.0, None, 3.0]}
        >>> encoding = Encoding.fit(table, scaling=None)
        >>> for name, what in encoding.summary():
        ...     print(name, what, sep=": ")
        colour: 2 categories (blue, red), as +1 and -1
        size: number; 1 of 3 missing (filled with 2), and a missing-value indicator
        """
        return [(code.name, code.what()) for code in self.columns]

    def to_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Arguments of :meth:`from_state`: JSON-serializable data, and float64 arrays by name.

        Examples
        --------
        >>> from fastnn.tables import Encoding
        >>> table = {"colour": ["red", "blue", "red"], "size": [1.0, None, 3.0]}
        >>> state, arrays = Encoding.fit(table).to_state()
        >>> sorted(state), sorted(arrays)
        (['columns', 'positional', 'scaling', 'version'], ['factor', 'shift'])
        """
        state = {
            "version": VERSION,
            "scaling": self.scaling,
            "positional": self.positional,
            "columns": [code.model_dump(exclude_defaults=True) for code in self.columns],
        }
        if self.shift is None or self.factor is None:
            return state, {}
        return state, {"shift": self.shift, "factor": self.factor}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Encoding:
        """Restore an encoding from the result of :meth:`to_state`.

        Raises
        ------
        ValueError
            If the state is invalid; everything in it is checked.

        Examples
        --------
        >>> from fastnn.tables import Encoding
        >>> table = {"colour": ["red", "blue", "red"], "size": [1.0, None, 3.0]}
        >>> encoding = Encoding.fit(table, scaling=None)
        >>> again = Encoding.from_state(*encoding.to_state())
        >>> again.names == encoding.names
        True
        """
        checked = _checked(state)
        lengths = array_lengths(state)
        for name, length in lengths.items():
            array = np.asarray(arrays.get(name, ()), np.float64)
            if array.shape != (length,) or not np.isfinite(array).all():
                raise ValueError(f"table: {name} is not {length} finite numbers")
        own = {name: np.array(arrays[name], np.float64) for name in lengths}
        return cls(tuple(checked.columns), checked.scaling, checked.positional, **own)


def array_lengths(state: Mapping[str, Any]) -> dict[str, int]:
    """Names and lengths of the arrays that belong to a state; ValueError if it is invalid."""
    checked = _checked(state)
    if checked.scaling is None:
        return {}
    n = sum(len(code.outputs()) for code in checked.columns)
    return {"shift": n, "factor": n}


def codes_of(state: Mapping[str, Any]) -> list[ColumnCode]:
    """The columns of a state."""
    return _checked(state).columns


def n_outputs(state: Mapping[str, Any]) -> int:
    """Number of encoded columns of a state."""
    return sum(len(code.outputs()) for code in _checked(state).columns)


def _checked(state: Mapping[str, Any]) -> _State:
    try:
        return _State.model_validate(dict(state))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"table: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _are_columns(table: Any) -> bool:
    return isinstance(table, list) and bool(table) and isinstance(table[0], Column)


def _named(table: Any) -> bool:
    """Whether a table has column names; arrays and lists of rows have none."""
    return not (isinstance(table, (np.ndarray, list)) and not _are_columns(table))


def _distinct(names: Sequence[str]) -> list[str]:
    """Make names unique: repetitions of a name are numbered."""
    counts: Counter[str] = Counter()
    found = []
    for name in names:
        counts[name] += 1
        found.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return found


def _check_kinds(kinds: Mapping[str, str], names: Sequence[str]) -> None:
    for name, kind in kinds.items():
        if name not in names:
            raise ValueError(
                f"columns: there is no column {name!r}; the table has {listed(names)}"
                f"{did_you_mean(name, names)}"
            )
        if kind not in KINDS:
            raise ValueError(
                f"columns: the kind of {name!r} must be one of {', '.join(KINDS)}; got {kind!r}"
            )


def _kept_after_all(codes: Sequence[ColumnCode], columns: Sequence[Column]) -> int | None:
    """Index of the only column of numbers that name the rows, which may be a time, say.

    None if there are several, or other identifiers: nothing can be learnt from distinct texts.
    """
    counting = [k for k, code in enumerate(codes) if code.why == "identifier"]
    if len(counting) != 1 or columns[counting[0]].values.dtype.kind != "f":
        return None
    return counting[0]


def _scales(X: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Shift and factor of each encoded column; the factor of a constant column is 0."""
    low, high = X.min(axis=0), X.max(axis=0)
    if scaling == "standard":
        shift, spread = X.mean(axis=0), X.std(axis=0)
    else:
        q25, shift, q75 = np.quantile(X, (0.25, 0.5, 0.75), axis=0)
        spread = np.where(q75 == q25, 0.5 * (high - low), q75 - q25)
    factor = np.where(low == high, 0.0, 1 / (spread + 1e-30))
    return shift, factor
