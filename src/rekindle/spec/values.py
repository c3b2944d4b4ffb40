"""Typed values out of a tree: each function takes a node that should be of one kind, tells what is wrong with it and
answers None (or nothing) where it is not."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from rekindle.domain.errors import RekindleError
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, FROM_FAILED_STEP
from rekindle.domain.texts import substitution
from rekindle.domain.texts.jobnames import composed
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.spec.nodes import Entry, Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Place, Problems

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def table(node: Node | None, what: str, problems: Problems) -> Table | None:
    """A mapping; `what` names it in the message."""
    if node is None or isinstance(node, Table):
        return node
    problems.add(node.place, f"{what} must be a mapping of keys to values, and is {describe(node)}")
    return None


def check_keys(found: Table, known: Collection[str], what: str, problems: Problems) -> None:
    """Every key is one of `known`."""
    for key, entry in found.entries.items():
        if key not in known:
            free = "a free key (`x-…`) stands at the top of the spec" if key.startswith("x-") else ""
            problems.add(entry.place, f"{what} has no key {key!r:.60}", free or did_you_mean(key, known))


def text(node: Node | None, what: str, problems: Problems) -> str | None:
    """A text that is not empty; a number is taken as it is written."""
    if node is None:
        return None
    if not isinstance(node, Scalar) or node.value is None or isinstance(node.value, bool):
        problems.add(node.place, f"{what} must be a text, and is {describe(node)}")
        return None
    if not node.text.strip():
        problems.add(node.place, f"{what} is empty")
        return None
    if "\0" in node.text:
        problems.add(node.place, f"{what} holds a NUL character")
        return None
    return node.text


def plain_text(node: Node | None, what: str, problems: Problems) -> str | None:
    """A text in which no `${…}` of ours stands."""
    found = text(node, what, problems)
    if node is None or found is None:
        return None
    try:
        dynamic = substitution.references(found)
    except RekindleError as error:
        problems.add(node.place, error.message, error.hint)
        return None
    if dynamic:
        problems.add(node.place, f"{dynamic[0].text} cannot be used in {what}", "write it out")
        return None
    return found


def one_of(node: Node | None, words: Collection[str], what: str, problems: Problems) -> str | None:
    """One of a few words."""
    if node is None:
        return None
    if isinstance(node, Scalar) and node.value in words:
        return node.text
    problems.add(
        node.place,
        f"{what} must be {' or '.join(words)}, and is {describe(node)}",
        did_you_mean(node.text, words) if isinstance(node, Scalar) and node.text else "",
    )
    return None


def yes_or_no(node: Node | None, what: str, problems: Problems) -> bool:
    """true or false; false where it is not there."""
    if node is None:
        return False
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    problems.add(node.place, f"{what} must be true or false, and is {describe(node)}")
    return False


def whole_number(node: Node | None, what: str, problems: Problems, least: int = _LOWEST) -> int | None:
    """An integer from `least`, within 64 bits."""
    if node is None:
        return None
    if isinstance(node, Scalar) and isinstance(node.value, int) and not isinstance(node.value, bool):
        if least <= node.value <= _HIGHEST:
            return node.value
        bound = f"at least {least}" if node.value < least else "smaller"
        problems.add(node.place, f"{what} must be {bound}, and is {describe(node)}")
        return None
    problems.add(node.place, f"{what} must be a whole number, and is {describe(node)}", _unquoted(node))
    return None


def number(node: Node | None, what: str, problems: Problems) -> float | None:
    """A finite number above 0."""
    if node is None:
        return None
    if isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if 0 < node.value <= _HIGHEST and math.isfinite(node.value):
            return float(node.value)
        problems.add(node.place, f"{what} must be above 0 and finite, and is {describe(node)}")
        return None
    problems.add(node.place, f"{what} must be a number, and is {describe(node)}", _unquoted(node))
    return None


def _unquoted(node: Node) -> str:
    looks = isinstance(node, Scalar) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", node.text)
    return "write it without quotes" if looks and isinstance(node, Scalar) and isinstance(node.value, str) else ""


def data(node: Node, what: str, problems: Problems) -> Any:
    """Plain data: what JSON can hold, so that it can be stored and come back the same."""
    if isinstance(node, Table):
        return {key: data(entry.node, what, problems) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [data(item, what, problems) for item in node.items]
    value = node.value
    if isinstance(value, float) and not math.isfinite(value):
        problems.add(node.place, f"{what} must be finite, and holds {describe(node)}", "quote it to have it as a text")
        return None
    if isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
        problems.add(node.place, f"{what} holds {describe(node)}, too large", "quote it to have it as a text")
        return None
    return value


def texts_within(node: Node) -> Iterator[tuple[str, Place]]:
    """Every text in plain data, keys left out, with its place."""
    if isinstance(node, Table):
        for entry in node.entries.values():
            yield from texts_within(entry.node)
    elif isinstance(node, Items):
        for item in node.items:
            yield from texts_within(item)
    elif isinstance(node.value, str):
        yield node.value, node.place


def named(node: Node | None, what: str, pattern: NamePattern, problems: Problems) -> dict[str, Entry]:
    """The entries of a mapping whose keys are names, by composed name; those with a bad name are reported and left
    out."""
    found = table(node, what, problems)
    good: dict[str, Entry] = {}
    for typed, entry in found.entries.items() if found else ():
        key = composed(typed)
        if key in good:
            problems.add(entry.place, f"the key {key!r} is there already", "the two differ only in how é is composed")
        elif pattern.matches(key):
            good[key] = entry
        else:
            problems.add(entry.place, f"{key!r:.60} cannot be a name in {what}", pattern.rule)
    return good


class NamePattern:
    """What names of one kind look like, and the rule in words."""

    def __init__(self, pattern: str, rule: str) -> None:
        self._pattern = re.compile(pattern)
        self.rule = rule

    def matches(self, name: str) -> bool:
        """Whether `name` follows the rule."""
        return self._pattern.fullmatch(name) is not None


VALUE_NAME = NamePattern(r"[\w-]+", "names are letters, digits, _ and -")
"""Of parameters, matrix values, inputs, outputs and licences: what a `${…}` can name."""

STEP_NAME = NamePattern(
    rf"(?!(?:{FROM_BEGINNING}|{FROM_FAILED_STEP})$)\w[\w-]*",
    f"names are letters, digits, _ and -, and not {FROM_BEGINNING} or {FROM_FAILED_STEP}",
)
"""Also what `rerun --from` takes, beside the two words that mean something else there."""

JOB_NAME = NamePattern(
    r"(?![0-9]+$)\w[\w.-]*",
    "names are letters, digits, _ . and -, begin with none of . and -, and are not digits alone (those are ids)",
)

VARIABLE_NAME = NamePattern(r"[A-Za-z_][A-Za-z0-9_]*", "names of variables are letters, digits and _")
