"""The convolutional network: short runs on scikit-learn's digits, a few steps on MNIST."""

import csv
import doctest
import io
import json
import os
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from fastnn import cli
from fastnn.cli.cnn import fixed_and_varied
from fastnn.cnn import compare, data, export, images, runs, settings, terminal, training
from fastnn.cnn import model as models
from fastnn.cnn.optimizers import SLOTS, Optimizer
from fastnn.cnn.runtime import keras, tf
from fastnn.cnn.settings import Settings
from fastnn.errors import DivergenceError, ModelFormatError

ROOT = Path(__file__).resolve().parents[2]
TINY = {"data": "digits", "batch_size": 32, "preset": "fast", "summaries": "off"}
N_PARAMS = 3_274_634

# Two compiled float32 programs for the same sums of up to 3,136 products.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    """A run of 60 steps: its folder and result.

    On every processor in float32, the precision of the exports that it is compared with.
    """
    folder = tmp_path_factory.mktemp("cnn") / "run"
    settings = Settings(**TINY, steps=60, precision="float32")
    return folder, training.train(settings, folder, images=digits, quiet=True)


@pytest.fixture(scope="module")
def network(finished):
    return runs.load(finished[0])


@pytest.fixture(scope="module")
def mnist():
    """The real images; in CI they must be there."""
    for folder in (os.environ.get("FASTNN_DATA_DIR"), ROOT.parent / "shared" / "mnist"):
        if folder and (Path(folder) / "train-images-idx3-ubyte.gz").is_file():
            return data.load("mnist", str(folder))
    if os.environ.get("CI"):
        pytest.fail("the files of MNIST are neither in FASTNN_DATA_DIR nor in ../shared/mnist")
    pytest.skip("no files of MNIST in FASTNN_DATA_DIR or ../shared/mnist")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; exit code, standard output, standard error."""
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


# --- docstrings ---------------------------------------------------------------


def test_examples_of_docstrings():
    result = doctest.testmod(models)
    assert result.attempted > 20
    assert not result.failed


# --- data ---------------------------------------------------------------------


def test_digits_are_enlarged(digits):
    from sklearn.datasets import load_digits

    parts = (digits.train, digits.validation, digits.test)
    assert sum(len(X) for X, _ in parts) == 1797
    for X, y in parts:
        assert X.dtype == np.uint8
        assert X.shape == (len(y), 28, 28, 1)
        assert np.bincount(y, minlength=10).min() > 10
    # Means over the 64 areas of the old pixels: interpolation smooths, but moves nothing.
    small = load_digits().images
    large = data._enlarged(small)
    assert np.abs(large.mean((1, 2)) / 255 - small.mean((1, 2)) / 16).max() < 0.03
    for small_axis, large_axis in ((1, 1), (2, 2)):
        centers = [
            (values.sum(3 - axis) @ (np.arange(side) + 0.5)) / values.sum((1, 2)) / side
            for values, axis, side in ((small, small_axis, 8), (large, large_axis, 28))
        ]
        np.testing.assert_allclose(centers[1], centers[0], atol=0.015)


def test_first_images_of_mnist_are_for_validation(mnist):
    assert [len(part[0]) for part in (mnist.train, mnist.validation, mnist.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    assert mnist.validation[1][:5].tolist() == [5, 0, 4, 1, 9]  # how MNIST begins
    assert mnist.test[1][:5].tolist() == [7, 2, 1, 0, 4]


def test_every_epoch_has_each_image_once_in_a_new_order():
    rows = training.order(10, 4, 7, 0, 5).ravel()
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    np.testing.assert_array_equal(
        training.order(10, 4, 7, 0, 9),
        np.vstack([training.order(10, 4, 7, k, k + 1) for k in range(9)]),
    )
    assert (training.order(10, 4, 8, 0, 5).ravel() != rows).any()


# --- the network --------------------------------------------------------------


def test_start_is_the_course_s():
    net = models.Network(Settings())
    assert net.n_params == N_PARAMS
    for name, array in net.get_weights().items():
        if name.endswith("biases"):
            assert (array == np.float32(0.1)).all()
        else:
            assert np.abs(array).max() <= 0.2  # cut at two deviations
            # of a normal distribution of deviation 0.1 that is cut there
            assert array.std() == pytest.approx(0.088, abs=0.004)
    assert models.Network(Settings(activation="maxout")).n_params > N_PARAMS


@pytest.mark.parametrize("activation", settings.ACTIVATIONS)
def test_network_is_keras_own(activation, digits):
    """The same numbers as a model of Keras's layers, and as its trace."""
    net = models.Network(Settings(activation=activation, init="he_normal", seed=3))
    X = digits.test[0][:20]
    expected = export.to_keras(net)(X.astype(np.float32) / 255).numpy()
    np.testing.assert_allclose(net.predict_proba(X), expected, **CLOSE)
    traced = net.trace(tf.constant(X))
    assert list(traced) == [
        *(f"{a}/{b}" for a, b in (("conv1", "net_inputs"), ("conv1", "activations"))),
        "pool1/outputs",
        *("conv2/net_inputs", "conv2/activations", "pool2/outputs"),
        *("fc1/net_inputs", "fc1/activations", "fc2/net_inputs"),
    ]
    np.testing.assert_allclose(tf.nn.softmax(traced["fc2/net_inputs"]), expected, **CLOSE)
    first = models.Network(net.settings.model_copy(update={"pool_first": True}))
    np.testing.assert_array_equal(first.predict_proba(X), net.predict_proba(X))


def test_maxout_takes_the_larger_of_two():
    values = np.array([[1.0, 2.0, -3.0, -4.0]], np.float32)
    assert models.Maxout()(values).numpy().tolist() == [[2.0, -3.0]]


def test_dropout_is_in_training_alone(digits):
    net = models.Network(Settings(dropout=0.5, init="he_normal"))
    X = tf.constant(digits.test[0][:50])
    plain, one, same, other = (
        net.logits(X, seed).numpy() for seed in (None, (0, 1), (0, 1), (0, 2))
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (one != plain).any()
    many = np.mean([net.logits(X, (0, k)) for k in range(50)], axis=0)
    # a mean of 50 draws: a seventh of their deviation, four times over for 500 numbers
    assert np.abs(many - plain).max() < 4.5 * one.std() / np.sqrt(50) + 0.05


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_that_of_keras(smoothing):
    rng = np.random.default_rng(0)
    logits = (5 * rng.standard_normal((20, 10))).astype(np.float32)
    labels = rng.integers(0, 10, 20, dtype=np.int32)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = float(loss(np.eye(10)[labels], logits))
    found = float(training._cross_entropy(tf.constant(labels), tf.constant(logits), smoothing))
    assert found == pytest.approx(expected, rel=1e-5)  # float32 sums of ten numbers up to 20


@pytest.mark.parametrize("name", SLOTS)
def test_update_rules_are_those_of_keras(name):
    """Three steps with the same gradients."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal((4, 3)).astype(np.float32)
    ours, theirs = tf.Variable(start), keras.Variable(start)
    rule = Optimizer(name, {"w": ours})
    rate = settings.LEARNING_RATES[name]
    makers = {
        "sgd": lambda: keras.optimizers.SGD(rate),
        "momentum": lambda: keras.optimizers.SGD(rate, momentum=0.9),
        "adagrad": lambda: keras.optimizers.Adagrad(rate),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate),
        "adam": lambda: keras.optimizers.Adam(rate),
        "adamw": lambda: keras.optimizers.AdamW(rate),
    }
    reference = makers[name]()
    for step in range(1, 4):
        gradient = rng.standard_normal((4, 3)).astype(np.float32)
        rule.apply({"w": tf.constant(gradient)}, tf.constant(np.float32(rate)), tf.constant(step))
        reference.apply([gradient], [theirs])
    moved = np.abs(ours.numpy() - start).max()
    assert moved > 0
    # rounding of parameters of order one; steps are of order 1e-4
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=5e-7)


@pytest.mark.parametrize(
    "bad", [np.zeros((3, 27, 28)), np.full((1, 28, 28), 2.0), np.zeros((2, 784), int)]
)
def test_images_of_another_form_are_refused(network, bad):
    with pytest.raises(ValueError, match=r"images must"):
        network.predict(bad)


def test_forms_of_images(network, digits):
    X = digits.test[0][:7]
    expected = network.predict(X)
    for same in (X[..., 0], X.reshape(7, 784), X / 255):
        np.testing.assert_array_equal(network.predict(same), expected)
    assert network.predict(X[0, :, :, 0]).tolist() == expected[:1].tolist()
    assert network.predict(X[:0]).tolist() == []
    with pytest.raises(ValueError, match="y must"):
        network.score(X, [1])


# --- training -----------------------------------------------------------------


def test_run_learns(finished, digits, network):
    folder, result = finished
    assert result["stopped"] == "steps"
    assert result["steps_done"] == 60
    assert result["parameters"] == N_PARAMS
    assert result["test_accuracy"] > 0.9
    assert network.score(*digits.test) == pytest.approx(result["test_accuracy"])
    assert json.loads((folder / runs.RESULTS_FILE).read_text()) == result
    error = result["errors"][-1]
    first, *lines = (folder / runs.LOG_FILE).read_text().splitlines()
    assert re.fullmatch(r"step 0, training accuracy 0(\.\d+)?", first)
    assert lines == [
        f"step 60, validation error {error['validation_error']:g}, "
        f"test error {error['test_error']:g}",
        f"test accuracy {result['test_accuracy']:g}",
        f"The training takes {result['seconds']:f} second to finish",
    ]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(signal.SIGINT, 130, id="INT"),
        pytest.param(signal.SIGTERM, 143, id="TERM", marks=pytest.mark.slow),
    ],
)
def test_stopped_run_goes_on_as_if_it_had_not_been(
    run, tmp_path, digits, monkeypatch, number, expected
):
    """The same bits: weights, and with them shuffling, dropout, moments, learning rates."""
    training.train(Settings(**TINY, steps=50), tmp_path / "whole", images=digits, quiet=True)

    rates = training.Trainer._rates

    def interrupted(trainer, first, last):
        if first == 0:
            signal.raise_signal(number)
        return rates(trainer, first, last)

    monkeypatch.setattr(training.Trainer, "_rates", interrupted)
    options = ["--data", "digits", "--preset", "fast", "--batch-size", "32", "--steps", "50"]
    code, out, err = run("train", *options, "--out", "stopped")
    assert (code, err) == (expected, "fastnn: interrupted\n")
    assert f"\nstep {training.SLICE}, validation error" in out
    assert not (tmp_path / "stopped" / runs.MODEL_FILE).exists()
    assert runs.read(tmp_path / "stopped" / runs.CHECKPOINT_FILE)[0].step == training.SLICE

    code, out, err = run("train", "--resume", "stopped", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["steps_done"] == 50
    whole, resumed = (
        runs.read(tmp_path / name / runs.MODEL_FILE)[1] for name in ("whole", "stopped")
    )
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


def test_diverging_run_says_so(tmp_path, digits):
    chosen = Settings(**TINY, steps=40, optimizer="sgd", learning_rate=1e6, schedule="constant")
    with pytest.raises(DivergenceError, match="learning rate below"):
        training.train(chosen, tmp_path, images=digits, quiet=True)
    assert not (tmp_path / runs.MODEL_FILE).exists()


# --- files --------------------------------------------------------------------


def _with(path, target, change):
    """A copy of a model file whose settings or arrays are changed."""
    import safetensors.numpy

    description, arrays = runs.read(path)
    fields = json.loads(description.model_dump_json(exclude_none=True))
    change(fields, arrays)
    contents = safetensors.numpy.save(arrays, {runs.METADATA_KEY: json.dumps(fields)})
    target.write_bytes(contents)


def test_files_from_before_label_smoothing_had_none(finished, tmp_path):
    path = finished[0] / runs.MODEL_FILE
    assert settings.PRESETS[runs.read(path)[0].settings.preset]["label_smoothing"] > 0
    _with(path, tmp_path / "old", lambda fields, _: fields["settings"].pop("label_smoothing"))
    assert runs.read(tmp_path / "old")[0].settings.label_smoothing == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, a: f["settings"].update(activation="maxout"), "conv1/weights is F32 of shape"),
        (lambda f, a: f["settings"].update(activation="swish"), "settings.activation"),
        (lambda f, a: f.update(pickle="x"), "no setting 'pickle'"),
        (lambda f, a: f.update(format_version=2), "format_version"),
        (lambda f, a: a.pop("fc2/biases"), "no array 'fc2/biases'"),
        (lambda f, a: a["fc2/biases"].fill(np.nan), "fc2/biases is not finite"),
        (lambda f, a: a.update({"fc2/biases": np.zeros(10)}), "is F64"),
    ],
)
def test_files_of_another_network_are_refused(finished, tmp_path, change, message):
    _with(finished[0] / runs.MODEL_FILE, tmp_path / "model.safetensors", change)
    with pytest.raises(ModelFormatError, match=message):
        runs.load(tmp_path)


def test_damaged_files_are_refused(finished, tmp_path):
    contents = (finished[0] / runs.MODEL_FILE).read_bytes()
    path = tmp_path / runs.MODEL_FILE
    for damaged in (b"", b"nonsense" * 10, contents[:1000], contents[:-1], contents + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError, match=r"model\.safetensors: not a model file"):
            runs.load(path)
    with pytest.raises(FileNotFoundError, match="neither"):
        runs.load(finished[0].parent)


def test_dense_network_is_no_convolutional_one(tmp_path, finished):
    import fastnn

    net = fastnn.Network([2, 3, 2], backend="numpy")
    net.fit([[0, 0], [0, 1], [1, 0]], [0, 1, 1], epochs=1)
    net.save(tmp_path / "dense.safetensors")
    with pytest.raises(ModelFormatError, match="not a model of fastnn cnn"):
        runs.load(tmp_path / "dense.safetensors")
    with pytest.raises(ModelFormatError, match="fastnn cnn"):
        fastnn.load(finished[0] / runs.MODEL_FILE)


def test_keras_file(network, digits, tmp_path):
    export.export(network, tmp_path / "a.keras")
    model = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    X = digits.test[0][:50]
    np.testing.assert_allclose(model(X / np.float32(255)), network.predict_proba(X), **CLOSE)
    with pytest.raises(ValueError, match=r"must end in \.keras or \.onnx"):
        export.export(network, tmp_path / "a.h5")


@pytest.mark.parametrize("activation", settings.ACTIVATIONS)
def test_onnx_file(activation, digits, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    net = models.Network(Settings(activation=activation, init="he_normal"))
    export.export(net, tmp_path / "a.onnx")
    session = runtime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    X = digits.test[0][:20]
    (found,) = session.run(None, {"images": X.reshape(-1, 1, 28, 28) / np.float32(255)})
    np.testing.assert_allclose(found, net.predict_proba(X), **CLOSE)


# --- pictures -----------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(digits):
    """A digit of the test images, sharp and large, and where it is."""
    from PIL import Image

    image = digits.test[0][3, :, :, 0]
    return np.asarray(Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC))


def test_pictures_of_any_size_and_polarity_are_the_same_digit(drawn, tmp_path):
    from PIL import Image

    expected = images.centered(drawn.astype(float)).astype(float)
    wide = np.pad(drawn, ((100, 30), (20, 400)))
    transparent = np.zeros((*drawn.shape, 4), np.uint8)
    transparent[..., 3] = drawn  # black ink on nothing
    for name, picture in {
        "plain.png": Image.fromarray(drawn),
        "dark.png": Image.fromarray(255 - drawn),
        "wide.png": Image.fromarray(wide),
        "color.png": Image.fromarray(np.stack([255 - drawn // 2] * 3, axis=2)),
        "small.png": Image.fromarray(drawn).resize((70, 70)),
        "photo.jpg": Image.fromarray(255 - drawn),
        "transparent.png": Image.fromarray(transparent),
        "palette.png": Image.fromarray(drawn).convert("P"),
    }.items():
        picture.save(tmp_path / name)
        found = images.read(tmp_path / name).astype(float)
        # scaling and JPEG move the edges by a fraction of a pixel
        assert np.abs(found - expected).mean() < 8, name


@pytest.mark.parametrize("right", [180, 120, 60])
@pytest.mark.parametrize("corner", [False, True], ids=["side", "corner"])
def test_uneven_light_is_taken_out(drawn, tmp_path, right, corner):
    from PIL import Image

    ink = np.pad(drawn, 70) / 255
    across, down = np.meshgrid(*[np.linspace(0, 1, len(ink))] * 2)
    shade = np.hypot(across, down) / np.sqrt(2) if corner else across
    grain = np.random.default_rng(0).normal(0, 2, ink.shape)
    for name, light in (("even", 230 + 0 * shade), ("uneven", 230 + (right - 230) * shade)):
        photo = np.clip(light * (1 - 0.85 * ink) + grain, 0, 255)
        Image.fromarray(photo.astype(np.uint8)).save(tmp_path / f"{name}.png")
    notes = []
    even = images.read(tmp_path / "even.png", notes).astype(float)
    assert notes == []
    uneven = images.read(tmp_path / "uneven.png", notes).astype(float)
    assert np.abs(uneven - even).mean() < 8  # of 255; with one brightness up to 37
    (note,) = notes
    assert "uneven light, the border goes from" in note
    assert "--save-input" in note


def test_images_that_the_network_sees_are_written(drawn, tmp_path):
    from PIL import Image

    pictures = np.array([images.centered(x.astype(float)) for x in (drawn, drawn.T)])
    paths = images.write(tmp_path / "seen", ["a", "a"], pictures)
    assert [path.name for path in paths] == ["a.png", "a-2.png"]
    for path, picture in zip(paths, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)


def test_images_of_mnist_stay_what_they_are(mnist):
    """Its own images are scaled and centred already."""
    X = mnist.test[0][:300, :, :, 0].astype(float)
    found = np.array([images.centered(x) for x in X])
    assert np.abs(found - X).mean() < 2  # of 255
    np.testing.assert_array_equal([images.centered(255 - x) for x in X[:20]], found[:20])


def test_pictures_that_are_none(tmp_path, refused, finished, drawn):
    from PIL import Image

    Image.new("L", (40, 40), 200).save(tmp_path / "blank.png")
    Image.fromarray(drawn).save(tmp_path / "good.png")
    contents = (tmp_path / "good.png").read_bytes()
    (tmp_path / "short.png").write_bytes(contents[: len(contents) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for name, message in {
        "blank.png": "blank",
        "short.png": "damaged",
        "text.png": "not a PNG or JPEG",
        "missing.png": "No such file",
    }.items():
        line = refused("predict", finished[0], tmp_path / "good.png", tmp_path / name)
        assert message in line
        assert name in line


# --- the command --------------------------------------------------------------


def test_command_trains_predicts_evaluates(run, drawn, digits, tmp_path):
    from PIL import Image

    options = ["--data", "digits", "--preset", "fast", "--batch-size", "32", "--steps", "40"]
    code, out, err = run("train", *options, "--out", "r")
    assert (code, err) == (0, "")
    lines = (tmp_path / "r" / runs.LOG_FILE).read_text()
    assert out == lines + "folder: r\n"
    (events,) = (tmp_path / "r").glob(runs.EVENT_FILES)
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        *(runs.MODEL_FILE, runs.CHECKPOINT_FILE, runs.RESULTS_FILE),
        *(runs.SETTINGS_FILE, runs.LOG_FILE, events.name),
    }
    accuracy = json.loads((tmp_path / "r" / runs.RESULTS_FILE).read_text())["test_accuracy"]

    code, out, err = run("evaluate", "r", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["test_accuracy"] == pytest.approx(accuracy)

    Image.fromarray(drawn).save("a.png")
    Image.fromarray(255 - drawn).save("b.png")
    code, out, err = run("predict", "r", "a.png", "b.png")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["image"] for row in rows] == ["a.png", "b.png"]
    assert [int(row["digit"]) for row in rows] == [digits.test[1][3]] * 2
    for row in rows:
        assert sum(float(row[f"probability_{k}"]) for k in range(10)) == pytest.approx(1, abs=1e-3)

    assert run("export", "r", "m.keras")[0] == 0
    assert (tmp_path / "m.keras").stat().st_size > 4 * N_PARAMS
    code, out, err = run("export", "r", "m.keras")
    assert (code, out) == (2, "")
    assert "m.keras is there already; choose another name or --overwrite" in err
    assert run("export", "r", "m.keras", "--overwrite")[0] == 0
    # more steps of a run that is finished; fast has a rate that depends on their number
    code, out, err = run("train", "--resume", "r", "--steps", "80")
    assert (code, out) == (2, "")
    assert "one_cycle" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--preset", "slow"], "--preset must be one of 'course', 'fast'"),
        (["train", "--steps", "0"], "steps"),
        (["train", "--steps", "5", "--epochs", "1"], "not both"),
        (["train", "--dropout", "1"], "dropout"),
        (["train", "--data", "digits", "--out", "file/run"], "file"),
        (["train", "--data", "digits", "--out", "file"], "not a folder"),
        (["train", "--resume", "nowhere"], "checkpoint.safetensors"),
        (["train", "--resume", "nowhere", "--seed", "1"], "leave out --seed"),
        (["train", "--data-dir", "empty"], "could not be downloaded"),
        (["evaluate", "empty"], "neither"),
        (["export", "empty", "x.h5"], "neither"),
        (["compare", "--activation", "relu,swish"], "'swish'"),
    ],
)
def test_bad_input_gives_one_line(refused, arguments, message, tmp_path, monkeypatch):

    monkeypatch.delenv("FASTNN_DATA_DIR", raising=False)
    monkeypatch.setattr("fastnn.datasets.mnist.cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(
        "fastnn.datasets.mnist.download", lambda url: (_ for _ in ()).throw(OSError(url))
    )
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert message in refused(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) in (
        ["empty", "file"],
        ["empty", "file", "runs"],
    )


def test_without_tensorflow_it_says_what_to_install(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['tensorflow'] = None; from fastnn.cli import main; "
        "sys.exit(main(['cnn', 'train', '--data', 'digits']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 2
    assert "fastnn-cpu[cnn]" in result.stderr
    assert result.stderr.count("\n") == 1


# --- comparisons --------------------------------------------------------------


def test_compare_tells_what_varies():
    given = {"preset": "fast, course", "dropout": "0.5", "data": "digits", "steps": 40}
    fixed, varied = fixed_and_varied(given)
    assert fixed == {"dropout": 0.5, "data": "digits", "steps": 40, "summaries": "light"}
    assert varied == {"preset": ["fast", "course"]}
    fields = set(settings.ComparisonSettings.model_fields)
    assert set(settings.ComparisonSettings.ONE_VALUE) < fields < set(Settings.model_fields)


@pytest.mark.slow
def test_compare_takes_up_what_is_finished(run, tmp_path):
    options = ["--data", "digits", "--preset", "fast", "--batch-size", "16", "--steps", "20"]
    code, out, err = run(
        "compare", *options, "--dropout", "0,0.5", "--seeds", "2", "--out", "c", "--json"
    )
    assert (code, err) == (0, "")
    result = json.loads(out)
    table = result["table"]
    assert sorted(row["dropout"] for row in table) == [0.0, 0.5]
    assert table[0]["mean"] >= table[1]["mean"]
    assert table[0]["verdict"] == "best"
    folder = tmp_path / "c" / "dropout=0.5" / "seed-1"
    assert not (folder / runs.CHECKPOINT_FILE).exists()
    assert list(folder.rglob("events.out.tfevents.*"))  # HParams among them
    model = folder / runs.MODEL_FILE
    for name in (compare.TABLE_FILE, compare.FIGURE_FILE):
        assert (tmp_path / "c" / name).stat().st_size > 50
    before = model.stat().st_mtime_ns
    code, out, _ = run(
        "compare", *options, "--dropout", "0,0.5", "--seeds", "2", "--out", "c", "--json"
    )
    assert json.loads(out) == result
    assert model.stat().st_mtime_ns == before
    code, out, err = run(
        "compare", *options[:-1], "40", "--dropout", "0,0.5", "--seeds", "2", "--out", "c"
    )
    assert code == 2
    assert "steps 20 instead of 40" in err


def test_a_difference_within_noise_is_called_so():
    best = compare.Cell({"init": "a"}, [0.99, 0.98, 0.985], [1.0] * 3)
    near = compare.Cell({"init": "b"}, [0.98, 0.985, 0.984], [1.0] * 3)
    far = compare.Cell({"init": "c"}, [0.90, 0.91, 0.905], [1.0] * 3)
    one = compare.Cell({"init": "d"}, [0.5], [1.0])
    verdicts = compare.table([best, near, far, one])["verdict"]
    assert verdicts == ["best", "within noise of the best", "lower", "one seed: cannot tell"]
    assert best.standard_error == pytest.approx(0.005 / np.sqrt(3))


# --- real images --------------------------------------------------------------


def test_course_learns_mnist(mnist, tmp_path):
    """The course's settings for a moment: the loss falls, most digits are right."""
    trainer = training.Trainer(Settings(steps=60).completed(), mnist, tmp_path, lambda line: None)
    trainer.run()
    X, y = (part[:1000] for part in mnist.test)
    assert trainer.network.score(X, y) > 0.6


def _accuracies(mnist, folder, seeds, **chosen):
    accuracies = []
    for seed in range(seeds):
        result = training.train(Settings(seed=seed, **chosen), folder, images=mnist, quiet=True)
        accuracies.append(result["test_accuracy"])
    return np.mean(accuracies)


@pytest.mark.slow
def test_course_reaches_its_accuracy(mnist, tmp_path):
    assert _accuracies(mnist, tmp_path, 3, preset="course") >= 0.985


@pytest.mark.slow
def test_fast_reaches_the_course_s_best(mnist, tmp_path):
    assert _accuracies(mnist, tmp_path, 5, preset="fast") >= 0.9867


@pytest.mark.slow
def test_accurate_reaches_more(mnist, tmp_path):
    assert _accuracies(mnist, tmp_path, 5, preset="accurate") >= 0.9920


# --- signals, short answers -------------------------------------------------------


def test_signals_between_two_calls_of_tensorflow():
    """The first one is noted, a second one has its usual effect; the handlers are put back."""

    def earlier(number, frame):
        noted.append(number)
        raise KeyboardInterrupt

    noted, before = [], signal.signal(signal.SIGTERM, earlier)
    try:
        with terminal.interrupts() as event:
            assert not event.is_set()
            signal.raise_signal(signal.SIGTERM)
            assert event.is_set()
            assert noted == [signal.SIGTERM]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is earlier
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_are_left_alone_outside_the_main_thread():
    found = []

    def look():
        with terminal.interrupts() as event:
            found.append((event.is_set(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=look)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert found == [(False, before)]


def test_short_answers(run, finished, tmp_path):
    folder, result = finished
    code, out, _ = run("evaluate", folder, "--quiet")
    assert (code, float(out)) == (0, pytest.approx(result["test_accuracy"], abs=1e-6))
    code, out, _ = run("export", folder, "--to", "onnx", "--out", "m.onnx", "--json")
    assert (code, json.loads(out)) == (0, {"file": "m.onnx", "to": "onnx"})
    assert (tmp_path / "m.onnx").exists()
