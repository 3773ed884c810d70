"""Tables of the jobs and of the map from the JSON of a run, as Markdown and in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.jobs import MAP_WIDTHS
from benchmarks.machine import in_words
from benchmarks.measuring import timed_entries
from benchmarks.outputs import markdown_table
from fastnn.bench import number

if TYPE_CHECKING:
    from rich.table import Table


def part_of(run: dict[str, Any], jobs: Sequence[str]) -> dict[str, Any]:
    """Select some jobs of a run."""
    return {
        **run,
        "jobs": {job: run["jobs"][job] for job in jobs},
        "results": [entry for entry in run["results"] if entry["job"] in jobs],
    }


def rows_of_table(run: dict[str, Any]) -> Iterator[tuple[str, str, list[str], list[bool]]]:
    """Yield rows of the table: kind, title, cells, and for each cell whether it is the best peer.

    Kinds are "backend" and "peer" (microseconds per step), "ratio" (speed relative to the best
    peer), and "floor".
    """
    jobs = list(run["jobs"])
    failed = {(e["job"], e["contender"]) for e in run["results"] if "error" in e}
    for kind in ("backend", "peer"):
        for name, contender in run["contenders"].items():
            if contender["peer"] != (kind == "peer"):
                continue
            cells, best = [], []
            for job in jobs:
                entry = timed_entries(run["results"], job).get(name)
                missing = "failed" if (job, name) in failed else ""
                cells.append(number(entry["us_per_step"]) if entry else missing)
                best.append(run["ratios"].get(job, {}).get("best_peer") == name)
            yield kind, contender["title"], cells, best
    for name, contender in run["contenders"].items():
        values = [run["ratios"].get(job, {}).get("backends", {}).get(name) for job in jobs]
        if any(value is not None for value in values):
            cells = [number(v) + "×" if v is not None else "" for v in values]
            yield "ratio", f"{contender['title']} / best peer", cells, [False] * len(jobs)
    floors = [number(run["jobs"][job]["floor"].get("sum_us")) for job in jobs]
    yield "floor", "floor (arithmetic + memory)", floors, [False] * len(jobs)


def remarks(run: dict[str, Any]) -> list[str]:
    """Machine, missing peers and failures, one line each."""
    facts = run["machine"]
    level = facts["vector_level"] or "not built"
    lines = [f"{in_words(facts)}; vector level of the extension: {level}"]
    if "gemm_gflops" in facts:
        peak, copy = facts["gemm_gflops"]["float32"], facts["copy_gbytes"]
        lines.append(
            f"measured: {peak['all_cores']:.0f} GFLOP/s in float32 matrix products "
            f"({peak['one_core']:.0f} on one core), {copy['all_cores']:.1f} GB/s copying "
            f"({copy['one_core']:.1f} on one core)"
        )
    lines += [f"missing: {name}, {reason}" for name, reason in run["missing"].items()]
    for entry in run["results"]:
        if "error" in entry:
            lines.append(f"failed: {entry['contender']} at {entry['job']}: {entry['error']}")
    sources = {e["data"] for e in run["results"] if e.get("data", "").startswith("random in")}
    return [*lines, *(f"data: {source}" for source in sorted(sources))]


def markdown(run: dict[str, Any]) -> str:
    """The table for a README, from the JSON of a run."""
    if "map" in run:
        head = ["hidden layers, batch", *map(str, MAP_WIDTHS)]
        body = [[title, *cells] for title, cells in _map_rows(run)]
    else:
        head = ["µs per step", *run["jobs"]]
        body = [
            [title, *(f"**{c}**" if b else c for c, b in zip(cells, best, strict=True))]
            for _, title, cells, best in rows_of_table(run)
        ]
    lines = [f"- {remark}" for remark in remarks(run)]
    if "map" not in run:
        lines += [f"- {name}: {job['description']}" for name, job in run["jobs"].items()]
    return markdown_table(head, body) + "\n" + "\n".join(lines) + "\n"


def _map_rows(run: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield rows by depth and batch; cells by width: fastest contender, best backend's ratio."""
    cells = {(c["hidden_layers"], c["batch"], c["width"]): c for c in run["map"]}
    for depth, batch in dict.fromkeys((c["hidden_layers"], c["batch"]) for c in run["map"]):
        row = []
        for width in MAP_WIDTHS:
            cell = cells.get((depth, batch, width))
            if cell is None or cell["fastest"] is None:
                row.append("")
                continue
            ratio = f" {number(cell['ratio'])}×" if cell["ratio"] else ""
            row.append(cell["fastest"] + ratio)
        yield f"{depth}, {batch}", row


def show(run: dict[str, Any]) -> None:
    """Print the table and remarks."""
    from rich.console import Console

    console = Console()
    if "map" in run:
        console.print(_map_in_terminal(run))
    else:
        jobs = list(run["jobs"])
        at_once = max(1, (console.width - 40) // 13)  # number of columns that fit the terminal
        for first in range(0, len(jobs), at_once):
            console.print(_jobs_in_terminal(part_of(run, jobs[first : first + at_once])))
    for remark in remarks(run):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)


def _map_in_terminal(run: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("width", title="fastest, and the best backend's ratio to the best peer")
    rows = list(_map_rows(run))
    for title, _ in rows:
        table.add_column(f"layers, batch: {title}", justify="right")
    for k, width in enumerate(MAP_WIDTHS):
        if any(cells[k] for _, cells in rows):
            table.add_row(str(width), *(cells[k] for _, cells in rows))
    return table


def _jobs_in_terminal(run: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("microseconds per step", title="the best peer of each job is bold")
    for job in run["jobs"]:
        table.add_column(job, justify="right", no_wrap=True)
    before = None
    for kind, title, cells, best in rows_of_table(run):
        if not any(cells):
            continue
        if before not in (None, kind):
            table.add_section()
        before = kind
        marked = [f"[bold]{c}[/bold]" if b else c for c, b in zip(cells, best, strict=True)]
        style = {"backend": "cyan", "ratio": "cyan", "floor": "dim"}.get(kind)
        table.add_row(title, *marked, style=style)
    return table
