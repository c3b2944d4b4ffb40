"""`rekindle import`: what ran in other systems."""

from __future__ import annotations

import click

from rekindle.cli.embassies import IMPORTS
from rekindle.cli.lazy import LazyGroup


@click.group("import", cls=LazyGroup, entries=IMPORTS)
def importing() -> None:
    """Bring in what ran elsewhere, with its history: workflows, how they stand, and every attempt.

    \b
    Example:
      rekindle import fireworks dump
    """
