"""RealMLP-TD-S against the same in plain PyTorch."""

import numpy as np
import pytest
from sklearn import datasets
from sklearn.model_selection import train_test_split

import fastnn
from fastnn.backends.numpy.random import shuffle
from fastnn.tables import realmlp, realmlp_training

torch = pytest.importorskip("torch")
import torch_realmlp  # noqa: E402


@pytest.fixture
def float64():
    """PyTorch in float64, on one thread: others would wait longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(threads)


def _table(samples=600):
    """Numbers with a heavy tail, a rare flag, a constant."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 6)) * [1, 10, 1e3, 1, 1, 1] + [0, 5, 1e6, 0, 0, 3]
    x[:, 3] = rng.standard_t(2, samples)
    x[:, 4] = rng.random(samples) < 0.1
    x[:, 5] = 3
    return x, rng


def test_preprocessing_is_that_of_the_paper(float64):
    x, rng = _table()
    net = realmlp.new_network(x, rng.integers(0, 2, (600, 1)), 2, dtype="float64")
    ours = net.scales.inputs(x, net.spec)
    wanted = torch_realmlp.Preprocessor(x)(x).numpy()
    np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("regression", [False, True])
def test_first_steps_are_those_of_pytorch(backend, float64, monkeypatch, regression, outputs):
    """Weights after five epochs of two batches each, of 600 rows.

    Epsilon is tiny, since PyTorch adds it after the correction of the second moment, the kernels
    before. Most of the steps, and all that the schedule does, are in here.
    """
    monkeypatch.setattr(realmlp_training, "EPSILON", 1e-40)
    x, rng = _table()
    if regression:
        targets = x[:, :outputs] + rng.standard_normal((600, outputs))
    else:
        targets, outputs = rng.integers(0, outputs + 1, (600, 1)), outputs + 1
    n_classes = 0 if regression else outputs
    settings = {"label_smoothing": 0.0 if regression else 0.1, "dtype": "float64", "seed": 5}
    net = realmlp.new_network(x, targets, n_classes, **settings, backend=backend)
    scales, epochs = net.scales, 5
    theirs = torch_realmlp.make_model(6, outputs, regression)
    with torch.no_grad():
        for layer, w, b in zip(list(theirs)[1::2], net.weights, net.biases, strict=True):
            layer.weight[:] = torch.tensor(w * np.sqrt(len(w)))
            layer.bias[:] = torch.tensor(b)
    y = scales.targets(targets.astype(float), net.spec)
    z = scales.inputs(x, net.spec)
    record = realmlp_training.train(net, realmlp_training.Samples(z, y, np.empty(0)), None, epochs)

    training = torch_realmlp.Training(theirs, regression, epochs * 2, epsilon=1e-40)
    inputs = torch.tensor(z)
    wanted = torch.tensor(y) if regression else torch.tensor(y[:, 0].astype(int))
    losses = []
    for epoch in range(epochs):
        order = np.empty(600, np.int64)
        shuffle(net.state.seed, epoch, order)
        for rows in (order[:256], order[256:512]):
            losses.append(training.step(inputs[rows], wanted[rows]))
    factor = outputs / 2 if regression else 1  # ours is half of the sum over the outputs
    ours = np.array(record.losses)
    np.testing.assert_allclose(ours, np.reshape(losses, (5, 2)).mean(axis=1) * factor, rtol=1e-9)
    scale = next(theirs.parameters()).detach().numpy()
    for k, layer in enumerate(list(theirs)[1::2]):
        w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        w = w / np.sqrt(len(w))
        if k == 0:
            w = (scale[:, None] * w)[:5]  # of the constant both are 0 times something
        np.testing.assert_allclose(net.weights[k][: len(w)], w, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(net.biases[k], b, rtol=1e-6, atol=1e-9)


SETS = {
    "breast cancer": (datasets.load_breast_cancer, False),
    "digits": (datasets.load_digits, False),
    "two of ten informative": (
        lambda **_: datasets.make_classification(
            1500, 10, n_informative=4, flip_y=0.05, random_state=0
        ),
        False,
    ),
    "diabetes": (datasets.load_diabetes, True),
    "Friedman": (lambda **_: datasets.make_friedman1(1500, noise=1.0, random_state=0), True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_errors_are_those_of_pytorch(name):
    """Mean of three seeds, within a standard error of what the test rows can tell."""
    load, regression = SETS[name]
    x, y = load(return_X_y=True)
    losses = []
    for seed in range(3):
        rest, test = train_test_split(np.arange(len(y)), test_size=0.3, random_state=seed)
        kept, held = train_test_split(rest, test_size=0.2, random_state=seed)
        model = (fastnn.TabularRegressor if regression else fastnn.TabularClassifier)(
            random_state=seed, log_features=False
        )
        model.fit(x[kept], y[kept], X_val=x[held], y_val=y[held])
        theirs = torch_realmlp.predict(
            x[kept], y[kept], x[held], y[held], x[test], regression, seed
        )
        for predicted in (model.predict(x[test]), theirs):
            wrong = (predicted - y[test]) ** 2 if regression else predicted != y[test]
            losses.append(wrong.astype(float))
    ours, theirs = losses[0::2], losses[1::2]
    means = np.mean([v.mean() for v in ours]), np.mean([v.mean() for v in theirs])
    standard_error = np.mean([v.std() / np.sqrt(len(v)) for v in theirs])
    print(f"{name}: {means[0]:.4f}, PyTorch {means[1]:.4f}, standard error {standard_error:.4f}")
    assert abs(means[0] - means[1]) <= standard_error
