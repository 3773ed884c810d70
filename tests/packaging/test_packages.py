"""What describes the project in several places says the same everywhere; the archives are whole."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def test_conda_recipe_has_the_same_requirements():
    recipe = (ROOT / "tools" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    section = recipe.split("  run:\n", 1)[1].split("\ntests:")[0]
    run, constraints = section.split("  run_constraints:\n")
    listed = re.compile(r"^    - (\S+) (\S+)$", re.M)
    hard = {Requirement(text) for text in PROJECT["dependencies"]}
    assert dict(listed.findall(run)) == {one.name: str(one.specifier) for one in hard}
    extras = PROJECT["optional-dependencies"]
    optional = {
        one.name: ",".join(sorted(str(one.specifier).split(","), reverse=True))
        for extra in ("numba", "plots", "download", "experiments")
        for one in map(Requirement, extras[extra])
        if one.name != PROJECT["name"]
    }
    optional["matplotlib-base"] = optional.pop("matplotlib")
    assert dict(listed.findall(constraints)) == optional
    assert f'version: "{PROJECT["version"]}"' in recipe


def test_versions_of_python():
    declared = re.findall(r"Python :: 3\.(\d+)", "\n".join(PROJECT["classifiers"]))
    assert PROJECT["requires-python"] == f">=3.{declared[0]}"
    assert PYPROJECT["tool"]["cibuildwheel"]["build"] == " ".join(f"cp3{v}-*" for v in declared)
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py3{declared[0]}"


def test_every_extra_is_documented():
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for extra in PROJECT["optional-dependencies"]:
        assert f"`{extra}`" in text, extra


def test_targets_of_the_workflows_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    used = set()
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        for line in re.findall(r"- run: make (.+)", workflow.read_text(encoding="utf-8")):
            used |= set(line.split())
    if not used:
        pytest.skip("a source distribution has no workflows")
    assert used - {"docs"} <= targets


def test_actions_of_the_workflows_are_pinned():
    """A tag or a branch of an action can be moved; a commit cannot. Its version is a comment."""
    used = [
        line.strip()
        for workflow in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in workflow.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(- )?uses: (?!\./)", line)
    ]
    if not used:
        pytest.skip("a source distribution has no workflows")
    pinned = re.compile(r"(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in used if not pinned.fullmatch(line)] == []
    assert len({line.split("@")[1] for line in used}) == len(
        {re.split("[ @]", line.split("uses: ")[1])[0] for line in used}
    )  # one version of each


@pytest.fixture
def release(tmp_path):
    """The check of releases, over a small tree of its own."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "fastnn").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nversion = "1.2.0"\nurls = {Repository = "https://example.org/fastnn"}\n'
    )
    (tmp_path / "fastnn" / "__init__.py").write_text('__version__ = "1.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("a: b\nversion: 1.2.0\ndate-released: 2026-12-01\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 1.2.0 (2026-12-01)\n\n- One.\n- Two.\n\n## 1.1.0 (2026-11-01)\n"
    )
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)

    def run(*arguments):
        command = [sys.executable, "tools/check_release.py", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr.splitlines()

    return tmp_path, run


def test_release_that_is_ready(release):
    folder, run = release
    assert run() == (0, [])
    assert run("--tag", "v1.2.0", "--notes", "notes.md") == (0, [])
    assert (folder / "notes.md").read_text() == "- One.\n- Two.\n"


@pytest.mark.parametrize(
    ("file", "before", "after", "fault"),
    [
        ("fastnn/__init__.py", "1.2.0", "1.1.0", "fastnn/__init__.py: __version__ is not 1.2.0"),
        ("pyproject.toml", "Repository", "Homepage", "[project.urls] has no Repository"),
        ("CITATION.cff", "1.2.0", "1.1.0", "CITATION.cff: version is not 1.2.0"),
        ("CITATION.cff", "12-01", "12-02", "CITATION.cff: date-released is not 2026-12-01"),
        ("CHANGELOG.md", "2026-12-01", "not released", "'1.2.0 (not released)' has no date"),
        ("CHANGELOG.md", "## 1.2.0", "## 1.3.0", "there is no section '## 1.2.0"),
    ],
)
def test_release_that_is_not_ready(release, file, before, after, fault):
    folder, run = release
    path = folder / file
    path.write_text(path.read_text().replace(before, after))
    code, lines = run()
    assert code == 1
    assert [line for line in lines if fault in line]
    assert lines[-1] == f"files that are not committed: {file}"
    assert len(lines) == 2


def test_links_of_the_page_on_an_index():
    for_index = runpy.run_path(str(ROOT / "tools" / "readme.py"))["for_index"]
    text = "[a](docs/a.md#b) ![c](docs/c.png) [d](https://example.org/d) [e](#e) [f](examples)"
    assert for_index(text, None, "1.2.0") == text
    assert for_index(text, "https://example.org/x/", "1.2.0") == (
        "[a](https://example.org/x/blob/v1.2.0/docs/a.md#b) "
        "![c](https://example.org/x/raw/v1.2.0/docs/c.png) [d](https://example.org/d) [e](#e) "
        "[f](https://example.org/x/blob/v1.2.0/examples)"
    )
    readme = for_index((ROOT / "README.md").read_text(), "https://example.org/x", "1.2.0")
    assert re.findall(r"\]\((?!https://|#)", readme) == []


def test_tag_of_another_version(release):
    assert release[1]("--tag", "v1.1.0") == (1, ["the tag is v1.1.0; the version is 1.2.0"])


def test_smoke_test(capsys):
    runpy.run_path(str(ROOT / "tools" / "smoke.py"), run_name="__main__")
    assert capsys.readouterr().out.endswith("works\n")


@pytest.mark.slow
def test_source_distribution_has_every_file(tmp_path):
    """Of git, other than those that are of use there only."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]
    for name in names:
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", "archives"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (archive,) = (tmp_path / "archives").iterdir()
    with tarfile.open(archive) as file:
        packed = {name.partition("/")[2] for name in file.getnames()}
    assert [n for n in names if n not in packed and not n.startswith((".ci", ".git"))] == []
    assert [n for n in packed if n.endswith((".so", ".pyc"))] == []


@pytest.mark.slow
def test_types_for_users(tmp_path):
    """A type checker finds the annotations of the package, and the mistake."""
    assert (ROOT / "fastnn" / "py.typed").exists()
    (tmp_path / "use.py").write_text(
        "import numpy as np\n"
        "import fastnn\n"
        "net = fastnn.Network([2, 3, 2], activation='tanh', random_state=0)\n"
        "history = net.fit([[0.0, 1.0]], [0], optimizer=fastnn.Adam(0.01), epochs=2)\n"
        "last: float = history.seconds\n"
        "histories = fastnn.fit_many([net, net], [[0.0, 1.0]], [0], epochs=2)\n"
        "final: list[float] = [one.loss[-1] for one in histories]\n"
        "proba: np.ndarray = fastnn.Ensemble([net]).predict_proba([[0.0, 1.0]])\n"
        "model = fastnn.MLPClassifier((8,)).fit([[0.0, 1.0]], [0])\n"
        "labels: np.ndarray = model.predict([[0.0, 1.0]])\n"
        "tape = net.forward(np.zeros((1, 2)))\n"
        "gradient: np.ndarray = tape.backward(tape.outputs)\n"
        "fastnn.Network([2, 3, 2], l2='strong')\n"
    )
    mypy = [sys.executable, "-m", "mypy"]
    done = subprocess.run(
        [*mypy, "--no-incremental", "--follow-imports=silent", "use.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},  # an editable installation may hide it
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Found 1 error in 1 file" in done.stdout, done.stdout + done.stderr
    assert 'use.py:13: error: Argument "l2" to "Network" has incompatible type "str"' in done.stdout
