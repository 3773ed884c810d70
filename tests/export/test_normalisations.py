"""Normalisations of PyTorch and Keras, which are linear in prediction, go into the layers."""

import numpy as np
import pytest
from helpers import assert_same

from fastnn import export

rng = np.random.default_rng(0)
X = (rng.standard_normal((30, 3)) * [1, 10, 100] + [5, -30, 200]).astype("f4")


# --- PyTorch ------------------------------------------------------------------------


def normalised(torch, features, affine=True):
    """BatchNorm1d as after a training: means, deviations, factors (one negative) and shifts."""
    layer = torch.nn.BatchNorm1d(features, affine=affine, eps=1e-3)
    numbers = torch.Generator().manual_seed(0)
    layer.running_mean.normal_(generator=numbers)
    layer.running_var.uniform_(0.2, 5, generator=numbers)
    if affine:
        torch.nn.init.normal_(layer.weight, generator=numbers)
        torch.nn.init.normal_(layer.bias, generator=numbers)
    return layer


def outputs(torch, module, data=X):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(data)).numpy()


def test_batch_norm_at_any_position(torch):
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        normalised(torch, 3),
        nn.Linear(3, 6),
        normalised(torch, 6),  # between a layer and its activation
        nn.ReLU(),
        normalised(torch, 6),  # behind it
        nn.Dropout(0.3),
        normalised(torch, 6, affine=False),
        nn.Linear(6, 4),
        nn.Linear(4, 4),
        normalised(torch, 4),
        normalised(torch, 4),
        nn.Softmax(1),
    )
    net = export.from_torch(module, classes=["a", "b", "c", "d"])
    assert_same(net.predict_proba(X), outputs(torch, module), "float32", atol=1e-5)
    assert net.dropout == (0.3, 0.0)
    assert net.layer_sizes == (3, 6, 4, 4)
    double = module.double()
    net = export.from_torch(double)
    expected = outputs(torch, double, X.astype("f8"))
    assert_same(net.predict_proba(X.astype("f8")), expected, "float64")


def test_batch_norm_keeps_digits_of_large_values(torch):
    """Without negative factors they become what the network standardises with."""
    nn = torch.nn
    torch.manual_seed(0)
    times = (1.7e9 + np.arange(50.0))[:, None]
    first, last = nn.BatchNorm1d(1, affine=False, eps=0), nn.BatchNorm1d(1, affine=False, eps=0)
    first, last = first.double(), last.double()
    first.running_mean[:], first.running_var[:] = 1.7e9 + 25, 200.0
    last.running_mean[:], last.running_var[:] = -3e9, 4.0
    body = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    net = export.from_torch(nn.Sequential(first, body, last).float())
    assert net.dtype == np.float32
    assert net.standardize
    mean = float(np.float32(-3e9)), float(np.float32(1.7e9 + 25))
    assert mean[1] == 1.7e9  # .float() rounds it
    z = outputs(torch, body.double(), (times - mean[1]) / np.sqrt(200))
    np.testing.assert_allclose(net.predict(times), (z[:, 0] - mean[0]) / 2, rtol=0, atol=1e-6)


def test_log_softmax_becomes_softmax(torch):
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.LogSoftmax(dim=1))
    data = X / 100
    net = export.from_torch(module)
    assert net.loss_name == "cross_entropy"
    assert_same(np.log(net.predict_proba(data)), outputs(torch, module, data), "float32", atol=1e-5)
    with pytest.raises(ValueError, match="dim must be 1 or -1; got 0"):
        export.from_torch(nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(dim=0)))


def test_custom_modules(torch):
    nn, functional = torch.nn, torch.nn.functional

    class Quickstart(nn.Module):
        """As in PyTorch's tutorial."""

        def __init__(self):
            super().__init__()
            self.flatten = nn.Flatten()
            self.linear_relu_stack = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))

        def forward(self, x):
            x = self.flatten(x)
            return self.linear_relu_stack(x)

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Quickstart()
            self.norm = normalised(torch, 4)
            self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 5)

        def forward(self, x):
            x = functional.leaky_relu(self.norm(self.inner(x.view(x.size(0), -1))), 0.2)
            x = functional.dropout(x, p=0.1, training=self.training)
            x = self.fc1(x).tanh()
            return functional.log_softmax(self.fc2(x), dim=1)

    torch.manual_seed(0)
    for module in (Quickstart(), nn.Sequential(nn.Linear(3, 3), Quickstart())):
        net = export.from_torch(module, loss="squared_error")
        assert_same(net.predict(X), outputs(torch, module), "float32", atol=1e-4)
    module = Functional()
    net = export.from_torch(module)
    assert net.activations == ("relu", "leaky_relu", "tanh")
    assert net.alpha == 0.2
    expected = np.exp(outputs(torch, module))
    assert_same(net.predict_proba(X), expected, "float32", atol=1e-5)


def test_branching_modules_raise(torch):
    nn = torch.nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

        def forward(self, x):
            return x + self.layer(x)

    class Scaled(Residual):
        def forward(self, x):
            return 2 * self.layer(x)

    class Branching(Residual):
        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    class Own(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    for made, message in [
        (Residual, r"layer 0 \(Residual\): its forward is not a chain of layers, see add"),
        (Scaled, r"layer 0 \(Scaled\), mul is not supported"),
        (Branching, r"layer 0 \(Branching\): its forward cannot be followed \(.*\); give the Seq"),
        (lambda: Own(3, 2), r"layer 0 \(Own\): its forward is not a chain of layers, see weight"),
    ]:
        with pytest.raises(ValueError, match=message):
            export.from_torch(made())

    class Renamed(nn.Linear):
        """Changes nothing."""

    layer = Renamed(3, 2)
    net = export.from_torch(nn.Sequential(layer))
    assert_same(net.predict(X), outputs(torch, layer), "float32", atol=1e-4)
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module; got int"):
        export.from_torch(3)


def test_smooth_clip_round_trip(torch):
    import fastnn

    net = fastnn.Network([3, 4, 2], standardize=True, smooth_clip=2.0, random_state=0)
    net.fit(X, X[:, 0] > 5, epochs=2)
    again = export.from_torch(export.to_torch(net))
    assert again.smooth_clip == 2.0
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))


# --- Keras --------------------------------------------------------------------------------


def batch_normalisation(keras, features, **settings):
    layer = keras.layers.BatchNormalization(epsilon=1e-3, **settings)
    layer.build((None, features))
    own = np.random.default_rng(features)
    numbers = [own.standard_normal(features)] * (layer.scale + layer.center)
    layer.set_weights([*numbers, own.standard_normal(features), own.uniform(0.2, 5, features)])
    return layer


def test_keras_normalisations_at_any_position(keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Rescaling(1 / 255, offset=-0.5),
            layers.Normalization(mean=X.mean(axis=0) / 255 - 0.5, variance=[0.1, 0.2, 0.3]),
            layers.Dense(6),
            batch_normalisation(keras, 6),
            layers.ReLU(),
            batch_normalisation(keras, 6, scale=False),
            layers.Dense(5, activation="tanh"),
            layers.Dropout(0.1),
            layers.Rescaling(-2.0, offset=0.25),
            layers.Dense(4),
            batch_normalisation(keras, 4, center=False),
            layers.Softmax(),
        ]
    )
    net = export.from_keras(model)
    assert_same(net.predict_proba(X), np.asarray(model(X)), "float32", atol=1e-5)
    # the features as they are: their scales stay apart
    assert net.standardize
    np.testing.assert_allclose(net.scales.input_shift, X.mean(axis=0), rtol=1e-5)


def test_keras_rescaled_outputs(keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs, last = keras.Input((3,)), layers.Rescaling(250.0, offset=1e6)
    for hidden in (layers.Dense(1), batch_normalisation(keras, 3)):
        stack = [inputs, layers.Rescaling(0.01), hidden, layers.Dense(1), last]
        model = keras.Sequential(stack)
        net = export.from_keras(model)
        np.testing.assert_allclose(net.predict(X)[:, None], np.asarray(model(X)), rtol=3e-7)
        assert net.scales.target_shift.tolist() == [1e6]
        # poisson's outputs are not scaled: then it is part of the last layer
        net = export.from_keras(
            keras.Sequential(
                [inputs, layers.Rescaling(0.01), layers.Dense(1), layers.Rescaling(0.5, 1.0)]
            ),
            loss="poisson",
        )
        assert net.scales.target_shift is None


def test_keras_rescaling_before_flatten(keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    stack = [keras.Input((4, 4)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)]
    model = keras.Sequential(stack)
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4)).astype("f4")
    net = export.from_keras(model, loss="cross_entropy")
    expected = np.asarray(keras.ops.softmax(model(images)))
    assert_same(net.predict_proba(images.reshape(5, 16)), expected, "float32", atol=1e-5)
