"""Fixtures: a project folder with a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_project import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    made.check()
    made.session.close()


@pytest.fixture
def lines() -> Callable[[Path], list[str]]:
    def read(path: Path) -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    return read
