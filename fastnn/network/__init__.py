"""Networks: what they are, what comes in, initial weights, predictions, ``fit``, ``fit_many``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.network.initializers import INITIALIZERS

if TYPE_CHECKING:
    from fastnn.network.network import Network

__all__ = ["INITIALIZERS", "Network"]


def __getattr__(name: str) -> Any:
    """``Network``, imported when first used: the command line's help needs names only."""
    if name == "Network":
        from fastnn.network.network import Network

        return Network
    raise AttributeError(f"module 'fastnn.network' has no attribute {name!r}")
