"""Derivatives by the parameters, and of derivatives: complex step, other derivatives, bad input."""

import numpy as np
import pytest
from helpers import assert_same, load_backend

import fastnn
from fastnn.backends import codes
from fastnn.network.custom import CustomActivation

rng = np.random.default_rng(0)
X = rng.normal(50.0, [1.0, 20.0, 0.1], (7, 3))
U = rng.normal(0.0, [1.0, 20.0, 0.1], (7, 3))


def trained(loss="squared_error", outputs=2, **settings):
    settings = {"standardize": True, "dtype": "float64", "random_state": 0} | settings
    net = fastnn.Network([3, 6, 5, 2 if loss == "gaussian" else outputs], loss=loss, **settings)
    if loss == "cross_entropy":
        y = np.arange(7) % outputs
    elif loss == "binary_cross_entropy":
        y = rng.integers(0, 2, (7, outputs)) if outputs > 1 else np.arange(7) % 2
    else:
        n = 1 if loss == "gaussian" else outputs
        y = np.abs(rng.normal(50.0, [7.0, 0.2][:n], (7, n)))
    x = X if net.standardize else (X - 50) / [1.0, 20.0, 0.1]
    net.fit(x, y, epochs=2)
    for b in net.biases:
        b[:] = rng.normal(size=b.shape)
    return net, x


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("loss", codes.LOSSES)
def test_jacobian_by_params_equals_tape_gradients(loss, outputs, backend):
    if loss == "cross_entropy" and outputs == 1:
        outputs = 3
    net, x = trained(loss, outputs, backend=backend)
    kinds = ["logits", "predict" if net.is_regression else "proba"]
    for of in kinds:
        jacobian = net.jacobian_by_params(x, of=of)
        for s in range(len(x)):
            tape = net.forward(x[s : s + 1], of=of)
            assert jacobian.shape[1:] == (tape.outputs.shape[1], net.n_params)
            for k in range(jacobian.shape[1]):
                unit = np.eye(jacobian.shape[1])[k : k + 1]
                assert_same(jacobian[s, k], tape.backward(unit), "float64")


@pytest.mark.parametrize("clip", [None, 1.5])
@pytest.mark.parametrize("activation", [n for n in codes.ACTIVATIONS if n != "selu"])
def test_taylor_agrees_with_the_other_derivatives(activation, clip, backend):
    net, x = trained(activation=activation, smooth_clip=clip, backend=backend)
    found = net.taylor(x, U)
    assert_same(found.value, net.predict(x), "float64", rtol=1e-12)
    assert_same(found.first, net.jvp(x, U), "float64", rtol=1e-10)
    for k in range(2):
        bent = net.hvp(x, np.eye(2)[k], U)
        assert_same(found.second[:, k], np.einsum("sd,sd->s", bent, U), "float64", rtol=1e-8)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus", "silu", "gelu", "mish"])
def test_taylor_by_params_matches_differences(activation):
    net, x = trained(activation=activation, smooth_clip=2.0, backend="numpy")
    found = net.taylor(x, U, by_params=True)
    params, h = net.params.copy(), 1e-5
    for p in range(0, net.n_params, 3):
        sides = []
        for sign in (1, -1):
            net.params = params
            net.params[p] += sign * h
            sides.append(net.taylor(x, U))
        net.params = params
        for name in ("value", "first", "second"):
            plus, minus = (getattr(side, name) for side in sides)
            difference = (plus - minus) / (2 * h)
            exact = getattr(found, f"{name}_by_params")[:, :, p]
            scale = np.abs(difference).max()
            # the third derivative times h^2, and rounding by h
            np.testing.assert_allclose(exact, difference, rtol=1e-6, atol=1e-7 * max(scale, 1))


def test_taylor_of_logits_and_single_precision():
    net, x = trained("cross_entropy", 3, dtype="float32")
    found = net.taylor(x, [1.0, 0.0, 0.0], by_params=True)
    np.testing.assert_allclose(
        found.first, net.jvp(x, [1.0, 0.0, 0.0], of="logits"), rtol=1e-4, atol=1e-5
    )
    assert found.second_by_params.shape == (7, 3, net.n_params)
    assert_same(found.value_by_params, net.jacobian_by_params(x, of="logits"), "float32")


def test_invalid_arguments_raise():
    net, x = trained()
    with pytest.raises(ValueError, match=r"u must be numbers of shape \(7, 3\) or \(3,\); got"):
        net.taylor(x, [1.0, 0.0])
    with pytest.raises(ValueError, match="u"):
        net.taylor(x, [1.0, np.nan, 0.0])
    with pytest.raises(ValueError, match="X"):
        net.taylor(x[:, :2], [1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="of must be logits or predict"):
        net.jacobian_by_params(x, of="proba")
    load_backend("numpy")
    own = CustomActivation(lambda z: z, lambda z: 1.0)
    other = fastnn.Network([3, 4, 1], activation=own, loss="squared_error", backend="numpy")
    with pytest.raises(ValueError, match="taylor needs second derivatives"):
        other.taylor(x, [1.0, 0.0, 0.0])
