"""A network as plain data, in a model file, and as compiled code.

These methods call upwards in the order of imports, to :mod:`fastnn.storage` and
:mod:`fastnn.export`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastnn.backends.plan import MAX_COMPILED_UNITS
from fastnn.extras import require
from fastnn.network.custom import CustomActivation
from fastnn.network.scales import Scales
from fastnn.network.spec import NetworkSpec
from fastnn.network.tape import begin, without_ema
from fastnn.training.optimizers import Optimizer, get_optimizer
from fastnn.validation import as_integer, check_finite, one_of

if TYPE_CHECKING:
    from fastnn.export.compiled import CFunction
    from fastnn.export.compiled_tape import NumbaTape
    from fastnn.network.network import Network


# Signatures of :meth:`Portable.cfunc`.
SIGNATURES = ("predict", "predict_double", "integrand", "value_and_jacobian")


class Portable:
    """Base class of :class:`Network`: conversion to compiled code, plain data and files."""

    # --- compiled code ----------------------------------------------------------

    def _check_compilable(self, output: str) -> None:
        net = cast("Network", self)
        one_of("output", output, ("proba", "logits"))
        for pair in net.activations:
            if isinstance(pair, CustomActivation):
                raise ValueError(f"compiled calls take built-in activations; got {pair!r}")
        if max(net.layer_sizes) > MAX_COMPILED_UNITS:
            raise ValueError(
                f"compiled calls take layers of up to {MAX_COMPILED_UNITS} units; "
                f"layer_sizes is {list(net.layer_sizes)}"
            )

    def numba_predict(self, output: str = "proba", *, derivative: str | None = None) -> Callable:
        """Return a Numba function that predicts one sample, for use in compiled code.

        The weights are copied: later training does not change the function. A call neither takes
        the GIL nor allocates memory, and is allowed in ``prange``. Functions that call it are not
        cached by Numba's ``cache=True``, with a warning.

        Parameters
        ----------
        output : {"proba", "logits"}, default="proba"
            Values written to ``out``. "proba": the probabilities (for a single output of
            binary_cross_entropy that of the second class), or for a regression the values of
            :meth:`predict` in the targets' units. "logits": the net inputs of the last layer.
        derivative : {"jacobian"}, optional
            The function then also computes the Jacobian with respect to the features, as
            :meth:`jacobian`.

        Returns
        -------
        function
            ``predict(x, out)`` reads x (features,) and writes out (outputs,). Both are
            C-contiguous and of the network's dtype. If the network standardises, x may also be
            float64 (needed to keep all digits of a timestamp), and so may out if it receives
            values in the units of the targets. A wrong dtype or layout is an error when the
            caller is compiled, a wrong length a ValueError. NaN is not an error but propagates.

            With a derivative, ``predict(x, out, jac)`` also writes jac (outputs, features). If
            the network standardises, out and jac may be float64 as well as x.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> predict, out = net.numba_predict(), np.empty(2, np.float32)
        >>> predict(np.ones(2, np.float32), out)
        >>> bool(np.allclose(out, net.predict_proba([[1, 1]])))
        True
        """
        net = cast("Network", self)
        self._check_compilable(output)
        if derivative is not None:
            one_of("derivative", derivative, ("jacobian",))
        require("numba", "numba_predict")
        if derivative is not None:
            from fastnn.export.compiled_jacobian import numba_jacobian

            return numba_jacobian(net, output)
        from fastnn.export.compiled import numba_predict

        return numba_predict(net, output)

    def numba_tape(
        self,
        max_rows: int,
        optimizer: Optimizer | str | None = None,
        *,
        of: str | None = None,
        training: bool = False,
    ) -> NumbaTape:
        """Return :meth:`forward`, ``backward`` and :meth:`apply` as Numba functions.

        They share parameters, moments and the number of updates with the network: predictions use
        the parameters trained by the loop, and the loop continues the training of ``fit`` or
        :meth:`apply` with an equal optimizer. After the start of a training with another
        optimizer, ``apply`` is an error. Mean and scale of ``standardize=True`` are copied.
        Results are bitwise equal to those of :meth:`forward` and :meth:`apply` with the Numba
        backend.

        Parameters
        ----------
        max_rows : int
            Maximum number of rows of a batch.
        optimizer : Optimizer or str, optional
            As for :meth:`apply`. If it differs from that of the previous training, it starts with
            new moments.
        of : {"logits", "predict"}, optional
            Kind of outputs, as for :meth:`forward`; "predict" for regressions except with the loss
            poisson.
        training : bool, default=False
            Apply dropout.

        Returns
        -------
        NumbaTape
            A named tuple ``(forward, backward, apply, tape)``. Arrays are C-contiguous. X, out,
            d_outputs and d_inputs are float32 or float64; tape and gradient have the network's
            dtype. The functions neither need the GIL nor allocate memory. A wrong shape is a
            ValueError, a wrong type an error when the caller is compiled.

            ``forward(tape, X, out)``
                Write the outputs for X (rows, features) to out (rows, outputs). NaN is not an
                error here.
            ``backward(tape, d_outputs, gradient, d_inputs=None)``
                Write the gradient with respect to the parameters to gradient (n_params,) and, if
                given, that with respect to X to d_inputs (rows, features). Raises ValueError
                after an update.
            ``apply(gradient, learning_rate=...)``
                One update step. Raises ValueError, without an update, if the gradient is not
                finite. Must not be called by several threads at once.
            ``tape``
                An array. ``np.tile(tape, (n, 1))`` contains n tapes, for n threads.

        Raises
        ------
        ValueError
            If an argument is invalid; nothing has begun then.

        Examples
        --------
        >>> import numba, numpy as np, fastnn
        >>> net = fastnn.Network([1, 8, 1], loss="squared_error", random_state=0)
        >>> forward, backward, apply, tape = net.numba_tape(20, fastnn.Adam(0.05))
        >>> @numba.njit
        ... def train(forward, backward, apply, tape, x, out, gradient):
        ...     for step in range(300):
        ...         forward(tape, x, out)
        ...         backward(tape, (out - x**2) / len(x), gradient)
        ...         apply(gradient)
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> gradient = np.empty(net.n_params, net.dtype)
        >>> train(forward, backward, apply, tape, x, np.empty((20, 1)), gradient)
        >>> bool(abs(net.predict(x) - x[:, 0] ** 2).max() < 0.1)
        True
        """
        net = cast("Network", self)
        max_rows, rule = as_integer("max_rows", max_rows, 1), get_optimizer(optimizer)
        without_ema(rule)
        if of is not None:
            one_of("of", of, ("logits", "predict") if net.spec.is_regression else ("logits",))
        if net.spec.loss == "poisson" and of != "logits":
            raise ValueError("of must be 'logits' for the loss poisson, the logarithm of the rate")
        if net.spec.standardize and net.scales.input_shift is None:
            raise ValueError(
                "standardize=True needs a call of fit first, which learns mean and deviation"
            )
        require("numba", "numba_tape")
        from fastnn.export.compiled_tape import numba_tape

        begin(net.state, rule, net.params)
        return numba_tape(net, max_rows, of, training)

    def cfunc(self, signature: str = "predict", output: str = "proba") -> CFunction:
        """Return a C function that predicts one sample.

        Parameters
        ----------
        signature : str, default="predict"
            "predict": ``void (const T *x, T *out)`` with T the network's dtype; the caller must
            pass arrays of the right lengths.
            "predict_double": like "predict" with double as T, for any dtype of the network. If
            the network standardises, large values such as timestamps keep all digits.
            "integrand": ``double (int n, double *x)`` as SciPy's ``quad`` and ``nquad`` take it,
            for a network with one output; NaN if n is not the number of features.
            "value_and_jacobian": ``void (const T *x, T *out, T *jac)``, where jac is (outputs,
            features) in row-major order.
        output : {"proba", "logits"}, default="proba"
            As for :meth:`numba_predict`.

        Returns
        -------
        fastnn.export.compiled.CFunction
            Has ``address``, and ``ctypes`` for ``scipy.LowLevelCallable(f.ctypes)``. The C
            function is valid as long as one of the two objects is alive. It contains a copy of
            the weights. Cython code calls it through ``fastnn.cython_kernels``.

        Examples
        --------
        >>> import ctypes, numpy as np, fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> f = net.cfunc("predict_double")
        >>> x, out = (ctypes.c_double * 2)(0.0, 1.0), (ctypes.c_double * 2)()
        >>> f.ctypes(x, out)
        >>> np.allclose(out, net.predict_proba([[0.0, 1.0]]))
        True
        """
        net = cast("Network", self)
        self._check_compilable(output)
        one_of("signature", signature, SIGNATURES)
        if signature == "integrand" and net.n_outputs != 1:
            raise ValueError(
                f"signature 'integrand' needs a network with one output; "
                f"this one has {net.n_outputs}"
            )
        require("numba", "cfunc")
        from fastnn.export.compiled import cfunc

        return cfunc(net, signature, output)

    # --- plain data and files -------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """All settings as plain data (JSON); see :meth:`from_config`.

        Raises
        ------
        ValueError
            If there are custom functions.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.get_config()["layer_sizes"]
        [2, 3, 2]
        """
        net = cast("Network", self)
        classes = None
        if net.classes_ is not None:
            classes = {"dtype": net.classes_.dtype.str, "values": net.classes_.tolist()}
        return {
            **net.spec.to_dict(),
            "classes": classes,
            "targets_1d": net.targets_1d,
            "n_epochs": net.n_epochs_,
            "seed": net.state.seed,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name: ``params`` and, once learned, shifts and scales.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.arrays()["params"].shape
        (17,)
        """
        net = cast("Network", self)
        return {"params": net.params, **net.scales.arrays()}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        arrays: dict[str, np.ndarray],
        backend: str = "auto",
    ) -> Network:
        """Create a network from the results of :meth:`get_config` and :meth:`arrays`.

        Raises
        ------
        ValueError
            If the arrays do not match the settings.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> same = fastnn.Network.from_config(net.get_config(), net.arrays())
        >>> same.predict([[0.0, 1.0]]) == net.predict([[0.0, 1.0]])
        array([ True])
        """
        own = ("classes", "targets_1d", "n_epochs", "seed")
        settings = {name: value for name, value in config.items() if name not in own}
        net = cast("type[Network]", cls)._from_spec(NetworkSpec(**settings), backend)
        for name, array in arrays.items():
            shape = net.spec.shapes.get(name)
            if shape is None:
                raise ValueError(f"unknown array {name!r}")
            # scales are float64; in files before format 3 they have the network's dtype
            allowed = {net.dtype} if name == "params" else {net.dtype, np.dtype(np.float64)}
            if array.shape != shape or array.dtype not in allowed:
                raise ValueError(
                    f"{name} must be {' or '.join(sorted(map(str, allowed)))} of shape {shape}; "
                    f"got {array.dtype} of shape {array.shape}"
                )
            check_finite(name, array)
        scales = dict(arrays)
        net.params = scales.pop("params")
        net.scales = Scales(**{name: array.astype(np.float64) for name, array in scales.items()})
        if config["classes"] is not None:
            net.classes_ = np.array(config["classes"]["values"], config["classes"]["dtype"])
        net.targets_1d = bool(config["targets_1d"])
        net.state.epochs, net.state.seed = int(config["n_epochs"]), int(config["seed"])
        return net

    def save(self, path: str | os.PathLike, *, include_optimizer: bool = False) -> None:
        """Write a model file, which :func:`fastnn.load` reads.

        Parameters
        ----------
        path : path
            By convention with the extension ``.safetensors``.
        include_optimizer : bool, default=False
            Also save the moments and counters of the update rule and the average of ``ema``, so
            that a training can be continued exactly. The file is two to four times as large.

        Raises
        ------
        ModelFormatError
            See :func:`fastnn.storage.save`.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
        >>> net.save("net.safetensors")
        >>> fastnn.load("net.safetensors").layer_sizes
        (2, 3, 2)
        """
        net = cast("Network", self)
        from fastnn.storage import save

        save(net, path, include_optimizer=include_optimizer)
