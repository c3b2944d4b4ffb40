"""The port for documents: what is made of jobs and workflows for who asks in another system's shapes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from rekindle.domain.documents.shapes import Shape
from rekindle.domain.graph import Edge
from rekindle.domain.selection import Predicate
from rekindle.domain.states import State


@dataclass(frozen=True, slots=True)
class Outlined:
    """A workflow, its jobs that are not retired, and what these need. Times are seconds since the epoch."""

    id: int
    submitted: float
    updated: float  # the last that is known of it
    archived: bool
    params: dict[str, Any]
    jobs: dict[int, tuple[State, str | None]]  # with the reason for which each is held
    edges: tuple[Edge, ...]
    lenient: frozenset[int] = frozenset()  # the jobs that need others only finished


class Documents(Protocol):
    """Documents of jobs and outlines of workflows, each in a query or three, however many there are."""

    def of_jobs(self, document: Shape, where: Predicate, jobs: Collection[int] | None = None) -> list[tuple[int, Any]]:
        """Jobs for which `where` holds, in the order of their ids, each with its document as a JSON value; with `jobs`
        those among these alone. Retired jobs and archived workflows are left out as in Jobs.select."""
        ...

    def outlines(self, param: str) -> list[Outlined]:
        """The workflows with a parameter of this name, archived ones too, oldest first."""
        ...
