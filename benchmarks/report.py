"""Table and chart from the JSON of ``python -m benchmarks``.

``python -m benchmarks.report bench.json`` prints the table.
``python -m benchmarks.report bench.json --write benchmarks/README.md`` writes it between the
markers ``<!-- bench:begin -->`` and ``<!-- bench:end -->`` of that file (``<!-- map:begin -->``
and so on for the JSON of ``--map``). ``--plot FILE`` draws the chart; ``--jobs`` selects jobs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.charts import draw
from benchmarks.outputs import write_table
from benchmarks.tables import markdown, part_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path, help="made by python -m benchmarks --json")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the chart")
    parser.add_argument("--jobs", help="only these, comma-separated")
    arguments = parser.parse_args()
    run = json.loads(arguments.json.read_text(encoding="utf-8"))
    if arguments.jobs:
        run = part_of(run, arguments.jobs.split(","))
    if arguments.plot is not None:
        draw(run).savefig(arguments.plot, dpi=150)
    table = markdown(run)
    if arguments.write is not None:
        write_table(arguments.write, table, "map" if "map" in run else "bench")
    elif arguments.plot is None:
        print(table, end="")


if __name__ == "__main__":
    main()
