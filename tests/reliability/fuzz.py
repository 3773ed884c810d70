"""Coverage-guided fuzzing with Atheris: ``python fuzz.py KIND FOLDER [libFuzzer's options]``.

KIND is models, tables or idx. FOLDER contains the initial corpus; files that reach new code of
fastnn are added to it. The run ends at the first exception that a reader must not raise, and the
contents of the offending file are written to crash-... in the working folder. `make soak` runs it
(test_fuzzed_files.py).
"""

import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fastnn"]):
    import fastnn
    import fastnn.datasets
    import fastnn.estimators
    import fastnn.network
    import fastnn.storage
    import fastnn.storage.checkpoints
    from fastnn.datasets import mnist

FILE = Path(tempfile.mkdtemp()) / "file"


def models(raw: bytes) -> None:
    """Read a model file: each reader must succeed or raise ModelFormatError with one line."""
    FILE.write_bytes(raw)
    for read in (fastnn.storage.describe, fastnn.load, fastnn.storage.checkpoints.read_checkpoint):
        try:
            read(FILE, *(() if read is fastnn.storage.describe else ("numpy",)))
        except fastnn.ModelFormatError as error:
            if "\n" in str(error):
                raise RuntimeError("more than one line") from error


def tables(raw: bytes) -> None:
    """Read a table: the reader must succeed or raise a ValueError that names the file."""
    path = FILE.with_suffix(".csv")
    path.write_bytes(raw)
    try:
        fastnn.datasets.load(path, target=-1)
    except ValueError as error:
        if str(path) not in str(error):
            raise RuntimeError("does not name the file") from error


def idx(raw: bytes) -> None:
    """Check an IDX file: contents other than the file with the known digest must be rejected."""
    assert mnist.checked(raw, "t10k-labels-idx1-ubyte") is None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    read = {"models": models, "tables": tables, "idx": idx}[sys.argv.pop(1)]
    atheris.Setup(sys.argv, read)
    with contextlib.suppress(KeyboardInterrupt):
        atheris.Fuzz()
