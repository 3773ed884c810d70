"""Runs of training steps against the reference, and what must change no bit."""

import numpy as np
import pytest
from helpers import (
    assert_bits,
    forward,
    loss_and_grad,
    make_problem,
    train,
)
from kernel_cases import NETWORKS, OPTIMIZERS, check_run

from fastnn.backends import codes
from fastnn.backends.codes import MAX_GROUPS
from fastnn.training import optimizers


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("network", ["softmax regression", "BLAS", "blocks", "groups"])
def test_training_with_blocks_and_blas_matches_reference(compiled, dtype, network, shuffled):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(sizes, activations, samples=samples, dtype=dtype, dropout=0.2)
    # the last batch has fewer blocks and groups than the others
    batch_size = samples * 2 // 3
    settings = {"batch_size": batch_size, "shuffled": shuffled}
    check_run(compiled, dtype, problem, OPTIMIZERS["momentum"], steps=20, **settings)


def test_networks_use_blocks_and_groups():
    # what the names in NETWORKS promise
    blocks = make_problem(*NETWORKS["blocks"][:2], samples=1)
    assert NETWORKS["blocks"][2] > 2 * blocks.plan.block_size
    groups = make_problem(*NETWORKS["groups"][:2], samples=1)
    assert groups.plan.groups == MAX_GROUPS
    assert NETWORKS["groups"][2] * 2 // 3 > (MAX_GROUPS + 1) * groups.plan.block_size
    wide = make_problem(*NETWORKS["BLAS"][:2], samples=1)
    assert wide.plan.layers[:, codes.WIDE].tolist() == [1, 1, 0]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("network", ["course", "BLAS", "blocks", "all activations"])
@pytest.mark.usefixtures("division")
def test_results_independent_of_workspace_contents(kernels, dtype, network, shuffled):
    sizes, activations, samples = NETWORKS[network]
    problem = make_problem(
        sizes, activations, samples=samples, dtype=dtype, l2=0.01, dropout=0.2, weighted=True
    )
    settings = {"steps": 5, "batch_size": samples * 2 // 3, "shuffled": shuffled}
    clean = train(kernels, problem, **settings)
    for fill in (np.nan, np.inf, 1e30):
        dirty = train(kernels, problem, **settings, fill=fill)
        assert_bits(dirty.params, clean.params)
        assert_bits(dirty.losses, clean.losses)
        assert_bits(
            loss_and_grad(kernels, problem, fill=fill)[1], loss_and_grad(kernels, problem)[1]
        )
        assert_bits(forward(kernels, problem, True, fill=fill), forward(kernels, problem, True))


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.usefixtures("division")
def test_bits_independent_of_threads(compiled, dtype, shuffled, optimizer, n_threads):
    # odd numbers of parameters: their shares end in the middle of a vector
    sizes, activations, samples = [5, 29, 53, 50, 3], "tanh", 3001
    for extra in ({}, {"l2": 0.01, "weighted": True, "dropout": 0.3}):
        problem = make_problem(sizes, activations, samples=samples, dtype=dtype, **extra)
        settings = {"steps": 4, "batch_size": 1700, "shuffled": shuffled, "fill": np.nan}
        alone = train(compiled, problem, OPTIMIZERS[optimizer], **settings)
        shared = train(compiled, problem, OPTIMIZERS[optimizer], n_threads=n_threads, **settings)
        assert shared.done == alone.done == 4
        assert_bits(shared.params, alone.params)
        assert_bits(shared.state, alone.state)
        assert_bits(shared.losses, alone.losses)


def test_bits_independent_of_chunks(kernels, dtype):
    problem = make_problem([3, 5, 2], samples=50, dtype=dtype, dropout=0.2)
    optimizer, settings = OPTIMIZERS["adam"], {"batch_size": 16, "shuffled": True}
    whole = train(kernels, problem, optimizer, 10, **settings)
    parts = {"params": None, "state": None}
    losses = []
    for first, steps in ((0, 3), (3, 1), (4, 6)):  # an epoch has four steps
        part = train(
            kernels,
            problem,
            optimizer,
            steps,
            first_step=first,
            first_count=first,
            **parts,
            **settings,
        )
        parts = {"params": part.params, "state": part.state}
        losses.append(part.losses)
    assert_bits(part.params, whole.params)
    assert_bits(np.concatenate(losses), whole.losses)


def test_images_may_be_bytes(kernels, dtype):
    problem = make_problem([9, 5, 3], samples=40, dtype=dtype)
    images = np.random.default_rng(0).integers(0, 256, (40, 9), dtype=np.uint8)
    settings = {"steps": 5, "batch_size": 7, "shuffled": True, "optimizer": optimizers.SGD(1e-4)}
    assert_bits(
        train(kernels, problem, x=images, **settings).params,
        train(kernels, problem, x=images.astype(dtype), **settings).params,
    )


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("sizes", [[3, 5, 2], [50, 60, 70, 2]], ids=str)
@pytest.mark.usefixtures("division")
def test_training_stops_at_non_finite_loss(kernels, dtype, sizes, n_threads):
    if kernels.NAME == "numpy" and n_threads > 1:
        pytest.skip("the reference knows one thread")
    problem = make_problem(sizes, "relu", "squared_error", samples=1000, dtype=dtype)
    optimizer = optimizers.SGD(1e12)
    with np.errstate(all="ignore"):
        trained = train(kernels, problem, optimizer, 50, n_threads=n_threads)
        before = train(kernels, problem, optimizer, trained.done, n_threads=n_threads)
    assert 0 < trained.done < 50
    assert np.isfinite(trained.losses[: trained.done]).all()
    assert not np.isfinite(trained.losses[trained.done])
    assert np.isnan(trained.losses[trained.done + 1 :]).all()  # untouched
    assert_bits(trained.params, before.params)  # the step of that loss was not done


def test_compilers_keep_nan(kernels, dtype):
    problem = make_problem([3, 5, 2], samples=20, dtype=dtype)
    problem.params[0] = np.nan
    assert np.isnan(loss_and_grad(kernels, problem)[0])
    assert np.isnan(forward(kernels, problem, True)).all()
    assert train(kernels, problem, steps=3).done == 0
