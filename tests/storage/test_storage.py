import datetime
import json
import pickle
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from helpers import assert_same

import fastnn
from fastnn import storage

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3)) * [1, 10, 100] + 5


def trained(kind, dtype="float64"):
    """A network of each kind, trained for a moment."""
    options = {"backend": "numpy", "dtype": dtype, "random_state": 0}
    if kind == "words":
        y = np.where(X[:, 0] > 5, "ja", "nein")
        net = fastnn.Network([3, 4, 2], standardize=True, dropout=0.1, l2=1e-3, **options)
    elif kind == "integers":
        y = np.arange(40) % 3 * 10 - 10
        net = fastnn.Network([3, 4, 5, 3], activation=["elu", "gelu"], alpha=0.5, **options)
    elif kind == "binary":
        y = X[:, 0] > 5
        net = fastnn.Network([3, 1], loss="binary_cross_entropy", **options)
    elif kind == "multilabel":
        y = (X > 5).astype(int)
        net = fastnn.Network([3, 4, 3], loss="binary_cross_entropy", **options)
    elif kind == "objects":
        y = np.array(["b", "a"] * 20, object)
        net = fastnn.Network([3, 2], **options)
    else:
        y = X @ [1.0, 2.0, 3.0]
        net = fastnn.Network([3, 4, 1], loss="squared_error", standardize=True, **options)
    net.fit(X, y, epochs=3, batch_size=8, optimizer=fastnn.SGD(1e-4))
    return net, y


KINDS = ["words", "integers", "binary", "multilabel", "objects", "regression"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(tmp_path, kind, dtype):
    net, y = trained(kind, dtype)
    path = tmp_path / "m.safetensors"
    net.save(path)
    again = fastnn.load(path, backend="numpy")
    np.testing.assert_array_equal(again.params, net.params)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert again.predict(X).dtype == net.predict(X).dtype
    assert again.predict(X).shape == net.predict(X).shape
    assert again.get_config() == net.get_config()
    assert again.loss(X, y) == net.loss(X, y)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_on_every_backend(tmp_path, kind, dtype, backend):
    net, _ = trained(kind, dtype)
    net.save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m", backend=backend)
    assert (again.backend, again.dtype) == (backend, net.dtype)
    if kind == "regression":
        assert_same(again.predict(X), net.predict(X), dtype)
    else:
        np.testing.assert_array_equal(again.predict(X), net.predict(X))
        assert_same(again.predict_proba(X), net.predict_proba(X), dtype)


def test_untrained_network_round_trip(tmp_path):
    net = fastnn.Network([2, 3, 2], standardize=True, backend="numpy", random_state=0)
    net.save(tmp_path / "m")
    again = fastnn.load(tmp_path / "m", backend="numpy")
    np.testing.assert_array_equal(again.params, net.params)
    assert again.classes_ is None


def test_is_a_safetensors_file_with_its_settings(tmp_path):
    from safetensors import safe_open

    net, _ = trained("words")
    storage.save(net, tmp_path / "m", training={"settings": {"epochs": 3}, "features": ["a"]})
    with safe_open(tmp_path / "m", "numpy") as file:
        fields = json.loads(file.metadata()["fastnn"])
        np.testing.assert_array_equal(file.get_tensor("params"), net.params)
    assert fields["kind"] == "Network"
    assert fields["fastnn_version"] == fastnn.__version__
    assert fields["config"]["layer_sizes"] == [3, 4, 2]
    description = storage.describe(tmp_path / "m")
    assert description.training == {"settings": {"epochs": 3}, "features": ["a"]}
    assert description.config.classes.values == ["ja", "nein"]


def test_unsupported_labels_raise(tmp_path):
    net, _ = trained("words")
    net.params[3] = np.nan
    with pytest.raises(fastnn.ModelFormatError, match="params is not finite"):
        net.save(tmp_path / "m")
    net.params[3] = 0
    with pytest.raises(fastnn.ModelFormatError, match="training"):
        storage.save(net, tmp_path / "m", training={"x": object()})
    assert list(tmp_path.iterdir()) == []


def test_failed_writing_keeps_the_old_file(tmp_path, monkeypatch):
    net, _ = trained("words")
    path = tmp_path / "m"
    net.save(path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    net.params[:] = 0
    with pytest.raises(OSError, match="No space"):
        net.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


# --- damaged and hostile files ------------------------------------------------


def parts(raw):
    """Header and data of a safetensors file."""
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def joined(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def parts_of(header):
    """Names of the arrays."""
    return [name for name in header if name != "__metadata__"]


def changed(raw, change):
    """A file whose fastnn JSON went through ``change``."""
    header, data = parts(raw)
    fields = json.loads(header["__metadata__"]["fastnn"])
    change(fields)
    header["__metadata__"]["fastnn"] = json.dumps(fields)
    return joined(header, data)


def config(**values):
    return lambda fields: fields["config"].update(values)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "m"
    trained("words")[0].save(path)
    return path.read_bytes()


def refused(tmp_path, raw, match=None):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(raw)
    with pytest.raises(fastnn.ModelFormatError, match=match) as error:
        fastnn.load(path, backend="numpy")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (config(layer_sizes=[3, 5, 2]), "need float64 of shape"),
        (config(layer_sizes=[3, 10**9, 2]), "need float64 of shape"),
        (config(layer_sizes=[3, -4, 2]), r"layer_sizes\[1\] must be a whole number of at least 1"),
        (
            config(layer_sizes=[3, 2]),
            "activation must be .* each of 0 hidden layers; got 1",
        ),
        (config(layer_sizes=[3, 4.5, 2]), r"config.layer_sizes.1"),
        (config(layer_sizes="342"), "config.layer_sizes"),
        (config(dtype="float32"), "need float32"),
        (config(dtype="object"), "config.dtype"),
        (config(activation=["os.system"]), r"config.activation.0"),
        (config(loss="none"), "config.loss"),
        (config(l2=-1.0), "config.l2"),
        (config(dropout=[1.0]), "config.dropout"),
        (config(standardize=False), "has the arrays"),
        (config(loss="squared_error"), "classes do not fit the outputs"),
        (config(seed=-1), "config.seed"),
        (config(more=1), "config.more"),
        (config(classes={"dtype": "<U4", "values": ["nein", "ja"]}), "not in order"),
        (config(classes={"dtype": "<U4", "values": ["ja"]}), "config.classes"),
        (config(classes={"dtype": "<U4", "values": ["a", "b", "c"]}), "shorter than their type"),
        (config(classes={"dtype": "<U999999", "values": ["a", "b"]}), "shorter than their type"),
        (config(classes={"dtype": "|V8", "values": ["a", "b"]}), "config.classes.dtype"),
        (config(classes={"dtype": "<i8", "values": ["a", "b"]}), "do not fit their type"),
        (config(classes={"dtype": "|i1", "values": [0, 300]}), "config.classes"),
        (config(classes={"dtype": "|O", "values": ["a", 3]}), "config.classes"),
        (lambda fields: fields.update(format_version=5), "written in format 5, by a newer fastnn"),
        (lambda fields: fields.update(format_version="1"), "format_version"),
        (lambda fields: fields.update(kind="Forest"), "kind"),
        (lambda fields: fields.pop("config"), "config"),
        (lambda fields: fields.update(code="import os"), "code"),
    ],
)
def test_inconsistent_settings_raise(tmp_path, good, change, match):
    refused(tmp_path, changed(good, change), match)


def test_other_files_raise(tmp_path, good):
    header, data = parts(good)
    huge = struct.pack("<Q", 2**63) + good[8:]
    deep = b"[" * 200_000
    for raw, match in (
        (b"", "shorter than a header"),
        (good[:20], "not a model file"),
        (pickle.dumps({"a": 1}), "not a model file"),
        (huge, "a header of 9,223,372,036,854,775,808 bytes"),
        (struct.pack("<Q", 4) + b"null", "not a JSON object"),
        (struct.pack("<Q", len(deep)) + deep, "not a model file"),
        (struct.pack("<Q", 2) + b"\xff\xff", "not a model file"),
        (joined({"params": header["params"]}, data), "not one of fastnn"),
        (joined({"__metadata__": {"fastnn": "{"}}, data), "Expecting"),
        (joined({"__metadata__": {"fastnn": '{"a": NaN}'}}, data), "NaN is not JSON"),
        (joined({"__metadata__": {"fastnn": '{"a": 1, "a": 2}'}}, data), "a key occurs twice"),
        (joined({"__metadata__": {"fastnn": '{"a": "\\ud800"}'}}, data), "not Unicode"),
        (joined({"__metadata__": {"fastnn": "[1]"}}, data), "not a JSON object"),
    ):
        refused(tmp_path, raw, match)


def test_mismatched_arrays_raise(tmp_path, good):
    header, data = parts(good)
    refused(tmp_path, good[:-1], "bytes instead of")
    refused(tmp_path, good + b"\0", "bytes instead of")
    without = {name: entry for name, entry in header.items() if name != "params"}
    refused(tmp_path, joined(without, data), "has the arrays")
    refused(tmp_path, joined(header | {"other": header["params"]}, data), "has the arrays")
    wrong = header | {"params": header["params"] | {"dtype": "I64"}}
    refused(tmp_path, joined(wrong, data), "dtype")
    wrong = header | {"params": header["params"] | {"data_offsets": [0, 8]}}
    refused(tmp_path, joined(wrong, data))
    overlapping = header | {"input_scale": header["input_shift"]}
    refused(tmp_path, joined(overlapping, data))
    # a hole before the last array: the file is as long as the offsets say, but not as the shapes
    last = max(parts_of(header), key=lambda name: header[name]["data_offsets"][0])
    start, stop = header[last]["data_offsets"]
    moved = header | {last: header[last] | {"data_offsets": [start + 8, stop + 8]}}
    refused(tmp_path, joined(moved, data[:start] + bytes(8) + data[start:]), "bytes instead of")
    # and one that an overlap makes up for
    moved = header | {last: header[last] | {"data_offsets": [start - 8, stop - 8]}}
    refused(tmp_path, joined(moved, data))
    (length,) = header["params"]["shape"]
    for shape in ([length, 1], [], [1] * 1000 + [length], [-length], [2**70]):
        wrong = header | {"params": header["params"] | {"shape": shape}}
        refused(tmp_path, joined(wrong, data), "shape")
    many = {f"a{k}": header["params"] for k in range(10_000)}
    refused(tmp_path, joined(header | many, data), "has the arrays")
    for value, name, match in (
        (np.nan, "params", "params is not finite"),
        (np.inf, "input_shift", "input_shift is not finite"),
        (0.0, "input_scale", "input_scale is not positive"),
    ):
        start = header[name]["data_offsets"][0]
        bad = data[:start] + np.float64(value).tobytes() + data[start + 8 :]
        refused(tmp_path, joined(header, bad), match)


def test_flipped_header_byte_raises_model_format_error(tmp_path, good):
    length = struct.unpack("<Q", good[:8])[0]
    path = tmp_path / "m"
    for position in range(0, 8 + length, 7):
        raw = bytearray(good)
        raw[position] ^= 0x15
        path.write_bytes(raw)
        try:
            net = fastnn.load(path, backend="numpy")
        except fastnn.ModelFormatError:
            continue
        assert net.predict(X).shape == (40,)  # a changed number that is as good as the old one


def test_size_limits(tmp_path, good, monkeypatch):
    monkeypatch.setattr("fastnn.storage.files.MAX_FILE_BYTES", len(good) - 1)
    refused(tmp_path, good, "more than a model may have")
    monkeypatch.undo()
    monkeypatch.setattr("fastnn.storage.files.MAX_HEADER_BYTES", 100)
    refused(tmp_path, good, "a header of")


@pytest.mark.parametrize("size", [2**24, 2**33])
def test_declared_sizes_are_not_allocated(tmp_path, good, size):
    """Neither for what a file claims, nor for what it is too long by."""
    layers = config(layer_sizes=[3, size, 2])
    for raw, length in ((changed(good, layers), 0), (good, 2**33)):
        path = tmp_path / "big"
        with open(path, "wb") as file:
            file.write(raw)
            if length:
                file.truncate(length)  # takes no space on the disk
        tracemalloc.start()
        try:
            with pytest.raises(fastnn.ModelFormatError):
                fastnn.load(path, backend="numpy")
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("kind", ["Network", "MLPClassifier"])
def test_loading_executes_no_code(tmp_path, kind):
    """What Python reports of itself while a file is read: no unpickling, compiling, executing."""
    if kind == "Network":
        net, _ = trained("words")
    else:
        net = fastnn.MLPClassifier(3, solver="lbfgs", alpha=10.0, random_state=0, backend="numpy")
        net.fit(X / 100, X[:, 0] > 5)
    net.save(tmp_path / "m")
    code = """
import sys, fastnn
fastnn.load(sys.argv[1], backend="numpy")  # imports what it needs
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event))
fastnn.load(sys.argv[1], backend="numpy")
assert seen.count("open") == 1, seen
wrong = {"exec", "compile", "import", "pickle.find_class", "marshal.loads", "os.system"}
assert not wrong & set(seen), seen
assert not any(event.startswith(("subprocess", "socket", "ctypes")) for event in seen), seen
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], check=True)


def test_other_errors_are_not_format_errors(tmp_path, good):
    with pytest.raises(FileNotFoundError):
        fastnn.load(tmp_path / "nowhere")
    path = tmp_path / "m"
    path.write_bytes(good)
    with pytest.raises(ValueError, match="backend must be one of") as error:
        fastnn.load(path, backend="fortran")
    assert not isinstance(error.value, fastnn.ModelFormatError)


def test_folder_instead_of_file_raises(tmp_path):
    for read in (fastnn.load, storage.describe):
        with pytest.raises(IsADirectoryError, match=r"is a folder; .* the file model\.safetensors"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array(["2020", "2021"], "M8[Y]"), r"labels of dtype datetime64\[Y\] cannot be stored"),
        (np.array([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)]), "labels of type date"),
    ],
    ids=["dates", "objects"],
)
def test_invalid_labels_in_file_raise(tmp_path, labels, said):
    X, which = np.arange(8.0)[:, None], [0, 1] * 4
    models = [fastnn.Network([1, 2, 2], random_state=0)]
    if labels.dtype != object:
        models.append(fastnn.MLPClassifier((2,), solver="lbfgs", random_state=0))
    for model in models:
        model.fit(X, labels[which])
        with pytest.raises(fastnn.ModelFormatError, match=f"m: not written, {said}.*astype.str"):
            model.save(tmp_path / "m")
        assert not (tmp_path / "m").exists()
