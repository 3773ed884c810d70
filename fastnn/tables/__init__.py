"""Encoding of tables with text, dates and missing values as numbers, stored with the model.

>>> import numpy as np
>>> from fastnn.tables import TableEncoder
>>> table = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "green"]}
>>> encoder = TableEncoder(scaling=None).fit(table)
>>> encoder.get_feature_names_out().tolist()
['size', 'size=missing', 'colour=blue', 'colour=green', 'colour=red']
>>> encoder.transform({"colour": ["green"], "size": [np.nan]}).tolist()
[[2.0, 1.0, 0.0, 1.0, 0.0]]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.tables.encoder import TableEncoder
    from fastnn.tables.encoding import Encoding
    from fastnn.tables.model import TableModel
    from fastnn.tables.remarks import Remarks
    from fastnn.tables.target import TableTarget, table_target

# Imported on first access, so that predictions do not import scikit-learn.
_WHERE = {
    "Encoding": "encoding",
    "Remarks": "remarks",
    "TableEncoder": "encoder",
    "TableModel": "model",
    "TableTarget": "target",
    "table_target": "target",
}

__all__ = ["Encoding", "Remarks", "TableEncoder", "TableModel", "TableTarget", "table_target"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"fastnn.tables.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
