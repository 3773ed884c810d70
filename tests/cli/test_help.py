"""The help of every command: what it says, what it imports; options are fields of settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn import cli, datasets
from fastnn.cli import commands
from fastnn.cli.config import merge
from fastnn.cli.defaults import MOONS
from fastnn.cli.search_settings import SearchSettings
from fastnn.cli.settings import TrainSettings
from fastnn.fields import help_of

GROUPS = {"cnn": ("train", "board", "evaluate", "predict", "export", "compare")}
ALL = [
    (),
    *((name,) for name in commands.COMMANDS),
    *((name, part) for name, parts in GROUPS.items() for part in parts),
]


@pytest.fixture(scope="module")
def helps():
    """The help of every command as 120 columns show it, and what they have all imported."""
    code = f"""
import contextlib, io, json, sys
from fastnn.cli import main
texts = []
for arguments in {[list(arguments) for arguments in ALL]!r}:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*arguments, "--help"]) == 0
    texts.append(out.getvalue())
print(json.dumps([texts, sorted(sys.modules)]))
"""
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    texts, modules = json.loads(done.stdout)
    return dict(zip(ALL, texts, strict=True)), set(modules)


def parameters(arguments):
    """Arguments and options of a command."""
    command = commands.load(arguments[0])
    if len(arguments) > 1:
        command = command.commands[arguments[1]]
    return [param for param in command.params if param.name != "help" and not param.hidden]


def test_help_imports_no_large_library(helps):
    heavy = {"numba", "sklearn", "scipy", "matplotlib", "pandas", "tensorflow", "torch"}
    assert not heavy & helps[1]


def test_help_of_all_commands_imports_none_of_them():
    code = """
import sys
from fastnn.cli import main
assert main(["--help"]) == 0
found = {"numpy", "fastnn.bench", "fastnn.datasets", "fastnn.cli.train"} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("name", ["train", "search"])
def test_help_of_settings_imports_no_numpy(name):
    code = f"""
import sys
from fastnn.cli import main
assert main([{name!r}, "--help"]) == 0
found = {{"numpy", "fastnn.datasets", "fastnn.network.network"}} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_help_shows_every_default_and_no_completion(helps, arguments):
    text = helps[0][arguments]
    assert f"Usage: {' '.join(('fastnn', *arguments))} " in text
    assert "-completion" not in text
    assert "…" not in text  # nothing cut off
    shown = 0
    for param in parameters(arguments) if arguments else []:
        flag = getattr(param, "is_flag", False) and not param.secondary_opts
        if param.required or flag:
            continue
        told = isinstance(param.show_default, str) or param.default is not None
        assert told, param.name
        shown += told
    assert text.count("[default: ") == shown


@pytest.mark.parametrize("arguments", [a for a in ALL if a and a != ("cnn",)], ids=" ".join)
def test_every_command_has_json_and_quiet(helps, arguments):
    options = [line.split("  ")[1] for line in helps[0][arguments].splitlines() if "  -" in line]
    assert "--json" in options
    assert "-q, --quiet" in options


def test_short_forms_are_the_same_in_all_commands():
    options = [
        (param.opts, " ".join(arguments))
        for arguments in ALL
        if arguments and arguments != ("cnn",)
        for param in parameters(arguments)
        if param.opts[0].startswith("-")
    ]
    assert len(options) > 150
    for names, command in options:
        short = [name for name in names if not name.startswith("--")]
        expected = {"--out": ["-o"], "--quiet": ["-q"]}.get(names[0], [])
        assert short == expected, (command, names)


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("cnn", "predict"), "fastnn cnn predict [OPTIONS] MODEL IMAGE..."),
        (("cnn", "export"), "fastnn cnn export [OPTIONS] MODEL [FILE]"),
        (("bench",), "fastnn bench [OPTIONS]"),
        (("export",), "fastnn export [OPTIONS] MODEL [FILE]"),
        ((), "fastnn [OPTIONS] COMMAND [ARGS]..."),
    ],
)
def test_usage_names_the_arguments_that_are_documented(helps, arguments, usage):
    assert helps[0][arguments].splitlines()[0] == f"Usage: {usage}"


@pytest.mark.parametrize(("arguments", "found"), [((), None), (("model",), "classification")])
def test_quiet_info(arguments, found, tmp_path, capsys):
    net = fastnn.Network([2, 3, 2], backend="numpy")
    net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], epochs=1)
    net.save(tmp_path / "a.safetensors")
    paths = [str(tmp_path / "a.safetensors")] * len(arguments)
    assert cli.main(["info", *paths, "--quiet"]) == 0
    if not arguments:
        found = next(
            name for name in fastnn.backends.BACKENDS if name in fastnn.available_backends()
        )
    assert capsys.readouterr().out == f"{found}\n"


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_table_has_the_first_paragraph_of_each_help(name):
    paragraph = commands.load(name).help.split("\n\n")[0]
    assert commands.COMMANDS[name].help == " ".join(paragraph.split())


def test_every_field_of_a_search_is_an_option_with_its_default():
    by_name = {param.name: param for param in parameters(("search",))}
    assert (
        by_name.keys() - {"out", "overwrite", "resume", "as_json", "quiet"}
        == SearchSettings.model_fields.keys()
    )
    for name, value in SearchSettings().model_dump(exclude_none=True).items():
        assert by_name[name].default == value
        assert by_name[name].envvar is None


def test_every_field_is_an_option_and_every_option_a_field():
    by_name = {param.name: param for param in parameters(("train",))}
    own = {"config", "out", "overwrite", "resume", "tensorboard", "plots", "as_json", "quiet"}
    assert by_name.keys() - own == TrainSettings.model_fields.keys()
    for name, field in TrainSettings.model_fields.items():
        param = by_name[name]
        assert field.description
        assert param.help == field.description
        assert param.envvar == (None if name == "data" else f"FASTNN_{name.upper()}")
        if name != "data":
            assert param.opts == [f"--{name.replace('_', '-')}"]
            assert param.rich_help_panel in ("Data", "Network", "Training", "Run", "File")


def test_help_tells_the_defaults_of_a_run():
    for name, value in MOONS.items():
        value = value[0] if isinstance(value, list) else value
        told = help_of(TrainSettings, name).default
        if name == "standardize":
            assert told == "on; off for images and moons"
        elif name != "loss":  # the same for all classes
            text = (
                f"{value:,}"
                if isinstance(value, int)
                else f"{value:g}"
                if isinstance(value, float)
                else value
            )
            assert f"{text} for moons" in told
    settings = merge({"optimizer": "sgd", "early_stopping": True})
    settings = settings.completed(datasets.load("moons"), 200)
    assert settings.patience == 1000  # of 20,000 epochs
    for name in ("momentum", "seed", "backend"):
        assert help_of(TrainSettings, name).default == getattr(settings, name)
    config = fastnn.Network([2, 2, 2], backend="numpy").get_config()
    for name in ("label_smoothing", "quantile", "delta"):
        assert help_of(TrainSettings, name).default == config[name]


def test_group_without_command_prints_its_help(capsys):
    assert cli.main(["cnn"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Usage: fastnn cnn" in out
    assert "compare" in out


def test_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "fastnn.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"fastnn {fastnn.__version__}\n"


def test_nothing_below_imports_the_command_line():
    package = Path(fastnn.__file__).parent
    for path in package.rglob("*.py"):
        if path.parent != package / "cli" and path != package / "__main__.py":
            text = path.read_text()
            assert "fastnn.cli" not in text, path
            assert "fastnn import cli" not in text, path


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("fastnn tr", ["train"]),
        ("fastnn export --t", ["--to"]),
        ("fastnn train --optimizer ada", ["adam", "adamw", "adagrad"]),
        ("fastnn train ir", ["iris", "irrigation.csv"]),
        ("fastnn predict run mo", ["moons"]),
        ("fastnn evaluate run x", []),  # the shell completes names of files
    ],
)
def test_completion(words, answers, tmp_path):
    """As bash asks for it."""
    (tmp_path / "irrigation.csv").touch()
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "fastnn"],
        cwd=tmp_path,
        env=os.environ | asked | {"_FASTNN_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (answers, "")
