"""Expressions that build a JSON document from a job or an attempt. These are values only: the store compiles them.

The document of each job is matched with a query (selection.DocumentMatches) or read (Documents.of_jobs)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from rekindle.domain.selection import Predicate


@dataclass(frozen=True, slots=True)
class Const:
    """The same JSON value for every job."""

    value: Any


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A field of selection.FIELDS; null if there is none. Times are ISO 8601 in UTC, without a zone."""

    field: str


@dataclass(frozen=True, slots=True)
class JoinedText:
    """The texts of fields that exist, joined by newlines."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A stored JSON document, or the value at a path of keys in it; null if there is none.

    `matrix`: the job's matrix values. `params`: its parameters, with the dynamic changes in force. `result`: the
    attempt's result. `steps`: the results of its steps that are objects, each merged over those before it: objects
    within them are merged by key, lists are concatenated."""

    name: Literal["matrix", "params", "result", "steps"]
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MergedObjects:
    """Objects, each merged over those before it as the results of steps are."""

    parts: tuple[DocumentExpression, ...]


@dataclass(frozen=True, slots=True)
class AtStoppedStep:
    """The element of a list at the position of the step where the attempt stopped; null if there is none."""

    of: StoredDocument


@dataclass(frozen=True, slots=True)
class WithChanges:
    """An object with the changes of a list applied in order. Each change is `{"by": [job, …], key: {…}}`; changes of
    the job `apart` are omitted."""

    base: StoredDocument
    by: StoredDocument
    key: str
    apart: StoredDocument


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """An object of keys and expressions."""

    entries: tuple[tuple[str, DocumentExpression], ...]

    def only(self, keys: frozenset[str]) -> ObjectOf:
        """Return the object with only these entries, so that others are not computed."""
        return ObjectOf(tuple(entry for entry in self.entries if entry[0] in keys))


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of expressions."""

    items: tuple[DocumentExpression, ...]


@dataclass(frozen=True, slots=True)
class EachAttempt:
    """A list with one element per attempt of the job, oldest first: live or archived attempts. Fields and documents of
    attempts in `each` are those of that attempt."""

    each: DocumentExpression
    archived: bool = False


@dataclass(frozen=True, slots=True)
class FirstMatch:
    """The first case whose condition holds; null if none does."""

    cases: tuple[tuple[Predicate, DocumentExpression], ...]


DocumentExpression: TypeAlias = (
    Const
    | FieldValue
    | JoinedText
    | StoredDocument
    | MergedObjects
    | AtStoppedStep
    | WithChanges
    | ObjectOf
    | ListOf
    | EachAttempt
    | FirstMatch
)
