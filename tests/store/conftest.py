"""A store in a folder of its own, checked against the law when the test is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rekindle.store.opening import open_store
from rekindle.store.port import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / ".rekindle"), create=True)
    yield opened
    with opened.read() as archive:
        assert archive.check() == []
    opened.close()
