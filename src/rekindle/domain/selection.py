"""Selections: which jobs a user means, filters on their fields, and the catalogue of those fields.

These are values only: `query` parses them, the store compiles them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec


class Op(enum.StrEnum):
    """A comparison operator. REGEX searches anywhere; GLOB matches the whole and knows only `*` and `?`."""

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


class Ago(msgspec.Struct, frozen=True):
    """A time this many seconds before the selection is evaluated."""

    seconds: float


class Compare(msgspec.Struct, frozen=True):
    """`field op value`; a list of values for IN, a bool for EXISTS. `resolve_times` replaces an Ago value by a time.

    A comparison with an absent value (null) is false, except NE, which is true."""

    field: str
    op: Op
    value: Any


class ErrorPattern(msgspec.Struct, frozen=True):
    """A regular expression searched in the type, message, traceback and end of stderr of a job's live attempt; with
    `archived`, of all its attempts."""

    pattern: str
    archived: bool = False


class DocumentMatches(msgspec.Struct, frozen=True):
    """A document made from the job matches a query, given as JSON text: see documents.conditions. `document` takes a
    rekindle.store.candidates.JobRecord and returns a JSON value."""

    document: Callable[[Any], Any]
    query: str


class HasParameter(msgspec.Struct, frozen=True):
    """The latest revision of the job's workflow has a value at this path of its parameters, which is not null."""

    path: tuple[str, ...]


class AllOf(msgspec.Struct, frozen=True):
    """All parts hold. Without parts, always true."""

    parts: tuple[Predicate, ...] = ()


class AnyOf(msgspec.Struct, frozen=True):
    """At least one part holds."""

    parts: tuple[Predicate, ...]


class Not(msgspec.Struct, frozen=True):
    """The part does not hold."""

    part: Predicate


class IdsOrName(msgspec.Struct, frozen=True):
    """A word such as `1-3`: the name of a job, or ids if no job has that name."""

    word: str

    def __str__(self) -> str:
        return self.word


JobKey = int | str | IdsOrName
"""A name for jobs: an id, a word of ids, or a name. A name that no job has may be a pattern or a template."""


StaleFilter = bool | Literal["all"]
"""Whether only stale jobs are selected; "all" includes jobs whose environment differs."""


Predicate = Compare | HasParameter | ErrorPattern | DocumentMatches | AllOf | AnyOf | Not


def resolve_times(where: Predicate, now: float) -> Predicate:
    """Return the predicate with relative times resolved against `now`."""
    match where:
        case AllOf(parts):
            return AllOf(tuple(resolve_times(part, now) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(resolve_times(part, now) for part in parts))
        case Not(part):
            return Not(resolve_times(part, now))
        case Compare(field, op, Ago(seconds)):
            return Compare(field, op, now - seconds)
    return where


def has_pattern(where: Predicate) -> bool:
    """Return whether a predicate may search a user's regular expression."""
    match where:
        case AllOf(parts) | AnyOf(parts):
            return any(map(has_pattern, parts))
        case Not(part):
            return has_pattern(part)
        case DocumentMatches():
            return '"$regex"' in where.query
        case Compare():
            return where.op is Op.REGEX
    return isinstance(where, ErrorPattern)


def decided_by_sql(where: Predicate) -> bool:
    """Return whether SQL alone decides on a predicate. Otherwise SQL narrows; Python decides on regular expressions,
    documents and values within JSON columns."""
    match where:
        case AllOf(parts) | AnyOf(parts):
            return all(map(decided_by_sql, parts))
        case Not(part):
            return decided_by_sql(part)
        case Compare(field, op, _):
            return op is not Op.REGEX and not field.startswith(tuple(FIELD_PREFIXES))
    return isinstance(where, HasParameter)


class JobFilter(msgspec.Struct, frozen=True):
    """Jobs whose list is read from the store: those that match `where`, which SQL alone decides, of one workflow or of
    all that are not archived; or those with these ids."""

    where: Predicate = msgspec.field(default_factory=AllOf)
    workflow: int | None = None
    ids: Sequence[int] | None = None


SORT_FIELDS = (
    "id",
    "name",
    "state",
    "cause",
    "started",
    "seconds",
    "max_rss_bytes",
    "cpu_seconds",
    "attempts",
    "priority",
)
"""The fields that lists of jobs are sorted by."""

Position = tuple[str | int | float | None, int]
"""A place in a sorted list: the value of the field, and the id, of the job there."""


class JobPage(msgspec.Struct, frozen=True):
    """Some rows of a sorted list of jobs: the first after a position, or with `backwards` the last before it; without a
    position, the first or last of all. Jobs with equal values follow by id; those without a value come last, whichever
    the direction."""

    field: str = "id"
    descending: bool = False
    position: Position | None = None
    backwards: bool = False
    limit: int = 200

    @property
    def beyond(self) -> Predicate:
        """The condition for the jobs after the position, or with `backwards` before it."""
        if self.position is None:
            return AllOf()
        value, number = self.position
        same = Compare("id", Op.LT if self.backwards else Op.GT, number)
        if self.field == "id":
            return Compare("id", Op.GT if self.descending == self.backwards else Op.LT, number)
        if value is None:
            absent = AllOf((Compare(self.field, Op.EXISTS, False), same))
            return AnyOf((Compare(self.field, Op.EXISTS, True), same)) if self.backwards else absent
        further = Compare(self.field, Op.GT if self.descending == self.backwards else Op.LT, value)
        parts = (further, AllOf((Compare(self.field, Op.EQ, value), same)))
        return AnyOf(parts if self.backwards else (*parts, Compare(self.field, Op.EXISTS, False)))


class Selection(msgspec.Struct, frozen=True):
    """A request for jobs. All parts must hold; entries of `jobs`, and of each of `also`, are alternatives.

    Each of `jobs`, `workflow` and `signature` must exist; `where` and globs may match nothing. `everything`: all jobs.
    `changed`: only stale ones. `read_files`: jobs whose live attempt read one of these files. `tainted_by`: jobs whose
    live attempt is one of these attempts, or used their results."""

    workflow: str | None = None  # id or name
    jobs: tuple[JobKey, ...] = ()
    where: Predicate = msgspec.field(default_factory=AllOf)
    signature: str | None = None  # a digest, or its beginning
    everything: bool = False  # --all
    changed: StaleFilter = False  # only stale jobs: files are read to find them
    also: tuple[tuple[JobKey, ...], ...] = ()  # names given by other options (-i, -n)
    read_files: tuple[str, ...] = ()  # absolute paths
    tainted_by: tuple[int, ...] = ()  # ids of attempts

    @property
    def empty(self) -> bool:
        """Whether the selection is empty."""
        named = self.workflow or self.jobs or self.signature
        recorded = self.read_files or self.tainted_by
        return not (named or recorded or self.everything or self.changed or self.where != AllOf())


FieldKind = Literal["int", "number", "text", "state", "bool", "time"]


class FilterField(msgspec.Struct, frozen=True):
    """A field: its kind, and whether it belongs to the job, its live attempt or its workflow."""

    kind: FieldKind
    of: Literal["job", "attempt", "workflow"]
    about: str


FIELDS: dict[str, FilterField] = {
    "id": FilterField("int", "job", "the job's id"),
    "name": FilterField("text", "job", "the job's name, matrix values included"),
    "template": FilterField("text", "job", "the name in the spec, without matrix values"),
    "state": FilterField("state", "job", "waiting, ready, queued, running, completed, failed or canceled"),
    "held": FilterField("bool", "job", "whether it is held"),
    "held.reason": FilterField("text", "job", "why it is held"),
    "retired": FilterField("bool", "job", "whether a later revision left it out"),
    "priority": FilterField("int", "job", "higher is claimed first"),
    "attempts": FilterField("int", "job", "how many attempts there have been"),
    "last_active": FilterField(
        "time", "job", "when an attempt of it, live or archived, was last queued, started or ended"
    ),
    "workflow": FilterField("text", "workflow", "the workflow's name"),
    "workflow.id": FilterField("int", "workflow", "the workflow's id"),
    "project": FilterField("text", "workflow", "the workflow's project label"),
    "workflow.submitted": FilterField("time", "workflow", "when the workflow was submitted first"),
    "workflow.archived": FilterField("bool", "workflow", "whether the workflow is archived"),
    "cause": FilterField("text", "attempt", "why the live attempt did not succeed"),
    "exit_code": FilterField("int", "attempt", "the return code of its last command"),
    "signal": FilterField("int", "attempt", "the signal that killed it"),
    "host": FilterField("text", "attempt", "where it ran"),
    "runner": FilterField("text", "attempt", "what its runner is called; without a name, where that ran"),
    "verdict": FilterField("text", "attempt", "passed, warning or blocker"),
    "attempt.id": FilterField("int", "attempt", "the live attempt's id"),
    "attempt.state": FilterField("state", "attempt", "how the live attempt stands, as a job's state"),
    "workdir": FilterField("text", "attempt", "the folder that it worked in"),
    "queued": FilterField("time", "attempt", "when it was handed to an executor (ISO 8601, UTC)"),
    "started": FilterField("time", "attempt", "when it started (ISO 8601, UTC)"),
    "ended": FilterField("time", "attempt", "when it ended (ISO 8601, UTC)"),
    "seconds": FilterField("number", "attempt", "how long it ran"),
    "cpu_seconds": FilterField("number", "attempt", "processor time"),
    "max_rss_bytes": FilterField("int", "attempt", "peak memory"),
    "signature": FilterField("text", "attempt", "digest of its failure"),
    "error.type": FilterField("text", "attempt", "exception type"),
    "error.message": FilterField("text", "attempt", "error message"),
    "error.traceback": FilterField("text", "attempt", "traceback"),
    "error.stderr": FilterField("text", "attempt", "the tail of stderr"),
}


FIELD_PREFIXES: dict[str, str] = {
    "matrix.": "a value of the job's matrix, for instance matrix.alpha, or what lies within one: matrix.model.depth",
    "labels.": "a label of the job's, for instance labels.team",
    "params.": "a parameter of the job's, with what actions have changed, for instance params.alpha",
    "result.": "what lies within the live attempt's result, for instance result.loss",
}
"""Open families of fields: the user chooses the name after the dot. The kind follows from the stored value."""
