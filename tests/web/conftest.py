"""Fixtures of the tests of the console and the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from served import ServedProject, Visitor, chromium

expect.set_options(timeout=30_000)  # jobs run meanwhile, and the machine may be busy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser for all tests of this process."""
    with chromium() as found:
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ServedProject]:
    """An empty folder with a store of its own."""
    made = ServedProject(tmp_path)
    yield made
    made.close()


@pytest.fixture
def visitor(browser: Browser, project: ServedProject) -> Iterator[Visitor]:
    """A browser context. It must end without an error in its pages."""
    made = Visitor(browser, project)
    yield made
    made.close()
    assert made.problems == []
