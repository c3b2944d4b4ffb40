"""What makes a document of a job or of an attempt: values only, which the store compiles.

Who asks describes a document by what rekindle knows; the store makes it for as many jobs as there are, and a query
of a document database is put to it (domain.selection.Matches) or it is read (Documents.of_jobs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from rekindle.domain.selection import Predicate


@dataclass(frozen=True, slots=True)
class Const:
    """The same JSON value for all."""

    value: Any


@dataclass(frozen=True, slots=True)
class Value:
    """A field of domain.fields; null where there is none. Times are ISO 8601 in UTC, without a zone."""

    field: str


@dataclass(frozen=True, slots=True)
class Lines:
    """The texts of fields as one, each beneath the one before; of those that there are."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """A JSON document that is stored, or what lies in it at a path of keys; null where there is nothing.

    `matrix`: the job's matrix values · `params`: its parameters, with the changes that actions have in force ·
    `result`: the result of the attempt · `steps`: the results of its steps that are objects, each put over those
    before it: objects within them are joined key by key, lists are put together."""

    name: Literal["matrix", "params", "result", "steps"]
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """Objects, each put over those before it as the results of steps are."""

    parts: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class WhereItStopped:
    """The element of a list that stands where the step stands at which the attempt did not complete; null where there
    is none."""

    of: Stored


@dataclass(frozen=True, slots=True)
class PutOver:
    """An object, and over it what the changes of a list have under `key`, in their order. A change says whose it is,
    `{"by": [job, …], key: {…}}`; those of the job `apart` are left out."""

    base: Stored
    by: Stored
    key: str
    apart: Stored


@dataclass(frozen=True, slots=True)
class Object:
    """An object of keys, each with what it holds."""

    entries: tuple[tuple[str, Shape], ...]

    def only(self, keys: frozenset[str]) -> Object:
        """Those entries that are wanted: what is not made costs nothing."""
        return Object(tuple(entry for entry in self.entries if entry[0] in keys))


@dataclass(frozen=True, slots=True)
class Items:
    """A list of these."""

    items: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Attempts:
    """A list with an element for each of the job's attempts, the oldest first: of those that are live, or archived.
    Fields of attempts and their documents are in it those of each."""

    each: Shape
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The first whose condition holds; null where none does."""

    cases: tuple[tuple[Predicate, Shape], ...]


Shape: TypeAlias = (
    Const | Value | Lines | Stored | Joined | WhereItStopped | PutOver | Object | Items | Attempts | Choice
)
