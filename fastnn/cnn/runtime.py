"""TensorFlow, imported once, with its settings and without its noise.

Modules of ``fastnn.cnn`` take it from here: ``from fastnn.cnn.runtime import tf``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

# Read by TensorFlow when it is imported; what the user has set stays.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The layers, initialisers and files of Keras that are used here are those of TensorFlow.
    "KERAS_BACKEND": "tensorflow",
    # By default only where the CPU has AVX-512; this network trains in half the time with AVX2 too.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Nothing that compiled code writes to standard error while TensorFlow starts.

    Its log level does not reach what it says before its log is set up.
    """
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

try:
    with _silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        import keras
        import tensorflow as tf

        tf.constant(0)  # starts its runtime, which has things to say as well
    # Every run compiles its own functions, which it takes for one that is compiled again and again.
    tf.get_logger().setLevel("ERROR")
except ImportError as error:
    missing = f" ({error})" if not isinstance(error, ModuleNotFoundError) else ""
    raise ImportError(
        f"the convolutional network needs TensorFlow{missing}; install it with: "
        'pip install "fastnn-cpu[cnn]"'
    ) from None

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"the convolutional network needs Keras on TensorFlow; KERAS_BACKEND is "
        f"{keras.config.backend()!r}"
    )

__all__ = ["keras", "tf"]
