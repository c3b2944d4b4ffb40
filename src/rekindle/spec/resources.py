"""What `resources:` asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from rekindle.domain.definition import Resources
from rekindle.domain.errors import BadValue
from rekindle.domain.texts.quantities import parse_duration, parse_size
from rekindle.spec.nodes import Node, Scalar, describe
from rekindle.spec.problems import Problems
from rekindle.spec.values import VALUE_NAME, check_keys, named, number, table, whole_number

_KEYS = ("cpus", "memory", "gpus", "time", "licences")
_LONGEST_QUANTITY = 40


def read_resources(node: Node | None, base: Resources, problems: Problems) -> Resources:
    """`base` with what the node says instead; licences are added to those of `base` by name."""
    found = table(node, "`resources`", problems)
    if found is None:
        return base
    check_keys(found, _KEYS, "`resources`", problems)
    given: dict[str, Any] = {
        "cpus": number(found.get("cpus"), "`cpus`", problems),
        "memory": quantity(found.get("memory"), "memory", parse_size, problems),
        "gpus": whole_number(found.get("gpus"), "`gpus`", problems, least=0),
        "time": quantity(found.get("time"), "time", parse_duration, problems),
        "licences": _licences(found.get("licences"), base, problems),
    }
    return dataclasses.replace(base, **{key: value for key, value in given.items() if value is not None})


def quantity(
    node: Node | None,
    key: str,
    parse: Callable[[str | int | float], float],
    problems: Problems,
    form: str = "as in `memory: 512M` or `time: 1h30m`",
    *,
    none: bool = False,
) -> float | None:
    """A size or duration, with its unit; `form` shows how one is written. `none`: it may be 0."""
    if node is None:
        return None
    if not isinstance(node, Scalar) or node.value is None or len(node.text) > _LONGEST_QUANTITY:
        problems.add(node.place, f"`{key}` cannot be {describe(node)}", form)
        return None
    try:
        amount = parse(node.text)
    except BadValue as error:
        problems.add(node.place, f"`{key}`: {error.message}", error.hint)
        return None
    if not (0 < amount < 2**63 or (none and amount == 0)):
        hint = form if none else "leave it out to set no limit"
        problems.add(node.place, f"`{key}` is out of range: {describe(node)}", hint)
        return None
    return amount


def _licences(node: Node | None, base: Resources, problems: Problems) -> tuple[tuple[str, int], ...] | None:
    if node is None:
        return None
    counts = dict(base.licences)
    for name, entry in named(node, "`licences`", VALUE_NAME, problems).items():
        count = whole_number(entry.node, f"the number of licences {name}", problems, least=0)
        if count is not None:
            counts[name] = count
    return tuple(sorted((name, count) for name, count in counts.items() if count))
