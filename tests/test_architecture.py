"""Arrows between the package's folders go down only, imports inside of functions included."""

import ast
import re
from pathlib import Path

import pytest

import fastnn

ROOT = Path(fastnn.__file__).parent
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "folders.svg"

# Each may import from its own layer and from those before it.
LAYERS = (
    ("errors", "validation", "fields", "extras", "memory"),
    ("backends",),
    ("training",),
    ("network",),
    ("estimators",),
    ("storage", "export", "datasets", "tables", "plots", "tensorboard"),
    ("experiments", "cnn", "bench", "play"),
    ("cli", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Public methods that call up for convenience: (file, what it imports).
EXCEPTIONS = {
    ("network/portable.py", "export.compiled"),  # Network.numba_predict, Network.cfunc
    ("network/portable.py", "export.compiled_jacobian"),  # Network.numba_predict
    ("network/portable.py", "export.compiled_tape"),  # Network.numba_tape
    ("network/ensemble.py", "storage"),  # Ensemble.save
    ("network/portable.py", "storage"),  # Network.save
    ("network/trainable.py", "storage.checkpoints"),  # Network.fit(checkpoint=..., resume=...)
    ("estimators/base.py", "storage"),  # MLPClassifier.save, MLPRegressor.save
    ("estimators/checkpoints.py", "storage.checkpoints"),  # fit(checkpoint=..., resume=...)
    ("training/history.py", "plots"),  # History.plot
}


def layer_of(parts):
    """Level of a module from its path in the package."""
    return LEVEL.get(parts[0].removesuffix(".py"))


def is_for_types(node):
    """Whether a node is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(tree):
    """Modules of the package that a file imports, by their names in it; types apart."""
    for node in ast.iter_child_nodes(tree):
        if is_for_types(node):
            for other in node.orelse:
                yield from imports(other)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("fastnn."):
                    yield alias.name.removeprefix("fastnn.")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "fastnn":
                yield from (alias.name for alias in node.names if alias.name in LEVEL)
            elif node.module.startswith("fastnn."):
                yield node.module.removeprefix("fastnn.")
        else:
            yield from imports(node)


def upward():
    """Pairs of file and module that it imports from a layer above its own."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name == "__init__.py":
            continue
        level = layer_of(Path(name).parts)
        assert level is not None, f"{name} belongs to no layer"
        for module in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if LEVEL[module.split(".")[0]] > level:
                yield name, module


def test_arrows_go_down_only():
    assert set(upward()) == EXCEPTIONS


def test_picture_of_the_folders():
    """The rows of CONTRIBUTING.md's picture are the layers, top first."""
    texts = re.findall(r"<text [^>]*>([^<]+)</text>", PICTURE.read_text(encoding="utf-8"))
    names = [name for text in texts for name in re.split(r"[:,]", text)[:5]]
    drawn = [name.strip() for name in names if name.strip() in LEVEL]
    assert set(drawn) == set(LEVEL) - {"bench", "__main__"}
    levels = [LEVEL[name] for name in drawn]
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from fastnn.storage import load", ["storage"]),
        ("def f():\n    import fastnn.cli", ["cli"]),
        ("from fastnn import plots, Network", ["plots"]),
        ("if TYPE_CHECKING:\n    from fastnn.network import Network\nelse:\n    import os", []),
        ("try:\n    from fastnn.cnn.model import f\nexcept ImportError:\n    pass", ["cnn.model"]),
        ("import fastnn", []),
    ],
)
def test_imports_are_found(source, found):
    assert list(imports(ast.parse(source))) == found


def test_nobody_above_reaches_into_a_network():
    """No private attribute of a network or its parts, outside of their own folders."""
    for folder in ("estimators", "export", "storage"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                    owner = ast.unparse(node.value)
                    assert owner.split(".")[-1] not in ("net", "network", "model", "spec") or (
                        node.attr in ESTIMATORS_OWN
                    ), f"{path.name}: {owner}.{node.attr}"


# Of estimators, which are called ``model`` too.
ESTIMATORS_OWN = {"_averaged", "_network", "_validate_params", "_get_param_names"}
