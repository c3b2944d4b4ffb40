"""Failures by their error, and jobs that fail sometimes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from rekindle.domain.selection import Selection
from rekindle.engine.queries import failure_queries, flaky_queries, job_queries, selections, workflow_queries
from rekindle.presentation import attempts as attempt_texts
from rekindle.presentation import words
from rekindle.web.console import Page, Part

if TYPE_CHECKING:
    from rekindle.domain.batches.flakiness import Flakiness
    from rekindle.domain.models import Attempt, FailureGroup
    from rekindle.engine.queries.failure_queries import FailureExample
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values

MOST_GROUPS, MOST_FLAKY, MOST_OUTCOMES = 50, 100, 60
"""The most groups and jobs of a page, and the most attempts of a history strip."""

_LISTED = 12


def add(console: Console) -> None:
    """Add the pages and the live part."""
    console.nav += [("/failures", "Failures"), ("/flaky", "Flaky")]
    console.add_page(Page("/failures", "failures.html", _failures_page))
    console.add_page(Page("/flaky", "flaky.html", _flaky))
    console.add_part(Part("failures", "parts/failures.html", _failures))


def _choice(session: Session, query: Query) -> Values:
    """Return the workflow that a page is about, and all that it could be about."""
    key = query.get("workflow", "")
    workflow = selections.find_workflow(session, key) if key else None
    return {"workflow": workflow, "workflows": workflow_queries.workflows(session)[::-1][:500]}


def _failures_page(session: Session, query: Query) -> Values:
    archived = query.get("archived", "")
    return {"title": "Failures", "section": "/failures", "archived": archived, **_choice(session, query)}


def _failures(session: Session, query: Query) -> Values:
    workflow, archived = query.get("workflow", ""), bool(query.get("archived"))
    groups = failure_queries.failures(session, workflow or None, archived)
    shown = groups[:MOST_GROUPS]
    examples = failure_queries.failure_examples(session, shown)
    return {
        "groups": [_group(one, examples.get(one.signature), workflow, archived=archived) for one in shown],
        "more": len(groups) - len(shown),
        "archived": archived,
    }


def _group(one: FailureGroup, example: FailureExample | None, workflow: str, *, archived: bool) -> dict[str, Any]:
    fields = {"all": "1", "signature": one.signature} | ({"w": workflow} if workflow else {})
    return {
        "group": one,
        "error": attempt_texts.newest_error(one),
        "tail": "\n".join(example.tail) if example else "",
        "example": example,
        "jobs": one.jobs[:_LISTED],
        "more_jobs": max(0, len(one.jobs) - _LISTED),
        "ids": attempt_texts.id_ranges(one.jobs),
        "selection": "" if archived else urlencode(fields),
    }


def _flaky(session: Session, query: Query) -> Values:
    chosen = _choice(session, query)
    rows: list[dict[str, Any]] = []
    total = 0
    if (workflow := chosen["workflow"]) is not None:
        found = flaky_queries.flaky_jobs(session, selections.select(session, Selection(workflow=str(workflow.id))))
        total, found = len(found), found[:MOST_FLAKY]
        names = {row.job.id: row.job for row in job_queries.jobs(session, [one.job for one in found])}
        history = _histories(session, [one.job for one in found])
        rows = [_flaky_row(one, names[one.job].name, history.get(one.job, [])) for one in found]
    return {"title": "Flaky jobs", "section": "/flaky", "rows": rows, "more": total - len(rows), **chosen}


def _histories(session: Session, jobs: list[int]) -> dict[int, list[Attempt]]:
    found: dict[int, list[Attempt]] = {}
    for one in job_queries.attempts(session, jobs) if jobs else ():
        found.setdefault(one.job, []).append(one)
    return {job: several[-MOST_OUTCOMES:] for job, several in found.items()}


def _flaky_row(one: Flakiness, name: str, history: list[Attempt]) -> dict[str, Any]:
    low, high = one.interval
    outcomes = [(attempt.id, attempt.state.label, attempt_texts.cause(attempt)) for attempt in history]
    counts = words.state_counts(Counter(attempt.state for attempt in history).items())
    return {
        "job": one.job,
        "name": name,
        "rate": f"{100 * one.rate:.0f} %",
        "interval": f"{100 * low:.0f} to {100 * high:.0f} %",
        "low": 100 * low,
        "high": 100 * high,
        "at": 100 * one.rate,
        "passes": one.passes,
        "failures": one.failures,
        "errors": [
            attempt_texts.example_error(kind.type, kind.message, kind.newest_message, kind.count)
            for kind in one.signatures[:3]
        ],
        "hosts": [(host.host, host.failures, host.failures + host.passes) for host in one.hosts[:4]],
        "outcomes": outcomes,
        "spoken": f"{len(history)} attempts, oldest first: {counts}",
        "last": one.last_failure,
    }
