"""What an experiment gives back: numbers, tables, figures and the sentences beside them."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.experiments.style import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of the figures in the page, of which the whole report is to have 1.5 MB.
WIDE_DPI, NARROW_DPI = 130, 115


@dataclass(frozen=True)
class Picture:
    """One figure, drawn when it is asked for.

    Attributes
    ----------
    name : str
        Stem of the file names.
    caption : str
        The sentence below it.
    alt : str
        What it shows, for those who cannot see it.
    draw : callable
        ``draw(narrow)`` gives the figure; narrow is the layout for a phone.

    Examples
    --------
    >>> from fastnn import experiments
    >>> picture = experiments.data().pictures[0]
    >>> picture.name
    'data'
    >>> svg, png = picture.render("svg", "png")
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[bool], Figure]

    def figure(self, narrow: bool = False) -> Figure:
        """The Matplotlib figure."""
        with drawing():
            return self.draw(narrow)

    def render(self, *kinds: str, narrow: bool = False) -> list[bytes]:
        """The figure, drawn once, as the bytes of one file a kind.

        Parameters
        ----------
        *kinds : {"svg", "png", "webp"}
            Formats. WebP is small, for the page that holds everything.
        narrow : bool, default=False
            Whether it is for a narrow screen.

        Returns
        -------
        list of bytes
        """
        files = []
        with drawing():
            figure = self.draw(narrow)
            for kind in kinds:
                if kind == "webp":
                    files.append(_as_webp(figure, NARROW_DPI if narrow else WIDE_DPI))
                    continue
                buffer = io.BytesIO()
                # Without the date, so that the same numbers give the same file.
                figure.savefig(
                    buffer, format=kind, metadata={"Date": None} if kind == "svg" else {}
                )
                # Once laid out, it keeps its places.
                figure.set_layout_engine("none")
                files.append(buffer.getvalue())
        return files

    def data_uri(self, narrow: bool = False) -> str:
        """The figure as an SVG in a data URI."""
        return as_data_uri(self.render("svg", narrow=narrow)[0], "svg+xml")


def _as_webp(figure: Figure, dpi: float) -> bytes:
    """A figure as WebP, several times smaller than as SVG."""
    from PIL import Image  # Matplotlib needs it, too

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})  # read at once
    files = []
    with Image.open(png) as image:
        colours = image.convert("RGB")
    # Lines and text are smaller without loss, grounds of many colours with it.
    for options in ({"lossless": True, "method": 2}, {"quality": 70}):
        file = io.BytesIO()
        colours.save(file, "webp", **options)
        files.append(file.getvalue())
    return min(files, key=len)


def as_data_uri(contents: bytes, kind: str) -> str:
    """The bytes of a picture as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode()}"


@dataclass(frozen=True)
class Table:
    """A table of the report; cells are text.

    Examples
    --------
    >>> from fastnn.experiments import Table
    >>> Table("Accuracy", ["activation", "accuracy"], [["tanh", "0.970"]]).columns
    ['activation', 'accuracy']
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Result:
    """One experiment.

    Attributes
    ----------
    name, title : str
    setting : str
        What was done, in a sentence or two.
    data : dict
        Every number, as plain JSON-able data.
    pictures : list of Picture
    tables : list of Table
    findings : list of str
        What the numbers say.

    Examples
    --------
    >>> from fastnn import experiments
    >>> experiments.data()
    Result('data', figures: data)
    """

    name: str
    title: str
    setting: str
    data: dict[str, Any]
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def figure(self) -> Figure:
        """The first figure."""
        return self.pictures[0].figure()

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        return {picture.name: picture.figure() for picture in self.pictures}

    def __repr__(self) -> str:
        names = ", ".join(picture.name for picture in self.pictures)
        return f"Result({self.name!r}, figures: {names})"

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        parts = [f"<h3>{html.escape(self.title)}</h3><p>{html.escape(self.setting)}</p>"]
        for picture in self.pictures:
            parts.append(
                f'<img src="{picture.data_uri()}" alt="{html.escape(picture.alt)}" '
                f'style="max-width:100%;background:#fff">'
            )
        parts += [f"<p>{html.escape(sentence)}</p>" for sentence in self.findings]
        return "".join(parts)


def plain(value: Any) -> Any:
    """``value`` as JSON knows it; numbers that are not finite become text.

    Parameters
    ----------
    value : dict, sequence, ndarray, number, str or None

    Returns
    -------
    The same of plain Python types.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation, standard error and the single values."""
    array = np.asarray(values, np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return {
        "mean": float(array.mean()),
        "sd": deviation,
        "se": deviation / math.sqrt(len(array)),
        "values": array.tolist(),
    }


def mean_sd(record: dict[str, Any], digits: int = 4) -> str:
    """A summary as text, "mean ± standard deviation"."""
    return f"{record['mean']:.{digits}f} ± {record['sd']:.{digits}f}"


def means_table(
    columns: Sequence[str], rows: Iterable[tuple[Sequence[str], dict[str, Any]]], seeds: str
) -> Table:
    """Means and standard deviations of accuracy and loss, in training and held out.

    Parameters
    ----------
    columns : sequence of str
        Heads of the columns before them.
    rows : iterable of (cells, record)
        Cells of those columns; summaries by the names of what was measured.
    seeds : str
        How many there were, in words.

    Returns
    -------
    Table
    """
    keys = ("train_accuracy", "held_out_accuracy", "train_loss", "held_out_loss")
    return Table(
        f"Mean ± standard deviation over {seeds}",
        [*columns, "training accuracy", "held-out accuracy", "training loss", "held-out loss"],
        [[*cells, *(mean_sd(record[key]) for key in keys)] for cells, record in rows],
    )


def vector(values: Iterable[float]) -> str:
    """Numbers in brackets; no minus in front of zero."""
    return "(" + ", ".join(f"{value + 0.0:.4f}" for value in values) + ")"
