"""``fastnn evaluate``."""

from __future__ import annotations

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
    with_settings,
)
from fastnn.cli.output import note_rows, print_json, print_pairs, score_name, score_of, score_text
from fastnn.cli.ranges import OutOfRangeRows, columns_behind
from fastnn.cli.scores import held_out_scores, score_rows


@with_settings(FormatSettings)
def command(
    given: Given,
    model: ModelArgument,
    data: TrainedDataArgument = None,
    target: TargetOption = None,
    data_dir: DataDirOption = None,
    backend: BackendOption = Backend.auto,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Loss and score of a model.

    All rows of a given file are used. For built-in data, and without DATA, samples are used that
    were not used for training: the test set, new points, or the held-out samples. If the training
    file has changed since, its training rows are left out. Columns are matched by name.
    """
    net, description, encoding = open_table_model(model, backend)
    dataset = data_with_targets(net, description, data, target, data_dir, given.flags, encoding)
    X, y, what = unseen(net, description, dataset, data, model_path(model))
    score, value = score_of(net), net.score(X, y)
    result = {
        "model": str(model_path(model)),
        "data": dataset.name,
        "what": what,
        "samples": len(X),
        "backend": net.backend,
        "loss": net.loss(X, y),
        score: value,
        **held_out_scores(net, X, y, value if score == "accuracy" else None, ""),
    }
    if dataset.notes:
        result["notes"] = list(dataset.notes)
    ranges = OutOfRangeRows(columns_behind(encoding, dataset.feature_names))
    ranges.add(net, X)
    if ranges.known:
        result["out_of_range"] = ranges.far
    if as_json:
        print_json(result)
        return
    if quiet:
        print(f"{value:.6g}")
        return
    print_pairs(
        [
            ("model", result["model"]),
            ("data", f"{dataset.name} ({what})"),
            ("backend", f"{net.backend}, {net.dtype.name}"),
            ("loss", f"{result['loss']:.6f}"),
            (score_name(score), score_text(value, score)),
            *score_rows(result),
            *note_rows(result),
            *([("out of range", text)] if (text := ranges.text()) else []),
        ]
    )
