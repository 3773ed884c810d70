"""C source of a network: its tables of weights and functions."""

from __future__ import annotations

import re

import numpy as np

from fastnn.export.c_jacobian import Jacobian
from fastnn.export.c_selftest import SelfTest
from fastnn.export.plain import PlainNetwork

# f(z) of each activation; {f} is the type's suffix of functions and constants ("f" for float).
_FUNCTIONS = {
    "tanh": "tanh{f}(z)",
    "sigmoid": "1 / (1 + exp{f}(-z))",
    "relu": "z <= 0 ? 0 : z",
    "leaky_relu": "z <= 0 ? alpha * z : z",
    "elu": "z <= 0 ? alpha * expm1{f}(z) : z",
    "softplus": "(z > 0 ? z : 0) + log1p{f}(exp{f}(-fabs{f}(z)))",
    "silu": "z / (1 + exp{f}(-z))",
    "selu": "z <= 0 ? 1.7580993408473766{f} * expm1{f}(z) : 1.0507009873554805{f} * z",
    "mish": "z * tanh{f}((z > 0 ? z : 0) + log1p{f}(exp{f}(-fabs{f}(z))))",
    "gelu": "z * erfc{f}(-z * 0.70710678118654752{f}) / 2",
}
_WITH_ALPHA = ("leaky_relu", "elu")


class Source:
    """Generates the source of a network, part by part."""

    def __init__(
        self,
        plain: PlainNetwork,
        name: str,
        vectors: np.ndarray,
        jacobian: bool = False,
        shared: str | None = None,
    ) -> None:
        self.plain, self.name, self.vectors = plain, name, vectors
        self.shared = name if shared is None else shared  # prefix of functions networks share
        single = plain.dtype == np.float32
        self.type, self.f = ("float", "f") if single else ("double", "")
        self.digits = 9 if single else 17
        self.standardises = plain.input_shift is not None
        scales = self.standardises or plain.target_shift is not None
        # suffix of the public functions, and the type of their inputs
        self.entries = [("", self.type)] + [("_double", "double")] * (single and scales)
        self.outputs = plain.n_outputs
        if plain.output == "sigmoid":
            self.outputs = max(plain.n_outputs, 2)
        self.jacobian = Jacobian(self) if jacobian else None

    def number(self, value: float) -> str:
        """A literal that a compiler reads as exactly this number."""
        text = f"{value:.{self.digits}g}"
        return (text if re.search(r"[.e]", text) else text + ".0") + self.f

    def table(self, name: str, values: np.ndarray, double: bool = False) -> str:
        """Definition of a constant array."""
        if double and self.f:
            numbers = [f"{value:.17g}" for value in values.ravel().tolist()]
            numbers = [text if re.search(r"[.e]", text) else text + ".0" for text in numbers]
        else:
            numbers = [self.number(value) for value in values.ravel().tolist()]
        kind = "double" if double else self.type
        lines = [", ".join(numbers[k : k + 6]) for k in range(0, len(numbers), 6)]
        body = ",\n    ".join(lines)
        return f"static const {kind} {name}[{len(numbers)}] = {{\n    {body}}};\n"

    def text(self) -> str:
        """The complete source."""
        import fastnn

        plain, upper = self.plain, self.name.upper()
        sizes = "-".join(map(str, plain.sizes))
        parts = [
            f"/* {sizes} network, outputs: {plain.output}. Written by fastnn "
            f"{fastnn.__version__}.\n   Self-test: cc -std=c99 -D{upper}_TEST FILE -lm */\n"
            "#include <math.h>\n",
            f"#define {upper}_FEATURES {plain.sizes[0]}\n#define {upper}_OUTPUTS {self.outputs}\n",
            self._prototypes(),
        ]
        parts += self.tables()
        if plain.labels is not None:
            parts.append(f"{self.labels()} = {{{self.label_values()}}};\n")
        parts += [self.dense(), *self.activations(), self.net_inputs()]
        for suffix, kind in self.entries:
            if self.standardises:
                parts.append(self.standardized(suffix, kind))
            parts.append(self._predict(suffix, kind))
        if self.jacobian is not None:
            parts.append(self.jacobian.functions())
        parts.append(SelfTest(self).text())
        return "\n".join(parts)

    def tables(self) -> list[str]:
        """Weights, biases and scales."""
        plain, name, parts = self.plain, self.name, []
        for k, layer in enumerate(plain.layers):
            parts.append(self.table(f"{name}_w{k}", layer.weights))
            parts.append(self.table(f"{name}_b{k}", layer.biases))
        for scale in ("input_shift", "input_scale", "target_shift", "target_scale"):
            if getattr(plain, scale) is not None:
                parts.append(self.table(f"{name}_{scale}", getattr(plain, scale), double=True))
        return parts

    def _prototypes(self) -> str:
        name, t, lines = self.name, self.type, []
        for suffix, kind in self.entries:
            x = f"const {kind} *x"
            if self.plain.is_regression:
                lines.append(f"void {name}_predict{suffix}({x}, {kind} *y);")
                continue
            lines.append(f"void {name}_predict_proba{suffix}({x}, {t} *p);")
            if self.plain.is_multilabel:
                lines.append(f"void {name}_predict{suffix}({x}, int *labels);")
            else:
                lines.append(f"int {name}_predict{suffix}({x});")
        if self.plain.labels is not None:
            lines.append(f"extern {self.labels()};")
        own = "" if self.jacobian is None else self.jacobian.prototypes()
        return "\n".join(lines) + "\n" + own

    def labels(self) -> str:
        """Declaration of the array of labels."""
        assert self.plain.labels is not None
        values = self.plain.labels.tolist()
        kinds = {str: "char *const", float: "double", int: "long long", bool: "long long"}
        kind = kinds.get(type(values[0]))
        if kind is None:
            raise ValueError(f"labels must be numbers or text for C; got {self.plain.labels.dtype}")
        return f"const {kind} {self.name}_classes[{len(values)}]"

    def label_values(self) -> str:
        """Initialiser of the array of labels, without braces."""
        assert self.plain.labels is not None
        values = self.plain.labels.tolist()
        if isinstance(values[0], str):
            return ", ".join(map(c_string, values))
        if isinstance(values[0], float):
            return ", ".join(f"{value:.17g}" for value in values)
        # C has no literal for the smallest long long
        return ", ".join(
            f"{int(v)}LL" if int(v) > -(2**63) else f"({int(v) + 1}LL - 1)" for v in values
        )

    def dense(self) -> str:
        """The function that computes the net inputs of a dense layer."""
        t = self.type
        return (
            f"static void {self.shared}_dense(const {t} *x, int m, int n, const {t} *w, "
            f"const {t} *b, {t} *z)\n"
            "{\n"
            "    for (int j = 0; j < n; j++)\n"
            "        z[j] = b[j];\n"
            "    for (int i = 0; i < m; i++, w += n)\n"
            "        for (int j = 0; j < n; j++)\n"
            "            z[j] += x[i] * w[j];\n"
            "}\n"
        )

    def activations(self) -> list[str]:
        """A function for each activation used, including the sigmoid of the outputs."""
        used = {layer.activation for layer in self.plain.layers}
        if self.plain.output == "sigmoid":
            used.add("sigmoid")
        found = []
        for activation, formula in _FUNCTIONS.items():
            if activation in used:
                alpha = f", {self.type} alpha" if activation in _WITH_ALPHA else ""
                found.append(
                    f"static {self.type} {self.shared}_{activation}({self.type} z{alpha})\n"
                    f"{{\n    return {formula.format(f=self.f)};\n}}\n"
                )
        return found

    def net_inputs(self) -> str:
        """The function from the inputs of the first layer to the net inputs of the last."""
        plain, name, t = self.plain, self.name, self.type
        hidden, sizes = plain.sizes[1:-1], plain.sizes
        widths: dict[str, int] = {}
        for k, size in enumerate(hidden):  # two alternating buffers
            widths["ab"[k % 2]] = max(size, widths.get("ab"[k % 2], 0))
        function = "layers" if self.standardises else "net_inputs"
        lines = [f"static void {name}_{function}(const {t} *x, {t} *z)", "{"]
        lines += [f"    {t} {key}[{width}];" for key, width in widths.items()]
        source = "x"
        for k, layer in enumerate(plain.layers):
            target = "z" if k == len(hidden) else "ab"[k % 2]
            lines.append(
                f"    {self.shared}_dense({source}, {sizes[k]}, {sizes[k + 1]}, "
                f"{name}_w{k}, {name}_b{k}, {target});"
            )
            if layer.activation != "identity":
                alpha = f", {self.number(layer.alpha)}" if layer.activation in _WITH_ALPHA else ""
                lines += [
                    f"    for (int j = 0; j < {sizes[k + 1]}; j++)",
                    f"        {target}[j] = {self.shared}_{layer.activation}({target}[j]{alpha});",
                ]
            source = target
        return "\n".join([*lines, "}"]) + "\n"

    def standardized(self, suffix: str, kind: str) -> str:
        """The function from unscaled samples to net inputs: shift and scale in double first."""
        name, n, clip = self.name, self.plain.sizes[0], self.plain.smooth_clip
        lines = [
            f"static void {name}_net_inputs{suffix}(const {kind} *x, {self.type} *z)",
            "{",
            f"    {self.type} standard[{n}];",
            f"    for (int i = 0; i < {n}; i++) {{",
            f"        double s = ((double)x[i] - {name}_input_shift[i]) * {name}_input_scale[i];",
        ]
        if clip is not None:
            lines.append(f"        s /= hypot(1.0, s / {clip!r});")
        lines += [
            f"        standard[i] = ({self.type})s;",
            "    }",
            f"    {name}_layers(standard, z);",
        ]
        return "\n".join([*lines, "}"]) + "\n"

    def regression(self, suffix: str, kind: str) -> str:
        """The function that predicts values."""
        plain, name, n = self.plain, self.name, self.plain.n_outputs
        inputs = f"net_inputs{suffix if self.standardises else ''}"
        lines = [f"void {name}_predict{suffix}(const {kind} *x, {kind} *y)", "{"]
        source = "x"
        if suffix and not self.standardises:  # the targets alone have scales
            lines += [
                f"    {self.type} single[{plain.sizes[0]}];",
                f"    for (int i = 0; i < {plain.sizes[0]}; i++)",
                f"        single[i] = ({self.type})x[i];",
            ]
            source = "single"
        z = "z" if suffix else "y"
        if suffix:
            lines.insert(2, f"    {self.type} z[{n}];")
        lines.append(f"    {name}_{inputs}({source}, {z});")
        value = f"{z}[j]"
        if plain.output == "exp":
            value = f"exp{self.f}({value})"
        if plain.target_shift is not None:
            cast = "(double)" if self.f else ""
            value = f"{cast}{value} / {name}_target_scale[j] + {name}_target_shift[j]"
            value = f"(float)({value})" if kind == "float" else value
        if value != "y[j]":
            lines += [f"    for (int j = 0; j < {n}; j++)", f"        y[j] = {value};"]
        return "\n".join([*lines, "}"]) + "\n"

    def _predict(self, suffix: str, kind: str) -> str:
        """The public functions for one type of inputs."""
        if self.plain.is_regression:
            return self.regression(suffix, kind)
        return f"{self.probabilities(suffix, kind)}\n{self._label(suffix, kind)}"

    def probabilities(self, suffix: str, kind: str) -> str:
        """The function that predicts probabilities."""
        name, t, f, n = self.name, self.type, self.f, self.plain.n_outputs
        head = f"void {name}_predict_proba{suffix}(const {kind} *x, {t} *p)\n{{\n"
        if self.plain.is_multilabel:
            return (
                f"{head}"
                f"    {name}_net_inputs{suffix}(x, p);\n"
                f"    for (int j = 0; j < {n}; j++)\n"
                f"        p[j] = {self.shared}_sigmoid(p[j]);\n}}\n"
            )
        if self.plain.output == "sigmoid":
            return (
                f"{head}"
                f"    {name}_net_inputs{suffix}(x, p + 1);\n"
                f"    p[1] = {self.shared}_sigmoid(p[1]);\n"
                f"    p[0] = 1 - p[1];\n}}\n"
            )
        return (
            f"{head}"
            f"    {t} largest, sum = 0;\n"
            f"    {name}_net_inputs{suffix}(x, p);\n"
            f"    largest = p[0];\n"
            f"    for (int j = 1; j < {n}; j++)\n"
            f"        if (p[j] > largest)\n"
            f"            largest = p[j];\n"
            f"    for (int j = 0; j < {n}; j++)\n"
            f"        sum += p[j] = exp{f}(p[j] - largest);\n"
            f"    for (int j = 0; j < {n}; j++)\n"
            f"        p[j] /= sum;\n}}\n"
        )

    def _label(self, suffix: str, kind: str) -> str:
        """The function that predicts a label."""
        name, t, n = self.name, self.type, self.plain.n_outputs
        if self.plain.is_multilabel:
            return (
                f"void {name}_predict{suffix}(const {kind} *x, int *labels)\n{{\n"
                f"    {t} z[{n}];\n"
                f"    {name}_net_inputs{suffix}(x, z);\n"
                f"    for (int j = 0; j < {n}; j++)\n"
                f"        labels[j] = z[j] > 0;\n}}\n"
            )
        head = f"int {name}_predict{suffix}(const {kind} *x)\n{{\n"
        if self.plain.output == "sigmoid":
            return (
                f"{head}"
                f"    {t} z[1];\n"
                f"    {name}_net_inputs{suffix}(x, z);\n"
                f"    return z[0] > 0;\n}}\n"
            )
        return (
            f"{head}"
            f"    {t} z[{n}];\n"
            f"    int best = 0;\n"
            f"    {name}_net_inputs{suffix}(x, z);\n"
            f"    for (int j = 1; j < {n}; j++)\n"
            f"        if (z[j] > z[best])\n"
            f"            best = j;\n"
            f"    return best;\n}}\n"
        )


def c_string(text: str) -> str:
    """A string literal in ASCII; other characters become octal escapes of their UTF-8 bytes."""
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogatepass")
    )
    return f'"{escaped}"'
