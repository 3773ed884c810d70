"""Import TensorFlow once, configured and without its start-up messages.

Modules of ``fastnn.cnn`` import it from here: ``from fastnn.cnn.runtime import tf``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

from fastnn.extras import install_command

# Read by TensorFlow when it is imported; variables that are already set are not changed.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Layers, initialisers and model files need Keras on TensorFlow.
    "KERAS_BACKEND": "tensorflow",
    # The default is on only for CPUs with AVX-512; with AVX2 too it halves the training time.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Suppress what compiled code writes to standard error while TensorFlow starts.

    The log level does not affect messages written before logging is initialised.
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
        warnings.simplefilter("ignore")  # raised by TensorFlow's own imports
        import keras
        import tensorflow as tf

        tf.constant(0)  # starts the runtime, which writes messages as well
    # Every run compiles its own functions; TensorFlow would warn of repeated retracing.
    tf.get_logger().setLevel("ERROR")
except ImportError as error:
    missing = f" ({error})" if not isinstance(error, ModuleNotFoundError) else ""
    raise ImportError(
        f"the convolutional network needs TensorFlow: {install_command('cnn')}{missing}"
    ) from None

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"the convolutional network needs Keras on TensorFlow; KERAS_BACKEND is "
        f"{keras.config.backend()!r}"
    )

__all__ = ["keras", "tf"]
