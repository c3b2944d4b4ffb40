"""The plots of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.engine.queries import plots, selections
from rekindle.web import plots_svg
from rekindle.web.console import Page, Part

if TYPE_CHECKING:
    from rekindle.domain.run_plots import TimedAttempt
    from rekindle.engine.session import Session
    from rekindle.web.console import Console, Query, Values


def add(console: Console) -> None:
    """Add the page and its live part."""
    console.add_page(Page("/workflows/{id:int}/plots", "plots.html", _page))
    console.add_part(Part("plots", "parts/plots.html", _plots))


def _page(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query["id"])
    return {"title": f"Plots of {workflow.name}", "workflow": workflow, "tab": "plots"}


def _plots(session: Session, query: Query) -> Values:
    workflow = selections.find_workflow(session, query.get("id", ""))
    return {"plots": plots.plots(session, workflow.id), "draw": plots_svg, "link": _link}


def _link(one: TimedAttempt) -> str:
    return f"/jobs/{one.job}"
