"""The part of an exported C file that checks its predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastnn.export.c_source import Source

N_VECTORS = 8  # samples of the self-test
# Largest difference from the expected values that the self-test allows, relative to the largest
# expected value: about a hundred rounding errors, more than a different order of summation causes.
TOLERANCE = {"float32": "1e-5f", "float64": "1e-12"}


class SelfTest:
    """Generates the program that compares with predictions of fastnn, as part of a source file.

    Parameters
    ----------
    source : fastnn.export.c.Source
    """

    def __init__(self, source: Source) -> None:
        self.source, self.plain, self.name = source, source.plain, source.name

    def text(self) -> str:
        """The complete self-test; expected values are from the NumPy reference."""
        source, plain, name = self.source, self.plain, self.name
        t = source.type
        net = replace(plain, classes=None).to_network("numpy")
        rows, n = len(source.vectors), source.outputs
        if plain.is_regression:
            expected = net.predict(source.vectors).reshape(rows, n)
        else:
            expected = net.predict_proba(source.vectors)
        suffix = source.entries[-1][0]
        call = "predict" if plain.is_regression else "predict_proba"
        declare, check = self._test_of_classes(suffix)
        shift = 0.0 if plain.target_shift is None else plain.target_shift
        scale = source.number(float(np.abs(expected - shift).max()) or 1.0)
        kind = source.entries[-1][1]
        values = kind if plain.is_regression else t
        own = "" if len(source.entries) == 1 else self._test_of_floats(call, expected)
        table, declare_limits, relative = "", "", TOLERANCE[plain.dtype.name]
        limit = f"{relative} * {scale}"
        if source.jacobian is not None:
            table = source.jacobian.test_table(replace(plain, classes=None))
            own += source.jacobian.test_lines()
            declare_limits = f"    const {t} relative = {relative};\n"
            limit = f"relative * {scale}"
        return (
            f"#ifdef {name.upper()}_TEST\n#include <stdio.h>\n\n"
            f"{source.table(f'{name}_test_x', source.vectors, kind == 'double')}\n"
            f"{source.table(f'{name}_test_y', expected, values == 'double')}\n"
            f"{table}int main(void)\n{{\n{declare_limits}"
            f"    const {t} allowed = {limit};\n"
            f"    {t} largest = 0;\n"
            "    int wrong = 0;\n"
            f"    for (int k = 0; k < {rows}; k++) {{\n"
            f"        const {kind} *x = {name}_test_x + k * {plain.sizes[0]};\n"
            f"        {values} y[{n}];\n"
            f"{declare}"
            f"        {name}_{call}{suffix}(x, y);\n"
            f"        for (int j = 0; j < {n}; j++) {{\n"
            f"            const {t} difference = ({t})fabs(y[j] - {name}_test_y[k * {n} + j]);\n"
            "            if (!(difference <= allowed))\n"
            "                wrong++;\n"
            "            if (difference > largest)\n"
            "                largest = difference;\n"
            "        }\n"
            f"{check}{own}"
            "    }\n"
            f'    printf("{rows} vectors, %d wrong, largest difference %g\\n", wrong, '
            "(double)largest);\n"
            "    return wrong != 0;\n}\n#endif\n"
        )

    def _test_of_classes(self, suffix: str) -> tuple[str, str]:
        """Declaration and statements that compare predicted classes with the probabilities."""
        f, name, n = self.source.f, self.name, self.source.outputs
        if self.plain.is_regression:
            return "", ""
        if self.plain.is_multilabel:
            return f"        int labels[{n}];\n", (
                f"        {name}_predict{suffix}(x, labels);\n"
                f"        for (int j = 0; j < {n}; j++)\n"
                f"            if (labels[j] ? y[j] < 0.5{f} : y[j] > 0.5{f})\n"
                f"                wrong++;\n"
            )
        return "", (
            f"        for (int j = 0; j < {n}; j++)\n"
            f"            if (y[j] > y[{name}_predict{suffix}(x)])\n"
            f"                wrong++;\n"
        )

    def _test_of_floats(self, call: str, expected: np.ndarray) -> str:
        """Statements that compare the functions for float with those for double."""
        name, n_in, n = self.name, self.plain.sizes[0], self.source.outputs
        scale = float(np.abs(expected).max()) or 1.0
        return (
            f"        float xf[{n_in}], yf[{n}];\n"
            f"        for (int i = 0; i < {n_in}; i++)\n"
            "            xf[i] = (float)x[i];\n"
            f"        {name}_{call}(xf, yf);\n"
            f"        for (int j = 0; j < {n}; j++)\n"
            f"            if (!(fabs((double)yf[j] - (double)y[j]) <= 1e-5 * {scale}))\n"
            "                wrong++;\n"
        )
