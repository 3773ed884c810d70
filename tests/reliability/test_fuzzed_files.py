"""Readers under a fuzzer that looks for new lines of code: the long form alone, with Atheris."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import soak
from test_data_files_attacked import table_as_text, text_with_quotes
from test_model_files_attacked import FIXTURES, MODELS

FUZZ = Path(__file__).with_name("fuzz.py")
SECONDS = 900  # of the long form


@pytest.mark.skipif(not soak(), reason="the long form: make soak")
@pytest.mark.parametrize("kind", ["models", "tables", "idx"])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # three epochs are no convergence
def test_no_unexpected_exception(kind, tmp_path):
    pytest.importorskip("atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    if kind == "models":
        for name, make in MODELS.items():
            make().save(corpus / name, include_optimizer=True)
        for path in FIXTURES.rglob("*.safetensors"):
            if path.stat().st_size < 5000:
                (corpus / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    elif kind == "tables":
        for name, text in (("plain", table_as_text()), ("quotes", text_with_quotes())):
            (corpus / name).write_text(text)
        (corpus / "utf-16").write_text(table_as_text(), encoding="utf-16")
    else:
        (corpus / "labels").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\x27\x10" + bytes(10_000)))
    seconds = max(20, round(SECONDS * soak()))
    command = [sys.executable, FUZZ, kind, corpus, f"-max_total_time={seconds}", "-timeout=60"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (runs,) = re.findall(r"Done (\d+) runs", done.stderr)
    print(f"{kind}: {int(runs):,} files in {seconds} s")
    assert int(runs) > 10
