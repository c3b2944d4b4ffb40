"""`lpad archive_wflows` and `lpad delete_wflows`."""

from __future__ import annotations

from typing import Any

import click

from rekindle.dialects.fireworks.lpad.asking import agreed
from rekindle.dialects.fireworks.lpad.options import password_option, workflow_options
from rekindle.dialects.fireworks.lpad.printing import note, tell
from rekindle.dialects.fireworks.lpad.selecting import Asked, workflows_meant
from rekindle.dialects.fireworks.lpad.typed import Command
from rekindle.dialects.opening import reconciled
from rekindle.domain.errors import Refused
from rekindle.engine.looking import look


@click.command(cls=Command)
@workflow_options
@password_option
def archive_wflows(password: str | None, **words: Any) -> None:
    """Archive workflows: they are kept, and not run. `rekindle workflows archive --undo` brings one back.

    \b
    Example:
      rekindle lpad archive_wflows -s COMPLETED
    """
    from rekindle.engine.submitting.submit import archive_workflow

    with reconciled() as session:
        chosen = workflows_meant(session, Asked(**words), "archive")
        agreed(chosen, password)
        aside = {one.id for one in look.workflows(session, archived=True) if one.archived is not None}
        refused = []
        for number in chosen:
            if number in aside:
                continue
            try:
                archive_workflow(session, number)
            except Refused as refusal:
                refused.append(refusal)
    _tell("archiving", len(chosen), refused)


@click.command(cls=Command)
@workflow_options
@password_option
@click.option("--ldirs", is_flag=True, help="The folders of their launches too.")
def delete_wflows(password: str | None, ldirs: bool, **words: Any) -> None:
    """Delete workflows with all their history. This cannot be undone.

    \b
    Example:
      rekindle lpad delete_wflows -i 1
      rekindle lpad delete_wflows -s COMPLETED --ldirs
    """
    from rekindle.engine.submitting.submit import delete_workflow

    with reconciled() as session:
        chosen = workflows_meant(session, Asked(**words), "delete")
        agreed(chosen, password)
        refused = []
        for number in chosen:
            try:
                delete_workflow(session, number, files=ldirs)
            except Refused as refusal:
                refused.append(refusal)
    _tell("deleting", len(chosen), refused)


def _tell(doing: str, chosen: int, refused: list[Refused]) -> None:
    if refused and len(refused) == chosen:
        raise refused[0]
    for refusal in refused:
        note(f"left as it is: {refusal.message}")
    tell(f"Finished {doing} {chosen - len(refused)} WFs")
