"""Results of an experiment: numbers, tables, figures and findings in words."""

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

# Resolution of the figures in the page, chosen so that the whole report has at most 1.5 MB.
WIDE_DPI, NARROW_DPI = 130, 115


@dataclass(frozen=True)
class Picture:
    """A figure, drawn on demand.

    Attributes
    ----------
    name : str
        Stem of the file names.
    caption : str
        Caption below the figure.
    alt : str
        Alternative text.
    draw : callable
        ``draw(narrow)`` returns the Matplotlib figure; narrow is the layout for a phone.

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
        """Draw the figure with Matplotlib.

        Examples
        --------
        >>> from fastnn import experiments
        >>> picture = experiments.data().pictures[0]
        >>> picture.figure(narrow=True).savefig("data.png")
        """
        with drawing():
            return self.draw(narrow)

    def render(self, *kinds: str, narrow: bool = False) -> list[bytes]:
        """Draw the figure once and render it in one or several formats.

        Parameters
        ----------
        *kinds : {"svg", "png", "webp"}
            Formats. WebP is small and is used in the self-contained page.
        narrow : bool, default=False
            Whether to use the layout for narrow screens.

        Returns
        -------
        list of bytes
            Contents of one file per format.

        Examples
        --------
        >>> from fastnn import experiments
        >>> picture = experiments.data().pictures[0]
        >>> svg, png = picture.render("svg", "png")
        >>> png[1:4]
        b'PNG'
        """
        files = []
        with drawing():
            figure = self.draw(narrow)
            for kind in kinds:
                if kind == "webp":
                    files.append(_as_webp(figure, NARROW_DPI if narrow else WIDE_DPI))
                    continue
                buffer = io.BytesIO()
                # Without the date, so that equal numbers give identical files.
                figure.savefig(
                    buffer, format=kind, metadata={"Date": None} if kind == "svg" else {}
                )
                # Do not repeat the layout for the other formats.
                figure.set_layout_engine("none")
                files.append(buffer.getvalue())
        return files

    def data_uri(self, narrow: bool = False) -> str:
        """The figure as an SVG in a data URI.

        Examples
        --------
        >>> from fastnn import experiments
        >>> picture = experiments.data().pictures[0]
        >>> picture.data_uri()[:19]
        'data:image/svg+xml;'
        """
        return as_data_uri(self.render("svg", narrow=narrow)[0], "svg+xml")


def _as_webp(figure: Figure, dpi: float) -> bytes:
    """Render a figure as WebP, which is several times smaller than SVG."""
    from PIL import Image  # a dependency of Matplotlib

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})  # not stored
    files = []
    with Image.open(png) as image:
        colours = image.convert("RGB")
    # Lines and text are smaller with lossless compression, gradients with lossy compression.
    for options in ({"lossless": True, "method": 2}, {"quality": 70}):
        file = io.BytesIO()
        colours.save(file, "webp", **options)
        files.append(file.getvalue())
    return min(files, key=len)


def as_data_uri(contents: bytes, kind: str) -> str:
    """Encode the bytes of an image as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode()}"


@dataclass(frozen=True)
class Table:
    """A table of the report, with text in its cells.

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
    """Result of an experiment.

    Attributes
    ----------
    name, title : str
    setting : str
        Description of the experiment in a sentence or two.
    data : dict
        All numbers; :func:`plain` converts them to JSON-serializable data.
    pictures : list of Picture
    tables : list of Table
    findings : list of str
        Conclusions from the numbers, as sentences.

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
        """HTML representation for notebooks."""
        parts = [f"<h3>{html.escape(self.title)}</h3><p>{html.escape(self.setting)}</p>"]
        for picture in self.pictures:
            parts.append(
                f'<img src="{picture.data_uri()}" alt="{html.escape(picture.alt)}" '
                f'style="max-width:100%;background:#fff">'
            )
        parts += [f"<p>{html.escape(sentence)}</p>" for sentence in self.findings]
        return "".join(parts)


def plain(value: Any) -> Any:
    """Convert a value to plain Python types for JSON; non-finite floats become strings.

    Parameters
    ----------
    value : dict, sequence, ndarray, number, str or None

    Returns
    -------
    dict, list, number, str or None
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
    """Mean, standard deviation, standard error, and the values themselves."""
    array = np.asarray(values, np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return {
        "mean": float(array.mean()),
        "sd": deviation,
        "se": deviation / math.sqrt(len(array)),
        "values": array.tolist(),
    }


def mean_sd(record: dict[str, Any], digits: int = 4) -> str:
    """Format a summary as "mean ± standard deviation"."""
    return f"{record['mean']:.{digits}f} ± {record['sd']:.{digits}f}"


def means_table(
    columns: Sequence[str], rows: Iterable[tuple[Sequence[str], dict[str, Any]]], seeds: str
) -> Table:
    """Table of means and standard deviations of training and held-out accuracy and loss.

    Parameters
    ----------
    columns : sequence of str
        Headers of additional columns on the left.
    rows : iterable of (cells, record)
        Cells of those columns; summaries of the measured quantities by name.
    seeds : str
        Number of seeds as text, for the title.

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
    """Format numbers in parentheses; negative zero is written without a sign."""
    return "(" + ", ".join(f"{value + 0.0:.4f}" for value in values) + ")"
