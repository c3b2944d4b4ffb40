"""What a workflow's page links to and loads: when its jobs will be done, and where it parts from another workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.domain.errors import RekindleError
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.queries.forecasts import ForecastOptions, forecast_store
from rekindle.engine.queries.run_comparison import compare_runs
from rekindle.presentation import forecasts, revisions
from rekindle.presentation.parted_jobs import parted_groups, summary_lines
from rekindle.web.console import Page

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values

MOST_OTHERS = 100
"""The newest workflows that are offered for a comparison."""

MOST_GROUPS = 50
"""The most groups of jobs that are shown of a comparison."""

_MOST_LINES = 20  # that say why a group of jobs differs


def add(console: Console) -> None:
    """Add the page of a comparison, and the forecast that the page of a workflow loads."""
    console.add_page(Page("/workflows/{id:int}/compare", "compare.html", _compare, slow=True))
    console.add_page(Page("/workflows/{id:int}/forecast", "workflow_forecast.html", _forecast, slow=True))


def _forecast(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query["id"])
    found = forecast_store(session, ForecastOptions(str(workflow.id)))
    lines = [line.strip() for line in forecasts.forecast_lines(found)] if found.found.jobs else []
    return {
        "workflow": workflow,
        "lines": lines,
        "path": [(one.id, found.names.get(one.id, "")) for one in found.found.path],
        "more": found.found.path_jobs - len(found.found.path),
    }


def _compare(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query["id"])
    others = [one for one in workflow_queries.workflows(session)[::-1] if one.id != workflow.id]
    shown = {
        "title": f"Compare {workflow.name}",
        "workflow": workflow,
        "tab": "",
        "others": others[:MOST_OTHERS],
        "chosen": query.get("with", ""),
        "other": None,
        "error": "",
    }
    if not shown["chosen"]:
        return shown
    try:
        found = compare_runs(session, str(workflow.id), query["with"])
    except RekindleError as error:
        return {**shown, "error": str(error)}
    groups = parted_groups(found)
    return {
        **shown,
        "other": found.b,
        "groups": [
            (revisions.jobs_text(template, [one.name for one in jobs]), lines[:_MOST_LINES], jobs[0])
            for template, lines, jobs in groups[:MOST_GROUPS]
        ],
        "more": max(0, len(groups) - MOST_GROUPS),
        "summary": [line.strip() for line in summary_lines(found)],
    }
