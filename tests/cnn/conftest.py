"""A short run on scikit-learn's digits, the images, and the command.

TensorFlow is imported by the fixtures only: tests without it are skipped.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from cnn_cases import ROOT, TINY

from fastnn import cli


@pytest.fixture(scope="session")
def digits():
    from fastnn.cnn import data

    return data.load("digits")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, digits):
    """A run of 60 steps: its folder and result.

    On every processor in float32, the precision of the exports that it is compared with.
    """
    from fastnn.cnn import training
    from fastnn.cnn.settings import Settings

    folder = tmp_path_factory.mktemp("cnn") / "run"
    settings = Settings(**TINY, steps=60, precision="float32")
    return folder, training.train(settings, folder, images=digits, quiet=True)


@pytest.fixture(scope="session")
def network(finished):
    from fastnn.cnn import runs

    return runs.load(finished[0])


@pytest.fixture(scope="module")
def mnist():
    """The real images; in CI they must be there."""
    from fastnn.cnn import data

    for folder in (os.environ.get("FASTNN_DATA_DIR"), ROOT.parent / "shared" / "mnist"):
        if folder and (Path(folder) / "train-images-idx3-ubyte.gz").is_file():
            return data.load("mnist", str(folder))
    if os.environ.get("CI"):
        pytest.fail("the files of MNIST are neither in FASTNN_DATA_DIR nor in ../shared/mnist")
    pytest.skip("no files of MNIST in FASTNN_DATA_DIR or ../shared/mnist")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; exit code, standard output, standard error.

    TensorFlow is imported before, since the command says so when it has to wait for that.
    """
    pytest.importorskip("fastnn.cnn.runtime", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main(["cnn", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def refused(run):
    """Run the command with bad input; the one line it answers."""

    def refused(*arguments):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("fastnn: ")
        assert err.count("\n") == 1
        return err

    return refused


@pytest.fixture(scope="session")
def drawn(digits):
    """A digit of the test images, sharp and large, and where it is."""
    from PIL import Image

    image = digits.test[0][3, :, :, 0]
    return np.asarray(Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC))
