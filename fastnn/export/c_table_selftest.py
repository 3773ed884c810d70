"""Self-test of the C source of a model of tables: a program with rows and their predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.export.c_selftest import TOLERANCE

if TYPE_CHECKING:
    from fastnn.export.c_table import TableSource


class TableSelfTest:
    """Generates the self-test.

    Parameters
    ----------
    source : TableSource
    """

    def __init__(self, source: TableSource) -> None:
        self.source = source

    def text(self) -> str:
        """The program that compares with predictions of the NumPy reference."""
        source = self.source
        name, n, rows = source.name, source.outputs, len(source.rows.codes)
        expected = source.table.expected(source.rows)
        shift = source.plain.target_shift if source.plain.is_regression else None
        scale = float(np.abs(expected - (0.0 if shift is None else shift)).max()) or 1.0
        limit = TOLERANCE[source.plain.dtype.name].rstrip("f")
        numbers, codes, checks = "0", "0", []
        tables = [_doubles(f"{name}_test_y", expected)]
        if width := source.rows.numbers.shape[1]:
            tables.append(_doubles(f"{name}_test_numbers", source.rows.numbers))
            numbers = f"{name}_test_numbers + k * {width}"
        given = [f"const double *numbers = {numbers};", f"const int *codes = {codes};"]
        if source.code:
            tables.append(_integers(f"{name}_test_codes", source.rows.codes))
            codes = f"{name}_test_codes + k * {len(source.code)}"
            given[1] = f"const int *codes = {codes};"
        if source.table.encoding is None:
            given = [f"const double *x = {numbers};"]
        for code in source.table.categories:
            own = source.code[code.name]
            checks += [
                f"    for (int k = 0; k < {len(code.categories)}; k++)",
                f"        wrong += {name}_code_{own}({name}_categories_{own}[k]) != k;",
                f'    wrong += {name}_code_{own}("") != -1;',
            ]
        if source.dates:
            checks.append(f"    wrong += {name}_seconds(2024, 2, 29, 12, 30, 5) != 1709209805.0;")
        return "\n".join(
            [
                f"#ifdef {name.upper()}_TEST\n#include <stdio.h>\n",
                *tables,
                "int main(void)\n{",
                f"    const double allowed = {limit} * {scale!r};",
                "    double largest = 0;",
                "    int wrong = 0;",
                *checks,
                f"    for (int k = 0; k < {rows}; k++) {{",
                *(f"        {line}" for line in given),
                *self._calls(),
                f"        for (int j = 0; j < {n}; j++) {{",
                f"            const double difference = fabs(y[j] - {name}_test_y[k * {n} + j]);",
                "            if (!(difference <= allowed))",
                "                wrong++;",
                "            if (difference > largest)",
                "                largest = difference;",
                "        }",
                "    }",
                f'    printf("{rows} vectors, %d wrong, largest difference %g\\n", wrong,',
                "           largest);",
                "    return wrong != 0;\n}\n#endif\n",
            ]
        )

    def _calls(self) -> list[str]:
        """Lines that call the public functions for a row."""
        source = self.source
        name, n = source.name, source.outputs
        lines = [f"        double y[{n}];"]
        if source.plain.is_regression:
            return [*lines, f"        {name}_predict({source.passed}, y);"]
        if source.plain.is_multilabel:
            lines.append(f"        int labels[{n}];")
        lines.append(f"        {name}_predict_proba({source.passed}, y);")
        if source.plain.is_multilabel:
            lines.append(f"        {name}_predict({source.passed}, labels);")
            wrong = "labels[j] != (y[j] > 0.5)"
        else:
            wrong = f"y[j] > y[{name}_predict({source.passed})]"
        return [*lines, f"        for (int j = 0; j < {n}; j++)", f"            wrong += {wrong};"]


def _doubles(name: str, values: np.ndarray) -> str:
    numbers = ["NAN" if np.isnan(value) else repr(value) for value in values.ravel().tolist()]
    return _table("double", name, numbers)


def _integers(name: str, values: np.ndarray) -> str:
    return _table("int", name, list(map(str, values.ravel().tolist())))


def _table(kind: str, name: str, numbers: list[str]) -> str:
    lines = [", ".join(numbers[k : k + 6]) for k in range(0, len(numbers), 6)]
    body = ",\n    ".join(lines)
    return f"static const {kind} {name}[{len(numbers)}] = {{\n    {body}}};\n"
