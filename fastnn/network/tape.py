"""Custom training loops: forward, a loss computed outside, backward, update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from fastnn.network.derivatives import check_features
from fastnn.network.fitting import ROUNDING_ADVICE, warn_lost_moments
from fastnn.network.output_function import OutputFunction
from fastnn.network.scales import warn_lost_spread
from fastnn.training.optimizers import LevenbergMarquardt, Optimizer, get_optimizer
from fastnn.validation import as_array, as_real, check_finite

if TYPE_CHECKING:
    from fastnn.backends.model import Model
    from fastnn.network.network import Network
    from fastnn.network.scales import Scales
    from fastnn.network.spec import NetworkSpec
    from fastnn.training.state import TrainingState


class Stepwise:
    """The methods of a network for custom training loops."""

    spec: NetworkSpec
    model: Model
    scales: Scales
    state: TrainingState

    def forward(self, X: Any, *, of: str | None = None, training: bool = False) -> Tape:
        """Forward pass for a batch, recorded for :meth:`Tape.backward`.

        It uses one thread. The memory of a tape is reused when the tape is no longer referenced.

        Parameters
        ----------
        X : array-like, shape (samples, features)
            Samples, one per row.
        of : {"logits", "proba", "predict"}, optional
            Kind of outputs, as for :meth:`jacobian`. Default: "predict" for a regression, "logits"
            for a classification.
        training : bool, default=False
            Apply dropout. The masks change after each :meth:`apply`.

        Returns
        -------
        Tape

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([1, 8, 1], loss="squared_error", random_state=0)
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> rule = fastnn.Adam(0.05)
        >>> for step in range(300):
        ...     tape = net.forward(x)
        ...     net.apply(rule, tape.backward((tape.outputs - x**2) / len(x)))
        >>> bool(abs(net.forward(x).outputs - x**2).max() < 0.1)
        True
        """
        tape = Tape(self, X, of, training)  # type: ignore[arg-type]
        if not self.spec.standardize:
            warn_lost_spread("X", X, tape._x, ROUNDING_ADVICE, stacklevel=3)
        return tape

    def apply(
        self,
        optimizer: Optimizer | str | None,
        gradient: np.ndarray,
        *,
        learning_rate: float | None = None,
    ) -> None:
        """Do one update step as in ``fit``, with L2, weight decay and clipping.

        Parameters
        ----------
        optimizer : Optimizer or str or None
            As for :meth:`fit`: moments are kept if it equals the previous one. ``ema`` is not
            supported.
        gradient : ndarray, shape (n_params,)
            Gradient of the loss with respect to the parameters, as returned by
            :meth:`Tape.backward`. The network's L2 penalty is added.
        learning_rate : float, optional
            Learning rate of this step; default: that of the optimizer.

        Raises
        ------
        ValueError
            If an argument is invalid, and if the gradient is not finite; nothing changes then.

        Examples
        --------
        >>> import fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> X, y = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
        >>> history = net.fit(X, y, epochs=1)
        >>> before = net.loss(X, y)
        >>> net.apply(fastnn.SGD(0.1), net.gradients(X, y))
        >>> net.loss(X, y) < before
        True
        """
        state, model = self.state, self.model
        new = optimizer is not state.optimizer or isinstance(optimizer, LevenbergMarquardt)
        rule: Optimizer = get_optimizer(optimizer) if new else optimizer  # type: ignore[assignment]
        without_ema(rule)
        given = gradient
        if not (
            type(gradient) is np.ndarray
            and gradient.dtype == model.dtype
            and gradient.shape == model.params.shape
            and gradient.flags.c_contiguous
        ):
            gradient = as_array("gradient", gradient)
            if gradient.shape != model.params.shape or gradient.dtype.kind not in "fiu":
                raise ValueError(
                    f"gradient must be numbers of shape {model.params.shape}; got "
                    f"{gradient.dtype} of shape {gradient.shape}"
                )
            gradient = np.ascontiguousarray(gradient, model.dtype)
        rate = rule.learning_rate
        if learning_rate is not None:
            rate = as_real("learning_rate", learning_rate, 0.0)
        if new:
            check_finite("gradient", gradient)
            begin(state, rule, model.params)
        if gradient is given and (rule.clip_norm or rule.clip_value):
            gradient = gradient.copy()  # the kernel clips in place
        assert state.rule is not None  # a training has begun
        count, l2 = state.updates + 1, self.spec.l2
        if not model.apply_gradient(gradient, l2, state.rule, rate, count, state.moments):
            check_finite("gradient", gradient)
        state.count_update(count)


def without_ema(rule: Optimizer) -> None:
    """Raise if an optimizer keeps an average of the parameters."""
    if rule.ema is not None:
        raise ValueError(
            "optimizer must not have ema, whose average belongs to the end of a fit; "
            f"got ema={rule.ema!r}"
        )


def begin(state: TrainingState, rule: Optimizer, params: np.ndarray) -> None:
    """Begin or continue a training; called directly by a public method (for the warning)."""
    if state.is_continued_without and rule.n_moments:
        warn_lost_moments(state.epochs, "epochs", rule.name, stacklevel=4)
    state.begin(rule, params)
    state.optimizer = rule


class Tape:
    """A recorded forward pass, for backward passes; created by :meth:`fastnn.Network.forward`.

    Attributes
    ----------
    outputs : ndarray, shape (samples, outputs)
        In the network's dtype; float64 for a regression in the units of standardised targets.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> tape = net.forward([[0.0, 1.0], [1.0, 0.0]])
    >>> tape.outputs.shape
    (2, 2)
    """

    __slots__ = ("_X", "_memory", "_model", "_net", "_outputs", "_p", "_record", "_x", "outputs")

    def __init__(self, net: Network, X: Any, of: str | None, training: bool) -> None:
        spec, model, state = net.spec, net.model, net.state
        if of is None and not spec.is_regression:
            of = "logits"
        plain = of == "logits" or (
            of is None and net.scales.target_scale is None and spec.loss != "poisson"
        )
        self._outputs = None if plain else OutputFunction(spec, net.scales, of)
        self._X, self._x = check_features(net, X, finite=False)
        if self._X is X and (spec.smooth_clip is not None or not model.is_threaded):
            # the backward pass reads X again, after the caller may have modified it
            self._X, self._x = X.copy(), self._x.copy()
        updates = state.updates
        self._net, self._model, self._record = net, model, (state.record, updates)
        z = np.empty((len(self._x), spec.n_outputs), model.dtype)
        self._memory, finite = model.tape_forward(self._x, training, state.seed, updates, z)
        if not finite:
            check_finite("X", self._x)
        self._p = z
        if self._outputs is not None:
            self._p, z = self._outputs.values(model, net.scales, z)
        self.outputs = z if z is not self._p or self._outputs is None else z.copy()

    def __del__(self) -> None:
        if hasattr(self, "_memory"):  # otherwise __init__ did not complete
            self._model.release_tape(self._memory)

    @overload
    def backward(self, d_outputs: Any, *, inputs: Literal[False] = False) -> np.ndarray: ...

    @overload
    def backward(
        self, d_outputs: Any, *, inputs: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def backward(
        self, d_outputs: Any, *, inputs: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Backward pass: gradient of a loss from its derivative with respect to the outputs.

        May be called repeatedly, with different derivatives.

        Parameters
        ----------
        d_outputs : array-like, shape (samples, outputs)
            Derivative of the loss with respect to :attr:`outputs`. If the loss is a mean over the
            samples, it includes the factor ``1 / samples``.
        inputs : bool, default=False
            Whether to return the derivative with respect to X, too.

        Returns
        -------
        gradient : ndarray, shape (n_params,)
            Gradient of the loss with respect to the parameters, summed over the samples, without
            L2. :meth:`fastnn.Network.unflatten` returns views of it by layer.
        d_inputs : ndarray, shape (samples, features)
            With ``inputs``: derivative with respect to X, in the units of the features.

        Raises
        ------
        ValueError
            If ``d_outputs`` has the wrong shape, or if the network has been trained since the
            forward pass.

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> net = fastnn.Network([2, 3, 2], random_state=0)
        >>> tape = net.forward([[0.0, 1.0], [1.0, 0.0]])
        >>> gradient, by_inputs = tape.backward(np.ones((2, 2)), inputs=True)
        >>> gradient.shape, by_inputs.shape
        ((17,), (2, 2))
        """
        net, model, outputs = self._net, self._model, self._outputs
        record, updates = self._record
        state = net.state
        if state.record is not record or state.updates != updates or net.model is not model:
            raise ValueError("the parameters have changed since forward; call forward again")
        dz = d_outputs
        if not (
            outputs is None
            and type(dz) is np.ndarray
            and dz.dtype == model.dtype
            and dz.shape == self.outputs.shape
            and dz.flags.c_contiguous
        ):
            dz = as_array("d_outputs", d_outputs)
            if dz.ndim == 1 and self.outputs.shape == (len(dz), 1):
                dz = dz[:, None]
            if dz.shape != self.outputs.shape or dz.dtype.kind not in "fiub":
                raise ValueError(
                    f"d_outputs must be numbers of shape {self.outputs.shape}; got {dz.dtype} "
                    f"of shape {dz.shape}"
                )
            if outputs is not None:
                dz = outputs.vjp(self._p, dz)
            dz = np.ascontiguousarray(dz, model.dtype)
        d_inputs = np.empty(self._x.shape, model.dtype) if inputs else None
        gradient = model.tape_backward(self._x, dz, state.seed, updates, self._memory, d_inputs)
        if d_inputs is None:
            return gradient
        slope = net.scales.input_derivatives(self._X, net.spec)[0]
        return gradient, d_inputs if slope is None else d_inputs * slope
