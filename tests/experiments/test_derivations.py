"""``docs/derivations.md``: kernels that it names, formulas, and the numbers they give."""

import re
from pathlib import Path

import numpy as np
import pytest

from fastnn.backends import codes
from fastnn.backends import numpy as reference
from fastnn.experiments import gradients, jobs

DERIVATIONS = Path(__file__).parents[2] / "docs" / "derivations.md"


def test_derivations_name_kernels_that_exist():
    text = DERIVATIONS.read_text(encoding="utf-8")
    kernels = {name for name in reference.__all__ if callable(getattr(reference, name))}
    named = {
        name
        for name in re.findall(r"`([a-z_]+)`", text)
        if name not in ("gradient_check", "scale", "sigmoid")  # no kernels
    }
    assert named <= kernels
    assert named >= {
        "dense_forward", "activation_forward", "activation_backward", "output_transform",
        "output_loss", "penalty", "dense_backward_params", "dense_backward_inputs", "forward",
        "loss_and_grad", "update", "train",
    }  # fmt: skip


def test_derivations_are_well_formed():
    text = DERIVATIONS.read_text(encoding="utf-8")
    # Between double dollars the sites' Markdown takes a backslash before punctuation away.
    assert "$$" not in text
    fenced = r"^```math\n(.*?)\n```$"
    formulas = re.findall(fenced, text, flags=re.M | re.S)
    assert len(formulas) == text.count("```") // 2 > 20
    inline = re.sub(fenced, "", text, flags=re.M | re.S)
    assert all(line.count("$") % 2 == 0 for line in inline.splitlines())
    assert not re.search(r"\\[^A-Za-z]", inline)
    for formula in formulas:
        assert formula.count("{") == formula.count("}")
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula))
        # A blank line would end the formula on the code-hosting sites.
        assert "\n\n" not in formula


@pytest.mark.parametrize("activation", jobs.ACTIVATIONS)
def test_derivations_as_they_stand_give_the_kernels_gradient(activation):
    """Sections 1 to 6, in row form, line by line."""
    X, labels = jobs.moons(0, 30)
    l2 = 0.3
    network = jobs.make_network([2, 3, 2], activation=activation, seed=1, backend="numpy", l2=l2)
    network.params += 0.2 * np.random.default_rng(2).normal(size=network.n_params)
    (W1, W2), (b1, b2) = network.weights, network.biases
    N, one = len(X), np.ones((len(X), 1))
    Y = np.eye(2)[labels]
    f, slope = {
        "tanh": (np.tanh, lambda Z, A: 1 - A * A),
        "sigmoid": (lambda Z: 1 / (1 + np.exp(-Z)), lambda Z, A: A * (1 - A)),
        "relu": (lambda Z: np.maximum(0, Z), lambda Z, A: (A > 0) * 1.0),
    }[activation]

    Z1 = X @ W1 + one * b1
    A1 = f(Z1)
    Z2 = A1 @ W2 + one * b2
    P = np.exp(Z2) / np.exp(Z2).sum(axis=1, keepdims=True)
    L = -np.log(P[np.arange(N), labels]).mean() + l2 / 2 * ((W1**2).sum() + (W2**2).sum())
    D2 = (P - Y) / N
    D1 = (D2 @ W2.T) * slope(Z1, A1)
    gradient = [X.T @ D1 + l2 * W1, one.T @ D1, A1.T @ D2 + l2 * W2, one.T @ D2]

    classes = np.unique(labels)
    assert classes.tolist() == [0, 1]
    assert network.loss(X, labels) == pytest.approx(L, rel=1e-13)
    weights, biases = network.unflatten(network.gradients(X, labels))
    kernel = [weights[0], biases[0][None], weights[1], biases[1][None]]
    for ours, theirs in zip(gradient, kernel, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


def test_softmax_of_the_derivations_is_the_kernels():
    z = np.array([[1.0, -2.0], [2.0, 700.0], [3.0, 710.0]])
    out = z.copy()
    reference.output_transform(codes.CROSS_ENTROPY, out)
    for column, p in zip(z.T, out.T, strict=True):
        np.testing.assert_allclose(gradients.softmax(column), p, rtol=1e-15)
        jacobian = np.diag(p) - np.outer(p, p)
        np.testing.assert_allclose(jacobian.sum(axis=1), 0, atol=1e-16)
