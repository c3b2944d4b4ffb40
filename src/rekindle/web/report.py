"""A report of a workflow: one HTML file that needs no server, no other file and no script."""

from __future__ import annotations

import time
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from rekindle.domain.errors import Refused
from rekindle.domain.selection import Compare, Op, Selection
from rekindle.domain.states import State
from rekindle.engine.queries import lists, plots, workflow_queries
from rekindle.engine.queries.graphs import workflow_graph
from rekindle.engine.results import PageRequest
from rekindle.files.store_files import replace_file
from rekindle.presentation import attempts as attempt_texts
from rekindle.web import plots_svg
from rekindle.web.graph_svg import Links, draw_graph
from rekindle.web.markup import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekindle.engine.results import JobRow
    from rekindle.engine.session import Session

MOST_JOBS = 2_000
"""The most jobs that are listed."""

MOST_FAILURES = 200
"""The most failed jobs whose errors are shown."""

_STYLES = ("console.css", "graph.css", "plots.css")
_LINKS = Links(job=lambda job: f"#job-{job}", expand=lambda _: "#jobs", collapse=lambda _: "#jobs")


def report(session: Session, workflow: str) -> str:
    """Return the report of a workflow, by id or name, as HTML. Raise NotFound if there is none."""
    (status,) = workflow_queries.status(session, workflow)
    number = status.workflow.id
    jobs, total = _jobs(session, Selection(workflow=str(number)), MOST_JOBS)
    failed, all_failed = _jobs(
        session, Selection(workflow=str(number), where=Compare("state", Op.EQ, State.FAILED)), MOST_FAILURES
    )
    history = lists.reruns(session, str(number), PageRequest(limit=100))
    values: dict[str, Any] = {
        "status": status,
        "workflow": status.workflow,
        "made": time.time(),
        "store": session.store.name,
        "params": workflow_queries.params(session, status.workflow),
        "failures": [(group, attempt_texts.newest_error(group)) for group in status.failures],
        "id_ranges": attempt_texts.id_ranges,
        "full_cause": attempt_texts.full_cause,
        "error": attempt_texts.error,
        "jobs": jobs,
        "more_jobs": total - len(jobs),
        "failed": failed,
        "more_failed": all_failed - len(failed),
        "reruns": list(history.rows),
        "graph": Markup(draw_graph(workflow_graph(session, number), status.workflow.name, _LINKS)),
        "plots": plots.plots(session, number),
        "draw": plots_svg,
        "link": None,
        "styles": [Markup(_static(name)) for name in _STYLES],
    }
    return environment().get_template("report.html").render(values)


def write_report(session: Session, workflow: str, path: Path) -> int:
    """Write the report of a workflow, and return its size in bytes. The file is replaced as a whole."""
    content = report(session, workflow).encode()
    try:
        replace_file(path, content)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}", hint="-o names another file") from error
    return len(content)


def _jobs(session: Session, selection: Selection, most: int) -> tuple[Sequence[JobRow], int]:
    """Return the first jobs of a selection, and how many there are."""
    with lists.jobs(session, selection, PageRequest(limit=most)) as page:
        return list(islice(page.rows, most)), page.total


def _static(name: str) -> str:
    return (files("rekindle.web") / "static" / name).read_text()
