from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from project_folder import Project
from stores import make_store_in_postgres


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    """An empty folder with a store of its own."""
    make_store_in_postgres(request, tmp_path / ".rekindle")
    project = Project(tmp_path)
    yield project
    project.close()
