"""The convolutional network: short runs on scikit-learn's digits."""

import numpy as np
import pytest

from fastnn.cnn import data, runs
from fastnn.cnn.settings import Settings

cnn = pytest.importorskip("fastnn.cnn.training", exc_type=ImportError)

TINY = {"data": "digits", "batch_size": 32, "preset": "fast"}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    """A run of 60 steps: its folder and result."""
    folder = tmp_path_factory.mktemp("cnn") / "run"
    result = cnn.train(Settings(**TINY, steps=60), folder, images=digits, quiet=True)
    return folder, result


# --- training -----------------------------------------------------------------


def test_run_learns(finished):
    _, result = finished
    assert result["stopped"] == "steps"
    assert result["parameters"] == 3_274_634
    assert result["test_accuracy"] > 0.9


def test_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, digits, monkeypatch):
    """The same bits: weights, and with them shuffling, dropout, moments, learning rates."""
    chosen = Settings(**TINY, steps=50).completed()
    cnn.train(chosen, tmp_path / "whole", images=digits, quiet=True)

    trainer = cnn.Trainer(chosen, digits, tmp_path / "stopped", lambda line: None)

    def interrupt(step):
        if step == 20:
            cnn.signal.raise_signal(cnn.signal.SIGINT)

    assert trainer.run(progress=interrupt) == "interrupted"
    assert trainer.step == 20
    trainer.save_checkpoint()
    monkeypatch.setattr(data, "load", lambda *args: digits)
    result = cnn.resume(tmp_path / "stopped", quiet=True)
    assert result["steps_done"] == 50
    whole, resumed = (
        runs.read(tmp_path / name / runs.MODEL_FILE)[1] for name in ("whole", "stopped")
    )
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
