"""The three backends have the same functions and codes."""

import inspect
import re

import pytest
from helpers import (
    load_backend,
)

from fastnn.backends import numpy as reference

KERNELS = [
    "mix",
    "stream",
    "shuffle",
    "dense_forward",
    "dense_backward_params",
    "dense_backward_inputs",
    "activation_forward",
    "activation_backward",
    "dropout_forward",
    "dropout_backward",
    "output_loss",
    "output_transform",
    "update",
    "penalty",
    "forward",
    "loss_and_grad",
    "train",
    "input_gradients",
    "output_tangents",
    "tape_forward",
    "tape_backward",
    "apply_gradient",
]


@pytest.mark.parametrize("name", KERNELS)
def test_backends_have_the_same_arguments(compiled, name):
    function = getattr(compiled, name)
    try:
        arguments = list(inspect.signature(getattr(function, "py_func", function)).parameters)
    except ValueError:  # compiled without binding: its first line of documentation
        arguments = re.findall(r"(\w+)(?:=[^,)]*)?[,)]", function.__doc__.split("\n")[0])
    assert arguments == list(inspect.signature(getattr(reference, name)).parameters)


def test_backends_have_the_same_public_names(kernels):
    kernels = load_backend(kernels.NAME)
    for name in [*KERNELS, "weights_of", "biases_of"]:
        assert callable(getattr(kernels, name))
    assert kernels.__name__ == f"fastnn.backends.{kernels.NAME}"
