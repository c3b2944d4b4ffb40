"""Fixture: a store of each kind in its own folder, checked for contradictions after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rekindle.store.archive import Store
from rekindle.store.opening import open_store
from stores import new_store_url


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that does not exist yet, in each kind of database."""
    folder = tmp_path / ".rekindle"
    if request.param == "sqlite":
        return str(folder)
    return new_store_url(request.getfixturevalue("postgres_server"), folder)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url, create=True)
    yield opened
    with opened.read() as archive:
        assert archive.check() == []
    opened.close()
