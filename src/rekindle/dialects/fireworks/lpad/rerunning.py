"""`lpad rerun_fws`: the words of FireWorks become the manner of a rerun."""

from __future__ import annotations

from typing import Any, Literal

import click

from rekindle.dialects.fireworks.lpad.asking import agreed
from rekindle.dialects.fireworks.lpad.options import firework_options, password_option, workflow_options
from rekindle.dialects.fireworks.lpad.printing import NAMED, note, tell, tell_left
from rekindle.dialects.fireworks.lpad.selecting import Asked, fireworks_meant, workflows_meant
from rekindle.dialects.fireworks.lpad.typed import Command, Several
from rekindle.dialects.fireworks.rerunning import Recovery, Rerun, rerun_fireworks
from rekindle.dialects.fireworks.standing import fireworks_of, standing
from rekindle.dialects.opening import reconciled
from rekindle.domain.errors import Refused, UsageError
from rekindle.query.words import parse_ids


def recovery_options(command: Any) -> Any:
    """How fireworks run again; shared by both commands."""
    for option in reversed(
        [
            click.option("--task-level", is_flag=True, help="Only from the task on that failed, or that was lost."),
            click.option(*("-cp", "--copy-data"), is_flag=True, help="In a copy of the folder of the previous launch."),
            click.option("-pd", "--previous-dir", is_flag=True, help="In the folder of the previous launch itself."),
            click.option(
                "--clear-recovery",
                is_flag=True,
                help="From scratch: what an earlier --task-level has kept for later reruns is dropped.",
            ),
            click.option(
                "--undo-dynamic",
                is_flag=True,
                help="Take back what they have done to the workflow: fireworks added, specs changed.",
            ),
            click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing."),
        ]
    ):
        command = option(command)
    return command


@click.command(cls=Command)
@firework_options
@password_option
@recovery_options
@click.option(
    *("-lid", "--launch_id"),
    "launch_ids",
    cls=Several,
    ids=True,
    metavar="IDS",
    help="With --task-level: go on from these launches, one for each firework.",
)
def rerun_fws(
    password: str | None,
    dry_run: bool,
    launch_ids: tuple[str, ...],
    task_level: bool,
    copy_data: bool,
    previous_dir: bool,
    clear_recovery: bool,
    undo_dynamic: bool,
    **words: Any,
) -> None:
    """Rerun fireworks, and everything that needs them.

    All earlier launches are archived, never lost, and `rekindle undo` takes the rerun back as long as nothing of it
    has started. What is defused, paused or archived is left so. What runs is ended first.

    With --task-level a firework starts at the task that failed, and later plain reruns start there too, until
    --clear-recovery.

    \b
    Example:
      rekindle lpad rerun_fws -i 1 2 3
      rekindle lpad rerun_fws -i 1,2,3
      rekindle lpad rerun_fws -s FIZZLED --task-level --copy-data
      rekindle lpad rerun_fws -q '{"action.stored_data._exception._stacktrace": {"$regex": "out of memory"}}' -lm
    """
    recovery = _recovery(task_level, copy_data, previous_dir, clear_recovery, undo_dynamic)
    launches = parse_ids(launch_ids) if launch_ids else ()
    if launches and not task_level:
        raise UsageError("--launch_id says from which launch to go on", hint="add --task-level")
    asked = Asked(**words)
    with reconciled() as session:
        ids = fireworks_meant(session, asked, "rerun")
        order = [one for one in parse_ids(asked.ids) if one in set(ids)] if asked.ids else ids
        if launches and len(launches) != len(order):
            raise UsageError(
                f"{len(launches)} launches for {len(order)} fireworks",
                hint="name as many launches as fireworks, in order",
            )
        if not dry_run:
            agreed(ids, password)
        starts = dict(zip(order, launches, strict=False))
        done = rerun_fireworks(session, ids, recovery, {"fireworks": asked.typed()}, starts, dry_run=dry_run)
        names = {one.id: one.job.name for one in standing(session, ids)}
    _tell(done, names, dry_run=dry_run)


@click.command(cls=Command)
@workflow_options
@password_option
@recovery_options
def rerun_wflows(
    password: str | None,
    dry_run: bool,
    task_level: bool,
    copy_data: bool,
    previous_dir: bool,
    clear_recovery: bool,
    undo_dynamic: bool,
    **words: Any,
) -> None:
    """Rerun whole workflows.

    \b
    Example:
      rekindle lpad rerun_wflows -i 1
      rekindle lpad rerun_wflows -n demo --clear-recovery
    """
    recovery = _recovery(task_level, copy_data, previous_dir, clear_recovery, undo_dynamic)
    asked = Asked(**words)
    with reconciled() as session:
        chosen = workflows_meant(session, asked, "rerun")
        if not dry_run:
            agreed(chosen, password)
        ids = fireworks_of(session, chosen)
        done = rerun_fireworks(session, ids, recovery, {"workflows": asked.typed()}, dry_run=dry_run)
        names = {one.id: one.job.name for one in standing(session, ids)}
    _tell(done, names, dry_run=dry_run)


def _recovery(
    task_level: bool, copy_data: bool, previous_dir: bool, clear_recovery: bool, undo_dynamic: bool
) -> Recovery:
    if copy_data and previous_dir:
        raise UsageError("both --copy-data and --previous-dir: which of them?", hint="a copy of the folder, or itself")
    if clear_recovery and task_level:
        raise UsageError("--clear-recovery starts from scratch, and --task-level does not", hint="leave one out")
    folder: Literal["copy", "same"] | None = "copy" if copy_data else "same" if previous_dir else None
    return Recovery(task_level, folder, clear_recovery, undo_dynamic)


def _tell(done: Rerun, names: dict[int, str], *, dry_run: bool) -> None:
    for text in done.warnings[:NAMED]:
        note(f"warning: {text}")
    if len(done.warnings) > NAMED:
        note(f"warning: {len(done.warnings) - NAMED:,} more: `rekindle reruns show` has them all")
    tell_left(done.skipped, names)
    tell_left(done.refused, names)
    if done.refused and not done.planned:
        raise Refused("no firework is rerun: nothing is changed", hint="`lpad get_fws -i …` shows them")
    if done.below:
        more = "1 more, which needs them, is" if done.below == 1 else f"{done.below:,} more, which need them, are"
        note(f"{more} reset to WAITING")
    tell(f"{'Would set' if dry_run else 'Finished setting'} {done.planned} FWs to rerun")
    if dry_run:
        note("a dry run: nothing is changed")
