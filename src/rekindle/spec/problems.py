"""Everything wrong with one spec, gathered while reading goes on."""

from __future__ import annotations

from typing import NamedTuple

from rekindle.domain.errors import Problem, SpecError

_MOST = 200
"""Problems that are told; whoever has more mends these first."""


class Place(NamedTuple):
    """Where something stands: line and column from 1, or 0 and the path of keys where no line is known."""

    line: int = 0
    column: int = 0
    path: str = ""

    def at(self, step: object) -> Place:
        """The place of a key or position below this one, known by its path only."""
        return self._replace(path=f"{self.path}.{step}" if self.path else str(step))


class Placed(NamedTuple):
    """A text and where it stands."""

    text: str
    place: Place


class Problems:
    """The problems of one spec, each told once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: dict[Problem, None] = {}
        self._void: set[Place] = set()
        self._added = 0

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """One more. Where the line is not known, the path of keys stands before the message. Of a place that `void`
        has named, nothing more is reported."""
        self._added += 1
        if place in self._void:
            return
        if not place.line and place.path:
            message = f"{place.path}: {message}"
        self._found[Problem(place.line, place.column, message, hint)] = None

    def void(self, place: Place) -> None:
        """What stands there has been reported, and only a null could be put in its place."""
        if place.path:
            self._void.add(place)

    def __len__(self) -> int:
        return self._added

    def raise_any(self) -> None:
        """Raise SpecError with everything found, if anything was."""
        if not self._found:
            return
        found = sorted(self._found)
        if len(found) > _MOST:
            more = Problem(found[-1].line, found[-1].column, f"and {len(found) - _MOST} more problems")
            found = [*found[:_MOST], more]
        raise SpecError(self.path, found)
