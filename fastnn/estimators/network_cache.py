"""The network of an estimator: created, cached, and recreated if its parameters were replaced."""

from __future__ import annotations

import operator
import os
import threading
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from fastnn.estimators.parameters import NATIVE_NAMES, each_activation
from fastnn.memory import check_memory
from fastnn.network import Network
from fastnn.network.custom import CustomActivation
from fastnn.network.spec import NetworkSpec


def _native_name(activation: str | CustomActivation) -> str | CustomActivation:
    """Convert scikit-learn's name of an activation to the name in this package."""
    return NATIVE_NAMES.get(activation, activation) if isinstance(activation, str) else activation


_lock = threading.Lock()  # of replacing the network of an estimator


def _forget_lock() -> None:
    """A forked process has none of the threads that may hold the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


class NetworkMixin(BaseEstimator):
    """Estimator whose ``coefs_`` and ``intercepts_`` are views of the parameters of a network.

    Subclasses define ``_loss_name``, ``_loss_settings`` and ``_output_activation``, see
    :class:`fastnn.estimators.base.BaseMLP`, and the parameters read here.
    """

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    def _hidden_activations(self) -> list[str | CustomActivation]:
        """Name in this package of each hidden layer's activation."""
        n_hidden = len(self.coefs_) - 1
        return [_native_name(name) for name in each_activation(self.activation, n_hidden)]

    def _network(self) -> Network:
        """The network of which ``coefs_`` and ``intercepts_`` are views of the parameters.

        Recreated if these were replaced, as by unpickling or by the user.
        """
        net = self._cached()
        if net is None:
            with _lock:  # otherwise each of several threads would train or use a network of its own
                net = self._cached()
                if net is None:
                    net = self._recreated()
        return net

    def _key(self) -> tuple:
        """The settings that the network depends on."""
        return (
            self._hidden_activations(),
            repr(self.dropout),
            self.backend,
            self._loss_name(),
            repr(self._loss_settings()),
        )

    def _cached(self) -> Network | None:
        """The network, unless parameters or settings have been replaced."""
        cached = self.__dict__.get("_cached_network")
        if cached is None:
            return None
        net, key = cached
        own, views = [*self.coefs_, *self.intercepts_], [*net.weights, *net.biases]
        if len(own) != len(views) or key != self._key():
            return None
        return net if all(map(operator.is_, own, views)) else None

    def _recreated(self) -> Network:
        """Create the network from ``coefs_`` and ``intercepts_``, which become views."""
        dtype = np.result_type(*self.coefs_, *self.intercepts_)
        net = self._new_network("float32" if dtype == np.float32 else "float64")
        for own, view in zip(
            [*self.coefs_, *self.intercepts_], [*net.weights, *net.biases], strict=True
        ):
            view[...] = own
        views = {"coefs_": net.weights, "intercepts_": net.biases}
        self.__dict__.update(views, _cached_network=(net, self._key()))
        return net

    def _new_network(self, dtype: str) -> Network:
        """Create a network with the shapes of ``coefs_`` and arbitrary parameters."""
        sizes = [self.coefs_[0].shape[0], *(w.shape[1] for w in self.coefs_)]
        dropout = self.dropout
        if not isinstance(dropout, Real):
            dropout = [float(rate) for rate in dropout]
        # sequences or single values; the spec converts them to tuples
        settings: dict[str, Any] = {
            "layer_sizes": sizes,
            "activation": self._hidden_activations(),
            "loss": self._loss_name(),
            "dropout": dropout,
            "dtype": dtype,
            **self._loss_settings(),
        }
        return Network._from_spec(NetworkSpec(**settings), self.backend)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        # the network is recreated on demand; in a copy its views would be separate arrays
        left_out = ("_cached_network", "_fit_lock")
        return {name: value for name, value in state.items() if name not in left_out}

    def _initialize(self, layer_units: list[int], dtype: np.dtype) -> None:
        """Set attributes for a first fit; draw weights as scikit-learn (Glorot, Bengio 2010)."""
        n_params = sum((m + 1) * n for m, n in pairwise(layer_units))
        check_memory(f"hidden_layer_sizes={self.hidden_layer_sizes}", 8 * n_params)
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(layer_units)
        self.out_activation_ = self._output_activation()
        n_hidden = len(layer_units) - 2
        names = each_activation(self.activation, n_hidden)
        names.append(names[-1] if names else each_activation(self.activation, 1)[0])
        coefs, intercepts = [], []
        for fan_in, fan_out, name in zip(layer_units[:-1], layer_units[1:], names, strict=True):
            factor = 2.0 if _native_name(name) == "sigmoid" else 6.0
            bound = np.sqrt(factor / (fan_in + fan_out))
            w = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
            b = self._random_state.uniform(-bound, bound, fan_out)
            coefs.append(w.astype(dtype, copy=False))
            intercepts.append(b.astype(dtype, copy=False))
        with _lock:  # at once, for predictions in other threads
            self.__dict__.update(coefs_=coefs, intercepts_=intercepts)
        for name in ("loss_curve_", "_optimizer", "best_loss_"):
            self.__dict__.pop(name, None)
