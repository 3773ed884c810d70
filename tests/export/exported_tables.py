"""Tables, targets and comparisons for the tests of exports that take a table's columns."""

import numpy as np
import onnxruntime
import pandas as pd
from helpers import assert_same

N = 120
# a name as an output of ONNX, others that are no identifiers, alike in C, or end a comment
NAMES = {"number": "label", "whole": "a b", "town": "a_b", "text": "T */ über", "two": "gemm_0"}


def table_of(seed, new=False, n=N):
    """Columns of all kinds with gaps; categories that training does not have if ``new``."""
    rng = np.random.default_rng(seed)
    towns, colours = ["Köln", 'an "der" Aa', "Ulm??/"], [f"c{k}" for k in range(12)]
    frame = pd.DataFrame(
        {
            NAMES["number"]: rng.normal(1e4, 3.0, n),
            NAMES["whole"]: rng.integers(0, 50, n).astype(float),
            "full": rng.exponential(1.0, n),
            "flag": rng.random(n) > 0.5,
            NAMES["text"]: rng.choice(["Yes", "no", "YES"], n),
            NAMES["town"]: rng.choice(towns + ["Rom"] * new, n),
            NAMES["two"]: rng.choice(["a", "b"] + ["z"] * new, n),
            "colour": rng.choice(colours + ["blue"] * new, n),
            "code": rng.choice([10, 20, 30] + [99] * new, n),
            "day": pd.to_datetime("1999-02-27") + pd.to_timedelta(rng.integers(0, 9000, n), "D"),
            "moment": pd.to_datetime(rng.integers(0, 2**31, n), unit="s"),
            "constant": 1,
        }
    )
    for name in (NAMES["number"], NAMES["whole"], NAMES["town"], NAMES["text"], "day", "colour"):
        frame.loc[rng.random(n) < 0.15, name] = None
    if new:
        frame.loc[rng.random(n) < 0.15, ["full", NAMES["two"], "moment"]] = None
    return frame


KINDS = {"code": "category"}
TARGETS = {
    "regression": lambda frame: frame["full"] * 100 + 1e5 + 50 * (frame["colour"] == "c1"),
    "vector": lambda frame: frame[["full", "code"]].to_numpy(),
    "classes": lambda frame: np.where(frame["full"] > 1, "hoch", np.where(frame["flag"], "ö", "x")),
    "two": lambda frame: frame["full"] > 1,
    "numbers": lambda frame: 10 * (frame["full"] > 1) - 5,
}


def feeds_of(session, frame):
    """Inputs of a session; as docs/export.md has it."""
    feeds = {}
    for given in session.get_inputs():
        column = frame[[given.name]]
        if given.type == "tensor(string)":
            column = column.map(lambda v: "" if pd.isna(v) else str(v))
            feeds[given.name] = column.to_numpy(object)
            continue
        if pd.api.types.is_datetime64_any_dtype(column.dtypes.iloc[0]):
            # as_unit: years that nanoseconds do not reach
            column = (column - pd.Timestamp(0).as_unit("us")) / pd.Timedelta(seconds=1)
        feeds[given.name] = column.to_numpy("f4" if given.type == "tensor(float)" else "f8")
    return feeds


def run_onnx(made, frame):
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds_of(session, frame)), strict=True))


def assert_outputs(found, model, frame, dtype, label="label_0"):
    """Values, or labels and probabilities, as the model has them."""
    if not hasattr(model, "classes_"):
        expected = model.predict(frame).reshape(len(frame), -1)
        assert_same(found["variable"] - expected.mean(0), expected - expected.mean(0), dtype)
        return
    assert_same(found["probabilities"], model.predict_proba(frame), dtype)
    np.testing.assert_array_equal(found[label], model.predict(frame))
