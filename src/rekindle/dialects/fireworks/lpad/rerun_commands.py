"""`lpad rerun_fws` and `lpad rerun_wflows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click
from msgspec.structs import replace

from rekindle.dialects.command_session import open_reconciled
from rekindle.dialects.fireworks.firework_operations import RerunOptions, RerunResult, rerun_fireworks
from rekindle.dialects.fireworks.lpad.messages import (
    MAX_LISTED,
    confirm_change,
    print_message,
    print_note,
    print_unchanged,
)
from rekindle.dialects.fireworks.lpad.options import (
    FireworkFilter,
    LpadCommand,
    MultiValueOption,
    filter_fireworks,
    filter_workflows,
    firework_options,
    password_option,
    required_fireworks,
    required_workflows,
    workflow_options,
)
from rekindle.dialects.fireworks.stored_fireworks import fireworks_of, read_fireworks
from rekindle.domain.errors import Refused, UsageError
from rekindle.engine.queries import job_queries
from rekindle.query.job_keys import parse_ids

if TYPE_CHECKING:
    from rekindle.engine.session import Session


def recovery_options(command: Any) -> Any:
    """Add the options of both commands that say how fireworks run again."""
    for option in reversed(
        [
            click.option("--task-level", is_flag=True, help="Start at the task that failed or was lost."),
            click.option(*("-cp", "--copy-data"), is_flag=True, help="Run in a copy of the previous launch's folder."),
            click.option("-pd", "--previous-dir", is_flag=True, help="Run in the previous launch's folder itself."),
            click.option(
                "--clear-recovery",
                is_flag=True,
                help="Start from scratch, and drop the resume point of an earlier --task-level.",
            ),
            click.option(
                "--undo-dynamic",
                is_flag=True,
                help="Undo their dynamic changes: added fireworks and changed specs.",
            ),
            click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing."),
        ]
    ):
        command = option(command)
    return command


@click.command(cls=LpadCommand)
@firework_options
@password_option
@recovery_options
@click.option(
    *("-lid", "--launch_id"),
    "launch_ids",
    cls=MultiValueOption,
    ids=True,
    metavar="IDS",
    help="With --task-level: resume these launches, one for each firework.",
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
    **filters: Any,
) -> None:
    """Rerun fireworks and their descendants, and with them the fireworks that share their launches (duplicates).

    Earlier launches are archived, and `rekindle undo` reverts the rerun until one of its fireworks starts. Defused,
    paused and archived fireworks are not rerun. Running ones are ended first.

    With --task-level a firework starts at the failed task. Later plain reruns also start there, until
    --clear-recovery.

    \b
    Example:
      rekindle lpad rerun_fws -i 1 2 3
      rekindle lpad rerun_fws -i 1,2,3
      rekindle lpad rerun_fws -s FIZZLED --task-level --copy-data
      rekindle lpad rerun_fws -q '{"action.stored_data._exception._stacktrace": {"$regex": "out of memory"}}' -lm
    """
    recovery = _rerun_options(task_level, copy_data, previous_dir, clear_recovery, undo_dynamic)
    launches = parse_ids(launch_ids) if launch_ids else ()
    if launches and not task_level:
        raise UsageError("--launch_id needs --task-level", hint="add --task-level")
    chosen = FireworkFilter(**filters)
    with open_reconciled() as session:
        ids = required_fireworks(session, chosen, "rerun")
        order = [one for one in parse_ids(chosen.ids) if one in set(ids)] if chosen.ids else ids
        if launches and len(launches) != len(order):
            raise UsageError(
                f"Specify the same number of tasks and launches: {len(launches)} launches for {len(order)} fireworks",
                hint="name a launch for each firework, in order",
            )
        if not dry_run:
            confirm_change(ids, password)
        starts = dict(zip(order, launches, strict=False))
        matching = partial(filter_fireworks, session, chosen.whole) if chosen.by_state else None
        request = {"fireworks": chosen.as_document()}
        done = rerun_fireworks(session, ids, recovery, request, starts, matching=matching, dry_run=dry_run)
        if task_level and done.refused:
            done = replace(done, refused=_unrecoverable(session, done.refused, starts))
        names = _names(session, done)
    _report_rerun(done, names, dry_run=dry_run)


def _unrecoverable(
    session: Session, refused: Sequence[tuple[int, str]], launches: Mapping[int, int]
) -> tuple[tuple[int, str], ...]:
    """Return why fireworks cannot be recovered, with FireWorks' words."""
    states = {one.id: one.state for one in read_fireworks(session, [number for number, _ in refused])}
    every = job_queries.attempts(session, list(states))
    live = {one.job: one.id for one in every if one.archived_by is None}
    own = {(one.job, one.id) for one in every}
    found = []
    for number, why in refused:
        launch = launches.get(number, live.get(number))
        if states[number] in ("DEFUSED", "PAUSED", "ARCHIVED"):
            said = ""
        elif launch is None:
            said = f"FW with id: {number} has no active launches: "
        elif (number, launch) not in own:
            said = f"launch_id: {launch} is no launch of fw_id: {number}: "
        else:
            said = f"No recovery info found in launch {launch}: "
        found.append((number, said + why))
    return tuple(found)


@click.command(cls=LpadCommand)
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
    **filters: Any,
) -> None:
    """Rerun whole workflows.

    \b
    Example:
      rekindle lpad rerun_wflows -i 1
      rekindle lpad rerun_wflows -n demo --clear-recovery
    """
    recovery = _rerun_options(task_level, copy_data, previous_dir, clear_recovery, undo_dynamic)
    chosen = FireworkFilter(**filters)
    with open_reconciled() as session:
        workflows = required_workflows(session, chosen, "rerun")
        if not dry_run:
            confirm_change(workflows, password)
        ids = fireworks_of(session, workflows)
        request = {"workflows": chosen.as_document()}
        matching = (lambda: fireworks_of(session, filter_workflows(session, chosen.whole))) if chosen.by_state else None
        done = rerun_fireworks(session, ids, recovery, request, matching=matching, dry_run=dry_run)
        names = _names(session, done)
    _report_rerun(done, names, dry_run=dry_run)


def _rerun_options(
    task_level: bool, copy_data: bool, previous_dir: bool, clear_recovery: bool, undo_dynamic: bool
) -> RerunOptions:
    if copy_data and previous_dir:
        raise UsageError("--copy-data and --previous-dir exclude each other", hint="a copy of the folder, or itself")
    if clear_recovery and task_level:
        raise UsageError("--clear-recovery starts from scratch, and --task-level does not", hint="leave one out")
    folder: Literal["copy", "same"] | None = "copy" if copy_data else "same" if previous_dir else None
    return RerunOptions(task_level, folder, clear_recovery, undo_dynamic)


def _names(session: Session, done: RerunResult) -> dict[int, str]:
    """Return the names of the fireworks that are not rerun."""
    unchanged = [number for number, _ in (*done.skipped, *done.refused)]
    return {one.id: one.job.name for one in read_fireworks(session, unchanged)} if unchanged else {}


def _report_rerun(done: RerunResult, names: dict[int, str], *, dry_run: bool) -> None:
    for text in done.warnings[:MAX_LISTED]:
        print_note(f"warning: {text}")
    if len(done.warnings) > MAX_LISTED:
        print_note(f"warning: {len(done.warnings) - MAX_LISTED:,} more: `rekindle reruns show` has them all")
    print_unchanged(done.skipped, names)
    print_unchanged(done.refused, names)
    if done.refused and not done.planned:
        raise Refused("no firework is rerun: nothing is changed", hint="`lpad get_fws -i …` shows them")
    if done.descendants:
        more = (
            "1 more, which needs them, is"
            if done.descendants == 1
            else f"{done.descendants:,} more, which need them, are"
        )
        print_note(f"{more} reset to WAITING")
    for number in done.duplicates:
        print_message(f"{'Would also rerun' if dry_run else 'Also rerunning'} duplicate fw_id: {number}")
    if dry_run:
        print_message(f"Would set {done.planned} FWs to rerun")
        print_note("a dry run: nothing is changed")
    else:  # FireWorks counts what it was asked for, also where nothing could be rerun
        print_message(f"Finished setting {done.planned or len(done.skipped)} FWs to rerun")
