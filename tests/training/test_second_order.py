"""Levenberg-Marquardt: curvature, steps, minima, stops, Bayesian regularisation, checkpoints."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from helpers import assert_bits, fixed_rng, load_backend

import fastnn
from benchmarks import second_order as second_order_benchmark
from fastnn.backends import numpy as reference
from fastnn.network import second_order
from fastnn.network.custom import CustomLoss
from fastnn.training.gauss_newton import LOSSES
from fastnn.training.second_order import SecondOrderRun

LM = fastnn.LevenbergMarquardt
BAYESIAN = LM(regularization="bayesian")
rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (150, 2))
Y = np.sin(2 * X[:, 0]) * X[:, 1] + 0.05 * rng.standard_normal(150)
WEIGHTS = rng.integers(0, 4, 150)


def make(sizes=(2, 6, 1), **settings):
    settings = {"loss": "squared_error", "dtype": "float64", "random_state": 0} | settings
    return fastnn.Network(list(sizes), **settings)


def steps_of(net, rule, x, targets, weights=()):
    """Those of a fit that begins now."""
    net.state.begin(rule, net.params)
    weights = np.asarray(weights, float)
    steps = second_order.steps(net, net.state, net.l2, x, targets, weights)
    steps.begin()
    return steps


def targets_for(loss, n, outputs):
    draws = np.random.default_rng(1)
    if loss == "cross_entropy":
        return draws.integers(0, outputs, (n, 1)).astype(float)
    if loss == "binary_cross_entropy":
        return draws.integers(0, 2, (n, outputs)).astype(float)
    return draws.poisson(2, (n, outputs)).astype(float)


# --- objective --------------------------------------------------------------------


def jacobian_by_complex_step(net, x):
    """(n_params, samples, outputs)."""
    found = np.empty((net.n_params, len(x), net.n_outputs))
    for p in range(net.n_params):
        moved, z = net.params.astype(complex), np.empty(found.shape[1:], complex)
        moved[p] += 1e-30j
        reference.forward(net.model.net, x, False, moved, None, z)
        found[p] = z.imag / 1e-30
    return found


def hessian_by_outputs(net, x, targets):
    """(samples, outputs, outputs); of huber the weights of reweighted least squares."""
    z = np.empty((len(x), net.n_outputs))
    net.model.forward(x, False, z)
    plan = net.model.plan
    constants = plan.constants[len(plan.layers) - 1 :]
    arguments = targets.T, np.empty(0), net.model.loss, constants, 1.0
    if net.loss_name == "huber":
        d = z - targets
        slope = np.empty_like(z.T)
        reference.output_loss(z.T, *arguments, slope)
        return (slope.T / d)[:, :, None] * np.eye(net.n_outputs)
    found = np.empty((len(x), net.n_outputs, net.n_outputs))
    for k in range(net.n_outputs):
        moved = z.T.astype(complex)
        moved[k] += 1e-30j
        slope = np.empty_like(moved)
        reference.output_loss(moved, *arguments, slope)
        found[:, :, k] = slope.T.imag / 1e-30
    return found


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_curvature_and_gradient_match_complex_step(loss, outputs, backend, monkeypatch):
    if loss == "cross_entropy" and outputs == 1:
        pytest.skip("needs two outputs")
    monkeypatch.setattr("fastnn.training.gauss_newton._PIECE_BYTES", 1)  # several pieces
    net = make((2, 5, outputs), loss=loss, backend=backend, delta=0.5)
    net.biases[0][:] = 0.3
    targets, weights = targets_for(loss, 150, outputs), WEIGHTS.astype(float)
    steps = steps_of(net, LM(), X, targets, weights)
    plain = make((2, 5, outputs), loss=loss, backend="numpy", delta=0.5)
    plain.params = net.params
    jacobian = jacobian_by_complex_step(plain, X)
    h = hessian_by_outputs(plain, X, targets)
    h *= weights[:, None, None] / weights.sum()
    expected = np.einsum("psi,sij,qsj->pq", jacobian, h, jacobian)
    actual = np.tril(steps.matrix) + np.tril(steps.matrix, -1).T
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    y = targets[:, 0] if loss == "cross_entropy" else targets
    net.classes_ = np.arange(outputs) if loss == "cross_entropy" else net.classes_
    if not (loss == "binary_cross_entropy" and outputs == 1):
        np.testing.assert_allclose(steps.gradient, net.gradients(X, y, weights), atol=1e-13)


def test_step_solves_the_damped_equations():
    net = make(l2=0.01)
    before = net.params.copy()
    steps = steps_of(net, LM(damping=0.5), X, Y[:, None])
    matrix = np.tril(steps.matrix) + np.tril(steps.matrix, -1).T
    on_weights = np.zeros(net.n_params)
    for w in net.unflatten(on_weights)[0]:
        w[...] = 0.01
    gradient = net.gradients(X, Y)
    change = np.linalg.solve(matrix + np.diag(on_weights + 0.5), -gradient)
    net.fit(X, Y, optimizer=LM(damping=0.5), epochs=1)
    np.testing.assert_allclose(net.params, before + change, atol=1e-12)
    assert net.state.moments[0, 0] == pytest.approx(0.05)


# --- minima -----------------------------------------------------------------------


def one_draw():
    """Samples for which training reaches a minimum; with others, the valley may be too flat."""
    fixed = fixed_rng(0)
    x = fixed.uniform(-1, 1, (150, 2))
    return x, np.sin(2 * x[:, 0]) * x[:, 1] + 0.05 * fixed.standard_normal(150)


def test_minimum_matches_scipy():
    X, Y = one_draw()
    net = make((2, 3, 1))
    net.fit(X, Y, optimizer=LM(min_gradient=1e-12), epochs=500)
    other = make((2, 3, 1))

    def residuals(params):
        other.params = params
        return other.predict(X) - Y

    # from near the minimum: from afar the two may find different ones
    start = net.params + 1e-3 * np.random.default_rng(0).standard_normal(net.n_params)
    found = scipy.optimize.least_squares(residuals, start, method="lm", xtol=1e-12, ftol=1e-12)
    assert net.loss(X, Y) == pytest.approx(found.cost / len(X), rel=1e-8)


def test_sinc_is_fitted_to_eight_digits(backend):
    x = np.linspace(-1, 1, 200)[:, None]
    y = np.sinc(10 * x)
    net = make(
        (1, 20, 1), standardize=True, initializer="nguyen_widrow", random_state=3, backend=backend
    )
    history = net.fit(x, y, optimizer=LM(goal=0.5e-8 / y.var()), epochs=200)
    assert history.stopped == "goal"
    assert np.mean((net.predict(x) - y) ** 2) <= 1e-8


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_converges_to_small_gradient(loss, backend):
    outputs = 3 if loss == "cross_entropy" else 1
    x = X[:60]
    y = targets_for(loss, 60, outputs)[:, 0]
    net = make((2, 3, outputs), loss=loss, l2=0.01, backend=backend)
    history = net.fit(x, y, optimizer=LM(min_gradient=1e-6), epochs=5000)
    assert history.stopped == "gradient"
    assert np.abs(net.gradients(x, y)).max() <= 1e-6
    assert (np.diff(history.loss) < 0).all()
    assert net.loss(x, y) < history.loss[-1]


def test_integer_weights_equal_repeated_samples():
    rows = np.repeat(np.arange(150), WEIGHTS)
    first, second = make((2, 4, 1), l2=0.01), make((2, 4, 1), l2=0.01)
    first.fit(X, Y, sample_weight=WEIGHTS, optimizer=LM(), epochs=5)
    second.fit(X[rows], Y[rows], optimizer=LM(), epochs=5)
    np.testing.assert_allclose(first.params, second.params, atol=1e-9)


def test_several_outputs_and_single_precision():
    y = np.column_stack([Y, X[:, 0] ** 2])
    double, single = make((2, 8, 2)), make((2, 8, 2), dtype="float32")
    double.params = single.params
    for net in (double, single):
        net.fit(X, y, optimizer="lm", epochs=20)
    assert single.params.dtype == np.float32
    np.testing.assert_allclose(single.predict(X), double.predict(X), atol=1e-3)
    assert single.loss(X, y) < 2e-3


# --- stops ------------------------------------------------------------------------


def test_stopping_criteria():
    net = make()
    assert net.fit(X, Y, optimizer=LM(), epochs=3).stopped == "epochs"
    assert net.fit(X, Y, optimizer=LM(goal=1.0), epochs=3).stopped == "goal"
    history = make().fit(X, Y, optimizer=LM(min_gradient=1e-3), epochs=100)
    assert history.stopped == "gradient"
    assert 1 < history.epochs < 100
    # a gradient of zero that rounding does not reach
    history = make((2, 2, 1)).fit(*one_draw(), optimizer=LM(min_gradient=0.0), epochs=5000)
    assert history.stopped == "damping"
    history = net.fit(X, Y, optimizer=LM(), epochs=50, callbacks=[lambda progress: True])
    assert (history.stopped, history.epochs) == ("callback", 1)


def test_validation_stops_and_restores_the_best():
    net = make((2, 30, 1))
    history = net.fit(
        X[:60],
        Y[:60],
        validation_data=(X[60:], Y[60:]),
        early_stopping=fastnn.EarlyStopping(4),
        optimizer=LM(),
        epochs=200,
    )
    assert history.stopped == "early stopping"
    assert history.epochs == history.best_epoch + 5
    assert net.loss(X[60:], Y[60:]) == pytest.approx(history.validation_loss.min(), rel=1e-12)


def test_training_may_end_before_the_first_step():
    net = make()
    before = net.params.copy()
    history = net.fit(X, Y, optimizer=LM(goal=1e9), epochs=5)
    assert (history.stopped, history.epochs, history.steps) == ("goal", 0, 0)
    assert_bits(net.params, before)


def test_ctrl_c_at_each_line_leaves_complete_steps(monkeypatch):
    whole = make()
    whole.fit(X, Y, optimizer=LM(), epochs=3)
    # one chunk, in whose third step Ctrl-C comes
    calls = []
    original = SecondOrderRun.record_pending_step

    def interrupted(run):
        calls.append(None)
        if len(calls) == 3:
            run.model.params[:] = run.steps.params
            raise KeyboardInterrupt
        original(run)

    monkeypatch.setattr(SecondOrderRun, "record_pending_step", interrupted)
    net = make()
    history = net.fit(X, Y, optimizer=LM(), epochs=50)
    assert (history.stopped, history.epochs, net.n_epochs_) == ("interrupted", 3, 3)
    assert_bits(net.params, whole.params)
    assert_bits(net.state.moments, whole.state.moments)


def test_non_finite_objective_raises():
    net = make()
    net.weights[1][:] = 1e200
    before = net.params.copy()
    with pytest.raises(fastnn.DivergenceError):
        net.fit(X, Y, optimizer=LM())
    assert_bits(net.params, before)


# --- going on ---------------------------------------------------------------------


@pytest.mark.parametrize("rule", [LM(), BAYESIAN])
def test_continued_calls_have_the_bits_of_one(rule, backend, tmp_path):
    whole, parts = make(backend=backend), make(backend=backend)
    history = whole.fit(X, Y, optimizer=rule, epochs=9)
    parts.fit(X, Y, optimizer=rule, epochs=4)
    parts.save(tmp_path / "net.safetensors", include_optimizer=True)
    parts = fastnn.load(tmp_path / "net.safetensors", backend=backend)
    second = parts.fit(X, Y, optimizer=rule, epochs=5)
    assert_bits(parts.params, whole.params)
    assert_bits(second.loss, history.loss[4:])
    # and as a checkpoint
    file = tmp_path / "run.safetensors"
    resumed = make(backend=backend)
    resumed.fit(X, Y, optimizer=rule, epochs=4, checkpoint=file)
    resumed = make(backend=backend)
    total = resumed.fit(X, Y, optimizer=rule, epochs=9, checkpoint=file, resume=True)
    assert_bits(resumed.params, whole.params)
    assert_bits(total.loss, history.loss)


def test_fit_many_equals_fit():
    one, other = make(), make()
    one.fit(X, Y, optimizer=LM(), epochs=4)
    fastnn.fit_many([other], X, Y, optimizer=LM(), epochs=4)
    assert_bits(one.params, other.params)


# --- what is built on it ------------------------------------------------------------


EXAMPLE = Path(__file__).parents[2] / "examples" / "poisson_by_network.py"


def test_poisson_equation_example():
    error, _ = runpy.run_path(str(EXAMPLE))["solve"](1, 10, 40)
    assert error < 1e-6


@pytest.mark.slow
def test_poisson_equation_example_in_two_dimensions():
    for error, _ in runpy.run_path(str(EXAMPLE))["main"]():
        assert error < 1e-6


def test_benchmark_reaches_its_goals():
    # each contender by itself: all goals but that of SciPy's and scikit-learn's L-BFGS are easy
    task = second_order_benchmark.tasks()["friedman"]._replace(goal=0.3)
    for name, run in second_order_benchmark.CONTENDERS.items():
        if "Numba" not in name:
            assert run(task, 20.0) > 0, name
    hard = task._replace(goal=0.0)
    assert second_order_benchmark.by_adam(hard, 0.1) is None
    assert second_order_benchmark.by_least_squares(hard, 0.1) is None
    results = {"friedman": dict.fromkeys(second_order_benchmark.CONTENDERS, 0.5)}
    results["friedman"]["fastnn, lbfgs"] = None
    table = second_order_benchmark.table(results)
    assert "| SciPy, least_squares | 0.5 |" in table
    assert "| fastnn, lbfgs | not reached |" in table


# --- bad input --------------------------------------------------------------------

REFUSED = {
    "too many parameters": ({"sizes": (2, 1000, 1)}, {}, r"3,000 is the most; the network has 4,0"),
    "loss": ({"loss": "absolute_error"}, {}, "needs a loss with second derivatives"),
    "dropout": ({"dropout": 0.1}, {}, "dropout"),
    "batches": ({}, {"batch_size": 10}, "leave batch_size out; got 10 of 150"),
    "bayesian loss": ({"loss": "huber"}, {"optimizer": BAYESIAN}, "needs loss='squared_error'"),
    "bayesian l2": ({"l2": 0.1}, {"optimizer": BAYESIAN}, "l2 must be 0; got 0.1"),
    "checkpoint": ({"dtype": "float32"}, {"checkpoint": "c"}, "need dtype='float64'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_networks_raise(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings, arguments, message = REFUSED[case]
    net = make(**settings)
    before = net.params.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y, **{"optimizer": "lm", **arguments})
    assert_bits(net.params, before)
    assert net.state.optimizer is None
    assert not list(tmp_path.iterdir())


def test_custom_loss_raises():
    load_backend("numpy")
    loss = CustomLoss(lambda z, t: (z - t) ** 2, lambda z, t: 2 * (z - t))
    with pytest.raises(ValueError, match="second derivatives"):
        make(loss=loss, backend="numpy").fit(X, Y, optimizer=LM())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": 0.0}, "damping must be a number in"),
        ({"damping": "much"}, "damping must be a number in"),
        ({"decrease": 1.0}, "decrease must be a number in"),
        ({"increase": 1.0}, "increase must be a number in"),
        ({"damping": 10.0, "max_damping": 1.0}, "max_damping must be at least damping=10"),
        ({"min_gradient": -1.0}, "min_gradient"),
        ({"goal": np.nan}, "goal"),
        ({"regularization": "l1"}, "regularization must be None or 'bayesian'; got 'l1'"),
    ],
)
def test_invalid_settings_raise(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LM(**settings)


def test_partial_fit_raises():
    net = make()
    net.fit(X, Y, optimizer="lm", epochs=1)
    before = net.params.copy()
    for rule in ("lm", LM()):
        with pytest.raises(ValueError, match="on all data at once"):
            net.partial_fit(X, Y, optimizer=rule)
        with pytest.raises(ValueError, match="on all data at once"):
            net.apply(rule, np.ones(net.n_params))
    with pytest.raises(ValueError, match="on all data at once"):
        net.apply(net.state.optimizer, np.ones(net.n_params))
    assert_bits(net.params, before)


def test_to_dict_has_only_lm_settings():
    assert LM().to_dict() == {
        "name": "lm",
        "damping": 1e-3,
        "decrease": 0.1,
        "increase": 10.0,
        "max_damping": 1e10,
        "min_gradient": 1e-7,
        "goal": 0.0,
        "regularization": None,
    }
