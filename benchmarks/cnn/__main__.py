"""The convolutional network against other ways to train it, and against dense networks.

``python -m benchmarks.cnn --json cnn.json --plot benchmarks/cnn.png --write benchmarks/README.md``

Five parts: a training step by batch and precision; predictions; what summaries cost; test error
against seconds for the presets of ``fastnn cnn train``, with several seeds; the same for dense
networks on the same images. Every contender has its own process and is timed in turn with the
others, round after round; the median counts. Before that it shows that it computes the same thing:
from the same weights, without dropout, the same loss after three steps. ``--quick`` does little of
everything; ``--load FILE`` makes table and figure of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks.cnn.measuring import Options, measure, measure_curves, quick_options
from benchmarks.cnn.report import draw, markdown
from benchmarks.outputs import write_json, write_table

CURVES = Path(__file__).with_name("curves.json")  # of the published figure


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m benchmarks.cnn", description=__doc__.splitlines()[0])
    add = made.add_argument
    add("--quick", action="store_true", help="little of everything")
    add("--json", type=Path, metavar="FILE", help="write what was measured")
    add("--load", type=Path, metavar="FILE", help="an earlier run's JSON instead")
    add("--curves", action="store_true", help="measure the runs of --load's JSON anew")
    add("--plot", type=Path, metavar="FILE", help="draw test error against seconds")
    add("--write", type=Path, metavar="FILE", help="put the tables into this file")
    add("--data", choices=["mnist", "digits"], default="mnist")
    add("--data-dir", help="folder of MNIST's files")
    add("--batches", help="comma-separated; default: 50,128,256,1024, quick: 50")
    add("--rounds", type=int, help="default: 3, quick: 1")
    add("--seconds", type=float, help="of a round; default: 1, quick: 0.2")
    add("--emulate", action="store_true", help="time bfloat16 without hardware for it too")
    return made


def chosen_options(arguments: argparse.Namespace) -> Options:
    changes = {"data": arguments.data, "data_dir": arguments.data_dir, "emulate": arguments.emulate}
    for name in ("rounds", "seconds"):
        if getattr(arguments, name):
            changes[name] = getattr(arguments, name)
    if arguments.batches:
        changes["batches"] = tuple(int(batch) for batch in arguments.batches.split(","))
    return (quick_options if arguments.quick else Options)(**changes)


def main() -> None:
    parsing = parser()
    arguments = parsing.parse_args()
    if arguments.curves and arguments.load is None:
        parsing.error("--curves needs --load")
    options = chosen_options(arguments)
    if arguments.load is None:
        run = measure(options)
    else:
        run = json.loads(arguments.load.read_text(encoding="utf-8"))
        if arguments.curves:
            measure_curves(options, run)
    if arguments.json is not None:
        write_json(arguments.json, run)
    if arguments.plot is not None:
        draw(run).savefig(arguments.plot, dpi=150)
    tables = markdown(run)
    if arguments.write is None:
        print(tables, end="")
        return
    if arguments.plot is not None:
        write_json(CURVES, {key: run[key] for key in ("machine", "quick", "curves")})
        place = Path(os.path.relpath(arguments.plot, arguments.write.parent)).as_posix()
        tables += f"\n![Test error against seconds of training]({place})\n"
    write_table(arguments.write, tables, "cnn")


if __name__ == "__main__":
    main()
