"""Export of a model of tables to one C99 file: the encoding of the columns and the networks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.export.c_selftest import N_VECTORS
from fastnn.export.c_source import Source, c_string
from fastnn.export.c_table_selftest import TableSelfTest
from fastnn.export.plain import PlainNetwork
from fastnn.export.table import PlainTable, RawRows, what_is_missing

if TYPE_CHECKING:
    from fastnn.tables.codes import ColumnCode


def table_to_c(table: PlainTable, name: str, vectors: Any) -> str:
    """Implementation of :func:`fastnn.export.to_c` for tables.

    Parameters
    ----------
    table : PlainTable
    name : str
    vectors : table, optional
        Rows of the self-test.

    Returns
    -------
    str
    """
    rows = table.random_rows(4 * N_VECTORS) if vectors is None else table.raw(vectors)
    return TableSource(table, name, rows).text()


class TableSource:
    """Generates the source, part by part.

    Parameters
    ----------
    table : PlainTable
    name : str
    rows : RawRows
        Rows of the self-test.
    """

    def __init__(self, table: PlainTable, name: str, rows: RawRows) -> None:
        self.table, self.name, self.rows = table, name, rows
        self.plain = table.members[0]
        self.shared_source = Source(self.plain, name, np.empty(0))  # parts shared by the members
        self.members = [
            Source(_standardising(plain), f"{name}_net{k}", np.empty(0), shared=name)
            for k, plain in enumerate(table.members)
        ]
        self.outputs = self.shared_source.outputs
        # parameters of the public functions, and the arguments of a call
        self.arguments, self.passed = "const double *numbers, const int *codes", "numbers, codes"
        if table.encoding is None:
            self.arguments, self.passed = "const double *x", "x"
        numbers = _identifiers(code.name for code in table.numbers)
        codes = _identifiers(code.name for code in table.categories)
        self.number = dict(zip([code.name for code in table.numbers], numbers, strict=True))
        self.code = dict(zip([code.name for code in table.categories], codes, strict=True))

    def text(self) -> str:
        """The complete source."""
        upper = self.name.upper()
        counts = {"NUMBERS": len(self.number), "CODES": len(self.code), "OUTPUTS": self.outputs}
        if self.table.encoding is None:
            counts = {"FEATURES": self.plain.sizes[0], "OUTPUTS": self.outputs}
        parts = [
            self._comment(),
            "#include <math.h>\n#include <string.h>\n",
            "".join(f"#define {upper}_{what} {n}\n" for what, n in counts.items()),
            self._enumerations(),
            self._prototypes(),
            *map(self._categories, self.table.categories),
        ]
        if self.dates:
            parts += [self._seconds(), self._date()]
        parts += [self._encode(), self.shared_source.dense(), *self.shared_source.activations()]
        for member in self.members:
            suffix, kind = member.entries[-1]
            predict = member.regression if self.plain.is_regression else member.probabilities
            parts += [*member.tables(), member.net_inputs(), member.standardized(suffix, kind)]
            parts.append(f"static {predict(suffix, kind)}")
        if self.plain.labels is not None:
            parts.append(
                f"{self.shared_source.labels()} = {{{self.shared_source.label_values()}}};\n"
            )
        parts += [self._outputs(), self._label(), TableSelfTest(self).text()]
        return "\n".join(part for part in parts if part)

    @property
    def dates(self) -> list[ColumnCode]:
        """Columns of dates."""
        return [code for code in self.table.numbers if code.kind == "date"]

    def _comment(self) -> str:
        import fastnn

        name, sizes = self.name, "-".join(map(str, self.plain.sizes))
        head = f"the mean of {len(self.members)} networks"
        if len(self.members) == 1:
            head = f"a {sizes} network"
        head = head.capitalize() if self.table.encoding is None else f"A table's columns and {head}"
        lines = [
            f"{head}, outputs: {self.plain.output}.",
            f"Written by fastnn {fastnn.__version__}.",
            f"Self-test: cc -std=c99 -D{name.upper()}_TEST FILE -lm",
            "",
        ]
        what = {
            "number": "a number{}",
            "boolean": "1 or 0",
            "date": f"seconds since 1970-01-01 00:00 UTC ({name}_seconds)",
        }
        for k, code in enumerate(self.table.numbers):
            about = what[code.kind].format(_comment(code.measured()))
            about += f", {what_is_missing(code, 'NAN')} if missing"
            lines.append(f"numbers[{k}]  {_comment(code.name)}: {about}")
        for k, code in enumerate(self.table.categories):
            own = self.code[code.name]
            lines.append(
                f"codes[{k}]  {_comment(code.name)}: position in {name}_categories_{own} "
                f"({name}_code_{own}), -1 if missing or another one"
            )
        if self.table.encoding is None:
            return "/* " + "\n   ".join(lines[:3]) + " */\n"
        lines += ["", "Compile without -ffast-math, which knows no NAN."]
        return "/* " + "\n   ".join(lines).replace("\n   \n", "\n\n") + " */\n"

    def _enumerations(self) -> str:
        """Names of the positions of columns."""
        found = []
        for what, names in (("number", self.number), ("code", self.code)):
            if names:
                each = ",\n    ".join(f"{self.name}_at_{what}_{own}" for own in names.values())
                found.append(f"enum {{\n    {each}\n}};\n")
        return "".join(found)

    def _head(self, what: str) -> str:
        return f"{self.name}_{what}({self.arguments}"

    def _prototypes(self) -> str:
        name, plain = self.name, self.plain
        lines = [f"int {name}_code_{own}(const char *text);" for own in self.code.values()]
        if self.dates:
            lines.append(f"{self._seconds_head()};")
        if plain.is_regression:
            lines.append(f"void {self._head('predict')}, double *y);")
        else:
            lines.append(f"void {self._head('predict_proba')}, double *p);")
            lines.append(f"{self._label_head()};")
        if plain.labels is not None:
            lines.append(f"extern {self.shared_source.labels()};")
        return "\n".join(lines) + "\n"

    def _categories(self, code: ColumnCode) -> str:
        """The array of the categories of a column, and the function that looks one up."""
        own, n = self.code[code.name], len(code.categories)
        table = f"{self.name}_categories_{own}"
        names = ",\n    ".join(map(c_string, code.categories))
        return (
            f"static const char *const {table}[] = {{\n    {names}}};\n\n"
            f"int {self.name}_code_{own}(const char *text)\n{{\n"
            f"    for (int k = 0; text && k < {n}; k++)\n"
            f"        if (strcmp(text, {table}[k]) == 0)\n"
            "            return k;\n"
            "    return -1;\n}\n"
        )

    def _seconds_head(self) -> str:
        return (
            f"double {self.name}_seconds(int year, int month, int day, int hour, int minute, "
            "double second)"
        )

    def _seconds(self) -> str:
        """The function that converts a date to seconds since 1970."""
        return (
            f"{self._seconds_head()}\n{{\n"
            "    /* years begin in March; 400 of them have 146097 days */\n"
            "    const double y = year - (month <= 2), m = (month + 9) % 12;\n"
            "    const double days = 365 * y + floor(y / 4) - floor(y / 100) + floor(y / 400)\n"
            "        + floor((153 * m + 2) / 5) + day - 1 - 719468;\n"
            "    return 86400 * days + 3600.0 * hour + 60.0 * minute + second;\n}\n"
        )

    def _date(self) -> str:
        """The function that computes year, month, weekday and hour of a date."""
        return (
            f"static void {self.name}_date(double seconds, double *part)\n{{\n"
            "    const double days = floor(seconds / 86400), z = days + 719468;\n"
            "    const double era = floor(z / 146097), e = z - 146097 * era;\n"
            "    const double y = floor(\n"
            "        (e - floor(e / 1460) + floor(e / 36524) - floor(e / 146096)) / 365);\n"
            "    const double d = e - (365 * y + floor(y / 4) - floor(y / 100));\n"
            "    const double m = floor((5 * d + 2) / 153);\n"
            "    part[0] = y + 400 * era + (m >= 10);\n"
            "    part[1] = m + (m >= 10 ? -9 : 3);\n"
            "    part[2] = days + 3 - 7 * floor((days + 3) / 7);\n"
            "    part[3] = (seconds - 86400 * days) / 3600;\n}\n"
        )

    def _encode(self) -> str:
        """The function that encodes the columns as inputs of the networks."""
        encoding, name = self.table.encoding, self.name
        if encoding is None:
            return ""
        n = encoding.n_outputs
        tables, lines = (
            [],
            [
                f"static void {name}_encode(const double *numbers, const int *codes, double *x)",
                "{",
            ],
        )
        if self.dates:
            lines.append("    double part[4];")
        lines.append("    double v;" if self.number else "    (void)numbers;")
        lines.append("    int c;" if self.code else "    (void)codes;")
        lines += [f"    for (int i = 0; i < {n}; i++)", "        x[i] = 0;"]
        slots = self.table.slots()
        for code in self.table.columns:
            lines += self._column(code, slots[code.name])
        if encoding.shift is not None and encoding.factor is not None:
            tables = [
                self.shared_source.table(f"{name}_{what}", values, double=True)
                for what, values in (("shift", encoding.shift), ("factor", encoding.factor))
            ]
            lines += [f"    for (int i = 0; i < {n}; i++) {{"]
            lines.append(f"        x[i] = (x[i] - {name}_shift[i]) * {name}_factor[i];")
            if encoding.scaling == "robust-clip":
                from fastnn.tables.encoding import CLIP

                lines.append(f"        x[i] /= hypot(1.0, x[i] / {CLIP});")
            lines.append("    }")
        return "\n".join([*tables, *lines, "}\n"])

    def _column(self, code: ColumnCode, slots: range) -> list[str]:
        """Statements that encode one column."""
        first = slots[0]
        if code.kind == "category":
            n, read = len(code.categories), f"    c = codes[{self._at('code', code)}];"
            if n == 2:
                return [read, f"    x[{first}] = c == 0 ? 1 : c == 1 ? -1 : 0;"]
            return [read, f"    if (c >= 0 && c < {n})", f"        x[{first} + c] = 1;"]
        lines = [f"    v = numbers[{self._at('number', code)}];"]
        if gaps := code.codes_of_gaps():
            tests = " || ".join(f"v == {gap!r}".replace("inf", "INFINITY") for gap in gaps)
            lines += [f"    if ({tests})", "        v = NAN;"]
        if code.kind == "number":
            lines.append(f"    x[{first}] = isnan(v) ? {code.fill[0]!r} : v;")
            if code.floor:
                low = repr(code.floor)
                lines.append(f"    x[{first + 1}] = log(x[{first}] > {low} ? x[{first}] : {low});")
        elif code.kind == "boolean":
            lines.append(f"    x[{first}] = v == 1 ? 1 : v == 0 ? -1 : 0;")
        else:
            lines.append(f"    {self.name}_date(v, part);")
            for k, (part, fill) in enumerate(zip(code.parts, code.fill, strict=True)):
                value = f"{code.origin!r} - v / 86400"
                if part != "age":
                    value = f"part[{('year', 'month', 'weekday', 'hour').index(part)}]"
                lines.append(f"    x[{first + k}] = isnan(v) ? {fill!r} : {value};")
        if code.flag:
            lines.append(f"    x[{slots[-1]}] = isnan(v) ? 1 : 0;")
        return lines

    def _at(self, what: str, code: ColumnCode) -> str:
        """Name of the position of a column."""
        own = (self.number if what == "number" else self.code)[code.name]
        return f"{self.name}_at_{what}_{own}"

    def _outputs(self) -> str:
        """The public function for the weighted mean of the networks' values or probabilities."""
        n, weights = self.outputs, self.table.weights
        regression = self.plain.is_regression
        target, call = ("y", "predict") if regression else ("p", "predict_proba")
        kind = "double" if regression else self.shared_source.type
        lines = [
            f"void {self._head(call)}, double *{target})",
            "{",
            f"    {kind} own[{n}];",
        ]
        if self.table.encoding is not None:
            lines += [
                f"    double x[{self.table.encoding.n_outputs}];",
                f"    {self.name}_encode(numbers, codes, x);",
            ]
        for k, (member, weight) in enumerate(zip(self.members, weights, strict=True)):
            suffix = member.entries[-1][0]
            factor = "" if weight == 1 else f"{weight!r} * "
            lines += [
                f"    {member.name}_{call}{suffix}(x, own);",
                f"    for (int j = 0; j < {n}; j++)",
                f"        {target}[j] {'+=' if k else '='} {factor}own[j];",
            ]
        return "\n".join([*lines, "}\n"])

    def _label_head(self) -> str:
        if self.plain.is_multilabel:
            return f"void {self._head('predict')}, int *labels)"
        return f"int {self._head('predict')})"

    def _label(self) -> str:
        """The public function for the most probable class, or for the labels of multilabel."""
        if self.plain.is_regression:
            return ""
        n = self.outputs
        start = (
            f"{self._label_head()}\n{{\n    double p[{n}];\n"
            f"    {self.name}_predict_proba({self.passed}, p);\n"
        )
        if self.plain.is_multilabel:
            return (
                f"{start}    for (int j = 0; j < {n}; j++)\n        labels[j] = p[j] > 0.5;\n}}\n"
            )
        return (
            f"{start}    int best = 0;\n"
            f"    for (int j = 1; j < {n}; j++)\n"
            "        if (p[j] > p[best])\n"
            "            best = j;\n"
            "    return best;\n}\n"
        )


def _standardising(plain: PlainNetwork) -> PlainNetwork:
    """Add scales of the features to a network, so that its functions take doubles."""
    if plain.input_shift is not None:
        return plain
    n = plain.sizes[0]
    return replace(plain, input_shift=np.zeros(n), input_scale=np.ones(n), smooth_clip=None)


def _identifiers(names: Iterable[str]) -> list[str]:
    """Convert names to distinct parts of C identifiers."""
    counts: Counter[str] = Counter()
    found: list[str] = []
    for name in names:
        own = base = re.sub(r"\W", "_", name, flags=re.ASCII)
        while own in found:
            counts[base] += 1
            own = f"{base}_{counts[base] + 1}"
        found.append(own)
    return found


def _comment(name: str) -> str:
    """Make a name safe inside of a C comment."""
    return re.sub(r"[^ -~]|\*/|/\*|\\|\?\?", "_", name)
