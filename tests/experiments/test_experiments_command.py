"""``fastnn experiments``: files, resumed runs, errors."""

import json
import os
import signal

import pytest

import fastnn
from fastnn import cli, experiments, storage
from fastnn.experiments import (
    runner,
)
from fastnn.experiments.result import plain
from fastnn.network import Network
from fastnn.training.batches import Batches

FIT = Network.fit


def test_command_writes_what_was_asked_for(capsys, tmp_path):
    out = tmp_path / "here"
    options = ["--out", str(out), "--only", "data,gradient-check", "--quick"]
    assert cli.main(["experiments", *options]) == 0
    assert "2 experiments, 2 figures" in capsys.readouterr().out
    written = json.loads((out / "results.json").read_text())
    assert list(written["experiments"]) == ["data", "gradient_check"]
    assert [row["shown"] for row in written["claims"]].count(True) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "nothing"], "no experiment"),
        (["--only", ","], "names no experiment"),
        (
            ["--backend", "fortran"],
            "--backend must be one of 'auto', 'cython', 'numba', 'numpy'; got 'fortran'",
        ),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_command_refuses_what_it_cannot_do(capsys, tmp_path, options, words):
    assert cli.main(["experiments", "--out", str(tmp_path / "x"), *options]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert (out, err.count("\n")) == ("", 1)
    assert not (tmp_path / "x").exists()


def test_experiments_that_were_stopped_go_on(capsys, tmp_path, monkeypatch):
    out, trained, steps = tmp_path / "here", [], []
    train = Batches.train
    monkeypatch.setattr(runner.report, "draw", lambda result, out: {})  # pictures take long
    monkeypatch.setattr(runner.report, "render", lambda *about: "")

    def stopping(self, *arguments, **options):
        history = FIT(self, *arguments, **options)
        trained.append(history.steps)
        if len(trained) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return history

    def counting(self, state, rates, *rest, **options):
        steps.append(len(rates))
        return train(self, state, rates, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Network, "fit", stopping)
        options = ["experiments", "--only", "circles", "--quick"]
        assert cli.main([*options, "--out", str(out)]) == 130
    assert f"to continue: fastnn experiments --resume {out}\n" in capsys.readouterr().err
    kept = [storage.describe(path).run.steps for path in (out / "trainings").iterdir()]
    assert len(kept) >= 5
    for wrong, words in (
        (["--resume", str(out), "--seeds", "9"], "leave out --seeds"),
        (["--resume", str(tmp_path)], "no experiments were stopped there"),
    ):
        assert cli.main(["experiments", *wrong]) == 2
        assert words in capsys.readouterr().err
    monkeypatch.setattr(Batches, "train", counting)
    assert cli.main(["experiments", "--resume", str(out)]) == 0
    resumed = sum(steps)
    found = json.loads((out / "results.json").read_text())["experiments"]["circles"]["data"]
    assert not (out / "trainings").exists()
    assert not (out / "run.json").exists()
    # the numbers are those of a run that was never stopped, and what was done is not done again
    steps.clear()
    assert found == plain(experiments.run(only="circles", quick=True)["circles"].data)
    assert resumed == sum(steps) - sum(kept)


def test_other_arguments_do_not_go_on(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(fastnn.ModelFormatError, match="not the state of a run"):
        experiments.run(tmp_path, only="data", resume=True)
    about = {"fastnn": fastnn.__version__, "only": ["data"], "backend": "numpy", "seeds": 2}
    (tmp_path / "run.json").write_text(json.dumps({**about, "quick": True}))
    with pytest.raises(ValueError, match="another run was stopped there: seeds was 2, is 3"):
        experiments.run(tmp_path, only="data", backend="numpy", seeds=3, quick=True, resume=True)


def test_command_says_where_it_cannot_write(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "x"
    assert cli.main(["experiments", "--out", str(out), "--only", "data"]) == 2
    message = f"fastnn: cannot write the report to {out}: Not a directory\n"
    assert capsys.readouterr().err == message


def test_run_checks_its_arguments():
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        experiments.run(seeds=0)
    assert runner.choose("circles, data") == ["data", "circles"]
    assert list(experiments.run(only=["data"])) == ["data"]
