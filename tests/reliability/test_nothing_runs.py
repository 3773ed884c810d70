"""No file runs code, steers a terminal or a page, and no server is open to the network."""

import ast
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.cli import main

SOURCE = Path(fastnn.__file__).parent
FILES = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}

# Functions that run what they are given, by name; methods of the same name are others.
RUN = {"eval", "exec", "compile", "__import__", "execfile", "input"}
# Modules whose readers run code, and attributes that do.
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "yaml"}
METHODS = {
    *("load_model", "model_from_json", "model_from_config", "from_pretrained", "deserialize"),
    *("deserialize_keras_object", "enable_unsafe_deserialization", "unpickle"),
}
# Readers of safe formats, which have the same name as others that unpickle.
LOADERS = {
    ("cli/rows.py", "np.load"),  # with allow_pickle=False, as is asked for below
}
UNPICKLING = (
    "os.system",
    "os.popen",
    "np.load",
    "numpy.load",
    "joblib.load",
    "torch.load",
    "pandas.read_pickle",
)


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call, name):
    """The constant that a call passes by name."""
    return [
        word.value.value
        for word in call.keywords
        if word.arg == name and isinstance(word.value, ast.Constant)
    ]


def faults(name, text):
    """What a source file has that a file of a user must not reach."""
    tree, found = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"import {each.name}" for each in node.names if _root(each.name) in MODULES]
        elif isinstance(node, ast.ImportFrom) and _root(node.module or "") in MODULES:
            found.append(f"from {node.module}")
    for call in calls(tree):
        called = ast.unparse(call.func)
        by_name = isinstance(call.func, ast.Name) and call.func.id in RUN
        by_method = isinstance(call.func, ast.Attribute) and call.func.attr in METHODS
        if by_name or by_method or (called in UNPICKLING and (name, called) not in LOADERS):
            found.append(called)
        if called in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != [False]:
            found.append(f"{called} without allow_pickle=False")
        if True in keyword(call, "allow_pickle") + keyword(call, "shell"):
            found.append(f"{called}(allow_pickle or shell)")
        if False in keyword(call, "safe_mode") + keyword(call, "weights_only"):
            found.append(f"{called} of unsafe files")
        if False in keyword(call, "autoescape"):
            found.append(f"{called} without escapes")
    return found


def _root(module):
    return module.split(".")[0]


def of_all_files(look):
    """What is found in the package, by file."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    return {name: found for name, text in texts.items() if (found := look(name, text))}


def test_no_source_file_runs_or_unpickles():
    assert len(FILES) > 100
    assert of_all_files(faults) == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import torch, dill.source",
        "eval(x)",
        "exec('a')",
        "__import__('os')",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "joblib.load(path)",
        "torch.load(path, weights_only=False)",
        "keras.models.load_model(path)",
        "keras.saving.deserialize_keras_object(x)",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "jinja2.Environment(autoescape=False)",
    ],
)
def test_the_walk_finds(text):
    assert faults("some.py", text)


# --- servers ------------------------------------------------------------------------

OPEN = {"0.0.0.0", "::", "*"}


def open_to_all(text):
    """Addresses in a source file that are those of every network, and servers without one."""
    tree, found = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in OPEN and node.value != "*":
            found.append(node.value)
    for call in calls(tree):
        called = ast.unparse(call.func).split(".")[-1]
        if called.endswith(("Server", "create_server", "start_server", "bind")) and call.args:
            address = call.args[0]
            if isinstance(address, ast.Tuple) and ast.unparse(address.elts[0]) in ("''", "'*'"):
                found.append(ast.unparse(call))
        if "--bind_all" in ast.unparse(call):
            found.append("--bind_all")
    return found


def test_servers_listen_on_this_machine_only():
    assert of_all_files(lambda name, text: open_to_all(text)) == {}


def test_the_address_of_the_board():
    text = FILES["cnn/board.py"].read_text(encoding="utf-8")
    assert 'HOST = "127.0.0.1"' in text
    assert '"--host", HOST' in text


@pytest.mark.parametrize(
    "text",
    [
        "HTTPServer(('', 80), Handler)",
        "host = '0.0.0.0'",
        "socket.bind(('', 1))",
        "arguments = list(['--bind_all'])",
    ],
)
def test_open_servers_would_be_found(text):
    assert open_to_all(text)


# --- names that are markup ----------------------------------------------------------

NASTY = ("[red]<script>alert(1)</script>", "[/] $\\bad{$ \x1b[31m")
COLUMNS = ("[/bold]<script>alert(1)</script>", "$\\frac{$")


@pytest.fixture
def nasty_file(tmp_path):
    """Columns and classes with markup of terminals, HTML and TeX."""
    rng = np.random.default_rng(0)
    rows = [f'"{COLUMNS[0]}","{COLUMNS[1]}",class']
    rows += [f'{a:.3f},{b:.3f},"{NASTY[int(a > 0)]}"' for a, b in rng.normal(size=(80, 2))]
    path = tmp_path / "nasty.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.filterwarnings("ignore:Glyph")  # no font has a picture of ESC
def test_names_in_the_terminal_and_in_pictures(nasty_file, tmp_path, monkeypatch, capsys, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    run = str(tmp_path / "run")
    train = ["train", str(nasty_file), "--target", "class", "--epochs", "5", "--out", run]
    for arguments in (train, ["evaluate", run], ["plot", run], ["info"]):
        assert main(arguments) == 0, arguments
        out, err = capsys.readouterr()
        assert "\x1b[31m" not in out + err, arguments
    assert (tmp_path / "run" / "decision_boundary.png").stat().st_size > 1000


def test_search_with_such_names(nasty_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    options = ["--trials", "2", "--epochs", "2", "--folds", "2", "--out", str(tmp_path / "search")]
    assert main(["search", str(nasty_file), "--target", "class", *options]) == 0
    assert "\x1b[31m" not in capsys.readouterr().out


def test_control_characters_are_shown():
    from fastnn.cli.output import escape_control_characters

    assert (
        escape_control_characters("a\x1b[31mb\x07\u202ec\td\u00e9")
        == r"a\x1b[31mb\x07\u202ec" + "\td\u00e9"
    )


def test_class_names_in_a_legend():
    """A dollar is no formula and an underscore hides nothing."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    from fastnn.plots import decision_boundary

    data = fastnn.datasets.load("moons")
    names = np.array(["_hidden $x", "$\\frac{$"])[data.y]
    net = fastnn.Network([2, 2], backend="numpy", random_state=0)
    net.fit(data.X, names, epochs=1)
    ax = decision_boundary(net, data.X, names, feature_names=["$a$", "b$"], title="$c")
    ax.figure.canvas.draw()
    shown = [text.get_text().strip() for text in ax.get_legend().get_texts()]
    assert shown == ["$\\frac{$", "_hidden $x"]
    assert not ax.xaxis.label.get_parse_math()
    pyplot.close(ax.figure)


def test_names_in_the_report():
    """Findings and captions of the experiments' page, should one have a name in it."""
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fastnn.experiments", "templates"), autoescape=True
    )
    source, _, _ = environment.loader.get_source(environment, "report.html.j2")
    safe = [line.strip() for line in source.splitlines() if "safe" in line and "|" in line]
    assert safe == []  # nothing is marked as needing no escapes


def test_names_on_the_page_of_an_estimator():
    """What a notebook shows of a fitted estimator."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(20, 2)), columns=COLUMNS)
    model = fastnn.MLPClassifier(
        (2,), solver="lbfgs", max_iter=500, alpha=1.0, backend="numpy", random_state=0
    )
    page = model.fit(frame, np.array(NASTY)[np.arange(20) % 2])._repr_html_()
    assert "<script>alert" not in page
