"""Encoding of the columns of a table in an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.datasets.cells import BOOLEANS
from fastnn.export import onnx_graph as graphs
from fastnn.export.onnx_graph import TEXT_DOMAIN, Graph
from fastnn.export.table import PlainTable, what_to_pass
from fastnn.extras import require

if TYPE_CHECKING:
    from fastnn.tables.codes import ColumnCode

DOUBLE = np.dtype(np.float64)
DOC = "A table: an input for each column, named as it is, of shape (samples, 1)."


def table_to_onnx(table: PlainTable, input_dtype: str) -> Any:
    """Implementation of :func:`fastnn.export.to_onnx` for tables.

    Parameters
    ----------
    table : PlainTable
    input_dtype : {"float32", "float64"}
        Data type of columns of numbers, and of the values of a regression.

    Returns
    -------
    onnx.ModelProto
    """
    onnx = require("onnx", "ONNX export")
    plain, given = table.members[0], np.dtype(input_dtype)
    names = [code.name for code in table.columns]
    if "" in names:
        raise ValueError(
            "a column without a name cannot be an input of ONNX; name it, or leave it out"
        )
    unique = _namer(names)
    wanted = ["variable"] if plain.is_regression else ["label", "probabilities"]
    outputs = [unique(name, name) for name in wanted]
    graph = Graph(plain.dtype, unique, output_dtype=DOUBLE)
    inputs = []
    for code in table.columns:
        kind = onnx.helper.np_dtype_to_tensor_dtype(_dtype_of(code, given))
        doc = what_to_pass(code, "float" if given == np.float32 else "double")
        value = onnx.helper.make_tensor_value_info(code.name, kind, ["samples", 1], doc)
        inputs.append(value)
    doc = DOC
    if table.encoding is None:
        kind, x, doc = onnx.helper.np_dtype_to_tensor_dtype(given), "X", ""
        inputs = [onnx.helper.make_tensor_value_info("X", kind, ["samples", plain.sizes[0]])]
        x = x if given == DOUBLE else graph.cast(x, DOUBLE)
    else:
        x = encoded(graph, table, given)
    _predictions(graph, table, x, outputs, given)
    return graphs.make_model(graph, inputs, graphs.make_outputs(plain, outputs, given), doc)


def _namer(taken: Iterable[str]) -> Callable[..., str]:
    """Create a function that returns unique names, different from those of the columns."""
    used, count = set(taken), [0]

    def unique(name: str, proposal: str = "") -> str:
        while not proposal or proposal in used:
            proposal, count[0] = f"{name}_{count[0]}", count[0] + 1
        used.add(proposal)
        return proposal

    return unique


def _dtype_of(code: ColumnCode, given: np.dtype) -> np.dtype:
    """Data type of an input; object for text."""
    if code.kind == "category" or (code.kind == "boolean" and code.texts):
        return np.dtype(object)
    return DOUBLE if code.kind == "date" else given


def _predictions(
    graph: Graph, table: PlainTable, x: str, outputs: list[str], given: np.dtype
) -> None:
    """Add the network, or the weighted mean of several."""
    members, plain = table.members, table.members[0]
    out = outputs[-1]
    if len(members) == 1:
        if plain.is_regression and given != DOUBLE:
            graph.cast(graphs.values(graph, plain, x), given, out=out)
            return
        graphs.add_network(graph, plain, x, outputs)
        return
    each = graphs.values if plain.is_regression else graphs.probabilities
    dtype = DOUBLE if plain.is_regression else graph.dtype
    terms = [
        graph.add("Mul", each(graph, member, x), graph.constant("weight", weight, dtype))
        for member, weight in zip(members, table.weights, strict=True)
    ]
    if plain.is_regression and given != DOUBLE:
        graph.cast(graph.add("Sum", *terms), given, out=out)
        return
    mean = graph.add("Sum", *terms, out=out)
    if plain.is_regression:
        return
    graphs.name_classes(graph, plain, graph.add("ArgMax", mean, axis=1, keepdims=0), outputs[0])


def encoded(graph: Graph, table: PlainTable, given: np.dtype) -> str:
    """Add the encoding of the columns: float64, shape (samples, encoded columns)."""
    parts = _Parts(graph, table)
    parts.add_numbers([c for c in table.columns if c.kind == "number"], given)
    parts.add_booleans([c for c in table.columns if c.kind == "boolean" and not c.texts], given)
    parts.add_dates([c for c in table.columns if c.kind == "date"])
    for code in table.columns:
        if code.kind == "category" or (code.kind == "boolean" and code.texts):
            parts.add_text(code)
    x = parts.in_order()
    encoding = table.encoding
    assert encoding is not None
    if encoding.shift is not None and encoding.factor is not None:
        x = graph.add("Sub", x, graph.constant("shift", encoding.shift, DOUBLE))
        x = graph.add("Mul", x, graph.constant("factor", encoding.factor, DOUBLE))
        if encoding.scaling == "robust-clip":
            from fastnn.tables.encoding import CLIP

            x = graphs.clipped(graph, x, CLIP)
    return x


class _Parts:
    """Groups of encoded columns in any order, with the final position (slot) of each column.

    Columns of the same kind are computed together.
    """

    def __init__(self, graph: Graph, table: PlainTable) -> None:
        self.graph, self.slots = graph, table.slots()
        self.parts: list[str] = []
        self.order: list[int] = []

    def add(self, x: str, slots: Iterable[int]) -> None:
        """Add a matrix whose columns belong to these slots; -1 for unused columns."""
        self.parts.append(x)
        self.order += slots

    def in_order(self) -> str:
        """Concatenate all encoded columns in the order of their slots."""
        x = self._concat(self.parts)
        n = max(self.order) + 1
        places = [self.order.index(slot) for slot in range(n)]
        if places == list(range(len(self.order))):
            return x
        return self.graph.add("Gather", x, self.graph.constant("order", np.array(places)), axis=1)

    def _concat(self, parts: list[str]) -> str:
        return parts[0] if len(parts) == 1 else self.graph.add("Concat", *parts, axis=1)

    def _double(self, codes: list[ColumnCode], given: np.dtype) -> str:
        x = self._concat([code.name for code in codes])
        return x if given == DOUBLE else self.graph.cast(x, DOUBLE)

    def _constant(self, name: str, values: Any) -> str:
        return self.graph.constant(name, np.asarray(values, np.float64), DOUBLE)

    def add_numbers(self, codes: list[ColumnCode], given: np.dtype) -> None:
        """Add numbers, with missing values filled; their logarithms; flags of missing values."""
        if not codes:
            return
        x = self._double(codes, given)
        gaps = self._gaps(codes, x, given)
        fill = self._constant("fill", [code.fill[0] for code in codes])
        x = self.graph.add("Where", gaps, fill, x)
        self.add(x, [self.slots[c.name][0] for c in codes])
        if any(code.floor for code in codes):
            floor = self._constant("floor", [code.floor or 1.0 for code in codes])
            logs = self.graph.add("Log", self.graph.add("Max", x, floor))
            self.add(logs, [self.slots[c.name][1] if c.floor else -1 for c in codes])
        self._add_flags(codes, gaps)

    def _gaps(self, codes: list[ColumnCode], x: str, given: np.dtype) -> str:
        """Mask of NaN and of the numbers that count as missing, in the precision of the input."""
        gaps = self.graph.add("IsNaN", x)
        declared = [code.codes_of_gaps() for code in codes]
        for k in range(max(map(len, declared))):
            values = [row[k] if k < len(row) else np.nan for row in declared]  # NaN equals nothing
            same = self.graph.add("Equal", x, self._constant("gap", np.array(values, given)))
            gaps = self.graph.add("Or", gaps, same)
        return gaps

    def _add_flags(self, codes: list[ColumnCode], gaps: str) -> None:
        slots = [self.slots[code.name][-1] if code.flag else -1 for code in codes]
        if max(slots) >= 0:
            self.add(self.graph.cast(gaps, DOUBLE), slots)

    def add_booleans(self, codes: list[ColumnCode], given: np.dtype) -> None:
        """Add booleans: 1 becomes 1, 0 becomes -1, anything else 0."""
        if not codes:
            return
        x = self._double(codes, given)
        if any(code.codes_of_gaps() for code in codes):
            nan = self._constant("nan", np.nan)
            x = self.graph.add("Where", self._gaps(codes, x, given), nan, x)
        one, zero = self._constant("one", 1.0), self._constant("zero", 0.0)
        no = self.graph.add("Where", self.graph.add("Equal", x, zero), one, zero)
        yes = self.graph.add("Where", self.graph.add("Equal", x, one), one, zero)
        slots = [self.slots[code.name][0] for code in codes]
        self.add(self.graph.add("Sub", yes, no), slots)

    def add_text(self, code: ColumnCode) -> None:
        """Add the lookup of text: yes and no, or categories."""
        graph, slots = self.graph, self.slots[code.name]
        if code.kind == "category" and len(code.categories) != 2:
            x = graph.add(
                "OneHotEncoder",
                code.name,
                domain=TEXT_DOMAIN,
                cats_strings=code.categories,
                zeros=1,  # all zeros for an unknown category
            )
            flat = graph.constant("flat", np.array([-1, len(code.categories)]))
            self.add(graph.cast(graph.add("Reshape", x, flat), DOUBLE), slots)
            return
        known = (
            dict(zip(code.categories, (1.0, -1.0), strict=True)) if code.categories else _words()
        )
        known = {word: value for word, value in known.items() if not is_declared(word, code)}
        x = graph.add(
            "LabelEncoder",
            code.name,
            domain=TEXT_DOMAIN,
            keys_strings=list(known),
            values_floats=list(known.values()),
            default_float=0.0,
        )
        self.add(graph.cast(x, DOUBLE), slots[:1])

    def add_dates(self, codes: list[ColumnCode]) -> None:
        """Add the parts of dates, by the Gregorian calendar."""
        if not codes:
            return
        seconds = self._concat([code.name for code in codes])
        gaps = self._gaps(codes, seconds, DOUBLE)
        seconds = self.graph.add("Where", gaps, self._constant("zero", 0.0), seconds)
        origins = [code.origin for code in codes]
        for part, x in self._date_parts(seconds, origins).items():
            slots, fill = [], []
            for code in codes:
                there = part in code.parts
                k = code.parts.index(part) if there else -1
                slots.append(self.slots[code.name][k] if there else -1)
                fill.append(code.fill[k] if there else 0.0)
            if max(slots) >= 0:
                self.add(self.graph.add("Where", gaps, self._constant("fill", fill), x), slots)
        self._add_flags(codes, gaps)

    def _date_parts(self, seconds: str, origins: list[float]) -> dict[str, str]:
        """Year, month, weekday, hour and age; floor division is exact for whole numbers."""
        graph, constants = self.graph, dict[float, str]()

        def number(x: str | float) -> str:
            if isinstance(x, str):
                return x
            if x not in constants:
                constants[x] = self._constant("number", x)
            return constants[x]

        def do(operator: str, *terms: str | float) -> str:
            return graph.add(operator, *map(number, terms))

        def whole(x: str | float, divisor: float) -> str:
            return do("Floor", do("Div", x, divisor))

        def rest(x: str, divisor: float) -> str:
            return do("Sub", x, do("Mul", whole(x, divisor), divisor))

        days = whole(seconds, 86400.0)
        # Years begin in March, so that leap days come last; 400 years have 146,097 days.
        from_march = do("Add", days, 719468.0)  # since 0000-03-01
        era, day = whole(from_march, 146097.0), rest(from_march, 146097.0)
        leaps = do("Sub", whole(day, 36524.0), whole(day, 1460.0))
        leaps = do("Sub", leaps, whole(day, 146096.0))
        year = whole(do("Add", day, leaps), 365.0)
        before = do("Add", do("Mul", year, 365.0), whole(year, 4.0))
        day = do("Sub", day, do("Sub", before, whole(year, 100.0)))
        month = whole(do("Add", do("Mul", day, 5.0), 2.0), 153.0)  # March is 0
        late = whole(month, 10.0)  # 1 in January and February
        year = do("Add", do("Add", year, do("Mul", era, 400.0)), late)
        age = do("Sub", self._constant("origin", origins), do("Div", seconds, 86400.0))
        return {
            "year": year,
            "month": do("Sub", do("Add", month, 3.0), do("Mul", late, 12.0)),
            "weekday": rest(do("Add", days, 3.0), 7.0),
            "hour": do("Div", rest(seconds, 86400.0), 3600.0),
            "age": age,
        }


def is_declared(word: str, code: ColumnCode) -> bool:
    """Whether a word for yes or no counts as missing."""
    from fastnn.tables.columns import Column
    from fastnn.tables.missing import matches

    return bool(matches(Column(code.name, np.array([word], object)), code.missing)[0])


def _words() -> dict[str, float]:
    """Common words for yes (1) and no (-1)."""
    found = {"1": 1.0, "1.0": 1.0, "0": -1.0, "0.0": -1.0}
    for yes, no in BOOLEANS:
        for word, value in ((yes, 1.0), (no, -1.0)):
            found |= dict.fromkeys((word, word.upper(), word.title()), value)
    return found
