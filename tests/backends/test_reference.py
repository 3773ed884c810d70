"""The reference kernels against what does not come from this project."""

import numpy as np
import pytest
from helpers import ALPHAS, loss_and_grad, make_problem, train
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.datasets import make_moons

import fastnn
from fastnn.backends import codes
from fastnn.backends import numpy as reference

# Objective after 1, 1,001 and 19,001 steps; from the course's own code.
COURSE = {
    "tanh": (0.432387, 0.068947, 0.070758),
    "sigmoid": (0.628571, 0.088431, 0.078155),
    "relu": (0.560274, 0.072179, 0.071219),
}
TANH_OTHER_PHASE = 0.071316  # plain NumPy code, (samples, features) throughout, one step earlier


@pytest.mark.parametrize("activation", COURSE)
def test_course_example_matches_worked_solution(activation, backend):
    X, y = make_moons(200, noise=0.2, random_state=0)
    net = fastnn.Network(
        [2, 3, 2],
        activation=activation,
        initializer="lecun_normal",
        l2=5e-5,
        dtype="float64",
        random_state=0,
        backend=backend,
    )
    losses = []
    for epochs in (1, 1000, 18_000):
        net.fit(X, y, optimizer=fastnn.SGD(learning_rate=2.0), epochs=epochs)
        losses.append(net.loss(X, y))
    # the table has six decimals
    np.testing.assert_allclose(losses[:2], COURSE[activation][:2], rtol=0, atol=1e-6)
    if activation == "tanh":
        # From about step 2,000 the step is too long for the valley: the loss jumps between two
        # values for ever, and the rounding of the first steps decides which falls on the odd
        # ones (changing one weight by one ULP swaps them, in every backend). So the table's
        # value, or the other one and the table's a step later.
        net.fit(X, y, optimizer=fastnn.SGD(learning_rate=2.0), epochs=1)
        losses = sorted([losses[2], net.loss(X, y)])
        expected = [COURSE[activation][2], TANH_OTHER_PHASE]
        np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-6)
    else:
        np.testing.assert_allclose(losses[2], COURSE[activation][2], rtol=0, atol=1e-6)


# --- gradients ------------------------------------------------------------------

SMOOTH = ("identity", "tanh", "sigmoid", "softplus", "silu", "gelu", "mish")
KINKED = ("relu", "leaky_relu", "elu", "selu")
LOSSES = tuple(codes.LOSSES)


@st.composite
def problems(draw, activations):
    """Networks of 1 to 6 layers, widths 1 to 40, with everything that changes a gradient."""
    n_hidden = draw(st.integers(0, 5))
    loss = draw(st.sampled_from(LOSSES))
    sizes = draw(st.lists(st.integers(1, 40), min_size=n_hidden + 1, max_size=n_hidden + 1))
    sizes.append(draw(st.integers(2 if loss == "cross_entropy" else 1, 40)))
    lists = {"min_size": n_hidden, "max_size": n_hidden}
    return make_problem(
        sizes,
        draw(st.lists(st.sampled_from(activations), **lists)),
        loss,
        samples=draw(st.integers(1, 12)),
        l2=draw(st.sampled_from((0.0, 1e-3, 0.5))),
        dropout=draw(st.lists(st.sampled_from((0.0, 0.25, 0.5)), **lists)),
        weighted=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def directions(problem, n_single):
    """Unit vectors: three over all parameters, and single parameters."""
    rng = np.random.default_rng(1)
    n = problem.plan.n_params
    vectors = rng.standard_normal((3, n))
    yield from vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for i in {0, n - 1, *rng.integers(0, n, n_single).tolist()}:
        yield np.eye(1, n, i)[0]


def check_complex_step(problem):
    _, gradient = loss_and_grad(reference, problem)
    # no subtraction, so the step can be so small that it costs no accuracy
    h = 1e-30
    for v in directions(problem, 6):
        value, _ = loss_and_grad(reference, problem, params=problem.params + 1j * h * v)
        assert abs(value.imag / h - gradient @ v) <= 1e-12 * np.linalg.norm(gradient)


@given(problems(SMOOTH))
def test_gradient_matches_complex_step(problem):
    check_complex_step(problem)


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_every_parameter_matches_complex_step(activation, loss):
    problem = make_problem([3, 4, 5, 2], activation, loss, samples=7, l2=0.01, weighted=True)
    _, gradient = loss_and_grad(reference, problem)
    steps = 1e-30j * np.eye(problem.plan.n_params)
    each = [
        loss_and_grad(reference, problem, params=problem.params + s)[0].imag / 1e-30 for s in steps
    ]
    assert np.linalg.norm(each - gradient) <= 1e-12 * np.linalg.norm(gradient)


def branches(problem, params):
    """Signs of all net inputs: where they differ, a kink lies in between."""
    plan, a, signs = problem.plan, problem.x.T, []
    for k, (row, constant) in enumerate(zip(plan.layers, plan.constants, strict=False)):
        out = np.empty((row[codes.FAN_OUT], a.shape[1]))
        if row[codes.KIND] == codes.DROPOUT:
            key = reference.stream(problem.seed, codes.STREAM_DROPOUT + k, 3)
            reference.dropout_forward(a, constant, key, 0, out)
        else:
            w, b = reference.weights_of(row, params), reference.biases_of(row, params)
            reference.dense_forward(a, w, b, out)
            signs.append(out.ravel() > 0)
            reference.activation_forward(out, row[codes.ACTIVATION], constant, out)
        a = out
    return np.concatenate(signs)


@given(problems(KINKED))
def test_gradient_matches_central_differences(problem):
    _, gradient = loss_and_grad(reference, problem)
    h = 1e-5
    for v in directions(problem, 6):
        ahead, behind = problem.params + h * v, problem.params - h * v
        assume((branches(problem, ahead) == branches(problem, behind)).all())
        values = [loss_and_grad(reference, problem, params=p)[0] for p in (ahead, behind)]
        # truncation h**2 and rounding 1e-16 / h, both some 1e-10 of numbers of order one;
        # a hundredfold for networks that bend more
        tolerance = 1e-8 * (np.linalg.norm(gradient) + abs(values[0]))
        assert abs((values[0] - values[1]) / (2 * h) - gradient @ v) <= tolerance


@pytest.mark.parametrize("activation", [*SMOOTH, *KINKED])
def test_gradient_matches_pytorch(activation):
    torch = pytest.importorskip("torch")
    names = {"identity": lambda z: z, "leaky_relu": lambda z: leaky(z, ALPHAS["leaky_relu"])}
    leaky = torch.nn.functional.leaky_relu
    names["elu"] = lambda z: torch.nn.functional.elu(z, ALPHAS["elu"])
    function = names.get(activation) or getattr(torch.nn.functional, activation)
    problem = make_problem([5, 7, 6, 3], activation, samples=11)
    value, gradient = loss_and_grad(reference, problem)
    params = torch.tensor(problem.params, requires_grad=True)
    a = torch.tensor(problem.x)
    for k, row in enumerate(problem.plan.layers.tolist()):
        w = params[row[codes.WEIGHTS] : row[codes.BIASES]].reshape(
            row[codes.FAN_IN], row[codes.FAN_OUT]
        )
        a = a @ w + params[row[codes.BIASES] : row[codes.BIASES] + row[codes.FAN_OUT]]
        a = function(a) if k < len(problem.plan.layers) - 1 else a
    expected = torch.nn.functional.cross_entropy(a, torch.tensor(problem.targets[:, 0]).long())
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    difference = np.linalg.norm(params.grad.numpy() - gradient)
    assert difference <= 1e-12 * np.linalg.norm(gradient)


@pytest.mark.parametrize("activation", KINKED)
def test_derivative_at_the_kink(activation, kernels):
    # relu'(0) = 0: the derivative from the left everywhere
    alpha = ALPHAS.get(activation, 0.0)
    expected = codes.SELU_SCALE_ALPHA if activation == "selu" else alpha
    da, zero = np.ones((1, 3)), np.zeros((1, 3))
    kernels.activation_backward(zero, zero, codes.ACTIVATIONS[activation], alpha, da)
    assert (da == expected).all()


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_activations_against_their_definition(activation, kernels):
    import mpmath as mp

    alpha = ALPHAS.get(activation, 0.0)
    formulas = {
        "identity": lambda z: z,
        "tanh": mp.tanh,
        "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
        "relu": lambda z: max(z, mp.mpf(0)),
        "leaky_relu": lambda z: z if z > 0 else alpha * z,
        "elu": lambda z: z if z > 0 else alpha * mp.expm1(z),
        "softplus": lambda z: mp.log1p(mp.exp(z)),
        "silu": lambda z: z / (1 + mp.exp(-z)),
        "gelu": lambda z: z * mp.ncdf(z),
        # the paper's alpha; its lambda is the first number of codes.py
        "selu": lambda z: (
            codes.SELU_SCALE * (z if z > 0 else mp.mpf("1.6732632423543772") * mp.expm1(z))
        ),
        "mish": lambda z: z * mp.tanh(mp.log1p(mp.exp(z))),
    }
    points = np.concatenate([np.linspace(-30, 30, 121), [-1e4, -1e-9, 1e-9, 1e4]])
    with mp.workdps(40):
        expected = [float(formulas[activation](mp.mpf(float(z)))) for z in points]
    z = points.reshape(5, 25)
    out = np.empty_like(z)
    kernels.activation_forward(z, codes.ACTIVATIONS[activation], alpha, out)
    # some fifty ULP for a formula of a few operations; gelu's tail falls like exp(-z z / 2), where
    # one rounding of z costs z z ULP
    rtol = 1e-14 + (2.3e-16 * points**2 if activation == "gelu" else 0)
    assert (np.abs(out.ravel() - expected) <= rtol * np.abs(expected)).all()


@pytest.mark.parametrize("activation", [*SMOOTH[1:], *KINKED])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_propagate_nan(activation, dtype, kernels):
    z = np.full((3, 37), np.nan, dtype)
    out, da = np.zeros_like(z), np.ones_like(z)
    code = codes.ACTIVATIONS[activation]
    kernels.activation_forward(z, code, 0.5, out)
    assert np.isnan(out).all()
    if activation not in ("relu", "leaky_relu"):  # their derivatives are constants
        kernels.activation_backward(z, out, code, 0.5, da)
        if activation != "elu":
            assert np.isnan(da).all()


# --- losses against other libraries -----------------------------------------------------------


def output_loss(loss, z, targets, constant, weights=None):
    """Summed loss and its derivative, of (outputs, samples)."""
    derivative = np.empty_like(z)
    weights = np.empty(0) if weights is None else weights
    constants = np.atleast_1d(constant)
    value = reference.output_loss(
        z, targets, weights, codes.LOSSES[loss], constants, 1.0, derivative
    )
    return value, derivative


@pytest.mark.parametrize(
    "loss",
    [name for name in sorted(codes.REGRESSION) if name not in ("squared_error", "gaussian")],
)
def test_regression_losses_match_scikit_learn(loss):
    from sklearn import _loss

    theirs = {
        "absolute_error": _loss.AbsoluteError(),
        "huber": _loss.HuberLoss(quantile=0.9, delta=0.6),
        "quantile": _loss.PinballLoss(quantile=0.3),
        "poisson": _loss.HalfPoissonLoss(),
    }[loss]
    constant = {"huber": 0.6, "quantile": 0.3}.get(loss, 0.0)
    rng = np.random.default_rng(0)
    z, weights = rng.standard_normal(200), rng.uniform(0.1, 2, 200)
    targets = rng.poisson(2.0, 200).astype(float) if loss == "poisson" else 2 * z[::-1].copy()
    each, slopes = theirs.loss_gradient(targets, z, weights)
    each += weights * theirs.constant_to_optimal_zero(targets)
    value, derivative = output_loss(loss, z[None], targets[None], constant, weights)
    np.testing.assert_allclose(value, each.sum(), rtol=1e-12)  # a few hundred roundings
    np.testing.assert_allclose(derivative[0], slopes, rtol=1e-12)


@pytest.mark.parametrize(
    "loss", [*sorted(codes.REGRESSION), "cross_entropy", "binary_cross_entropy"]
)
def test_losses_match_pytorch(loss):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    rng = np.random.default_rng(1)
    z, t = rng.standard_normal((3, 50)), rng.standard_normal((3, 50))
    constant, smooth = 0.0, 0.1
    z = rng.standard_normal((6, 50)) if loss == "gaussian" else z
    given = torch.tensor(z, requires_grad=True)
    if loss == "cross_entropy":
        constant, t = smooth, rng.integers(0, 3, (1, 50)).astype(float)
        classes = torch.tensor(t[0].astype(int))
        value = f.cross_entropy(given.T, classes, label_smoothing=smooth, reduction="sum")
    elif loss == "binary_cross_entropy":
        constant, t = smooth, rng.integers(0, 2, (3, 50)).astype(float)
        smoothed = torch.tensor(t * (1 - smooth) + smooth / 2)
        value = f.binary_cross_entropy_with_logits(given, smoothed, reduction="sum")
    elif loss == "poisson":
        t = rng.poisson(2.0, t.shape).astype(float)
        value = f.poisson_nll_loss(given, torch.tensor(t), reduction="sum")
        value = value + np.sum(np.where(t > 0, t * np.log(np.maximum(t, 1)), 0) - t)
    elif loss == "huber":
        constant = 0.6
        value = f.huber_loss(given, torch.tensor(t), reduction="sum", delta=0.6)
    elif loss == "quantile":
        constant, d = 0.3, torch.tensor(t) - given
        value = torch.maximum(0.3 * d, -0.7 * d).sum()
    elif loss == "gaussian":
        value = f.gaussian_nll_loss(given[::2], torch.tensor(t), given[1::2].exp(), reduction="sum")
    elif loss == "absolute_error":
        value = f.l1_loss(given, torch.tensor(t), reduction="sum")
    else:
        value = f.mse_loss(given, torch.tensor(t), reduction="sum") / 2
    value.backward()
    ours, derivative = output_loss(loss, z, t, constant)
    np.testing.assert_allclose(ours, value.item(), rtol=1e-12)
    np.testing.assert_allclose(derivative, given.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_gaussian_with_beta_matches_published_formula(beta):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    z, t = rng.standard_normal((6, 50)), rng.standard_normal((3, 50))
    given, target = torch.tensor(z, requires_grad=True), torch.tensor(t)
    mean, variance = given[::2], given[1::2].exp()
    # as in the paper's code, https://github.com/martius-lab/beta-nll
    loss = 0.5 * ((target - mean) ** 2 / variance + variance.log())
    (loss * variance.detach() ** beta).sum().backward()
    value, derivative = output_loss("gaussian", z, t, beta)
    np.testing.assert_allclose(derivative, given.grad.numpy(), rtol=1e-12, atol=1e-15)
    # what is reported is the likelihood, whatever beta is
    assert value == pytest.approx(loss.sum().item(), rel=1e-12)


def test_quantile_losses_match_scikit_learn():
    from sklearn.metrics import mean_pinball_loss

    rng = np.random.default_rng(2)
    quantiles = (0.1, 0.5, 0.95)
    z, t = rng.standard_normal((6, 50)), rng.standard_normal((2, 50))
    weights = rng.uniform(0.1, 2, 50)
    value, derivative = output_loss("quantile", z, t, quantiles, weights)
    expected = 0.0
    for k, row in enumerate(z):
        target, q = t[k // 3], quantiles[k % 3]
        mean = mean_pinball_loss(target, row, alpha=q, sample_weight=weights)
        expected += mean * weights.sum()
        slope = np.where(row > target, 1 - q, -q) * weights
        np.testing.assert_allclose(derivative[k], slope, rtol=1e-14)
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_label_smoothing_gradient_matches_complex_step(loss):
    problem = make_problem([3, 4, 3], "tanh", loss, samples=7, weighted=True, constant=0.2)
    check_complex_step(problem)


# --- clipping and averages against PyTorch ------------------------------------------------------


@pytest.mark.parametrize("clip", [{"clip_norm": 0.05}, {"clip_value": 0.01}, {}], ids=str)
def test_clipping_and_average_match_pytorch(clip):
    torch = pytest.importorskip("torch")
    problem = make_problem([4, 5, 3], samples=20, l2=0.1)
    optimizer = fastnn.SGD(0.5, momentum=0.9, ema=0.8, **clip)
    steps = 6
    ours = train(reference, problem, optimizer, steps)

    params = torch.nn.Parameter(torch.tensor(problem.params))
    rule = torch.optim.SGD([params], lr=0.5, momentum=0.9)
    holder = torch.nn.ParameterList([params])
    average = torch.optim.swa_utils.AveragedModel(
        holder, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8)
    )
    for _ in range(steps):
        _, gradient = loss_and_grad(reference, problem, params=params.detach().numpy())
        params.grad = torch.tensor(gradient)
        if "clip_norm" in clip:
            assert torch.nn.utils.clip_grad_norm_([params], 0.05) > 0.05
        elif clip:
            torch.nn.utils.clip_grad_value_([params], 0.01)
        rule.step()
        average.update_parameters(holder)
    # PyTorch divides by the norm plus 1e-6
    tolerance = 1e-4 if "clip_norm" in clip else 1e-12
    expected = params.detach().numpy()
    np.testing.assert_allclose(ours.params, expected, rtol=0, atol=tolerance)
    (mean,) = average.module.parameters()
    np.testing.assert_allclose(ours.state[-1], mean.detach().numpy(), rtol=0, atol=tolerance)
    assert abs(ours.params - ours.state[-1]).max() > 1e-2
