"""Read a FireWorks file (YAML or JSON: a workflow or a single firework) into a Flow."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.flow import UNNAMED_FIREWORK, UNNAMED_WORKFLOW, Firework, Flow, date_text
from rekindle.domain.graph import find_cycle
from rekindle.spec.loading import read_bytes, read_tree
from rekindle.spec.nodes import (
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SourcePlace,
    describe,
    from_python,
)
from rekindle.spec.values import data, table, text

_FIREWORK = "as in `spec: {_tasks: [{_fw_name: ScriptTask, script: echo hello}]}`"


def read_flow_file(path: Path, now: float | None = None) -> Flow:
    """Read and check a file: `.json` as JSON, anything else as YAML. Raises SpecError with every problem."""
    content = read_bytes(path)
    problems = Problems(str(path))
    root = read_tree(content, path.suffix, problems)
    if root is None and not len(problems):
        problems.add(SourcePlace(), "the file is empty", _FIREWORK)
    return _read(root, problems, time.time() if now is None else now)


def read_flow(document: Mapping[str, Any], where: str = "the workflow", now: float | None = None) -> Flow:
    """Read and check a document: `to_dict()` output of FireWorks' Workflow or Firework. Raises SpecError as
    `read_flow_file`."""
    problems = Problems(where)
    root = from_python(plain_data(document), SourcePlace(), problems)
    return _read(root, problems, time.time() if now is None else now)


def plain_data(value: Any) -> Any:
    """Convert dates to ISO texts, keys to texts, tuples, sets and arrays to lists."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_data(one) for one in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if getattr(value, "shape", None) is not None and hasattr(value, "tolist"):
        return value.tolist()
    return value


def _read(root: Node | None, problems: Problems, now: float) -> Flow:
    top = table(root, "a FireWorks file", problems)
    problems.raise_any()
    assert top is not None
    if "fws" not in top.entries:
        return _single(top, problems, now)
    fireworks = _fireworks(top.entries["fws"], problems, now)
    numbers = {one.id for one in fireworks}
    links = _links(top.get("links"), numbers, problems)
    if not fireworks and not len(problems):
        problems.add(top.place, "the workflow has no firework", "FireWorks takes none without one")
    _check_cycles(fireworks, links, top.place, problems)
    name = _name(top, "name", UNNAMED_WORKFLOW, problems)
    metadata = _mapping(top.get("metadata"), "`metadata`", problems)
    created = _date(top, now, problems)
    problems.raise_any()
    return Flow(name, created, tuple(sorted(fireworks, key=lambda one: one.id)), links, metadata)


def _single(top: MappingNode, problems: Problems, now: float) -> Flow:
    if "spec" not in top.entries:
        problems.add(top.place, "the file holds neither `fws` nor a `spec`", _FIREWORK)
        problems.raise_any()
    firework = _firework(top, -1, problems, now)
    problems.raise_any()
    assert firework is not None
    return Flow(firework.name, firework.created_on, (firework,), {firework.id: ()})


def _fireworks(entry: MappingEntry, problems: Problems, now: float) -> list[Firework]:
    if not isinstance(entry.node, ListNode):
        problems.add(entry.node.place, f"`fws` must be a list of fireworks, and is {describe(entry.node)}")
        return []
    found: dict[int, Firework] = {}
    for at, item in enumerate(entry.node.items, 1):
        one = table(item, "an entry of `fws`", problems)
        firework = None if one is None else _firework(one, -at, problems, now)
        if firework is None:
            continue
        if firework.id in found:
            problems.add(item.place, f"there is a firework {firework.id} already", "each has an `fw_id` of its own")
        found[firework.id] = firework
    return list(found.values())


def _firework(one: MappingNode, number: int, problems: Problems, now: float) -> Firework | None:
    before = len(problems)
    if "fw_id" in one.entries:
        number = _number(one.entries["fw_id"].node, "`fw_id`", problems)
    if "spec" not in one.entries:
        problems.add(one.place, "a firework has no `spec`", _FIREWORK)
        return None
    spec = table(one.entries["spec"].node, "`spec`", problems)
    if spec is None:
        return None
    _check_tasks(spec, problems)
    name = _name(one, "name", UNNAMED_FIREWORK, problems)
    created = _date(one, now, problems)
    found: dict[str, Any] = data(spec, "`spec`", problems)
    return None if len(problems) > before else Firework(number, name, found, created)


def _check_tasks(spec: MappingNode, problems: Problems) -> None:
    """Check that `_tasks` is a list of mappings with a `_fw_name`. A single task needs no list, as in FireWorks."""
    if "_tasks" not in spec.entries:
        problems.add(spec.place, "a spec has no `_tasks`", _FIREWORK)
        return
    entry = spec.entries["_tasks"]
    if isinstance(entry.node, MappingNode):
        spec.entries["_tasks"] = entry = MappingEntry(entry.place, ListNode(entry.node.place, [entry.node]))
    if not isinstance(entry.node, ListNode):
        problems.add(entry.node.place, f"`_tasks` must be a list of tasks, and is {describe(entry.node)}", _FIREWORK)
        return
    for item in entry.node.items:
        task = table(item, "a task", problems)
        if task is not None and "_fw_name" not in task.entries:
            problems.add(task.place, "a task has no `_fw_name`", "as in `_fw_name: ScriptTask`")
        elif task is not None:
            text(task.get("_fw_name"), "`_fw_name`", problems)


def _links(node: Node | None, numbers: set[int], problems: Problems) -> dict[int, tuple[int, ...]]:
    """Return the children by parent; () for a firework without links."""
    links: dict[int, tuple[int, ...]] = dict.fromkeys(sorted(numbers), ())
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return links
    found = table(node, "`links`", problems)
    for key, entry in (found.entries if found is not None else {}).items():
        parent = _key(key)
        if parent is None:
            problems.add(entry.place, f"`links` names {key!r:.60}, which is no `fw_id`", "as in `links: {-1: [-2]}`")
            continue
        items = entry.node.items if isinstance(entry.node, ListNode) else [entry.node]
        children = [_number(item, "an id in `links`", problems) for item in items]
        for number, place in ((parent, entry.place), *zip(children, (item.place for item in items), strict=True)):
            if number not in numbers:
                problems.add(place, f"`links` names {number}, and there is no such firework", _known_ids(numbers))
        if parent in numbers:
            links[parent] = tuple(dict.fromkeys(one for one in children if one in numbers))
    return links


def _known_ids(numbers: set[int]) -> str:
    shown = ", ".join(str(one) for one in sorted(numbers)[:10])
    return f"the `fw_id`s are {shown}" + (" …" if len(numbers) > 10 else "")


def _check_cycles(
    fireworks: list[Firework], links: Mapping[int, tuple[int, ...]], place: SourcePlace, problems: Problems
) -> None:
    at = {one.id: position for position, one in enumerate(fireworks)}
    cycle = find_cycle(len(at), [(at[parent], at[child]) for parent, every in links.items() for child in every])
    if cycle is not None:
        path = " before ".join(f"{fireworks[one].id} ({fireworks[one].name})" for one in (*cycle, cycle[0]))
        problems.add(place, f"fireworks need each other in a cycle: {path}", "remove one of these links")


def _key(key: str) -> int | None:
    return int(key) if re.fullmatch(r"[+-]?[0-9]{1,18}", key.strip()) else None


def _number(node: Node, what: str, problems: Problems) -> int:
    """Return an id, given as a whole number or as its text."""
    found = _key(node.text) if isinstance(node, ScalarNode) else None
    if found is None:
        problems.add(node.place, f"{what} must be a whole number, and is {describe(node)}")
    return found or 0


def _name(one: MappingNode, key: str, otherwise: str, problems: Problems) -> str:
    node = one.get(key)
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return otherwise
    if not isinstance(node, ScalarNode):
        problems.add(node.place, f"`{key}` must be a text, and is {describe(node)}")
        return otherwise
    return node.text or otherwise


def _mapping(node: Node | None, what: str, problems: Problems) -> dict[str, Any]:
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return {}
    found = table(node, what, problems)
    return {} if found is None else dict(data(found, what, problems))


def _date(one: MappingNode, now: float, problems: Problems) -> str:
    """Return a date in FireWorks' format. Dates without a zone are UTC."""
    node = one.get("created_on")
    if not isinstance(node, ScalarNode) or node.value is None:
        return date_text(now)
    try:
        found = datetime.fromisoformat(node.text)
    except ValueError:
        problems.add(node.place, f"`created_on` must be a date, and is {describe(node)}", "as in 2012-02-25T12:00:00")
        return ""
    return date_text(found.replace(tzinfo=found.tzinfo or UTC).timestamp())
