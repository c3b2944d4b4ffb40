"""What is refused whatever the route: foreign hosts and sites, methods, slow and large requests; and who is known."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from http_calls import Answer, Caller, FullProject, full  # noqa: F401 - a fixture
from served import ServedProject
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from project_folder import until
from rekindle.engine.session import open_session
from rekindle.web import server as server_module
from rekindle.web.connections import HEAD_SECONDS
from rekindle.web.security import LARGEST_FORM, LONGEST_TARGET

PUBLIC = {"/login", "/logout", "/static"}
"""What needs no token: the login page, the end of a session, and the console's own files."""

LOOKS = {"/rerun/dialog", "/rerun/plan"}
"""What only looks, although it is a POST: its selection may not fit into an address."""

_LOCAL = "127.0.0.1"


@pytest.fixture(scope="module")
def readonly(full: FullProject) -> Iterator[Caller]:  # noqa: F811
    """A caller of another server of the same store, which is read-only, with a token of every scope."""
    project = ServedProject(full.folder)
    project.serve("--read-only")
    yield Caller(project.url, project.token("read,rerun,submit,pilot"))
    project.close()


def cookie_of(answer: Answer) -> str:
    """The cookie that a login sets, as `name=value`."""
    return answer.headers["set-cookie"].partition(";")[0]


def log_in(project: ServedProject, token: str) -> str:
    """Log in with a token, and return the cookie."""
    answer = Caller(project.url).send(
        "POST", "/login", f"token={token}".encode(), content_type="application/x-www-form-urlencoded"
    )
    assert answer.status == 303
    return cookie_of(answer)


class Assembled(NamedTuple):
    """The application of a server, which is assembled and not started."""

    routes: list[tuple[str, set[str]]]  # the path and methods of each
    parts: list[str]


def assemble(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Assembled:
    """Assemble the application as `rekindle serve` does."""
    made: list[Assembled] = []
    application = server_module.application

    class Stopped(Exception):
        pass

    def record(console: Any, *more: Any) -> None:
        app = application(console, *more)._app
        assert isinstance(app, Starlette)
        assert all(isinstance(route, Route | Mount) for route in app.routes)
        routes = [(route.path, set(getattr(route, "methods", None) or {"GET", "HEAD"})) for route in app.routes]
        made.append(Assembled(routes, [*console._parts]))
        raise Stopped

    monkeypatch.setattr(server_module, "application", record)
    url = str(folder / ".rekindle")
    with pytest.raises(Stopped):
        server_module.serve(lambda: open_session(url, create=True), _LOCAL, 0, lambda *_: None, silence=9.0)
    assert len(made[0].routes) > 20
    return made[0]


def filled(path: str) -> str:
    """A path with values for its parameters."""
    return re.sub(r"\{\w+(:\w+)?\}", "1", path)


def test_every_route_refuses_without_a_token(
    full: FullProject,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nobody = full.caller()
    wrong = []
    for path, methods in assemble(monkeypatch, tmp_path).routes:
        for method in methods - {"HEAD"} if path not in PUBLIC else ():
            answer = nobody.send(method, filled(path), b"{}" if method == "POST" else None)
            if answer.status != 401:
                wrong.append((method, path, answer.status))
    assert wrong == []


def test_every_route_that_may_change_something_refuses_a_reader_and_a_read_only_server(
    full: FullProject,  # noqa: F811
    readonly: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, wrong = full.caller("read"), []
    for path, methods in assemble(monkeypatch, tmp_path).routes:
        if "POST" in methods and path not in PUBLIC | LOOKS:
            for caller in (reader, readonly):
                answer = caller.send("POST", filled(path), b"{}", content_type="application/json")
                if answer.status != 403:
                    wrong.append((path, answer.status, answer.body[:200]))
    assert wrong == []


def test_what_looks_by_a_post_changes_nothing(
    full: FullProject,  # noqa: F811
    readonly: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    routes = {path for path, _ in assemble(monkeypatch, tmp_path).routes}
    before, form = (full.ask("events", "list"), full.jobs()), {"content_type": "application/x-www-form-urlencoded"}
    for path in sorted(LOOKS & routes):
        answer = readonly.send("POST", path, b"selection=plus%3D2&mode=beginning&plus=2", **form)
        assert answer.status in (200, 400), (path, answer.body)
    assert (full.ask("events", "list"), full.jobs()) == before


def test_a_scope_allows_nothing_of_another(full: FullProject) -> None:  # noqa: F811
    document = full.caller("read").get("/openapi.json").document
    scopes = ("read", "rerun", "submit", "pilot")
    callers = {scope: full.caller(scope) for scope in scopes}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for scope in set(scopes) - {operation["x-scope"]}:
                answer = callers[scope].send(method.upper(), filled(path), b"{}", content_type="application/json")
                assert (answer.status, scope in answer.body.decode()) == (403, False), (path, scope)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.:{port}",
        "localhost@evil.example",
        "user@localhost:{port}",
        "localhost:{port}:{port}",
        "localhost:x",
        "[::1",
        "127.1:{port}",
        "0177.0.0.1",
        "2130706433",
        "0.0.0.0:{port}",
        "localhost/x",
        "localhost, evil.example",
        "локалхост",
    ],
)
@pytest.mark.parametrize("path", ["/", "/login", "/static/console.css", "/api/v1/jobs"])
def test_a_foreign_host_is_refused_on_every_route(full: FullProject, host: str, path: str) -> None:  # noqa: F811
    caller = full.caller()
    sent = host.replace("{port}", caller.host.rpartition(":")[2]).encode().decode("latin-1")
    assert caller.send("GET", path, host=sent).status in ((421,) if sent else (400,))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1:{port}", "[::1]:{port}", "localhost:1"])
def test_the_servers_own_names_are_taken(full: FullProject, host: str) -> None:  # noqa: F811
    caller = full.caller()
    assert caller.send("GET", "/login", host=host.replace("{port}", caller.host.rpartition(":")[2])).status == 200


def test_two_host_headers_are_refused(full: FullProject) -> None:  # noqa: F811
    caller = full.caller()
    request = f"GET /login HTTP/1.1\r\nHost: {caller.host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert caller.raw(request.encode()).split(b"\r\n")[0].split()[1] == b"400"
    absolute = f"GET http://evil.example/login HTTP/1.1\r\nHost: {caller.host}\r\nConnection: close\r\n\r\n"
    assert b"evil.example" not in caller.raw(absolute.encode()).partition(b"\r\n\r\n")[0]
    assert caller.raw(b"GET /login HTTP/1.0\r\n\r\n").split()[1] == b"421"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://{host}.evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "file://{host}"}, 403),
        ({"origin": "{host}"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "http://{host}"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({}, 200),
    ],
)
def test_writes_come_from_this_site_or_a_program(full: FullProject, headers: dict[str, str], status: int) -> None:  # noqa: F811
    writer = full.caller("rerun")
    given = {name: value.replace("{host}", writer.host) for name, value in headers.items()}
    assert writer.post("/plans", {"selection": {"state": ["failed"]}}, **given).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"}, 403),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "script"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "embed"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, 200),
    ],
)
def test_other_sites_may_only_link_to_pages(full: FullProject, headers: dict[str, str], status: int) -> None:  # noqa: F811
    assert full.caller("read").send("GET", "/", **headers).status == status


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "CONNECT", "get", "QUERY"])
def test_other_methods_are_refused(full: FullProject, method: str) -> None:  # noqa: F811
    answer = full.caller("read,rerun").send(method, "/api/v1/jobs")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert "access-control-allow-origin" not in answer.headers


def test_a_method_is_not_overridden(full: FullProject) -> None:  # noqa: F811
    writer = full.caller("read,rerun")
    for name in ("x_http_method_override", "x_method_override", "x_http_method"):
        assert writer.send("GET", "/api/v1/plans", **{name: "POST"}).status == 405
    assert writer.send("GET", "/api/v1/plans?_method=POST").status == 405


def test_every_answer_has_the_headers_that_restrain_browsers(full: FullProject) -> None:  # noqa: F811
    reader, nobody = full.caller("read"), full.caller()
    answers = [
        nobody.send("GET", "/"),
        nobody.send("GET", "/login"),
        nobody.send("GET", "/static/console.css"),
        nobody.send("GET", "/static/none"),
        nobody.send("PUT", "/"),
        nobody.send("GET", "/", host="evil.example"),
        reader.send("GET", "/"),
        reader.send("GET", "/none"),
        reader.get("/jobs"),
        reader.get("/jobs?state=bad"),
        reader.get("/attempts/1/log"),
        reader.send("HEAD", "/live?part=workflows"),
    ]
    for answer in answers:
        headers = answer.headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    caches = [answer.headers["cache-control"] for answer in answers]
    assert [caches[2], {*caches[:2], *caches[3:]}] == ["no-cache", {"no-store"}]


def test_what_a_job_made_is_sent_as_a_file_in_a_sandbox(full: FullProject) -> None:  # noqa: F811
    headers = full.caller("read").get("/attempts/3/log?stream=stderr").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")
    assert "sandbox" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../access.py",
        "/static/%2e%2e/access.py",
        "/static/..%2faccess.py",
        "/static/%2e%2e%2f%2e%2e%2f__init__.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/vendor/..%5c..%5caccess.py",
        "/static/",
        "/static/vendor",
    ],
)
def test_static_files_are_those_of_their_folder(full: FullProject, path: str) -> None:  # noqa: F811
    answer = full.caller().send("GET", path)
    assert answer.status in (401, 404), answer.body[:200]
    assert b"import" not in answer.body


def test_large_requests_are_refused_before_they_are_read(full: FullProject) -> None:  # noqa: F811
    nobody = full.caller()
    head = f"POST /login HTTP/1.1\r\nHost: {nobody.host}\r\nContent-Length: {LARGEST_FORM + 1}\r\n\r\n"
    assert nobody.raw(head.encode(), 2.0).split()[1] == b"413"
    for length in ("-1", "1e9", "9" * 400):
        wrong = f"POST /login HTTP/1.1\r\nHost: {nobody.host}\r\nContent-Length: {length}\r\n\r\n"
        assert nobody.raw(wrong.encode(), 2.0).split()[1] in (b"400", b"413")
    chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    chunked = f"POST /login HTTP/1.1\r\nHost: {nobody.host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert nobody.raw(chunked + chunk * 17 + b"0\r\n\r\n", 2.0).split()[1] == b"413"
    assert nobody.send("GET", "/?" + "x" * LONGEST_TARGET).status == 414
    assert nobody.raw(b"GET / HTTP/1.1\r\nX: " + b"x" * (64 << 10), 2.0).split()[1] == b"400"


def test_a_head_that_does_not_arrive_is_not_waited_for(full: FullProject) -> None:  # noqa: F811
    nobody = full.caller()
    began = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        beginnings = (b"", b"GET / HTTP/1.1\r\nX: ", b"POST /login HTTP/1.1\r\n")
        assert [*threads.map(lambda beginning: nobody.raw(beginning, 30.0), beginnings)] == [b""] * 3
    assert time.monotonic() - began < HEAD_SECONDS + 5


def test_a_form_of_another_type_is_refused(full: FullProject) -> None:  # noqa: F811
    nobody = full.caller()
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json"):
        assert nobody.send("POST", "/login", b"token=x", content_type=kind).status == 415
    many = "&".join(f"a{number}=1" for number in range(2_000)).encode()
    assert nobody.send("POST", "/login", many, content_type="application/x-www-form-urlencoded").status == 400


def test_a_token_is_taken_from_a_header_only(full: FullProject) -> None:  # noqa: F811
    token, nobody = full.token("read"), full.caller()
    for path in (f"/api/v1/jobs?token={token}", f"/api/v1/jobs?access_token={token}", f"/api/v1/jobs?once={token}"):
        assert nobody.send("GET", path).status == 401
    assert nobody.send("GET", "/api/v1/jobs", authorization=f"Basic {token}").status == 403
    assert nobody.send("GET", "/api/v1/jobs", authorization=token).status == 403
    assert nobody.send("GET", "/api/v1/jobs", authorization=f"bearer {token}").status == 200


def test_the_one_time_link_works_once_and_sets_a_cookie_for_this_site_only(project: ServedProject) -> None:
    project.serve()
    nobody, path = Caller(project.url), "/login" + project.link.partition("/login")[2]
    assert nobody.send("HEAD", path).status == 200
    first, second = nobody.send("GET", path), nobody.send("GET", path)
    assert (first.status, second.status) == (303, 403)
    assert first.headers["location"] == "/"
    attributes = {part.strip().lower() for part in first.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert not any(one.startswith("domain") for one in attributes)
    secret = path.partition("=")[2]
    assert secret not in first.headers["set-cookie"]
    assert nobody.send("GET", "/", cookie=cookie_of(first)).status == 200
    assert nobody.send("GET", "/").status == 401


def test_of_many_who_use_the_link_at_once_one_gets_in(project: ServedProject) -> None:
    project.serve()
    nobody, path = Caller(project.url), "/login" + project.link.partition("/login")[2]
    with ThreadPoolExecutor(8) as threads:
        statuses = [*threads.map(lambda _: nobody.send("GET", path).status, range(8))]
    assert sorted(statuses) == [303] + [403] * 7


def test_a_planted_cookie_is_no_session_and_hides_none(full: FullProject) -> None:  # noqa: F811
    nobody, cookie = full.caller(), log_in(full, full.token("read"))
    name = cookie.partition("=")[0]
    assert nobody.send("GET", "/", cookie=cookie).status == 200
    assert nobody.send("GET", "/", cookie=f"{name}=planted").status == 401
    assert nobody.send("GET", "/", cookie=f"{name}=planted; {cookie}").status == 401
    assert nobody.send("GET", "/", cookie=f"other=1; {cookie}").status == 200


def test_a_login_ends_the_session_that_was_there(full: FullProject) -> None:  # noqa: F811
    token, nobody = full.token("read"), full.caller()
    cookie = log_in(full, token)
    form = {"content_type": "application/x-www-form-urlencoded", "cookie": cookie}
    second = cookie_of(nobody.send("POST", "/login", f"token={token}".encode(), **form))
    assert nobody.send("GET", "/", cookie=cookie).status == 401
    assert nobody.send("GET", "/", cookie=second).status == 200
    assert nobody.send("POST", "/logout", b"", cookie=second).status == 303
    assert nobody.send("GET", "/", cookie=second).status == 401


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_session_is_of_no_use_to_another_user_of_the_host(full: FullProject) -> None:  # noqa: F811
    cookie = log_in(full, full.token("read"))
    script = (
        "import sys, urllib.request, urllib.error\n"
        "request = urllib.request.Request(sys.argv[1], headers={'Cookie': sys.argv[2]})\n"
        "try: print(urllib.request.urlopen(request).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    words = [
        "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable,
        "-c",
        script,
        full.url,
        cookie,
    ]
    statuses = [
        subprocess.run(words, user=user, cwd="/", capture_output=True, text=True, check=True).stdout.strip()
        for user in (0, 65534, 0)
    ]
    assert statuses == ["200", "401", "200"]


@pytest.mark.parametrize("way", ["bearer", "cookie"])
def test_a_revoked_token_is_refused_within_five_seconds(full: FullProject, way: str) -> None:  # noqa: F811
    token = full.token("read", f"revoked {way}")
    [number] = [one["id"] for one in full.ask("token", "list")["tokens"] if one["name"] == f"revoked {way}"]
    header = {"authorization": f"Bearer {token}"} if way == "bearer" else {"cookie": log_in(full, token)}
    nobody = full.caller()
    assert nobody.send("GET", "/", **header).status == 200
    full.rekindle("token", "revoke", str(number))
    revoked = sent = time.monotonic()
    while (status := nobody.send("GET", "/", **header).status) == 200:
        assert sent - revoked < 5, "it was accepted five seconds later"
        sent = time.monotonic()
    assert status in (401, 403)


@pytest.mark.parametrize("way", ["revoked bearer", "revoked cookie", "logged out"])
def test_a_live_page_ends_with_its_token_or_session(full: FullProject, way: str) -> None:  # noqa: F811
    nobody, token = full.caller(), full.token("read", f"live {way}")
    [number] = [one["id"] for one in full.ask("token", "list")["tokens"] if one["name"] == f"live {way}"]
    cookie = log_in(full, token) if "bearer" not in way else ""
    header = f"Cookie: {cookie}" if cookie else f"Authorization: Bearer {token}"
    import socket

    host, _, port = nobody.host.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as stream:
        stream.sendall(f"GET /live?part=workflows HTTP/1.1\r\nHost: {nobody.host}\r\n{header}\r\n\r\n".encode())
        assert b"200 OK" in stream.recv(1 << 12)
        if way == "logged out":
            assert nobody.send("POST", "/logout", b"", cookie=cookie).status == 303
        else:
            full.rekindle("token", "revoke", str(number))
        began, end = time.monotonic(), b""
        while not end.endswith(b"0\r\n\r\n"):
            end = (end + stream.recv(1 << 16))[-64:]
        assert time.monotonic() - began < 6


def test_guesses_are_slowed_and_the_right_token_is_not(project: ServedProject) -> None:
    project.serve()
    token, nobody = project.token("read"), Caller(project.url)
    form = {"content_type": "application/x-www-form-urlencoded"}
    answers = [nobody.send("POST", "/login", b"token=rkt_guess", **form) for _ in range(12)]
    assert [answer.status for answer in answers] == [403] * 10 + [429] * 2
    assert answers[-1].headers["retry-after"]
    assert nobody.send("GET", "/login?once=guess").status == 429
    assert nobody.send("POST", "/login", f"token={token}".encode(), **form).status == 303


def test_no_secret_is_where_others_may_read_it(project: ServedProject) -> None:
    """Not in the store, in what the server prints later, in the listing of processes, or in an error."""
    project.spec('{name: one, jobs: {a: {run: "env; ps -ef"}}}')
    project.rekindle("submit", "spec.yaml")
    project.command = [sys.executable, "-m", "rekindle"]  # the listing has its own words, not those of a host
    server = project.serve("--work")
    token, nobody = project.token("read,rerun"), Caller(project.url)
    once = project.link.partition("=")[2]
    wrong = "rkt_" + "wrong" * 8
    assert nobody.send("GET", f"/login?once={once}").status == 303
    cookie = log_in(project, token)
    answers = [
        nobody.send("GET", "/api/v1/jobs", authorization=f"Bearer {wrong}"),
        nobody.send("POST", "/login", f"token={wrong}".encode(), content_type="application/x-www-form-urlencoded"),
        nobody.send("GET", f"/login?once={once}"),
        nobody.send("GET", "/api/v1/events", authorization=f"Bearer {token}"),
        nobody.send("GET", "/", cookie=cookie),
    ]
    until(lambda: project.states()["a"] == "completed", "the job ran")
    secrets = [token, once, wrong, cookie.partition("=")[2]]
    for answer in answers:
        assert not any(secret in answer.body.decode() for secret in secrets)
    for path in (project.folder / ".rekindle").rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path
    printed = "".join(path.read_text() for path in project.folder.glob("serve-*.txt"))
    assert printed.count(once) == 1, "the link is printed once"
    assert not any(secret in printed for secret in (token, wrong, cookie.partition("=")[2]))
    environment = Path(f"/proc/{server.pid}/cmdline").read_bytes() + Path(f"/proc/{server.pid}/environ").read_bytes()
    assert not any(secret.encode() in environment for secret in secrets)


def test_the_name_of_a_token_is_printable_and_listed(project: ServedProject) -> None:
    project.token("read", "laptop of the lab")
    assert [one["name"] for one in project.ask("token", "list")["tokens"]] == ["laptop of the lab"]
    assert "laptop of the lab" in project.rekindle("token", "list").stdout
    for name in ("two\nlines", "\x1b[31mred", "x" * 81, "a\u202eb"):
        project.rekindle("token", "new", "--scope", "read", "--name", name, expect=64)


def test_an_unexpected_error_shows_nothing_to_the_browser_and_one_safe_line_to_the_operator(
    project: ServedProject,
) -> None:
    project.write(
        "failing.py",
        "import sys\n"
        "from rekindle.presentation import answers\n"
        "def fail(*_, **__): raise ZeroDivisionError('secret\\x1b[31m\\nrekindle: forged line')\n"
        "answers.workflows_list = fail\n"
        "from rekindle.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n",
    )
    token = project.token("read")
    project.command = [sys.executable, str(project.folder / "failing.py")]
    project.serve()
    answer = Caller(project.url, token).get("/workflows")
    assert (answer.status, sorted(answer.document)) == (500, ["error", "hint"])
    assert "secret" not in answer.body.decode()
    printed = until(lambda: (project.folder / "serve-0.txt").read_text().partition("\n")[2], "it is logged")
    assert "GET /api/v1/workflows failed" in printed
    assert "\x1b" not in printed


EVIL = "'\"><x-evil onclick=1>"
HOSTILE = f"""
name: {json.dumps("w" + EVIL)}
project: {json.dumps(EVIL)}
params: {{p: {json.dumps(EVIL)}}}
jobs:
  train:
    matrix: {{k: [{json.dumps(EVIL)}, plain]}}
    steps: [{{name: one, run: [python3, evil.py]}}]
  late: {{needs: ["train*"], run: "true"}}
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullProject]:
    """A project in which all that people and jobs may choose is markup."""
    project = FullProject(tmp_path_factory.mktemp("hostile"))
    printed = f"import os, sys\nprint({EVIL!r})\nprint({EVIL!r}, file=sys.stderr)\n"
    verdict = f"open(os.environ['REKINDLE_VERDICT'], 'w').write('BLOCKER ' + {EVIL!r})\nsys.exit(3)\n"
    project.write("evil.py", printed + verdict)
    project.spec(HOSTILE)
    project.rekindle("run", "spec.yaml", expect=2)
    project.rekindle("rerun", "-i", "1", "--set", f"p={EVIL}", "--note", EVIL, "--yes", "--work", expect=2)
    project.rekindle("hold", "-i", "2", "--reason", EVIL)
    project.serve()
    yield project
    project.close()


def shows_markup(answer: Answer) -> bool:
    """Whether a browser would take what was chosen for markup, or the server has failed."""
    is_page = answer.headers.get("content-type", "").startswith("text/html")
    return answer.status >= 500 or (b"<x-evil" in answer.body and is_page)


def test_no_page_shows_what_people_or_jobs_chose_as_markup(
    hostile: FullProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, made, shown, wrong = hostile.caller("read"), assemble(monkeypatch, tmp_path), 0, []
    paths = [filled(path) for path, methods in made.routes if "GET" in methods and path not in PUBLIC | {"/live"}]
    paths += [f"/parts/{part}?id=1&job=1&attempt=1&workflow=1&w=1" for part in made.parts]
    for path in paths:
        asked = f"{path}{'&' if '?' in path else '?'}search={quote(EVIL)}&find={quote(EVIL)}"
        for sent in (path, asked):
            shown += b"x-evil" in (answer := reader.send("GET", sent)).body
            wrong += [sent] * shows_markup(answer)
    form = {"content_type": "application/x-www-form-urlencoded"}
    for path in LOOKS & {path for path, _ in made.routes}:
        wrong += [path] * shows_markup(reader.send("POST", path, b"selection=plus%3D1-3&mode=beginning", **form))
    assert wrong == []
    assert shown > 10, "the markup is there, escaped"


SLOW = "/jobs?error=(a%7Caa)%2B%24"
"""A pattern, (a|aa)+$, that backtracks without end."""


@pytest.fixture(scope="module")
def slow(full: FullProject) -> FullProject:  # noqa: F811
    """The project with a job whose error that pattern searches without end."""
    spec = {"name": "slow", "jobs": {"a": {"run": f"echo '{'a' * 60}!' >&2; exit 1"}}}
    assert full.caller("submit").post("/submit", {"spec": spec}).status == 200
    until(lambda: full.states("-w", "slow").get("a") == "failed", "it has failed")
    return full


def test_a_pattern_that_would_take_for_ever_is_ended(slow: FullProject) -> None:
    began = time.monotonic()
    answer = slow.caller("read").get(SLOW)
    assert (answer.status, "takes too long" in answer.document["error"]) == (400, True)
    assert time.monotonic() - began < 15
    assert slow.caller("read").get("/jobs?error=" + "x" * 7000).status == 200


def test_tokens_are_checked_while_slow_requests_run(slow: FullProject) -> None:
    reader, stranger = slow.caller("read"), Caller(slow.url, "rkt_unknown")
    with ThreadPoolExecutor(32) as threads:
        requests = [threads.submit(reader.get, SLOW) for _ in range(32)]
        until(lambda: any(one.running() for one in requests), "they run")
        assert stranger.get("/jobs").status == 403
        assert sum(one.done() for one in requests) < 16
        assert {one.result().status for one in requests} == {400}


def test_the_document_has_no_secret_and_each_operation_its_scope(full: FullProject) -> None:  # noqa: F811
    answer = full.caller("read").get("/openapi.json")
    text = json.dumps(answer.document)
    assert "rkt_" not in text
    assert str(full.folder) not in text
    for methods in answer.document["paths"].values():
        for operation in methods.values():
            assert operation["x-scope"] in ("read", "rerun", "submit", "pilot")
