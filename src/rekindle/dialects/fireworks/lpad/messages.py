"""Output of lpad: documents as JSON or YAML, messages that -s silences, and the question before large changes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import click
import msgspec

from rekindle.domain.errors import Refused
from rekindle.domain.texts.display import mask_document

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
"""Log levels by name."""

MAX_LISTED = 10
"""At most this many fireworks or warnings are printed one by one."""


class OutputOptions(msgspec.Struct, frozen=True):
    """The options before the command."""

    form: str = "json"
    messages: bool = True


def print_document(document: Any) -> None:
    """Print a document on stdout, with secrets masked."""
    document = mask_document(document)
    if _output_options().form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(document, default_flow_style=False, allow_unicode=True))
    else:
        click.echo(json.dumps(document, indent=4))


def print_message(message: str) -> None:
    """Print a message on stdout, as FireWorks does, unless messages are silenced."""
    if _output_options().messages:
        click.echo(message)


def print_note(message: str) -> None:
    """Print a note on stderr."""
    click.echo(message, err=True)


def print_unchanged(unchanged: Sequence[tuple[int, str]], names: Mapping[int, str]) -> None:
    """Print which fireworks are unchanged, and why."""
    for number, why in unchanged[:MAX_LISTED]:
        print_note(f"left as it is: {number} {names.get(number, '')}: {why}")
    if len(unchanged) > MAX_LISTED:
        print_note(f"left as they are: {len(unchanged) - MAX_LISTED:,} more")


def _output_options() -> OutputOptions:
    return click.get_current_context().find_object(OutputOptions) or OutputOptions()


CONFIRM_ABOVE = 10
"""Changes of more entries than this need a password or an answer."""


_TOO_MANY = "Modifying more than 10 entries requires setting the --password parameter!"
"""FireWorks' words."""


def confirm_change(entries: Sequence[object], password: str | None, today: date | None = None) -> None:
    """Ask before many entries are changed. Raises Refused without today's date as password, or a Y as answer."""
    count = len(entries)
    if count <= CONFIRM_ABOVE:
        return
    day = (today or date.today()).isoformat()
    if password is not None:
        if password != day:
            raise Refused(
                f"{_TOO_MANY} {password:.40} is not today's date, and {count:,} entries would be changed",
                hint=f"--password {day}",
            )
        return
    click.echo(f"Are you sure? This will modify {count:,} entries. (Y/N) ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.strip().upper().startswith("Y"):
        raise Refused(
            f"Operation aborted by user. {_TOO_MANY} Nothing is changed: {count:,} entries need a Y",
            hint=f"--password {day} asks nothing",
        )
