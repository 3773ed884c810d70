"""Settings of ``fastnn train`` from several sources.

In decreasing priority: the command line, the environment (``FASTNN_EPOCHS``), the file given with
``--config``, a default that depends on the data.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastnn.cli.settings import NOT_OF_LM, TrainSettings


def read_toml(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If the file is not TOML, or contains an unknown setting or a value that is not allowed.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text in UTF-8") from None
    TrainSettings.check(fields, f"{path}: ")
    return fields


def merge(*levels: Mapping[str, Any]) -> TrainSettings:
    """Merge settings from several sources.

    Parameters
    ----------
    *levels : dict
        Settings by name, in decreasing priority; None means not given.

    Returns
    -------
    TrainSettings

    Raises
    ------
    ValueError
        If a value is not allowed.
    """
    merged: dict[str, Any] = {}
    for level in reversed(levels):
        fields = {name: value for name, value in level.items() if value is not None}
        # A setting also removes settings of lower priority that mean the same or conflict.
        if "hidden" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("layers", "layer_size")}
        if "layers" in fields or "layer_size" in fields:
            merged.pop("hidden", None)
        if fields.get("optimizer", "sgd") != "sgd":
            merged.pop("momentum", None)
        if fields.get("optimizer") == "lm":
            merged = {k: v for k, v in merged.items() if k not in NOT_OF_LM}
        if "quantile" in fields or "quantiles" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("quantile", "quantiles")}
        for name, loss in (("quantile", "quantile"), ("quantiles", "quantile"), ("delta", "huber")):
            if fields.get("loss", loss) != loss:
                merged.pop(name, None)
        if "clip_norm" in fields or "clip_value" in fields:
            merged = {k: v for k, v in merged.items() if k not in ("clip_norm", "clip_value")}
        merged |= fields
    return TrainSettings.check(merged)
