"""Report of a run: one self-contained HTML file with figures as SVG."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cli.output import score_name
from fastnn.cli.runs import write_text
from fastnn.extras import is_installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.cli.run_results import CompletedRun

REPORT_FILE = "report.html"
MAX_BARS = 25

_STYLE = """
:root { color-scheme: light dark; --text: #222; --quiet: #555; --line: #ddd; --bar: #0072B2; }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1rem .2rem 0;
  vertical-align: top; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--quiet); font-weight: 600; overflow-wrap: normal; } p { color: var(--quiet); }
img { max-width: 100%; } td:first-child { min-width: 7rem; }
td:nth-child(2):not(:last-child) { white-space: nowrap; } td.bar { white-space: nowrap; }
td.bar span { display: inline-block; height: .7rem; background: var(--bar); }
@media (max-width: 34rem) { td, th { padding-right: .6rem; } td:first-child { min-width: 5rem; }
  td:first-child:not(:nth-last-child(2)) { min-width: 7rem; }
  :is(td, th):nth-child(2):not(:last-child), td.bar span { display: none; } }  /* the kind, bars */
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --quiet: #aaa; --line: #444; --bar: #56B4E9; } body { background: #191919; }
  img { filter: invert(.9) hue-rotate(180deg); } }  /* the figures have a white background */
"""


def write_report(
    path: Path,
    run: CompletedRun,
    rows: Sequence[tuple[str, str]],
    unseen_X: np.ndarray,
    unseen_y: np.ndarray,
) -> None:
    """Write the report.

    Parameters
    ----------
    path : Path
    run : CompletedRun
    rows : sequence of (str, str)
        Names and values that the command prints.
    unseen_X, unseen_y : ndarray
        Held-out samples; if there are none, the training samples are used.
    """
    held_out = len(unseen_y) > 0
    X, y = (unseen_X, unseen_y) if held_out else (run.X, run.y)
    which = f"the {len(y):,} held-out samples" if held_out else "the training samples"
    title = f"{run.dataset.name}: {run.dataset.target_name}"
    parts = [f"<h1>{_text(title)}</h1>", _table([], rows)]
    parts += _columns(run)
    with _quiet_figures() as figures:
        parts += _curves(run, figures)
        parts += _errors(run, X, y, which, figures)
        parts += _importances(run, X, y, which, figures)
        parts += _calibration(run, X, y, which, figures)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    write_text(path, page)


def _text(value: object) -> str:
    """Escape a value for HTML."""
    return html.escape(str(value))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], raw: int = -1) -> str:
    """HTML of a table of strings; the cells of column ``raw`` are inserted unescaped."""
    lines = ["<table>"]
    if head:
        lines.append("<tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + "</tr>")
    for row in rows:
        cells = (cell if k == raw else f"<td>{_text(cell)}</td>" for k, cell in enumerate(row))
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _columns(run: CompletedRun) -> list[str]:
    """Section on the columns: kind, encoding and share of missing values."""
    if run.encoding is None:
        names = run.dataset.feature_names
        return [
            "<h2>Columns</h2>",
            f"<p>{len(names):,} numbers: {_text(', '.join(names[:200]))}</p>",
        ]
    rows: list[tuple[str, ...]] = []
    for code in run.encoding.columns:
        share = code.gaps / code.rows if code.rows else 0.0
        percent = f"{share:.1%}" if share >= 0.001 else "< 0.1%"
        width = f"width:{share * 8:.2f}rem"
        bar = f'<span style="{width}"></span> {_text(percent)}' if share else ""
        rows.append((code.name, code.kind, code.what(), f'<td class="bar">{bar}</td>'))
    head: tuple[str, ...] = ("column", "kind", "becomes", "missing")
    if not any(code.gaps for code in run.encoding.columns):
        head, rows = head[:3], [row[:3] for row in rows]
    return ["<h2>Columns</h2>", _table(head, rows, raw=3)]


class _quiet_figures:
    """Context manager that draws figures for the page, without warnings."""

    def __enter__(self) -> _quiet_figures:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")  # about glyphs that the font lacks
        return self

    def __exit__(self, *error: Any) -> None:
        self._warnings.__exit__(*error)

    def draw(self, alt: str, draw: Callable[[Axes], object], height: float = 3.6) -> list[str]:
        """Return the image element of a figure; an empty list if matplotlib is not installed."""
        if not is_installed("matplotlib"):
            return []
        import matplotlib
        from matplotlib.figure import Figure

        out = io.BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fastnn"}):
            figure = Figure(figsize=(6.4, height), layout="constrained")
            draw(figure.subplots())
            figure.savefig(out, format="svg", metadata={"Date": None})
        data = base64.b64encode(out.getvalue()).decode("ascii")
        return [f'<img alt="{_text(alt)}" src="data:image/svg+xml;base64,{data}">']


def _curves(run: CompletedRun, figures: _quiet_figures) -> list[str]:
    if not run.history.epochs:
        return []
    from fastnn.plots import loss_curve

    drawn = figures.draw("Loss by epoch", lambda ax: loss_curve(run.history, ax=ax))
    if run.history.validation_score is not None:
        drawn += figures.draw("Score by epoch", lambda ax: _score_curve(run, ax), 2.8)
    return ["<h2>Training</h2>", *drawn] if drawn else []


def _score_curve(run: CompletedRun, ax: Axes) -> None:
    """Draw the score of the validation samples by epoch."""
    from fastnn.plots.axes import COLORS, style_axes

    scores = np.asarray(run.history.validation_score)
    epochs = np.arange(1, len(scores) + 1)
    ax.plot(epochs, scores, color=COLORS[1], linewidth=1.2)
    best = run.history.best_epoch
    if best is not None:
        ax.plot(epochs[best], scores[best], "o", color=COLORS[1])
    # a few bad epochs at the beginning would compress the rest of the curve
    low, high = np.quantile(scores, 0.05), scores.max()
    ax.set_ylim(low - 0.05 * (high - low) - 1e-9, high + 0.05 * (high - low) + 1e-9)
    ax.set_xlabel("epoch")
    ax.set_ylabel(f"validation {score_name(run.score)}")
    ax.set_xlim(1, max(2, len(scores)))  # as the loss curve above
    ax.grid(color="#DDDDDD", linewidth=0.6)
    style_axes(ax)


def _errors(
    run: CompletedRun, X: np.ndarray, y: np.ndarray, which: str, figures: _quiet_figures
) -> list[str]:
    from fastnn.plots import confusion_matrix, predictions

    predicted = run.net.predict_point(X)
    if run.dataset.task == "classification":
        height = float(np.clip(0.35 * len(np.unique(y)) + 1.6, 3.2, 8))
        drawn = figures.draw(
            "Confusion matrix", lambda ax: confusion_matrix(y, predicted, ax=ax), height
        )
        text = f"Confusion matrix of {which}."
    else:
        name = run.dataset.target_name
        drawn = figures.draw(
            "Predictions over targets",
            lambda ax: predictions(y, predicted, ax=ax, target_name=name),
            4.8,
        )
        residual = np.abs(y - predicted)
        text = (
            f"Of {which}: mean absolute error {residual.mean():.6g}, root mean square error "
            f"{np.sqrt((residual**2).mean()):.6g}, 90% of the errors below "
            f"{np.quantile(residual, 0.9):.6g}."
        )
    return ["<h2>Errors</h2>", f"<p>{_text(text)}</p>", *drawn]


def _importances(
    run: CompletedRun, X: np.ndarray, y: np.ndarray, which: str, figures: _quiet_figures
) -> list[str]:
    from fastnn.plots import importances as bars
    from fastnn.tables.importances import REPEATS, importances

    names, groups = [*run.dataset.feature_names], [[k] for k in range(X.shape[1])]
    if run.encoding is not None:
        names, groups = map(list, zip(*_groups(run), strict=True))
    if not 1 < len(names) <= 500:
        return []
    falls = importances(run.net.score, X, y, groups)
    order = np.argsort(-falls.mean(axis=1), kind="stable")[:MAX_BARS]
    chosen = [names[k] for k in order]
    text = (
        f"Decrease of the {score_name(run.score)} of {which} when the values of a column are "
        f"permuted, mean of {REPEATS} permutations. Correlated columns share their importance."
    )
    drawn = figures.draw(
        "Importance of each column",
        lambda ax: bars(chosen, falls[order], ax=ax, score=score_name(run.score)),
        0.28 * len(chosen) + 1,
    )
    rows = [(names[k], f"{falls[k].mean():.4f} ± {falls[k].std():.4f}") for k in order]
    return [
        "<h2>Importance of the columns</h2>",
        f"<p>{_text(text)}</p>",
        *(drawn or [_table(("column", "importance"), rows)]),
    ]


def _groups(run: CompletedRun) -> Iterator[tuple[str, list[int]]]:
    """Yield the name and the indices of the encoded columns of each table column."""
    first = 0
    for code in run.encoding.columns if run.encoding is not None else ():
        width = len(code.outputs())
        if width:
            yield code.name, list(range(first, first + width))
        first += width


def _calibration(
    run: CompletedRun, X: np.ndarray, y: np.ndarray, which: str, figures: _quiet_figures
) -> list[str]:
    if len(y) < 20:
        return []
    if run.net.classes_ is None:
        return _coverage(run, X, y, which)
    from fastnn.plots import reliability
    from fastnn.tables.importances import calibration

    classes = np.asarray(run.net.classes_)
    found = calibration(y, run.net.predict_proba(X), classes)
    of = f"of {classes[1]}" if len(classes) == 2 else "of the predicted class"
    drawn = figures.draw(
        "Calibration", lambda ax: reliability(*found[:3], ax=ax, label=f"probability {of}")
    )
    text = (
        f"Predicted probabilities and observed frequencies of {which}; the line is perfect "
        f"calibration. Mean difference {found[3]:.3f}."
    )
    return ["<h2>Calibration</h2>", f"<p>{_text(text)}</p>", *drawn]


def _coverage(run: CompletedRun, X: np.ndarray, y: np.ndarray, which: str) -> list[str]:
    """Section comparing expected and observed coverage of predicted intervals or quantiles."""
    if run.net.loss_name == "gaussian":
        from scipy.stats import norm

        mean, deviation = run.net.predict(X, return_std=True)
        head = ("mean plus or minus", "expected", "observed")
        factors = [(share, norm.ppf(0.5 + share / 2)) for share in (0.5, 0.8, 0.9, 0.95)]
        found = [
            (f"{z:.2f} deviations", share, np.mean(np.abs(y - mean) <= z * deviation))
            for share, z in factors
        ]
    elif run.net.spec.outputs_per_target > 1:
        quantiles = run.net.predict(X)
        head = ("below the quantile", "expected", "observed")
        found = [
            (f"{q:g}", q, np.mean(y <= quantiles[:, k])) for k, q in enumerate(run.net.quantile)
        ]
    else:
        return []
    rows = [(name, f"{share:.1%}", f"{there:.1%}") for name, share, there in found]
    text = f"Expected and observed coverage: fractions of the targets of {which}."
    return ["<h2>Calibration</h2>", f"<p>{_text(text)}</p>", _table(head, rows)]
