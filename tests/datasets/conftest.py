"""The files of MNIST, and no network."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mnist_dir():
    """Folder with the real files; where one is named they must be there."""
    named = os.environ.get("FASTNN_DATA_DIR")
    for folder in (named, ROOT.parent / "shared" / "mnist"):
        if folder and (Path(folder) / "train-images-idx3-ubyte.gz").is_file():
            return Path(folder)
    if named:
        pytest.fail(f"the files of MNIST are not in FASTNN_DATA_DIR={named}")
    pytest.skip("no files of MNIST in FASTNN_DATA_DIR or ../shared/mnist")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, an empty cache, no folder in the environment."""
    monkeypatch.delenv("FASTNN_DATA_DIR", raising=False)
    monkeypatch.setattr("fastnn.datasets.mnist.cache_dir", lambda: tmp_path / "cache")

    def unreachable(url):
        raise ConnectionError(url)

    monkeypatch.setattr("fastnn.datasets.mnist.download", unreachable)
    return tmp_path / "cache"
