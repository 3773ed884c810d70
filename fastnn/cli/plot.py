"""``fastnn plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastnn.cli.data import input_dtype
from fastnn.cli.files import FormatSettings
from fastnn.cli.models import data_with_targets, model_path, open_table_model, unseen
from fastnn.cli.options import (
    Backend,
    BackendOption,
    DataDirOption,
    Given,
    JsonFlag,
    ModelArgument,
    QuietFlag,
    TargetOption,
    TrainedDataArgument,
    option,
    with_settings,
)
from fastnn.cli.output import (
    layers_text,
    print_json,
    print_pairs,
    score_name,
    score_of,
    score_text,
)
from fastnn.cli.runs import figure

_ENDINGS = (".png", ".svg", ".pdf", ".jpg", ".webp")


@with_settings(FormatSettings)
def command(
    given: Given,
    model: ModelArgument,
    data: TrainedDataArgument = None,
    out: Annotated[
        Path | None,
        option("--out", "Output file (.png, .svg, .pdf).", "plot_DATA.png beside the model"),
    ] = None,
    target: TargetOption = None,
    data_dir: DataDirOption = None,
    backend: BackendOption = Backend.auto,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Plot a decision boundary (two features), or predictions against targets.

    With more or fewer than two features the plot is the confusion matrix of a classification, or
    predictions against targets of a regression, for the same samples as `fastnn evaluate`.
    """
    from fastnn.plots import confusion_matrix, decision_boundary, predictions

    net, description, encoding = open_table_model(model, backend)
    dataset = data_with_targets(net, description, data, target, data_dir, given.flags, encoding)
    flat = net.n_features == 2
    X, y = dataset.inputs(dataset.X, input_dtype(net)), dataset.y
    if not flat:
        X, y, what = unseen(net, description, dataset, data, model_path(model))
    score, value = score_of(net), net.score(X, y)
    if out is None:
        out = model_path(model).parent / f"plot_{dataset.name}.png"
    elif out.is_dir() or out.suffix.lower() not in _ENDINGS:
        raise ValueError(f"--out {out}: the file's name must end in .png, .svg or .pdf")
    title = f"{dataset.name}: {layers_text(net)}\n{score_name(score)} {score_text(value, score)}"
    with figure(out, (6.4, 5.0)) as ax:
        if flat:
            names = dataset.feature_names
            decision_boundary(net, X, y, ax=ax, feature_names=names, title=title)
        elif net.is_regression:
            title, name = f"{title}, {what}", dataset.target_name
            predictions(y, net.predict_point(X), ax=ax, target_name=name, title=title)
        else:
            confusion_matrix(y, net.predict(X), ax=ax, title=f"{title}, {what}")
    if as_json:
        print_json({"file": str(out), "data": dataset.name, score: value})
    elif quiet:
        print(out)
    else:
        print_pairs([("picture", str(out)), (score_name(score), score_text(value, score))])
