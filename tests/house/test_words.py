"""Names and prose in src/rekindle use the terms of the field, not private ones.

A banned word is matched against whole parts of names: `told` matches `was_told` and `WasTold`, and `bell` does not
match `label`. BANNED_NAMES maps each word to the term to use instead. To allow a word in one place, add an entry with
its reason to ALLOWED; to drop a word from the test, remove its line.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from parsed import nodes, tree

SOURCE = Path(__file__).resolve().parents[2] / "src" / "rekindle"

BANNED_NAMES = {
    # runners and workers
    "estate": "orphan",
    "estates": "orphans",
    "bury": "reap",
    "buried": "reaped",
    "neighbour": "peer",
    "neighbours": "peers",
    "shift": "runner loop",
    "bench": "worker handle",
    "benches": "worker handles",
    "flight": "in-flight attempt",
    "flights": "in-flight attempts",
    "recipe": "task template",
    "recipes": "task templates",
    "halt": "termination",
    "halts": "terminations",
    "judged": "classify",
    "patience": "disk retry, timeout",
    "insist": "disk retry",
    "roster": "job index",
    "heed": "handle a signal",
    "heeded": "handled",
    "clinging": "surviving processes",
    # notifications and reports
    "bell": "notifier",
    "bells": "notifiers",
    "hush": "drain",
    "told": "returned, reported, logged, journaled or rendered",
    "telling": "report",
    "tally": "run statistics",
    # planning
    "manner": "next attempt",
    "wishes": "options",
    "prospect": "plan inputs",
    "foreseen": "planned submission",
    "undynamic": "dynamic rollback",
    "acting": "dynamic actions",
    "acted": "dynamic actions",
    "spared": "reused",
    "spares": "reuses",
    "ripe": "due",
    "hasten": "clear delays",
    "void": "revoke",
    "struck": "failed job",
    "ruling": "decision",
    # packages
    "embassy": "dialect",
    "embassies": "dialects",
    "house": "package",
    "law": "domain rules",
    "showing": "output",
}
"""Parts of names of modules, classes, functions, parameters, attributes and constants."""

BANNED_PROSE = {
    r"\bamid\b": "during",
    r"\banew\b": "again",
    r"\blest\b": "so that ... not",
    r"\bestates?\b": "orphans",
    r"\bembass(?:y|ies)\b": "dialect",
    r"\b(?:bury|buries|buried)\b": "reap, resolve",
    r"\bhush(?:es|ed)?\b": "drain",
    r"\bheed(?:s|ed)?\b": "handle",
    r"\broster\b": "job index",
    r"\btally\b": "run statistics",
    r"\bbells?\b": "notifier",
    r"\bundynamic\b": "dynamic rollback",
    r"\bforeseen\b": "planned",
    r"\bclinging\b": "surviving",
    r"\bthe law\b(?! of)": "the domain rules",
    r"\bthe house\b": "the package",
    r"\bneighbours?\b": "peers",
    r"\bso many\b": "the number",
    r"\bof which\b": "name the noun",
    r"\bthis much\b": "the amount",
}
"""Patterns in docstrings and comments, without upper case."""

ALLOWED = {
    ("dialects/fireworks/bench.py", "bench"): "stored definitions name this module",
    ("dialects/ziggy", "halt"): "Ziggy's users type its `halt` command",
}
"""(a path's beginning, a word): the reason why the word is allowed there."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
FILES = sorted(SOURCE.rglob("*.py"))
SQL_FILES = sorted(SOURCE.rglob("*.sql"))


@cache
def names_in(path: Path) -> list[tuple[int, str]]:
    return list(_names_in(path))


def _names_in(path: Path) -> Iterator[tuple[int, str]]:
    """The names that a module defines, with their lines. Local variables are left out."""
    for node in nodes(path):
        if isinstance(node, Function | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
    for owner in (tree(path), *(node for node in nodes(path) if isinstance(node, ast.ClassDef))):
        for node in owner.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.lineno, target.id


def parts(name: str) -> list[str]:
    """The parts of a name in lower case: `in_flight`, `InFlight` -> in, flight."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def banned_parts(name: str) -> list[str]:
    """The banned words in a name. `in_flight` is a term of the field."""
    found = parts(name)
    pairs = zip(("", *found), found, strict=False)
    return [part for before, part in pairs if part in BANNED_NAMES and (before, part) != ("in", "flight")]


def prose_in(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a module, with their first lines."""
    for node in nodes(path):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def allowed(path: str, word: str) -> bool:
    return any(path.startswith(start) and word == name for start, name in ALLOWED)


def banned_phrases(prose: str) -> list[str]:
    plain = " ".join(prose.lower().split())
    return [found.group() for pattern in BANNED_PROSE for found in re.finditer(pattern, plain)]


@pytest.mark.parametrize("name", ["was_told", "WasTold", "told", "TOLD_AT", "_told"])
def test_a_banned_word_is_found_as_a_part_of_a_name(name: str) -> None:
    assert banned_parts(name) == ["told"]


@pytest.mark.parametrize("name", ["label", "in_flight", "InFlight", "toldo", "wall", "lawn_mower"])
def test_other_words_that_contain_a_banned_one_are_not_found(name: str) -> None:
    assert banned_parts(name) == []


def test_no_module_has_a_banned_name() -> None:
    paths = {str(path.relative_to(SOURCE)): path for path in FILES}
    found = [
        f"{name}: {word} -> {BANNED_NAMES[word]}"
        for name, path in paths.items()
        for word in banned_parts("_".join(path.relative_to(SOURCE).with_suffix("").parts))
        if not allowed(name, word)
    ]
    assert found == []


def test_no_class_function_parameter_or_attribute_has_a_banned_name() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line} {name}: {word} -> {BANNED_NAMES[word]}"
        for path in FILES
        for line, name in names_in(path)
        for word in banned_parts(name)
        if not allowed(str(path.relative_to(SOURCE)), word)
    ]
    assert found == []


def test_no_docstring_or_comment_has_a_banned_phrase() -> None:
    found = []
    for path in FILES:
        name = str(path.relative_to(SOURCE))
        for line, prose in prose_in(path):
            found += [f"{name}:{line} {phrase!r}" for phrase in banned_phrases(prose) if not allowed(name, phrase)]
    assert found == []


def test_no_comment_in_sql_has_a_banned_phrase() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{number} {phrase!r}"
        for path in SQL_FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for phrase in banned_phrases(line.partition("--")[2])
    ]
    assert found == []


def test_each_exception_is_needed() -> None:
    used = {
        (start, word)
        for path in FILES
        for start, word in ALLOWED
        if str(path.relative_to(SOURCE)).startswith(start)
        and any(word in parts(name) for _, name in [(0, path.stem), *names_in(path)])
    }
    assert set(ALLOWED) - used == set()
