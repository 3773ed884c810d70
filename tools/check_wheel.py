"""Install a wheel into an empty environment without a compiler, and test it there.

``python tools/check_wheel.py dist/NAME.whl``. With ``--no-extension``, for a source distribution,
what is tested is that it installs without a compiler and says what it lacks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Every kernel at every vector level, short trainings, model files, the command's first steps.
TESTS = (
    "tests/backends/test_network_kernels.py",
    "tests/backends/test_updates.py",
    "tests/storage/test_old_files.py",
)
# Bytecode is compiled for what is imported, not for all of scikit-learn and SciPy.
INSTALL = ("-m", "pip", "install", "--quiet", "--no-compile")
TEST_REQUIREMENTS = ("pytest", "hypothesis")
COMPILERS = ("cc", "gcc", "clang", "c++", "g++", "cl")


def environment(folder: Path) -> dict[str, str]:
    """Variables of a process that finds the empty environment's programs and no others."""
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    kept = {
        name: os.environ[name] for name in ("SYSTEMROOT", "TMPDIR", "TEMP") if name in os.environ
    }
    kept |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    found = [name for name in COMPILERS if shutil.which(name, path=str(programs))]
    assert not found, f"there are compilers in a new environment: {found}"
    return kept | {"PATH": str(programs), "HOME": str(folder), "CC": "no-compiler-here"}


def main() -> None:
    """Install and test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--no-extension", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "environment")
        venv.create(folder, with_pip=True)
        variables = environment(folder)
        python = str(
            next(folder.glob("bin/python")) if os.name != "nt" else folder / "Scripts/python"
        )

        def run(*command: str, cwd: Path = Path(temporary)) -> str:
            """The output of a command in the environment; it must end well."""
            done = subprocess.run(
                [python, *command],
                cwd=cwd,
                env=variables,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            sys.stdout.write(done.stdout)
            sys.stdout.flush()
            if done.returncode:
                sys.exit(f"failed: {' '.join(command)}")
            return done.stdout

        run(*INSTALL, "--no-cache-dir", str(arguments.archive.resolve()))
        if arguments.no_extension:
            check_without_extension(run)
            return
        run("-P", str(ROOT / "tools" / "smoke.py"))
        run(*INSTALL, *TEST_REQUIREMENTS)
        # the tests apart from the sources, which would be imported instead
        shutil.copytree(ROOT / "tests", Path(temporary, "tests"))
        shutil.copy(ROOT / "pyproject.toml", temporary)
        run(
            "-P",
            "-m",
            "pytest",
            "-q",
            "-o",
            "pythonpath=tests",
            "-m",
            "not slow",
            "-k",
            "not numba",
            *TESTS,
        )


def check_without_extension(run) -> None:  # noqa: ANN001
    """NumPy's kernels train, and one line says what is missing and how to get it."""
    output = run("-m", "fastnn", "train", "--epochs", "50")
    lines = [line for line in output.splitlines() if "no compiled backend" in line]
    assert len(lines) == 1, output
    assert 'pip install "fastnn-cpu[numba]"' in lines[0]
    output = run("-m", "fastnn", "info")
    assert "the compiled extension is not installed" in output


if __name__ == "__main__":
    main()
