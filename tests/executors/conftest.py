"""Fixtures: a harness with one local worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import WorkerHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[WorkerHarness]:
    """One worker and a project folder."""
    made = WorkerHarness(tmp_path)
    yield made
    made.close()
