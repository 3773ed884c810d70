"""The convolutional network against other ways to train it, and against dense networks.

``python -m benchmarks.cnn --json cnn.json --plot benchmarks/cnn.png --write benchmarks/README.md``

Five parts: a training step by batch and precision; predictions; what summaries cost; test accuracy
against seconds for the presets of ``fastnn cnn train``, with several seeds; the same for dense
networks on the same images. Every contender has its own process and is timed in turn with the
others, round after round; the median counts. Before that it shows that it computes the same thing:
from the same weights, without dropout, the same loss after three steps. ``--quick`` does little of
everything; ``--load FILE`` makes table and figure of an earlier run.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.report import write_table
from fastnn import bench

BATCHES = (50, 128, 256, 1024)
PRECISIONS = ("float32", "bfloat16")
RATE = 1e-4
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7
CHECK_STEPS, CHECK_BATCH, EVALUATED = 3, 50, 500
# Of the loss after the steps of the check. Where epsilon stands in Adam's formula differs, which
# moves parameters with tiny gradients; bfloat16 has 8 bits.
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}
SLICE = 20  # steps a call, where a contender can do several
TARGETS = (0.9867, 0.99)
CURVE = "curve"  # what failed, where it is a run of training
ANSWER_LIMIT = 900.0  # seconds for anything a process is asked

SHAPES = {
    "conv1": (5, 5, 1, 32),
    "conv2": (5, 5, 32, 64),
    "fc1": (3136, 1024),
    "fc2": (1024, 10),
}


def initial_weights() -> dict[str, np.ndarray]:
    """The course's: normal of deviation 0.1 cut off at two deviations, biases 0.1."""
    rng, params = np.random.default_rng(0), {}
    for layer, shape in SHAPES.items():
        drawn = rng.normal(size=shape)
        while (far := np.abs(drawn) > 2).any():
            drawn[far] = rng.normal(size=far.sum())
        params[f"{layer}/weights"] = (0.1 * drawn).astype(np.float32)
        params[f"{layer}/biases"] = np.full(shape[-1], 0.1, np.float32)
    return params


# --- contenders ---------------------------------------------------------------
#
# Each is made of a precision, images (n, 28, 28, 1) as bytes and labels, and has: set(params);
# run(first, steps, batch), which goes through consecutive batches and waits for the end;
# loss(), of the first images; predict(images), probabilities or logits as a NumPy array.


class _TensorFlow:
    """The network and update rule of fastnn.cnn."""

    def __init__(self, precision: str, images: np.ndarray, labels: np.ndarray) -> None:
        from fastnn.cnn import data, training
        from fastnn.cnn.runtime import tf
        from fastnn.cnn.settings import Settings

        self.tf = tf
        self.settings = (
            Settings(
                precision=precision, dropout=0.0, learning_rate=RATE, batch_size=50, steps=10**6
            )
            .completed()
            .model_copy(update={"pool_first": self.pool_first})
        )
        parts = data.Images("mnist", (images, labels), (images, labels), (images, labels))
        self._trainer = functools.partial(training.Trainer, images=parts, folder=Path(), say=print)
        self.n, self.images, self.labels = len(images), tf.constant(images), tf.constant(labels)
        self.params = None
        self.trainers = {}

    pool_first = False

    def trainer(self, batch: int):
        if batch not in self.trainers:
            settings = self.settings.model_copy(update={"batch_size": batch})
            self.trainers = {batch: self._trainer(settings=settings)}  # one at a time
            if self.params is not None:
                self.trainers[batch].network.set_weights(self.params)
        return self.trainers[batch]

    def set(self, params: dict[str, np.ndarray]) -> None:
        self.params, self.trainers = params, {}

    def run(self, first: int, steps: int, batch: int) -> None:
        trainer, tf = self.trainer(batch), self.tf
        for start in range(first, first + steps, SLICE):
            numbers = np.arange(start, min(start + SLICE, first + steps))
            rows = (numbers[:, None] * batch + np.arange(batch)) % self.n
            rates = np.full(len(numbers), RATE, np.float32)
            float(trainer._steps(rows.astype(np.int32), rates, tf.constant(start)))

    def loss(self) -> float:
        network = next(iter(self.trainers.values())).network
        logits = network.logits(self.images[:EVALUATED])
        losses = self.tf.nn.sparse_softmax_cross_entropy_with_logits(
            self.labels[:EVALUATED], logits
        )
        return float(self.tf.reduce_mean(losses))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return next(iter(self.trainers.values())).network.predict_proba(images)


class Fastnn(_TensorFlow):
    """The training loop of ``fastnn cnn train``."""


class FastnnPoolFirst(Fastnn):
    """The same, pooling before bias and activation, as its fast preset does."""

    pool_first = True


class _OneStep(_TensorFlow):
    """A step a call of TensorFlow, written as its users write it."""

    def compiled(self, step):
        return step

    def trainer(self, batch: int):
        new = batch not in self.trainers
        trainer, tf = super().trainer(batch), self.tf
        if new:

            def step(images, labels, number):
                with tf.GradientTape() as tape:
                    logits = trainer.network.logits(images)
                    loss = tf.reduce_mean(
                        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                    )
                gradients = tape.gradient(loss, trainer.network.params)
                trainer.optimizer.apply(gradients, tf.constant(RATE), number)
                return loss

            self.step = self.compiled(step)
        return trainer

    def run(self, first: int, steps: int, batch: int) -> None:
        self.trainer(batch)
        loss = None
        for k in range(first, first + steps):
            start = k * batch % (self.n - batch + 1)
            images, labels = self.images[start : start + batch], self.labels[start : start + batch]
            loss = self.step(images, labels, self.tf.constant(k + 1))
        float(loss)


class Eager(_OneStep):
    """Without tf.function."""


class Function(_OneStep):
    """tf.function."""

    def compiled(self, step):
        return self.tf.function(step, autograph=False)


class Xla(_OneStep):
    """tf.function through XLA."""

    def compiled(self, step):
        return self.tf.function(step, autograph=False, jit_compile=True)


class Keras:
    """``fit``, several steps an execution."""

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
            steps_per_execution=SLICE,
            jit_compile=False,
        )

    def run(self, first: int, steps: int, batch: int) -> None:
        rows = np.arange(first * batch, (first + steps) * batch) % len(self.images)
        images, labels = self.images[rows], self.labels[rows]
        self.model.fit(images, labels, batch_size=batch, shuffle=False, verbose=0)

    def loss(self) -> float:
        logits = self.predict(self.images[:EVALUATED]).astype(np.float64)
        return _cross_entropy(logits, self.labels[:EVALUATED])

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.model.predict(images, batch_size=500, verbose=0)


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
        return _cross_entropy(logits, self.labels[:EVALUATED].numpy())

    def predict(self, images: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            x = self.torch.from_numpy(images).permute(0, 3, 1, 2)
            parts = [self._logits(x[k : k + 500]) for k in range(0, len(x), 500)]
            return self.torch.cat(parts).numpy()


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
        parts = range(0, len(images), 500)
        return np.concatenate(
            [np.asarray(self._logits(self.state[0], images[k : k + 500])) for k in parts]
        )


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


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(labels)), labels].mean())


# --- curves: test accuracy against seconds of training -------------------------------


def summaries_cost(images, level: str, steps: int) -> list[float]:
    """Seconds of a training step and of a report, every 100 steps, of the course's preset.

    The first report is left out: it compiles.
    """
    from fastnn.cnn import training
    from fastnn.cnn.settings import Settings
    from fastnn.cnn.summaries import Summaries

    settings = Settings(preset="course", data=images.name, steps=steps).completed()
    with tempfile.TemporaryDirectory() as folder:
        trainer = training.Trainer(settings, images, Path(folder), lambda line: None)
        summaries = None if level == "off" else Summaries(folder, trainer.network, settings, level)
        report, times = trainer._report, []

        def timed(*arguments: object) -> None:
            started = time.perf_counter()
            report(*arguments)
            times.append(time.perf_counter() - started)

        trainer._report = timed
        trainer.run(summaries)
        if summaries is not None:
            summaries.close()
    return [trainer.step_seconds / steps, statistics.median(times[1:])]


def preset_curve(images, fields: dict, every: int, seed: int) -> list[list[float]]:
    """Seconds of training steps, and test accuracy, of a run of ``fastnn cnn train``.

    The first seed is watched all the way, the others only at the end.
    """
    from fastnn.cnn import training
    from fastnn.cnn.settings import Settings

    settings = Settings(**fields, data=images.name, summaries="off", seed=seed)
    settings = settings.completed(len(images.train[0]))
    curve = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = training.Trainer(settings, images, Path(folder), lambda line: None)
        trainer.evaluate = lambda summaries=None: None  # its own, every 1,100 steps

        def watch(step: int) -> None:
            if (step % every == 0 and seed == 0) or step == settings.steps:
                curve.append([trainer.step_seconds, trainer.network.score(*images.test)])

        trainer.run(progress=watch)
    return curve


def dense_curve(images, hidden: list[int], epochs: int, seed: int) -> list[list[float]]:
    """The same of a dense network, after every epoch."""
    import fastnn

    def flat(part):
        return part[0].reshape(len(part[0]), -1).astype(np.float32) / 255, part[1]

    train, test = flat(images.train), flat(images.test)
    net = fastnn.Network([784, *hidden, 10], activation="relu", random_state=seed)
    curve, seconds = [], 0.0
    for _ in range(epochs):
        history = net.fit(*train, optimizer=fastnn.Adam(1e-3), epochs=1, batch_size=128)
        seconds += history.seconds
        curve.append([seconds, net.score(*test)])
    return curve


# --- processes -----------------------------------------------------------------


def serve(pipe, name: str, precision: str, data: str, data_dir: str | None) -> None:
    """Answer what the parent asks: a method and its arguments."""
    try:
        from fastnn.cnn.data import load

        images = load(data, data_dir)
        if name in CONTENDERS:
            made = CONTENDERS[name][0](precision, *images.train)
        pipe.send(("ready", None))
        while (asked := pipe.recv()) is not None:
            what, arguments = asked
            started = time.perf_counter()
            if what == "predict":
                asked_for = np.resize(images.test[0], (*arguments, 28, 28, 1))
                started = time.perf_counter()
                answer = made.predict(asked_for).shape
            elif what in ("preset_curve", "dense_curve", "summaries_cost"):
                answer = globals()[what](images, *arguments)
            else:
                answer = getattr(made, what)(*arguments)
            pipe.send(("done", (answer, time.perf_counter() - started)))
    except EOFError:
        pass
    except Exception as error:
        pipe.send(("failed", " ".join(f"{type(error).__name__}: {error}".split())[:300]))


class Child:
    """A process with one contender."""

    def __init__(self, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=serve, args=(end, *arguments), daemon=True)
        self.process.start()
        end.close()
        self._answer()

    def _answer(self):
        try:
            if not self.pipe.poll(ANSWER_LIMIT):
                raise RuntimeError(f"no answer within {ANSWER_LIMIT:g} s")
            kind, answer = self.pipe.recv()
        except EOFError:
            raise RuntimeError("the process died") from None
        if kind == "failed":
            raise RuntimeError(answer)
        return answer

    def ask(self, what: str, *arguments: object):
        """The answer, and the seconds it took there."""
        self.pipe.send((what, arguments))
        return self._answer()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def note_failure(run: dict, name: str, what: str, error: object) -> None:
    """In the run and on the screen; ``what`` is a precision, or ``CURVE``."""
    run["failed"].append([f"{name}, {what}", str(error)])
    say(f"failed: {name}, {what}: {error}")


def measure(options: argparse.Namespace) -> dict:
    """All five parts."""
    run = measure_steps(options)
    measure_curves(options, run)
    return run


def measure_steps(options: argparse.Namespace) -> dict:
    """Everything but whole runs of training."""
    from fastnn.cnn.settings import has_bfloat16

    source = (options.data, options.data_dir)
    run = {"machine": bench.machine(), "quick": options.quick, "data": options.data}
    run |= {"failed": [], "steps": [], "inference": [], "summaries": {}, "curves": []}
    precisions = PRECISIONS if has_bfloat16() or options.emulate else PRECISIONS[:1]
    run["bfloat16"] = {"hardware": has_bfloat16(), "timed": len(precisions) > 1}
    params, children, expected = initial_weights(), {}, None

    try:
        for precision in precisions:
            for name, (_, module) in CONTENDERS.items():
                try:
                    if importlib.util.find_spec(module) is None:
                        raise RuntimeError(f"{module} is not installed")
                    child = Child(name, precision, *source)
                    children[name, precision] = child
                    child.ask("set", params)
                    child.ask("run", 0, CHECK_STEPS, CHECK_BATCH)
                    loss, _ = child.ask("loss")
                    expected = expected or loss  # of the first contender, in float32
                    if abs(loss - expected) > TOLERANCE[precision] * expected:
                        raise RuntimeError(
                            f"computes something else: loss {loss:.6f}, expected {expected:.6f}"
                        )
                    say(f"{name}, {precision}: loss {loss:.6f} after {CHECK_STEPS} steps")
                except RuntimeError as error:
                    note_failure(run, name, precision, error)
                    if (name, precision) in children:
                        children.pop((name, precision)).close()
        for batch in options.batches:
            rounds: dict = {}
            for number in range(options.rounds + 1):
                for key, child in list(children.items()):
                    try:
                        if number == 0:  # compile, warm up, see how many steps fill the time
                            child.ask("set", params)
                            child.ask("run", 0, SLICE if batch < 512 else 4, batch)
                            steps = SLICE if batch < 512 else 4
                            _, seconds = child.ask("run", 0, steps, batch)
                            wanted = options.seconds * steps / seconds
                            steps = max(
                                2,
                                round(wanted / SLICE) * SLICE if wanted > SLICE else round(wanted),
                            )
                            rounds[key] = (steps, [])
                        else:
                            steps, times = rounds[key]
                            _, seconds = child.ask("run", 0, steps, batch)
                            times.append(seconds / steps)
                    except RuntimeError as error:
                        note_failure(run, *key, f"batch {batch}: {error}")
                        children.pop(key).close()
                        rounds.pop(key, None)
            for (name, precision), (steps, times) in rounds.items():
                median = statistics.median(times)
                run["steps"].append(
                    {
                        "contender": name, "precision": precision, "batch": batch,
                        "seconds": median, "images_per_second": batch / median,
                        "spread": (max(times) - min(times)) / median, "steps": steps,
                        "rounds": times,
                    }
                )  # fmt: skip
                say(f"batch {batch}: {name}, {precision}: {1e3 * median:.2f} ms a step")
        for n in (1, 10_000):
            times: dict = {}
            for number in range(options.rounds + 1):
                for (name, precision), child in children.items():
                    if name in PREDICT:
                        repeats = 20 if n == 1 else 1
                        took = [child.ask("predict", n)[1] for _ in range(repeats)]
                        if number:  # the first warms up
                            times.setdefault((name, precision), []).append(statistics.median(took))
            for (name, precision), values in times.items():
                run["inference"].append(
                    {"contender": name, "precision": precision, "images": n,
                     "seconds": statistics.median(values), "rounds": values}
                )  # fmt: skip
    finally:
        for child in children.values():
            child.close()

    for level in ("off", "light", "full"):
        child = Child(level, "", *source)
        run["summaries"][level], _ = child.ask("summaries_cost", level, options.reported)
        child.close()
        say(f"summaries {level}: {run['summaries'][level]}")
    return run


def measure_curves(options: argparse.Namespace, run: dict) -> None:
    """Whole runs of training, put into ``run``."""
    source = (options.data, options.data_dir)
    run["curves"] = []
    run["failed"] = [entry for entry in run["failed"] if not entry[0].endswith(f", {CURVE}")]
    jobs = [
        *(
            (name, "preset_curve", {"preset": name} | options.preset, every, seeds)
            for name, every, seeds in options.presets
        ),
        *(
            ("dense " + "-".join(map(str, [784, *hidden, 10])), "dense_curve", hidden, epochs, 3)
            for hidden, epochs in options.dense
        ),
    ]
    # seed after seed, so that a slow minute hits all
    curves: dict[str, list] = {name: [] for name, *_ in jobs}
    for seed in range(max(seeds for *_, seeds in jobs)):
        for name, what, first, second, seeds in jobs:
            if seed >= seeds:
                continue
            try:
                child = Child(name, "", *source)
                points, _ = child.ask(what, first, second, seed)
                child.close()
            except RuntimeError as error:
                note_failure(run, name, CURVE, error)
                continue
            curves[name].append(points)
            say(f"{name}, seed {seed}: {points[-1][0]:.1f} s, {points[-1][1]:.4f}")
    for name, runs in curves.items():
        if not runs:
            continue
        points, ends = runs[0], [points[-1] for points in runs]
        times = {
            str(target): next((t for t, accuracy in points if accuracy >= target), None)
            for target in TARGETS
        }
        run["curves"].append({"name": name, "points": points, "seconds_to": times, "ends": ends})


# --- what is made of it ------------------------------------------------------------


def markdown(run: dict) -> str:
    """Tables and remarks."""
    number = bench.number
    batches = sorted({row["batch"] for row in run["steps"]})
    lines = [
        f"| ms a step (images a second) | {' | '.join(f'batch {b:,}' for b in batches)} |",
        "|---|" + "---:|" * len(batches),
    ]
    found = {(row["contender"], row["precision"], row["batch"]): row for row in run["steps"]}
    for name, precision in dict.fromkeys(key[:2] for key in found):
        cells = []
        for batch in batches:
            row = found.get((name, precision, batch))
            cells.append(
                f"{number(1e3 * row['seconds'])} ({row['images_per_second']:,.0f})" if row else ""
            )
        lines.append(f"| {name}, {precision} | {' | '.join(cells)} |")
    lines += ["", "| predicting, ms | 1 image | 10,000 images |", "|---|---:|---:|"]
    found = {(r["contender"], r["precision"], r["images"]): r for r in run["inference"]}
    for name, precision in dict.fromkeys(key[:2] for key in found):
        rows = [found.get((name, precision, n)) for n in (1, 10_000)]
        cells = [number(1e3 * row["seconds"]) if row else "" for row in rows]
        lines.append(f"| {name}, {precision} | {' | '.join(cells)} |")
    titles = " | ".join(f"seconds to {target:.2%}" for target in TARGETS)
    lines += ["", f"| run | {titles} | seconds in all | of course's | test accuracy | seeds |"]
    lines.append("|---|" + "---:|" * (len(TARGETS) + 4))
    whole = {
        curve["name"]: statistics.median(seconds for seconds, _ in curve["ends"])
        for curve in run["curves"]
    }
    for curve in run["curves"]:
        cells = [number(curve["seconds_to"][str(target)]) or "never" for target in TARGETS]
        accuracies = [accuracy for _, accuracy in curve["ends"]]
        mean, n = statistics.mean(accuracies), len(accuracies)
        error = f" ± {100 * statistics.stdev(accuracies) / n**0.5:.2f}" if n > 1 else ""
        seconds = whole[curve["name"]]
        share = f"1/{whole['course'] / seconds:.1f}" if "course" in whole else ""
        row = [curve["name"], *cells, number(seconds), share, f"{100 * mean:.2f}{error} %", str(n)]
        lines.append(f"| {' | '.join(row)} |")
    lines.append("")
    if run["summaries"]:
        base = run["summaries"]["off"]
        costs = [
            f"{level} {(report - base[1]) / (100 * step):.1%}"
            for level, (step, report) in run["summaries"].items()
            if level != "off"
        ]
        text = "more time for summaries every 100 steps of the course's run"
        lines.append(f"- {text}: {', '.join(costs)}")
    machine = run["machine"]
    lines += [f"- {machine['cpu']}, {machine['usable_cores']} cores, {machine['date'][:10]}"]
    if run["quick"]:
        lines.append("- **a quick run: too short to tell anything**")
    if run["data"] != "mnist":
        lines.append(f"- images: {run['data']}, not MNIST")
    if not run["bfloat16"]["hardware"]:
        then = "its rows are emulated" if run["bfloat16"]["timed"] else "it was not timed"
        lines.append(f"- this CPU does not multiply bfloat16 in hardware; {then}")
    lines += [f"- failed: {name}: {error}" for name, error in run["failed"]]
    names = ("tensorflow", "keras", "torch", "jax", "numpy")
    versions = [f"{n} {machine['versions'][n]}" for n in names if n in machine["versions"]]
    lines.append(f"- {', '.join(versions)}")
    return "\n".join(lines) + "\n"


def draw(run: dict):
    """Test error against seconds of training."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    ax = figure.subplots()
    for curve in run["curves"]:
        seconds, accuracy = np.array(curve["points"]).T
        dense = curve["name"].startswith("dense")
        ax.plot(
            seconds,
            np.maximum(1 - accuracy, 1e-4),
            "s--" if dense else "o-",
            markersize=4,
            label=curve["name"] if dense else f"convolutional, {curve['name']}",
        )
    for target in TARGETS:
        ax.axhline(1 - target, color="0.6", linewidth=0.8, linestyle=":")
        ax.annotate(
            f"{target:.2%}", (1, 1 - target), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color="0.4",
        )  # fmt: skip
    percent = FuncFormatter(lambda value, _: f"{100 * value:g}%")
    ax.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="test error")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_formatter(percent)
    ax.yaxis.set_minor_formatter(percent)
    ax.tick_params(axis="y", which="minor", labelsize=7)
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=8)
    title = "test error against seconds of training" + (" (quick run)" if run["quick"] else "")
    ax.set_title(title, fontsize=10)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--load", type=Path, metavar="FILE", help="an earlier run's JSON instead")
    parser.add_argument(
        "--curves", action="store_true", help="measure the runs of training in --load's JSON anew"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw accuracy against seconds")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this file")
    parser.add_argument("--data", choices=["mnist", "digits"], default="mnist")
    parser.add_argument("--data-dir", help="folder with the files of mnist")
    parser.add_argument("--batches", help="with commas between; default: 50,128,256,1024")
    parser.add_argument("--rounds", type=int, help="default: 3, quick: 1")
    parser.add_argument("--seconds", type=float, help="of a round; default: 1, quick: 0.2")
    parser.add_argument(
        "--emulate", action="store_true", help="time bfloat16 without hardware for it too"
    )
    options = parser.parse_args()
    if options.curves and options.load is None:
        parser.error("--curves needs --load")
    quick = options.quick
    options.rounds = options.rounds or (1 if quick else 3)
    options.seconds = options.seconds or (0.2 if quick else 1.0)
    chosen = options.batches or ("50" if quick else ",".join(map(str, BATCHES)))
    options.batches = [int(batch) for batch in chosen.split(",")]
    options.preset = {"steps": 40} if quick else {}
    options.reported = 200 if quick else 700
    # seeds: their accuracies' standard errors are then well below the differences
    options.presets = [("course", 220, 3), ("fast", 20, 5), ("accurate", 60, 5)]
    if quick:
        options.presets = [(name, 20, 1) for name, *_ in options.presets]
    options.dense = [([128, 64], 3)]
    if not quick:
        options.dense = [([32], 20), ([128, 64], 15), ([1024, 1024], 5)]
    if options.load is not None:
        run = json.loads(options.load.read_text(encoding="utf-8"))
        if options.curves:
            measure_curves(options, run)
    else:
        run = measure(options)
    if options.json is not None:
        options.json.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        draw(run).savefig(options.plot, dpi=150)
    tables = markdown(run)
    if options.write is None:
        print(tables, end="")
        return
    if options.plot is not None:
        place = Path(os.path.relpath(options.plot, options.write.parent)).as_posix()
        tables += f"\n![test error against seconds of training]({place})\n"
    write_table(options.write, tables, "cnn")


if __name__ == "__main__":
    main()
