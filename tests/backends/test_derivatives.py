"""Derivatives by the inputs and the parts of a training step: complex step, reference, memory."""

import numpy as np
import pytest
from helpers import (
    assert_bits,
    assert_same,
    load_backend,
    loss_and_grad,
    make_problem,
    padded,
    readonly,
    scratch_memory,
    train,
)
from kernel_cases import CLIPPED, NETWORKS, OPTIMIZERS

from fastnn.backends import codes
from fastnn.backends import numpy as reference
from fastnn.backends.plan import aligned_empty
from fastnn.backends.tuning import tuned

# The plan has the constants of `helpers.ALPHAS`.
ALL = list(codes.ACTIVATIONS)
KERNELS = ("input_gradients", "output_tangents")


def derive(kernels, name, problem, vectors, x=None, fill=np.nan):
    """One of the two kernels for several vectors, ``(samples or 1, n, columns)``."""
    plan, x = problem.forward_plan, problem.x if x is None else x
    sizes = [plan.layers[0, codes.FAN_IN], plan.layers[-1, codes.FAN_OUT]]
    shape = (len(x), vectors.shape[1], sizes[name == "output_tangents"])
    out = np.full(shape, np.nan, np.result_type(x, vectors))
    with scratch_memory(plan, problem.dtype, fill) as work:
        net = plan.net(problem.loss)
        getattr(kernels, name)(net, x, vectors, problem.params, work[0], out)
    return out


def vectors_for(problem, name, n, same, rng):
    plan = problem.forward_plan
    sizes = [plan.layers[0, codes.FAN_IN], plan.layers[-1, codes.FAN_OUT]]
    columns = sizes[name == "input_gradients"]
    shape = (1 if same else len(problem.x), n, columns)
    return rng.standard_normal(shape).astype(problem.dtype)


def logits(problem, x):
    """Net inputs of the last layer for complex samples."""
    plan = problem.forward_plan
    out = np.empty((len(x), plan.layers[-1, codes.FAN_OUT]), complex)
    reference.forward(plan.net(problem.loss), x, False, problem.params, None, out)
    return out


@pytest.mark.parametrize("activation", ALL)
def test_vjp_and_jvp_match_complex_step(activation, rng):
    problem = make_problem([3, 5, 4, 2], activation, samples=6)
    v, u = (vectors_for(problem, name, 2, False, rng) for name in KERNELS)
    gradients = derive(reference, "input_gradients", problem, v)
    tangents = derive(reference, "output_tangents", problem, u)
    steps = 1e-30j * np.eye(3)
    jacobian = np.stack([logits(problem, problem.x + h).imag / 1e-30 for h in steps], axis=2)
    assert_same(gradients, np.einsum("skd,srk->srd", jacobian, v), "float64")
    assert_same(tangents, np.einsum("skd,srd->srk", jacobian, u), "float64")


@pytest.mark.parametrize("activation", ALL)
def test_input_curvature_matches_complex_step(activation, rng):
    problem = make_problem([3, 5, 4, 2], activation, samples=6)
    plan = problem.forward_plan
    direction = rng.standard_normal((6, 3))
    vector, tangent = rng.standard_normal((2, 6, 2))
    out = np.full((6, 3), np.nan)
    net, x = plan.net(problem.loss), problem.x
    reference.input_curvature(net, x, direction, vector, tangent, problem.params, None, out)
    h = 1e-30j
    moved = derive(
        reference,
        "input_gradients",
        problem,
        (vector + h * tangent)[:, None],
        problem.x + h * direction,
    )
    assert_same(out, moved[:, 0].imag / 1e-30, "float64")
    assert np.abs(out).max() > 1e-4  # not zero


@pytest.mark.parametrize("network", NETWORKS)
def test_compiled_kernels_match_reference(compiled, dtype, network, rng):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(sizes, activations, samples=min(samples, 1291), dtype=dtype)
    for name in KERNELS:
        for same in (False, True):
            vectors = readonly(vectors_for(problem, name, 3, same, rng))
            expected = derive(reference, name, problem, vectors)
            # the derivative of a saturated tanh has the rounding error of 1
            assert_same(derive(compiled, name, problem, vectors), expected, dtype, least=0.1)


def test_cython_checks_arrays(rng):
    kernels = load_backend("cython")
    problem = make_problem([3, 5, 2], samples=4)
    with pytest.raises(ValueError, match=r"vectors has shape \(2, 1, 2\)"):
        derive(kernels, "input_gradients", problem, rng.standard_normal((2, 1, 2)))
    with pytest.raises(ValueError, match="vectors has shape"):
        derive(kernels, "output_tangents", problem, rng.standard_normal((4, 1, 2)))


# --- a training step in parts -----------------------------------------------------


def play(kernels, problem, d_outputs=None, step=3, by_inputs=True):
    """Net inputs of the last layer, then the gradient, and that by the inputs."""
    plan, x = problem.plan, readonly(problem.x)
    size = int(plan.header[codes.WORK_SIZE]) + x.shape[1] * plan.block_size
    blocks = -(-len(x) // plan.block_size)
    work = aligned_empty((blocks + 1, size), problem.dtype)
    work.fill(np.nan)
    work[-1] = 0.125
    out = np.full((len(x), plan.layers[-1, codes.FAN_OUT]), np.nan, problem.dtype)
    net, params = plan.net(problem.loss), problem.params
    assert kernels.tape_forward(net, x, problem.seed, step, params, work[:-1], out)
    if d_outputs is None:  # of the problem's loss
        d_outputs = np.empty(out.shape[::-1], problem.dtype)
        total = problem.weights.sum(dtype=float) if len(problem.weights) else len(x)
        targets = np.ascontiguousarray(problem.targets.T)
        arguments = np.ascontiguousarray(out.T), targets, problem.weights, problem.loss
        constants = plan.constants[len(plan.layers) - 1 :]
        kernels.output_loss(*arguments, constants, 1 / total, d_outputs)
        d_outputs = d_outputs.T
    d_outputs = np.ascontiguousarray(d_outputs)
    grads = plan.gradient_groups(problem.dtype)
    grads.fill(np.nan)
    d_inputs = np.full(x.shape if by_inputs else (0, x.shape[1]), np.nan, problem.dtype)
    for _ in range(2):  # the forward pass's memory stays as it was
        kernels.tape_backward(
            net, x, d_outputs, problem.seed, step, params, work[:-1], grads, d_inputs
        )
    assert (work[-1] == 0.125).all()
    return out, grads[0].copy(), d_inputs


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_tape_gradient_equals_batch_gradient(kernels, dtype, network, dropout):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(
        sizes, activations, samples=min(samples, 1291), dtype=dtype, dropout=dropout
    )
    out, gradient, d_inputs = play(kernels, problem)
    expected_out, _, expected_inputs = play(reference, problem)
    assert_same(out, expected_out, dtype)
    assert_same(gradient, loss_and_grad(reference, problem)[1], dtype)
    # up to eleven layers, each of which rounds
    assert_same(d_inputs, expected_inputs, dtype, atol=5e-5 if dtype == "float32" else None)
    if kernels.NAME != "numpy":  # whose BLAS may sum another way for another order in memory
        assert_bits(gradient, loss_and_grad(kernels, problem)[1])


def test_tape_input_gradient_matches_complex_step():
    problem = make_problem([3, 5, 4, 2], "mish", samples=6, dropout=0.3)
    d_outputs = np.random.default_rng(0).standard_normal((6, 2))
    _, _, d_inputs = play(reference, problem, d_outputs)
    net, params = problem.plan.net(problem.loss), problem.params
    for column in range(3):
        x, out = problem.x.astype(complex), np.empty((6, 2), complex)
        x[:, column] += 1e-30j
        reference.tape_forward(net, x, problem.seed, 3, params, None, out)
        assert_same(d_inputs[:, column], (out.imag / 1e-30 * d_outputs).sum(axis=1), "float64")


@pytest.mark.parametrize("name", [*OPTIMIZERS, *CLIPPED])
@pytest.mark.parametrize(("l2", "shared"), [(0.0, False), (0.01, True)])
def test_apply_gradient_equals_training_step(kernels, dtype, name, l2, shared):
    """Also with plans by which ``train`` updates weights together with their gradient."""
    optimizer = (OPTIMIZERS | CLIPPED)[name]
    with tuned(**({"split_units_bytes": 0} if shared else {})):
        problem = make_problem([9, 60, 50, 3], "tanh", samples=9, dtype=dtype, l2=l2)
    params, moments, count = padded(problem.params), None, 0
    for count in range(3):
        problem.params = params
        expected = train(
            kernels, problem, optimizer, 1, first_count=count, params=params, state=moments
        )
        _, gradient, _ = play(kernels, problem, step=0)
        if moments is None:
            moments = np.zeros_like(expected.state)
        moments, params = padded(moments), padded(params)
        net, rule = problem.plan.net(problem.loss, l2), optimizer.for_kernels()
        rate = optimizer.learning_rate
        assert kernels.apply_gradient(net, padded(gradient), rule, rate, count + 1, params, moments)
        if kernels.NAME == "numpy":
            assert_same(params, expected.params, dtype)
        else:
            assert_bits(params, expected.params)
            assert_bits(moments, expected.state)


def test_non_finite_gradient_is_not_applied(kernels, dtype):
    problem = make_problem([3, 4, 2], samples=5, dtype=dtype)
    params, optimizer = padded(problem.params), CLIPPED["clip_norm"]
    gradient = np.ones(len(params), dtype)
    net, rule = problem.plan.net(problem.loss), optimizer.for_kernels()
    for bad in (np.nan, np.inf, -np.inf):
        gradient[5] = bad
        moments = np.zeros((optimizer.n_moments, len(params)), dtype)
        assert not kernels.apply_gradient(net, gradient, rule, 0.1, 1, params, moments)
        assert_bits(params, problem.params)
        assert not moments.any()
