"""``fastnn plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastnn.cli.data import input_dtype
from fastnn.cli.files import FormatSettings
from fastnn.cli.models import data_with_targets, model_path, open_model
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
        option("--out", "Picture (.png, .svg, .pdf).", "plot_DATA.png next to the model"),
    ] = None,
    target: TargetOption = None,
    data_dir: DataDirOption = None,
    backend: BackendOption = Backend.auto,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Draw the decision boundary of a model with two features."""
    from fastnn.plots import decision_boundary

    net, description = open_model(model, backend)
    if net.n_features != 2:
        raise ValueError(
            f"a decision boundary can be drawn over 2 features; the network has {net.n_features}"
        )
    dataset = data_with_targets(net, description, data, target, data_dir, given.flags)
    X = dataset.inputs(dataset.X, input_dtype(net))
    score, value = score_of(net), net.score(X, dataset.y)
    if out is None:
        out = model_path(model).parent / f"plot_{dataset.name}.png"
    elif out.is_dir() or out.suffix.lower() not in _ENDINGS:
        raise ValueError(f"--out {out}: the file's name must end in .png, .svg or .pdf")
    title = f"{dataset.name}: {layers_text(net)}\n{score_name(score)} {score_text(value, score)}"
    with figure(out, (6.4, 5.0)) as ax:
        names = dataset.feature_names
        decision_boundary(net, X, dataset.y, ax=ax, feature_names=names, title=title)
    if as_json:
        print_json({"file": str(out), "data": dataset.name, score: value})
    elif quiet:
        print(out)
    else:
        print_pairs([("picture", str(out)), (score_name(score), score_text(value, score))])
