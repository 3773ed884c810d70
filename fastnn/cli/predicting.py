"""Implementation of ``fastnn predict``: columns of predictions; large files in parts."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cli.data import input_dtype
from fastnn.cli.models import feature_names, scale_of
from fastnn.cli.output import discard_output, shortest_digits
from fastnn.cli.ranges import OutOfRangeRows, columns_behind
from fastnn.cli.runs import write_text
from fastnn.datasets import check_range, scaled
from fastnn.datasets.layout import Format
from fastnn.datasets.loading import features_of
from fastnn.datasets.table import Table
from fastnn.tables.columns import columns_of
from fastnn.tables.remarks import Remarks
from fastnn.tables.streams import Part, Stream, open_stream
from fastnn.tables.table_writer import TableWriter, whole
from fastnn.training.lines import counting_progress

if TYPE_CHECKING:
    from fastnn.network import Network
    from fastnn.storage import Description
    from fastnn.tables import Encoding

MAX_NUMBERS = 4_000_000  # maximum number of encoded values in one part of a file
MAX_ROWS = 50_000  # maximum number of rows in one part of a file


@dataclass
class Predictor:
    """A model, with counts and remarks collected over all parts that it predicts."""

    net: Network
    description: Description
    encoding: Encoding | None
    proba: bool
    remarks: Remarks = field(default_factory=Remarks)
    notes: list[str] = field(default_factory=list)
    n_rows: int = 0
    n_incomplete: int = 0
    ranges: OutOfRangeRows = field(init=False)

    def __post_init__(self) -> None:
        """Set the names of the columns that are checked against the training range."""
        encoding, training = self.encoding, self.description.training
        names = feature_names(self.net, training) if encoding is None else ()
        self.ranges = OutOfRangeRows(columns_behind(encoding, names))

    def predict(self, table: Table) -> dict[str, list[Any]]:
        """Predict some rows; returns columns of predictions by name."""
        if self.encoding is not None:
            try:
                X = self.encoding.transform(columns_of(table), self.remarks)
            except ValueError as error:
                raise ValueError(f"{table.path}: {error}") from None
            check_range(X, self.net.dtype, self.encoding.names)
            X = X.astype(input_dtype(self.net), copy=False)
        else:
            training = self.description.training
            names = feature_names(self.net, training)
            target = training.get("target")
            own = target if isinstance(target, str) else None
            X, notes = features_of(table, names, own, "keep")
            self.notes += [note for note in notes if note not in self.notes]
            self.n_incomplete += int(np.isnan(X).any(axis=1).sum())
            X = scaled(X, scale_of(self.description), input_dtype(self.net), names)
        self.n_rows += len(X)
        self.ranges.add(self.net, X)
        return columns(self.net, X, self.proba)

    def lines(self, ours: Sequence[str]) -> list[str]:
        """Remarks to print after all rows were predicted.

        Columns in ``ours``, such as the target, are not reported as unused.
        """
        self.remarks.ignored = [name for name in self.remarks.ignored if name not in ours]
        found = [*self.notes, *self.remarks.lines()]
        if self.n_incomplete:
            found.append(
                f"no prediction for {self.n_incomplete:,} of {self.n_rows:,} rows, which have gaps"
            )
        if text := self.ranges.text():
            found.append(f"out of range: {text}")
        return found

    @property
    def part_rows(self) -> int:
        """Number of rows in one part of a file."""
        return int(np.clip(MAX_NUMBERS // self.net.n_features, 256, MAX_ROWS))


def predict_stream(
    predictor: Predictor,
    source: str,
    wanted: Format,
    *,
    out: Path | None,
    append: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict a file or standard input in parts, and write the predictions.

    Parameters
    ----------
    predictor : Predictor
    source : str
        Path of the file; "-" for standard input.
    wanted : Format
        Layout of a text file.
    out : Path or None
        Output file; None for standard output.
    append : bool
        Whether to write the columns of the file as well.
    as_json, quiet : bool
    """
    with contextlib.closing(open_stream(source, wanted)) as stream:
        _predict_parts(predictor, stream, out=out, append=append, as_json=as_json, quiet=quiet)


def _predict_parts(
    predictor: Predictor,
    stream: Stream,
    *,
    out: Path | None,
    append: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    parts = _with_bar(stream.parts(predictor.part_rows), stream.total, stream.unit, quiet)
    if as_json:
        _write_json(predictor, parts, stream.names if append else [], out)
        return
    first = next(parts)
    more = predictor.predict(first.table)
    names = _free_names(list(more), stream.names if append else [])
    measured = [] if predictor.encoding is None else predictor.encoding.used
    header = [*(stream.names if append else []), *names]
    with _quiet_pipe(), TableWriter(out, header, stream.separator, measured) as writer:
        while True:
            rows = first if append else first._replace(rows=[()] * len(next(iter(more.values()))))
            if not append:
                rows = rows._replace(table=Table(first.table.path, [], []))
            writer.write(rows, more)
            found = next(parts, None)
            if found is None:
                break
            first, more = found, predictor.predict(found.table)
    target = str(predictor.description.training.get("target"))
    lines = [] if quiet else [*stream.notes, *predictor.lines([target])]
    sys.stderr.write("".join(f"fastnn: {line}\n" for line in lines))


def _write_json(
    predictor: Predictor, parts: Iterator[Part], names: Sequence[str], out: Path | None
) -> None:
    """Predict all parts and write all columns as one JSON object."""
    result: dict[str, list[Any]] = {name: [] for name in names}
    keys: list[str] = []
    for part in parts:
        more = predictor.predict(part.table)
        keys = keys or _free_names(list(more), names)
        for name, column in zip(names, part.table.columns, strict=False):
            result[name] += [_plain(value) for value in whole(column).tolist()]
        for key, predicted in zip(keys, more.values(), strict=True):
            result.setdefault(key, []).extend(predicted)
    write_json(result, out)


def write_json(result: dict[str, list[Any]], out: Path | None) -> None:
    """Write columns as one JSON object on one line; to standard output if ``out`` is None."""
    text = json.dumps(result) + "\n"
    if out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    elif out.is_dir():
        raise ValueError(f"--out {out}: is a folder")
    else:
        write_text(out, text)


def write_columns(columns: dict[str, list[Any]], out: Path | None) -> None:
    """Write columns as a table, whose format depends on the file name extension.

    The table is written to standard output if ``out`` is None.
    """
    n_rows = len(next(iter(columns.values())))
    nothing = Part(Table(Path(), [], []), [()] * n_rows, n_rows)
    with _quiet_pipe(), TableWriter(out, list(columns)) as writer:
        writer.write(nothing, columns)


def _plain(value: Any) -> Any:
    """Convert a cell to a value that JSON can represent."""
    if value is None or value != value:
        return None
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _free_names(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Names of the prediction columns, with a prefix where the file has a column of that name."""
    return [f"fastnn_{name}" if name in taken else name for name in names]


def _with_bar(parts: Iterator[Part], total: int | None, unit: str, quiet: bool) -> Iterator[Part]:
    """Iterate over the parts; show progress on standard error if there are several."""
    scale = 1 << 20 if unit == "bytes" else 1
    name = "MB" if unit == "bytes" else unit
    first = next(parts, None)
    if first is None:
        return
    yield first
    second = next(parts, None)
    if second is None:
        return
    bar = None if quiet else counting_progress(name, None if total is None else total // scale)
    with bar or contextlib.nullcontext():
        found: Part | None = second
        while found is not None:
            yield found
            if bar is not None:
                bar.set_completed(found.done // scale)
            found = next(parts, None)


@contextlib.contextmanager
def _quiet_pipe() -> Iterator[None]:
    """Context manager that stops silently if the reader of the output exits, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        discard_output()


def _values(net: Network, X: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions by column name, each of shape (samples,) or (samples, targets)."""
    if net.spec.loss == "gaussian":
        mean, deviation = net.predict(X, return_std=True)
        return {"prediction": mean, "prediction_std": deviation}
    predicted = net.predict(X)
    if net.spec.outputs_per_target == 1:
        return {"prediction": predicted}
    assert isinstance(net.quantile, tuple)
    return {f"quantile_{q}": predicted[..., k] for k, q in enumerate(net.quantile)}


def _without_noise(net: Network, predicted: np.ndarray) -> np.ndarray:
    """Round predictions of a float32 network to the digits that float32 can represent.

    The network's outputs are standardised targets: deviations from the mean in units of the
    standard deviation.
    """
    factors = net.scales.target_scale
    if factors is None or net.dtype != np.float32 or predicted.dtype.kind != "f":
        return predicted
    factors = factors[:: net.spec.outputs_per_target]
    known = 7 + np.floor(np.log10(np.abs(factors))).astype(int)  # decimal places
    by_output = predicted.reshape(len(predicted), -1).T
    rounded = [np.round(column, n) for column, n in zip(by_output, known, strict=True)]
    return np.stack(rounded, axis=1).reshape(predicted.shape)


def columns(net: Network, X: np.ndarray, proba: bool) -> dict[str, list[Any]]:
    """Columns of predictions by name, with class probabilities if ``proba``.

    Rows with missing values have None.
    """
    complete = np.isfinite(X).all(axis=1)
    if not complete.all():
        X = X[complete] if complete.any() else np.zeros_like(X[:1])

    def filled(values: np.ndarray) -> list[Any]:
        column = np.full(len(complete), None, object)
        column[complete] = shortest_digits(values[: complete.sum()]).tolist()
        return column.tolist()

    found: dict[str, list] = {}
    for name, values in _values(net, X).items():
        predicted = _without_noise(net, values)
        for k, column in enumerate(predicted.reshape(len(X), -1).T):
            found[name if predicted.ndim == 1 else f"{name}_{k}"] = filled(column)
    if proba:
        probabilities = net.predict_proba(X)
        labels = range(probabilities.shape[1]) if net.classes_ is None else net.classes_
        for label, column in zip(labels, probabilities.T, strict=True):
            found[f"probability_{label}"] = filled(column)
    return found
