"""TensorBoard's own server over short runs, asked through its HTTP interface."""

import io
import json
import signal
import subprocess
import sys
import urllib.parse
import urllib.request

import numpy as np
import pytest

from fastnn import Network, cli
from fastnn.tensorboard import TensorBoard

training = pytest.importorskip("fastnn.cnn.training", exc_type=ImportError)

from fastnn.cnn import data  # noqa: E402
from fastnn.cnn import model as cnn  # noqa: E402
from fastnn.cnn import runs as cnn_runs  # noqa: E402
from fastnn.cnn.settings import Settings  # noqa: E402
from fastnn.cnn.summaries import BUCKETS, STATISTICS, Summaries, filters_picture  # noqa: E402
from fastnn.cnn.trainer import order  # noqa: E402

SETTINGS = Settings(data="digits", preset="fast", batch_size=16, steps=101, summaries="full")
LAYERS = ("conv1", "conv2", "fc1", "fc2")
QUANTITIES = (
    *(f"{layer}/{kind}" for layer in LAYERS for kind in ("weights", "biases", "net_inputs")),
    *(f"{layer}/activations" for layer in LAYERS[:3]),
    "pool1/outputs",
    "pool2/outputs",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a convolutional and a dense run; result of the first."""
    folder = tmp_path_factory.mktemp("runs")
    images = data.load("digits")
    result = training.train(SETTINGS, folder / "cnn", images=images, quiet=True)
    X, y = images.test[0].reshape(-1, 784) / 255, images.test[1]
    with TensorBoard(folder / "dense", X, y) as board:
        Network([784, 8, 10], backend="numpy", random_state=0).fit(
            X, y, epochs=3, callbacks=[board]
        )
    return folder, result


@pytest.fixture(scope="module")
def ask(runs):
    """Get a page of the server that ``fastnn cnn board`` starts."""
    command = "import sys; from fastnn.cli import main; sys.exit(main())"
    arguments = ["cnn", "board", str(runs[0]), "--port", "0"]
    server = subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = server.stdout.readline()
    assert line.startswith("TensorBoard: http://127.0.0.1:"), server.communicate()[1]
    address = line.split()[1]

    def ask(path, **query):
        url = f"{address}data/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()

    yield ask
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=60)
    assert (server.returncode, errors) == (0, "")


@pytest.fixture
def ask_json(ask):
    return lambda path, **query: json.loads(ask(path, **query))


def test_runs_and_tags(ask_json):
    assert set(ask_json("runs")) == {"cnn", "dense"}
    scalars = ask_json("plugin/scalars/tags")
    assert len(QUANTITIES) == 17
    assert set(scalars["cnn"]) == {
        "training/loss", "training/accuracy", "errors/validation", "errors/test",
        "results/test_accuracy", "results/validation_accuracy", "results/seconds",
        *(f"{name}/{statistic}" for name in QUANTITIES for statistic in STATISTICS),
    }  # fmt: skip
    assert set(scalars["dense"]) == {"loss/training", "score/training"}
    histograms = ask_json("plugin/histograms/tags")
    assert set(histograms["cnn"]) == set(QUANTITIES)
    assert "layer2/weight_gradients" in histograms["dense"]
    assert ask_json("plugin/graphs/info")["cnn"]["run_graph"] is True
    assert set(ask_json("plugin/images/tags")["cnn"]) == {
        "images/conv1_filters", "images/confusion_matrix", "images/misclassified"
    }  # fmt: skip


def test_scalars_are_those_of_the_network(ask_json, runs):
    """Before the first step the network is the one that its seed gives."""
    images = data.load("digits")
    network = cnn.Network(SETTINGS.completed())
    rows = order(len(images.train[0]), 16, SETTINGS.seed, 0, 1)[0]
    values = {name: value.numpy() for name, value in network.params.items()}
    traced = network.trace(images.train[0][rows])
    values |= {name: np.asarray(value).astype(np.float32) for name, value in traced.items()}
    functions = (np.min, np.max, np.mean, np.std)
    for name in ("conv1/weights", "conv2/net_inputs", "fc1/activations", "pool2/outputs"):
        for statistic, function in zip(STATISTICS, functions, strict=True):
            series = ask_json("plugin/scalars/scalars", run="cnn", tag=f"{name}/{statistic}")
            assert [step for _, step, _ in series] == [0, 100]
            # float32, summed in another order; bfloat16 products may differ in rounding
            tolerance = 1e-4 if SETTINGS.completed().precision == "float32" else 2e-2
            expected = function(values[name].astype(np.float64))
            assert series[0][2] == pytest.approx(expected, rel=tolerance, abs=tolerance / 100)
    for name in ("test_accuracy", "seconds"):
        ((_, step, value),) = ask_json("plugin/scalars/scalars", run="cnn", tag=f"results/{name}")
        assert step == 101
        assert value == pytest.approx(runs[1][name], rel=1e-6)  # float32 in the file


def test_histogram(ask_json):
    weights = cnn.Network(SETTINGS.completed()).get_weights()["conv2/weights"].ravel()
    series = ask_json("plugin/histograms/histograms", run="cnn", tag="conv2/weights")
    assert [step for _, step, _ in series] == [0, 100]
    low, high, counts = np.array(series[0][2]).T
    expected, edges = np.histogram(weights.astype(np.float64), BUCKETS)
    np.testing.assert_allclose(np.append(low, high[-1]), edges, rtol=1e-6, atol=1e-9)
    assert counts.sum() == weights.size
    # values within float32 rounding of an edge may fall on its other side
    np.testing.assert_allclose(counts, expected, atol=3)
    dense = ask_json("plugin/histograms/histograms", run="dense", tag="layer1/weights")
    assert sum(bucket[2] for bucket in dense[-1][2]) == 784 * 8


def test_images(ask, ask_json, runs):
    from PIL import Image

    network = cnn_runs.load(runs[0] / "cnn")
    for name in ("conv1_filters", "confusion_matrix", "misclassified"):
        last = ask_json("plugin/images/images", run="cnn", tag=f"images/{name}", sample=0)[-1]
        assert last["step"] == 101
        query = dict(urllib.parse.parse_qsl(last["query"]))
        with Image.open(io.BytesIO(ask("plugin/images/individualImage", **query))) as picture:
            pixels = np.asarray(picture)
        if name == "conv1_filters":
            expected = filters_picture(network.get_weights()["conv1/weights"])
            np.testing.assert_array_equal(pixels, expected)
        else:
            assert pixels.std() > 0


def test_graph_shows_the_layers(ask):
    graph = ask("plugin/graphs/graph", run="cnn", conceptual="false").decode()
    for layer in LAYERS:
        assert f'name: "{layer}/' in graph


def test_hyperparameters(ask):
    experiment = json.loads(ask("plugin/hparams/experiment", request="{}"))
    assert {"activation", "learning_rate", "seed"} <= {
        info["name"] for info in experiment["hparamInfos"]
    }
    request = json.dumps(
        {
            "experimentName": "",
            "allowedStatuses": ["STATUS_SUCCESS"],
            "colParams": [{"hparam": "activation"}],
            "startIndex": 0,
            "sliceSize": 10,
        }
    )
    groups = json.loads(ask("plugin/hparams/session_groups", request=request))["sessionGroups"]
    assert [group["hparams"]["activation"] for group in groups] == ["relu"]


def test_light_summaries_have_no_statistics(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = Settings(data="digits").completed()
    summaries = Summaries(tmp_path, cnn.Network(settings), settings, "light")
    summaries.step(0, np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1), 2.5, 0.5)
    summaries.close()
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()["tensors"][-2:] == ["training/loss", "training/accuracy"]
    assert "conv1/weights/mean" not in found.Tags()["tensors"]


def test_folder_without_summaries(tmp_path, capsys):
    assert cli.main(["cnn", "board", str(tmp_path)]) == 2
    assert "has no summaries" in capsys.readouterr().err
    assert cli.main(["cnn", "board", str(tmp_path / "nowhere")]) == 2
    assert "not a folder" in capsys.readouterr().err


def test_a_single_run_has_its_folder_s_name(tmp_path):
    """And not "."."""
    from fastnn.cnn.board import _folders

    run = tmp_path / "cnn-1"
    run.mkdir()
    assert _folders(tmp_path) == ["--logdir", str(tmp_path)]
    (run / "events.out.tfevents.1").touch()
    assert _folders(run) == ["--logdir_spec", f"cnn-1:{run.resolve()}"]
    assert _folders(tmp_path) == ["--logdir", str(tmp_path)]
