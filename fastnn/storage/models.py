"""Conversion of models to the contents of model files, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import fastnn
from fastnn.errors import ModelFormatError
from fastnn.network import Network
from fastnn.storage.arrays import RUN_ARRAYS, TABLE
from fastnn.storage.files import explain
from fastnn.storage.schema import FORMAT_VERSION, AnyDescription, Description, EnsembleDescription

if TYPE_CHECKING:
    from fastnn.estimators import MLPClassifier, MLPRegressor
    from fastnn.network.ensemble import Ensemble
    from fastnn.tables import Encoding, TableModel

FORMAT_OF_MODELS = 3


def contents_of(
    model: Network | Ensemble | MLPClassifier | MLPRegressor | TableModel,
    path: Path,
    training: dict[str, Any] | None,
    include_optimizer: bool,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Contents of a model file: plain data, and arrays, which may share memory with the model."""
    encoding: Encoding | None = getattr(model, "encoding", None)
    model = model if encoding is None else cast(Any, model).network
    network: Any = model
    own: dict[str, Any]
    if type(model).__name__ == "Ensemble":
        return _contents_of_ensemble(network, encoding, path, training)
    if isinstance(model, Network):
        own = {}
    else:
        from fastnn.estimators.fields import fields_of

        own = fields_of(network)  # raises if it is not fitted
        network = network._network()
    state = network.state if own == {} else getattr(model, "_optimizer", None)
    try:
        config = network.get_config()
    except ValueError as error:  # custom functions
        raise ModelFormatError(f"{path}: not written, {error}") from None
    arrays = network.arrays()
    own |= _encoding_fields(encoding, arrays)
    if encoding is None and isinstance(model, Network) and model.feature_names is not None:
        training = {"features": model.feature_names, **(training or {})}
    if include_optimizer and state is not None and state.optimizer is not None:
        kept, moments, arrays["params"] = state.to_dict(network.params)
        own["training_state"] = {**kept, "learning_rate": getattr(state, "learning_rate", None)}
        if len(moments):
            arrays["moments"] = moments
    return {
        "format_version": FORMAT_OF_MODELS,
        "kind": type(model).__name__,
        "fastnn_version": fastnn.__version__,
        "config": config,
        "training": training or {},
        **own,
    }, arrays


def _contents_of_ensemble(
    ensemble: Ensemble, encoding: Encoding | None, path: Path, training: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Contents of the file of an ensemble; names of arrays begin with the number of the network."""
    members: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for k, (net, weight) in enumerate(zip(ensemble.networks, ensemble.weights, strict=True)):
        fields, own = contents_of(net, path, None, False)
        members.append({"config": fields["config"], "weight": float(weight)})
        arrays |= {f"{k}.{name}": array for name, array in own.items()}
    return {
        "format_version": FORMAT_VERSION,
        "kind": "Ensemble",
        "fastnn_version": fastnn.__version__,
        "members": members,
        "training": training or {},
        **_encoding_fields(encoding, arrays),
    }, arrays


def _encoding_fields(encoding: Encoding | None, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Field of the encoding of a table, if there is one; its arrays are added to ``arrays``."""
    if encoding is None:
        return {}
    state, own = encoding.to_state()
    arrays |= {f"{TABLE}{name}": array for name, array in own.items()}
    return {"table": state}


def build(
    path: Path,
    description: AnyDescription,
    arrays: dict[str, np.ndarray],
    backend: str,
) -> Network | Ensemble | MLPClassifier | MLPRegressor | TableModel:
    """Build the model; an unavailable backend raises an error that does not blame the file."""
    from fastnn import backends

    backends.load(backend)
    if isinstance(description, EnsembleDescription):
        try:
            return _build_ensemble(description, arrays, backend)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFormatError(f"{path}: {explain(error)}") from None
    fields = description.model_dump()
    for name in RUN_ARRAYS:
        arrays.pop(name, None)
    try:
        kept, moments = fields["training_state"], arrays.pop("moments", np.empty(0))
        tables = _pop_encoding_arrays(arrays)
        network = Network.from_config(fields["config"], arrays, backend=backend)
        network.feature_names = _feature_names(description, network)
        arrays.clear()  # release memory, which an estimator needs
        if isinstance(description, Description):
            if kept is not None:
                network.state.resume(kept, moments, network.params)
            return _with_encoding(network, description, tables)
        from fastnn import estimators
        from fastnn.estimators.fields import from_fields, resume

        model = from_fields(getattr(estimators, description.kind), fields, network, backend)
        if kept is not None:
            resume(model, kept, moments)
        return _with_encoding(model, description, tables)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFormatError(f"{path}: {explain(error)}") from None


def _build_ensemble(
    description: EnsembleDescription, arrays: dict[str, np.ndarray], backend: str
) -> Ensemble | TableModel:
    """Build the ensemble; each array is released once its network has a copy."""
    from fastnn.network.ensemble import Ensemble

    tables = _pop_encoding_arrays(arrays)
    by_member: dict[str, dict[str, np.ndarray]] = {}
    for name in [*arrays]:
        number, _, rest = name.partition(".")
        by_member.setdefault(number, {})[rest] = arrays.pop(name)
    networks = [
        Network.from_config(member.config.model_dump(), by_member.pop(str(k)), backend=backend)
        for k, member in enumerate(description.members)
    ]
    for network in networks:
        network.feature_names = _feature_names(description, network)
    ensemble = Ensemble(networks, [member.weight for member in description.members])
    return _with_encoding(ensemble, description, tables)


def _feature_names(description: AnyDescription, network: Network) -> list[str] | None:
    """Names of the columns that a network of a file takes; None if they are unknown."""
    names = description.training.get("features")
    if description.table is not None or not isinstance(names, list):
        return None
    if len(names) != network.n_features or not all(isinstance(name, str) for name in names):
        return None
    unnamed = names == [f"x{k}" for k in range(len(names))]  # of a file or array without names
    return None if unnamed else cast("list[str]", names)


def _with_encoding(model: Any, description: AnyDescription, arrays: dict[str, np.ndarray]) -> Any:
    """Return the model, with the encoding of a table if the file has one."""
    if description.table is None:
        return model
    from fastnn.tables import Encoding, TableModel

    return TableModel(Encoding.from_state(description.table, arrays), model)


def _pop_encoding_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove the arrays of the encoding of a table; return them without the prefix."""
    return {k.removeprefix(TABLE): arrays.pop(k) for k in [*arrays] if k.startswith(TABLE)}
