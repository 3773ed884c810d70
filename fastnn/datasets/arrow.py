"""Reading text files with pyarrow if installed, which is several times as fast as NumPy.

pyarrow only splits lines into cells and reads plain numbers. All other cells are interpreted by
the same code as with NumPy, so that results do not depend on whether pyarrow is installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.datasets import cells

SMALLEST = 1 << 20  # characters below which importing pyarrow takes longer than it saves
_GAPS = sorted({w for gap in cells.GAPS for w in (gap, gap.upper(), gap.title())})
_GAPS += ["NaN", "NaT", "<NA>", "#N/A"]


def columns_by_arrow(
    text: str,
    separator: str,
    numeric: Sequence[bool],
    converted: Callable[[int, list[str]], np.ndarray],
) -> list[np.ndarray] | None:
    """Read the columns of a text.

    Parameters
    ----------
    text : str
        Lines of cells.
    separator : str
    numeric : sequence of bool
        Which columns seem to contain only numbers and missing values.
    converted : callable
        Function that converts a list of strings of a column, given by number, to an array.

    Returns
    -------
    list of ndarray, or None
        None if pyarrow is not installed, does not suit the text, or rejects a line.
    """
    if len(text) < SMALLEST or '"' in text or separator == " " or len(numeric) < 2:
        return None
    try:
        import pyarrow as pa
        import pyarrow.csv
    except ImportError:
        return None
    data = pa.py_buffer(text.encode("utf-8"))
    names = [str(k) for k in range(len(numeric))]
    numeric = list(numeric)
    while True:
        types = {
            name: pa.float64() if number else pa.dictionary(pa.int32(), pa.string())
            for name, number in zip(names, numeric, strict=True)
        }
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(data),
                read_options=pyarrow.csv.ReadOptions(column_names=names),
                parse_options=pyarrow.csv.ParseOptions(delimiter=separator, quote_char=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=types, null_values=_GAPS, strings_can_be_null=False
                ),
            )
            break
        except pa.ArrowInvalid as error:
            # Only a cell that is not a plain number can be handled: read its column as strings.
            odd = re.search(r"In CSV column #(\d+): .*conversion error", str(error))
            if odd is None or not numeric[int(odd[1])]:
                return None
            numeric[int(odd[1])] = False
    columns = []
    for k, (name, number) in enumerate(zip(names, numeric, strict=True)):
        column = table.column(name).combine_chunks()
        if number:
            columns.append(_values(column, np.float64))
        else:
            texts = converted(k, column.dictionary.to_pylist())
            columns.append(texts[_values(column.indices, np.int32)])
    return columns


def _values(column: Any, dtype: Any) -> np.ndarray:
    """Values of a pyarrow array, NaN for nulls; pyarrow's own ``to_numpy`` imports pandas."""
    valid, data = column.buffers()
    start, end = column.offset, column.offset + len(column)
    values = np.frombuffer(data, dtype, end)[start:].copy()
    if column.null_count:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), count=end, bitorder="little")
        values[bits[start:] == 0] = np.nan
    return values
