"""Networks: specification, inputs, initial weights, predictions, ``fit`` and ``fit_many``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.network.initializers import INITIALIZERS

if TYPE_CHECKING:
    from fastnn.network.network import Network

__all__ = ["INITIALIZERS", "Network"]


def __getattr__(name: str) -> Any:
    """Import ``Network`` at its first use: the help of the command line needs only names."""
    if name == "Network":
        from fastnn.network.network import Network

        return Network
    raise AttributeError(f"module 'fastnn.network' has no attribute {name!r}")
