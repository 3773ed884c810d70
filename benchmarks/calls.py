"""Nanoseconds for one prediction of one sample: ``python -m benchmarks.calls``.

Each library is called in its usual way: fastnn from a loop in compiled code; NumPy by hand, PyTorch
and onnxruntime from Python. Each input depends on the previous output, so that calls cannot
overlap.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

import numba
import numpy as np

import fastnn
from benchmarks.measuring import medians_in_turn
from benchmarks.outputs import add_outputs, deliver, markdown_table

SHAPES = ((2, 3, 2), (2, 8, 8, 8, 2), (16, 64, 64, 4))
ROUNDS = 5


@numba.njit(nogil=True)
def loop(predict, n, x, out):
    for _ in range(n):
        x[0] = out[0]
        predict(x, out)


def in_numba(net: fastnn.Network) -> Callable[[int], np.ndarray]:
    predict = net.numba_predict()

    def run(n):
        x, out = np.ones(net.n_features, net.dtype), np.ones(net.n_outputs, net.dtype)
        loop(predict, n, x, out)
        return out

    return run


def from_python(call: Callable[[np.ndarray], np.ndarray], net: fastnn.Network) -> Callable:
    def run(n):
        x, out = np.ones((1, net.n_features), net.dtype), np.ones(net.n_outputs, net.dtype)
        for _ in range(n):
            x[0, 0] = out[0]
            out = call(x)[0]
        return out

    return run


def by_hand(net: fastnn.Network) -> Callable[[int], np.ndarray]:
    *hidden, (w_last, b_last) = zip(net.weights, net.biases, strict=True)

    def call(x):
        for w, b in hidden:
            x = np.tanh(x @ w + b)
        e = np.exp(x @ w_last + b_last)
        return e / e.sum()

    return from_python(call, net)


def torch_module(net: fastnn.Network):
    import torch

    layers = []
    for w, b in zip(net.weights, net.biases, strict=True):
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.tensor(w.T.copy()), torch.tensor(b.copy())
        layers += [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(1)).eval()


def in_torch(net: fastnn.Network) -> Callable[[int], np.ndarray]:
    import torch

    torch.set_num_threads(1)
    module = torch_module(net)

    def run(n):
        with torch.inference_mode():
            x, out = torch.ones(1, net.n_features), torch.ones(1, net.n_outputs)
            for _ in range(n):
                x[0, 0] = out[0, 0]
                out = module(x)
            return out[0].numpy()

    return run


def onnx_bytes(net: fastnn.Network) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, name = [], [], "x"
    for k, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        constants += [numpy_helper.from_array(w, f"w{k}"), numpy_helper.from_array(b, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"b{k}"], [f"z{k}"]))
        last = k == len(net.weights) - 1
        name = "out" if last else f"a{k}"
        nodes.append(helper.make_node("Softmax" if last else "Tanh", [f"z{k}"], [name]))
    ends = [
        helper.make_tensor_value_info(which, TensorProto.FLOAT, [1, size])
        for which, size in (("x", net.n_features), ("out", net.n_outputs))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def in_onnxruntime(net: fastnn.Network) -> Callable[[int], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_bytes(net), options, ["CPUExecutionProvider"])
    return from_python(lambda x: session.run(None, {"x": x})[0], net)


CONTENDERS = {
    "fastnn, in Numba": in_numba,
    "NumPy by hand": by_hand,
    "PyTorch": in_torch,
    "onnxruntime": in_onnxruntime,
}


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Median nanoseconds per call by shape and contender, all timed in turn."""
    results: dict[str, dict[str, float]] = {}
    for sizes in SHAPES:
        net = fastnn.Network(sizes, dtype="float32", random_state=0)
        expected = by_hand(net)(100)
        timed: dict[str, Callable[[], float]] = {}
        for name, make in CONTENDERS.items():
            try:
                run = make(net)
            except ImportError as error:
                print(f"{name} is left out: {error}")
                continue
            # all must give the same result after 100 calls, each depending on the previous one
            np.testing.assert_allclose(run(100), expected, atol=1e-5)
            calls = calls_that_take(seconds / ROUNDS / 2, run)
            timed[name] = functools.partial(nanoseconds_per_call, run, calls)
        results["-".join(map(str, sizes))] = medians_in_turn(timed, ROUNDS)
    return results


def calls_that_take(seconds: float, run: Callable[[int], np.ndarray], calls: int = 100) -> int:
    """Find a number of calls, at least ``calls``, that takes at least ``seconds``."""
    while (spent := elapsed(run, calls)) < seconds:
        calls *= 2 if spent > 1e-3 else 10
    return calls


def nanoseconds_per_call(run: Callable[[int], np.ndarray], calls: int) -> float:
    return 1e9 * elapsed(run, calls) / calls


def elapsed(run: Callable[[int], np.ndarray], n: int) -> float:
    start = time.perf_counter()
    run(n)
    return time.perf_counter() - start


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as a Markdown table."""
    rows = [
        [name, *(f"{row[name]:,.0f}" if name in row else "" for row in results.values())]
        for name in CONTENDERS
    ]
    return markdown_table(["", *results], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender and shape")
    add_outputs(parser)
    arguments = parser.parse_args()
    results = measure(arguments.seconds)
    deliver(arguments, results, table(results), "calls")


if __name__ == "__main__":
    main()
