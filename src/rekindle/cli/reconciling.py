"""Open the store for a command that acts: dead runners are reconciled with first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from rekindle.cli.opening import opened
from rekindle.cli.showing import drawing
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session


@contextmanager
def reconciled(*, create: bool = False, looks: bool = False) -> Iterator[Session]:
    """Open a session as `opened` does, reconciled with dead runners (see engine.running.reconciling); what changed is
    reported on stderr."""
    with opened(create=create) as session, reconciling.reconciled(session, report, looks=looks):
        yield session


def report(line: str) -> None:
    """Print what became of the jobs of dead runners."""
    click.echo(drawing.flat(line), err=True)
