"""Three activations on the two moons: numbers, what they say, and the figures.

Run it as a script, or paste it into a notebook, where the last line of a cell
shows ``result`` with its figures.

    python examples/moons_by_activation.py [FOLDER] [--quick]
"""

import sys
from pathlib import Path

from fastnn import experiments

quick = "--quick" in sys.argv
folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]

result = experiments.activations(seeds=1 if quick else 4, epochs=1_200 if quick else 20_000)

for name, record in result.data["activations"].items():
    accuracy = record["held_out_accuracy"]
    print(f"{name:8} held-out accuracy {accuracy['mean']:.4f} ± {accuracy['sd']:.4f}")
for sentence in result.findings:
    print("-", sentence)

if folders:
    folder = Path(folders[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in result.figures.items():
        figure.savefig(folder / f"{name}.png")
        print("wrote", folder / f"{name}.png")
