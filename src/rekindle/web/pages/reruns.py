"""The history of reruns, and one rerun: its plan as applied, and what has become of its jobs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rekindle.engine.queries import job_queries, lists, selections, workflow_queries
from rekindle.engine.rerun import rerun as engine
from rekindle.engine.results import PageRequest
from rekindle.presentation import plans, waits
from rekindle.web.console import Page, Part
from rekindle.web.pages.rerun_dialog import recorded_values

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import RerunRecord
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values

ROWS = 50


def add(console: Console) -> None:
    """Add the pages and their live parts."""
    console.nav.append(("/reruns", "Reruns"))
    console.add_page(Page("/reruns", "reruns.html", _history))
    console.add_page(Page("/workflows/{workflow:int}/reruns", "reruns.html", _history))
    console.add_page(Page("/reruns/{id:int}", "rerun.html", _page))
    console.add_part(Part("reruns", "parts/reruns.html", _reruns))
    console.add_part(Part("rerun", "parts/rerun.html", _rerun))


def _history(session: Session, query: Query) -> Values:
    key = query.get("workflow", "")
    workflow = selections.find_workflow(session, key) if key else None
    title = f"Reruns of {workflow.name}" if workflow else "Reruns"
    return {"title": title, "workflow": workflow, "tab": "reruns", "section": "/reruns", "at": _number(query, "at")}


def _reruns(session: Session, query: Query) -> Values:
    key, at = query.get("workflow", ""), _number(query, "at")
    found = lists.reruns(session, key or None, PageRequest(ROWS, at))
    newest = engine.newest_manual(session)
    return {
        "rows": [_row(record, touched) for record, touched in found.rows],
        "newest": newest,
        "total": found.total,
        "at": at,
        "size": ROWS,
        "path": f"/workflows/{key}/reruns" if key else "/reruns",
    }


def _row(record: RerunRecord, touched: int) -> dict[str, Any]:
    return {"record": record, "jobs": touched, "asked": plans.request_text(record.request)}


def _page(session: Session, query: Query) -> Values:
    record = workflow_queries.rerun(session, int(query["id"]))
    return {"title": f"Rerun {record.id}", "section": "/reruns", "record": record}


def _rerun(session: Session, query: Query) -> Values:
    record = workflow_queries.rerun(session, _number(query, "id"))
    ids = record.plan.jobs.ids
    again = [job.id for job in record.plan.jobs if not job.stays]
    checked = workflow_queries.reuse_checks(session, record.id)
    return {
        "record": record,
        "asked": plans.request_text(record.request),
        "workflows": workflow_queries.owners(session, ids),
        "now": sorted(Counter(row.job.state for row in job_queries.jobs(session, again)).items()),
        "reused": sum(one.get("result") == "reinstated" for one in checked.values()),
        "refusal": engine.undo_refusal(session, record.id),
        "canaries": [waits.canary_line(one) for one in workflow_queries.canary_groups(session, record.id)],
        "refused": record.plan.refused[:ROWS],
        "more_refused": max(0, len(record.plan.refused) - ROWS),
        **recorded_values(record.plan, job_queries.child_ids(session, ids)),
    }


def _number(query: Query, name: str) -> int:
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 16 else 0
