"""Model files from anywhere: a network or ModelFormatError, within twice the file's memory."""

import contextlib
import json
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from attacks import cases, generator, joined, memory_within, mutated_model, parts, put

import fastnn
from fastnn import storage
from fastnn.storage.checkpoints import read_checkpoint
from fastnn.tables import realmlp

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "models"
SETTINGS = {"backend": "numpy", "random_state": 0}
MIB = 2**20


def allowed(raw):
    """Bytes that reading a file may take: settings become objects of Python, arrays do not."""
    length = struct.unpack("<Q", raw[:8])[0] if len(raw) >= 8 else 0
    return 2 * len(raw) + 16 * MIB + (12 * length if MIB < length < len(raw) else 0)


def average():
    """Scales, class names, and the state of a training."""
    net = fastnn.Network([3, 4, 2], standardize=True, smooth_clip=3.0, dropout=0.1, **SETTINGS)
    net.fit(X, np.where(Y, "ja", "nein"), epochs=2, optimizer=fastnn.AdamW(0.01, ema=0.5))
    return net


def regression():
    net = fastnn.Network([3, 4, 1], loss="squared_error", standardize=True, **SETTINGS)
    net.fit(X, X[:, 0], epochs=2)
    return net


def classifier():
    model = fastnn.MLPClassifier((4,), max_iter=3, early_stopping=True, **SETTINGS)
    return model.fit(X, np.arange(40) % 3)


def regressor():
    model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, **SETTINGS)
    return model.fit(X, X[:, :2])


def members():
    return fastnn.Ensemble([average(), average()], [1.0, 2.0])


def table():
    """The encoding of a table before a network."""
    model = fastnn.TabularRegressor(n_epochs=2, backend="numpy", random_state=0)
    gaps = np.where(X[:, 1] > 0.5, np.nan, X[:, 1])
    columns = {"a": X[:, 0], "gaps": gaps, "kind": np.array(["x", "y", "z", "x"] * 10, object)}
    days = np.datetime64("2024-01-01") + np.arange(40)
    return model.fit(columns | {"day": days}, X[:, 2])


def checkpoint(path):
    """The state of a training with validation and an average."""
    net = fastnn.Network([3, 4, 2], standardize=True, **SETTINGS)
    rule = fastnn.AdamW(0.01, ema=0.5)
    given = {"validation_fraction": 0.2, "early_stopping": True}
    net.fit(X, Y, epochs=3, batch_size=9, optimizer=rule, checkpoint=path, **given)


def estimator_checkpoint(path):
    model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, **SETTINGS)
    model.fit(X, X[:, :2], checkpoint=path)


def table_checkpoint(path):
    """With the factors of the features."""
    model = fastnn.TabularClassifier(n_epochs=2, backend="numpy", random_state=0)
    model.fit(X, Y, checkpoint=path)


MODELS = {
    make.__name__: make for make in (average, regression, classifier, regressor, members, table)
}
CHECKPOINTS = {make.__name__: make for make in (checkpoint, estimator_checkpoint, table_checkpoint)}
FORMATS = ("0.1.0", "0.1.0-format-2", "0.1.0-format-3")


def save(model, path):
    """Save a model, with the moments if it has some."""
    if isinstance(model, fastnn.Network | fastnn.MLPClassifier | fastnn.MLPRegressor):
        model.save(path, include_optimizer=True)
    else:
        model.save(path)


def networks_of(model):
    """The networks of a model."""
    model = getattr(model, "network", model)
    if isinstance(model, fastnn.Ensemble):
        return model.networks
    return [model if isinstance(model, fastnn.Network) else model._network()]


@pytest.fixture(scope="module", params=[*MODELS, *CHECKPOINTS, *FORMATS])
def good(request, tmp_path_factory):
    """Name and contents of a good file."""
    if request.param in FORMATS:
        return request.param, (FIXTURES / request.param / "two_classes.safetensors").read_bytes()
    path = tmp_path_factory.mktemp("good") / "m"
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as small:
        small.setattr(realmlp, "HIDDEN", (8, 6))
        warnings.simplefilter("ignore")  # three epochs are no convergence
        if request.param in CHECKPOINTS:
            CHECKPOINTS[request.param](path)
        else:
            save(MODELS[request.param](), path)
    return request.param, path.read_bytes()


def test_mutated_files(good, tmp_path):
    """9,000 files over all kinds in the short form, 1,000,000 in the long one."""
    name, raw = good
    rng, path, again = generator("model", name), tmp_path / "m", tmp_path / "again"
    loaded, lines = 0, set()
    for _ in range(cases(750, 84_000)):
        put(path, mutated_model(raw, rng))
        try:
            if name in CHECKPOINTS:
                model = read_checkpoint(path, "numpy").model
            else:
                model = fastnn.load(path, backend="numpy")
        except fastnn.ModelFormatError as error:
            lines.add(str(error).count("\n"))
            continue
        loaded += 1
        if loaded % 20:
            continue
        assert all(np.isfinite(net.params).all() for net in networks_of(model))
        save(model, again)
        fastnn.load(again, backend="numpy")
    assert lines == {0}  # in one line
    assert loaded > 20  # numbers may be others: that not all are refused is no fault


def test_memory_of_mutated_files(good, tmp_path):
    name, raw = good
    rng, path = generator("memory", name), tmp_path / "m"
    for _ in range(cases(50, 5000)):
        attack = mutated_model(raw, rng)
        put(path, attack)
        with memory_within(allowed(attack)), contextlib.suppress(fastnn.ModelFormatError):
            fastnn.load(path, backend="numpy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["Network", "moments", "estimator"])
def test_memory_of_a_good_file(tmp_path, kind, dtype):
    path, (samples, labels) = tmp_path / "m", (np.eye(20, 400), np.arange(20) % 10)
    if kind == "estimator":
        model = fastnn.MLPClassifier((3000,), max_iter=1, dtype=dtype, **SETTINGS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(samples, labels)
    else:
        model = fastnn.Network([400, 3000, 10], dtype=dtype, standardize=True, **SETTINGS)
        model.fit(samples, labels, epochs=1)
    model.save(path, include_optimizer=kind == "moments")
    size = path.stat().st_size
    assert size > 4 * MIB
    with memory_within(2 * size + MIB):
        fastnn.load(path, backend="numpy")


# --- by hand ----------------------------------------------------------------------


def base():
    """Header and data of a network that standardises, in format 3."""
    return parts((FIXTURES / "0.1.0-format-3" / "regression.safetensors").read_bytes())


def with_fields(change):
    """A file whose settings went through ``change``."""
    header, data = base()
    fields = json.loads(header["__metadata__"]["fastnn"])
    change(fields)
    header["__metadata__"]["fastnn"] = json.dumps(fields)
    return joined(header, data)


def with_header(change):
    """A file whose header went through ``change``."""
    header, data = base()
    change(header)
    return joined(header, data)


def entry(**values):
    """A file whose params are described otherwise."""
    return with_header(lambda header: header["params"].update(values))


def config(**values):
    return with_fields(lambda fields: fields["config"].update(values))


def raw_header(text):
    """A file that is a header only."""
    return struct.pack("<Q", len(text)) + text


def numbers(name, value):
    """A file with a number exchanged in one of its arrays."""
    header, data = base()
    start, _ = header[name]["data_offsets"]
    kind = "<d" if header[name]["dtype"] == "F64" else "<f"
    number = struct.pack(kind, value)
    return joined(header, data[:start] + number + data[start + len(number) :])


def moved(by):
    """A file whose last array overlaps the one before, or leaves a hole."""

    def change(header):
        names = [name for name in header if name != "__metadata__"]
        last = max(names, key=lambda name: header[name]["data_offsets"])
        header[last]["data_offsets"] = [at + by for at in header[last]["data_offsets"]]

    return with_header(change)


def metadata(text):
    return with_header(lambda header: header["__metadata__"].update(fastnn=text))


ATTACKS = {
    "shape of 2^63": lambda: entry(shape=[2**63]),
    "shape of 2^63 - 1": lambda: entry(shape=[2**63 - 1]),
    "shape of 2^64": lambda: entry(shape=[2**64]),
    "shapes whose product overflows": lambda: entry(shape=[2**32, 2**32]),
    "two axes": lambda: with_header(lambda h: h["params"].update(shape=[*h["params"]["shape"], 1])),
    "negative shape": lambda: entry(shape=[-1]),
    "shape of no number": lambda: entry(shape=[True]),
    "thousands of axes": lambda: entry(shape=[1] * 100_000),
    "offsets of 2^63": lambda: entry(data_offsets=[0, 2**63]),
    "offsets backwards": lambda: entry(data_offsets=[64, 0]),
    "offsets below zero": lambda: entry(data_offsets=[-8, 0]),
    "overlapping arrays": lambda: moved(-8),
    "a hole": lambda: moved(8),
    "all arrays in one place": lambda: with_header(
        lambda header: header.update(input_scale=header["input_shift"])
    ),
    "an array twice": lambda: raw_header(b'{"params":{},"params":{}}'),
    "a key twice": lambda: metadata('{"kind": "Network", "kind": "Network"}'),
    "a key twice, deep down": lambda: metadata('{"config": {"a": {"b": 1, "b": 2}}}'),
    "nested lists": lambda: raw_header(b"[" * 10**6),
    "nested objects": lambda: raw_header(b'{"a":' * 10**5),
    "nested text": lambda: metadata("[" * 10**5),
    "a million empty lists": lambda: raw_header(b'{"a":[' + b"[]," * 10**6 + b"[]]}"),
    "a header of 100 MB": lambda: raw_header(b" " * (100 * MIB)),
    "a header of 2^63 bytes": lambda: struct.pack("<Q", 2**63) + b"{}",
    "a header longer than the file": lambda: struct.pack("<Q", 1000) + b"{}",
    "an integer of 10,000 digits": lambda: metadata('{"format_version": ' + "9" * 10_000 + "}"),
    "a layer of 10^9 units": lambda: config(layer_sizes=[3, 10**9, 1]),
    "layers of 10^9 units": lambda: config(layer_sizes=[10**9, 10**9, 10**9]),
    "a layer of 2^63 units": lambda: config(layer_sizes=[3, 2**63, 1]),
    "100,000 layers": lambda: config(layer_sizes=[3] + [1] * 10**5),
    "dropouts for 300,000 layers": lambda: config(dropout=[0.5] * (3 * 10**5)),
    "NaN weight": lambda: numbers("params", float("nan")),
    "infinite weight": lambda: numbers("params", float("inf")),
    "NaN scale": lambda: numbers("input_scale", float("nan")),
    "scale of zero": lambda: numbers("target_scale", 0.0),
    "negative scale": lambda: numbers("target_scale", -1.0),
    "infinite setting": lambda: metadata('{"config": {"l2": 1e999}}'),
    "half a surrogate": lambda: metadata('{"fastnn_version": "\\ud800"}'),
    "an optimizer that is a list": lambda: with_fields(
        lambda fields: fields.update(
            training_state={"rule": {"name": ["sgd"]}, "updates": 1, "epochs": 1, "seed": 0}
        )
    ),
    "an optimizer of no kind": lambda: with_fields(
        lambda fields: fields.update(
            training_state={"rule": {"name": "__class__"}, "updates": 1, "epochs": 1, "seed": 0}
        )
    ),
    "a class of another module": lambda: with_fields(
        lambda fields: fields.update(kind="sklearn.base.BaseEstimator")
    ),
    "code": lambda: b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_by_hand(tmp_path, attack):
    raw = ATTACKS[attack]()
    path = tmp_path / "m"
    path.write_bytes(raw)
    for read in (lambda: fastnn.load(path, backend="numpy"), lambda: storage.describe(path)):
        with memory_within(allowed(raw)):
            if read.__code__.co_names[0] == "storage" and attack in ONLY_IN_THE_ARRAYS:
                read()
                continue
            with pytest.raises(fastnn.ModelFormatError, match="m: ") as error:
                read()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "read", [storage.describe, lambda path: fastnn.load(path, backend="numpy")]
)
def test_a_header_of_16_mib_is_read_and_none_longer(tmp_path, read):
    header, data = base()
    text, path = json.dumps(header).encode().ljust(16 * MIB), tmp_path / "m"
    put(path, joined(text, data))
    read(path)
    put(path, joined(text + b" ", data))
    with pytest.raises(fastnn.ModelFormatError, match="a header of 16,777,217 bytes"):
        read(path)


# A description does not look at numbers and places of arrays.
ONLY_IN_THE_ARRAYS = {
    *("NaN weight", "infinite weight", "NaN scale", "scale of zero", "negative scale"),
    *("offsets of 2^63", "offsets backwards", "offsets below zero"),
    *("overlapping arrays", "a hole", "all arrays in one place"),
}


def test_a_header_as_large_as_allowed_takes_no_more_than_its_kind_needs(tmp_path):
    """Class names: text, objects of Python and the network's array."""
    names = [f"name {k:06d}" for k in range(100_000)]
    net = fastnn.Network([1, len(names)], **SETTINGS)
    net.classes_ = np.array(names)
    net.save(tmp_path / "m")
    with memory_within(allowed((tmp_path / "m").read_bytes())):
        again = fastnn.load(tmp_path / "m", backend="numpy")
    assert again.classes_.tolist() == names


def test_what_could_not_be_read_is_not_written(tmp_path):
    """A loss for each of so many epochs that the header would be larger than one may be."""
    model = fastnn.MLPClassifier((2,), max_iter=1, **SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, Y)
    model.loss_curve_ = list(np.random.default_rng(0).uniform(size=1_000_000))
    with pytest.raises(fastnn.ModelFormatError, match=r"not written, settings and curves take"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
