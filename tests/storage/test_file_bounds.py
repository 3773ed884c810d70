"""Bounds of the fields in a file from both sides, and what killed writers leave."""

import json
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from model_files import contents, with_value

import fastnn
from fastnn.storage.checkpoints import read_checkpoint
from fastnn.training.history import EarlyStopping

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
EPOCHS = 6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints of a network and of an estimator."""
    folder = tmp_path_factory.mktemp("files")
    net = fastnn.Network([3, 4, 2], backend="numpy", random_state=0)
    net.fit(
        X, Y, epochs=EPOCHS, batch_size=16, checkpoint=folder / "network",
        validation_fraction=0.2, early_stopping=EarlyStopping(100), optimizer=fastnn.Adam(0.01),
    )  # fmt: skip
    model = fastnn.MLPClassifier((4,), max_iter=300, backend="numpy", random_state=0, tol=1e-2)
    model.fit(X, Y, checkpoint=folder / "estimator")
    return folder


RANDOM = "run.random"
# file, field, a value out of bounds, what the message has, and one that is just within
BOUNDS = [
    *(("network", f"run.{name}", -1, name, None) for name in ("first_epoch", "steps", "n_losses")),
    ("network", "run.batches", 0, "batches", None),
    ("network", "run.seconds", -1e-9, "seconds", 0.0),
    ("network", "run.n_losses", 1, "1 losses of 18 steps", None),
    ("network", "run.n_validated", EPOCHS - 2, "4 of 6 epochs are validated", None),
    ("network", "run.n_validated", EPOCHS + 1, "7 of 6 epochs are validated", None),
    ("network", "run.n_validated", -1, "n_validated", None),
    ("network", "run.best_epoch", EPOCHS + 1, "epoch 7 of 6 cannot be the best", 0),
    ("network", "run.best_epoch", -1, "epoch -1 of 6 cannot be the best", None),
    ("network", "run.best_epoch", -2, "best_epoch", None),
    ("network", "run.best_loss", None, "cannot be the best", -1e9),
    *(("network", f"training_state.{name}", -1, name, None) for name in ("updates", "epochs")),
    *(("network", f"{part}.seed", value, "seed", None)
      for part in ("training_state", "config") for value in (-1, 2**31)),
    ("network", "config.n_epochs", -1, "n_epochs", None),
    ("network", "config.layer_sizes", [3], "layer_sizes", None),
    ("network", "config.layer_sizes", [3] + [1] * 10_000, "layer_sizes", None),
    ("estimator", f"{RANDOM}.pos", -1, "pos", 0),
    ("estimator", f"{RANDOM}.pos", 625, "pos", 624),
    ("estimator", f"{RANDOM}.has_gauss", -1, "has_gauss", 0),
    ("estimator", f"{RANDOM}.has_gauss", 2, "has_gauss", 1),
    ("estimator", f"{RANDOM}.key", [0] * 623, "key", [0] * 624),
    ("estimator", f"{RANDOM}.key", [0] * 625, "key", None),
    ("estimator", f"{RANDOM}.key", [2**32] * 624, "key", [2**32 - 1] * 624),
    ("estimator", f"{RANDOM}.key", [-1] * 624, "key", None),
    *(("estimator", f"fitted.{name}", -1, name, None)
      for name in ("n_iter", "t", "no_improvement_count")),
    ("estimator", "fitted.no_improvement_count", 0.5, "no_improvement_count", 0),
]  # fmt: skip


@pytest.mark.parametrize(("file", "name", "bad", "match", "good"), BOUNDS)
def test_field_bounds_are_enforced(files, tmp_path, file, name, bad, match, good):
    path = tmp_path / "m"
    path.write_bytes((files / file).read_bytes())
    if good is not None:
        with_value(path, name, lambda _: good)
        read_checkpoint(path, "numpy")
    with_value(path, name, lambda _: bad)
    with pytest.raises(fastnn.ModelFormatError, match=f"^{path}: .*{match}"):
        read_checkpoint(path, "numpy")


def test_run_without_last_validation_loads(files, tmp_path):
    """The last epoch may not have been validated; its numbers are those of the epochs before."""
    path = tmp_path / "m"
    path.write_bytes((files / "network").read_bytes())
    whole = read_checkpoint(path, "numpy")
    assert whole.position.validation.shape == (EPOCHS, 2)
    header, fields, body = contents(path)
    fields["run"]["n_validated"] -= 1
    start, stop = header["validation"]["data_offsets"]
    header["validation"].update(shape=[2 * EPOCHS - 2], data_offsets=[start, stop - 16])
    for name, entry in header.items():
        if name != "__metadata__" and entry["data_offsets"][0] >= stop:
            entry["data_offsets"] = [at - 16 for at in entry["data_offsets"]]
    header["__metadata__"]["fastnn"] = json.dumps(fields)
    text = json.dumps(header).encode()
    path.write_bytes(
        struct.pack("<Q", len(text)) + text + body[: stop - 16] + body[stop:],
    )
    np.testing.assert_array_equal(
        read_checkpoint(path, "numpy").position.validation, whole.position.validation[:-1]
    )


def test_checkpoint_before_the_first_epoch_ends(tmp_path):
    """There is no loss of an epoch, and nothing is the best."""
    net = fastnn.Network([3, 4, 2], backend="numpy", random_state=0)

    def stop(progress):
        return True

    net.fit(
        X, Y, epochs=9, batch_size=16, checkpoint=tmp_path / "m", validation_fraction=0.2,
        callbacks=[stop],
    )  # fmt: skip
    position = read_checkpoint(tmp_path / "m", "numpy").position
    assert 0 < position.steps < 3
    assert (position.validation.shape, position.best.epoch, position.best.params) == (
        (0, 2),
        -1,
        None,
    )
    assert len(position.losses) == position.steps


@pytest.mark.parametrize("more", [1, 7, 9, 1000])
def test_header_longer_than_the_file_raises(tmp_path, more):
    text = json.dumps({"__metadata__": {"fastnn": "{}"}}).encode()
    path = tmp_path / "m"
    path.write_bytes(struct.pack("<Q", len(text) + more) + text)
    match = f"a header of {len(text) + more:,} bytes in {len(text) + 8:,}"
    with pytest.raises(fastnn.ModelFormatError, match=match):
        fastnn.load(path, backend="numpy")
    path.write_bytes(struct.pack("<Q", len(text)) + text)  # which ends with the file
    with pytest.raises(fastnn.ModelFormatError, match="format_version"):
        fastnn.load(path, backend="numpy")


@pytest.mark.skipif(os.name == "nt", reason="processes are not asked about")
def test_leftover_files_of_killed_writers_are_removed(tmp_path):
    """Files of processes that are gone are removed, of this very file only."""
    code = "import os; print(os.getpid())"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout)
    gone = [f".m.{child}-0a.tmp", f".m.{child}-ff12.tmp"]
    kept = [
        f".m.{os.getpid()}-0a.tmp",  # being written
        *(f".n.{child}-0a.tmp", f".m.{child}-0a.tmp2", f".m.{child}-0g.tmp", ".m.x-0a.tmp"),
        f".m.{10**30}-0a.tmp",  # of no process
    ]
    for name in (*gone, *kept):
        (tmp_path / name).write_bytes(b"")
    net = fastnn.Network([3, 2], backend="numpy", random_state=0)
    net.fit(X, Y, epochs=1, checkpoint=tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "m"])


@pytest.mark.parametrize("name", ["in\nput", "a\x1b[31m", "b\r", "\u2028"])
def test_names_of_arrays_do_not_break_the_line_of_the_message(tmp_path, name):
    net = fastnn.Network([3, 2], backend="numpy", random_state=0)
    net.save(tmp_path / "m")
    length = int.from_bytes((raw := (tmp_path / "m").read_bytes())[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header[name] = header.pop("params")
    text = json.dumps(header).encode()
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    with pytest.raises(fastnn.ModelFormatError, match="m: has the arrays") as caught:
        fastnn.load(tmp_path / "m", backend="numpy")
    message = str(caught.value)
    assert repr(name)[1:-1] in message
    assert message.isprintable()
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
