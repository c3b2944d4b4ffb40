"""Limits for the sizes of modules, functions and classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from parsed import nodes

SOURCE = Path(__file__).resolve().parents[2] / "src" / "rekindle"
MODULE_LINES = 500
FUNCTION_LINES = 60
PUBLIC_METHODS = 20

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield str(path.relative_to(SOURCE)), path


def test_no_module_is_too_long() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    too_long = [
        f"{name}:{node.lineno} {node.name}"
        for name, path in modules()
        for node in nodes(path)
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert too_long == []


def test_no_class_has_too_many_public_methods() -> None:
    too_wide = [
        f"{name}:{node.lineno} {node.name}"
        for name, path in modules()
        for node in nodes(path)
        if isinstance(node, ast.ClassDef) and len(public_methods(node)) > PUBLIC_METHODS
    ]
    assert too_wide == []


def public_methods(node: ast.ClassDef) -> list[str]:
    return [item.name for item in node.body if isinstance(item, Function) and not item.name.startswith("_")]
