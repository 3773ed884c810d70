"""Conversion of networks to PyTorch modules and back."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fastnn.export.collector import LayerCollector
from fastnn.export.from_models import describe
from fastnn.export.plain import Layer, PlainNetwork
from fastnn.extras import require
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor


def _torch() -> Any:
    return require("torch", "PyTorch export")


def to_torch(
    model: Network | MLPClassifier | MLPRegressor | PlainNetwork, *, logits: bool = False
) -> Any:
    """Convert a network to a ``torch.nn.Sequential`` with the same predictions, in ``eval`` mode.

    The outputs are those of :meth:`Network.predict_proba` (for one sigmoid, the probability of the
    second class), or the values of a regression, ``(samples, outputs)``. The scales of a network
    that standardises are folded into its first and last layer; if a mean is so large that float32
    would lose the spread of a feature, the module is float64. With ``smooth_clip`` the first
    module is ``fastnn.export.torch.Standardize``, which computes in float64 and also accepts
    float32.

    Parameters
    ----------
    model : Network, MLPClassifier, MLPRegressor, Pipeline or PlainNetwork
        The model to export.
    logits : bool, default=False
        Whether to omit softmax or sigmoid, as required by PyTorch's losses.

    Returns
    -------
    torch.nn.Sequential
        ``nn.Linear`` layers and activations, in the network's dtype unless stated above.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        For the loss poisson without ``logits``, since PyTorch has no module for exp.

    Examples
    --------
    >>> import torch, fastnn
    >>> net = fastnn.Network([2, 3, 2], random_state=0)
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> module = fastnn.export.to_torch(net)
    >>> module(torch.tensor([[0.0, 1.0]])).shape
    torch.Size([1, 2])
    """
    torch = _torch()
    clipping, plain = describe(model).split()
    nn, modules = torch.nn, []
    if clipping is not None:
        assert clipping.input_shift is not None
        assert clipping.input_scale is not None
        standardize = _standardize_class()(plain.sizes[0], plain.dtype.name, clipping.smooth_clip)
        standardize.shift.copy_(torch.from_numpy(clipping.input_shift.copy()))
        standardize.scale.copy_(torch.from_numpy(clipping.input_scale.copy()))
        modules.append(standardize)
    for layer in plain.layers:
        fan_in, fan_out = layer.weights.shape
        linear = nn.utils.skip_init(
            nn.Linear, fan_in, fan_out, dtype=getattr(torch, plain.dtype.name)
        )
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.weights.T.copy()))
            linear.bias.copy_(torch.from_numpy(layer.biases.copy()))
        modules.append(linear)
        if layer.activation != "identity":
            modules.append(_activation(nn, layer))
        if layer.dropout:
            modules.append(nn.Dropout(layer.dropout))
    if not logits and plain.output == "exp":
        raise ValueError(
            "PyTorch has no module for the exp of poisson's outputs; export with logits=True"
        )
    if not logits and plain.output != "identity":
        modules.append(nn.Softmax(dim=-1) if plain.output == "softmax" else nn.Sigmoid())
    return nn.Sequential(*modules).eval()


@functools.cache
def _standardize_class() -> Any:
    """Define the module ``Standardize``, which is only possible with PyTorch installed."""
    torch: Any = _torch()

    class Standardize(torch.nn.Module):
        """``z = (x - shift) * scale`` in float64, then ``z / sqrt(1 + (z / bound)**2)``.

        Parameters
        ----------
        features : int
        dtype : {"float32", "float64"}
            Data type of the result.
        bound : float
        """

        def __init__(self, features: int, dtype: str, bound: float) -> None:
            super().__init__()
            self.dtype, self.bound = getattr(torch, dtype), bound
            self.register_buffer("shift", torch.zeros(features, dtype=torch.float64))
            self.register_buffer("scale", torch.ones(features, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            z = (x - self.shift) * self.scale
            return (z / torch.hypot(torch.ones_like(z), z / self.bound)).to(self.dtype)

        def extra_repr(self) -> str:
            return f"{len(self.shift)}, {str(self.dtype).split('.')[1]!r}, {self.bound:g}"

    # so that pickle finds the class in this module
    Standardize.__module__, Standardize.__qualname__ = __name__, "Standardize"
    return Standardize


def __getattr__(name: str) -> Any:
    if name == "Standardize":
        return _standardize_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _activation(nn: Any, layer: Layer) -> Any:
    """The module for the activation of a hidden layer."""
    if layer.activation == "leaky_relu":
        return nn.LeakyReLU(layer.alpha)
    if layer.activation == "elu":
        return nn.ELU(layer.alpha)
    if layer.activation == "softplus":
        # PyTorch returns z above the threshold; above 40 that is exact to the last bit.
        return nn.Softplus(threshold=40)
    return {
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "relu": nn.ReLU,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "selu": nn.SELU,
        "mish": nn.Mish,
    }[layer.activation]()


def from_torch(
    module: Any,
    *,
    loss: str | None = None,
    classes: Sequence | None = None,
    backend: str = "auto",
) -> Network:
    """Create a network with the weights and predictions of a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        A Sequential, which may be nested, or a custom module whose ``forward`` calls one layer
        after the other and can be traced by :mod:`torch.fx`. Supported layers are Linear,
        Identity, Flatten, Dropout, BatchNorm1d (as in ``eval`` mode, folded into adjacent layers),
        the activations of :class:`fastnn.Network`, and at the end Softmax, LogSoftmax (the network
        predicts the probabilities) or Sigmoid.
    loss : str, optional
        Default: chosen by the last layer. Required if the module returns logits, as is usual for
        PyTorch's losses.
    classes : array-like of label, optional
        Labels in the order of the outputs, ascending.
    backend : {"auto", "cython", "numba", "numpy"}
        Backend of the network.

    Returns
    -------
    Network

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If a layer is not supported; the message names it.

    Examples
    --------
    >>> import torch
    >>> from fastnn.export import from_torch
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    ... )
    >>> from_torch(module, loss="cross_entropy").layer_sizes
    (2, 3, 2)
    """
    nn = _torch().nn
    collector = LayerCollector(loss)
    for where, part in _flatten(nn, module, ""):
        if isinstance(part, nn.Linear):
            w = part.weight.detach().cpu().numpy().T
            bias = None if part.bias is None else part.bias.detach().cpu().numpy()
            collector.dense(where, w, bias)
        elif isinstance(part, nn.Dropout):
            collector.dropout(where, part.p)
        elif isinstance(part, nn.BatchNorm1d):
            collector.affine(where, *_batch_norm(where, part))
        elif _is_standardize(part):
            scales = part.shift.cpu().numpy(), part.scale.cpu().numpy()
            collector.standardize(where, *scales, part.bound)
        elif isinstance(part, nn.Flatten) and part.start_dim == 1:
            pass  # the features of a sample already are a single axis
        else:
            collector.activation(where, *_name(nn, where, part))
    return collector.network(classes, backend)


def _flatten(nn: Any, module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers of nested modules with descriptions for messages."""
    # a subclass that does not override forward is treated as its base class
    inherited = getattr(type(module), "forward", None)
    if inherited is nn.Sequential.forward:
        for key, part in module.named_children():
            yield from _flatten(nn, part, f"{name}.{key}" if name else key)
    elif getattr(inherited, "__module__", "").startswith("torch.nn.") or _is_standardize(module):
        yield f"layer {name or 0} ({type(module).__name__})", module
    else:
        yield from _traced(nn, module, name)


def _is_standardize(module: Any) -> bool:
    """Whether a module is ``Standardize``, created by :func:`to_torch` for ``smooth_clip``."""
    return isinstance(module, _standardize_class())


def _traced(nn: Any, module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers of a custom module in the order in which its ``forward`` calls them."""
    from torch import fx

    what = f"layer {name or 0} ({type(module).__name__})"
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    try:
        traced = fx.symbolic_trace(module)
    except Exception as error:  # custom code may raise anything
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{what}: its forward cannot be followed ({reason}); give the Sequential in it"
        ) from error
    functions, last = _functions(nn), None
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            if last is not None:
                raise ValueError(f"{what}: its forward must take one argument")
            last = node
            continue
        if _is_shape(node):
            continue
        before = [n for n in node.all_input_nodes if not _is_shape(n)]
        if before != [last]:
            raise ValueError(f"{what}: its forward is not a chain of layers, see {node.name}")
        where = f"{what}, {node.target if node.op == 'call_module' else node.name}"
        if node.op == "call_module":
            yield from _flatten(nn, traced.get_submodule(node.target), str(node.target))
        elif node.op != "output":
            new_map = functions.get(node.target)
            if new_map is None:
                raise ValueError(f"{where} is not supported; use the layers of torch.nn")
            settings = {k: v for k, v in node.kwargs.items() if k not in _WITHOUT_MEANING}
            try:
                part = new_map(*node.args[1:], **settings)
            except TypeError as error:
                raise ValueError(f"{where} is not supported: {error}") from None
            yield where, part
        last = node


# Arguments of functions that do not affect predictions.
_WITHOUT_MEANING = ("input", "inplace", "training", "_stacklevel", "dtype")


def _is_shape(node: Any) -> bool:
    """Whether a traced node only computes the shape of a tensor."""
    import operator

    shape = node.op == "call_method" and node.target in ("size", "dim")
    shape |= node.op == "call_function" and node.target is getattr and node.args[1] == "shape"
    if node.op == "call_function" and node.target is operator.getitem:
        shape |= all(_is_shape(n) for n in node.all_input_nodes)
    return shape


def _functions(nn: Any) -> dict[Any, Any]:
    """Map functions and tensor methods that a ``forward`` may call to modules."""
    torch, functional = _torch(), nn.functional

    def flatten(*shape: Any, **settings: Any) -> Any:
        return nn.Flatten()

    names = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "softmax": nn.Softmax,
        "log_softmax": nn.LogSoftmax,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "gelu": nn.GELU,
        "softplus": nn.Softplus,
        "dropout": nn.Dropout,
        "flatten": flatten,
    }
    previous: dict[Any, Any] = {"view": flatten, "reshape": flatten}
    for name, new_map in names.items():
        for owner in (torch, functional):
            if hasattr(owner, name):
                previous[getattr(owner, name)] = new_map
        if hasattr(torch.Tensor, name):
            previous[name] = new_map
    return previous


def _batch_norm(where: str, part: Any) -> tuple[Any, Any]:
    """Factor and offset of BatchNorm1d in prediction."""
    if part.running_mean is None:
        raise ValueError(f"{where}: has no running mean and variance (track_running_stats=False)")

    def numbers(tensor: Any) -> Any:
        return tensor.detach().cpu().double().numpy()

    factor = (numbers(part.running_var) + part.eps) ** -0.5
    if part.weight is not None:
        factor = factor * numbers(part.weight)
    offset = -numbers(part.running_mean) * factor
    return factor, offset if part.bias is None else offset + numbers(part.bias)


def _name(nn: Any, where: str, part: Any) -> tuple[str, float]:
    """Name in this package, and alpha, of an activation."""
    if isinstance(part, nn.LeakyReLU):
        return "leaky_relu", float(part.negative_slope)
    if isinstance(part, nn.ELU):
        return "elu", float(part.alpha)
    if isinstance(part, nn.Softplus) and part.beta != 1:
        raise ValueError(f"{where}: beta must be 1; got {part.beta:g}")
    if isinstance(part, nn.GELU) and part.approximate != "none":
        raise ValueError(f"{where}: only the exact GELU is supported; got {part.approximate!r}")
    if isinstance(part, nn.Softmax | nn.LogSoftmax) and part.dim not in (1, -1):
        raise ValueError(f"{where}: dim must be 1 or -1; got {part.dim}")
    names = {
        nn.Identity: "identity",
        nn.Tanh: "tanh",
        nn.Sigmoid: "sigmoid",
        nn.ReLU: "relu",
        nn.Softplus: "softplus",
        nn.SiLU: "silu",
        nn.GELU: "gelu",
        nn.SELU: "selu",
        nn.Mish: "mish",
        nn.Softmax: "softmax",
        nn.LogSoftmax: "softmax",
    }
    if type(part) not in names:
        previous = ", ".join(
            ["Linear", "Dropout", "BatchNorm1d", "LeakyReLU", "ELU", *(k.__name__ for k in names)]
        )
        raise ValueError(f"{where} is not supported; known are {previous}")
    return names[type(part)], 0.0
