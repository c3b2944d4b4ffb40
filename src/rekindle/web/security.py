"""What every request and answer has to do with security, whatever its route: the host that it names, its method, where
it comes from, its size, and the headers of the answer. See docs/explanation/security.md."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 16 << 20
"""The most bytes of a request to the API."""

LARGEST_FORM = 1 << 20
"""The most bytes of another request: a form."""

BODY_SECONDS = 60.0
"""How long a body may take to arrive."""

LONGEST_TARGET = 8 << 10
"""The most bytes of a path with its query."""

_DISCARD_SECONDS = 5.0

SAFE_METHODS = ("GET", "HEAD")
METHODS = (*SAFE_METHODS, "POST")

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a page may load: the server's own files, and no script or style within the page."""

RAW_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""What a raw file of a job may do if a browser shows it: nothing."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer, browsers send forms with `Origin: null`
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), usb=()",
}


class Guard:
    """ASGI middleware. It refuses requests before any route sees them."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        """`hosts`: the names and addresses that a request may have in its Host header. A page of another site whose
        name leads to this address (DNS rebinding) has its own name there."""
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and add headers to its answer."""
        if scope["type"] != "http":  # there are no web sockets
            return
        refused = self._refused(scope)
        if refused is not None:
            await _answer(receive, send, *refused)
            return
        left, until = _largest(scope), time.monotonic() + BODY_SECONDS
        more = True

        async def bounded() -> Message:
            nonlocal left, more
            if not more:  # this waits until the reader goes away
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise HTTPException(408, "the request did not arrive in time") from None
            more = bool(message.get("more_body"))
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, "the request is too large")
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", CONTENT_POLICY)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, bounded, guarded)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and the reason if a request is refused."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._hosts:
            return 421, "this server is not known by that name: `rekindle serve --allow-host NAME` allows it"
        if scope["method"] not in METHODS:
            return 405, f"the method is not one of {', '.join(METHODS)}"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > _largest(scope):
            return 413, "the request is too large"
        if len(scope["path"]) + len(scope["query_string"]) > LONGEST_TARGET:
            return 414, "the address is too long"
        if not _is_of_this_site(headers, hosts[0], safe=scope["method"] in SAFE_METHODS):
            return 403, "the request comes from another site"
        return None


def _is_of_this_site(headers: Headers, host: str, *, safe: bool) -> bool:
    """Return whether a request comes from this server's pages, from its user, or from a program. Other sites may only
    link to pages."""
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return safe and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return all(_host_of_origin(origin) == host.lower() for origin in headers.getlist("origin"))


def _host_of_origin(origin: str) -> str | None:
    """Return the host and port of an origin; None if it has none, as `null`."""
    scheme, slashes, host = origin.lower().partition("://")
    return host if slashes and scheme in ("http", "https") else None


def _largest(scope: Scope) -> int:
    return LARGEST_BODY if scope["path"].startswith("/api/") else LARGEST_FORM


def allowed_hosts(listening: str, more: Iterable[str] = ()) -> set[str]:
    """Return the names that a server has which listens on an address: those of loopback, and this host's if it listens
    on others too. `more`: names of proxies in front of it."""
    names = {"localhost", "127.0.0.1", "::1", listening.lower(), *(one.lower() for one in more)}
    if not is_loopback(listening):
        import psutil

        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        names |= {
            one.address.partition("%")[0].lower()
            for several in psutil.net_if_addrs().values()
            for one in several
            if one.family in (socket.AF_INET, socket.AF_INET6)
        }
    return names


def is_loopback(host: str) -> bool:
    """Return whether only processes of this host reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host_name(header: str) -> str:
    """Return a Host header without its port; "" if it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == header and "@" not in header else ""


async def _answer(receive: Receive, send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = {
        **_HEADERS,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "content-security-policy": CONTENT_POLICY,
        "cache-control": "no-store",
    } | ({"allow": ", ".join(METHODS)} if status == 405 else {})
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": status == 413})
    if status == 413:
        await _discard(receive)
        await send({"type": "http.response.body"})


async def _discard(receive: Receive) -> None:
    """Read on for a while: a client that is still sending would not read an answer of a closed connection."""
    left = 2 * LARGEST_BODY
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
