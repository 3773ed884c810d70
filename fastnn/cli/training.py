"""Implementation of ``fastnn train``: create and train the network, write the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastnn import datasets
from fastnn.backends import codes
from fastnn.cli import signals, tables
from fastnn.cli.board import board
from fastnn.cli.data import held_out, input_dtype, part, task_text
from fastnn.cli.output import layers_text, note_rows, score_name, score_text
from fastnn.cli.resuming import CHECKPOINT_FILE
from fastnn.cli.rows import RowsOfRun
from fastnn.cli.runs import (
    MODEL_FILE,
    figure,
    run_folder,
    write_history,
    write_text,
)
from fastnn.cli.scores import check_scoring, held_out_scores, score_rows, scored, suits
from fastnn.cli.settings import USUAL_CHECKPOINTS, TrainSettings, checkpoint_interval
from fastnn.cli.source import path_of, recorded, shown
from fastnn.extras import install_command, is_installed
from fastnn.network import Network

if TYPE_CHECKING:
    from fastnn.datasets import Dataset
    from fastnn.network.ensemble import Ensemble
    from fastnn.storage.checkpoints import CheckpointFile
    from fastnn.tables import Encoding
    from fastnn.training.history import History


def train(
    settings: TrainSettings,
    *,
    out: Path | None,
    overwrite: bool,
    tensorboard: Path | None,
    plots: bool = True,
    quiet: bool,
    resumed: bool = False,
) -> tuple[dict[str, Any], str, list[tuple[str, str]]]:
    """Train a network and write the run folder.

    Parameters
    ----------
    settings : TrainSettings
        The given settings; the others get their defaults for the data.
    out : Path or None
        The run folder; None creates a numbered one.
    overwrite : bool
        Whether ``out`` may contain files.
    tensorboard : Path or None
        Parent folder of the TensorBoard summaries; None writes none.
    plots : bool, default=True
        Whether to draw plots if matplotlib is installed.
    quiet : bool
        Whether to show no progress.
    resumed : bool
        Whether to continue from the checkpoint in ``out``.

    Returns
    -------
    result : dict
        The results, as ``--json`` prints them.
    task : str
        Description of the task.
    columns : list of (str, str)
        Rows that describe the encoding of each table column, for printing.
    """
    check_scoring(settings.scoring)
    dataset, train_rows, test_rows, encoding = tables.load(settings)
    task = task_text(dataset, settings.task)
    settings = settings.completed(dataset, len(train_rows), encoded=encoding is not None)
    settings = settings.model_copy(update={"data": recorded(settings.data)})
    rows = RowsOfRun.of(dataset, path_of(settings.data), train_rows, test_rows)
    tabular = settings.preset == "tabular"
    _check_loss(dataset, settings.loss)
    if tabular and tensorboard is not None:
        raise ValueError("--tensorboard is for the preset plain; add --preset plain")
    net: Any = None if tabular else _network(dataset, settings)
    dtype = np.dtype(settings.dtype) if net is None else net.dtype
    dataset.check_range(dtype)
    _check_suits(dataset, settings.scoring)
    X, y = part(dataset, train_rows, np.dtype(np.float64) if net is None else input_dtype(net))

    with run_folder(out, dataset.name, overwrite) as folder:
        events = tensorboard, folder, X, y, settings, overwrite and not resumed, resumed
        checkpoint = _checkpoint(folder, settings, resumed)
        with board(*events) as summaries:
            callbacks = [] if summaries is None else summaries.callbacks
            if net is None:
                net, history = _fit_tabular(
                    X, y, dataset.task, settings, checkpoint, resumed, verbose=not quiet
                )
            else:
                history = _fit(
                    net, X, y, settings, callbacks, checkpoint, resumed, verbose=not quiet
                )
            signals.hold()
            run = Run(settings, dataset, net, history, X, y, encoding)
            unseen = held_out(dataset, test_rows, input_dtype(net))
            result = _result(run, *unseen)
            if summaries is not None:
                summaries.end(result, run.score)
                result["tensorboard"] = str(summaries.folder)
        files = [*_write(run, folder, result, rows, plots), *rows.write(folder)]
        if checkpoint is not None:
            files.append(CHECKPOINT_FILE)
    notes = list(dataset.notes)
    if plots and not is_installed("matplotlib"):
        notes.append(f"no pictures, which need matplotlib: {install_command('plots')}")
    if notes:
        result["notes"] = notes
    result["folder"], result["files"] = str(folder), files
    columns = [] if encoding is None else tables.column_rows(encoding)
    if settings.report is not False and settings.data not in datasets.BUILT_IN:
        from fastnn.cli.report import REPORT_FILE, write_report

        rows_of_page = [row for row in table(result, task) if row[0] not in ("folder", "files")]
        write_report(folder / REPORT_FILE, run, rows_of_page, *unseen[:2])
        files.append(REPORT_FILE)
    return result, task, columns


def _check_suits(dataset: Dataset, scoring: str | None) -> None:
    """Raise if the score is not defined for such targets, before a long training."""
    if scoring is not None:
        from sklearn.dummy import DummyClassifier, DummyRegressor
        from sklearn.metrics import get_scorer

        is_regression = dataset.task == "regression"
        dummy = DummyRegressor() if is_regression else DummyClassifier(strategy="uniform")
        X = np.zeros((len(dataset.y), 1))
        suits(get_scorer(scoring), scoring, dummy.fit(X, dataset.y), X, dataset.y)


USUAL_LOSSES = ("cross_entropy", "squared_error")


class Run(NamedTuple):
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


def _check_loss(dataset: Dataset, loss: str | None) -> None:
    """Raise if the loss belongs to the other task; it is None if not given (preset tabular)."""
    if loss is not None and (dataset.task == "regression") != (loss in codes.REGRESSION):
        suited = "regression" if loss in codes.REGRESSION else "classification"
        raise ValueError(
            f"--loss {loss} is for {suited}, but the target {dataset.target_name!r} is "
            f"one of {dataset.task} (see --task)"
        )


def _quantile(settings: TrainSettings) -> float | list[float]:
    """Quantile argument of the network: one quantile or several."""
    return settings.quantiles or (0.5 if settings.quantile is None else settings.quantile)


def _network(dataset: Dataset, settings: TrainSettings) -> Network:
    """Create the untrained network for the data."""
    quantile = _quantile(settings)
    if dataset.task == "regression":
        n_outputs = 2 if settings.loss == "gaussian" else np.size(quantile)
    else:
        n_classes = len(np.unique(dataset.y))
        n_outputs = 1 if settings.loss == "binary_cross_entropy" else n_classes
        if n_classes < 2:
            raise ValueError(f"target {dataset.target_name!r} has a single class")
        if n_outputs == 1 and n_classes > 2:
            raise ValueError(f"binary_cross_entropy is for 2 classes; there are {n_classes}")
    activation, dropout = settings.activation, settings.dropout
    return Network(
        [dataset.X.shape[1], *settings.hidden, n_outputs],
        activation=activation[0] if len(activation) == 1 else activation,
        alpha=settings.alpha,
        loss=settings.loss,
        label_smoothing=settings.label_smoothing or 0.0,
        quantile=quantile,
        delta=1.0 if settings.delta is None else settings.delta,
        l2=settings.l2,
        dropout=(dropout or [0.0])[0] if len(dropout) < 2 else dropout,
        initializer=settings.initializer,
        standardize=settings.standardize,
        smooth_clip=settings.smooth_clip,
        backend=settings.backend,
        dtype=settings.dtype,
        random_state=settings.seed,
        n_threads=settings.threads,
    )


def _fit(
    net: Network,
    X: np.ndarray,
    y: np.ndarray,
    settings: TrainSettings,
    callbacks: Sequence[Any],
    checkpoint: CheckpointFile | None,
    resumed: bool,
    verbose: bool,
) -> History:
    """Train the network of the preset plain."""
    from fastnn.training.history import EarlyStopping

    sample_weight = None
    if settings.class_weight is not None:
        from sklearn.utils.class_weight import compute_sample_weight

        sample_weight = compute_sample_weight(settings.class_weight, y)
    return net.fit(
        X,
        y,
        optimizer=settings.make_optimizer(),
        epochs=settings.epochs,
        batch_size=settings.batch_size or None,
        sample_weight=sample_weight,
        validation_fraction=settings.validation,
        early_stopping=EarlyStopping(settings.patience) if settings.early_stopping else None,
        callbacks=callbacks,
        verbose=verbose,
        checkpoint=cast(Any, checkpoint),  # a CheckpointFile, which also stores the settings
        checkpoint_every=None if checkpoint is None else _every(settings),
        resume=resumed,
    )


def _fit_tabular(
    X: np.ndarray,
    y: np.ndarray,
    task: str,
    settings: TrainSettings,
    checkpoint: CheckpointFile | None,
    resumed: bool,
    verbose: bool,
) -> tuple[Network | Ensemble, History]:
    """Train the network of the preset tabular, or an ensemble of several."""
    import contextlib
    import threading
    import time

    from fastnn.tables.estimators import TabularClassifier, TabularRegressor
    from fastnn.training.history import History

    members = settings.members or 1
    options: dict[str, Any] = {
        "n_epochs": settings.epochs,
        "n_members": members,
        "validation_fraction": settings.validation,
        # encoded columns are always numbers; their kinds must not be detected again
        "columns": {f"x{k}": "number" for k in range(X.shape[1])},
        "random_state": settings.seed,
        "n_threads": settings.threads,
        "backend": settings.backend,
        "dtype": settings.dtype,
        "time_limit": settings.time_limit,
    }
    started = time.perf_counter()
    if task == "classification":
        model: Any = TabularClassifier(class_weight=settings.class_weight, **options)
    else:
        model = TabularRegressor(
            loss=settings.loss or "squared_error",
            quantile=_quantile(settings),
            delta=1.0 if settings.delta is None else settings.delta,
            **options,
        )
    model._warns_of_copies = False  # it would name the encoded columns
    bar = None
    if verbose:
        from fastnn.training.lines import training_progress

        bar = training_progress(settings.epochs * members)
    done: dict[int, int] = {}  # epochs of each member, keyed by the id of its list of losses
    one_by_one = threading.Lock()  # members are trained in parallel threads

    def tell(losses: list[float]) -> None:
        assert bar is not None
        with one_by_one:
            done[id(losses)] = len(losses)
            bar.reach(sum(done.values()), losses[-1])

    with bar or contextlib.nullcontext():
        if bar is not None:
            model._after_epoch = tell
        model.fit(
            X,
            y,
            checkpoint=checkpoint,
            checkpoint_every=None if checkpoint is None else _every(settings),
            resume=resumed,
        )
    validated = bool(model.validation_curves_[0])
    curve = _mean_curve(model.validation_curves_) if validated else None
    # The curve is 1 - accuracy for classes; squared errors are of standardised targets with
    # variance 1, so that 1 - error is R^2.
    is_score = task == "classification" or model.loss == "squared_error"
    n_held = int(np.ceil(settings.validation * len(X)))
    n_epochs = sum(map(len, model.loss_curves_))
    return model._averaged(), History(
        _mean_curve(model.loss_curves_),
        validation_loss=None if is_score else curve,
        validation_score=1 - curve if is_score and curve is not None else None,
        seconds=time.perf_counter() - started,
        steps=n_epochs * max(1, (len(X) - n_held) // 256),
        stopped=model.stopped_,
        # members of an ensemble have different best epochs
        best_epoch=model.best_iter_[0] - 1 if validated and members == 1 else None,
    )


def _mean_curve(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Mean curve over the members; each epoch averages the members that reached it."""
    total, count = np.zeros((2, max(map(len, curves))))
    for curve in curves:
        total[: len(curve)] += curve
        count[: len(curve)] += 1
    return total / count


def _every(settings: TrainSettings) -> int | timedelta | None:
    """Interval of checkpoints: epochs or time; None for never."""
    return checkpoint_interval(settings.checkpoint_every or USUAL_CHECKPOINTS)


def _checkpoint(folder: Path, settings: TrainSettings, resumed: bool) -> CheckpointFile | None:
    """Create the checkpoint file of the run; None if no checkpoints are written.

    Unless the run is resumed, checkpoints of an overwritten run are removed.
    """
    from fastnn.storage.checkpoints import CheckpointFile

    path = folder / CHECKPOINT_FILE
    if not resumed:
        for old in [path, *folder.glob(f"{path.stem}-*{path.suffix}")]:  # one per member
            old.unlink(missing_ok=True)
    elif _every(settings) is None:
        raise ValueError("--checkpoint-every never: --resume needs the run's checkpoint")
    if _every(settings) is None:
        return None
    if settings.time_limit is not None:
        if settings.checkpoint_every is not None:
            raise ValueError(
                "--checkpoint-every needs a number of epochs, as --epochs 256; with --time-limit "
                "it depends on the machine"
            )
        return None
    return CheckpointFile(path, {"settings": settings.model_dump(exclude_none=True)})


def _result(run: Run, unseen_X: np.ndarray, unseen_y: np.ndarray, unseen: str) -> dict[str, Any]:
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


def _other_score(run: Run, unseen_X: np.ndarray, unseen_y: np.ndarray) -> dict[str, Any]:
    """Score chosen with ``--scoring``, on the training and the held-out samples."""
    name = run.settings.scoring
    if name is None:
        return {}
    return {
        "scoring": name,
        "scoring_training": scored(run.net, name, run.X, run.y),
        "scoring_held_out": scored(run.net, name, unseen_X, unseen_y),
    }


def _write(
    run: Run, folder: Path, result: dict[str, Any], rows: RowsOfRun, plots: bool
) -> list[str]:
    """Write model, settings, history and plots; return the names of the files."""
    from fastnn import storage

    training = {
        "settings": run.settings.model_dump(exclude_none=True),
        "features": list(run.dataset.feature_names),
        "target": run.dataset.target_name,
        "scale": run.dataset.scale,
        "decimal": run.dataset.decimal,
        **rows.description,
        "results": {k: v for k, v in result.items() if isinstance(v, int | float | str)},
    }
    model: Any = run.net
    if run.encoding is not None:
        from fastnn.tables import TableModel

        training["features"] = run.encoding.used
        model = TableModel(run.encoding, run.net)
    storage.save(model, folder / MODEL_FILE, training=training)
    write_text(folder / "settings.toml", run.settings.to_toml())
    write_history(folder / "history.csv", run.history)
    pictures = _draw(run, folder, result) if plots else []
    return [MODEL_FILE, "settings.toml", "history.csv", *pictures]


def _draw(run: Run, folder: Path, result: dict[str, Any]) -> list[str]:
    """Draw the plots of a run; return their file names (none without matplotlib)."""
    if not is_installed("matplotlib"):
        return []
    from fastnn.plots import decision_boundary, loss_curve

    net, dataset, score = run.net, run.dataset, run.score
    files = []
    title = f"{dataset.name}: {layers_text(net)}"
    if net.n_features == 2:
        held_out_score = result[f"held_out_{score}"]
        text = f"{title}\n{score_name(score)} {score_text(result[score], score)}"
        if held_out_score is not None:
            text += f", held out {score_text(held_out_score, score)}"
        with figure(folder / "decision_boundary.png", (6.4, 5.0)) as ax:
            names = dataset.feature_names
            decision_boundary(net, run.X, run.y, ax=ax, feature_names=names, title=text)
        files.append("decision_boundary.png")
    if run.history.epochs:
        with figure(folder / "loss.png", (6.4, 4.0)) as ax:
            loss_curve(run.history, ax=ax, title=title)
        files.append("loss.png")
    return files


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
