"""Time from the start of a process to a trained default model.

``python -m benchmarks.startup [--json FILE] [--write FILE]``

The job: two moons, 2-3-2 tanh, full-batch gradient descent, 20,000 passes, float64. For
Numba once with an empty cache (compiling) and then with a full one; scikit-learn and
PyTorch scripts do the same. Also: what ``import fastnn`` costs on top of ``import numpy``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import add_outputs, deliver
from fastnn import backends, bench

EPOCHS = 20_000

FASTNN = """
import fastnn
from fastnn import datasets
data = datasets.load("moons")
net = fastnn.Network([2, 3, 2], backend={backend!r}, dtype="float64", random_state=0)
net.fit(data.X, data.y, optimizer=fastnn.SGD(learning_rate=0.5), epochs={epochs})
print(net.score(data.X, data.y))
"""

# scikit-learn gives two classes one output; the same function, one unit less.
SKLEARN = """
import warnings
from sklearn.datasets import make_moons
from sklearn.neural_network import MLPClassifier
warnings.simplefilter("ignore")
X, y = make_moons(200, noise=0.2, random_state=0)
net = MLPClassifier((3,), "tanh", solver="sgd", alpha=0.0, batch_size=200, learning_rate_init=0.5,
    momentum=0.0, nesterovs_momentum=False, max_iter={epochs}, tol=0.0, n_iter_no_change=10**9,
    shuffle=False, random_state=0).fit(X, y)
print(net.score(X, y))
"""

TORCH = """
import torch
from sklearn.datasets import make_moons
torch.set_num_threads(1)
torch.manual_seed(0)
X, y = make_moons(200, noise=0.2, random_state=0)
X, y = torch.from_numpy(X), torch.from_numpy(y)
net = torch.nn.Sequential(
    torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).double()
params, loss = list(net.parameters()), torch.nn.CrossEntropyLoss()
for _ in range({epochs}):
    grads = torch.autograd.grad(loss(net(X), y), params)
    with torch.no_grad():
        torch._foreach_add_(params, grads, alpha=-0.5)
print((net(X).argmax(1) == y).double().mean().item())
"""


def seconds(script: str, **environment: str) -> tuple[float, str]:
    """Wall-clock time of a Python process, and the last line it printed."""
    root = str(Path(bench.__file__).parent.parent)
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    lines = done.stdout.strip().splitlines()
    return took, lines[-1] if lines else ""


def table(run: dict) -> str:
    """As Markdown: the processes that train; below, what an import costs."""
    results = run["results"]
    lines = ["| from start to a trained network | seconds |", "|---|---:|"]
    lines += [
        f"| {name} | {bench.number(result['seconds'])} |"
        for name, result in results.items()
        if not name.startswith(("python", "import"))
    ]
    alone = results["import numpy"]
    both = results["import numpy, fastnn"]["seconds"]
    spread = max(alone["runs"]) - min(alone["runs"])
    machine = run["machine"]
    lines += [
        "",
        f"- `import fastnn` with `import numpy`: {1e3 * both:.0f} ms; the latter alone "
        f"takes {1e3 * alone['seconds']:.0f} ms and spreads over {1e3 * spread:.0f} ms",
        f"- {machine['cpu']}, {machine['usable_cores']} cores, {machine['date'][:10]}",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--times", type=int, default=5, help="processes of each; the median counts")
    add_outputs(parser)
    arguments = parser.parse_args()
    results: dict[str, dict[str, float | list[float]]] = {}

    def report(name: str, script: str, times: int, **environment: str) -> None:
        runs = [seconds(script, **environment) for _ in range(times)]
        took = [run[0] for run in runs]
        results[name] = {"seconds": statistics.median(took), "runs": took}
        accuracy = f", accuracy {float(runs[-1][1]):.3f}" if runs[-1][1] else ""
        print(f"{name:34s}{statistics.median(took):8.2f} s{accuracy}", flush=True)

    for backend in backends.BACKENDS:
        reason = backends.why_missing(backend)
        if reason:
            print(f"fastnn {backend}: missing, {reason}")
            continue
        script = FASTNN.format(backend=backend, epochs=arguments.epochs)
        if backend != "numba":
            report(f"fastnn {backend}", script, arguments.times)
            continue
        with tempfile.TemporaryDirectory() as cache:
            report("fastnn numba, cold cache", script, 1, NUMBA_CACHE_DIR=cache)
            report("fastnn numba, warm cache", script, arguments.times, NUMBA_CACHE_DIR=cache)
    for module, name, script in (
        ("sklearn", "scikit-learn", SKLEARN),
        ("torch", "PyTorch, 1 thread", TORCH),
    ):
        if importlib.util.find_spec(module) is None:
            print(f"{name}: missing, pip install {module}")
            continue
        report(name, script.format(epochs=arguments.epochs), arguments.times)
    for name, script in (
        ("python", ""),
        ("import numpy", "import numpy"),
        ("import numpy, fastnn", "import numpy, fastnn"),
        ("import numpy, fastnn.Network", "import numpy, fastnn; fastnn.Network"),
    ):
        report(name, script, 2 * arguments.times + 1)
    run = {"machine": bench.machine(), "epochs": arguments.epochs, "results": results}
    deliver(arguments, run, table(run), "startup")


if __name__ == "__main__":
    main()
