"""The keys of the JSON documents that rekindle writes, read from the source of the functions that make them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import rekindle

SOURCE = Path(rekindle.__file__).parent
MODULES = (
    *sorted((SOURCE / "presentation").glob("*.py")),
    *sorted((SOURCE / "cli" / "commands").glob("*.py")),
    SOURCE / "cli" / "output" / "json_output.py",
    SOURCE / "domain" / "rerun" / "plan.py",
    SOURCE / "domain" / "rerun" / "request.py",
    SOURCE / "domain" / "retry.py",
    SOURCE / "dialects" / "fireworks" / "dump_import.py",
)
"""The modules with functions that make documents."""

_TYPES = ("dict[str,", "Mapping[str,")
_READERS = ("_reason_values",)  # they read documents
_EMITS = ("emit", "emit_list", "emit_rows", "emit_texts")


def keys_by_function() -> dict[str, tuple[str, ...]]:
    """Return the keys of the documents that each function makes, by `module:function` below rekindle.

    A function makes a document if it returns a dictionary of text keys, or prints a document with `json_output`. A key
    within the document of another key is `key.inner`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for path in MODULES:
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef) or function.name in _READERS:
                continue
            if keys := tuple(dict.fromkeys(_keys_made(function))):
                found[f"{module}:{function.name}"] = keys
    return found


def _keys_made(function: ast.FunctionDef) -> Iterator[str]:
    returns = ast.unparse(function.returns) if function.returns else ""
    whole = [*function.body] if any(kind in returns for kind in _TYPES) else [*_printed(function)]
    for part in whole:
        yield from _keys_within(part, "")


def _printed(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the arguments of calls that print documents."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("json_output.") in _EMITS:
            if node.args and isinstance(node.args[0], ast.Constant):
                yield ast.Dict(keys=[node.args[0]], values=[node.args[1]])
            else:
                yield from node.args


def _keys_within(node: ast.AST, prefix: str) -> Iterator[str]:
    if isinstance(node, ast.Assign) and (name := _text(getattr(node.targets[0], "slice", None))):
        yield prefix + name  # document["key"] = …
    if not isinstance(node, ast.Dict):
        for child in ast.iter_child_nodes(node):
            yield from _keys_within(child, prefix)
        return
    for key, value in zip(node.keys, node.values, strict=True):
        if name := _text(key):
            yield prefix + name
        yield from _keys_within(value, f"{prefix}{name}." if name else prefix)


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
