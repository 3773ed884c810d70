"""The contenders.

Each is made of a precision, images (n, 28, 28, 1) as bytes and labels, and has: ``set(params)``;
``run(first, steps, batch)``, which goes through consecutive batches and waits for the end;
``loss()``, of the first images; ``predict(images)``, probabilities or logits as a NumPy array.
"""

from __future__ import annotations

from benchmarks.cnn.contenders.fastnn_ import Fastnn, FastnnPoolFirst
from benchmarks.cnn.contenders.jax_ import Jax
from benchmarks.cnn.contenders.keras_ import Keras
from benchmarks.cnn.contenders.tensorflow_ import Eager, Function, Xla
from benchmarks.cnn.contenders.torch_ import Torch

# name: class, module that it needs
CONTENDERS = {
    "fastnn cnn": (Fastnn, "tensorflow"),
    "fastnn cnn, pooling first": (FastnnPoolFirst, "tensorflow"),
    "TensorFlow eager": (Eager, "tensorflow"),
    "tf.function": (Function, "tensorflow"),
    "tf.function, XLA": (Xla, "tensorflow"),
    "Keras fit": (Keras, "keras"),
    "PyTorch": (Torch, "torch"),
    "JAX": (Jax, "jax"),
}
PREDICT = ("fastnn cnn", "Keras fit", "PyTorch", "JAX")
