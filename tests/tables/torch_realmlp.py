"""Independent implementation of RealMLP-TD-S in PyTorch, with the paper's layers and schedule.

It does not use fastnn.
"""

import math

import numpy as np
import torch
from torch import nn

SCALE, WEIGHTS, BIASES = 6.0, 1.0, 0.1  # factors of the learning rate


class NTKLinear(nn.Module):
    def __init__(self, fan_in, fan_out, zero=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_in, fan_out) * (not zero))
        self.bias = nn.Parameter(torch.randn(fan_out) * (not zero))

    def forward(self, x):
        return x @ self.weight / math.sqrt(x.shape[1]) + self.bias


class Scale(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, x):
        return x * self.scale


def make_model(features, outputs, regression):
    activation = nn.Mish if regression else nn.SELU
    layers, width = [Scale(features)], features
    for units in (256, 256, 256):
        layers += [NTKLinear(width, units), activation()]
        width = units
    return nn.Sequential(*layers, NTKLinear(width, outputs, zero=True))


class Preprocessor:
    """Robust scaling and smooth clipping of numeric features."""

    def __init__(self, x):
        q25, self.median, q75 = np.quantile(x, (0.25, 0.5, 0.75), axis=0)
        half = 0.5 * (x.max(axis=0) - x.min(axis=0))
        self.factor = np.where(q75 == q25, 1 / (half + 1e-30), 1 / (q75 - q25 + 1e-30))
        self.factor[half == 0] = 0

    def __call__(self, x):
        z = self.factor * (x - self.median)
        return torch.tensor(z / np.sqrt(1 + (z / 3) ** 2), dtype=torch.get_default_dtype())


def coslog4(t):
    return 0.5 - 0.5 * math.cos(2 * math.pi * math.log2(1 + 15 * t))


class Training:
    """Adam with a learning rate per parameter group, and the schedule."""

    def __init__(self, model, regression, steps, epsilon=1e-8):
        self.model, self.steps, self.done = model, steps, 0
        self.loss = nn.MSELoss() if regression else nn.CrossEntropyLoss(label_smoothing=0.1)
        factor = {"scale": SCALE, "weight": WEIGHTS, "bias": BIASES}
        self.base = 0.07 if regression else 0.04
        groups = [
            {"params": [p], "factor": factor[name.split(".")[-1]]}
            for name, p in model.named_parameters()
        ]
        self.optimizer = torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.95), eps=epsilon)

    def step(self, x, y):
        for group in self.optimizer.param_groups:
            group["lr"] = self.base * group["factor"] * coslog4(self.done / self.steps)
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        self.done += 1
        return loss.item()


def predict(x, y, x_val, y_val, x_test, regression, seed, epochs=256):
    """Train, and predict class indices or values for ``x_test``."""
    torch.manual_seed(seed)
    prepare = Preprocessor(x)
    x, x_val, x_test = prepare(x), prepare(x_val), prepare(x_test)
    if regression:
        mean, deviation = y.mean(), y.std()
        y, y_val = (
            torch.tensor((v - mean) / deviation, dtype=torch.float32)[:, None] for v in (y, y_val)
        )
        outputs = 1
    else:
        y, y_val = torch.tensor(y), torch.tensor(y_val)
        outputs = int(y.max()) + 1
    model, size = make_model(x.shape[1], outputs, regression), min(256, len(x))
    batches = len(x) // size
    training = Training(model, regression, epochs * batches)
    best, kept = math.inf, None
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for batch in range(batches):
            rows = order[batch * size : (batch + 1) * size]
            training.step(x[rows], y[rows])
        with torch.no_grad():
            z = model(x_val)
            error = (z - y_val).square().mean() if regression else (z.argmax(1) != y_val).sum()
        if error.item() <= best:
            best, kept = error.item(), {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)
    with torch.no_grad():
        z = model(x_test).numpy()
    return z[:, 0] * deviation + mean if regression else z.argmax(1)
