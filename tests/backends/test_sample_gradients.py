"""Gradients of single samples by the parameters: complex step, reference, memory."""

import numpy as np
import pytest
from helpers import assert_same, load_backend, make_problem, readonly, scratch_memory
from kernel_cases import NETWORKS

from fastnn.backends import codes
from fastnn.backends import numpy as reference


def gradients(kernels, problem, vectors, fill=np.nan):
    plan, x = problem.forward_plan, readonly(problem.x)
    shape = (plan.n_params, vectors.shape[1], len(x))
    out = np.full((shape[0] + 1, *shape[1:]), np.nan, problem.dtype)
    out[-1] = 0.125  # behind the end
    with scratch_memory(plan, problem.dtype, fill) as work:
        kernels.sample_gradients(
            plan.net(problem.loss), x, readonly(vectors), problem.params, work[0], out[:-1]
        )
    assert (out[-1] == 0.125).all()
    return out[:-1]


def vectors_for(problem, n, same, rng):
    outputs = problem.forward_plan.layers[-1, codes.FAN_OUT]
    shape = (1 if same else len(problem.x), n, outputs)
    return rng.standard_normal(shape).astype(problem.dtype)


@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_sample_gradients_match_complex_step(activation, rng):
    problem = make_problem([3, 5, 4, 2], activation, samples=6)
    plan, v = problem.forward_plan, vectors_for(problem, 2, False, rng)
    jacobian = np.empty((plan.n_params, 6, 2))
    for p in range(plan.n_params):
        moved, z = problem.params.astype(complex), np.empty((6, 2), complex)
        moved[p] += 1e-30j
        reference.forward(plan.net(problem.loss), problem.x, False, moved, None, z)
        jacobian[p] = z.imag / 1e-30
    expected = np.einsum("psk,srk->prs", jacobian, v)
    assert_same(gradients(reference, problem, v), expected, "float64")


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "groups"])
def test_compiled_kernels_match_reference(compiled, dtype, network, rng):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(sizes, activations, samples=samples, dtype=dtype)
    for same in (False, True):
        vectors = vectors_for(problem, 2, same, rng)
        expected = gradients(reference, problem, vectors)
        assert_same(gradients(compiled, problem, vectors), expected, dtype)


def test_cython_checks_arrays(rng):
    kernels = load_backend("cython")
    problem = make_problem([3, 5, 2], samples=4)
    plan = problem.forward_plan
    net, work = plan.net(problem.loss), plan.workspace(problem.dtype)
    vectors, out = np.ones((1, 2, 2)), np.empty((plan.n_params, 2, 4))
    with pytest.raises(ValueError, match="out has"):
        kernels.sample_gradients(net, problem.x, vectors, problem.params, work, out[:-1])
    with pytest.raises(ValueError, match=r"vectors has shape \(3, 2, 2\)"):
        kernels.sample_gradients(net, problem.x, np.ones((3, 2, 2)), problem.params, work, out)
