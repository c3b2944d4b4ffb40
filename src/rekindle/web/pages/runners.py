"""The banner "no runner is alive", and the server's own runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from rekindle.engine.queries import workflow_queries
from rekindle.web.console import Part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rekindle.engine.session import Session
    from rekindle.web.access import Principal
    from rekindle.web.console import Console, Query, Values
    from rekindle.web.runner import ServerRunner


def add(console: Console, runner: ServerRunner | None) -> None:
    """Add the banner, and the button that starts the server's own runner if it may have one."""
    console.add_part(Part("runners", "parts/runners.html", _runners))

    async def start(_: Request, __: Principal) -> Response:
        if runner is None:
            raise HTTPException(403, "this server runs no jobs: `rekindle serve --work` does")
        await run_in_threadpool(runner.start)
        return RedirectResponse("/", 303)

    console.add_action("/runner/start", "submit", start)


def _runners(session: Session, _: Query) -> Values:
    living, __, unfinished = workflow_queries.runners(session)
    return {"living": living, "unfinished": unfinished}
