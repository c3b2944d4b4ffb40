"""The reference of environment variables, and the variables that the code names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import rekindle
from reference_pages.markdown import code, definitions, texts

_SOURCE = Path(rekindle.__file__).parent
_READ = re.compile(r"\b(?:environ|environment)(?:\.get)?$|\bgetenv$")
_NAME = re.compile(r"[A-Z][A-Z_]{2,}")
_TABLES = re.compile(r"_?[A-Z_]*VARIABLES?|_ACCOUNTS|TASK_FOLDER")


def page() -> str:
    """Return the variables, part by part."""
    parts = texts("environment")["part"]
    return "\n\n".join(f"## {one['title']}\n\n" + definitions(_rows(one["variables"])) for one in parts)


def _rows(variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    return ((code(name), about) for name, about in variables.items())


def named_in_code() -> set[str]:
    """Return the environment variables that the source names: rekindle's own wherever they stand, others where the
    environment is read."""
    found: set[str] = set()
    for path in sorted(_SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found.update(_named(node))
    return found


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from (name for name in [node.value] if re.fullmatch(r"REKINDLE_[A-Z_]+", name))
        yield from re.findall(r"\$(REKINDLE_[A-Z_]+)", node.value)
    read: list[ast.expr] = []
    if isinstance(node, ast.Call) and _READ.search(ast.unparse(node.func)):
        read = node.args[:1]
    elif isinstance(node, ast.Subscript) and _READ.search(ast.unparse(node.value)):
        read = [node.slice]
    elif isinstance(node, ast.Assign) and any(_TABLES.fullmatch(ast.unparse(one)) for one in node.targets):
        read = [one for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
    for one in read:
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and _NAME.fullmatch(one.value):
            yield one.value
