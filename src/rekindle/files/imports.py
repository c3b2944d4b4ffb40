"""What a module's syntax tree imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_BY_NAME = ("import_module", "__import__")


def imported_names(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that a node of a syntax tree imports; of `from a import b` both `a` and `a.b`, which need
    not be a module. `package` is what relative imports start from ("": nothing)."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = absolute(node.module or "", node.level, package)
        if base:
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and _called(node.func) in _BY_NAME and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            name = first.value.lstrip(".")
            yield from filter(None, [absolute(name, len(first.value) - len(name), package)])


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def absolute(name: str, level: int, package: str) -> str:
    """Return the dotted name that a relative import means; "": it leaves the package."""
    if not level:
        return name
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])
