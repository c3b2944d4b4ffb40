from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from project_folder import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty folder with a store of its own."""
    project = Project(tmp_path)
    yield project
    project.close()
