"""The question before much is changed: today's date as --password, or a Y."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date

import click

from rekindle.domain.errors import Refused

MOST_UNASKED = 10
"""So many may be changed without a question."""


def agreed(entries: Sequence[object], password: str | None, today: date | None = None) -> None:
    """Refused where so many are to be changed and neither the password nor an answer agrees."""
    count = len(entries)
    if count <= MOST_UNASKED:
        return
    day = (today or date.today()).isoformat()
    if password is not None:
        if password != day:
            raise Refused(
                f"--password is not today's date, and {count:,} entries would be changed", hint=f"--password {day}"
            )
        return
    click.echo(f"Are you sure? This will modify {count:,} entries. (Y/N) ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.strip().upper().startswith("Y"):
        raise Refused(f"nothing is changed: {count:,} entries need a Y", hint=f"--password {day} asks nothing")
