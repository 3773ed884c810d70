"""README.md as a package index shows it, where links into the repository must be absolute.

setup.py calls it with ``Repository`` of ``[project.urls]``; without that, README.md stays as it is.
"""

from __future__ import annotations

import re

LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)\)")
PICTURES = (".png", ".svg", ".webp")


def for_index(text: str, repository: str | None, version: str) -> str:
    """Make links and pictures absolute: those of the version's tag in the repository."""
    if not repository:
        return text

    def link(match: re.Match) -> str:
        path = match[1]
        kind = "raw" if path.endswith(PICTURES) else "blob"
        return f"]({repository.rstrip('/')}/{kind}/v{version}/{path})"

    return LINK.sub(link, text)
