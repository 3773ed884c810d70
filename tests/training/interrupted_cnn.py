"""Interrupt the convolutional network: ``interrupted_cnn.py tensorflow COUNT``.

The function behind ``fastnn cnn train`` is called with one trainer, whose state is put back before
each call: TensorFlow compiles it once. Its dense layer is small, and the network is evaluated and
stored every 20 steps, so that signals come at these times, too.
"""

import functools
import hashlib
import itertools
import tempfile
from pathlib import Path

import interrupting
from interrupting import Kind

from fastnn.cnn import model, runs, training
from fastnn.cnn import trainer as trainer_module
from fastnn.cnn.data import load
from fastnn.cnn.settings import Settings

UNITS, EVALUATED = 16, 20
fan_in = model.SHAPES["fc1"][0]
model.N_PARAMS -= (fan_in + 1 + model.N_CLASSES) * (1024 - UNITS)
model.SHAPES |= {"fc1": (fan_in, UNITS), "fc2": (UNITS, model.N_CLASSES)}
trainer_module.EVALUATE_EVERY, trainer_module.PREDICT_BATCH = EVALUATED, 60
SETTINGS = Settings(data="digits", batch_size=8, summaries="off", steps=10**6)
ROOT = tempfile.TemporaryDirectory()
FOLDERS = (Path(ROOT.name) / str(number) for number in itertools.count())


@functools.cache
def trainer():
    """The trainer, and its state before the first step."""
    images = load("digits")
    settings = SETTINGS.completed(len(images.train[0]))
    made = trainer_module.Trainer(settings, images, Path(), lambda line: None)
    slots = {name: slot.numpy() for name, slot in made.optimizer.slots.items()}
    return made, made.describe(), made.network.get_weights() | slots


def cnn(backend):
    """The trainer before its first step, and the training of so many steps."""
    used, description, arrays = trainer()
    used.restore(description, arrays)
    used.folder = next(FOLDERS)
    used.folder.mkdir()

    def train(steps):
        used.settings = used.settings.model_copy(update={"steps": steps})
        return training._finish(used, quiet=True)

    return used, train


def contents(arrays):
    """Digest of parameters and moments."""
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).digest()


class Whole:
    """Digests after each slice, and the errors, of a training that nothing interrupts."""

    def __init__(self):
        self.steps, self.digests, self.errors = 0, {}, []

    def extend(self, steps):
        """Train at least so many steps."""
        if steps <= self.steps:
            return
        used, description, arrays = trainer()
        used.restore(description, arrays)
        used.folder = next(FOLDERS)
        used.folder.mkdir()
        self.steps = 2 * steps
        used.settings = used.settings.model_copy(update={"steps": self.steps})

        def record(step):
            slots = {name: slot.numpy() for name, slot in used.optimizer.slots.items()}
            self.digests[step] = contents(used.network.get_weights() | slots)

        record(0)
        used.run(progress=record)
        self.errors = list(used.errors)

    def wrong(self, step, arrays, errors):
        """Describe what are not the values after so many steps; or ""."""
        if contents(arrays) != self.digests.get(step):
            return f"not the parameters and moments after {step} steps"
        known = [error for error in self.errors if error["step"] <= step]
        # those of this step may be missing, if the signal came during the evaluation
        if errors != known and errors != [error for error in known if error["step"] < step]:
            return f"not the errors of {step} steps: {errors}"
        return ""


WHOLE = Whole()


def wrong_files(used, result, call, make, backend):
    """Describe what is wrong with the files, or with a resumed training; "" if nothing."""
    step, folder = used.step, used.folder
    if result is None or result["stopped"] != "interrupted" or result["steps_done"] != step:
        return f"result {result} after {step} steps"
    if [path.name for path in folder.iterdir()] != [runs.CHECKPOINT_FILE]:
        return f"files {sorted(folder.iterdir())}"
    description, arrays = runs.read(folder / runs.CHECKPOINT_FILE, slots=True)
    if description.step != step or description.errors != used.errors:
        return f"checkpoint of step {description.step} after {step} steps"
    evaluated = any(error["step"] == step for error in description.errors)
    if (result["test_accuracy"] is not None) != evaluated:
        return f"accuracy {result['test_accuracy']}"
    WHOLE.extend(step + EVALUATED)
    if found := WHOLE.wrong(step, arrays, description.errors):
        return found
    used.restore(description, arrays)
    used.settings = used.settings.model_copy(update={"steps": step + EVALUATED})
    used.folder = folder
    used.run()
    slots = {name: slot.numpy() for name, slot in used.optimizer.slots.items()}
    errors = used.errors
    (folder / runs.CHECKPOINT_FILE).unlink()
    if found := WHOLE.wrong(used.step, used.network.get_weights() | slots, errors):
        return f"resumed: {found}"
    return ""


KINDS = {"cnn": Kind(cnn, wrong_files, lambda used: used.step > 0, longest=0.25)}

if __name__ == "__main__":
    interrupting.main(KINDS)
