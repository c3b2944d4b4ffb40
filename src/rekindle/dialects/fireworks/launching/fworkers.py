"""An fworker: what a machine is called, which fireworks it launches, and what it tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.queries import fireworks_where
from rekindle.domain.errors import RekindleError
from rekindle.domain.selection import Predicate
from rekindle.spec.files import read_bytes, read_tree
from rekindle.spec.nodes import Node, Table
from rekindle.spec.problems import Place, Problems
from rekindle.spec.values import data, table, text

UNNAMED = "Automatically generated Worker"
"""What FireWorks calls one that nobody has described."""

FILE = "my_fworker.yaml"
"""Where it is described, in the folder of the configuration."""

NO_CATEGORY = "__none__"
"""The category of an fworker that launches only what has none."""


@dataclass(frozen=True, slots=True)
class FWorker:
    """`category`: it launches fireworks of this `_category`, or of one of several; without one, all. `query`: and of
    these only those for which that filter holds. `env`: what tasks find as `_fw_env` in their specs."""

    name: str = UNNAMED
    category: str | tuple[str, ...] = ""
    query: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def filter(self) -> dict[str, Any]:
        """What it launches, as FireWorks' filter over fireworks: of those that ask for an fworker, what asks for it."""
        mine: dict[str, Any] = {"$or": [{"spec._fworker": None}, {"spec._fworker": self.name}]}
        parts = [dict(self.query), mine] if self.query else [mine]
        if self.category == NO_CATEGORY:
            parts.append({"spec._category": {"$exists": False}})
        elif self.category:
            named = [self.category] if isinstance(self.category, str) else list(self.category)
            parts.append({"spec._category": {"$in": named}})
        return parts[0] if len(parts) == 1 else {"$and": parts}

    @property
    def launches(self) -> Predicate:
        """What holds for the fireworks that it launches."""
        return fireworks_where(self.filter)

    @property
    def document(self) -> dict[str, Any]:
        """As FireWorks writes it."""
        category = self.category if isinstance(self.category, str) else list(self.category)
        return {"name": self.name, "category": category, "query": json.dumps(self.query), "env": dict(self.env)}


def read_fworker(path: Path) -> FWorker:
    """The fworker that a file describes. SpecError with every problem, those of its query too."""
    problems = Problems(str(path))
    root = table(read_tree(read_bytes(path), path.suffix, problems), "an fworker file", problems)
    if root is None and not len(problems):
        problems.add(Place(), "the file is empty", "as in `name: my machine`")
    problems.raise_any()
    assert root is not None
    found = FWorker(
        text(root.get("name"), "`name`", problems) or UNNAMED,
        _category(root.get("category"), problems),
        _query(root.get("query"), problems),
        _object(root.get("env"), "`env`", problems),
    )
    problems.raise_any()
    return found


def _category(node: Node | None, problems: Problems) -> str | tuple[str, ...]:
    found = None if node is None else data(node, "`category`", problems)
    if node is None or found is None or isinstance(found, str):
        return found or ""
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return tuple(found)
    problems.add(node.place, "`category` must be a text, or a list of texts")
    return ""


def _query(node: Node | None, problems: Problems) -> Mapping[str, Any]:
    """An object, or the JSON text of one."""
    if node is None or isinstance(node, Table):
        found = _object(node, "`query`", problems)
    else:
        written = data(node, "`query`", problems)
        try:
            found = json.loads(written or "{}")
        except (TypeError, ValueError) as error:
            found = None
            problems.add(node.place, f"`query` is not JSON: {error}", """as in query: '{"spec.size": 3}'""")
        if found is not None and not isinstance(found, dict):
            problems.add(node.place, "`query` must be a JSON object")
    if not isinstance(found, dict):
        return {}
    try:
        fireworks_where(found)
    except RekindleError as error:
        assert node is not None
        problems.add(node.place, f"`query`: {error.message}", error.hint)
    return found


def _object(node: Node | None, what: str, problems: Problems) -> dict[str, Any]:
    if node is None or (not isinstance(node, Table) and data(node, what, problems) in (None, "")):
        return {}
    found = table(node, what, problems)
    return {} if found is None else dict(data(found, what, problems))
