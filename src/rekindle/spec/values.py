"""Read typed values from a tree.

Each function reports a node of the wrong kind and returns None (or an empty value).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from rekindle.domain.definition import normalize_name
from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.rerun.request import FROM_BEGINNING, FROM_FAILED_STEP
from rekindle.domain.texts import substitution
from rekindle.domain.texts.display import closest_word, did_you_mean
from rekindle.spec.nodes import ListNode, MappingEntry, MappingNode, Node, Problems, ScalarNode, SourcePlace, describe

_MAX_QUANTITY_LENGTH = 40
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def table(node: Node | None, what: str, problems: Problems) -> MappingNode | None:
    """Return a mapping. `what` names it in messages."""
    if node is None or isinstance(node, MappingNode):
        return node
    problems.add(node.place, f"{what} must be a mapping of keys to values, and is {describe(node)}", _example(what))
    return None


def _example(what: str) -> str:
    """Return a hint with the example of a key, for a value of the wrong kind; "" if `what` is no key in backquotes."""
    from rekindle.spec.spec_keys import KEYS

    key = next((one for one in KEYS if what == f"`{one.name}`"), None)
    return f"as in `{key.example}`" if key is not None else ""


def check_keys(found: MappingNode, known: Collection[str], what: str, problems: Problems) -> None:
    """Report keys that are not in `known`."""
    for key, entry in found.entries.items():
        if key not in known:
            free = "a free key (`x-…`) is allowed only at the top level of a spec" if key.startswith("x-") else ""
            problems.add(entry.place, f"{what} has no key {key!r:.60}", free or _key_hint(key, known))


_OF_OTHERS: dict[str, dict[str, tuple[str, ...]]] = {
    "resources": {
        "{time: 10m}": ("timeout", "time", "walltime", "time_limit"),
        "{memory: 4G}": ("memory", "mem", "mem_mb", "ram"),
        "{cpus: 2}": ("cpus", "threads", "cores", "ncpus"),
        "{gpus: 1}": ("gpus", "gpu"),
    },
    "retry": {"{max: 2}": ("retries", "max_retries", "attempts")},
    "run": {"": ("cmd", "command", "commands", "script", "exec")},
    "needs": {"": ("depends_on", "depends", "deps", "after", "requires", "dependencies")},
    "jobs": {"": ("stages", "tasks", "rules", "targets", "steps")},
    "params": {"": ("parameters", "variables", "vars")},
    "env": {"": ("environment",)},
}
"""Keys of other tools, by the key and the value that they are here."""


def _key_hint(key: str, known: Collection[str]) -> str:
    """Return what to write instead of a key: the nearest known one, what a key of another tool is here, or all."""
    for ours, values in _OF_OTHERS.items():
        for value, theirs in values.items():
            if ours in known and key.lower() in theirs:
                return f"write `{ours}: {value}`" if value else f"did you mean `{ours}`?"
    close = closest_word(key, known)
    return f"did you mean `{close}`?" if close is not None else f"known: {', '.join(known)}"


def text(node: Node | None, what: str, problems: Problems) -> str | None:
    """Return a text that is not empty. A number counts as the text that was written."""
    if node is None:
        return None
    if not isinstance(node, ScalarNode) or node.value is None or isinstance(node.value, bool):
        problems.add(node.place, f"{what} must be a text, and is {describe(node)}", _example(what))
        return None
    if not node.text.strip():
        problems.add(node.place, f"{what} is empty")
        return None
    if "\0" in node.text:
        problems.add(node.place, f"{what} holds a NUL character")
        return None
    return node.text


def plain_text(node: Node | None, what: str, problems: Problems) -> str | None:
    """Return a text without `${…}` references."""
    found = text(node, what, problems)
    if node is None or found is None:
        return None
    try:
        dynamic = substitution.find_references(found)
    except RekindleError as error:
        problems.add(node.place, error.message, error.hint)
        return None
    if dynamic:
        problems.add(node.place, f"{dynamic[0].text} cannot be used in {what}", "write it out")
        return None
    return found


def one_of(node: Node | None, words: Collection[str], what: str, problems: Problems) -> str | None:
    """Return one of `words`."""
    if node is None:
        return None
    if isinstance(node, ScalarNode) and node.value in words:
        return node.text
    problems.add(
        node.place,
        f"{what} must be {' or '.join(words)}, and is {describe(node)}",
        did_you_mean(node.text, words) if isinstance(node, ScalarNode) and node.text else "",
    )
    return None


def yes_or_no(node: Node | None, what: str, problems: Problems) -> bool:
    """Return true or false; false if absent."""
    if node is None:
        return False
    if isinstance(node, ScalarNode) and isinstance(node.value, bool):
        return node.value
    problems.add(node.place, f"{what} must be true or false, and is {describe(node)}", _example(what))
    return False


def whole_number(node: Node | None, what: str, problems: Problems, least: int = _LOWEST) -> int | None:
    """Return a 64-bit integer that is at least `least`."""
    if node is None:
        return None
    if isinstance(node, ScalarNode) and isinstance(node.value, int) and not isinstance(node.value, bool):
        if least <= node.value <= _HIGHEST:
            return node.value
        bound = f"at least {least}" if node.value < least else "smaller"
        problems.add(node.place, f"{what} must be {bound}, and is {describe(node)}")
        return None
    problems.add(
        node.place, f"{what} must be a whole number, and is {describe(node)}", _unquoted(node) or _example(what)
    )
    return None


def number(node: Node | None, what: str, problems: Problems) -> float | None:
    """Return a finite number above 0."""
    if node is None:
        return None
    if isinstance(node, ScalarNode) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if 0 < node.value <= _HIGHEST and math.isfinite(node.value):
            return float(node.value)
        problems.add(node.place, f"{what} must be above 0 and finite, and is {describe(node)}")
        return None
    problems.add(node.place, f"{what} must be a number, and is {describe(node)}", _unquoted(node) or _example(what))
    return None


def quantity(
    node: Node | None,
    key: str,
    parse: Callable[[str | int | float], float],
    problems: Problems,
    form: str = "as in `memory: 512M` or `time: 1h30m`",
    *,
    allow_zero: bool = False,
) -> float | None:
    """Return a size or duration. `form` shows an example; with `allow_zero` the value may be 0."""
    if node is None:
        return None
    if not isinstance(node, ScalarNode) or node.value is None or len(node.text) > _MAX_QUANTITY_LENGTH:
        problems.add(node.place, f"`{key}` cannot be {describe(node)}", form)
        return None
    try:
        amount = parse(node.text)
    except BadValue as error:
        problems.add(node.place, f"`{key}`: {error.message}", error.hint)
        return None
    if not (0 < amount < 2**63 or (allow_zero and amount == 0)):
        hint = form if allow_zero else "leave it out to set no limit"
        problems.add(node.place, f"`{key}` is out of range: {describe(node)}", hint)
        return None
    return amount


def _unquoted(node: Node) -> str:
    looks = isinstance(node, ScalarNode) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", node.text)
    return "write it without quotes" if looks and isinstance(node, ScalarNode) and isinstance(node.value, str) else ""


def data(node: Node, what: str, problems: Problems) -> Any:
    """Return plain data that JSON can hold, so that it can be stored and read back unchanged."""
    if isinstance(node, MappingNode):
        return {key: data(entry.node, what, problems) for key, entry in node.entries.items()}
    if isinstance(node, ListNode):
        return [data(item, what, problems) for item in node.items]
    value = node.value
    if isinstance(value, float) and not math.isfinite(value):
        problems.add(node.place, f"{what} must be finite, and holds {describe(node)}", "quote it to have it as a text")
        return None
    if isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
        problems.add(node.place, f"{what} holds {describe(node)}, too large", "quote it to have it as a text")
        return None
    return value


def texts_within(node: Node) -> Iterator[tuple[str, SourcePlace]]:
    """Yield every text in plain data (keys excluded) with its place."""
    return ((one.value, one.place) for one in scalars_within(node) if isinstance(one.value, str))


def scalars_within(node: Node) -> Iterator[ScalarNode]:
    """Yield every scalar in plain data, keys excluded."""
    if isinstance(node, MappingNode):
        for entry in node.entries.values():
            yield from scalars_within(entry.node)
    elif isinstance(node, ListNode):
        for item in node.items:
            yield from scalars_within(item)
    else:
        yield node


def changed_number(value: object, written: str) -> str:
    """Return a warning if a number does not keep its digits, as 3.10 and 007 do not; else "". An exponent is fine."""
    if isinstance(value, bool) or not isinstance(value, int | float) or re.search("[eE]|inf|nan", written):
        return ""
    own = str(value)
    return "" if written.lstrip("+") in (own, own.removesuffix(".0") + ".") else f"{written} is the number {own}"


def named(node: Node | None, what: str, pattern: NamePattern, problems: Problems) -> dict[str, MappingEntry]:
    """Return the entries of a mapping whose keys are names, by composed name.

    Invalid names are reported and left out.
    """
    found = table(node, what, problems)
    good: dict[str, MappingEntry] = {}
    for typed, entry in found.entries.items() if found else ():
        key = normalize_name(typed)
        if key in good:
            problems.add(entry.place, f"the key {key!r} is there already", "the two differ only in Unicode composition")
        elif pattern.matches(key):
            good[key] = entry
        else:
            problems.add(entry.place, f"{key!r:.60} cannot be a name in {what}", pattern.rule)
    return good


class NamePattern:
    """A pattern for one kind of names, and its rule in words."""

    def __init__(self, pattern: str, rule: str) -> None:
        self._pattern = re.compile(pattern)
        self.rule = rule

    def matches(self, name: str) -> bool:
        """Return whether `name` follows the rule."""
        return self._pattern.fullmatch(name) is not None


VALUE_NAME = NamePattern(r"[\w-]+", "names are letters, digits, _ and -")
"""Names that `${…}` can refer to: parameters, matrix values, inputs, outputs; also licences."""

STEP_NAME = NamePattern(
    rf"(?!(?:{FROM_BEGINNING}|{FROM_FAILED_STEP})$)\w[\w-]*",
    f"names are letters, digits, _ and -, and not {FROM_BEGINNING} or {FROM_FAILED_STEP}",
)
"""`rerun --from` takes a step name or one of the two reserved words."""

JOB_NAME = NamePattern(
    r"(?![0-9]+$)\w[\w.-]*",
    "names are letters, digits, _ . and -, do not begin with . or -, and are not digits alone (those are ids)",
)

VARIABLE_NAME = NamePattern(r"[A-Za-z_][A-Za-z0-9_]*", "names of variables are letters, digits and _")
