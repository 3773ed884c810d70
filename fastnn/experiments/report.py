"""The report: ``results.json``, the figures as files, and a self-contained HTML page."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import fastnn
from fastnn.datasets import write_atomically
from fastnn.experiments.claims import claims, single_run_noise
from fastnn.experiments.result import Result, as_data_uri, plain
from fastnn.extras import require


@dataclass(frozen=True)
class About:
    """Settings and duration of the run, shown at the top and bottom of the report."""

    backend: str
    seeds: int
    quick: bool
    seconds: float


def everything(results: dict[str, Result], about: About) -> dict[str, Any]:
    """Contents of ``results.json``."""
    return plain(
        {
            "fastnn": fastnn.__version__,
            "python": platform.python_version(),
            "settings": asdict(about),
            "experiments": {
                name: {
                    "title": result.title,
                    "setting": result.setting,
                    "data": result.data,
                    "findings": result.findings,
                    "figures": {picture.name: picture.caption for picture in result.pictures},
                }
                for name, result in results.items()
            },
            "single_run_noise": single_run_noise(),
            "claims": [asdict(claim) for claim in claims(results)],
        }
    )


def draw(result: Result, out: Path) -> dict[str, dict[str, str]]:
    """Write the figures of an experiment as PNG and SVG.

    Parameters
    ----------
    result : Result
    out : Path
        An existing folder.

    Returns
    -------
    dict
        For each figure, the data URIs of its wide and its narrow layout as WebP.
    """
    embedded = {}
    for picture in result.pictures:
        svg, png, wide = picture.render("svg", "png", "webp")
        narrow = picture.render("webp", narrow=True)[0]
        write_atomically(out / f"{picture.name}.svg", svg)
        write_atomically(out / f"{picture.name}.png", png)
        embedded[picture.name] = {
            "wide": as_data_uri(wide, "webp"),
            "narrow": as_data_uri(narrow, "webp"),
        }
    return embedded


def write(
    results: dict[str, Result], embedded: dict[str, dict[str, str]], out: Path, about: About
) -> Path:
    """Write ``results.json`` and ``index.html``.

    Parameters
    ----------
    results : dict of Result by name
    embedded : dict
        Combined results of :func:`draw` for all experiments.
    out : Path
        An existing folder.
    about : About

    Returns
    -------
    Path
        Path of the page.
    """
    text = json.dumps(everything(results, about), indent=1, allow_nan=False)
    write_atomically(out / "results.json", (text + "\n").encode())
    page = out / "index.html"
    write_atomically(page, render(results, embedded, about).encode())
    return page


def render(results: dict[str, Result], embedded: dict[str, dict[str, str]], about: About) -> str:
    """Render the HTML page.

    Parameters
    ----------
    results : dict of Result by name
    embedded : dict
        For each figure, the data URIs of its wide and its narrow layout.
    about : About

    Returns
    -------
    str
    """
    jinja2 = require("jinja2", "the report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fastnn.experiments", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        results=results,
        embedded=embedded,
        claims=claims(results),
        about=about,
        version=fastnn.__version__,
        today=date.today().isoformat(),
    )
