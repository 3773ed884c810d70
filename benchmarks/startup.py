"""Time from the start of a process to a trained default model.

``python -m benchmarks.startup [--json FILE] [--write FILE]``

The job is two moons, 2-3-2 tanh, full-batch gradient descent, 20,000 epochs, float64. Numba is
timed with an empty cache (including compilation) and then with a filled one. Scripts with
scikit-learn and PyTorch do the same training. Also measured: the time of ``import fastnn`` in
addition to ``import numpy``.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.machine import in_words, machine
from benchmarks.outputs import add_outputs, deliver, markdown_table
from benchmarks.processes import environment
from fastnn import backends
from fastnn.bench import number

EPOCHS = 20_000

FASTNN = """
import fastnn
from fastnn import datasets
data = datasets.load("moons")
net = fastnn.Network([2, 3, 2], backend={backend!r}, dtype="float64", random_state=0)
net.fit(data.X, data.y, optimizer=fastnn.SGD(learning_rate=0.5), epochs={epochs})
print(net.score(data.X, data.y))
"""

# for two classes scikit-learn has one output: the same function with one unit less
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


def seconds(script: str, **variables: str) -> tuple[float, str]:
    """Wall-clock time of a Python process, and the last line it printed."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    lines = done.stdout.strip().splitlines()
    return took, lines[-1] if lines else ""


class Results(dict):
    """Medians and runs by name."""

    def add(self, name: str, script: str, times: int, **variables: str) -> None:
        """Time a script and print the result."""
        runs = [seconds(script, **variables) for _ in range(times)]
        took = [run[0] for run in runs]
        self[name] = {"seconds": statistics.median(took), "runs": took}
        accuracy = f", accuracy {float(runs[-1][1]):.3f}" if runs[-1][1] else ""
        print(f"{name:34s}{statistics.median(took):8.2f} s{accuracy}", flush=True)


def time_backends(results: Results, epochs: int, times: int) -> None:
    for backend in backends.BACKENDS:
        reason = backends.why_missing(backend)
        if reason:
            print(f"fastnn {backend}: missing, {reason}")
            continue
        script = FASTNN.format(backend=backend, epochs=epochs)
        if backend != "numba":
            results.add(f"fastnn {backend}", script, times)
            continue
        with tempfile.TemporaryDirectory() as cache:
            results.add("fastnn numba, cold cache", script, 1, NUMBA_CACHE_DIR=cache)
            results.add("fastnn numba, warm cache", script, times, NUMBA_CACHE_DIR=cache)


def time_peers(results: Results, epochs: int, times: int) -> None:
    for module, name, script in (
        ("sklearn", "scikit-learn", SKLEARN),
        ("torch", "PyTorch, 1 thread", TORCH),
    ):
        if importlib.util.find_spec(module) is None:
            print(f"{name}: missing, pip install {module}")
            continue
        results.add(name, script.format(epochs=epochs), times)


def time_imports(results: Results, times: int) -> None:
    results.add("python", "", times)
    for what in ("import numpy", "import numpy, fastnn"):
        results.add(what, what, times)
    results.add("import numpy, fastnn.Network", "import numpy, fastnn; fastnn.Network", times)


def table(run: dict) -> str:
    """The results as a Markdown table of the trainings; below it the time of the import."""
    results = run["results"]
    rows = [
        [name, number(result["seconds"])]
        for name, result in results.items()
        if not name.startswith(("python", "import"))
    ]
    alone = results["import numpy"]
    both = results["import numpy, fastnn"]["seconds"]
    spread = max(alone["runs"]) - min(alone["runs"])
    facts = run["machine"]
    lines = [
        f"- `import fastnn` with `import numpy`: {1e3 * both:.0f} ms; the latter alone "
        f"takes {1e3 * alone['seconds']:.0f} ms and spreads over {1e3 * spread:.0f} ms",
        f"- {in_words(facts)}, {facts['date'][:10]}",
    ]
    head = ["from start to a trained network", "seconds"]
    return markdown_table(head, rows) + "\n" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--times", type=int, default=5, help="processes of each; the median counts")
    add_outputs(parser)
    arguments = parser.parse_args()
    results = Results()
    time_backends(results, arguments.epochs, arguments.times)
    time_peers(results, arguments.epochs, arguments.times)
    time_imports(results, 2 * arguments.times + 1)
    run = {"machine": machine(), "epochs": arguments.epochs, "results": results}
    deliver(arguments, run, table(run), "startup")


if __name__ == "__main__":
    main()
