"""Description of a model file, for ``fastnn info MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastnn import storage
from fastnn.backends import codes
from fastnn.cli.models import model_path
from fastnn.cli.output import score_name, score_text

SHOWN = 12  # maximum number of class or feature names that are printed
MAX_COLUMNS = 200  # maximum number of table columns that are printed


def contents(model: Path) -> dict[str, Any]:
    """Describe a model file without loading the network.

    Parameters
    ----------
    model : Path
        The model file, or its run folder.

    Returns
    -------
    dict
        The description, as ``--json`` prints it.
    """
    path = model_path(model)
    found = storage.describe(path)
    config, training = found.config, found.training
    labels = config.classes or getattr(getattr(found, "fitted", None), "labels", None)
    results, settings = training.get("results"), training.get("settings")
    members = getattr(found, "members", None)
    parameters = [each.config.spec().shapes["params"][0] for each in members or [found]]
    result: dict[str, Any] = {
        "model": str(path),
        "bytes": path.stat().st_size,
        "kind": found.kind,
        "format_version": found.format_version,
        "fastnn_version": found.fastnn_version,
        "layer_sizes": config.layer_sizes,
        "activation": config.activation,
        "loss": config.loss,
        "quantile": config.quantile if config.loss == "quantile" else None,
        "dtype": config.dtype,
        "parameters": sum(parameters),
        "task": "regression" if config.loss in codes.REGRESSION else "classification",
        "target": training.get("target"),
        "classes": None if labels is None else labels.values,
        "features": training.get("features"),
        "epochs": config.n_epochs,
        "data": settings.get("data") if isinstance(settings, dict) else None,
        "results": results if isinstance(results, dict) else {},
    }
    if members is not None:
        result["members"] = [
            {"layer_sizes": each.config.layer_sizes, "weight": each.weight} for each in members
        ]
    if found.table is not None:
        from fastnn.tables.encoding import codes_of

        result["columns"] = {
            code.name: {"kind": code.kind, "becomes": code.what()} for code in codes_of(found.table)
        }
    return result


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Format the result of :func:`contents` as rows of text."""
    found = [
        ("model", f"{result['model']}, {result['bytes']:,} bytes"),
        (
            "kind",
            f"{result['kind']}, format {result['format_version']}, "
            f"written by fastnn {result['fastnn_version']}",
        ),
        ("network", _network(result)),
        ("loss", f"{_loss(result)}, {result['dtype']}"),
        ("task", result["task"]),
    ]
    if result["target"] is not None:
        found.append(("target", str(result["target"])))
    if result["classes"] is not None:
        found.append(("classes", _some(result["classes"])))
    columns = result.get("columns")
    if columns is not None:
        width = max(map(len, columns))
        lines = [f"{name:<{width}}  {column['becomes']}" for name, column in columns.items()]
        found += [("column", line) for line in lines[:MAX_COLUMNS]]
    elif isinstance(result["features"], list):
        found.append(("features", _some(result["features"])))
    if result["data"] is not None:
        samples = result["results"].get("samples")
        many = f", {samples:,} training samples" if isinstance(samples, int) else ""
        found.append(("trained with", f"{result['data']}{many}"))
    found.append(("epochs", f"{result['epochs']:,}"))
    for score in ("accuracy", "r2"):
        value = result["results"].get(f"held_out_{score}")
        if isinstance(value, float):
            what = result["results"].get("held_out", "")
            found.append((f"held-out {score_name(score)}", f"{score_text(value, score)} ({what})"))
    return found


def _network(result: dict[str, Any]) -> str:
    """Layer sizes and parameters of the network, or of the networks of an ensemble."""
    parameters = f"{result['parameters']:,} parameters"
    if "members" in result:
        sizes = ["-".join(map(str, each["layer_sizes"])) for each in result["members"]]
        kinds = ", ".join(f"{sizes.count(each)} of {each}" for each in dict.fromkeys(sizes))
        return f"ensemble: {kinds}; {parameters}"
    shape = "-".join(map(str, result["layer_sizes"]))
    activations = ", ".join(dict.fromkeys(result["activation"]))
    return f"{shape} {activations}, {parameters}"


def _some(names: list[Any]) -> str:
    """Join the first :data:`SHOWN` names; append their number if there are more."""
    more = f", ... ({len(names):,})" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more


def _loss(result: dict[str, Any]) -> str:
    """Name of the loss, with the quantiles that it estimates if any."""
    quantile = result["quantile"]
    if quantile is None:
        return str(result["loss"])
    several = quantile if isinstance(quantile, list) else [quantile]
    return f"quantile {', '.join(map(str, several))}"
