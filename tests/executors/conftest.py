"""Fixtures: a floor with one worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from floor import Floor


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    """One worker and a project folder."""
    made = Floor(tmp_path)
    yield made
    made.close()
