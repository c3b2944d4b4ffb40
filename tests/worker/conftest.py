"""Fixtures: a floor with one worker. Workers are tested where they live, in processes that an executor starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "executors"))

from floor import Floor


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    """One worker and a project folder."""
    made = Floor(tmp_path)
    yield made
    made.close()
