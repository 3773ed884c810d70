"""The network: what it is, what comes in, predictions, training."""

from fastnn.network.network import INITIALIZERS, Network

__all__ = ["INITIALIZERS", "Network"]
