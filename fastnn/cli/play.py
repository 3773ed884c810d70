"""``fastnn play``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastnn.cli.options import JsonFlag, QuietFlag, option
from fastnn.cli.output import print_address


def command(
    port: Annotated[
        int, option("--port", "Port of the server; 0 for any free one.", min=0, max=65535)
    ] = 8765,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Open an interactive page that retrains a small network with every change of a slider."""
    from fastnn.play.server import serve

    serve(port, browser, lambda url: print_address("fastnn play", url, as_json, quiet))
