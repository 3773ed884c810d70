"""Text files by pyarrow, where it is installed: several times as fast as NumPy's reader.

It splits lines into cells and reads plain numbers, no more. What cells mean is decided by the same
code as for NumPy's reader, so that a file means the same with and without pyarrow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.datasets import cells

SMALLEST = 1 << 20  # characters, from which on its import pays
_GAPS = sorted({w for gap in cells.GAPS for w in (gap, gap.upper(), gap.title())})
_GAPS += ["NaN", "NaT", "<NA>", "#N/A"]


def columns_by_arrow(
    text: str, separator: str, numeric: Sequence[bool], converted: Callable[[list[str]], np.ndarray]
) -> list[np.ndarray] | None:
    """The columns of a text.

    Parameters
    ----------
    text : str
        Lines of cells.
    separator : str
    numeric : sequence of bool
        Which columns seem to be numbers or gaps.
    converted : callable
        What makes an array of texts.

    Returns
    -------
    list of ndarray, or None
        None if pyarrow is not there, or refuses a line.
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
            # A cell that is no plain number; anything else is wrong with the line.
            odd = re.search(r"In CSV column #(\d+): .*conversion error", str(error))
            if odd is None or not numeric[int(odd[1])]:
                return None
            numeric[int(odd[1])] = False
    columns = []
    for name, number in zip(names, numeric, strict=True):
        column = table.column(name).combine_chunks()
        if number:
            columns.append(_values(column, np.float64))
        else:
            texts = converted(column.dictionary.to_pylist())
            columns.append(texts[_values(column.indices, np.int32)])
    return columns


def _values(column: Any, dtype: Any) -> np.ndarray:
    """The numbers of an array of pyarrow, NaN for nulls; its own ``to_numpy`` imports pandas."""
    valid, data = column.buffers()
    start, end = column.offset, column.offset + len(column)
    values = np.frombuffer(data, dtype, end)[start:].copy()
    if column.null_count:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), count=end, bitorder="little")
        values[bits[start:] == 0] = np.nan
    return values
