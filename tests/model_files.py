"""Model files with something in them changed."""

import json
import struct


def contents(path):
    """Header, our own fields in it, and the arrays' bytes."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["fastnn"]), raw[8 + length :]


def write(path, header, fields, body):
    """The inverse of :func:`contents`."""
    header["__metadata__"]["fastnn"] = json.dumps(fields)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def _place(fields, name):
    """The dict that has a field, whose name may be ``outer.inner``, and the name there."""
    *outer, last = name.split(".")
    for each in outer:
        fields = fields[each]
    return fields, last


def without(path, name):
    """Leave out a field."""
    header, fields, body = contents(path)
    place, last = _place(fields, name)
    del place[last]
    write(path, header, fields, body)


def with_value(path, name, change):
    """Have a field be what ``change`` makes of it."""
    header, fields, body = contents(path)
    place, last = _place(fields, name)
    place[last] = change(place[last])
    write(path, header, fields, body)


def with_zeros(path, name):
    """Have an array be zeros."""
    header, fields, body = contents(path)
    start, stop = header[name]["data_offsets"]
    write(path, header, fields, body[:start] + bytes(stop - start) + body[stop:])
