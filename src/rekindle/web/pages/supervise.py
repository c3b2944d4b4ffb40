"""Supervision: start a supervisor with guards, watch its rounds, stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rekindle.domain.batches.supervision import Guards, SupervisionEnd, check_guards, parse_statuses
from rekindle.domain.errors import BadValue
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.results import SuperviseOptions
from rekindle.engine.supervising.supervise import watch
from rekindle.web.console import Page, Part
from rekindle.web.forms import fields_of, one_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from rekindle.engine.session import Session
    from rekindle.engine.supervising.supervise import WatchedSupervision
    from rekindle.web.access import Principal
    from rekindle.web.console import Console, Query, Values
    from rekindle.web.supervisors import Supervisors

MOST = 30
"""The most supervisions of the page."""

STATUSES = ("error", "blocker", "warning", "canceled")


def add(console: Console, supervisors: Supervisors | None) -> None:
    """Add the page, its live part, and what starts and stops a supervisor: `supervisors` is None if the server runs no
    jobs."""
    console.nav.append(("/supervise", "Supervise"))
    console.add_page(Page("/supervise", "supervise.html", _page))
    console.add_part(Part("supervisions", "parts/supervisions.html", lambda one, _: _supervisions(one, supervisors)))

    def required() -> Supervisors:
        if supervisors is None:
            raise HTTPException(403, "this server runs no jobs: `rekindle serve --work` does")
        return supervisors

    async def start(request: Request, principal: Principal) -> Response:
        fields = await fields_of(request)
        options = read_options(fields)
        found = await console.readers.run(lambda session: selections.find_workflow(session, options.workflow))
        await run_in_threadpool(required().start, found.id, options, principal.name)
        if "hx-request" in request.headers:
            return HTMLResponse("<p>It has begun: watch it below.</p>")
        return RedirectResponse("/supervise", 303)

    async def stop(request: Request, _: Principal) -> Response:
        await run_in_threadpool(required().stop, int(request.path_params["workflow"]))
        return Response(status_code=204) if "hx-request" in request.headers else RedirectResponse("/supervise", 303)

    console.add_action("/supervise", "rerun", start)
    console.add_action("/supervise/{workflow:int}/stop", "rerun", stop)


def read_options(fields: dict[str, list[str]]) -> SuperviseOptions:
    """Return the options of the form. Raise BadValue, naming an invalid one."""
    guards = Guards(
        max_reruns=int(_number(fields, "max_reruns", "1", "Reruns at most")),
        max_failure_percent=_number(fields, "max_failure_percent", "50", "Percent at most"),
        on=parse_statuses("On", fields.get("on", [])),
        canary=int(_number(fields, "canary", "0", "Canaries")) or None,
    )
    check_guards(guards)
    return SuperviseOptions(one_of(fields, "workflow"), guards, poll=5.0, note=one_of(fields, "note")[:1000] or None)


def _number(fields: dict[str, list[str]], key: str, default: str, label: str) -> float:
    text = one_of(fields, key).strip() or default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1e6:
        raise BadValue(f"{label}: {text!r} is not a number from 0", hint=f"for instance {default}")
    return number


def _page(session: Session, query: Query) -> Values:
    return {
        "title": "Supervise",
        "section": "/supervise",
        "workflows": workflow_queries.workflows(session)[::-1][:500],
        "chosen": query.get("workflow", ""),
        "statuses": STATUSES,
    }


def _supervisions(session: Session, supervisors: Supervisors | None) -> Values:
    found = watch(session, MOST)
    rows = [_row(one, supervisors) for one in found]
    return {"rows": rows, "errors": dict(supervisors.errors) if supervisors else {}}


def _row(one: WatchedSupervision, supervisors: Supervisors | None) -> dict[str, Any]:
    supervision = one.supervision
    running = supervision.ended is None
    rounds = one.report.rounds if one.report is not None else one.rounds
    return {
        "supervision": supervision,
        "name": one.name,
        "guards": one.guards,
        "on": ", ".join(sorted(one.guards.on)),
        "state": _state(one),
        "here": running and supervisors is not None and supervisors.runs(supervision.workflow),
        "rounds": rounds,
        "why": one.report.why if one.report is not None else "",
        "fixed": len(one.report.fixed) if one.report is not None else None,
        "failing": sum(len(group.jobs) for group in one.report.failing) if one.report is not None else None,
    }


def _state(one: WatchedSupervision) -> str:
    if one.supervision.ended is None and one.supervision.outcome is None:
        return {True: "running", False: "its process died: the same command goes on", None: "running on another host"}[
            one.alive
        ]
    end = one.supervision.outcome or SupervisionEnd.GIVEN_UP
    return f"ended: {end.value.replace('_', ' ')}"
