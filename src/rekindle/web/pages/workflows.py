"""The list of workflows: state, progress, failures, search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rekindle.domain.batches.quarantine import covered_jobs
from rekindle.engine.queries import workflow_queries
from rekindle.presentation import attempts as attempt_texts
from rekindle.web.console import Page, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekindle.engine.results import WorkflowStatus
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values


def add(console: Console) -> None:
    """Add the page and its live parts."""
    console.add_page(Page("/", "workflows.html", _page))
    console.add_part(Part("workflows", "parts/workflows.html", _workflows))


def _page(_: Session, query: Query) -> Values:
    return {
        "title": "Workflows",
        "section": "/",
        "search": query.get("search", ""),
        "archived": query.get("archived", ""),
    }


def _workflows(session: Session, query: Query) -> Values:
    search, archived = query.get("search", "").casefold(), bool(query.get("archived"))
    known = [one for one in workflow_queries.status(session) if (one.workflow.archived is not None) == archived]
    labels = workflow_queries.labels(session, [one.workflow.id for one in known])
    rows = [_row(one, [f"{name}={value}" for name, value in labels.get(one.workflow.id, ())]) for one in known]
    found = [row for row in reversed(rows) if any(search in text.casefold() for text in row["searched"])]
    return {"workflows": found[:_MOST], "more": max(0, len(found) - _MOST)}


_MOST = 200
_MOST_LABELS = 6


def _row(one: WorkflowStatus, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "status": one,
        "workflow": one.workflow,
        "searched": (one.workflow.name, one.workflow.project or "", str(one.workflow.id), *labels),
        "labels": labels[:_MOST_LABELS],
        "quarantined": len(covered_jobs(one.quarantined)),
        "more_labels": max(0, len(labels) - _MOST_LABELS),
        "failures": [(group, attempt_texts.newest_error(group)) for group in one.failures[:3]],
        "more_failures": max(0, len(one.failures) - 3),
    }
