"""MNIST: its files and their download."""

import gzip
import shutil

import numpy as np
import pytest

from fastnn import datasets
from fastnn.datasets import mnist


def test_mnist(mnist_dir, offline):
    data = datasets.load("mnist", data_dir=mnist_dir)
    assert (data.X.shape, data.X.dtype) == ((60000, 784), np.uint8)
    assert (data.X_test.shape, data.y_test.shape) == ((10000, 784), (10000,))
    # Counts of the digits, as published.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y).tolist() == counts
    assert data.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    # The customary mean and deviation of the pixels.
    assert data.X.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert data.X.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    inputs = data.inputs(data.X_test[:100])
    assert inputs.dtype == np.float32
    assert (inputs.min(), inputs.max()) == (0.0, 1.0)


def test_mnist_files_gzipped_or_not(mnist_dir, offline, monkeypatch, tmp_path):
    name = "t10k-labels-idx1-ubyte"
    raw = (mnist_dir / f"{name}.gz").read_bytes()
    contents = gzip.decompress(raw)
    for file, written in (
        (name, contents),
        (name, raw),
        (f"{name}.gz", raw),
        (f"{name}.gz", gzip.compress(contents, 1)),
    ):
        path = tmp_path / file
        path.write_bytes(written)
        assert mnist.contents_of(name, [tmp_path, offline]) == contents
        path.unlink()
    for place in (
        "t10k-labels.idx1-ubyte",  # with a dot, as several archives unpack them
        "t10k-labels.idx1-ubyte.gz",
        f"{name}/{name}",
        "t10k-labels.idx1-ubyte/t10k-labels.idx1-ubyte",
        f"MNIST/raw/{name}.gz",
    ):
        path = tmp_path / "unpacked" / place
        path.parent.mkdir(parents=True)
        path.write_bytes(raw if place.endswith(".gz") else contents)
        assert mnist.contents_of(name, [tmp_path / "unpacked", offline]) == contents
        shutil.rmtree(tmp_path / "unpacked")
    scrambled = gzip.compress(contents)[:10] + bytes([255] * 100)  # no such kind of block
    for damaged in (
        raw[:-100],
        contents[:-1] + b"\xff",
        contents + b"\0",
        b"",
        b"\x1f\x8b",
        scrambled,
    ):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            mnist.contents_of(name, [tmp_path, offline])


def test_mnist_download_tries_the_mirrors_and_keeps_what_is_right(mnist_dir, offline, monkeypatch):
    name = "t10k-labels-idx1-ubyte"
    raw = (mnist_dir / f"{name}.gz").read_bytes()
    asked = []

    def download(url):
        asked.append(url)
        if len(asked) == 1:
            raise ConnectionError("down")
        return b"<html>moved</html>" if len(asked) == 2 else raw

    monkeypatch.setattr("fastnn.datasets.mnist.download", download)
    contents = mnist.contents_of(name, [offline])
    assert contents == gzip.decompress(raw)
    assert asked == [f"{mirror}{name}.gz" for mirror in datasets.MNIST_MIRRORS]
    assert [path.name for path in offline.iterdir()] == [f"{name}.gz"]
    assert mnist.contents_of(name, [offline]) == contents
    assert len(asked) == 3
    # What is damaged in the cache is fetched again.
    (offline / f"{name}.gz").write_bytes(b"cut")
    assert mnist.contents_of(name, [offline]) == contents
    assert len(asked) == 4


def test_mnist_without_network_and_files(offline, tmp_path):
    with pytest.raises(FileNotFoundError, match="--data-dir or FASTNN_DATA_DIR") as error:
        datasets.load("mnist", data_dir=tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not offline.exists()
