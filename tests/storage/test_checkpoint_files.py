"""A checkpoint is there in full or not at all: faults at each call, limits, kill -9."""

import builtins
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_bits

import fastnn
from fastnn.datasets import write_atomically, writing
from fastnn.storage.checkpoints import read_checkpoint

SCRIPT = Path(__file__).with_name("killed_writers.py")

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 3))
Y = (X[:, 0] > 0).astype(int)


def train(path, epochs, **more):
    net = fastnn.Network([3, 4, 2], backend="numpy", random_state=0)
    history = net.fit(
        X, Y, epochs=epochs, batch_size=16, optimizer=fastnn.Adam(ema=0.9), checkpoint=path, **more
    )
    return net, history


class Faults:
    """The calls of the system that write a file, one of which fails.

    Attributes
    ----------
    calls : list of str
        Those that were made.
    """

    def __init__(self, monkeypatch, at, error):
        self.calls, self.at, self.error = [], at, error
        for name in ("fsync", "replace", "open", "close"):
            monkeypatch.setattr(writing.os, name, self._wrapped(name, getattr(os, name)))
        monkeypatch.setattr(writing, "open", self._open, raising=False)

    def _count(self, name):
        self.calls.append(name)
        if len(self.calls) - 1 == self.at:
            raise self.error

    def _wrapped(self, name, function):
        def call(*arguments, **settings):
            self._count(name)
            return function(*arguments, **settings)

        return call

    def _open(self, path, mode, opener=None):
        self._count("create")
        return File(builtins.open(path, mode, buffering=0), self._count)


class File:
    """A file whose calls are counted; of what is written before a fault, half gets there."""

    def __init__(self, file, count):
        self.file, self.count = file, count

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, contents):
        self.file.write(contents[: len(contents) // 2])
        self.count("write")
        self.file.write(contents[len(contents) // 2 :])

    def flush(self):
        self.count("flush")
        self.file.flush()

    def fileno(self):
        return self.file.fileno()


CALLS = ["create", "write", "flush", "fsync", "replace", "open", "fsync", "close"]
if os.name == "nt":
    CALLS = CALLS[:5]


def test_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    faults = Faults(monkeypatch, None, None)
    write_atomically(tmp_path / "a", b"contents")
    assert faults.calls == CALLS
    assert (tmp_path / "a").read_bytes() == b"contents"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, "Ctrl-C"])
@pytest.mark.parametrize("at", range(len(CALLS)))
def test_write_error_keeps_the_old_file(tmp_path, monkeypatch, at, error):
    path = tmp_path / "a"
    path.write_bytes(b"earlier")
    interrupted = error == "Ctrl-C"
    raised = KeyboardInterrupt() if interrupted else OSError(error, os.strerror(error))
    with monkeypatch.context() as context:
        Faults(context, at, raised)
        with pytest.raises(type(raised)) as caught:
            write_atomically(path, b"contents")
    if not interrupted:
        assert (caught.value.errno, caught.value.filename) == (error, str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    # the name is one of the new file once it was moved there
    assert path.read_bytes() == (b"contents" if at > CALLS.index("replace") else b"earlier")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_unsyncable_folder_is_tolerated(tmp_path, monkeypatch, code):
    Faults(monkeypatch, CALLS.index("open") + 1, OSError(code, os.strerror(code)))
    write_atomically(tmp_path / "a", b"contents")
    assert (tmp_path / "a").read_bytes() == b"contents"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_failed_checkpoint_raises(tmp_path, monkeypatch, number, error):
    """An error that says where; the file of before, from which the training goes on."""
    path = tmp_path / "c"
    train(path, 2, checkpoint_every=1)
    raised = OSError(error, os.strerror(error))
    with monkeypatch.context() as context:
        Faults(context, number * len(CALLS) + CALLS.index("write"), raised)
        with pytest.raises(OSError, match=os.strerror(error)) as caught:
            train(path, 9, checkpoint_every=1, resume=True)
    assert caught.value.filename == str(path)
    assert [each.name for each in tmp_path.iterdir()] == ["c"]
    assert read_checkpoint(path).position.steps == (2 + number) * 3
    assert_bits(train(path, 9, resume=True)[0].params, train(tmp_path / "other", 9)[0].params)


@pytest.mark.parametrize("at", range(len(CALLS)))
def test_ctrl_c_during_write_keeps_a_complete_file(tmp_path, monkeypatch, at):
    """``fit`` ends as after any Ctrl-C, and writes it again."""
    path = tmp_path / "c"
    with monkeypatch.context() as context:
        Faults(context, len(CALLS) + at, KeyboardInterrupt())
        net, history = train(path, 9, checkpoint_every=1)
    assert (history.stopped, history.epochs) == ("interrupted", 2)
    kept = read_checkpoint(path)
    assert kept.position.steps == 6
    assert_bits(kept.model.params, net.params)
    assert [each.name for each in tmp_path.iterdir()] == ["c"]
    assert_bits(train(path, 9, resume=True)[0].params, train(tmp_path / "d", 9)[0].params)


def test_missing_folders_are_created(tmp_path):
    path = tmp_path / "a" / "b" / "c"
    train(path, 1)
    assert train(path, 2, resume=True)[1].epochs == 2


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_file_too_large_raises(tmp_path):
    import resource

    path = tmp_path / "c"
    train(path, 1)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            train(path, 2, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["c"]


def run(count, timeout):
    done = subprocess.run(
        [sys.executable, SCRIPT, str(count)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert result["left"] == ["checkpoint.safetensors"]  # the next training removes the rest
    assert result["unfinished"] >= count // 4  # these kills met a file that was being written


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_kill_during_write_keeps_a_complete_file():
    run(20, timeout=600)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_kill_during_write_a_thousand_times():
    run(1000, timeout=3000)
