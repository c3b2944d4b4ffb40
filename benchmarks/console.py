"""The console with many jobs: its pages, a plan for a large selection, and what open pages cost a runner."""

from __future__ import annotations

import http.client
import json
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil

from benchmarks.projects import REKINDLE, project
from benchmarks.timing import CommandFailed, Measured, Stopwatch, command, show_rates, show_times
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import SORT_FIELDS
from rekindle.engine.rerun.rerun import plan
from rekindle.engine.session import open_session
from rekindle.web.selections import selection_of

SLOTS = "2"
CHROMIUM = "/usr/bin/chromium"
REQUESTS = 200
STREAMS = 50
JOBS_FAILED = 2

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"

PAGES = {
    "first page": "",
    "last page": "?last=1",
    "sorted by duration": "?sort=seconds&order=down",
    "sorted by memory, last page": "?sort=max_rss_bytes&order=down&last=1",
    "failed, by processor time": "?state=failed&sort=cpu_seconds",
    "name *99*": "?name=*99*",
    "a matrix value": "?filter=" + quote("matrix.i<500"),
    "a regular expression": "?filter=" + quote("name~99.$"),
    "an error": "?error=" + quote("number .*99 "),
}


def console(count: int, failures: int, jobs: int, rounds: int) -> None:
    """Measure the console with `count` jobs, `failures` of which have failed, and runs of `jobs` jobs beside it."""
    job = {"call": "work:fail_each", "args": {"number": "${matrix.i}", "every": count // failures}}
    with project(job, count) as folder:
        command([REKINDLE, "submit", "spec.json"], folder)
        command([REKINDLE, "work", "-j", SLOTS], folder, expect=JOBS_FAILED)
        pages(folder, count, rounds)
        plans(folder, failures, rounds)
    streams(jobs, rounds)


class Server:
    """A server of the console, and one connection to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.process = psutil.Process(process.pid)
        said = json.loads(process.stdout.readline())
        self.url, self.link = said["url"], said["link"]
        self.place = urlsplit(self.url)
        self.cookie = ""

    def get(self, path: str) -> bytes:
        """Return a page, over a connection of its own."""
        connection = http.client.HTTPConnection(self.place.netloc, timeout=60)
        connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = connection.getresponse()
        self.cookie = self.cookie or (answer.getheader("Set-Cookie") or "").partition(";")[0]
        body = answer.read()
        connection.close()
        if answer.status not in (200, 303):
            raise CommandFailed(f"{path}: {answer.status}")
        return body


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run a server of a folder's store."""
    words = [str(REKINDLE), "serve", "--port", "0", "--json"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE) as process:
        try:
            yield Server(process)
        finally:
            process.terminate()


def pages(folder: Path, count: int, rounds: int) -> None:
    """Measure pages of the table, and the memory of the server after many."""
    watch = Stopwatch()
    with serving(folder) as server:
        painted = first_paints(server, rounds) if shutil.which(CHROMIUM) else None
        server.get("/workflows/1" if painted else server.link.removeprefix(server.url))
        for _ in range(rounds):
            for name, query in PAGES.items():
                watch.take(name, lambda query=query: server.get(f"/workflows/1{query}"))
        names = list(PAGES.values())
        for number in range(REQUESTS):
            server.get(f"/workflows/1{names[number % len(names)]}")
        rss = server.process.memory_info().rss
    show_times(f"The table of {count:,} jobs: answers of the server", watch.rows())
    if painted is not None:
        show_times("... in Chromium, from the request to the first paint", [painted])
    print(f"   memory of the server after {REQUESTS} pages: {rss / 2**20:,.0f} MiB")


def first_paints(server: Server, rounds: int) -> Measured:
    """Return the times of first paints in a browser. The browser's session is used for further requests."""
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(server.link)
        for _ in range(rounds):
            page.goto(f"{server.url}/workflows/1")
            while (painted := page.evaluate(PAINTED)) is None:
                page.wait_for_timeout(20)
            times.append(painted / 1000)
        server.cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
        browser.close()
    return Measured("first paint", tuple(times))


def plans(folder: Path, failures: int, rounds: int) -> None:
    """Measure a plan for all jobs that match a filter, as the console asks for it."""
    watch, form = Stopwatch(), {"all": ["1"], "w": ["1"], "state": ["failed"], "minus": ["1"]}
    with open_session(str(folder / ".rekindle")) as session:
        for _ in range(rounds):
            found = watch.take("plan", lambda: plan(session, [(selection_of(form), How())], {}, None))
            if abs(len(found.plan.jobs) - failures) > 1:
                raise CommandFailed(f"{len(found.plan.jobs)} jobs are planned, not {failures}")
    show_times(f"All that match without one: a plan of {failures:,} jobs", watch.rows())


def streams(jobs: int, rounds: int) -> None:
    """Measure `rekindle work` beside a server without readers, and with many pages that follow the workflow: all the
    same, or sorted in as many ways as there are."""
    orders = [f"&sort={field}&order={order}" for field in SORT_FIELDS for order in ("up", "down")]
    readers = {
        f"{STREAMS} same pages": [""] * STREAMS,
        f"{STREAMS} pages in {len(orders)} orders": [orders[number % len(orders)] for number in range(STREAMS)],
        "no page": [],
    }
    watch, used = Stopwatch(), dict.fromkeys(readers, 0.0)
    for _ in range(rounds):
        for name, pages in readers.items():
            with project({"run": ["/bin/true"]}, jobs) as folder:
                command([REKINDLE, "submit", "spec.json"], folder)
                with serving(folder) as server, following(server, pages):
                    before = sum(server.process.cpu_times()[:2])
                    watch.take(name, lambda folder=folder: command([REKINDLE, "work", "-j", SLOTS], folder))
                    used[name] += sum(server.process.cpu_times()[:2]) - before
    *many, none = watch.rows()
    for one in many:
        show_rates(f"{jobs:,} jobs (/bin/true), {SLOTS} slots, beside the console", jobs, one, none)
    for one in (*many, none):
        share = used[one.name] / sum(one.seconds)
        print(f"   the server used {100 * share:.1f} % of a processor with {one.name}")


@contextmanager
def following(server: Server, pages: Sequence[str]) -> Iterator[None]:
    """Keep a stream open for each of these pages of a workflow, and read them."""
    server.get(server.link.removeprefix(server.url))
    selector, over = selectors.DefaultSelector(), threading.Event()
    for page in pages:
        parts = ("runners", "workflow?id=1", f"jobs?w=1{page}")
        target = "/live?" + "&".join(f"part={quote(part, safe='')}" for part in parts)
        one = socket.create_connection((server.place.hostname, server.place.port))
        one.sendall(f"GET {target} HTTP/1.1\r\nHost: {server.place.netloc}\r\nCookie: {server.cookie}\r\n\r\n".encode())
        selector.register(one, selectors.EVENT_READ)

    def read() -> None:
        while not over.is_set():
            for key, _ in selector.select(0.2) if pages else ():
                key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
            over.wait(0.05)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
