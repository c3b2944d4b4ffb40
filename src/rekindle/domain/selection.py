"""Which jobs: what a user named, and what a filter must hold. Values only; `query` makes them, the store
compiles them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rekindle.domain.documents.shapes import Shape


class Op(enum.StrEnum):
    """How a field is compared. REGEX searches anywhere; GLOB knows `*` and `?` only and matches the whole."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    REGEX = "~"
    GLOB = "glob"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Ago:
    """A time that lies so many seconds before the time at which jobs are selected."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op value`; a list of values for IN, a bool for EXISTS. The field is in domain.fields. A value Ago stands
    for a time until `as_of` puts that in its place.

    A comparison with a value that is absent (null) is false, except NE, which is true."""

    field: str
    op: Op
    value: Any


@dataclass(frozen=True, slots=True)
class ErrorMatches:
    """A regular expression found in type, message, traceback or the tail of stderr of a job's attempts:
    of the live one, or of all with `archived`."""

    pattern: str
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """A document that is made of the job is what a query asks for: its JSON text, which
    domain.documents.conditions reads."""

    document: Shape
    query: str


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold; with none, everything does."""

    parts: tuple[Predicate, ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Predicate


@dataclass(frozen=True, slots=True)
class IdsOrName:
    """A word such as `1-3`: the name of a job, or ids where no job has that name."""

    word: str

    def __str__(self) -> str:
        return self.word


Key = int | str | IdsOrName
"""What names jobs: an id, a word of ids, or a name. A name that no job has may be a pattern, or name a template."""

Changed = bool | Literal["all"]
"""Whether only stale jobs are meant; "all": those, too, whose environment differs."""

Predicate = Compare | ErrorMatches | Matches | Every | AnyOf | Not


def as_of(where: Predicate, now: float) -> Predicate:
    """Return the condition with the times that lie some time before `now`."""
    match where:
        case Every(parts):
            return Every(tuple(as_of(part, now) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(as_of(part, now) for part in parts))
        case Not(part):
            return Not(as_of(part, now))
        case Compare(field, op, Ago(seconds)):
            return Compare(field, op, now - seconds)
    return where


def has_pattern(where: Predicate) -> bool:
    """Return whether a condition may search for a user's regular expression."""
    match where:
        case Every(parts) | AnyOf(parts):
            return any(has_pattern(part) for part in parts)
        case Not(part):
            return has_pattern(part)
        case Matches():
            return '"$regex"' in where.query
        case ErrorMatches():
            return True
    return where.op is Op.REGEX


@dataclass(frozen=True, slots=True)
class Chosen:
    """Jobs whose list is read from the store: those for which `where` holds, of one workflow or of all that are not
    archived; or, where a database cannot decide, those with these ids."""

    where: Predicate = field(default_factory=Every)
    workflow: int | None = None
    ids: Sequence[int] | None = None


def only_compares(where: Predicate) -> bool:
    """Whether a predicate consists of comparisons that every database makes itself: no regular expression and no query
    for documents."""
    match where:
        case Every(parts) | AnyOf(parts):
            return all(map(only_compares, parts))
        case Not(part):
            return only_compares(part)
        case Compare(_, op, _):
            return op is not Op.REGEX
    return False


@dataclass(frozen=True, slots=True)
class Selection:
    """A request for jobs. Everything given narrows; `jobs` among themselves widen, and so do those of each of `also`.

    Each of `jobs`, `workflow` and `signature` is named and must exist; `where` and globs may match nothing."""

    workflow: str | None = None  # id or name
    jobs: tuple[Key, ...] = ()
    where: Predicate = field(default_factory=Every)
    signature: str | None = None  # digest, or the beginning of one
    everything: bool = False  # --all
    changed: Changed = False  # only what is stale: files are read to find out
    also: tuple[tuple[Key, ...], ...] = ()  # named in other ways (-i, -n)

    @property
    def empty(self) -> bool:
        """Nothing at all was asked for."""
        named = self.workflow or self.jobs or self.signature
        return not (named or self.everything or self.changed or self.where != Every())
