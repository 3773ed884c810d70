"""Is the tree ready for a release? One line for each thing that is not; exit code 1.

``python tools/check_release.py`` before tagging, ``--tag v1.2.3`` in the release's workflow, with
``--notes FILE`` the changelog's section of that version is written for its page.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version_of_project() -> str:
    """The version in pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]


def section(version: str) -> tuple[str, str]:
    """Heading and text of a version in the changelog; empty if there is none."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for heading, body in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", text, re.M):
        if heading.split()[0] == version:
            return heading, body.strip()
    return "", ""


def faults(version: str, tag: str | None) -> list[str]:
    """What is wrong."""
    found = []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if "Repository" not in project.get("urls", {}):
        found.append(
            "pyproject.toml: [project.urls] has no Repository, which the links and pictures of "
            "README.md need on the package index"
        )
    package = (ROOT / "fastnn" / "__init__.py").read_text(encoding="utf-8")
    if f'__version__ = "{version}"' not in package:
        found.append(f"fastnn/__init__.py: __version__ is not {version}, as in pyproject.toml")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    if f"\nversion: {version}\n" not in citation:
        found.append(f"CITATION.cff: version is not {version}")
    heading, notes = section(version)
    date = re.fullmatch(rf"{re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)", heading)
    if not notes:
        found.append(f"CHANGELOG.md: there is no section '## {version} (YEAR-MONTH-DAY)'")
    elif date is None:
        found.append(f"CHANGELOG.md: the section '{heading}' has no date")
    elif f"\ndate-released: {date[1]}\n" not in citation:
        found.append(f"CITATION.cff: date-released is not {date[1]}, as in CHANGELOG.md")
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}; the version is {version}")
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    if changed:
        found.append(f"files that are not committed: {' '.join(changed.split()[1::2])}")
    return found


def main() -> int:
    """Print the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag")
    parser.add_argument("--notes", type=Path)
    arguments = parser.parse_args()
    version = version_of_project()
    found = faults(version, arguments.tag)
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{version} can be released")
        if arguments.notes:
            arguments.notes.write_text(section(version)[1] + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
