"""What requests of the API may hold: parameters of the query and JSON bodies. The types are checked when a request is
decoded, and the OpenAPI document is made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rekindle.domain.errors import UsageError
from rekindle.domain.rerun.request import HowFlags
from rekindle.domain.selection import AllOf, Compare, Op, Selection
from rekindle.engine.results import PageRequest
from rekindle.query.selections import SelectionFlags, parse_selection

MOST_ROWS = 1_000
"""The most rows of one answer."""

MOST_LOG_BYTES = 8 << 20
"""The most bytes of a log in one answer."""

Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Limit = Annotated[int, Meta(ge=1, le=MOST_ROWS, description="The most rows of the answer.")]
Offset = Annotated[Whole, Meta(description="How many rows to skip.")]
Word = Annotated[str, Meta(max_length=10_000)]
Words = Annotated[list[Word], Meta(max_length=1_000)]
Id = int | Word
WorkflowKey = Annotated[Id, Meta(description="The id or name of a workflow.")]
Note = Annotated[str, Meta(max_length=10_000, description="Kept with what is done.")]


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """No parameters."""


class Page(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A page of a list."""

    limit: Limit = 200
    offset: Offset = 0

    def page(self) -> PageRequest:
        """Return the requested rows."""
        return PageRequest(self.limit, self.offset)


class WorkflowPage(Page, kw_only=True, forbid_unknown_fields=True):
    """A page of a list, of one workflow or of all."""

    workflow: WorkflowKey | None = None

    @property
    def key(self) -> str | None:
        """The workflow as it is typed."""
        return None if self.workflow is None else str(self.workflow)


class ArchivedPage(WorkflowPage, kw_only=True, forbid_unknown_fields=True):
    """A page of a list that leaves archived entries out by default."""

    archived: Annotated[bool, Meta(description="Include archived ones.")] = False


class WorkflowsPage(Page, kw_only=True, forbid_unknown_fields=True):
    """A page of the list of workflows."""

    archived: Annotated[bool, Meta(description="Include archived ones.")] = False


class SelectionFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A SELECTION, in the words of the command line. Several fields narrow each other."""

    job: Annotated[list[Id], Meta(description="Jobs by id or name.", max_length=100_000)] = []
    workflow: WorkflowKey | None = None
    id: Annotated[list[Id], Meta(description="Jobs by id: 7, 1,2 or 4-9.", max_length=100_000)] = []
    name: Annotated[Words, Meta(description="Jobs by name; * and ? are wildcards.")] = []
    state: Annotated[Words, Meta(description="Jobs in any of these states.")] = []
    filter: Annotated[Words, Meta(description="Conditions such as exit_code=3, seconds>60 or name~^train.")] = []
    query: Annotated[
        list[Word | dict[str, Any]], Meta(description="Document filters: $in, $gt, $regex, $or, …", max_length=100)
    ] = []
    error: (
        Annotated[Word, Meta(description="A regular expression, searched in errors and the end of stderr.")] | None
    ) = None
    archived: Annotated[bool, Meta(description="`error` searches archived attempts, too.")] = False
    signature: Annotated[Word, Meta(description="The signature of a failure.")] | None = None
    changed: Annotated[bool | Literal["all"], Meta(description="Only stale jobs.")] = False
    from_file: Annotated[Words, Meta(description="Jobs whose last attempt read these files (absolute paths).")] = []
    tainted_by: Annotated[
        list[Annotated[int, Meta(ge=1, le=2**63 - 1)]],
        Meta(description="The jobs of these attempts, and jobs that used their results.", max_length=1000),
    ] = []
    all: Annotated[bool, Meta(description="Every job of the store.")] = False

    def flags(self) -> SelectionFlags:
        """Return the flags of the command line that say the same."""
        queries = [one if isinstance(one, str) else json.dumps(one) for one in self.query]
        return SelectionFlags(
            jobs=_texts(self.job),
            workflow=None if self.workflow is None else str(self.workflow),
            ids=_texts(self.id),
            names=tuple(self.name),
            states=tuple(self.state),
            filters=tuple(self.filter),
            queries=tuple(queries),
            error=self.error,
            archived=self.archived,
            signature=self.signature,
            everything=self.all,
            changed=self.changed,
            from_files=tuple(self.from_file),
            tainted_by=tuple(self.tainted_by),
        )


class SelectionPage(SelectionFields, kw_only=True, forbid_unknown_fields=True):
    """A page of the list of a selection's jobs."""

    limit: Limit = 200
    offset: Offset = 0

    def page(self) -> PageRequest:
        """Return the requested rows."""
        return PageRequest(self.limit, self.offset)


class JobsPage(SelectionPage, kw_only=True, forbid_unknown_fields=True):
    """A page of the list of jobs, by id."""

    after: (
        Annotated[Whole, Meta(description="Only jobs with a larger id: `next` of the page before. Fast on any page.")]
        | None
    ) = None

    def selection(self) -> Selection:
        """Return the selection."""
        chosen = parse_selection(self.flags())
        if self.after is None:
            return chosen
        return msgspec.structs.replace(chosen, where=AllOf((chosen.where, Compare("id", Op.GT, self.after))))


class AttemptsPage(SelectionPage, kw_only=True, forbid_unknown_fields=True):
    """A page of the list of attempts, oldest first."""

    live: Annotated[bool, Meta(description="Leave archived attempts out.")] = False


class FlakyPage(SelectionPage, kw_only=True, forbid_unknown_fields=True):
    """A page of the list of flaky jobs."""

    every: Annotated[bool, Meta(description="Include jobs that never failed, or always.")] = False


class ForecastQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is forecast."""

    workflow: WorkflowKey | None = None
    slots: (
        Annotated[int, Meta(ge=1, le=1_000_000, description="As if one runner ran this number of jobs at once.")] | None
    ) = None
    assume: Annotated[float, Meta(ge=0, le=1e9, description="Seconds of a job without history.")] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**31, description="By which durations are drawn.")] = 0

    @property
    def key(self) -> str | None:
        """The workflow as it is typed."""
        return None if self.workflow is None else str(self.workflow)


class LogPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A part of a log."""

    step: Annotated[Word, Meta(description="The step; by default the last one that has printed.")] | None = None
    stream: Literal["stdout", "stderr"] = "stdout"
    subtask: Annotated[Whole, Meta(description="The index of an item of a fan-out; needs `step`.")] | None = None
    offset: Annotated[
        int,
        Meta(ge=-(2**62), le=2**62, description="The first byte; negative: from the end."),
    ] = 0
    limit: Annotated[int, Meta(ge=1, le=MOST_LOG_BYTES, description="The most bytes.")] = 1 << 20


class PlanBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A rerun to plan: which jobs, and how. `set` and `env` in `how` need the scope submit."""

    selection: SelectionFields
    how: HowFlags = HowFlags()
    note: Note | None = None
    canary: (
        Annotated[int, Meta(ge=1, le=2**31, description="Run this number of jobs of each signature first.")] | None
    ) = None


class RerunBody(PlanBody, kw_only=True, forbid_unknown_fields=True):
    """A rerun to apply: what was planned, with the digest of the plan."""

    digest: Annotated[str, Meta(max_length=64, description="`digest` of the plan. Nothing else is applied.")]


class ControlBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Jobs to hold, release, cancel or accept."""

    selection: SelectionFields
    note: Note | None = None


class CompleteBody(ControlBody, kw_only=True, forbid_unknown_fields=True):
    """Jobs to record as completed."""

    result: Annotated[Any, Meta(description="What each job hands to those that need it.")] = msgspec.UNSET
    dry_run: Annotated[bool, Meta(description="Change nothing.")] = False


class SubmitBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A spec as a JSON document. Its jobs run in the folder that holds the store."""

    spec: Annotated[dict[str, Any], Meta(description="The keys of a spec file.")]
    params: Annotated[dict[Word, Word], Meta(description="Values of declared parameters, as --param takes them.")] = {}
    name: Annotated[Word, Meta(description="Submit it under this name.")] | None = None
    new: Annotated[bool, Meta(description="Make another workflow of this name.")] = False
    revise: Annotated[bool, Meta(description="Make it the next revision of a workflow that is from a file.")] = False


def required(fields: SelectionFields, verb: str) -> SelectionFlags:
    """Return the flags of a request that changes jobs. Raise UsageError if it selects nothing in particular."""
    flags = fields.flags()
    if parse_selection(flags).empty:
        raise UsageError(f"say which jobs to {verb}", hint='for instance "selection": {"state": ["failed"]}')
    return flags


def _texts(words: Iterable[int | str]) -> tuple[str, ...]:
    return tuple(str(word) for word in words)
