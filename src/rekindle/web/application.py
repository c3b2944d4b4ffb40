"""The whole HTTP interface of a store: the console, the API, and what is checked of each request."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from rekindle.domain.errors import RekindleError
from rekindle.web.api import refuse
from rekindle.web.http_errors import KNOWN
from rekindle.web.pages import (
    attempts,
    comparisons,
    failures,
    files,
    graphs,
    job_actions,
    jobs,
    logs,
    new_run,
    plots,
    rerun_dialog,
    reruns,
    runners,
    supervise,
    workflow,
    workflows,
)
from rekindle.web.security import Guard

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from rekindle.presentation.rerun_modes import ModeSet
    from rekindle.web.console import Console
    from rekindle.web.runner import ServerRunner
    from rekindle.web.supervisors import Supervisors


def application(
    console: Console,
    api: Iterable[BaseRoute],
    hosts: Iterable[str],
    runner: ServerRunner | None,
    modes: Sequence[ModeSet] = (),
    supervisors: Supervisors | None = None,
) -> Guard:
    """Return the ASGI application. `api`: the routes of the API. `hosts`: see Guard. `runner`: the server's own.
    `modes`: what dialects call the ways to rerun their workflows. `supervisors`: the server's own."""
    lists = (workflows, workflow, job_actions, graphs, plots, failures, reruns, new_run, comparisons)
    for pages in (*lists, jobs, attempts, logs, files):
        pages.add(console)
    runners.add(console, runner)
    rerun_dialog.add(console, modes)
    supervise.add(console, supervisors)

    async def refused(request: Request, error: Exception) -> Response:
        if not isinstance(error, KNOWN):
            logging.getLogger(__name__).error("%s %s failed", request.method, request.url.path, exc_info=error)
        if request.url.path.startswith("/api/"):
            return await refuse(request, error)
        try:
            return await console.refuse(request, error)
        except RekindleError:  # the page needs the store
            return await refuse(request, error)

    return Guard(
        Starlette(routes=[*api, *console.routes], exception_handlers=dict.fromkeys((*KNOWN, Exception), refused)),
        hosts,
    )
