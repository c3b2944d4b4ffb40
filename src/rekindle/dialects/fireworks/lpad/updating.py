"""`lpad update_fws` and `lpad set_priority`."""

from __future__ import annotations

import json
from typing import Any

import click

from rekindle.dialects.fireworks.lpad.asking import agreed
from rekindle.dialects.fireworks.lpad.holding import tell_refused
from rekindle.dialects.fireworks.lpad.options import firework_options, password_option
from rekindle.dialects.fireworks.lpad.printing import tell
from rekindle.dialects.fireworks.lpad.selecting import Asked, fireworks_meant, workflows_meant
from rekindle.dialects.fireworks.lpad.typed import Command
from rekindle.dialects.fireworks.standing import fireworks_of, standing
from rekindle.dialects.fireworks.updating import operating, setting, update_specs
from rekindle.dialects.fireworks.words import STATES
from rekindle.dialects.opening import opened, reconciled
from rekindle.domain.errors import BadValue
from rekindle.engine.session import Session

_HINT = """as in -u '{"_tasks.1.script": "echo hello"}'"""


@click.command(cls=Command)
@firework_options
@click.option("-u", "--update", required=True, metavar="JSON", help="What to set, by dotted names within the spec.")
@click.option("--mongo", is_flag=True, help="""-u is an update of MongoDB's: '{"$unset": {"spec.alpha": ""}}'.""")
@password_option
def update_fws(update: str, mongo: bool, password: str | None, **words: Any) -> None:
    """Change the spec of fireworks.

    The workflow gets a new revision, which `rekindle workflows diff` shows. What has completed or runs is left as it
    is: rerun it first.

    \b
    Example:
      rekindle lpad update_fws -i 1 -u '{"_tasks.0.script": "echo mended"}'
      rekindle lpad update_fws -s FIZZLED --mongo -u '{"$inc": {"spec.tries": 1}}'
    """
    document = _document(update)
    change = operating(document) if mongo else setting(document)
    with reconciled() as session:
        ids = fireworks_meant(session, Asked(**words), "update")
        agreed(ids, password)
        refused = update_specs(session, ids, change)
        names = _names(session, ids)
    tell_refused(names, refused, "updating")
    tell(f"Finished updating {len(ids) - len(refused)} FWs")


@click.command(cls=Command)
@click.argument("priority", type=int)
@firework_options
@click.option("-wf", "whole", is_flag=True, help="Of all fireworks of the workflows that are meant.")
@password_option
def set_priority(priority: int, whole: bool, password: str | None, **words: Any) -> None:
    """Set the priority of fireworks. The highest runs first.

    \b
    Example:
      rekindle lpad set_priority 10 -i 1 2
      rekindle lpad set_priority 5 -n demo -wf
    """
    asked = Asked(**words)
    with opened() as session:
        if whole:
            chosen = workflows_meant(session, asked, "set the priority of")
            agreed(chosen, password)
            ids = fireworks_of(session, chosen)
        else:
            ids = fireworks_meant(session, asked, "set the priority of")
            agreed(ids, password)
        refused = update_specs(session, ids, setting({"_priority": priority}), STATES)
        names = _names(session, ids)
    tell_refused(names, refused, "setting priorities of")
    tell(f"Finished setting priorities of {len(ids) - len(refused)} FWs")


def _names(session: Session, ids: list[int]) -> dict[int, str]:
    return {one.id: one.job.name for one in standing(session, ids)}


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as wrong:
        raise BadValue(f"-u is not JSON: {wrong}", hint=_HINT) from None
    if not isinstance(found, dict) or not found:
        raise BadValue(f"-u is an object, not {text!r:.60}", hint=_HINT)
    return found
