"""Fixtures: a harness with one worker. Workers are tested where they live, in processes that an executor starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "executors"))

from harness import WorkerHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[WorkerHarness]:
    """One worker and a project folder."""
    made = WorkerHarness(tmp_path)
    yield made
    made.close()
