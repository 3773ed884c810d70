"""The same bits every time: repeated runs, numbers of threads, and the digests of last time.

``make digests`` (with ``FASTNN_RENEW_DIGESTS=1`` in the environment) writes ``digests.json`` anew
for this machine: after a change that means to change bits, with the reason in the commit.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attacks import cases
from helpers import compiled_names, load_backend

import fastnn
from fastnn.backends import codes
from fastnn.network.prediction import Predictor

FILE = Path(__file__).with_name("digests.json")

rng = np.random.RandomState(0)
# Multiples of 1/64: exact in float32, whatever the machine's logarithm is.
X = rng.randint(-128, 128, (2000, 8)) / 64
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
VALUES = X @ (np.arange(8) - 3.5) / 8
ZEROS = np.where(rng.randint(0, 10, X.shape) == 0, X, 0)

# Name: layer sizes, arguments of the network, data, arguments of fit.
NETWORKS = {
    "narrow": ([8, 20, 10, 2], {"dropout": 0.2}, X, Y, {"batch_size": 500}),
    "one block": ([8, 16, 2], {"l2": 1e-3}, X[:200], Y[:200], {}),
    "regression": (
        [8, 30, 1],
        {"loss": "huber", "activation": "silu"},
        X,
        VALUES,
        {"batch_size": 333, "optimizer": fastnn.SGD(0.01, momentum=0.9, nesterov=True)},
    ),
    "average and clipping": (
        [8, 30, 30, 2],
        {"activation": "relu", "dtype": "float64"},
        X,
        Y,
        {"batch_size": 1000, "optimizer": fastnn.AdamW(0.01, ema=0.9, clip_norm=1.0)},
    ),
    "many zeros": ([8, 40, 2], {"activation": "gelu"}, ZEROS, Y, {"batch_size": 500}),
    "weights": (
        [8, 25, 1],
        {"loss": "binary_cross_entropy", "activation": "elu"},
        X,
        Y,
        {"batch_size": 700, "sample_weight": 1 + np.arange(2000) % 3},
    ),
    "wide": ([8, 300, 280, 2], {"activation": "relu", "dropout": 0.5}, X, Y, {"batch_size": 512}),
    "wide batch of one block": ([8, 300, 300, 2], {}, X[:100], Y[:100], {}),
}
for name in codes.ACTIVATIONS:
    NETWORKS[f"activation {name}"] = ([8, 9, 2], {"activation": name}, X[:300], Y[:300], {})


def trained(kernels, network, n_threads=1, epochs=3):
    """Parameters and predictions of a network trained by a backend or a vector level of it."""
    sizes, arguments, samples, targets, settings = NETWORKS[network]
    name = kernels if isinstance(kernels, str) else kernels.NAME
    net = fastnn.Network(sizes, backend=name, random_state=1, n_threads=n_threads, **arguments)
    if not isinstance(kernels, str):
        params = net.params
        net.model = net.spec.model(kernels)
        net.params = params
        net.predictor = Predictor(net.spec, net.model)
    net.fit(samples, targets, epochs=epochs, **settings)
    predict = net.predict if net.is_regression else net.predict_proba
    return net.params.tobytes() + predict(samples).tobytes()


def is_promised(name, network):
    """Whether threads change no bit: not where BLAS multiplies wide layers."""
    blas = name == "numba" or name.endswith("baseline")
    return not (blas and network.startswith("wide"))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", compiled_names())
def test_threads(name, network):
    if not is_promised(name, network):
        pytest.skip("BLAS multiplies: not promised")
    kernels = load_backend(name)
    expected = trained(kernels, network)
    for n_threads in (2, 3, 4):
        assert trained(kernels, network, n_threads) == expected


@pytest.mark.parametrize("name", ["numpy", *compiled_names()])
def test_runs(name):
    """A run after the other, in the same number of threads; with BLAS too."""
    kernels = load_backend(name)
    for network in ("narrow", "average and clipping", "wide"):
        expected = trained(kernels, network, 2)
        for _ in range(cases(3, 100)):
            assert trained(kernels, network, 2) == expected


def test_runs_in_other_processes(backend, tmp_path):
    """Nothing depends on addresses, hashes or what ran before."""
    expected = hashlib.sha256(trained(backend, "narrow", 2)).hexdigest()
    code = (
        "import hashlib, sys; from test_determinism import trained; "
        "print(hashlib.sha256(trained(sys.argv[1], 'narrow', 2)).hexdigest())"
    )
    for seed in range(cases(2, 20)):
        paths = [str(Path(__file__).parent), *filter(None, sys.path)]
        done = subprocess.run(
            [sys.executable, "-c", code, backend],
            env=os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [expected]


# --- digests ------------------------------------------------------------------------


def environment(name):
    """What the bits of a backend depend on: they are promised for nothing else."""
    parts = [platform.machine(), f"NumPy {np.__version__}"]
    if name == "numba":
        import llvmlite
        from llvmlite import binding

        parts += [f"llvmlite {llvmlite.__version__}", binding.get_host_cpu_name()]
    elif name == "numpy":
        from numpy._core._multiarray_umath import __cpu_features__ as found

        parts += ["+".join(each for each in ("AVX2", "AVX512F") if found.get(each))]
    else:
        level = name.split(":")[1]
        module = __import__(f"fastnn.backends._cython_{level}_float32", fromlist=["x"])
        built = re.search(
            rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", Path(module.__file__).read_bytes()
        )
        parts.append(built[0].decode() if built else "unknown compiler")
    return ", ".join(parts)


def digests(name):
    """Digest of each network on one thread; BLAS's wide ones are left out."""
    kernels = load_backend(name)
    chosen = [
        network
        for network in NETWORKS
        if is_promised(name, network) and not (name == "numpy" and network.startswith("wide"))
    ]
    return {
        network: hashlib.sha256(trained(kernels, network)).hexdigest()[:16] for network in chosen
    }


@pytest.mark.parametrize("name", ["numpy", *compiled_names()])
def test_digests(name):
    kept, here = json.loads(FILE.read_text(encoding="utf-8")), environment(name)
    if os.environ.get("FASTNN_RENEW_DIGESTS"):
        kept.setdefault(name, {})[here] = digests(name)
        FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if here not in kept.get(name, {}):
        pytest.skip(f"no digests for {here}: make digests writes them")
    # a network without a digest has changed on purpose, on a machine with another processor
    found = digests(name)
    assert {network: found[network] for network in kept[name][here]} == kept[name][here]


def test_a_changed_bit_changes_a_digest(monkeypatch):
    before = digests("numpy")
    monkeypatch.setattr(np, "tanh", lambda z, out=None: np.divide(np.sinh(z), np.cosh(z), out=out))
    after = digests("numpy")
    changed = {network for network in before if before[network] != after[network]}
    assert "narrow" in changed
    assert "activation relu" not in changed
