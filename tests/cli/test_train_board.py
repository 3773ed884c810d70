"""``fastnn train --tensorboard``: a folder for each run, no old events, the table of results."""

import json

import pytest

from fastnn import cli

pytest.importorskip("tensorboardX")
pytest.importorskip("tensorboard")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def train(capsys):
    """Train for some epochs with summaries; the result."""

    def train(out, epochs, *more):
        arguments = ["train", "moons", "--backend", "numpy", "--epochs", epochs, "--out", out]
        arguments += ["--tensorboard", "board", "--json", *more]
        assert cli.main([str(argument) for argument in arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return train


def steps(folder):
    """The steps of the curve of the loss, from all files of events."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    return [event.step for event in found.Scalars("loss/training")]


def test_overwriting_removes_the_old_events_of_this_run_only(train, tmp_path):
    train("runs/a", 200)
    other = tmp_path / "board" / "a" / "notes.txt"
    other.write_text("kept")
    train("runs/b", 100)
    first_b = sorted((tmp_path / "board" / "b").iterdir())
    result = train("runs/a", 9, "--overwrite")
    assert result["tensorboard"] == "board/a"
    found = steps("board/a")
    assert found[0] == 1
    assert found[-1] == 9  # not 200
    assert found == sorted(set(found))
    assert other.exists()
    assert sorted((tmp_path / "board" / "b").iterdir()) == first_b


def test_runs_of_the_same_name_keep_apart(train, tmp_path):
    assert train("one/run", 30)["tensorboard"] == "board/run"
    assert train("two/run", 40)["tensorboard"] == "board/run-2"
    assert train("run-2", 50)["tensorboard"] == "board/run-2-2"
    for name, last in (("run", 30), ("run-2", 40), ("run-2-2", 50)):
        assert steps(f"board/{name}")[-1] == last
    # each finds its own again
    assert train("two/run", 20, "--overwrite")["tensorboard"] == "board/run-2"
    assert [steps(f"board/{name}")[-1] for name in ("run", "run-2")] == [30, 20]
    # what was written before there were suffixes is left alone
    before = next((tmp_path / "board" / "run").glob("*tfevents*"))
    before.rename(before.with_suffix(""))
    assert train("one/run", 10, "--overwrite")["tensorboard"] == "board/run-3"


def table(folder):
    """Columns and rows of TensorBoard's table of hyperparameters, as its page gets them."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
    from werkzeug.test import Client

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    plugin = HParamsPlugin(TBContext(data_provider=provider, logdir=str(folder)))
    pages = plugin.get_plugin_apps()

    def ask(page, **request):
        answer = Client(pages[page]).get("/", query_string={"request": json.dumps(request)})
        return json.loads(answer.get_data())

    experiment = ask("/experiment", experimentName="")
    columns = [{"hparam": info["name"]} for info in experiment["hparamInfos"]]
    columns += [{"metric": info["name"]} for info in experiment["metricInfos"]]
    groups = ask(
        "/session_groups",
        startIndex=0,
        sliceSize=10,
        allowedStatuses=["STATUS_SUCCESS"],
        colParams=columns,
    )
    return groups["sessionGroups"]


@pytest.mark.filterwarnings("ignore:html5lib")  # of TensorBoard's own copy
def test_runs_are_rows_of_the_table_of_hyperparameters(train):
    results = [train(f"{folder}/run", 30, "--seed", seed) for folder, seed in (("a", 0), ("b", 1))]
    results.append(train("c/run", 30, "--seed", 1))  # settings that b has, too: a row of its own
    groups = table("board")
    assert len(groups) == 3
    found = []
    for group in groups:
        settings = group["hparams"]
        assert settings["hidden"] == "3"
        assert settings["activation"] == "tanh"
        assert settings["learning_rate"] == 2.0
        assert settings["epochs"] == 30
        assert settings["standardize"] is False
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        assert values.keys() == {
            "results/loss",
            "results/score",
            "results/held_out_score",
            "results/seconds",
        }
        found.append((settings["seed"], values["results/score"]))
    expected = [(seed, r["accuracy"]) for seed, r in zip((0, 1, 1), results, strict=True)]
    assert sorted(found) == [(seed, pytest.approx(score)) for seed, score in sorted(expected)]
