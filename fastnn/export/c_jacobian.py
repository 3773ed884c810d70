"""The part of an exported C file that computes the Jacobian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.export.plain import PlainNetwork

if TYPE_CHECKING:
    from fastnn.export.c_source import Source

# f'(z) of each activation from z and a = f(z); {f} is the suffix of the type, {n} the name prefix.
_SLOPES = {
    "identity": "1",
    "tanh": "1 - a * a",
    "sigmoid": "a * (1 - a)",
    "relu": "a > 0 ? 1 : 0",
    "leaky_relu": "a > 0 ? 1 : {alpha}",
    "elu": "a > 0 ? 1 : a + {alpha}",
    "softplus": "-expm1{f}(-a)",
    "silu": "(1 + z - a) / (1 + exp{f}(-z))",
    "selu": "a > 0 ? 1.0507009873554805{f} : a + 1.7580993408473766{f}",
    "mish": "{n}_mish_slope(z)",
    "gelu": "erfc{f}(-z * 0.70710678118654752{f}) / 2 "
    "+ z * exp{f}(-z * z / 2) * 0.39894228040143268{f}",
}


class Jacobian:
    """Generates the functions ``NAME_jacobian`` and their test, as part of a source file.

    Parameters
    ----------
    source : fastnn.export.c.Source
    """

    def __init__(self, source: Source) -> None:
        self.source, self.plain = source, source.plain
        self.name, self.type, self.f = source.name, source.type, source.f

    def prototypes(self) -> str:
        """Declarations of the public functions."""
        return "".join(f"{self._head(*entry)};\n" for entry in self.source.entries)

    def _head(self, suffix: str, kind: str) -> str:
        values = kind if self.plain.is_regression else self.type
        return f"void {self.name}_jacobian{suffix}(const {kind} *x, {values} *out, {kind} *jac)"

    def functions(self) -> str:
        """All functions."""
        parts = [self._mish()] if any(x.activation == "mish" for x in self.plain.layers) else []
        if len(self.plain.layers) > 1:
            parts.append(self._backward())
        parts.append(self._layers())
        return "\n".join(parts + [self._public(*entry) for entry in self.source.entries])

    def _mish(self) -> str:
        t, f = self.type, self.f
        return (
            f"static {t} {self.name}_mish_slope({t} z)\n{{\n"
            f"    const {t} t = tanh{f}((z > 0 ? z : 0) + log1p{f}(exp{f}(-fabs{f}(z))));\n"
            f"    return t + z * (1 - t * t) / (1 + exp{f}(-z));\n}}\n"
        )

    def _backward(self) -> str:
        """The function for the backward pass through the weights of a layer, ``(m, n)``."""
        t = self.type
        return (
            f"static void {self.name}_back(const {t} *dz, int m, int n, const {t} *w, {t} *dx)\n"
            "{\n"
            "    for (int i = 0; i < m; i++, w += n) {\n"
            f"        {t} sum = 0;\n"
            "        for (int j = 0; j < n; j++)\n"
            "            sum += w[j] * dz[j];\n"
            "        dx[i] = sum;\n"
            "    }\n}\n"
        )

    def _layers(self) -> str:
        """The function for the net inputs of the last layer and their Jacobian by its inputs."""
        plain, name, t = self.plain, self.name, self.type
        sizes, last = plain.sizes, len(plain.layers) - 1
        lines = [f"static void {name}_derive(const {t} *x, {t} *z, {t} *jac)", "{"]
        for k in range(last):
            lines.append(f"    {t} a{k}[{sizes[k + 1]}], s{k}[{sizes[k + 1]}];")
        for buffer, needed in (("d", last > 0), ("e", last > 1)):
            if needed:
                lines.append(f"    {t} {buffer}[{max(sizes[1:-1])}];")
        source = "x"
        for k, layer in enumerate(plain.layers):
            target = "z" if k == last else f"a{k}"
            arguments = f"{source}, {sizes[k]}, {sizes[k + 1]}, {name}_w{k}, {name}_b{k}, {target}"
            lines.append(f"    {name}_dense({arguments});")
            if k < last:
                lines += self._activate(k, layer.activation, layer.alpha)
            source = target
        lines.append(f"    for (int k = 0; k < {sizes[-1]}; k++) {{")
        if last == 0:
            lines += [
                f"        for (int i = 0; i < {sizes[0]}; i++)",
                f"            jac[k * {sizes[0]} + i] = {name}_w0[i * {sizes[1]} + k];",
            ]
        else:
            lines += [
                f"        for (int i = 0; i < {sizes[-2]}; i++)",
                f"            d[i] = {name}_w{last}[i * {sizes[-1]} + k] * s{last - 1}[i];",
            ]
        now, other = "d", "e"
        for k in range(last - 1, -1, -1):
            target = other if k else f"jac + k * {sizes[0]}"
            lines.append(
                f"        {name}_back({now}, {sizes[k]}, {sizes[k + 1]}, {name}_w{k}, {target});"
            )
            if k:
                lines += [
                    f"        for (int i = 0; i < {sizes[k]}; i++)",
                    f"            {target}[i] *= s{k - 1}[i];",
                ]
            now, other = other, now
        return "\n".join([*lines, "    }", "}"]) + "\n"

    def _activate(self, k: int, activation: str, alpha: float) -> list[str]:
        """Statements that replace net inputs of hidden layer k by outputs and store the slopes."""
        number = self.source.number(alpha)
        slope = _SLOPES[activation].format(f=self.f, n=self.name, alpha=number)
        value = "z"
        if activation != "identity":
            more = f", {number}" if "{alpha}" in _SLOPES[activation] else ""
            value = f"{self.name}_{activation}(z{more})"
        return [
            f"    for (int j = 0; j < {self.plain.sizes[k + 1]}; j++) {{",
            # shadows z, which outside of the loop is the array of the outputs
            f"        const {self.type} z = a{k}[j], a = {value};",
            f"        a{k}[j] = a;",
            f"        s{k}[j] = {slope};",
            "    }",
        ]

    def _public(self, suffix: str, kind: str) -> str:
        """The public function for one type of inputs."""
        plain, name, t = self.plain, self.name, self.type
        n, outputs = plain.sizes[0], plain.n_outputs
        lines = [self._head(suffix, kind), "{", f"    {t} z[{outputs}], rows[{outputs * n}];"]
        source, factor = "x", ""
        if self.source.standardises:
            lines += self._standardize()
            source, factor = "standard", " * slope[i]"
        elif kind != t:  # only the targets are scaled
            lines += [
                f"    {t} single[{n}];",
                f"    for (int i = 0; i < {n}; i++)",
                f"        single[i] = ({t})x[i];",
            ]
            source = "single"
        lines += [f"    {name}_derive({source}, z, rows);", *self._transform()]
        value = "z[k]"
        if plain.target_shift is not None:
            factor += f" / {name}_target_scale[k]"
            value = f"z[k] / {name}_target_scale[k] + {name}_target_shift[k]"
        values = kind if plain.is_regression else t
        pair = plain.output == "sigmoid" and outputs == 1
        place = "k + 1" if pair else "k"
        row = f"({place})" if pair else place
        lines += [
            f"    for (int k = 0; k < {outputs}; k++) {{",
            f"        out[{place}] = ({values})({value});",
            f"        for (int i = 0; i < {n}; i++)",
            f"            jac[{row} * {n} + i] = ({kind})(rows[k * {n} + i]{factor});",
            "    }",
        ]
        if pair:
            lines += [
                "    out[0] = 1 - out[1];",
                f"    for (int i = 0; i < {n}; i++)",
                f"        jac[i] = -jac[{n} + i];",
            ]
        return "\n".join([*lines, "}"]) + "\n"

    def _standardize(self) -> list[str]:
        name, n, clip = self.name, self.plain.sizes[0], self.plain.smooth_clip
        lines = [
            f"    {self.type} standard[{n}];",
            f"    double slope[{n}];",
            f"    for (int i = 0; i < {n}; i++) {{",
            f"        double s = ((double)x[i] - {name}_input_shift[i]) * {name}_input_scale[i];",
            f"        slope[i] = {name}_input_scale[i];",
        ]
        if clip is not None:
            lines += [
                f"        const double q = 1.0 + (s / {clip!r}) * (s / {clip!r});",
                f"        s /= hypot(1.0, s / {clip!r});",
                "        slope[i] /= q * sqrt(q);",
            ]
        return [*lines, f"        standard[i] = ({self.type})s;", "    }"]

    def _transform(self) -> list[str]:
        """Statements that convert net inputs and their derivatives to those of predictions."""
        plain, t, f = self.plain, self.type, self.f
        n, outputs = plain.sizes[0], plain.n_outputs
        if plain.output == "softmax":
            return [
                f"    {t} largest = z[0], sum = 0;",
                f"    for (int k = 1; k < {outputs}; k++)",
                "        if (z[k] > largest)",
                "            largest = z[k];",
                f"    for (int k = 0; k < {outputs}; k++)",
                f"        sum += z[k] = exp{f}(z[k] - largest);",
                f"    for (int k = 0; k < {outputs}; k++)",
                "        z[k] /= sum;",
                f"    for (int i = 0; i < {n}; i++) {{",
                f"        {t} mean = 0;",
                f"        for (int k = 0; k < {outputs}; k++)",
                f"            mean += z[k] * rows[k * {n} + i];",
                f"        for (int k = 0; k < {outputs}; k++)",
                f"            rows[k * {n} + i] = z[k] * (rows[k * {n} + i] - mean);",
                "    }",
            ]
        if plain.output == "identity":
            return []
        value = f"{self.name}_sigmoid(z[k])" if plain.output == "sigmoid" else f"exp{f}(z[k])"
        slope = "z[k] * (1 - z[k])" if plain.output == "sigmoid" else "z[k]"
        return [
            f"    for (int k = 0; k < {outputs}; k++) {{",
            f"        z[k] = {value};",
            f"        for (int i = 0; i < {n}; i++)",
            f"            rows[k * {n} + i] *= {slope};",
            "    }",
        ]

    # --- the test -------------------------------------------------------------------

    def test_table(self, reference: PlainNetwork) -> str:
        """Expected Jacobians for the vectors of the self-test, by the NumPy reference."""
        self.expected = reference.to_network("numpy").jacobian(self.source.vectors)
        double = self.source.entries[-1][1] == "double"
        return self.source.table(f"{self.name}_test_jac", self.expected, double) + "\n"

    def test_lines(self) -> str:
        """Statements of the test loop over vectors k, with input x and expected outputs y."""
        name, (suffix, kind) = self.name, self.source.entries[-1]
        values = kind if self.plain.is_regression else self.type
        n, (_, outputs, features) = self.source.outputs, self.expected.shape
        scale = self.source.number(float(np.abs(self.expected).max()) or 1.0)
        return (
            f"        {values} out[{n}];\n"
            f"        {kind} jac[{outputs * features}];\n"
            f"        {name}_jacobian{suffix}(x, out, jac);\n"
            f"        for (int j = 0; j < {n}; j++)\n"
            "            if (!(fabs((double)out[j] - (double)y[j]) <= allowed))\n"
            "                wrong++;\n"
            f"        for (int j = 0; j < {outputs * features}; j++)\n"
            f"            if (!(fabs((double)jac[j] - (double){name}_test_jac[k * "
            f"{outputs * features} + j]) <= relative * {scale}))\n"
            "                wrong++;\n"
        )
