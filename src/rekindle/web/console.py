"""The console: pages for people. A page is a template with the values that a function reads from the store; its live
parts are templates of their own, which are rendered alone again when the store changes (web.live)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from rekindle.web.forms import fields_of, one_of
from rekindle.web.http_errors import describe
from rekindle.web.markup import environment

if TYPE_CHECKING:
    from starlette.requests import Request

    from rekindle.engine.session import Session
    from rekindle.web.access import Access, Principal
    from rekindle.web.live import Live
    from rekindle.web.readers import Readers

Values = Mapping[str, Any]
Query = QueryParams
"""The parameters of a page: those of its path and of its query. One name may have several values."""

MOST_PARTS = 8
"""The most live parts of one page."""

_SLOW_REQUESTS = 3

Load = Callable[["Session", Query], Values]


class Part(msgspec.Struct, frozen=True):
    """A live part of pages: `/parts/NAME?…` is its present content, `/live?part=NAME?…` follows several. A part
    is never empty: an empty event is none."""

    name: str
    template: str
    load: Load


class Page(msgspec.Struct, frozen=True):
    """A page, and the scope that it needs. `slow`: it reads files for seconds."""

    path: str
    template: str
    load: Load
    scope: str = "read"
    slow: bool = False


class Console:
    """The pages of one server. Modules of web.pages add theirs."""

    def __init__(self, access: Access, readers: Readers, live: Live, store_name: str, *, works: bool) -> None:
        """`works`: the server can run jobs itself."""
        self.access, self.readers, self.live = access, readers, live
        self.slow = asyncio.Semaphore(
            _SLOW_REQUESTS
        )  # held while files are read for long: other pages need threads too
        self._parts: dict[str, Part] = {}
        self.nav: list[tuple[str, str]] = [("/", "Workflows")]  # (address, name) of the main pages
        self.routes: list[BaseRoute] = [
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/parts/{part}", self._part),
            Route("/live", self._follow),
            Mount("/static", _Static(directory=str(files("rekindle.web") / "static"))),
        ]
        self._templates = environment()
        self._templates.globals |= {
            "store_name": store_name,
            "works": works,
            "read_only": access.read_only,
            "address": address,
            "nav": self.nav,
            "section": "",
        }

    def add_page(self, page: Page) -> None:
        """Add a page."""

        async def show(request: Request) -> Response:
            principal = await self.require(request, page.scope)
            query = query_of(request)
            async with self.slow if page.slow else nullcontext():
                return await self.show(page.template, lambda session: page.load(session, query), principal)

        self.routes.append(Route(page.path, show, methods=["GET"]))

    def add_part(self, part: Part) -> None:
        """Add a live part."""
        self._parts[part.name] = part

    def add_action(self, path: str, scope: str, act: Callable[[Request, Principal], Any], method: str = "POST") -> None:
        """Add what a form or button does: `act` is a coroutine function that returns the response."""

        async def handle(request: Request) -> Response:
            answer: Response = await act(request, await self.require(request, scope))
            return answer

        self.routes.append(Route(path, handle, methods=[method]))

    async def require(self, request: Request, scope: str) -> Principal:
        """Return who asks. Raise HTTPException 401, which leads to the login page, or 403."""
        return await self.access.require(request, scope)

    async def show(
        self,
        template: str,
        load: Callable[[Session], Values],
        principal: Principal | None,
        status: int = 200,
    ) -> HTMLResponse:
        """Return a template with what `load` reads."""
        text = await self.readers.run(lambda session: self._render(session, template, load, principal))
        return HTMLResponse(text, status)

    def _render(
        self, session: Session, template: str, load: Callable[[Session], Values], principal: Principal | None
    ) -> str:
        followed: list[str] = []

        def part(name: str, /, **query: Any) -> Markup:
            """Return a live part within a page. A list stands for several values of one name."""
            several = ((key, value if isinstance(value, list) else [value]) for key, value in query.items())
            given = [(key, str(one)) for key, values in several for one in values if one not in (None, "")]
            followed.append(address(name, given))
            content = self._render_part(session, self._parts[name], QueryParams(given), principal)
            return Markup('<div id="part-{}">{}</div>').format(name, content)

        def follow() -> Markup:
            """Return what keeps the parts of the page up to date."""
            at = f"/live?{urlencode([('part', one) for one in followed])}"
            return Markup('<div hidden hx-sse:connect="{}" hx-swap="none"></div>').format(at)

        values = {**load(session), "part": part, "follow": follow, "principal": principal, "can": _allowed(principal)}
        return self._templates.get_template(template).render(values)

    def _render_part(self, session: Session, part: Part, query: Query, principal: Principal | None) -> Markup:
        return Markup(self._render(session, part.template, lambda session: part.load(session, query), principal))

    async def _part(self, request: Request) -> Response:
        principal = await self.require(request, "read")
        part, query = self._find(request.path_params["part"]), query_of(request)
        return await self.show(part.template, lambda session: part.load(session, query), principal)

    async def _follow(self, request: Request) -> Response:
        principal = await self.require(request, "read")
        asked = request.query_params.getlist("part")
        if not 0 < len(asked) <= MOST_PARTS:
            raise HTTPException(400, f"`part` is given 1 to {MOST_PARTS} times")
        scopes = " ".join(sorted(principal.scopes))
        parts = {f"{scopes} {one}": self._renderer(one, principal) for one in asked}
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        events = self.live.stream(parts, lambda: self.access.still_allows(request))
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    def _renderer(self, asked: str, principal: Principal) -> Callable[[Session], str]:
        """Return what renders a part, `NAME?QUERY`, as an element that replaces the content of that part in a page."""
        name, _, text = asked.partition("?")
        part, query = self._find(name), QueryParams(text)

        def render(session: Session) -> str:
            content = self._render_part(session, part, query, principal)
            return Markup('<hx-partial hx-target="#part-{}" hx-swap="innerMorph">{}</hx-partial>').format(name, content)

        return render

    def _find(self, name: str) -> Part:
        part = self._parts.get(name)
        if part is None:
            raise HTTPException(404, "there is no such part of a page")
        return part

    async def _login(self, request: Request) -> Response:
        secret, message = None, ""
        if request.method == "POST":
            secret = await self.access.log_in_with_token(request, one_of(await fields_of(request), "token"))
            message = "This token is not valid: it is mistyped, or has been revoked."
        elif "once" in request.query_params and request.method == "GET":
            secret = self.access.log_in_once(request, request.query_params["once"])
            message = (
                "This link works no more: it has been used, is older than ten minutes, or is another server's. "
                "Log in with a token."
            )
        if secret is None:
            return await self.show("login.html", lambda _: {"message": message}, None, 403 if message else 200)
        answer = RedirectResponse("/", 303)
        self.access.set_cookie(request, answer, secret)
        return answer

    async def _logout(self, request: Request) -> Response:
        self.access.log_out(request)
        answer = RedirectResponse("/login", 303)
        answer.headers["Clear-Site-Data"] = '"cache", "storage"'
        self.access.delete_cookie(request, answer)
        return answer

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Return the page of an error; an unknown user's is the login page."""
        status, message, hint = describe(error)
        principal = await self.access.principal(request)
        if status == 401:
            page = await self.show("login.html", lambda _: {"message": ""}, None, 401)
            page.headers["WWW-Authenticate"] = "Bearer"
            return page
        template = "error_part.html" if "hx-request" in request.headers else "error.html"
        values = {"status": status, "message": message, "hint": hint}
        answer = await self.show(template, lambda _: values, principal, status)
        if isinstance(error, HTTPException):
            answer.headers.update(error.headers or {})
        return answer


def query_of(request: Request) -> Query:
    """Return the parameters of the path and of the query."""
    path = [(key, str(value)) for key, value in request.path_params.items()]
    return QueryParams([*request.query_params.multi_items(), *path])


def address(path: str, query: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> str:
    """Return a path with a query; parameters without a value are left out."""
    pairs = query.items() if isinstance(query, Mapping) else query
    given = sorted((key, str(value)) for key, value in pairs if value not in ("", None) and key != "part")
    return f"{path}?{urlencode(given)}" if given else path


def _allowed(principal: Principal | None) -> Callable[[str], bool]:
    return lambda scope: principal is not None and scope in principal.scopes


class _Static(StaticFiles):
    """The console's own files. Browsers keep them, and ask whether they have changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a file."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer
