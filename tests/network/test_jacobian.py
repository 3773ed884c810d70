"""Derivatives by the inputs, in the caller's units: complex step, PyTorch, differences."""

import numpy as np
import pytest
import scipy.sparse
from helpers import DTYPES, assert_bits, assert_same, load_backend

import fastnn
from fastnn.backends import codes
from fastnn.backends import numpy as reference
from fastnn.backends.tuning import tuned

LOSSES = list(codes.LOSSES)
SMOOTH = ["identity", "tanh", "sigmoid", "softplus", "silu", "gelu", "mish"]


def trained(loss="squared_error", sizes=(4, 6, 5, 3), standardize=True, **settings):
    """A network that has learned scales far from 0 and 1, and samples."""
    rng = np.random.default_rng(2)
    X = rng.normal(100.0, [1.0, 20.0, 0.1, 5.0][: sizes[0]], (12, sizes[0]))
    if loss == "cross_entropy":
        y = np.arange(12) % sizes[-1]
    elif loss in ("binary_cross_entropy", "poisson"):
        y = rng.integers(0, 2, (12, sizes[-1]))
        y = y[:, 0] if sizes[-1] == 1 else y
    else:
        n_targets = 1 if loss == "gaussian" else sizes[-1]
        sizes = (*sizes[:-1], 2) if loss == "gaussian" else sizes
        y = rng.normal(-50.0, [7.0, 0.2, 3.0][:n_targets], (12, n_targets))
    settings = {"dtype": "float64", "backend": "numpy", "random_state": 0} | settings
    if standardize:
        settings |= {"standardize": True, "smooth_clip": settings.get("smooth_clip")}
    net = fastnn.Network(sizes, loss=loss, **settings)
    if not standardize:
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    net.fit(X, y, epochs=2)
    for b in net.biases:
        b[:] = rng.normal(size=b.shape)
    return net, X


def outputs(net, X, of):
    """The network by NumPy alone, for complex samples too."""
    a, scales = X, net.scales
    if scales.input_shift is not None:
        a = (a - scales.input_shift) * scales.input_scale
        if net.smooth_clip is not None:
            a = a / np.sqrt(1 + (a / net.smooth_clip) ** 2)
    names, alphas = [*net.activations, "identity"], net.spec.alphas
    for w, b, name, alpha in zip(net.weights, net.biases, names, alphas, strict=True):
        z = a @ w + b
        a = np.empty_like(z)
        reference.activation_forward(z, codes.ACTIVATIONS[name], alpha, a)
    if of == "logits":
        return a
    if net.loss_name == "cross_entropy":
        e = np.exp(a - a.real.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    if net.loss_name == "binary_cross_entropy":
        p = 1 / (1 + np.exp(-a))
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p
    a = np.exp(a) if net.loss_name == "poisson" else a
    return a if scales.target_shift is None else a / scales.target_scale + scales.target_shift


def by_complex_step(net, X, of):
    steps = 1e-30j * np.eye(X.shape[1])
    return np.stack([outputs(net, X + h, of).imag / 1e-30 for h in steps], axis=2)


def own(net):
    return "predict" if net.is_regression else "proba"


def check(net, X, of):
    """Jacobian and both products against the complex step."""
    expected = by_complex_step(net, X, of)
    jacobian = net.jacobian(X, of=of)
    assert_same(jacobian, expected, "float64", atol=1e-10)
    rng = np.random.default_rng(3)
    v, u = rng.normal(size=expected.shape[:2]), rng.normal(size=X.shape)
    assert_same(net.vjp(X, v, of=of), np.einsum("skd,sk->sd", expected, v), "float64", atol=1e-10)
    assert_same(net.jvp(X, u, of=of), np.einsum("skd,sd->sk", expected, u), "float64", atol=1e-10)


@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("loss", LOSSES)
def test_jacobian_of_every_loss_matches_complex_step(loss, clip):
    net, X = trained(loss, activation=["silu", "tanh"], smooth_clip=clip)
    for of in (own(net), "logits"):
        check(net, X, of)
    assert_bits(net.jacobian(X), net.jacobian(X, of=own(net)))


@pytest.mark.parametrize("activation", SMOOTH)
def test_smooth_activations_match_complex_step(activation, backend):
    net, X = trained("cross_entropy", activation=activation, backend=backend)
    check(net, X, "proba")


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "selu"])
def test_kinked_activations_match_differences(activation, backend):
    net, X = trained(activation=activation, backend=backend)
    jacobian, h = net.jacobian(X), 1e-6 * X.std(axis=0)
    for i, step in enumerate(np.diag(h)):
        difference = (net.predict(X + step) - net.predict(X - step)) / (2 * h[i])
        # roundings of predictions of up to some 100, over differences of 1e-7 to 2e-5
        assert_same(jacobian[:, :, i], difference, "float64", atol=5e-7)


@pytest.mark.parametrize("sizes", [(4, 6, 1), (2, 5, 3), (3, 1), (4, 3)])
def test_vjp_and_jvp_are_rows_and_columns_of_jacobian(sizes, backend):
    """Fewer features than outputs go forwards; one sigmoid gives two probabilities."""
    for loss in ("squared_error", "binary_cross_entropy"):
        net, X = trained(loss, sizes, backend=backend)
        check(net, X, own(net))
        two = loss == "binary_cross_entropy" and sizes[-1] == 1
        assert net.jacobian(X).shape == (12, 2 if two else sizes[-1], sizes[0])


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "squared_error"])
def test_jacobian_matches_pytorch(activation, loss):
    torch = pytest.importorskip("torch")
    from fastnn import export

    net, X = trained(loss, activation=activation, standardize=False)
    f = export.to_torch(net)  # gives probabilities
    x = torch.tensor(X)
    jacobian = torch.stack([torch.autograd.functional.jacobian(f, row) for row in x])
    # of the alphas of PyTorch's selu and gelu: 1e-10 of the largest entry
    assert_same(net.jacobian(X), jacobian.numpy(), "float64", atol=1e-10)
    rng = np.random.default_rng(3)
    v, u = rng.normal(size=(12, 3)), rng.normal(size=(12, 4))
    hvp = [
        torch.autograd.functional.hvp(lambda x, w=w: f(x) @ torch.tensor(w), row, torch.tensor(t))
        for row, w, t in zip(x, v, u, strict=True)
    ]
    expected = torch.stack([both[1] for both in hvp]).numpy()
    assert_same(net.hvp(X, v, u), expected, "float64", atol=1e-10, least=1.0)


@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "poisson", "huber"])
def test_hvp_is_in_user_units(loss, clip, backend):
    net, X = trained(loss, activation="gelu", smooth_clip=clip, backend=backend)
    rng = np.random.default_rng(3)
    for of in (own(net), "logits"):
        v, u = rng.normal(size=(12, 3)), rng.normal(size=(12, 4)) * X.std(axis=0)
        # of the complex step's gradients a central difference
        plus, minus = (by_complex_step(net, X + e * u, of) for e in (1e-5, -1e-5))
        expected = np.einsum("skd,sk->sd", plus - minus, v) / 2e-5
        scale = X.std(axis=0)  # so that all columns count
        # the square of the step, 1e-10, times third derivatives
        assert_same(net.hvp(X, v, u, of=of) * scale, expected * scale, "float64", atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backends_agree_and_bits_independent_of_threads(dtype):
    settings = {"activation": "tanh", "random_state": 0, "dtype": dtype, "loss": "cross_entropy"}
    X = np.random.default_rng(0).normal(size=(3001, 5)).astype(dtype)
    expected = fastnn.Network([5, 30, 4], backend="numpy", **settings).jacobian(X)
    for backend in ("numba", "cython"):
        load_backend(backend)
        with tuned(wake_thread_work=1000):
            one, two = (
                fastnn.Network([5, 30, 4], backend=backend, n_threads=n, **settings).jacobian(X)
                for n in (1, 2)
            )
        assert one.dtype == dtype
        assert_same(one, expected, dtype)
        assert_bits(one, two)


def test_custom_activations_have_first_derivatives():
    def squash(z):
        return z / np.sqrt(1 + z * z)

    def slope(z):
        return (1 + z * z) ** -1.5

    pair = fastnn.CustomActivation(squash, slope)
    for backend in ("numpy", "numba"):
        load_backend(backend)
        net, X = trained(activation=pair, backend=backend)
        jacobian, h = net.jacobian(X), 1e-6 * X.std(axis=0)
        for i, step in enumerate(np.diag(h)):
            difference = (net.predict(X + step) - net.predict(X - step)) / (2 * h[i])
            assert_same(jacobian[:, :, i], difference, "float64", atol=1e-7)
        with pytest.raises(ValueError, match=r"hvp needs second derivatives, .*squash"):
            net.hvp(X, np.ones(3), np.ones(4))


def test_jacobian_ignores_dropout():
    net = fastnn.Network([3, 8, 2], dropout=0.5, loss="squared_error", random_state=0)
    other = fastnn.Network([3, 8, 2], loss="squared_error", random_state=0)
    X = np.ones((2, 3), np.float32)
    assert_bits(net.jacobian(X), other.jacobian(X))


def test_vectors_per_sample_or_shared():
    net, X = trained(sizes=(4, 6, 1))
    v = np.arange(12.0)
    assert_bits(net.vjp(X, v), net.vjp(X, v[:, None]))
    assert_bits(net.vjp(X, [2]), net.vjp(X, np.full((12, 1), 2.0)))
    assert_bits(net.jvp(X, [1, 2, 3, 4]), net.jvp(X, np.tile([1.0, 2, 3, 4], (12, 1))))
    assert_bits(net.jacobian(X.tolist()), net.jacobian(X))


BAD = [
    ({"X": np.ones((2, 5))}, "X has 5 features"),
    ({"X": np.ones(4)}, "X must be 2-D"),
    ({"X": [[1, 2, np.nan, 4]]}, "X contains NaN"),
    ({"X": scipy.sparse.csr_array(np.ones((2, 4)))}, r"X is a sparse matrix; derivatives need"),
    ({"of": "predictions"}, "of must be one of logits, proba, predict; got 'predictions'"),
    ({"of": "proba"}, "of must be logits or predict for the loss squared_error; got 'proba'"),
    ({"v": np.ones((3, 3))}, r"v must have shape \(2, 3\) or \(3,\); got \(3, 3\)"),
    ({"v": ["a", "b", "c"]}, "v must be real numbers"),
    ({"v": [1, np.inf, 0]}, "v contains infinity"),
    ({"u": np.ones(3)}, r"u must have shape \(2, 4\) or \(4,\); got \(3,\)"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_invalid_arguments_raise(bad, message):
    net, X = trained()
    arguments = {"X": X[:2], "v": np.ones(3), "u": np.ones(4)} | bad
    with pytest.raises(ValueError, match=message):
        net.hvp(**arguments)


def test_of_must_fit_the_loss():
    net, X = trained("cross_entropy")
    with pytest.raises(ValueError, match="of must be logits or proba for the loss cross_entropy"):
        net.jacobian(X, of="predict")
