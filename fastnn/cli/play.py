"""``fastnn play``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastnn.cli.options import option


def command(
    port: Annotated[
        int, option("--port", "Port of the page; 0 takes any that is free.", min=0, max=65535)
    ] = 8765,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Open a page on which a small network is trained anew while you drag a slider."""
    from fastnn.play.server import serve

    serve(port, browser, lambda url: typer.echo(f"fastnn play: {url} (Ctrl-C stops it)"))
