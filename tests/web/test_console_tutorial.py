"""The tutorial of the console: its commands are typed, and its clicks are done in a browser.

With `--write` (`make pages`), pictures that are missing are taken, light and dark.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from served import ServedProject, Visitor

from console_blocks import ROOT, begin, check_page
from project_folder import COMMAND, until

PAGE = ROOT / "docs/tutorials/console.md"
PICTURES = ROOT / "docs/_static"
SIZE = {"width": 1000, "height": 640}
PORT = "8642"  # that the page shows
MOST_BYTES = 150_000  # of a picture


class Follower:
    """Does in a browser what the tutorial says while its servers run."""

    def __init__(self, browser: Browser, project: ServedProject, write: bool) -> None:
        self.browser, self.project, self.write = browser, project, write
        self.parts = [self.look_plan_and_undo, self.watch]

    def serve(self, line: str) -> str:
        """Run a server on a free port, follow the next part of the tutorial, and end the server with Ctrl-C."""
        output = self.project.folder / f"served-{len(self.parts)}.txt"
        with open(output, "wb") as file:
            server = subprocess.Popen(
                [COMMAND, *shlex.split(line)[1:], "--port", "0"],
                cwd=self.project.folder,
                env=self.project.env,
                stdout=file,
                stderr=file,
            )
        self.project.started.append(server)
        found = until(lambda: re.search(r"(http://127.0.0.1:(\d+))/login\S+", output.read_text()), "it serves")
        printed = output.read_text().replace(found[2], PORT)
        self.project.link, self.project.url = found[0], found[1]
        visitor = Visitor(self.browser, self.project)
        page = visitor.log_in()
        page.set_viewport_size(SIZE)
        page.locator("#workflow-1").get_by_role("link", name="sweep").click()
        self.parts.pop(0)(page)
        visitor.close()
        assert visitor.problems == []
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
        return printed

    def look_plan_and_undo(self, page: Page) -> None:
        expect(page.get_by_text("4× knn: expected at least 1 neighbour, got 0")).to_be_visible()
        self.take(page, "jobs")
        page.get_by_role("link", name="Graph").click()
        expect(page.get_by_role("link", name=re.compile("^table: waiting"))).to_be_visible()
        self.take(page, "graph")
        page.get_by_role("link", name="Jobs", exact=True).click()
        page.get_by_role("link", name="4× knn").click()
        page.locator("a[href='/jobs/9']").click()
        expect(page.locator("main")).to_contain_text("expected at least 1 neighbour")
        page.go_back()
        self.plan(page)
        self.take(page, "rerun")
        page.locator("#rerun-apply").click()
        bar = page.locator(".undo-bar")
        expect(bar).to_contain_text("Rerun 1: 5 jobs run again.")
        bar.get_by_role("button", name="Undo").click()
        expect(bar).to_contain_text("Rerun 1 is undone")

    def watch(self, page: Page) -> None:
        self.plan(page)
        page.locator("#rerun-apply").click()
        expect(page.locator("main")).to_contain_text("13 ✓ completed")
        self.take(page, "done")

    def plan(self, page: Page) -> None:
        page.get_by_role("button", name="Rerun all failed").click()
        expect(page.locator("#rerun-plan")).to_contain_text("5 jobs run again: 4 selected, 1 downstream")

    def take(self, page: Page, name: str) -> None:
        """Take a picture that is missing, if asked to, and look whether the page has it; light and dark."""
        for scheme in ("light", "dark"):
            picture = PICTURES / f"console-{name}-{scheme}.png"
            if self.write and not picture.exists():
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=picture)
            assert f"../_static/{picture.name}\n" in PAGE.read_text()
            assert 0 < picture.stat().st_size < MOST_BYTES
        page.emulate_media(color_scheme="light")


def test_the_tutorial_can_be_followed(tmp_path: Path, browser: Browser, request: pytest.FixtureRequest) -> None:
    write = request.config.getoption("--write")
    folder = tmp_path / begin(PAGE)[0]
    folder.mkdir()
    project = ServedProject(folder)
    try:
        check_page(PAGE, folder, write=write, serve=Follower(browser, project, write).serve)
    finally:
        project.close()


def test_each_picture_of_the_console_is_on_the_page() -> None:
    named = set(re.findall(r"_static/(console-\S+\.png)", PAGE.read_text()))
    assert named == {picture.name for picture in PICTURES.glob("console-*.png")}
