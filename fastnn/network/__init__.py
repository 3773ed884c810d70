"""Networks: what they are, what comes in, initial weights, predictions, ``fit``, ``fit_many``."""

from fastnn.network.initializers import INITIALIZERS
from fastnn.network.network import Network

__all__ = ["INITIALIZERS", "Network"]
