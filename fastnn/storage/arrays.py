"""Arrays of a model file: which of them its description requires, with dtype and length."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from fastnn.backends import codes
from fastnn.storage.schema import AnyDescription, Description, EnsembleDescription
from fastnn.storage.schema_config import Strict

TABLE = "table."  # prefix of the names of the arrays of a table
RUN_ARRAYS = ("losses", "validation", "best_params", "front")  # of checkpoints


def arrays_of(description: AnyDescription, names: Collection[str]) -> dict[str, tuple[str, int]]:
    """Dtype and length of each array required in a file that has arrays of these names.

    A shift and its scale are optional but must occur together; all other arrays are required.
    Since format 3, scales are float64 for any dtype of the network.
    """
    if isinstance(description, EnsembleDescription):
        return _arrays_of_ensemble(description, names)
    config = description.config
    n_params = config.spec().shapes["params"][0]
    lengths = {"params": n_params}
    state = description.training_state
    if state is not None and state.n_moments:
        lengths["moments"] = state.n_moments * n_params
    own, scales = config.dtype, "float64" if description.format_version >= 3 else config.dtype
    types = dict.fromkeys(("params", "moments", "best_params", "front"), own)
    run = description.run
    if run is not None:
        kept = {"losses": run.n_losses, "validation": 2 * (run.n_validated or 0)}
        kept["best_params"] = n_params if run.best_epoch >= 0 else 0
        features, units = config.layer_sizes[:2]
        kept["front"] = features * (units + 3) if run.has_front else 0
        lengths |= {name: length for name, length in kept.items() if length}
        types |= {"losses": "float64", "validation": "float64"}
    pairs = []
    if config.standardize:
        pairs = [("input_shift", "input_scale", config.layer_sizes[0])]
        if config.loss in codes.SCALED_TARGETS:
            pairs.append(("target_shift", "target_scale", config.layer_sizes[-1]))
        if description.format_version >= 3:
            pairs.append(("input_low", "input_high", config.layer_sizes[0]))
    for first, second, length in pairs:
        if first in names or second in names:
            lengths |= {first: length, second: length}
    found = {name: (types.get(name, scales), length) for name, length in lengths.items()}
    return found | _arrays_of_table(description.table)


def _arrays_of_table(state: dict[str, Any] | None) -> dict[str, tuple[str, int]]:
    """Dtype and length of the arrays of the encoding of a table."""
    if state is None:
        return {}
    from fastnn.tables.encoding import array_lengths

    return {f"{TABLE}{name}": ("float64", n) for name, n in array_lengths(state).items()}


def _arrays_of_ensemble(
    description: EnsembleDescription, names: Collection[str]
) -> dict[str, tuple[str, int]]:
    """Dtype and length of the arrays of each network, with its number before the name."""
    by_member: dict[str, set[str]] = {}
    for name in names:
        number, _, rest = name.partition(".")
        by_member.setdefault(number, set()).add(rest)
    found: dict[str, tuple[str, int]] = {}
    for k, member in enumerate(description.members):
        alone = Description(
            format_version=4, kind="Network", fastnn_version="", config=member.config
        )
        own = arrays_of(alone, by_member.get(str(k), set()))
        found |= {f"{k}.{name}": what for name, what in own.items()}
    return found | _arrays_of_table(description.table)


class Entry(Strict):
    """Entry of an array in a safetensors header."""

    dtype: Literal["F32", "F64"]
    shape: list[int] = Field(min_length=1, max_length=1)
    data_offsets: list[int] = Field(min_length=2, max_length=2)
