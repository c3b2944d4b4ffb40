from __future__ import annotations

from pathlib import Path

import pytest
from project_folder import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty folder with a store of its own."""
    return Project(tmp_path)
