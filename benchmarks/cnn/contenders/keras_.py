"""Keras, several steps per execution."""

from __future__ import annotations

import numpy as np

from benchmarks.cnn.network import (
    BETA1,
    BETA2,
    CHUNK,
    EPSILON,
    EVALUATED,
    PREDICTED,
    RATE,
    cross_entropy,
)


class Keras:
    """``fit`` of a Sequential model."""

    def __init__(self, precision: str, images: np.ndarray, labels: np.ndarray) -> None:
        from fastnn.cnn.runtime import keras

        layers = keras.layers
        if precision == "bfloat16":
            keras.config.set_dtype_policy("mixed_bfloat16")
        self.model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(32, 5, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 5, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(1024, activation="relu"),
                layers.Dense(10),
                layers.Activation("linear", dtype="float32"),
            ]
        )
        self.keras, self.images, self.labels = keras, images, labels

    def set(self, params: dict[str, np.ndarray]) -> None:
        self.model.set_weights(list(params.values()))
        self.model.compile(
            optimizer=self.keras.optimizers.Adam(RATE, BETA1, BETA2, EPSILON),
            loss=self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=CHUNK,
            jit_compile=False,
        )

    def run(self, first: int, steps: int, batch: int) -> None:
        rows = np.arange(first * batch, (first + steps) * batch) % len(self.images)
        images, labels = self.images[rows], self.labels[rows]
        self.model.fit(images, labels, batch_size=batch, shuffle=False, verbose=0)

    def loss(self) -> float:
        logits = self.predict(self.images[:EVALUATED]).astype(np.float64)
        return cross_entropy(logits, self.labels[:EVALUATED])

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.model.predict(images, batch_size=PREDICTED, verbose=0)
