"""A FireWorks workflow as a value: its fireworks, and what needs what. And how its names become ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

UNNAMED, UNNAMED_WORKFLOW = "Unnamed FW", "unnamed WF"
"""What FireWorks calls those that have no name."""


@dataclass(frozen=True, slots=True)
class Firework:
    """One firework: its number in the file (an id, once it is stored), and the whole of its spec."""

    id: int
    name: str
    spec: Mapping[str, Any]
    created_on: str
    job: str | None = None  # the name of the job that it is; None: it becomes one
    number: int | None = None  # its number in the file that it came from, where that is another

    @property
    def tasks(self) -> tuple[Mapping[str, Any], ...]:
        """What it does, in order."""
        return tuple(self.spec.get("_tasks", ()))


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow: its fireworks by number, and the children of each."""

    name: str
    created_on: str
    fireworks: tuple[Firework, ...]
    links: Mapping[int, tuple[int, ...]]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def roots(self) -> set[int]:
        """Those that need nothing."""
        return {one.id for one in self.fireworks} - {child for children in self.links.values() for child in children}

    @property
    def leaves(self) -> set[int]:
        """Those that nothing needs."""
        return {one.id for one in self.fireworks if not self.links.get(one.id)}


def date_text(at: float) -> str:
    """Seconds since the epoch as FireWorks writes dates: ISO 8601 in UTC, without a zone."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()


def job_names(names: Iterable[str], taken: Iterable[str] = ()) -> Iterator[str]:
    """A name that a job can have for each of these, no two alike: `prep`, `prep-2`."""
    used = set(taken)
    last: dict[str, int] = {}
    for name in names:
        plain = plain_name(name)
        number = last.get(plain, 0) + 1
        while (found := plain if number == 1 else f"{plain}-{number}") in used:
            number += 1
        last[plain] = number
        used.add(found)
        yield found


def plain_name(name: str) -> str:
    """Letters, digits, `_` and `-`. It holds no dot: names with one are those of jobs that were added."""
    plain = re.sub(r"[^\w-]+", "-", name).strip("-")[:_LONGEST] or "firework"
    return f"fw-{plain}" if plain.isdecimal() else plain


def workflow_name(name: str) -> str:
    """A name that a workflow can have."""
    plain = "".join(one if one.isprintable() else " " for one in name).strip()[:_LONGEST] or UNNAMED_WORKFLOW
    return f"wf-{plain}" if plain.isdecimal() else plain


_LONGEST = 100
