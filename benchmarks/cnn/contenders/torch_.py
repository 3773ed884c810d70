"""PyTorch, eager."""

from __future__ import annotations

import numpy as np

from benchmarks.cnn.network import (
    BETA1,
    BETA2,
    EPSILON,
    EVALUATED,
    PREDICTED,
    RATE,
    SHAPES,
    cross_entropy,
)


class Torch:
    """Eager, channels last, fused Adam."""

    def __init__(self, precision: str, images: np.ndarray, labels: np.ndarray) -> None:
        import torch
        from torch import nn

        self.torch, self.precision = torch, precision
        self.n = len(images)
        self.images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        self.labels = torch.from_numpy(labels.astype(np.int64))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
                self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
                self.fc1, self.fc2 = nn.Linear(3136, 1024), nn.Linear(1024, 10)

            def forward(self, x):
                x = x.to(torch.float32) / 255
                x = x.to(memory_format=torch.channels_last)
                for layer in (self.conv1, self.conv2):
                    x = nn.functional.max_pool2d(torch.relu(layer(x)), 2)
                x = x.permute(0, 2, 3, 1).flatten(1)  # the order of the others
                return self.fc2(torch.relu(self.fc1(x)))

        self.net = Net().to(memory_format=torch.channels_last)

    def set(self, params: dict[str, np.ndarray]) -> None:
        torch = self.torch
        with torch.no_grad():
            for name in SHAPES:
                weights = torch.from_numpy(params[f"{name}/weights"])
                order = (3, 2, 0, 1) if name.startswith("conv") else (1, 0)
                layer = getattr(self.net, name)
                layer.weight.copy_(weights.permute(*order))
                layer.bias.copy_(torch.from_numpy(params[f"{name}/biases"]))
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), RATE, (BETA1, BETA2), EPSILON, fused=True
        )

    def _logits(self, images):
        with self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.precision != "float32"):
            return self.net(images).float()

    def run(self, first: int, steps: int, batch: int) -> None:
        entropy = self.torch.nn.functional.cross_entropy
        for k in range(first, first + steps):
            start = k * batch % (self.n - batch + 1)
            images, labels = self.images[start : start + batch], self.labels[start : start + batch]
            self.optimizer.zero_grad()
            loss = entropy(self._logits(images), labels)
            loss.backward()
            self.optimizer.step()
        loss.item()

    def loss(self) -> float:
        with self.torch.no_grad():
            logits = self._logits(self.images[:EVALUATED]).numpy().astype(np.float64)
        return cross_entropy(logits, self.labels[:EVALUATED].numpy())

    def predict(self, images: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            x = self.torch.from_numpy(images).permute(0, 3, 1, 2)
            parts = [self._logits(x[k : k + PREDICTED]) for k in range(0, len(x), PREDICTED)]
            return self.torch.cat(parts).numpy()
