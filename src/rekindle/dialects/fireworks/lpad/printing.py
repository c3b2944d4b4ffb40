"""How lpad prints: documents as JSON or YAML, and messages, which -s silences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from rekindle.domain.texts.secrets import masked_document

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
"""Of messages."""

NAMED = 10
"""So many are told one by one."""


@dataclass(frozen=True, slots=True)
class Printing:
    """What stands before a command."""

    form: str = "json"
    messages: bool = True


def emit(document: Any) -> None:
    """Print a document on stdout, without secrets."""
    document = masked_document(document)
    if _asked().form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(document, default_flow_style=False, allow_unicode=True))
    else:
        click.echo(json.dumps(document, indent=4))


def tell(message: str) -> None:
    """A message on stdout, where FireWorks has its own."""
    if _asked().messages:
        click.echo(message)


def note(message: str) -> None:
    """What a user should know beside, on stderr."""
    click.echo(message, err=True)


def tell_left(left: Sequence[tuple[int, str]], names: Mapping[int, str]) -> None:
    """Which fireworks are left as they are, and why."""
    for number, why in left[:NAMED]:
        note(f"left as it is: {number} {names.get(number, '')}: {why}")
    if len(left) > NAMED:
        note(f"left as they are: {len(left) - NAMED:,} more")


def _asked() -> Printing:
    return click.get_current_context().find_object(Printing) or Printing()
