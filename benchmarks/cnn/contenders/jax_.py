"""JAX."""

from __future__ import annotations

import numpy as np

from benchmarks.cnn.network import BETA1, BETA2, EPSILON, EVALUATED, PREDICTED, RATE


class Jax:
    """A step in one compiled call."""

    def __init__(self, precision: str, images: np.ndarray, labels: np.ndarray) -> None:
        import jax
        from jax import lax
        from jax import numpy as jnp

        self.jax, self.n = jax, len(images)
        self.images, self.labels = jnp.asarray(images), jnp.asarray(labels)
        dtype = jnp.dtype(precision)

        def logits(params, x):
            x = x.astype(dtype) / 255
            for name in ("conv1", "conv2"):
                x = lax.conv_general_dilated(
                    x,
                    params[f"{name}/weights"].astype(dtype),
                    (1, 1),
                    "SAME",
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
                x = jax.nn.relu(x + params[f"{name}/biases"].astype(dtype))
                x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            x = x.reshape(len(x), -1)
            for name in ("fc1", "fc2"):
                x = x @ params[f"{name}/weights"].astype(dtype)
                x = x + params[f"{name}/biases"].astype(dtype)
                x = jax.nn.relu(x) if name == "fc1" else x
            return x.astype(jnp.float32)

        def loss(params, x, y):
            log_p = jax.nn.log_softmax(logits(params, x))
            return -jnp.take_along_axis(log_p, y[:, None], 1).mean()

        def step(state, images, labels, k, batch):
            params, m, v = state
            start = k * batch % (self.n - batch + 1)
            x = lax.dynamic_slice_in_dim(images, start, batch)
            y = lax.dynamic_slice_in_dim(labels, start, batch)
            gradients = jax.grad(loss)(params, x, y)
            t = (k + 1).astype(jnp.float32)
            rate = RATE * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
            trees = jax.tree.map
            m = trees(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
            v = trees(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)
            move = trees(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
            return move, m, v

        self._step = jax.jit(step, static_argnums=4, donate_argnums=0)
        self._loss, self._logits = jax.jit(loss), jax.jit(logits)

    def set(self, params: dict[str, np.ndarray]) -> None:
        jnp = self.jax.numpy
        zeros = [{name: jnp.zeros(a.shape) for name, a in params.items()} for _ in range(2)]
        self.state = ({name: jnp.array(a) for name, a in params.items()}, *zeros)

    def run(self, first: int, steps: int, batch: int) -> None:
        for k in range(first, first + steps):
            number = np.int32(k)
            self.state = self._step(self.state, self.images, self.labels, number, batch)
        self.jax.block_until_ready(self.state)

    def loss(self) -> float:
        return float(self._loss(self.state[0], self.images[:EVALUATED], self.labels[:EVALUATED]))

    def predict(self, images: np.ndarray) -> np.ndarray:
        parts = range(0, len(images), PREDICTED)
        return np.concatenate(
            [np.asarray(self._logits(self.state[0], images[k : k + PREDICTED])) for k in parts]
        )
