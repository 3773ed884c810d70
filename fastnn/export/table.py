"""A model of tables for exports: the encoding of its columns, and its networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.export.from_models import describe
from fastnn.export.pipeline import is_pipeline, scaled_targets
from fastnn.export.plain import PlainNetwork
from fastnn.validation import as_matrix

if TYPE_CHECKING:
    from fastnn.tables.codes import ColumnCode
    from fastnn.tables.columns import Column
    from fastnn.tables.encoding import Encoding

MISSING_FRACTION = 0.15  # fraction of missing values in the random rows of self-tests


class RawRows(NamedTuple):
    """Rows of a table in the form compiled code takes.

    Attributes
    ----------
    numbers : ndarray of float64, shape (rows, number columns)
        NaN for missing values. Booleans are 1 and 0, dates seconds since 1970-01-01 00:00 UTC.
    codes : ndarray of int32, shape (rows, columns of categories)
        Positions in ``ColumnCode.categories``; -1 for a missing value or an unknown category.
    """

    numbers: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class PlainTable:
    """The encoding of a table and the networks after it, or an ensemble without an encoding.

    Attributes
    ----------
    encoding : fastnn.tables.Encoding or None
        None for an ensemble that takes rows of numbers, which are then ``RawRows.numbers``.
    members : tuple of PlainNetwork
        Networks whose values or probabilities are averaged.
    weights : tuple of float
        Weights of the members; their sum is 1.
    """

    encoding: Encoding | None
    members: tuple[PlainNetwork, ...]
    weights: tuple[float, ...] = (1.0,)

    @property
    def columns(self) -> list[ColumnCode]:
        """Columns used as inputs, in the order of training."""
        columns = () if self.encoding is None else self.encoding.columns
        return [code for code in columns if code.kind != "drop"]

    @property
    def numbers(self) -> list[ColumnCode]:
        """Inputs represented by numbers: numbers, booleans and dates."""
        return [code for code in self.columns if code.kind != "category"]

    @property
    def categories(self) -> list[ColumnCode]:
        """Inputs that are categories."""
        return [code for code in self.columns if code.kind == "category"]

    def slots(self) -> dict[str, range]:
        """Indices of the encoded columns of each input."""
        found, first = {}, 0
        for code in self.columns:
            found[code.name] = range(first, first := first + len(code.outputs()))
        return found

    def raw(self, table: Any) -> RawRows:
        """Convert the rows of a table.

        Parameters
        ----------
        table : table with the columns of training

        Returns
        -------
        RawRows

        Raises
        ------
        ValueError
            If a column is missing or cannot be read.
        """
        if self.encoding is None:
            x = as_matrix("vectors", table, self.members[0].sizes[0], np.dtype(np.float64))
            return RawRows(x, np.empty((len(x), 0), np.int32))
        from fastnn.tables.columns import columns_of

        self.encoding.transform(table)  # raises if a column is missing or unreadable
        columns = columns_of(table)
        by_name = {column.name: column for column in columns}
        if not by_name.keys() >= {code.name for code in self.columns}:  # no names: by position
            every = zip(self.encoding.columns, columns, strict=True)
            by_name = {code.name: column for code, column in every}
        n = len(columns[0])
        numbers = [_numbers_of(code, by_name[code.name]) for code in self.numbers]
        codes = [_codes_of(code, by_name[code.name]) for code in self.categories]
        return RawRows(
            np.array(numbers, np.float64).reshape(len(numbers), n).T,
            np.array(codes, np.int32).reshape(len(codes), n).T,
        )

    def columns_of(self, rows: RawRows) -> list[Column]:
        """Convert rows to columns for ``Encoding.transform``."""
        from fastnn.tables.columns import Column

        numbers, codes, found = iter(rows.numbers.T), iter(rows.codes.T), []
        for code in self.columns:
            if code.kind == "category":
                names = np.array([*code.categories, None], object)
                which = next(codes)
                inside = (which >= 0) & (which < len(code.categories))
                found.append(Column(code.name, names[np.where(inside, which, -1)]))
                continue
            values = next(numbers)
            if code.kind == "date":
                there = ~np.isnan(values)
                moments = np.full(len(values), "NaT", "datetime64[us]")
                moments[there] = np.round(values[there] * 1e6).astype(np.int64).astype("M8[us]")
                values = moments
            found.append(Column(code.name, values))
        return found

    def random_rows(self, n: int, seed: int = 0) -> RawRows:
        """Random rows similar to the training data, with missing values and categories."""
        rng = np.random.default_rng(seed)
        if self.encoding is None:
            usual = [self._usual(k, 0.0) for k in range(self.members[0].sizes[0])]
            middle, spread = np.transpose(usual)
            x = middle + spread * rng.standard_normal((n, len(usual)))
            return RawRows(x, np.empty((n, 0), np.int32))
        slots, numbers = self.slots(), np.empty((n, len(self.numbers)))
        for k, code in enumerate(self.numbers):
            if code.kind == "boolean":
                numbers[:, k] = rng.integers(0, 2, n)
            elif code.kind == "date":
                days = rng.uniform(-30, 1500, n)  # days before the latest date; some after it
                numbers[:, k] = np.round((code.origin - days) * 86400)
            else:
                middle, spread = self._usual(slots[code.name][0], code.fill[0])
                numbers[:, k] = middle + spread * rng.standard_normal(n)
        numbers[rng.random(numbers.shape) < MISSING_FRACTION] = np.nan
        codes = np.empty((n, len(self.categories)), np.int32)
        for k, code in enumerate(self.categories):
            codes[:, k] = rng.integers(-1, len(code.categories), n)
        return RawRows(numbers, codes)

    def _usual(self, slot: int, fill: float) -> tuple[float, float]:
        """Center and spread of a column of numbers, if the model knows them."""
        encoding = self.encoding
        shift, scale = (None, None) if encoding is None else (encoding.shift, encoding.factor)
        if shift is None or scale is None:
            shift, scale = self.members[0].input_shift, self.members[0].input_scale
        if shift is None or scale is None:
            return fill, 1.0
        return float(shift[slot]), 1 / float(scale[slot]) if scale[slot] else 0.0

    def expected(self, rows: RawRows) -> np.ndarray:
        """Expected values or probabilities, by the NumPy reference, shape (rows, outputs)."""
        x = rows.numbers
        if self.encoding is not None:
            from fastnn.tables.remarks import Remarks

            x = self.encoding.transform(self.columns_of(rows), Remarks())  # of random rows
        total: Any = 0.0
        for plain, weight in zip(self.members, self.weights, strict=True):
            net = replace(plain, classes=None).to_network("numpy")
            found = net.predict(x) if plain.is_regression else net.predict_proba(x)
            total = total + weight * found.astype(np.float64)
        return total.reshape(len(x), -1)


def describe_table(model: Any) -> PlainTable | None:
    """Encoding and networks of a model of tables or an ensemble; None for any other model.

    Parameters
    ----------
    model : TableModel, TabularClassifier, TabularRegressor, Ensemble, PlainTable or any other
        May also be a pipeline of scikit-learn that begins with a TableEncoder.

    Returns
    -------
    PlainTable or None
    """
    if isinstance(model, PlainTable):
        return model
    from fastnn.network.ensemble import Ensemble
    from fastnn.tables.model import TableModel

    if isinstance(getattr(model, "ensemble_", None), Ensemble):  # result of a search
        model = TableModel(model.encoding_, model.ensemble_)
    ensemble = model.network if isinstance(model, TableModel) else model
    if isinstance(ensemble, Ensemble):
        if ensemble.spec.outputs_per_target > 1:
            raise ValueError(
                f"an export averages values and probabilities, not what networks of the loss "
                f"{ensemble.loss_name} give; export one of its networks"
            )
        members = tuple(map(describe, ensemble.networks))
        encoding = getattr(model, "encoding", None)
        return PlainTable(encoding, members, tuple(ensemble.weights.tolist()))
    if isinstance(model, TableModel):
        network: Any = model.network
        return PlainTable(model.encoding, (describe(network),))
    module = type(model).__module__
    if module.startswith(("fastnn.network", "fastnn.export")):  # avoid importing scikit-learn
        return None
    from fastnn.tables.base import BaseTabular

    if isinstance(model, BaseTabular):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model)
        return describe_table(TableModel(model.encoding_, model._averaged()))
    return _of_pipeline(model) if is_pipeline(model) else None


def _of_pipeline(model: Any) -> PlainTable | None:
    """Convert a pipeline that begins with a TableEncoder, or a TransformedTargetRegressor."""
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    from fastnn.tables.encoder import TableEncoder

    check_is_fitted(model)
    if not hasattr(model, "steps"):
        inner = describe_table(model.regressor_)
        if inner is None:
            return None
        members = [scaled_targets(model, plain) for plain in inner.members]
        return PlainTable(inner.encoding, tuple(members), inner.weights)
    steps = [pair for pair in model.steps if pair[1] not in (None, "passthrough")]
    first = steps[0][1]
    if isinstance(first, TableEncoder):
        return PlainTable(first.encoding_, (describe(Pipeline(steps[1:])),))
    return describe_table(first) if len(steps) == 1 else None


def what_to_pass(code: ColumnCode, dtype: str = "double") -> str:
    """Describe an input of an exported graph."""
    dtype = "double" if code.kind == "date" else dtype
    if code.kind == "category":
        return 'text; "" for a missing value'
    if code.kind == "boolean":
        if code.texts:
            return 'text, yes or no, true or false, 1 or 0; "" for a missing value'
        return f"{dtype}, 1 or 0; {what_is_missing(code)} for a missing value"
    if code.kind == "date":
        dtype += ", seconds since 1970-01-01 00:00 UTC"
    return f"{dtype}{code.measured()}; {what_is_missing(code)} for a missing value"


def what_is_missing(code: ColumnCode, nan: str = "NaN") -> str:
    """The numbers that mean a missing value, such as "NaN or -999"."""
    gaps = [f"{gap:.15g}" for gap in code.codes_of_gaps()]
    return " or ".join([nan, *gaps[:3], *(["..."] if gaps[3:] else [])])


def _numbers_of(code: ColumnCode, column: Column) -> np.ndarray:
    from fastnn.tables.kinds import read_booleans, read_dates, read_numbers

    if code.kind == "date":
        moments = read_dates(column, code.order)[0]
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)
    return (read_numbers if code.kind == "number" else read_booleans)(column)[0]


def _codes_of(code: ColumnCode, column: Column) -> np.ndarray:
    from fastnn.tables.columns import as_texts

    number = {category: k for k, category in enumerate(code.categories)}
    return np.array([number.get(text, -1) for text in as_texts(column).tolist()], np.int32)
