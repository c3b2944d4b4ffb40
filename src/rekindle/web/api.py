"""The HTTP API under /api/v1. Each request needs a token (`Authorization: Bearer TOKEN`), or the cookie of a console
session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from rekindle.domain.errors import PlanRefused, SpecError
from rekindle.executors.pilot_messages import PILOTS, POLL_SECONDS, Commands, OpenPilot, PilotOpened, Report
from rekindle.journal.encoding import to_json
from rekindle.web import api_reads, api_writes, openapi
from rekindle.web.api_operations import PREFIX, Operation, route
from rekindle.web.http_errors import describe

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from rekindle.engine.session import Session
    from rekindle.web.access import Access
    from rekindle.web.api_operations import Call
    from rekindle.web.pilots import Pilots
    from rekindle.web.readers import Readers


def api_routes(access: Access, readers: Readers, pilots: PilotApi) -> list[Route]:
    """Return the routes of the API, and that of its OpenAPI document."""
    operations = [*api_reads.OPERATIONS, *api_writes.OPERATIONS, *pilots.operations()]
    document = openapi.document(operations)

    async def describe_api(_: Call) -> dict[str, Any]:
        return document

    own = Operation(
        method="GET", path="/openapi.json", name="openapi", scope="read", about="This document.", serve=describe_api
    )
    return [route(one, access, readers) for one in (*operations, own)]


class PilotApi:
    """The requests of pilots."""

    def __init__(self, session: Session, pilots: Pilots) -> None:
        """`session` is only asked for the store's place."""
        self._pilots = pilots
        self._spool, self._identity = session.store.folder, session.store.identity

    def operations(self) -> list[Operation]:
        """Return the operations. Their bodies need not be declared as JSON."""
        path = PILOTS.removeprefix(PREFIX)
        shared: Any = {"method": "POST", "scope": "pilot", "typed": False}
        return [
            Operation(
                path=path,
                name="openPilot",
                about="Start the runner of a pilot.",
                serve=self._open_pilot,
                body=OpenPilot,
                answer=PilotOpened,
                **shared,
            ),
            Operation(
                path=path + "/{pilot}/exchange",
                name="exchange",
                about="Report what has happened on a pilot, and get its commands.",
                serve=self._exchange,
                body=Report,
                answer=Commands,
                **shared,
            ),
        ]

    async def _open_pilot(self, call: Call) -> PilotOpened:
        number = await run_in_threadpool(self._pilots.open, call.body, self._spool)
        return PilotOpened(number, self._spool, self._identity)

    async def _exchange(self, call: Call) -> Commands:
        pilot = self._pilots.find(call.path["pilot"])
        pilot.receive(call.body)
        if call.body.wait:
            loop, arrived = asyncio.get_running_loop(), asyncio.Event()

            def wake() -> None:
                loop.call_soon_threadsafe(arrived.set)

            forget = pilot.pool.when_commanded(wake)
            try:
                await asyncio.wait_for(arrived.wait(), POLL_SECONDS)
            except TimeoutError:
                pass
            finally:
                forget()
        return pilot.pool.commands()


async def refuse(_: Request, error: Exception) -> Response:
    """Return an error as JSON, with what to do."""
    status, message, hint = describe(error)
    document: dict[str, Any] = {"error": message} | ({"hint": hint} if hint else {})
    if isinstance(error, PlanRefused):
        document["refused"] = [one._asdict() for one in error.refused]
    if isinstance(error, SpecError):
        document["problems"] = [one._asdict() for one in error.problems]
    headers = error.headers if isinstance(error, HTTPException) else None
    return Response(to_json(document), status, headers, media_type="application/json")
