"""Binary encoding of a result: a JSON header, then arrays that the page maps without parsing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from fastnn.play.training import Result


def pack(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """Encode header and arrays as one message.

    The message consists of the length of the padded header (four bytes, little-endian); the header
    in JSON, with the list ``arrays`` of name, dtype (f4 or f8) and length of each array; spaces up
    to a multiple of eight bytes; the arrays, little-endian, those of dtype f8 first.
    """
    flat = {name: np.ascontiguousarray(array).ravel() for name, array in arrays.items()}
    order = sorted(flat, key=lambda name: flat[name].dtype.itemsize, reverse=True)
    listed = [[name, f"f{flat[name].dtype.itemsize}", flat[name].size] for name in order]
    text = json.dumps(header | {"arrays": listed}, allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % 8)
    little = [flat[name].astype(flat[name].dtype.newbyteorder("<")).tobytes() for name in order]
    return b"".join([len(text).to_bytes(4, "little"), text, *little])


def frame(number: int, result: Result) -> bytes:
    """Encode a result for the page.

    Parameters
    ----------
    number : int
        Number of the request.
    result : Result

    Returns
    -------
    bytes
    """
    net, points, scales = result.network, result.points, result.network.scales
    curve_at, curve = result.curve()
    held_out = np.zeros(len(points.y))
    held_out[points.test] = 1
    test = points.of_test
    header = {
        "id": number,
        "status": result.status,
        "message": result.message,
        "layers": list(net.layer_sizes),
        "activations": list(net.activations),
        "classes": points.classes.tolist(),
        "backend": net.backend,
        "limits": result.limits,
        "shift": None if scales.input_shift is None else scales.input_shift.tolist(),
        "scale": None if scales.input_scale is None else scales.input_scale.tolist(),
        "epochs": result.epochs,
        "batches": result.batches,
        "at": result.at,
        "best": result.best,
        "seconds": result.seconds,
        "n_train": len(points.train),
        "n_test": 0 if test is None else len(test[1]),
        "test_is_fresh": not len(points.test),
    }
    return pack(
        header,
        {
            "X": points.X,
            "y": points.y.astype(np.float32),
            "held_out": held_out.astype(np.float32),
            "params": np.concatenate(result.params),
            "scores": np.array(result.scores, np.float64),
            "curve_at": curve_at.astype(np.float32),
            "curve": curve,
        },
    )
