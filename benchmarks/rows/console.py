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
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil

from benchmarks.commands import command
from benchmarks.harness import CommandFailed, Measurement, Row, Sample, Samples, beside, in_turn
from benchmarks.projects import JOBS_FAILED, REKINDLE, SLOTS, project
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import SORT_FIELDS
from rekindle.engine.rerun.rerun import plan
from rekindle.engine.session import open_session
from rekindle.web.selections import selection_of

CHROMIUM = "/usr/bin/chromium"
REQUESTS = 200
STREAMS = 50

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


def console(count: int, rounds: int) -> list[Measurement]:
    """Measure the console with `count` jobs, a tenth of which have failed."""
    job = {"call": "work:fail_each", "args": {"number": "${matrix.i}", "every": 10}}
    with project(job, count) as folder:
        command([REKINDLE, "submit", "spec.json"], folder)
        command([REKINDLE, "work", "-j", str(SLOTS)], folder, expect=JOBS_FAILED)
        return [*pages(folder, rounds), *plans(folder, count // 10, rounds)]


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


def pages(folder: Path, rounds: int) -> list[Measurement]:
    """Measure pages of the table, and the memory of the server after many."""
    samples = Samples()
    with serving(folder) as server:
        painted = first_paints(server, rounds) if shutil.which(CHROMIUM) else None
        server.get("/workflows/1" if painted else server.link.removeprefix(server.url))
        for _ in range(rounds):
            for name, query in PAGES.items():
                samples.take(name, lambda query=query: server.get(f"/workflows/1{query}"))
        names = list(PAGES.values())
        for number in range(REQUESTS):
            server.get(f"/workflows/1{names[number % len(names)]}")
        rss = server.process.memory_info().rss
    memory = Measurement(f"memory of the server after {REQUESTS} pages", "B", (rss,))
    return [*samples.seconds(), *([painted] if painted else []), memory]


def first_paints(server: Server, rounds: int) -> Measurement:
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
    return Measurement("Chromium, from the request to the first paint", "s", tuple(times))


def plans(folder: Path, failures: int, rounds: int) -> list[Measurement]:
    """Measure a plan for all jobs that match a filter, as the console asks for it."""
    samples, form = Samples(), {"all": ["1"], "w": ["1"], "state": ["failed"], "minus": ["1"]}
    with open_session(str(folder / ".rekindle")) as session:
        for _ in range(rounds):
            found = samples.take(
                "a plan for all failed without one", lambda: plan(session, [(selection_of(form), How())], {}, None)
            )
            if abs(len(found.plan.jobs) - failures) > 1:
                raise CommandFailed(f"{len(found.plan.jobs)} jobs are planned, not {failures}")
    return samples.seconds()


def streams(jobs: int, rounds: int) -> list[Measurement]:
    """Measure `rekindle work` beside a server without readers, and with many pages that follow the workflow: all the
    same, or sorted in as many ways as there are. Measure also the server's processor time in seconds."""
    orders = [f"&sort={field}&order={order}" for field in SORT_FIELDS for order in ("up", "down")]
    readers = {
        f"{STREAMS} same pages": [""] * STREAMS,
        f"{STREAMS} pages in {len(orders)} orders": [orders[number % len(orders)] for number in range(STREAMS)],
        "no page": [],
    }
    spent: dict[str, list[float]] = {name: [] for name in readers}
    samples = in_turn(rounds, *((name, partial(work, jobs, pages, spent[name])) for name, pages in readers.items()))
    targets = {name: [beside("no page")] for name in readers if name != "no page"}
    servers = [Measurement(f"processor of the server, {name}", "s", tuple(taken)) for name, taken in spent.items()]
    return [*samples.rates(jobs, targets), *servers]


def work(jobs: int, pages: Sequence[str], spent: list[float]) -> Sample:
    """Run jobs in a new store beside a server with open pages; append the server's processor time to `spent`."""
    with project({"run": ["/bin/true"]}, jobs) as folder:
        command([REKINDLE, "submit", "spec.json"], folder)
        with serving(folder) as server, following(server, pages):
            before = sum(server.process.cpu_times()[:2])
            sample = command([REKINDLE, "work", "-j", str(SLOTS)], folder)
            spent.append(sum(server.process.cpu_times()[:2]) - before)
    return sample


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


ROWS = (
    Row("console", "the console with many jobs: pages, and a plan of what failed", console, (100_000,), (10_000,)),
    Row("streams", "a run (/bin/true, 2 slots) beside a console with open pages", streams, (10_000,), (2_000,)),
)
