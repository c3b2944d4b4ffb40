"""Commands that change fireworks: `defuse…`, `reignite…`, `pause…`, `resume_fws`, `update_fws` and `set_priority`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from rekindle.dialects.command_session import open_reconciled, open_store
from rekindle.dialects.fireworks import workflow_operations
from rekindle.dialects.fireworks.firework_operations import (
    defuse,
    defuse_workflows,
    pause,
    pause_workflows,
    reignite,
    reignite_workflows,
    resume,
)
from rekindle.dialects.fireworks.lpad.messages import print_message, print_unchanged
from rekindle.dialects.fireworks.lpad.options import (
    FireworkFilter,
    LpadCommand,
    confirmed_fireworks,
    confirmed_workflows,
    firework_options,
    password_option,
    workflow_options,
)
from rekindle.dialects.fireworks.stored_fireworks import StoredFirework, fireworks_of, read_fireworks
from rekindle.dialects.fireworks.workflow_operations import mongo_update, set_values, update_specs
from rekindle.domain.errors import BadValue, Refused
from rekindle.engine.session import Session


@click.command(cls=LpadCommand)
@firework_options
@password_option
def defuse_fws(password: str | None, **filters: Any) -> None:
    """Defuse fireworks: they do not run until they are reignited.

    A completed or running one is reset first, with its descendants; a running one is ended.

    \b
    Example:
      rekindle lpad defuse_fws -i 3
      rekindle lpad defuse_fws -s FIZZLED
    """
    _change_fireworks("defuse", "defusing", defuse, password, filters)


@click.command(cls=LpadCommand)
@firework_options
@password_option
def reignite_fws(password: str | None, **filters: Any) -> None:
    """Reignite fireworks that are defused.

    One that had fizzled is FIZZLED again, and one that waits for others goes on waiting.

    \b
    Example:
      rekindle lpad reignite_fws -i 3
    """
    _change_fireworks("reignite", "reigniting", reignite, password, filters)


@click.command(cls=LpadCommand)
@firework_options
@password_option
def pause_fws(password: str | None, **filters: Any) -> None:
    """Pause fireworks: they do not start until they are resumed.

    Their descendants wait; other fireworks go on.

    \b
    Example:
      rekindle lpad pause_fws -n relax
    """
    _change_fireworks("pause", "pausing", pause, password, filters)


@click.command(cls=LpadCommand)
@firework_options
@password_option
def resume_fws(password: str | None, **filters: Any) -> None:
    """Resume fireworks that are paused.

    \b
    Example:
      rekindle lpad resume_fws -s PAUSED
    """
    _change_fireworks("resume", "resuming", resume, password, filters)


@click.command(cls=LpadCommand)
@click.option("--defuse_all_states", is_flag=True, help="Also defuse completed and fizzled fireworks.")
@workflow_options
@password_option
def defuse_wflows(defuse_all_states: bool, password: str | None, **filters: Any) -> None:
    """Defuse workflows: their fireworks do not run until they are reignited.

    \b
    Example:
      rekindle lpad defuse_wflows -i 3
    """
    operation = partial(defuse_workflows, all_states=defuse_all_states)
    _change_workflows("defuse", "defusing", operation, password, filters)
    if not defuse_all_states:
        print_message(
            "Note: FIZZLED and COMPLETED FWs were not defused. "
            "Use the --defuse_all_states option to force this (or rerun FIZZLED FWs first)."
        )


@click.command(cls=LpadCommand)
@workflow_options
@password_option
def reignite_wflows(password: str | None, **filters: Any) -> None:
    """Reignite the defused fireworks of workflows.

    \b
    Example:
      rekindle lpad reignite_wflows -n demo
    """
    _change_workflows("reignite", "reigniting", reignite_workflows, password, filters)


@click.command(cls=LpadCommand)
@workflow_options
@password_option
def pause_wflows(password: str | None, **filters: Any) -> None:
    """Pause workflows: their fireworks do not start until they are resumed.

    \b
    Example:
      rekindle lpad pause_wflows -n demo
      rekindle lpad resume_fws -s PAUSED
    """
    _change_workflows("pause", "pausing", pause_workflows, password, filters)


_Operation = Callable[[Session, Sequence[StoredFirework]], dict[int, str]]
"""Changes fireworks, and returns the unchanged ones as `{fw_id: reason}`."""


def _change_fireworks(
    what: str, doing: str, operation: _Operation, password: str | None, filters: dict[str, Any]
) -> None:
    with open_reconciled() as session:
        names, fireworks, gone = confirmed_fireworks(session, FireworkFilter(**filters), what, password)
        refused = gone | operation(session, fireworks)
    report_refused(names, refused, doing)
    print_message(f"Finished {doing} {len(names) - len(refused)} FWs")


def _change_workflows(
    what: str,
    doing: str,
    operation: Callable[[Session, Sequence[int]], object],
    password: str | None,
    filters: dict[str, Any],
) -> None:
    with open_reconciled() as session:
        workflows = confirmed_workflows(session, FireworkFilter(**filters), what, password)
        operation(session, workflows)
    print_message(f"Finished {doing} {len(workflows)} WFs")


def report_refused(names: dict[int, str], refused: dict[int, str], doing: str) -> None:
    """Print which fireworks are unchanged, and why. Raises Refused if all are."""
    print_unchanged(list(refused.items()), names)
    if refused and len(refused) == len(names):
        raise Refused(f"no firework is left for {doing}: nothing is changed", hint="`lpad get_fws -i …` shows them")


_UPDATE_HINT = """as in -u '{"_tasks.1.script": "echo hello"}'"""


@click.command(cls=LpadCommand)
@firework_options
@click.option(
    "-u", "--update", required=True, metavar="JSON", help="The values to set, by dotted paths within the spec."
)
@click.option("--mongo", is_flag=True, help="""-u is a MongoDB update: '{"$unset": {"spec.alpha": ""}}'.""")
@password_option
def update_fws(update: str, mongo: bool, password: str | None, **filters: Any) -> None:
    """Change the specs of fireworks.

    The workflow gets a new revision, which `rekindle workflows diff` shows. Completed, running and archived fireworks
    are left as they are, with a warning: rerun them first.

    \b
    Example:
      rekindle lpad update_fws -i 1 -u '{"_tasks.0.script": "echo mended"}'
      rekindle lpad update_fws -s FIZZLED --mongo -u '{"$inc": {"spec.tries": 1}}'
    """
    document = _update_document(update)
    change = mongo_update(document) if mongo else set_values(document)
    with open_reconciled() as session:
        names, fireworks, gone = confirmed_fireworks(session, FireworkFilter(**filters), "update", password)
        refused = gone | update_specs(session, [one.id for one in fireworks], change)
    print_unchanged(list(refused.items()), names)
    print_message(f"Finished updating {len(names) - len(refused)} FWs")


@click.command(cls=LpadCommand)
@click.argument("priority", type=int)
@firework_options
@click.option("-wf", "whole", is_flag=True, help="All fireworks of the selected workflows.")
@password_option
def set_priority(priority: int, whole: bool, password: str | None, **filters: Any) -> None:
    """Set the priority of fireworks. The highest runs first.

    \b
    Example:
      rekindle lpad set_priority 10 -i 1 2
      rekindle lpad set_priority 5 -n demo -wf
    """
    chosen = FireworkFilter(**filters)
    with open_store() as session:
        gone: dict[int, str] = {}
        if whole:
            workflows = confirmed_workflows(session, chosen, "set the priority of", password)
            fireworks = read_fireworks(session, fireworks_of(session, workflows))
            names = {one.id: one.job.name for one in fireworks}
        else:
            names, fireworks, gone = confirmed_fireworks(session, chosen, "set the priority of", password)
        refused = gone | workflow_operations.set_priority(session, [one.id for one in fireworks], priority)
    report_refused(names, refused, "setting priorities of")
    print_message(f"Finished setting priorities of {len(names) - len(refused)} FWs")


def _update_document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as wrong:
        raise BadValue(f"-u is not JSON: {wrong}", hint=_UPDATE_HINT) from None
    if not isinstance(found, dict) or not found:
        raise BadValue(f"-u is an object, not {text!r:.60}", hint=_UPDATE_HINT)
    return found
