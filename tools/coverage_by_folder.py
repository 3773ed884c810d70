"""Coverage of each folder of the package: ``coverage_by_folder.py FILE``, of ``coverage json``.

Statements and branches count alike, as in the report of coverage.py.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import PurePath
from typing import Any


def by_folder(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Numbers of covered and of all statements and branches of each folder, and in total."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, file in report["files"].items():
        parts = PurePath(name.replace("\\", "/")).parts
        inner = parts[len(parts) - 1 - parts[::-1].index("fastnn") :]
        summary = file["summary"]
        covered = summary["covered_lines"] + summary["covered_branches"]
        of = summary["num_statements"] + summary["num_branches"]
        for folder in ("/".join(inner[:-1][:2]), "total"):
            found[folder][0] += covered
            found[folder][1] += of
    return {folder: (covered, of) for folder, (covered, of) in found.items()}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        shares = by_folder(json.load(file))
    for folder, (covered, of) in sorted(shares.items(), key=lambda item: item[0] == "total"):
        print(f"{folder:20} {100 * covered / max(of, 1):6.1f}% of {of:,}")
