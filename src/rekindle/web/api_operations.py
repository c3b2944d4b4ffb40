"""Operations of the API: each is declared once, and gives a route, the checks of its requests, and its part of the
OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from rekindle.engine.session import Session
from rekindle.journal.encoding import json_reader, to_json
from rekindle.web.access import Principal
from rekindle.web.api_bodies import NoQuery

if TYPE_CHECKING:
    from starlette.requests import Request

    from rekindle.web.access import Access
    from rekindle.web.readers import Readers

PREFIX = "/api/v1"

LARGEST_ID = 2**63 - 1


class Call(msgspec.Struct, frozen=True):
    """A checked request."""

    principal: Principal
    path: Mapping[str, str]
    query: Any
    body: Any

    def id(self, name: str) -> int:
        """Return an id of the path. Raise HTTPException 404 for another word."""
        word = self.path[name]
        if not (word.isascii() and word.isdecimal()) or not 0 < int(word[:20]) <= LARGEST_ID:
            raise HTTPException(404, f"there is no {name} {word!r:.60}")
        return int(word)

    def require(self, scope: str, what: str) -> None:
        """Raise HTTPException 403 without a further scope."""
        if scope not in self.principal.scopes:
            raise HTTPException(403, f"the token is not valid for {scope}, which {what} needs")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation: where, who may, what it takes, what it does and what it returns."""

    method: Literal["GET", "POST"]
    path: str  # below PREFIX
    name: str
    scope: str
    about: str
    act: Callable[[Session, Call], Any] | None = None  # in a thread with a session
    serve: Callable[[Call], Awaitable[Any]] | None = None  # in the event loop, instead of `act`
    query: type[Any] = NoQuery
    body: type[Any] | None = None
    typed: bool = True  # the body must be declared as JSON
    answer: type[Any] | None = None  # None: bytes


def route(operation: Operation, access: Access, readers: Readers) -> Route:
    """Return the route of an operation."""

    read = json_reader(operation.body)

    async def handle(request: Request) -> Response:
        principal = await access.require(request, operation.scope)
        path = {name: str(value) for name, value in request.path_params.items()}
        query, body = _query(request, operation.query), await _body(request, operation, read)
        call = Call(principal, path, query, body)
        if operation.serve is not None:
            return _response(await operation.serve(call))
        act = operation.act
        assert act is not None
        if operation.scope == "read":
            return _response(await readers.run(lambda session: act(session, call)))
        return _response(await readers.write(principal.name, lambda session: act(session, call)))

    return Route(PREFIX + operation.path, handle, methods=[operation.method])


def _response(value: Any) -> Response:
    if isinstance(value, Response):
        return value
    return Response(to_json(value), media_type="application/json")


def _query(request: Request, kind: type[Any]) -> Any:
    """Return the parameters of the query. Those that may have several values are repeated; others are not."""
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if _is_list(hints.get(name)):
            given[name] = values
        elif len(values) > 1:
            raise HTTPException(400, f"the parameter {name!r:.60} is given {len(values)} times")
        else:
            given[name] = values[0]
    if any("\0" in value for values in given.values() for value in values):
        raise HTTPException(400, "a parameter holds a NUL character")
    try:
        return msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise HTTPException(400, f"the query is malformed: {error}") from None


def _is_list(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is list


async def _body(request: Request, operation: Operation, read: Callable[[bytes], Any]) -> Any:
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if operation.typed and kind != "application/json":
        raise HTTPException(415, "the body is JSON: Content-Type: application/json")
    text = await request.body()
    if operation.typed and b"\\u0000" in text:
        raise HTTPException(400, "the request holds a NUL character")
    try:
        return read(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError) as error:
        raise HTTPException(400, f"the request is malformed: {error}") from None
