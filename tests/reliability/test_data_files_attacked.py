"""Data files from anywhere: what is in them, or one line that names the file."""

import gzip
import io
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from attacks import array_header, cases, generator, memory_within, mutated, put, zipped

from fastnn.cli.config import read_toml
from fastnn.datasets import load, mnist

rng = np.random.default_rng(0)
MIB = 2**20


def table_as_text():
    rows = [
        f"{value:.3f},{k % 7},2024-01-{1 + k % 28:02d},{'x' if value > 0 else 'y'}"
        for k, value in enumerate(rng.normal(size=60))
    ]
    return "\n".join(["höhe,n,tag,klasse", *rows, ""])


def text_with_quotes():
    rows = [f'"{value:.2f}";"{k % 3}";"Nr. {k % 2}"' for k, value in enumerate(rng.normal(size=40))]
    return "\n".join(['"a ""b""";c;y', *rows, ""])


def archive(**arrays):
    contents = io.BytesIO()
    np.savez_compressed(contents, **arrays)
    return contents.getvalue()


def parquet():
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    columns = {
        "a": rng.normal(size=50),
        "t": arrow.array(np.arange(50).astype("datetime64[s]")),
        "y": np.arange(50) % 2,
    }
    contents = io.BytesIO()
    pyarrow.parquet.write_table(arrow.table(columns), contents)
    return contents.getvalue()


def picture(kind, bands=1, dtype=np.uint8):
    image = pytest.importorskip("PIL.Image")
    pixels = np.full((60, 50), 255, dtype)
    pixels[15:45, 22:28] = 0
    contents = io.BytesIO()
    image.fromarray(np.dstack([pixels] * bands).squeeze()).save(contents, kind)
    return contents.getvalue()


TOML = b"""data = "moons"
hidden = [3, 4]
learning_rate = 0.5
epochs = 10
standardize = true
"""

# The end of the name, and a good file of that kind.
FILES = {
    "CSV": (".csv", lambda: table_as_text().encode()),
    "CSV in UTF-16": (".csv", lambda: table_as_text().encode("utf-16")),
    "CSV with quotes": (".csv", lambda: text_with_quotes().encode("cp1252")),
    "gzip": (".csv.gz", lambda: gzip.compress(table_as_text().encode())),
    "ZIP": (".csv.zip", lambda: zipped({"a.csv": table_as_text().encode()})),
    "NPZ with X": (".npz", lambda: archive(X=rng.normal(size=(30, 4)), y=np.arange(30) % 3)),
    "NPZ of columns": (".npz", lambda: archive(a=rng.normal(size=30), y=np.array(["a", "b"] * 15))),
    "Parquet": (".parquet", parquet),
    "PNG": (".png", lambda: picture("PNG")),
    "PNG with alpha": (".png", lambda: picture("PNG", 4)),
    "PNG of 16 bits": (".png", lambda: picture("PNG", dtype=np.uint16)),
    "JPEG": (".jpg", lambda: picture("JPEG")),
    "TOML": (".toml", lambda: TOML),
}


def read(path):
    if path.suffix in (".png", ".jpg"):
        from fastnn.cnn import images

        return images.read(path)
    if path.suffix == ".toml":
        return read_toml(path)
    return load(path, target=-1)


def outcome(path):
    """What is wrong with a file; nothing if it can be read."""
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", FILES)
def test_mutated_files(tmp_path, kind):
    """6,000 files over all kinds in the short form, 260,000 in the long one."""
    suffix, make = FILES[kind]
    raw, path = make(), tmp_path / f"f{suffix}"
    path.write_bytes(raw)
    read(path)
    rng = generator("data", kind)
    named = re.compile(re.escape(str(path)) + r"(: |,( after)? line \d+: )[^\n]+$")
    slow = suffix in (".png", ".jpg")
    for _ in range(cases(150 if slow else 600, 20_000)):
        put(path, mutated(raw, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own parser of dates, Pillow
            message = outcome(path)
        assert message == "" or named.match(message), message


def test_mutated_idx_files():
    """MNIST's files are known by their digest; others are not taken for them."""
    name = "t10k-labels-idx1-ubyte"
    raw = gzip.compress(struct.pack(">II", 2049, 10_000) + bytes(10_000))
    rng = generator("idx")
    for _ in range(cases(500, 100_000)):
        assert mnist.checked(mutated(raw, rng), name) is None


def test_gzip_bomb_for_mnist():
    """Not more than the file that is expected is unpacked."""
    raw = gzip.compress(bytes(100 * MIB))
    with memory_within(2 * len(raw) + 16 * MIB):
        assert mnist.checked(raw, "t10k-labels-idx1-ubyte") is None


def npz(**members):
    return zipped({f"{name}.npy": contents for name, contents in members.items()})


def column(values):
    contents = io.BytesIO()
    np.save(contents, np.asarray(values))
    return contents.getvalue()


ZEROS = bytes(64 * MIB)
EIGHT = column(np.arange(8.0))
ATTACKS = {
    "X of 2^60 rows": lambda: npz(X=array_header((2**60, 4)), y=EIGHT),
    "X of 10^12 rows": lambda: npz(X=array_header((10**12, 1)), y=array_header((10**12,))),
    "shape whose product overflows": lambda: npz(X=array_header((2**40, 2**40)), y=EIGHT),
    "negative shape": lambda: npz(X=array_header((-1, 4)), y=EIGHT),
    "shape of no numbers": lambda: npz(X=array_header(("a", 4)), y=EIGHT),
    "shape that is code": lambda: npz(X=array_header(()).replace(b"()", b"__import__('os')")),
    "objects": lambda: npz(X=array_header((8, 1), "|O") + b"\x80\x04N.", y=EIGHT),
    "fields": lambda: npz(X=array_header((8, 1), [("a", "<f8")]) + bytes(64), y=EIGHT),
    "a text of 2^31 characters": lambda: npz(a=array_header((8,), "<U2147483647"), y=EIGHT),
    "zeros in three axes": lambda: npz(X=array_header((2**20, 4, 2)) + ZEROS, y=EIGHT),
    "zeros and no X": lambda: npz(a=array_header((2**20, 8)) + ZEROS, y=EIGHT),
    "zeros of another length": lambda: npz(X=array_header((2**23, 1)) + ZEROS, y=EIGHT),
    "fewer numbers than said": lambda: npz(X=array_header((2**23, 1)) + ZEROS[:-8], y=EIGHT),
    "the same member twice": lambda: npz(X=EIGHT) + npz(X=EIGHT)[:-22],
    "a name that leads elsewhere": lambda: zipped({"../X.npy": EIGHT, "/etc/y.npy": EIGHT})[:-30],
    "pickled": lambda: b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_by_hand(tmp_path, attack):
    path = tmp_path / "f.npz"
    raw = ATTACKS[attack]()
    path.write_bytes(raw)
    with (
        memory_within(2 * len(raw) + 16 * MIB),
        pytest.raises(ValueError, match=r"f.npz: ") as error,
    ):
        load(path)
    assert "allow_pickle" not in str(error.value)  # NumPy's advice to allow it


def test_zeros_beside_the_data_are_not_unpacked(tmp_path):
    raw = npz(
        X=column(np.arange(16.0).reshape(8, 2)),
        y=column(np.arange(8) % 2),
        more=array_header((2**23,)) + ZEROS,
        names=column(["a", "b"]),
    )
    path = tmp_path / "f.npz"
    path.write_bytes(raw)
    with memory_within(16 * MIB):
        data = load(path)
    assert (data.X.shape, data.y.tolist()) == ((8, 2), [0, 1] * 4)


PICTURES = {
    "a large one": lambda: picture("PNG").replace(
        struct.pack(">II", 50, 60), struct.pack(">II", 2**31 - 1, 2**31 - 1), 1
    ),
    "nothing": lambda: b"",
    "cut short": lambda: picture("PNG")[:60],
    "a header cut short": lambda: picture("PNG").replace(struct.pack(">I", 13), bytes(4), 1),
    "another format": lambda: picture("GIF"),
}


@pytest.mark.parametrize("attack", PICTURES)
def test_pictures_by_hand(tmp_path, attack):
    pytest.importorskip("PIL")
    path = tmp_path / "f.png"
    path.write_bytes(PICTURES[attack]())
    with memory_within(16 * MIB), pytest.raises(ValueError, match=r"f.png: "):
        read(path)


@pytest.mark.parametrize("part", ["version", "trained"])
def test_fingerprints_of_a_run(tmp_path, part):
    """``rows.npz`` beside a model says which rows it was trained with."""
    from fastnn.cli.rows import ROWS_FILE, rows_of_training
    from fastnn.cli.runs import MODEL_FILE

    data = load("moons")
    members = {"version": column(1), "trained": column(np.zeros(200, np.uint64))}
    members[part] = array_header((2**40,), "|O")
    (tmp_path / ROWS_FILE).write_bytes(npz(**members))
    with pytest.raises(ValueError, match="not the rows of a run"):
        rows_of_training(Path(tmp_path / MODEL_FILE), data)
