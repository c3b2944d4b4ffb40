"""The page of a log: in a browser, and over plain HTTP."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect
from served import NARROW, WIDE, ServedProject, Visitor

from project_folder import until

expect.set_options(timeout=30_000)

HOSTILE = r"""printf '<script>window.bad = 1</script>\n\033[31mred\033[0m \000 \377 \342\200\256\n'"""


def logged(project: ServedProject, command: str = HOSTILE) -> None:
    """Run a job, so that the store has attempt 1."""
    project.write("run.sh", command)
    project.spec("{name: one, jobs: {a: {run: sh run.sh}}}")
    project.run("run", "spec.yaml")


def log_file(project: ServedProject, name: str = "1.0.out") -> Path:
    return project.folder / ".rekindle/attempts/0000/00" / name


class Client:
    """Plain HTTP with a token."""

    def __init__(self, project: ServedProject) -> None:
        self.url, self.token = project.url, project.token("read")

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers by their names in small letters, and the body."""
        wanted = {"Authorization": f"Bearer {self.token}", **{name.title(): text for name, text in headers.items()}}
        request = urllib.request.Request(self.url + path, headers=wanted)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, {name.lower(): text for name, text in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {name.lower(): text for name, text in error.headers.items()}, error.read()


def body(client: Client, path: str) -> str:
    status, _, data = client.get(path)
    assert status == 200, data
    return data.decode()


def test_what_a_job_printed_is_text(project: ServedProject, visitor: Visitor) -> None:
    logged(project)
    project.serve()
    visitor.log_in()
    page = visitor.open("/attempts/1/log")
    log = page.locator("#log")
    expect(log).to_contain_text("<script>window.bad = 1</script>")
    expect(log).to_contain_text(r"red \x00 \xff \u202e")
    expect(log.locator(".t-front-1")).to_have_text("red")
    assert page.evaluate("window.bad") is None
    assert log.locator("script").count() == 0


def test_huge_logs_open_with_bounded_answers_and_memory(project: ServedProject) -> None:
    logged(project)
    out = log_file(project)
    with open(out, "wb") as file:  # 200 MB of lines, then one line of 50 MB
        for start in range(0, 4_000_000, 100_000):
            file.write(
                b"".join(
                    b"\x1b[34mline %08d\x1b[0m is here, and is long enough to count\n" % n
                    for n in range(start, start + 100_000)
                )
            )
        size = file.tell()
        file.write(b"<" * (50 << 20))
    assert size > 200e6
    server = project.serve()
    client, process = Client(project), psutil.Process(server.pid)
    small = len(body(client, "/attempts/1/log?stream=stderr"))
    before = process.memory_info().rss
    for query in (
        "",
        "&from=0",
        "&from=123456789",
        "&before=100000000",
        f"&at={size - 20}&len=3",
        f"&from={size + 10_000_000}",
    ):
        assert len(body(client, f"/attempts/1/log?step=0{query}")) < small + 500_000, query
        assert len(body(client, f"/attempts/1/log/piece?step=0{query}")) < 500_000, query
    found = body(client, "/attempts/1/log/search?find=line%2003999998")
    assert len(found) < 50_000
    assert process.memory_info().rss - before < 50e6
    status, headers, _ = client.get("/attempts/1/log/raw", range="bytes=-10")
    assert (status, headers["content-range"].split("/")[1]) == (206, str(out.stat().st_size))


def test_pages_lead_through_a_log(project: ServedProject, visitor: Visitor) -> None:
    logged(project, "seq 1 40000; seq 1 3 >&2")
    project.serve()
    visitor.log_in()
    page = visitor.open("/attempts/1/log")
    expect(page.locator("#log")).to_contain_text("\n40000\n")
    assert page.get_by_role("link", name="Later").count() == 0
    page.get_by_role("link", name="Earlier").click()
    expect(page.get_by_role("link", name="Later")).to_be_visible()
    page.get_by_role("link", name="First").click()
    expect(page.locator("#log")).to_contain_text("1\n2\n3\n")
    page.get_by_role("link", name="Last").click()
    expect(page.locator("#log")).to_contain_text("\n40000\n")
    page.get_by_role("link", name="run stderr").click()
    expect(page.locator("#log")).to_have_text("1\n2\n3\n")


def test_search_leads_to_each_match(project: ServedProject, visitor: Visitor) -> None:
    logged(project, "seq 1 200000; echo '<b>Needle</b>'; seq 1 200000; echo needle 2")
    project.serve()
    visitor.log_in()
    page = visitor.open("/attempts/1/log")
    page.keyboard.press("/")
    page.keyboard.type("NEEDLE")
    page.keyboard.press("Enter")
    matches = page.locator("#matches li")
    expect(matches).to_have_count(2)
    text = log_file(project).read_bytes()
    expect(matches.nth(0)).to_contain_text(f"byte {text.index(b'Needle'):,} <b>Needle</b>")
    matches.nth(0).get_by_role("link").click()
    expect(page.locator("mark#match")).to_have_text("Needle")
    expect(page.locator("mark#match")).to_be_in_viewport()
    page.get_by_role("link", name="Next match").click()
    expect(page.locator("mark#match")).to_have_text("needle")
    page.get_by_role("link", name="Next match").click()
    expect(page.get_by_text("There is no other match after this place.")).to_be_visible()
    page.get_by_role("link", name="Previous match").click()
    expect(page.locator("mark#match")).to_have_text("Needle")
    page.get_by_label("regular expression").check()
    page.locator("#find").fill("^ne+dle (2|3)$")
    page.keyboard.press("Enter")
    expect(matches).to_have_count(1)
    page.locator("#find").fill("(")
    page.keyboard.press("Enter")
    expect(page.locator("#matches")).to_contain_text("is not a regular expression")


def test_new_output_is_appended_until_the_step_ends(project: ServedProject, visitor: Visitor) -> None:
    project.write(
        "run.sh", "echo first; until [ -e go ]; do sleep 0.02; done; seq 1 9000; printf '\\033[32mend\\033[0m'"
    )
    project.spec("{name: one, jobs: {a: {run: sh run.sh}}}")
    project.rekindle("submit", "spec.yaml")
    project.serve("--work", "-j", "1")
    until(lambda: project.states()["a"] == "running", "it runs")
    visitor.log_in()
    page = visitor.open("/attempts/1/log")
    expect(page.locator("#log")).to_have_text("first\n")
    page.evaluate("window.loadedOnce = true")
    (project.folder / "go").touch()
    expect(page.locator("#log")).to_contain_text("9000\nend")
    expect(page.locator("#log .t-front-2")).to_have_text("end")
    expect(page.get_by_text("The step has ended: this is all that it printed.")).to_be_visible()
    expect(page.locator("main .state")).to_contain_text("completed")
    assert page.evaluate("window.loadedOnce")
    lines = page.locator("#log").inner_text().count("\n")
    assert lines <= 10_000


def test_old_lines_are_dropped_while_a_log_grows(project: ServedProject, visitor: Visitor) -> None:
    project.write(
        "run.sh", "for i in $(seq 1 40); do seq ${i}0001 ${i}0900; sleep 0.2; done; until [ -e go ]; do sleep 0.1; done"
    )
    project.spec("{name: one, jobs: {a: {run: sh run.sh}}}")
    project.rekindle("submit", "spec.yaml")
    project.serve("--work", "-j", "1")
    until(lambda: project.states()["a"] == "running", "it runs")
    visitor.log_in()
    page = visitor.open("/attempts/1/log")
    expect(page.locator("#log")).to_contain_text("\n400900\n", timeout=30_000)
    shown = page.locator("#log").text_content() or ""
    assert shown.count("\n") < 12_000
    first = int((page.locator("#first-byte").text_content() or "").replace(",", ""))
    assert first > 0
    (project.folder / "go").touch()


def test_a_page_that_is_far_behind_gets_the_end(project: ServedProject) -> None:
    logged(project, "seq 1 200000")
    project.serve()
    piece = body(Client(project), "/attempts/1/log/piece?from=0")
    assert re.search(r'data-skipped="\d+"', piece)
    assert "200000" in piece
    assert len(piece) < 100_000


def test_the_raw_log_is_a_download_that_no_browser_shows(served: ServedProject, client: Client) -> None:
    data = log_file(served).read_bytes()
    status, headers, content = client.get("/attempts/1/log/raw?step=0&stream=stdout")
    assert (status, content) == (200, data)
    assert headers["content-disposition"] == 'attachment; filename="a-1-run-stdout.log"'
    assert headers["content-type"].startswith("text/plain")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    ranges = {"bytes=0-3": data[:4], "bytes=5-": data[5:], "bytes=-4": data[-4:], "bytes=2-99999": data[2:]}
    for wanted, expected in ranges.items():
        status, headers, content = client.get("/attempts/1/log/raw", range=wanted)
        assert (status, content) == (206, expected), wanted
        assert headers["content-range"].endswith(f"/{len(data)}")
    for wanted in (f"bytes={len(data)}-", "bytes=5-2", "bytes=-0"):
        status, headers, _ = client.get("/attempts/1/log/raw", range=wanted)
        assert (status, headers["content-range"]) == (416, f"bytes */{len(data)}"), wanted
    for ignored in ("bytes=0-1,3-4", "lines=1-2", "bytes=-"):
        assert client.get("/attempts/1/log/raw", range=ignored)[::2] == (200, data), ignored
    assert client.get("/attempts/1/log/raw?stream=stderr")[::2] == (200, b"")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProject]:
    """A server of attempt 1, for tests that only read."""
    made = ServedProject(tmp_path_factory.mktemp("logs"))
    logged(made)
    made.serve()
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(served: ServedProject) -> Client:
    return Client(served)


@pytest.mark.parametrize("path", ["", "/piece", "/raw", "/search?find=a", "/next?find=a"])
def test_a_log_needs_a_token(client: Client, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(client, "token", "none")
    status, _, answer = client.get(f"/attempts/1/log{path}")
    assert status == 403
    assert b"window.bad" not in answer


def links(project: ServedProject) -> Iterator[str]:
    """Put other things than a file in the log's place, one after the other."""
    out = log_file(project)
    (project.folder / "secret").write_text("secret")
    for place in (lambda: out.symlink_to(project.folder / "secret"), lambda: os.mkfifo(out), out.mkdir):
        out.unlink()
        place()
        yield "put"


def test_what_is_no_regular_file_is_refused(project: ServedProject) -> None:
    logged(project)
    project.serve()
    client = Client(project)
    for _ in links(project):
        for path in ("", "/piece", "/search?find=s", "/raw", "/next?find=s"):
            status, _, answer = client.get(f"/attempts/1/log{path}")
            assert status == 409, path
            assert b"secret" not in answer


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/attempts/99/log", 404),
        ("/attempts/1/log?step=7", 404),
        ("/attempts/1/log?item=3", 404),
        ("/attempts/1/log?step=-1", 400),
        ("/attempts/1/log?stream=../../passwd", 400),
        ("/attempts/1/log?from=x", 400),
        ("/attempts/..%2f..%2fetc/log", 404),
        (f"/attempts/{1 << 70}/log", 404),
        ("/attempts/1/log/piece?style=%22onload", 400),
        (f"/attempts/1/log?from={1 << 62}", 200),
        (f"/attempts/1/log?at={1 << 62}&len=99999999", 200),
    ],
)
def test_an_address_names_a_log_or_is_refused(client: Client, address: str, status: int) -> None:
    assert client.get(address)[0] == status


def test_logs_of_items_and_of_archived_and_kept_attempts_are_there(project: ServedProject) -> None:
    project.spec(
        """
name: one
jobs:
  a:
    steps:
      - {name: cut, run: "echo cut in $REKINDLE_ATTEMPT"}
      - {name: process, each: [x, y], run: "echo ${item} in $REKINDLE_ATTEMPT; test ${item} = x -o -e good"}
"""
    )
    project.run("run", "spec.yaml")
    (project.folder / "good").touch()
    project.rekindle("rerun", "a", "--from", "failed-step", "--yes", "--work")
    project.serve()
    client = Client(project)
    raw = {
        "/attempts/1/log/raw?step=0": b"cut in 1\n",
        "/attempts/1/log/raw?step=1&item=1": b"y in 1\n",
        "/attempts/2/log/raw?step=0": b"cut in 1\n",
        "/attempts/2/log/raw?step=1&item=0": b"x in 1\n",
        "/attempts/2/log/raw?step=1&item=1": b"y in 2\n",
    }
    assert {path: client.get(path)[2] for path in raw} == raw
    assert "archived by" in body(client, "/attempts/1/log")


def test_the_page_is_accessible_at_both_widths(project: ServedProject, visitor: Visitor) -> None:
    one = r"printf '\033[3%dmcolour %d\033[0m \033[4%dmback %d\033[0m\n' $i $i $i $i"
    logged(project, rf"for i in 0 1 2 3 4 5 6 7; do {one}; done; printf '\033[2mdim'")
    project.serve()
    page: Page = visitor.log_in()
    visitor.open("/attempts/1/log?find=colour&at=5&len=6")
    expect(page.locator("#matches li")).to_have_count(8)
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert visitor.serious() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
