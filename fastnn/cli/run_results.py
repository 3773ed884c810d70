"""Results of a run of ``fastnn train``: as a dict for ``--json``, and as printed rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn import datasets
from fastnn.cli import tables
from fastnn.cli.output import note_rows, score_name, score_text
from fastnn.cli.scores import held_out_scores, score_rows, scored
from fastnn.cli.source import shown

if TYPE_CHECKING:
    from fastnn.cli.settings import TrainSettings
    from fastnn.datasets import Dataset
    from fastnn.network import Network
    from fastnn.network.ensemble import Ensemble
    from fastnn.tables import Encoding
    from fastnn.training.history import History

USUAL_LOSSES = ("cross_entropy", "squared_error")


class CompletedRun(NamedTuple):
    """A finished training."""

    settings: TrainSettings
    dataset: Dataset
    net: Network | Ensemble
    history: History
    X: np.ndarray
    y: np.ndarray
    encoding: Encoding | None

    @property
    def score(self) -> str:
        """Key of the run's score: "accuracy" or "r2"."""
        return "accuracy" if self.dataset.task == "classification" else "r2"


def results_of(
    run: CompletedRun, unseen_X: np.ndarray, unseen_y: np.ndarray, unseen: str
) -> dict[str, Any]:
    """Results of the run, including the score on held-out samples."""
    net, history, score = run.net, run.history, run.score
    unseen_score = net.score(unseen_X, unseen_y) if len(unseen_X) else None
    accuracy = unseen_score if score == "accuracy" else None
    result: dict[str, Any] = {
        "data": run.settings.data,
        "task": run.dataset.task,
        "class_weight": run.settings.class_weight,
        **({"preset": "tabular"} if run.settings.preset == "tabular" else {}),
        "loss_name": net.loss_name,
        "layer_sizes": list(net.layer_sizes),
        **({"members": len(net.networks)} if hasattr(net, "networks") else {}),
        "backend": net.backend,
        "dtype": net.dtype.name,
        "samples": len(run.X),
        "epochs": history.epochs,
        "steps": history.steps,
        "stopped": history.stopped,
        "loss": net.loss(run.X, run.y),
        score: net.score(run.X, run.y),
        "held_out": unseen,
        f"held_out_{score}": unseen_score,
        **held_out_scores(net, unseen_X, unseen_y, accuracy, "held_out_"),
        **_other_score(run, unseen_X, unseen_y),
        "seconds": history.seconds,
        "compile_seconds": history.compile_seconds,
        "steps_per_second": history.steps_per_second if history.steps else None,
    }
    if run.encoding is not None:
        result["columns"] = tables.describe(run.encoding)
    if run.settings.data not in datasets.BUILT_IN and len(unseen_y):
        from fastnn.tables.baselines import baselines

        result["baselines"] = baselines(run.X, run.y, unseen_X, unseen_y, run.dataset.task)
    if history.best_epoch is not None:
        result["best_epoch"] = history.best_epoch + 1
    return result


def _other_score(run: CompletedRun, unseen_X: np.ndarray, unseen_y: np.ndarray) -> dict[str, Any]:
    """Score chosen with ``--scoring``, on the training and the held-out samples."""
    name = run.settings.scoring
    if name is None:
        return {}
    return {
        "scoring": name,
        "scoring_training": scored(run.net, name, run.X, run.y),
        "scoring_held_out": scored(run.net, name, unseen_X, unseen_y),
    }


def table(
    result: dict[str, Any], task: str, columns: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Format the result of a run as rows of text."""
    score = "accuracy" if result["task"] == "classification" else "r2"
    name, unseen = score_name(score), result[f"held_out_{score}"]
    sizes = "-".join(map(str, result["layer_sizes"]))
    if "members" in result:
        sizes = f"{result['members']} of {sizes}, averaged"
    stopped = "" if result["stopped"] == "epochs" else f", ended by {result['stopped']}"
    if result["stopped"] == "interrupted":
        stopped = ", interrupted"
    best = f", best at {result['best_epoch']:,}" if "best_epoch" in result else ""
    beside = ("baseline",) if "baselines" in result else ()
    rate = result["steps_per_second"]
    compiling = ""
    if result["compile_seconds"] >= 1:
        compiling = f", after {result['compile_seconds']:.1f} of compiling, this once"
    return [
        ("data", f"{shown(result['data'])}, {result['samples']:,} training samples"),
        *note_rows(result),
        *columns,
        ("task", task),
        *_about_preset(result),
        ("network", f"{sizes}, {result['backend']}, {result['dtype']}"),
        ("epochs", f"{result['epochs']:,}{stopped}{best}"),
        ("training loss", f"{result['loss']:.6f}"),
        (f"training {name}", score_text(result[score], score)),
        (
            f"held-out {name}",
            "nothing was held out"
            if unseen is None
            else f"{score_text(unseen, score)} ({result['held_out']})",
        ),
        *_baseline_rows(result, score),
        *(row for row in score_rows(result, "held_out_") if row[0] not in beside),
        *_other_rows(result),
        *_hint(result),
        ("seconds", f"{result['seconds']:.3f}{compiling}"),
        ("steps per second", "-" if rate is None else f"{rate:,.0f}"),
        ("folder", result["folder"]),
        ("files", ", ".join(result["files"])),
        *([("tensorboard", result["tensorboard"])] if "tensorboard" in result else []),
    ]


def _about_preset(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Row that names the preset tabular, an unusual loss, and how to select the other preset."""
    if "preset" not in result:
        return []
    loss = "" if result["loss_name"] in USUAL_LOSSES else f", loss {result['loss_name']}"
    return [("preset", f"tabular (RealMLP-TD-S){loss}; --preset plain is a smaller network")]


def _baseline_rows(result: dict[str, Any], score: str) -> list[tuple[str, str]]:
    """Rows with the scores of simple models, and a caution if these are as good."""
    if "baselines" not in result:
        return []
    constant, linear = (result["baselines"][name] for name in ("constant", "linear"))
    name = "the most frequent class" if score == "accuracy" else "the mean"
    majority = result.get("held_out_majority_class")
    if majority is not None:
        name = f"always predicting {majority!r}"
    text = f"{score_text(constant, score)} by {name}"
    if linear is not None:
        text += f", {score_text(linear, score)} by a linear model"
    rows = [("baselines", text)]
    own = result[f"held_out_{score}"]
    # For imbalanced classes the accuracy says little; balanced accuracy and AUC are shown instead.
    if majority is None and (own <= constant or (linear is not None and own < linear)):
        rows.append(("caution", "a simple model is as good as the network"))
    return rows


def _other_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Row with the score chosen with ``--scoring``."""
    if "scoring" not in result:
        return []
    unseen = result["scoring_held_out"]
    text = "nothing was held out" if unseen is None else f"{unseen:.4f} held out"
    return [(result["scoring"], f"{result['scoring_training']:.4f} in training, {text}")]


def _hint(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Row with a hint for imbalanced classes, unless ``--class-weight`` was given."""
    if result["class_weight"] is not None or "held_out_majority_share" not in result:
        return []
    return [("hint", "--class-weight balanced counts every class the same")]
