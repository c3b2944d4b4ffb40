"""Fixture: a store in its own folder, checked for contradictions after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rekindle.store.archive import Store
from rekindle.store.opening import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / ".rekindle"), create=True)
    yield opened
    with opened.read() as archive:
        assert archive.check() == []
    opened.close()
