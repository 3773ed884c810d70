"""Helpers that modify model files."""

import json
import struct


def contents(path):
    """Header of a file, fastnn's fields in it, and the bytes of the arrays."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["fastnn"]), raw[8 + length :]


def write(path, header, fields, body):
    """Write a file; the inverse of :func:`contents`."""
    header["__metadata__"]["fastnn"] = json.dumps(fields)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def _place(fields, name):
    """The dict that contains a field, and its key; ``name`` may be nested, ``outer.inner``."""
    *outer, last = name.split(".")
    for each in outer:
        fields = fields[each]
    return fields, last


def without(path, name):
    """Remove a field."""
    header, fields, body = contents(path)
    place, last = _place(fields, name)
    del place[last]
    write(path, header, fields, body)


def with_value(path, name, change):
    """Replace the value of a field by ``change(value)``."""
    header, fields, body = contents(path)
    place, last = _place(fields, name)
    place[last] = change(place[last])
    write(path, header, fields, body)


def with_zeros(path, name):
    """Replace an array by zeros."""
    header, fields, body = contents(path)
    start, stop = header[name]["data_offsets"]
    write(path, header, fields, body[:start] + bytes(stop - start) + body[stop:])
