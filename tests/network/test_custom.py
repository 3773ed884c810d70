"""Activations and losses of the user's own; the built-in ones are the oracle."""

import copy
import math
import pickle

import numba
import numpy as np
import pytest
from helpers import TOLERANCE, load_backend
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import fastnn
from fastnn import export
from fastnn.backends import numpy as reference

rng = np.random.default_rng(0)
X = rng.standard_normal((300, 5))
Y = np.stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] * X[:, 3]], axis=1)


# At module level, so that they can be pickled.
def soft(z):
    return np.log1p(np.exp(-abs(z))) + max(z, 0.0)


def soft_slope(z):
    return 1.0 / (1.0 + np.exp(-z))


def th(z):
    return np.tanh(z)


def th_slope(z):
    return 1.0 - np.tanh(z) ** 2


def half_square(z, t):
    return (z - t) * (z - t) / 2.0


def residual(z, t):
    return z - t


SOFTPLUS = fastnn.CustomActivation(numba.njit(soft), soft_slope, name="my_softplus")
TANH = fastnn.CustomActivation(th, numba.njit(fastmath=True)(th_slope))
SQUARED = fastnn.CustomLoss(half_square, residual)


@pytest.fixture(params=["numba", "numpy"])
def backend(request):
    """A backend that calls the user's functions."""
    load_backend(request.param)
    return request.param


def pair(backend, dtype="float64", sizes=(5, 7, 6, 6, 2), dropout=0.0, **settings):
    """A network of custom functions, and the same of built-in ones."""
    arguments = {"backend": backend, "dtype": dtype, "random_state": 1, "l2": 1e-3} | settings
    arguments |= {"dropout": dropout, "initializer": "glorot_normal"}
    custom, usual = [TANH, SOFTPLUS, "relu"], ["tanh", "softplus", "relu"]
    return (
        fastnn.Network(sizes, activation=custom, loss=SQUARED, **arguments),
        fastnn.Network(sizes, activation=usual, loss="squared_error", **arguments),
    )


# Numba compiles all of them anew for ten seconds; docs/howto/own_functions.md has float32, too.
@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        *(("numpy", "float32"), ("numpy", "float64"), ("numba", "float64")),
        pytest.param("numba", "float32", marks=pytest.mark.slow),
    ],
    indirect=["backend"],
)
def test_custom_copies_of_builtins_predict_equally(backend, dtype):
    custom, usual = pair(backend, dtype)
    rtol, atol = TOLERANCE[dtype]
    same = {"rtol": rtol, "atol": 10 * atol}  # four layers, of which each may round once more
    np.testing.assert_array_equal(custom.params, usual.params)
    np.testing.assert_allclose(custom.predict(X), usual.predict(X), **same)
    np.testing.assert_allclose(custom.predict(X[:2]), usual.predict(X[:2]), **same)
    weights = np.linspace(0.5, 2, len(X))
    for given in (None, weights):
        assert custom.loss(X, Y, given) == pytest.approx(usual.loss(X, Y, given), rel=10 * atol)
        np.testing.assert_allclose(
            custom.gradients(X, Y, given), usual.gradients(X, Y, given), **same
        )


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"standardize": True}])
def test_custom_copies_of_builtins_train_equally(backend, settings):
    custom, usual = pair(backend, **settings)
    for net in (custom, usual):
        net.fit(X, Y, optimizer=fastnn.Adam(0.01), epochs=6, batch_size=50)
    # 36 steps from roundings of 1e-16, which Adam's first steps amplify where a gradient is small
    np.testing.assert_allclose(custom.params, usual.params, rtol=0, atol=1e-9)
    assert custom.score(X, Y) == pytest.approx(usual.score(X, Y), abs=1e-9)


def test_bits_independent_of_threads():
    load_backend("numba")
    found = []
    wide = np.repeat(X, 10, axis=0), np.repeat(Y, 10, axis=0)
    for threads in (1, 3):
        net, _ = pair("numba", "float32", (5, 64, 64, 6, 2), n_threads=threads)
        net.fit(*wide, optimizer="adam", epochs=3)
        found.append(net.params)
    np.testing.assert_array_equal(*found)


def test_backends_agree_and_the_complex_step_confirms():
    load_backend("numba")
    square = fastnn.CustomActivation(
        lambda z: z * np.exp(-z * z), lambda z: (1 - 2 * z * z) * np.exp(-z * z)
    )
    loss = fastnn.CustomLoss(lambda z, t: np.log(np.cosh(z - t)), lambda z, t: np.tanh(z - t))
    arguments = {"activation": square, "loss": loss, "dtype": "float64", "random_state": 0}
    x, y = X[:9], Y[:9]
    nets = [fastnn.Network((5, 4, 3, 2), backend=b, **arguments) for b in ("numpy", "numba")]
    gradients = [net.gradients(x, y) for net in nets]
    # a handful of roundings of numbers of order one
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-14)
    net, plan = nets[0], nets[0].model.plan
    for k in range(0, net.n_params, 5):
        moved = net.params.astype(complex)
        moved[k] += 1e-30j
        value = reference.loss_and_grad(
            plan.net(net.model.loss), x.T, y.T, np.empty(0), 0, 0, moved, None,
            np.empty((1, net.n_params), complex),
        )  # fmt: skip
        assert value.imag / 1e-30 == pytest.approx(gradients[1][k], rel=1e-11, abs=1e-14)


def test_python_functions_with_branches_and_math(backend):
    def leaky(z):
        if z > 0:
            return z
        return 0.01 * z

    def slope(z):
        return 1 if z > 0 else 0.01  # an integer is a number too

    def refusing(z):
        if z > 0.5:
            raise ValueError("too much")
        return z

    flags = fastnn.CustomActivation(lambda z: z > 0, lambda z: False)
    # NaN and infinity where math raises, as compiled code gives
    log = fastnn.CustomActivation(lambda z: math.log(z), lambda z: 1 / z)
    custom = fastnn.CustomActivation(leaky, slope)
    nets = [
        fastnn.Network(
            [5, 4, 2], activation=a, loss="squared_error", initializer="he_normal",
            backend=backend, random_state=0,
        )
        for a in (custom, "leaky_relu", log, fastnn.CustomActivation(refusing, slope), flags)
    ]  # fmt: skip
    np.testing.assert_allclose(
        nets[0].gradients(X, Y), nets[1].gradients(X, Y), rtol=1e-5, atol=1e-6
    )
    for net in nets[2:4]:
        with pytest.raises(fastnn.DivergenceError, match="nan"):
            net.fit(X, Y, epochs=3)
    assert np.isfinite(nets[3].predict(np.zeros((1, 5)))).all()
    assert set(np.unique(nets[4].gradients(X, Y)[:20])) == {0.0}  # of the first weights


def test_divergence_keeps_finite_parameters(backend):
    net, _ = pair(backend)
    with pytest.raises(fastnn.DivergenceError):
        net.fit(X, Y, optimizer=fastnn.SGD(1e6), epochs=50)
    assert np.isfinite(net.params).all()


def test_auto_backend_supports_custom_functions():
    load_backend("numba")
    assert pair("auto")[0].backend == "numba"


@pytest.mark.parametrize("settings", [{"activation": TANH}, {"loss": SQUARED}])
def test_cython_backend_raises(settings):
    load_backend("cython")
    arguments = {"loss": "squared_error", **settings}
    with pytest.raises(
        ValueError, match=r"'cython' cannot call Python functions.*use backend='numba'"
    ):
        fastnn.Network([2, 3, 1], backend="cython", **arguments)
    model = fastnn.MLPRegressor(hidden_layer_sizes=3, backend="cython", **arguments)
    with pytest.raises(ValueError, match="'cython' cannot call Python functions"):
        model.fit(X, Y)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_continue_training(backend, again):
    net, _ = pair(backend)
    net.fit(X, Y, epochs=2)
    other = again(net)
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    for one in (net, other):
        one.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(other.params, net.params)


def test_a_lambda_is_not_pickled():
    net = fastnn.Network(
        [2, 3, 1], activation=fastnn.CustomActivation(lambda z: z, lambda z: 1.0), backend="numpy",
        loss="squared_error",
    )  # fmt: skip
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(net)


def test_files_and_exports_raise(tmp_path, backend):
    custom, _ = pair(backend)
    with pytest.raises(
        fastnn.ModelFormatError, match=r"not written, CustomActivation\(th\) is code"
    ):
        custom.save(tmp_path / "m.safetensors")
    model = fastnn.MLPRegressor(SQUARED, 4, backend=backend, max_iter=500, tol=0.1).fit(X, Y)
    with pytest.raises(fastnn.ModelFormatError, match=r"CustomLoss\(half_square\) is code"):
        model.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"only built-in activations can be; got CustomAct"):
        export.to_c(custom, "net")
    with pytest.raises(ValueError, match="compiled calls take built-in activations"):
        custom.numba_predict()
    # a loss says nothing about predictions
    assert "model_predict" in export.to_c(model, "model")
    load_backend("numba")
    out = np.empty(2)
    model.numba_predict()(X[0], out)
    np.testing.assert_allclose(out, model.predict(X[:1])[0], rtol=1e-12)


def test_estimators_train_equally_with_copied_loss(backend):
    settings = {"hidden_layer_sizes": (6, 5), "backend": backend, "random_state": 0}
    settings |= {"max_iter": 8, "n_iter_no_change": 100, "batch_size": 30, "alpha": 0.0}
    y = Y[:, 0]
    for solver in ("adam", "lbfgs"):
        ours = fastnn.MLPRegressor(SQUARED, activation=[TANH, SOFTPLUS], solver=solver, **settings)
        usual = fastnn.MLPRegressor(activation=["tanh", "softplus"], solver=solver, **settings)
        with pytest.warns(UserWarning, match="converge"):
            ours.fit(X, y)
        with pytest.warns(UserWarning, match="converge"):
            usual.fit(X, y)
        np.testing.assert_allclose(ours.predict(X), usual.predict(X), rtol=0, atol=1e-8)
        assert ours.out_activation_ == "identity"
    again = clone(ours)
    assert again.get_params() == ours.get_params()
    assert "CustomLoss(half_square)" in repr(ours)


def test_estimators_in_worker_processes():
    load_backend("numba")
    model = fastnn.MLPClassifier(5, activation=TANH, max_iter=500, tol=0.05, random_state=0)
    y = Y[:, 0] > 0
    np.testing.assert_array_equal(
        cross_val_score(model, X, y, cv=2, n_jobs=2), cross_val_score(model, X, y, cv=2)
    )


def test_changed_loss_takes_effect():
    model = fastnn.MLPRegressor(SQUARED, 4, backend="numpy", max_iter=500, tol=0.1).fit(X, Y)
    model.set_params(warm_start=True, loss="huber").fit(X, Y)
    assert model._network().loss_name == "huber"


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((3, th), r"f must be a function of \(z\); got 3"),
        ((th, None), r"df must be a function of \(z\); got None"),
        ((th, residual), r"df must be a function of \(z\): missing a required argument: 't'"),
        ((lambda: 0, th), r"f must be a function of \(z\): too many"),
        ((th, th_slope, "tanh"), "name must not be that of a built-in activation; got 'tanh'"),
        ((th, th_slope, ""), "name must be a string that is not empty"),
    ],
)
def test_invalid_functions_raise(arguments, match):
    with pytest.raises(ValueError, match=match):
        fastnn.CustomActivation(*arguments)
    if "name" not in match:
        with pytest.raises(ValueError, match="f must be a function"):
            fastnn.CustomLoss(*arguments)


@pytest.mark.parametrize(
    ("f", "df", "named"),
    [
        (lambda z: (z, z), th_slope, "f of .* must give a real number"),
        (th, lambda z: None, "df of .* must give a real number"),
        (th, lambda z: z * 1j, "df of .* must give a real number"),
        (th, lambda z: "1", "df of .* must give a real number"),
        (lambda z: no_such_name(z), th, "f of .*no_such_name"),  # noqa: F821
    ],
)
def test_failing_functions_raise(backend, f, df, named):
    activation = fastnn.CustomActivation(f, df, name="mine")
    with pytest.raises(ValueError, match=named) as error:
        fastnn.Network([2, 3, 2], activation=activation, backend=backend)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=named):
        fastnn.MLPClassifier(3, activation=[activation], backend=backend).fit(X, Y[:, 0] > 0)


def test_functions_numba_cannot_compile_work_in_numpy():
    load_backend("numba")
    values = {}

    def remembering(z):
        return values.setdefault(float(z), float(z))

    activation = fastnn.CustomActivation(remembering, lambda z: 1.0)
    with pytest.raises(ValueError, match=r"f of .* cannot be compiled by Numba: .*values"):
        fastnn.Network([5, 3, 2], activation=activation, backend="numba")
    with pytest.raises(
        ValueError, match="cannot be compiled by Numba: it must be written in Python"
    ):
        fastnn.Network(
            [5, 3, 2], activation=fastnn.CustomActivation(np.tanh, th_slope, "np"), backend="numba"
        )
    net = fastnn.Network([5, 3, 2], activation=activation, backend="numpy")
    assert np.isfinite(net.predict_proba(X)).all()


def test_names_of_builtins_are_reserved():
    with pytest.raises(ValueError, match="activation must be one of"):
        fastnn.Network([2, 3, 2], activation="th")
    with pytest.raises(ValueError, match="loss must be one of"):
        fastnn.Network([2, 3, 2], loss=TANH)
    with pytest.raises(ValueError, match="label_smoothing needs a loss of classification"):
        fastnn.Network([2, 3, 2], loss=SQUARED, label_smoothing=0.1)
    assert "CustomActivation(th)" in repr(
        fastnn.Network([2, 3, 2], activation=TANH, backend="numpy")
    )
