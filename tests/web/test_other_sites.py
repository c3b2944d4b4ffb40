"""Another site in the browser in which the console is logged in: on another port of the same host, which shares its
cookies, and under a name that leads to the same address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect
from served import ServedProject, Visitor

PAGE = """<!doctype html><title>other site</title>
<iframe name="into"></iframe><iframe id="framed" src="{console}/"></iframe>
<form id="form" method="post" action="{console}/{action}" target="into"><input name="token" value="x"></form>
<form id="text" method="post" action="{console}/api/v1/hold" enctype="text/plain" target="into">
<input name='{{"selection": {{"all": true}}, "note": "' value='"}}'></form>
<script src="{console}/api/v1/jobs" onload="window.loaded = true"></script>
<img src="{console}/api/v1/jobs" onload="window.loaded = true">"""


class OtherSite:
    """A server of somebody else. `cookies` are those that browsers have sent to it."""

    def __init__(self, console: str, action: str) -> None:
        self.cookies: list[str] = []
        self.plants = ""
        page, site = PAGE.format(console=console, action=action).encode(), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.cookies.append(self.headers.get("Cookie", ""))
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                if site.plants:
                    self.send_header("Set-Cookie", site.plants)
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def other(project: ServedProject) -> Iterator[OtherSite]:
    project.spec('{name: one, jobs: {a: {run: "true"}}}')
    project.rekindle("submit", "spec.yaml")
    project.serve()
    site = OtherSite(project.url, "logout")
    yield site
    site.server.shutdown()
    site.server.server_close()


FETCH = """async ([url, options]) => {
  try { const answer = await fetch(url, {credentials: "include", ...options}); return [answer.type, answer.status]; }
  catch (error) { return String(error); }
}"""


def test_a_site_on_another_port_can_neither_read_nor_change_anything(
    project: ServedProject, visitor: Visitor, other: OtherSite
) -> None:
    visitor.log_in()
    page = visitor.context.new_page()  # its errors are expected
    page.goto(other.url)
    assert any("rekindle-" in cookie for cookie in other.cookies), (
        "ports share cookies: see docs/explanation/security.md"
    )
    for path in ("/", "/api/v1/jobs", "/static/console.css"):
        assert "Failed to fetch" in page.evaluate(FETCH, [project.url + path, {}])
        assert page.evaluate(FETCH, [project.url + path, {"mode": "no-cors"}]) != ["opaque", 200]
    body = '{"selection": {"all": true}}'
    for options in (
        {"method": "POST", "body": body, "headers": {"Content-Type": "application/json"}},
        {"method": "POST", "body": body, "mode": "no-cors"},
    ):
        page.evaluate(FETCH, [project.url + "/api/v1/hold", options])
    for form in ("form", "text"):
        with page.expect_response(lambda answer: answer.request.method == "POST") as found:
            page.evaluate("form => document.getElementById(form).submit()", form)
        assert found.value.status == 403
    assert page.evaluate("window.loaded") is None
    framed = page.frame(url=f"{project.url}/")
    assert framed is None or "one" not in framed.content()
    assert not any(one["held"] for one in project.ask("jobs", "list")["jobs"])
    expect(visitor.open("/").get_by_role("link", name="one")).to_be_visible()


def test_a_cookie_from_another_port_gives_nobody_a_session(
    project: ServedProject, visitor: Visitor, other: OtherSite
) -> None:
    visitor.log_in()
    [cookie] = [one for one in visitor.context.cookies() if one["name"].startswith("rekindle-")]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    other.plants = f"{cookie['name']}=planted; Path=/jobs"
    visitor.context.new_page().goto(other.url)
    expect(visitor.open("/jobs/1").get_by_role("heading", name="Log in")).to_be_visible()
    expect(visitor.open("/").get_by_role("link", name="one")).to_be_visible()


def test_a_name_that_leads_to_the_same_address_shows_nothing(project: ServedProject, visitor: Visitor) -> None:
    project.serve()
    visitor.log_in()
    page = visitor.context.new_page()
    for path in ("/", "/login", "/static/console.css"):
        answer = page.goto(project.url.replace("127.0.0.1", "rebound.localhost") + path)
        assert answer is not None
        assert answer.status == 421


def test_a_token_logs_in_and_a_wrong_one_does_not(project: ServedProject, visitor: Visitor) -> None:
    project.serve()
    page = visitor.open("/")
    for token, heading in (("rkt_wrong", "Log in"), (project.token("read"), "Workflows")):
        page.get_by_label("API token").fill(token)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        if heading == "Log in":
            expect(page.get_by_role("alert")).to_contain_text("not valid")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(visitor.open("/").get_by_role("heading", name="Log in")).to_be_visible()
