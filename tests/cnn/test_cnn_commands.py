"""``fastnn cnn``: training, prediction, comparison, bad input, signals."""

import csv
import io
import json
import signal
import threading

import numpy as np
import pytest
from cnn_cases import N_PARAMS

from fastnn.cli.cnn import fixed_and_varied
from fastnn.cnn import compare, runs, settings, terminal
from fastnn.cnn.settings import Settings


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
    assert "m.keras exists already; choose another name or --overwrite" in err
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
