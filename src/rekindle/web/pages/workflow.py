"""A workflow: how far it is, and its jobs as a table that is filtered, sorted and read page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException

from rekindle.domain.errors import BadSelection, NotFound, RekindleError, SlowPattern, UnknownWord
from rekindle.domain.selection import FIELDS, SORT_FIELDS, JobPage, Position, Selection
from rekindle.domain.states import ENDED, State
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.queries.job_table import job_groups, job_table
from rekindle.presentation import attempts as attempt_texts
from rekindle.presentation.workflows import quarantine_lines, spec_note
from rekindle.query.job_keys import has_wildcard
from rekindle.query.selections import parse_selection
from rekindle.web.console import Page, Part, address
from rekindle.web.selections import WORDS, words_of

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.queries.job_table import JobTable
    from rekindle.engine.results import JobRow
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values

Words = list[tuple[str, str]]
"""A filter in the words of a selection: its fields and values."""

ROWS = 200
"""The rows of a page."""

MOST_FAILURES = 8

MOST_GROUPS = 100
"""The most groups that are listed."""

MOST_OPEN, MOST_JOBS = 8, 20_000
"""The most groups, and jobs in them, that are counted whenever the page is shown."""

COLUMNS = (
    ("id", "Id", False),
    ("name", "Job", False),
    ("state", "State", False),
    ("cause", "Cause", False),
    ("started", "Started", True),
    ("seconds", "Duration", True),
    ("max_rss_bytes", "Memory", True),
    ("cpu_seconds", "CPU", True),
    ("attempts", "Attempts", True),
    ("priority", "Priority", True),
)
"""The columns: the field that each shows, its title, and whether it is first sorted downwards."""


def add(console: Console) -> None:
    """Add the page and its live parts."""
    console.add_page(Page("/workflows/{id:int}", "workflow.html", _page))
    console.add_part(Part("workflow", "parts/workflow.html", _workflow))
    console.add_part(Part("groups", "parts/groups.html", _groups))
    console.add_part(Part("jobs", "parts/jobs.html", _jobs))


def _page(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query["id"])
    words, errors = _read_filter(session, workflow, query)
    groups = _count_groups(session, workflow)
    given = {key: [value for name, value in words if name == key] for key in WORDS}
    places = {key: query.get(key, "") for key in ("sort", "order", "after", "before", "last")}
    return {
        "title": workflow.name,
        "workflow": workflow,
        "tab": "jobs",
        "states": [state.label for state in State],
        "given": given,
        "narrowed": bool(words),
        "unfinished": any(workflow.counts.get(state) for state in State if state not in ENDED),
        "groups": groups,
        "grouped": bool(query.get("groups")) or (groups <= MOST_OPEN and sum(workflow.counts.values()) <= MOST_JOBS),
        "to_groups": address(f"/workflows/{workflow.id}", [*words, ("groups", 1)]),
        "errors": errors,
        "more": any(given[key] or key in errors for key in ("filter", "query", "error", "changed")),
        "sort": places["sort"] or "id",
        "order": places["order"],
        "listed": {"w": workflow.id, **given, **places},
    }


def _count_groups(session: Session, workflow: Workflow) -> int:
    """Return the number of groups; 0 if there is one, which says no more than the whole workflow."""
    templates = workflow_queries.templates(session, workflow.id)
    number = len({one.name for one in templates})
    return number if number > 1 or any(step.each is not None for one in templates for step in one.steps) else 0


def _read_filter(session: Session, workflow: Workflow, query: Query) -> tuple[Words, dict[str, str]]:
    """Return the filter of an address, and the errors of its fields. A part of a name becomes a pattern, which the page
    shows; a name that a job, template or pattern has stays as it is."""
    words: Words = []
    errors: dict[str, str] = {}
    for key in WORDS:
        given = [value.strip() for value in query.getlist(key) if value.strip()]
        try:
            parse_selection(words_of({key: given}))
            if key == "name":
                given = [_name_or_pattern(session, workflow, name) for name in given]
        except (BadSelection, UnknownWord) as error:
            errors[key] = _text(error)
        words += [(key, value) for value in given]
    return words, errors


def _name_or_pattern(session: Session, workflow: Workflow, name: str) -> str:
    if has_wildcard(name):
        return name
    try:
        selections.select(session, Selection(workflow=str(workflow.id), jobs=(name,)))
    except NotFound:
        return f"*{name}*"
    return name


def _text(error: RekindleError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _workflow(session: Session, query: Query) -> Values:
    status = workflow_queries.status(session, query.get("id", ""))[0]
    return {
        "status": status,
        "workflow": status.workflow,
        "spec": spec_note(status.workflow, status.spec),
        "quarantine": list(quarantine_lines(status.quarantined, status.counts.get(State.WAITING, 0))),
        "failures": [(one, attempt_texts.newest_error(one)) for one in status.failures[:MOST_FAILURES]],
        "more_failures": max(0, len(status.failures) - MOST_FAILURES),
        "signature": query.get("signature", ""),
    }


def _groups(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query.get("id", ""))
    found = job_groups(session, workflow.id)
    return {
        "groups": [(one, _columns(one.counts)) for one in found[:MOST_GROUPS]],
        "more": max(0, len(found) - MOST_GROUPS),
        "link": lambda **words: address(f"/workflows/{workflow.id}", words) + "#jobs",
    }


def _columns(counts: Mapping[State, int]) -> list[tuple[str, int]]:
    """Return the numbers of a group's columns."""
    waiting = sum(counts.get(state, 0) for state in (State.WAITING, State.READY, State.QUEUED))
    shown = (State.RUNNING, State.COMPLETED, State.FAILED, State.CANCELED)
    return [("waiting", waiting), *((state.label, counts.get(state, 0)) for state in shown)]


def _jobs(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query.get("w", ""))
    words = [("w", str(workflow.id)), *((key, value) for key in WORDS for value in query.getlist(key))]
    page = _page_of(query)
    shown = {"workflow": workflow, "words": address("", words).removeprefix("?"), "narrowed": len(words) > 1}
    try:
        found = job_table(session, parse_selection(words_of({key: query.getlist(key) for key in ("w", *WORDS)})), page)
    except (BadSelection, UnknownWord, NotFound, SlowPattern) as error:
        return {**shown, "error": _text(error)}
    listed = [*words[1:], ("sort", page.field), ("order", "down" if page.descending else "up")]
    at = f"/workflows/{workflow.id}"
    return {
        **shown,
        "error": "",
        "table": found,
        "rows": [(row, attempt_texts.cause(row.attempt) if row.attempt else "", _error(row)) for row in found.rows],
        "seconds": lambda row: _seconds(row, session.clock()),
        "headers": list(_headers(at, words[1:], page)),
        "pages": _pages(at, listed, found),
        "all_jobs": at,
    }


def _page_of(query: Query) -> JobPage:
    """Return the page that an address asks for. Raise HTTPException if there is none."""
    field = query.get("sort") or "id"
    if field not in SORT_FIELDS:
        raise HTTPException(400, f"`sort` is one of {', '.join(SORT_FIELDS)}")
    descending = query.get("order") == "down"
    for name, backwards in (("before", True), ("after", False)):
        if query.get(name):
            return JobPage(field, descending, _position(field, query[name]), backwards, limit=ROWS)
    return JobPage(field, descending, backwards=bool(query.get("last")), limit=ROWS)


def _position(field: str, text: str) -> Position:
    try:
        value, number = msgspec.json.decode(text, type=Position)
        if field == "state":
            State(value)
    except (msgspec.DecodeError, ValueError, UnicodeError):
        raise HTTPException(400, "there is no such page of the list") from None
    if value is not None and isinstance(value, str) is not (FIELDS[field].kind == "text"):
        raise HTTPException(400, "there is no such page of the list")
    return value, number


def _headers(at: str, words: Words, page: JobPage) -> Iterator[dict[str, Any]]:
    for field, title, down_first in COLUMNS:
        sorted_by = field == page.field
        down = not page.descending if sorted_by else down_first
        yield {
            "field": field,
            "title": title,
            "sort": ("descending" if page.descending else "ascending") if sorted_by else None,
            "href": address(at, [*words, ("sort", field), ("order", "down" if down else "up")]) + "#jobs",
        }


def _pages(at: str, listed: Words, found: JobTable) -> list[tuple[str, str, str | None]]:
    """Return the links to other pages: the key, the name and the address of each, None where there is none."""

    def to(**more: Any) -> str:
        return address(at, [*listed, *more.items()]) + "#jobs"

    before = to(before=msgspec.json.encode(found.first).decode()) if found.before else None
    after = to(after=msgspec.json.encode(found.last).decode()) if found.after else None
    return [
        ("first", "First", to() if found.before else None),
        ("prev", "Previous", before),
        ("next", "Next", after),
        ("last", "Last", to(last=1) if found.after else None),
    ]


def _error(row: JobRow) -> str:
    return attempt_texts.error(row.attempt) if row.attempt else ""


def _seconds(row: JobRow, now: float) -> float | None:
    """Return how long the live attempt ran, or has run until now."""
    one = row.attempt
    if one is None or one.started is None:
        return None
    if one.ended is None and one.state in ENDED:
        return None
    return max(0.0, (now if one.ended is None else one.ended) - one.started)
