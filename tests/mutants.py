"""Mutants of a module: small faults in its syntax tree, and functions replaced by faulty ones."""

from __future__ import annotations

import ast
import copy
import gc
from collections.abc import Iterator
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Add,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}  # fmt: skip
UNTOUCHED = "annotation", "returns", "decorator_list", "bases"


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that may be changed, in order; without types, decorators and error messages."""
    if isinstance(tree, ast.Raise) and isinstance(tree.exc, ast.Call):
        return  # messages of exceptions are not changed
    yield tree
    for name, value in ast.iter_fields(tree):
        if name in UNTOUCHED:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from nodes(child)


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Changes of a node: name of an attribute and its new value; "" removes the statement."""
    match node:
        case ast.Compare(ops=[only]) if type(only) in COMPARISONS:
            yield "ops", [COMPARISONS[type(only)]()]
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield "op", OPERATORS[type(op)]()
        case ast.BoolOp(op=op):
            yield "op", ast.Or() if isinstance(op, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield "op", ast.UAdd() if isinstance(node.op, ast.USub) else None
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "test", ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            yield "value", not value
        case ast.Constant(value=int(value) | float(value)):
            yield "value", value + 1
        case ast.Return(value=ast.AST() as value) if ast.unparse(value) != "None":
            yield "value", ast.Constant(None)
        case ast.Assign() | ast.AugAssign() | ast.Expr(value=ast.Call()):
            yield "", None  # remove the statement


def mutants(path: Path) -> list[tuple[int, str]]:
    """All changes of a module: number of the node, and name of the attribute."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(number, name) for number, node in enumerate(nodes(tree)) for name, _ in changes(node)]


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().generic_visit(node)


class Mutant(NamedTuple):
    """A change of a module."""

    path: Path
    number: int
    name: str

    def made(self) -> tuple[ast.Module, str, range]:
        """The changed module, a description of the change, and the lines that contain it."""
        path = self.path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        node = list(nodes(tree))[self.number]
        (value,) = [value for key, value in changes(node) if key == self.name]
        before = ast.unparse(node).splitlines()[0]
        if self.name == "":
            new: ast.AST = ast.Pass()
        elif isinstance(node, ast.UnaryOp) and value is None:
            new = node.operand
        else:
            new = copy.copy(node)
            setattr(new, self.name, value)
        ast.copy_location(new, node)
        inside = node.test if isinstance(node, ast.If | ast.While) else node
        lines = _lines_of(tree, inside)
        tree = ast.fix_missing_locations(_Replace(node, new).visit(tree))
        after = ast.unparse(new).splitlines()[0]
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        return tree, f"{where}: {before}  ->  {after}", lines


def _lines_of(tree: ast.AST, node: ast.AST) -> range:
    """Lines of the simple statement that contains a node, otherwise of the node itself."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    for statement in ast.walk(tree):
        if isinstance(statement, ast.stmt) and not hasattr(statement, "body"):
            end = statement.end_lineno or 0
            if statement.lineno <= first and last <= end:
                return range(statement.lineno, end + 1)
    return range(first, last + 1)


def functions_of(code: CodeType) -> Iterator[CodeType]:
    """Code of the functions of a module and its classes, without nested functions."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_flags & CO_OPTIMIZED:
                yield const
            else:
                yield from functions_of(const)


def put_in(path: Path, tree: ast.Module) -> bool:
    """Replace the code of functions of an imported module; False if that is not sufficient.

    It is not sufficient for code that is executed on import: constants, classes, defaults.
    """
    old = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    new = compile(tree, str(path), "exec")
    pairs = list(zip(functions_of(old), functions_of(new), strict=True))
    changed = {(a.co_qualname, a.co_firstlineno): b for a, b in pairs if _essence(a) != _essence(b)}
    if not changed:
        return False
    alive = [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType) and each.__code__.co_filename == str(path)
    ]
    done = 0
    for function in alive:
        code = changed.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None:
            if code.co_freevars != function.__code__.co_freevars:
                return False
            function.__code__ = code
            done += 1
    return done > 0


def _essence(code: CodeType) -> tuple:
    """Properties of code by which functions are compared; line numbers are ignored."""
    consts = tuple(
        _essence(const) if isinstance(const, CodeType) else (type(const), repr(const))
        for const in code.co_consts
    )
    return code.co_code, consts, code.co_names, code.co_varnames
