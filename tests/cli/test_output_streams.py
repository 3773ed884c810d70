"""Where output goes: files of each format, pipes and streams that are closed, other encodings."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastnn import cli

COMMAND = "import sys; from fastnn.cli import main; sys.exit(main())"
QUICK = ["--epochs", "2", "--backend", "numpy", "--no-plots", "--target", "kind", "-q"]


@pytest.fixture(autouse=True)
def _trained(run):
    X = np.random.default_rng(0).normal(size=(40, 2)).round(3)
    kinds = np.where(X[:, 0] > 0, "weiß", "日本")
    pd.DataFrame(X, columns=["a", "b"]).assign(kind=kinds).to_csv("t.csv", index=False)
    assert run("train", "t.csv", *QUICK, "--out", "r")[0] == 0


@pytest.mark.parametrize("append", [(), ("--append",)], ids=["alone", "appended"])
def test_predictions_in_each_format(run, append):
    options = ["--proba", "-q", *append]
    code, text, _ = run("predict", "r", "t.csv", *options)
    assert code == 0
    expected = pd.read_csv(io.StringIO(text))
    readers = {
        "p.csv": pd.read_csv,
        "p.tsv": lambda file: pd.read_csv(file, sep="\t"),
        "p.csv.gz": pd.read_csv,
        "p.tsv.gz": lambda file: pd.read_csv(file, sep="\t"),
        "p.parquet": pd.read_parquet,
        "new/p": pd.read_csv,
    }
    for name, read in readers.items():
        assert run("predict", "r", "t.csv", *options, "--out", name) == (0, "", "")
        pd.testing.assert_frame_equal(read(name), expected, check_dtype=False)
    packed = Path("p.csv.gz").read_bytes()
    assert b"p.csv\x00" in packed[:20]  # its name, not a temporary one


@pytest.mark.parametrize("append", [(), ("--append",)], ids=["alone", "appended"])
def test_a_format_that_text_is_not(refused, append):
    said = refused("predict", "r", "t.csv", "-q", *append, "--out", "p.xlsx")
    assert "--out p.xlsx: the name must end in .csv, .tsv, .csv.gz or .parquet" in said
    assert not os.path.exists("p.xlsx")


def test_built_in_data_of_another_width_are_named(refused):
    assert "iris has 4 features; the network expects 2" in refused("predict", "r", "iris", "-q")


def test_the_target_cannot_be_ignored(refused):
    said = refused("train", "t.csv", *QUICK, "--out", "r2", "--ignore", "kind")
    assert "column 'kind' is the target and cannot be ignored" in said


def test_standard_streams_that_are_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["predict", "r", "t.csv", "--out", "p.csv"]) == 0
    assert cli.main(["predict", "r", "t.csv", "-q"]) == 0
    assert cli.main(["info", "r"]) == 0
    assert cli.main(["predict", "r", "-"]) == 2
    assert sys.stdin is None
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["info", "nothing"]) == 2


@pytest.mark.parametrize("command", ["info", "evaluate"])
def test_signs_that_standard_output_does_not_have(monkeypatch, command):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main([command, "r"]) == 0
    out.seek(0)
    text = out.read()
    assert text
    if command == "info":
        assert "classes" in text
        assert r"wei\xdf, \u65e5\u672c" in text


def test_predictions_are_not_written_with_other_signs(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
        assert cli.main(["predict", "r", "t.csv", "-q"]) == 2
    said = capsys.readouterr().err
    assert "standard output cannot take" in said
    assert "its encoding is latin-1; write to a file (--out), or set PYTHONIOENCODING" in said
    assert cli.main(["predict", "r", "t.csv", "-q", "--out", "p.csv"]) == 0
    assert set(pd.read_csv("p.csv")["prediction"]) <= {"weiß", "日本"}


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", [("info", "r"), ("predict", "r", "t.csv")], ids=" ".join)
def test_a_pipe_that_nobody_reads(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments, *(["-q"] if "t.csv" in arguments else [])],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=600,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(os.name == "nt", reason="files of POSIX")
@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet"])
def test_a_link_and_permissions_are_kept(run, name):
    Path("disk").mkdir()
    target, link = Path("disk", name), Path(name)
    target.write_text("earlier")
    target.chmod(0o600)
    link.symlink_to(target)
    assert run("predict", "r", "t.csv", "-q", "--out", name) == (0, "", "")
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert run("predict", "r", "t.csv", "-q", "--out", f"new-{name}") == (0, "", "")
    if not name.endswith(".gz"):  # the name is in the file
        assert target.read_bytes() == Path(f"new-{name}").read_bytes()
    assert [path.name for path in Path("disk").iterdir()] == [name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_device_is_written_and_not_replaced(run, tmp_path):
    os.symlink("/dev/null", "nowhere")
    assert run("predict", "r", "t.csv", "-q", "--out", "nowhere") == (0, "", "")
    os.symlink("/dev/full", "full")
    code, out, err = run("predict", "r", "t.csv", "-q", "--out", "full")
    assert (code, out, err) == (2, "", "fastnn: full: No space left on device\n")
    assert os.path.islink("full")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet"])
def test_predictions_that_do_not_fit_on_the_disk(run, tmp_path, name):
    """The earlier file remains, nothing else is left, one line says which file."""
    import resource

    text = "a,b\n" + "0.123,0.456\n" * 20_000
    Path("many.csv").write_text(text)
    Path(name).write_text("earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))
    try:
        code, out, err = run("predict", "r", "many.csv", "-q", "--proba", "--out", name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, out, err) == (2, "", f"fastnn: {name}: File too large\n")
    assert Path(name).read_text() == "earlier"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_standard_stream_that_is_full(stream):
    with open("/dev/full", "w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "info", "r" if stream == "stdout" else "nothing"],
            **streams,
            text=True,
            timeout=600,
        )
    assert done.returncode == 2
    if stream == "stdout":
        assert done.stderr == "fastnn: standard output: No space left on device\n"
    else:
        assert done.stdout == ""
