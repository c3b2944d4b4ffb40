"""Open the store for a command that acts: dead runners are reconciled with first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rekindle.cli.opening import opened
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session


@contextmanager
def reconciled(*, create: bool = False, looks: bool = False) -> Iterator[Session]:
    """Open a session as `opened` does, reconciled with dead runners (see engine.running.reconciling)."""
    with opened(create=create) as session, reconciling.reconciled(session, looks=looks):
        yield session
