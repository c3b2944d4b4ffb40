"""How long links and sessions last, and their cookies behind a proxy with TLS. Time is the only thing that is faked."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from http_calls import Caller
from served import ServedProject
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rekindle.web import access as module
from rekindle.web import live
from rekindle.web.access import LINK_SECONDS, LONGEST_SESSION_SECONDS, MOST_SESSIONS, SESSION_SECONDS, Access
from rekindle.web.peers import peer_user


class Clock:
    """A clock that is set by hand."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def access() -> Access:
    """The access of a server without API tokens."""
    return Access(SimpleNamespace(), "identity", read_only=False)  # type: ignore[arg-type]


def request(*cookies: str) -> Request:
    headers = [(b"cookie", "; ".join(cookies).encode())] if cookies else []
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    return Request({**scope, "scheme": "http", "server": ("localhost", 80)})


def logged_in(access: Access) -> Request:
    """A request with the cookie of a new session."""
    secret = access.log_in_once(request(), access.one_time_secret())
    assert secret is not None
    answer = Response()
    access.set_cookie(request(), answer, secret)
    return request(answer.headers["set-cookie"].partition(";")[0])


def result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread of its own: this one may have the browser's event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def who(access: Access, one: Request) -> str | None:
    found = result(access.principal(one))
    return None if found is None else found.name


def test_the_link_works_for_ten_minutes(access: Access, clock: Clock) -> None:
    for wait, works in ((LINK_SECONDS - 1, True), (LINK_SECONDS + 1, False)):
        secret = access.one_time_secret()
        clock.now += wait
        assert (access.log_in_once(request(), secret) is not None) == works


def test_a_new_link_replaces_an_unused_one(access: Access) -> None:
    first, second = access.one_time_secret(), access.one_time_secret()
    assert access.log_in_once(request(), first) is None
    assert access.log_in_once(request(), second) is not None


def test_a_session_ends_after_hours_without_a_request_and_after_days_in_any_case(access: Access, clock: Clock) -> None:
    one = logged_in(access)
    clock.now += SESSION_SECONDS - 1
    assert who(access, one) == "console"
    clock.now += SESSION_SECONDS + 1
    assert who(access, one) is None
    one, began = logged_in(access), clock.now
    while clock.now - began <= LONGEST_SESSION_SECONDS:
        assert who(access, one) == "console"
        clock.now += SESSION_SECONDS / 2
    assert who(access, one) is None


def test_an_open_page_does_not_keep_a_session_alive(access: Access, clock: Clock) -> None:
    one = logged_in(access)
    began = clock.now
    while clock.now - began <= SESSION_SECONDS:
        assert result(access.still_allows(one))
        clock.now += SESSION_SECONDS / 10
    assert not result(access.still_allows(one))


def test_sessions_are_bounded_and_the_oldest_ends(access: Access) -> None:
    first = logged_in(access)
    for _ in range(MOST_SESSIONS):
        last = logged_in(access)
    assert [who(access, one) for one in (first, last)] == [None, "console"]


def test_secrets_are_random_and_long(access: Access) -> None:
    found = {access.one_time_secret() for _ in range(100)}
    assert len(found) == 100
    assert min(map(len, found)) >= 43, "32 bytes"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
def test_the_user_of_a_connection_is_found(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("this host does not have the address")
    with listening, socket.create_connection(listening.getsockname()[:2]) as client:
        accepted, peer = listening.accept()
        with accepted:
            scope = {"client": peer[:2], "server": listening.getsockname()[:2]}
            assert peer_user(scope) == os.getuid()
            assert peer_user({**scope, "client": (address, client.getsockname()[1] - 1)}) is None


def test_a_connection_from_elsewhere_has_no_user_of_this_host() -> None:
    for client in (("192.0.2.1", 5), ("127.0.0.1", 0), ("no address", 1), None):
        assert peer_user({"client": client, "server": ("127.0.0.1", 1)}) is None
    assert peer_user({"client": ("127.0.0.1", 1), "server": ("/run/socket", None)}) is None


def test_behind_a_proxy_with_tls_no_other_host_can_set_the_cookie(project: ServedProject) -> None:
    project.serve("--allow-host", "console.example")
    nobody, path = Caller(project.url), "/login" + project.link.partition("/login")[2]
    cookie = nobody.send("GET", path, host="console.example", x_forwarded_proto="https").headers["set-cookie"]
    assert cookie.startswith("__Host-rekindle-")
    assert "; Secure" in cookie
    given = {"cookie": cookie.partition(";")[0], "x_forwarded_proto": "https"}
    assert nobody.send("GET", "/", host="console.example", **given).status == 200
    assert nobody.send("GET", "/", cookie=given["cookie"]).status == 401
    out = nobody.send("POST", "/logout", b"", **given)
    assert '"cache"' in out.headers["clear-site-data"]
    assert "Max-Age=0" in out.headers["set-cookie"]


def test_without_a_proxy_nobody_is_taken_for_one(project: ServedProject) -> None:
    project.serve()
    nobody, path = Caller(project.url), "/login" + project.link.partition("/login")[2]
    cookie = nobody.send("GET", path, x_forwarded_proto="https", x_forwarded_for="192.0.2.1").headers["set-cookie"]
    assert cookie.startswith("rekindle-")


def test_logins_are_logged_with_who_and_from_where(project: ServedProject) -> None:
    project.serve()
    nobody, form = Caller(project.url), {"content_type": "application/x-www-form-urlencoded"}
    token = project.token("read", "laptop")
    assert nobody.send("POST", "/login", b"token=rkt_wrong%0arekindle:+forged", **form).status == 403
    assert nobody.send("POST", "/login", f"token={token}".encode(), **form).status == 303
    lines = (project.folder / "serve-0.txt").read_text().splitlines()[1:]
    assert lines == [
        "rekindle: a login from 127.0.0.1 has failed",
        "rekindle: laptop has logged in from 127.0.0.1",
    ]


def test_the_link_of_a_read_only_server_allows_to_look_only(project: ServedProject) -> None:
    project.serve("--read-only", "--work")
    nobody, path = Caller(project.url), "/login" + project.link.partition("/login")[2]
    cookie = nobody.send("GET", path).headers["set-cookie"].partition(";")[0]
    assert nobody.send("GET", "/", cookie=cookie).status == 200
    assert nobody.send("POST", "/runner/start", b"", cookie=cookie).status == 403
    assert nobody.send("POST", "/api/v1/hold", b"{}", cookie=cookie, content_type="application/json").status == 403


def test_open_pages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    with pytest.raises(HTTPException, match="too many pages are open"):
        live.Live(SimpleNamespace(), SimpleNamespace()).stream({}, None)  # type: ignore[arg-type]
