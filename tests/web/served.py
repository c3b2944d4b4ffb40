"""A real server of a real store, and a real browser that looks at it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from project_folder import Project, until

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}


class ServedProject(Project):
    """A project whose store a server of its own serves."""

    url = link = ""

    def serve(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start a server, and wait until it accepts connections. `link` logs in once."""
        output = self.folder / f"serve-{len(self.started)}.txt"
        with open(output, "wb") as file:
            server = self._start(("serve", "--port", "0", "--json", *flags), stdout=file, stderr=file)
        self.started.append(server)
        text = until(lambda: output.read_text().strip(), "it serves")
        said = json.loads(text.splitlines()[0])
        self.url, self.link = said["url"], said["link"]
        return server

    def close(self) -> None:
        """End the server, and the jobs that wait for a file `go`."""
        super().close()
        (self.folder / "go").touch()

    def token(self, scopes: str, name: str = "") -> str:
        """Return a new API token."""
        return self.rekindle("token", "new", "--scope", scopes, "--name", name).stdout.strip()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser. Where there is none, skip the test; in CI, fail."""
    if not CHROMIUM.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=_FLAGS)
        yield browser
        browser.close()


class Visitor:
    """A browser context that is logged in. Errors of its pages' scripts, and what the content policy blocked, fail the
    test."""

    def __init__(self, browser: Browser, project: ServedProject, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(viewport=WIDE, **options)
        self.context.set_default_timeout(30_000)
        self.problems: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: self.problems.append(said.text) if _is_problem(said) else None)
        self.project = project

    def log_in(self) -> Page:
        """Follow the one-time link."""
        self.page.goto(self.project.link)
        return self.page

    def open(self, path: str) -> Page:
        """Open a page of the console."""
        self.page.goto(self.project.url + path)
        return self.page

    def serious(self) -> list[str]:
        """Return the serious and critical findings of axe-core on the page."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def close(self) -> None:
        """End the context."""
        self.context.close()


def _is_problem(said: Any) -> bool:
    """Return whether a console message is an error. The browser also reports answers such as 403, which tests want."""
    return said.type == "error" and "Failed to load resource" not in said.text
