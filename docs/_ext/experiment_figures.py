"""Pictures of the experiments for sphinx-gallery: their figures are not pyplot's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sphinx_gallery.scrapers import figure_rst


def _scrape(block: tuple, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that a block has put into a dict called ``figures``."""
    figures = block_vars["example_globals"].pop("figures", None)
    if not figures:
        return ""
    parts = []
    for figure, path in zip(figures.values(), block_vars["image_path_iterator"]):  # noqa: B905
        figure.savefig(path, dpi=110)
        parts.append(figure_rst([path], gallery_conf["src_dir"]))
    return "\n".join(parts)


def _get_sg_image_scraper() -> Callable:
    return _scrape
