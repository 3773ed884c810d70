"""Redraw the charts of README.md from its tables: ``python -m benchmarks.published``.

For changes of the appearance of charts, which need no new measurements. The tables have three
digits, more than a chart can show. The curves of cnn.png are in ``cnn/curves.json``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.charts import draw
from benchmarks.cnn import report
from benchmarks.cnn.__main__ import CURVES
from benchmarks.tables import part_of
from benchmarks.waits.__main__ import draw_ratios

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"
SPEED = ("moons", "circles", "expm", "mlp")  # jobs in the chart of the first page


def section(text: str, name: str) -> tuple[list[list[str]], str]:
    """Cells of the table between two markers, and the text below it."""
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text, re.S)
    if found is None:
        raise ValueError(f"no table {name!r}")
    table, _, rest = found[1].partition("\n\n")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    return [rows[0], *rows[2:]], rest


def _machine(rest: str) -> dict[str, Any]:
    found = re.search(r"^- (.*?), (\d+) cores", rest, re.M)
    if found is None:
        raise ValueError("the machine is not named")
    return {"cpu": found[1], "usable_cores": int(found[2])}


def _number(text: str) -> float | None:
    text = text.strip("*×").replace(",", "")
    return float(text) if text else None


def jobs_run(text: str) -> dict[str, Any]:
    """The parts of a run that the chart of the jobs needs."""
    (_, *jobs), *rows = section(text, "bench")[0]
    rest = section(text, "bench")[1]
    contenders: dict[str, dict[str, Any]] = {}
    results, best = [], {}
    for title, *cells in rows:
        if title.endswith("/ best peer") or title.startswith("floor"):
            continue
        ours = title.startswith("fastnn ")
        name = title.removeprefix("fastnn ").replace(", ", "-") if ours else title
        contenders[name] = {"title": title, "peer": not ours}
        for job, cell in zip(jobs, cells, strict=True):
            if cell.startswith("**"):
                best[job] = name
            time = _number(cell)
            if time is not None:
                results.append(
                    {"job": job, "contender": name, "us_per_step": time, "peer": not ours}
                )
    described = dict(re.findall(r"^- ([\w-]+): (.*)$", rest, re.M))
    return {
        "machine": _machine(rest),
        "jobs": {job: {"description": described[job]} for job in jobs},
        "contenders": contenders,
        "results": results,
        "ratios": {job: {"best_peer": best.get(job)} for job in jobs},
    }


def map_run(text: str) -> dict[str, Any]:
    """The parts of a run that the chart of the map needs."""
    (head, *rows), rest = section(text, "map")
    cells = []
    for title, *row in rows:
        layers, batch = title.split(", ")
        for width, cell in zip(head[1:], row, strict=True):
            fastest, _, ratio = cell.partition(" ")
            cells.append(
                {
                    "hidden_layers": int(layers),
                    "batch": batch,
                    "width": int(width),
                    "fastest": fastest or None,
                    "ratio": _number(ratio),
                }
            )
    names = {cell["fastest"] for cell in cells if cell["fastest"]}
    ours = {"cython", "numba", "numpy"}
    titles = {name: {"title": f"fastnn {name}" if name in ours else name} for name in names}
    return {"machine": _machine(rest), "map": cells, "contenders": titles}


def waits_ratios(text: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Speed relative to the fastest other library, by case; and the machine."""
    (_, *rows), rest = section(text, "waits")
    found = {row[0]: _number(row[-1]) for row in rows}
    return {case: ratio for case, ratio in found.items() if ratio is not None}, _machine(rest)


def main() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    run = jobs_run(text)
    draw(run).savefig(HERE / "jobs.png", dpi=150)
    draw(part_of(run, SPEED)).savefig(IMAGES / "speed.png", dpi=150)
    draw(map_run(text)).savefig(HERE / "map.png", dpi=150)
    curves = json.loads(CURVES.read_text(encoding="utf-8"))
    report.draw(curves).savefig(HERE / "cnn.png", dpi=150)
    draw_ratios(*waits_ratios(text), HERE / "waits.png")


if __name__ == "__main__":
    main()
