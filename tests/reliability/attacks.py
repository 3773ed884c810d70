"""Corrupt files, made by seeded mutations of valid ones, and the number of cases per test.

``FASTNN_SOAK`` is the percentage of the cases of the long form; ``make soak`` sets it to 100. If it
is not set, each test uses its short form.
"""

import copy
import io
import json
import os
import random
import struct
import tracemalloc
from contextlib import contextmanager

# Numbers and strings that checks tend to miss.
NUMBERS = (
    *(0, -1, 1, 2, 3, 255, 256, 2**15, 2**16, 10**9, 2**31 - 1, 2**31, 2**32, 2**53 + 1),
    *(2**62, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30),
    *(0.5, -0.0, 1e-320, 1e308, 1.7976931348623157e308, 1e400),
)
VALUES = (
    *NUMBERS,
    *(None, True, False, "", "a", "\x00", "ü" * 50, "../../etc/passwd", "__class__", "<U9"),
    *([], {}, [[]], [0], [1] * 100, {"a": 1}, "9" * 400, "\ud800"),
)
TOKENS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"null", b"true", b"{", b"}", b"[", b"]"),
    *(b'"', b"\\", b",", b":", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000"),
    *(b"99999999999999999999", b"-1", b"0", b"F32", b"F64", b"I64", b"BF16", b"[" * 40),
)


SEED = int(os.environ.get("FASTNN_SEED", "0"))


def soak():
    """Fraction of the cases of the long form; 0 for the short form."""
    return float(os.environ.get("FASTNN_SOAK", "0")) / 100


def cases(short, long):
    """Number of cases of a test."""
    return max(short, round(long * soak())) if soak() else short


def mutated(raw, rng):
    """Bytes with one to four random changes, made without regard to the format."""
    raw = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not raw:
            break
        at = rng.randrange(len(raw))
        match rng.randrange(9):
            case 0:
                raw[at] ^= 1 << rng.randrange(8)
            case 1:
                raw[at] = rng.randrange(256)
            case 2:
                del raw[at : at + rng.choice((1, 1, 2, 8, 64))]
            case 3:
                raw[at:at] = raw[at : at + rng.choice((1, 4, 16, 256))]
            case 4:
                del raw[at:]
            case 5:
                raw += rng.randbytes(rng.choice((1, 8, 100)))
            case 6:
                token = rng.choice(TOKENS)
                raw[at : at + rng.choice((0, len(token)))] = token
            case 7:
                wide = rng.choice(NUMBERS)
                kind = "<q" if isinstance(wide, int) and abs(wide) < 2**63 else "<d"
                raw[at : at + 8] = struct.pack(kind, min(wide, 1e308))
            case 8:
                other = rng.randrange(len(raw))
                raw[at : at + 8], raw[other : other + 8] = raw[other : other + 8], raw[at : at + 8]
    return bytes(raw)


def put(path, contents):
    """Write a file anew: to cut a file that exists takes file systems forty times as long."""
    path.unlink(missing_ok=True)
    path.write_bytes(contents)


def changed_value(tree, rng):
    """Change a random entry of a tree of dictionaries and lists in place."""
    places = []

    def walk(node):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(tree)
    if not places:
        return
    node, key = rng.choice(places)
    match rng.randrange(6):
        case 0 | 1 | 2:
            node[key] = copy.deepcopy(rng.choice(VALUES))  # copied: later changes may modify it
        case 3:
            del node[key]
        case 4:
            other, name = rng.choice(places)
            node[key] = copy.deepcopy(other[name]) if name in _keys(other) else None
        case 5 if isinstance(node, dict):
            node[rng.choice(("x", "", "__metadata__", "params ", "ü"))] = node[key]
        case _:
            node[key] = [node[key]] * rng.choice((0, 2, 50))


def _keys(node):
    return node if isinstance(node, dict) else range(len(node))


# --- safetensors ------------------------------------------------------------------


def parts(raw):
    """Header and data of a safetensors file."""
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def joined(header, data):
    """Contents of the safetensors file with a header and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def mutated_model(raw, rng, key="fastnn"):
    """A model file with changes of its bytes, its header, its settings or its arrays."""
    way = rng.randrange(5)
    if way < 2:
        return mutated(raw, rng)
    header, data = parts(raw)
    if way == 2:
        changed_value(header, rng)
    elif way == 3:
        fields = json.loads(header["__metadata__"][key])
        for _ in range(rng.choice((1, 1, 2))):
            changed_value(fields, rng)
        header["__metadata__"][key] = json.dumps(fields)
    else:
        data = bytearray(data)
        at = rng.randrange(max(1, len(data) // 8)) * 8
        numbers = (float("nan"), float("inf"), 1e308, 1e-320, -0.0, rng.gauss(0, 1))
        data[at : at + 8] = struct.pack("<d", rng.choice(numbers))
    return joined(header, bytes(data))


# --- archives ---------------------------------------------------------------------


def array_header(shape, descr="<f8", fortran=False):
    """Header of an .npy file with an arbitrary shape and dtype."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin-1")


# --- memory -----------------------------------------------------------------------


@contextmanager
def memory_within(limit):
    """Context in which Python and NumPy may allocate at most ``limit`` further bytes."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limit, f"{peak:,} bytes, {limit:,} allowed"


def generator(*key):
    """Random generator seeded by ``key`` and, in other rounds, by ``FASTNN_SEED``."""
    return random.Random(repr((*key, SEED) if SEED else key))


def zipped(members, **options):
    """Contents of a ZIP archive, from a dict of names and contents."""
    import zipfile

    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return contents.getvalue()
