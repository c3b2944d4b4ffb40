"""Commands for workflows as a whole and for lost runs: `archive_wflows`, `delete_wflows`, `reset`, `detect_lostruns`,
`detect_unreserved`, the queue's commands, and `admin`."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from rekindle.dialects.command_session import open_reconciled, open_store
from rekindle.dialects.fireworks.firework_operations import (
    FOUR_HOURS,
    find_lost_runs,
    rerun_reserved,
    reserved_launches,
    resolve_lost_runs,
)
from rekindle.dialects.fireworks.lpad.messages import print_document, print_message, print_note
from rekindle.dialects.fireworks.lpad.options import (
    DISPLAYS,
    FireworkFilter,
    LpadCommand,
    MultiValueOption,
    confirmed_workflows,
    display_option,
    firework_options,
    parse_query,
    password_option,
    required_fireworks,
    required_workflows,
    sort_options,
    workflow_options,
)
from rekindle.dialects.fireworks.lpad.show_commands import display_fireworks
from rekindle.dialects.fireworks.offline import end_reservations, offline_launches, queue_ids
from rekindle.dialects.fireworks.stored_fireworks import fireworks_workflows
from rekindle.dialects.fireworks.workflow_operations import check_none_running, remove_workflows, workflow_list
from rekindle.dialects.original_commands import OriginalGroup
from rekindle.domain.errors import Refused
from rekindle.engine import pilots
from rekindle.engine.queries import workflow_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow


@click.command(cls=LpadCommand)
@workflow_options
@password_option
def archive_wflows(password: str | None, **filters: Any) -> None:
    """Archive workflows: they are kept and do not run. `rekindle workflows archive --undo` brings one back.

    \b
    Example:
      rekindle lpad archive_wflows -s COMPLETED
    """
    from rekindle.engine.submit.submit import archive_workflow

    with open_reconciled() as session:
        workflows = confirmed_workflows(session, FireworkFilter(**filters), "archive", password)
        archived = {one.id for one in workflow_queries.workflows(session, archived=True) if one.archived is not None}
        refused = []
        for number in workflows:
            if number in archived:
                continue
            try:
                archive_workflow(session, number)
            except Refused as refusal:
                refused.append(refusal)
    _report_workflows("archiving", len(workflows), refused)


@click.command(cls=LpadCommand)
@workflow_options
@password_option
@click.option("--ldirs", is_flag=True, help="Also delete the folders of their launches.")
def delete_wflows(password: str | None, ldirs: bool, **filters: Any) -> None:
    """Delete workflows with all their history. This cannot be undone.

    \b
    Example:
      rekindle lpad delete_wflows -i 1
      rekindle lpad delete_wflows -s COMPLETED --ldirs
    """
    from rekindle.engine.submit.submit import delete_workflow

    with open_reconciled() as session:
        workflows = confirmed_workflows(session, FireworkFilter(**filters), "delete", password)
        refused = []
        for number in workflows:
            try:
                delete_workflow(session, number, files=ldirs)
            except Refused as refusal:
                refused.append(refusal)
    _report_workflows("deleting", len(workflows), refused)


def _report_workflows(doing: str, workflows: int, refused: list[Refused]) -> None:
    if refused and len(refused) == workflows:
        raise refused[0]
    for refusal in refused:
        print_note(f"left as it is: {refusal.message}")
    print_message(f"Finished {doing} {workflows - len(refused)} WFs")


@click.command()
@password_option
def reset(password: str | None) -> None:
    """Remove all workflows that FireWorks' commands added, with their history. This cannot be undone. Other workflows
    of the store and the folders of launches stay; ids begin at 1, or after those of other workflows. It asks, unless
    --password is today's date.

    \b
    Example:
      rekindle lpad reset --password 2012-02-25
    """
    with open_reconciled(create=True) as session:
        removed = fireworks_workflows(session)
        staying = len(workflow_queries.workflows(session, archived=True)) - len(removed)
        check_none_running(removed)
        if removed:
            _confirm_reset(removed, password)
        begins = remove_workflows(session)
    count = sum(sum(one.counts.values()) for one in removed)
    print_message(f"LaunchPad was RESET: {len(removed):,} workflows with {count:,} fireworks were removed.")
    if removed:
        print_message(f"removed: {workflow_list(removed)}")
    if staying:
        print_note(f"{staying:,} workflows that did not come through FireWorks' commands stay: ids follow theirs")
    if not begins:
        print_note("ids do not begin again: a runner is at work in this store")


def _confirm_reset(removed: list[Workflow], password: str | None) -> None:
    today = date.today().isoformat()
    if password is not None:
        if password != today:
            raise Refused(
                f"Invalid password! Password is today's date: {today}, not {password:.40}: nothing is removed",
                hint=f"--password {today}",
            )
        return
    question = (
        f"Are you sure? This will RESET {len(removed):,} workflows and all data. "
        f"To confirm, please type the name of this database ({_DATABASE}), or Y: "
    )
    click.echo(question, nl=False, err=True)
    if sys.stdin.readline().strip().upper() not in (_DATABASE.upper(), "Y", "YES"):
        raise Refused(
            "Incorrect input to confirm database reset, operation aborted: nothing is removed, "
            f"it needs the word {_DATABASE}, or a Y",
            hint=f"--password {today} asks nothing",
        )


_DATABASE = "fireworks"
"""The name of FireWorks' database, which its `reset` asks for."""


_DAY = 24 * 3600
_TWO_WEEKS = 14 * _DAY

_display_option = click.option(
    *("-d", "--display_format"),
    type=click.Choice([*DISPLAYS, "none"], case_sensitive=False),
    default=None,
    help="How much to show of the found fireworks. [default: nothing]",
)


@click.command(cls=LpadCommand)
@click.option(
    "--time", "seconds", type=int, default=0, metavar="SECONDS", help="Only launches that began at least this long ago."
)
@click.option("--fizzle", "fizzles", is_flag=True, help="Leave lost fireworks FIZZLED.")
@click.option("--rerun", "reruns", is_flag=True, help="Run lost fireworks again.")
@click.option("--refresh", is_flag=True, help="Record ends that are not in the store yet.")
@click.option("--max_runtime", type=int, metavar="SECONDS", help="Only launches that ran at most this long.")
@click.option("--min_runtime", type=int, metavar="SECONDS", help="Only launches that ran at least this long.")
@click.option("-q", "--query", metavar="JSON", help="Only fireworks that match a filter.")
@click.option("-lq", "--launch_query", metavar="JSON", help="Only launches that match a filter.")
@_display_option
def detect_lostruns(
    seconds: int,
    fizzles: bool,
    reruns: bool,
    refresh: bool,
    max_runtime: int | None,
    min_runtime: int | None,
    query: str | None,
    launch_query: str | None,
    display_format: str | None,
) -> None:
    """Find launches whose process is gone.

    That is known at once, without a timeout. The next runner runs them again by itself. Only an offline launch, whose
    process is not known, counts as lost after --time (default: four hours) without a sign of life.

    \b
    Example:
      rekindle lpad detect_lostruns
      rekindle lpad detect_lostruns --rerun
      rekindle lpad detect_lostruns --fizzle --time 3600
    """
    with open_store() as session:
        filters = [None if one is None else parse_query(one) for one in (query, launch_query)]
        found = find_lost_runs(
            session,
            *filters,
            min_age=max(seconds, min_runtime or 0),
            max_age=max_runtime,
            silent_for=seconds or FOUR_HOURS,
        )
        lost, ended = list(found.lost), list(found.finished)
        for ids in (lost, ended):
            if display_format not in (None, "none"):
                documents = display_fireworks(session, ids, display_format or "less")
                print_document(documents[0] if len(documents) == 1 else documents)
        resolve_lost_runs(session, found, fizzle=fizzles, rerun_lost=reruns, refresh=refresh)
    click.echo("\nDetection completed:")
    click.echo(f"  Lost launches: {len(lost)}\n  Lost FireWorks: {len(lost)}\n  Inconsistent FireWorks: {len(ended)}")
    print_message(f"Detected {len(lost)} lost FWs: {lost}")
    print_message(f"Detected {len(ended)} inconsistent FWs: {ended}")
    if lost and not (fizzles or reruns):
        click.echo("You can fix lost FWs using the --rerun or --fizzle arguments to the detect_lostruns command")
    if ended and not (refresh or fizzles or reruns):
        click.echo("You can fix inconsistent FWs using the --refresh argument to the detect_lostruns command")


@click.command(cls=LpadCommand)
@click.option(
    *("--time", "seconds"),
    type=int,
    default=_TWO_WEEKS,
    metavar="SECONDS",
    help="Only launches that were reserved at least this long ago. [default: two weeks]",
)
@click.option("--rerun", "reruns", is_flag=True, help="Run them again.")
@_display_option
def detect_unreserved(seconds: int, reruns: bool, display_format: str | None) -> None:
    """Find launches that were reserved and never started.

    \b
    Example:
      rekindle lpad detect_unreserved --time 3600 --rerun
    """
    with open_reconciled() as session:
        stale = reserved_launches(session, seconds)
        if display_format not in (None, "none"):
            documents = display_fireworks(session, [one.job for one in stale], display_format or "less")
            print_document(documents[0] if len(documents) == 1 else documents)
        if reruns and stale:
            rerun_reserved(session, stale)
    click.echo([one.id for one in stale])


@click.command(cls=LpadCommand)
@click.option(
    "-i", "--fw_id", "ids", cls=MultiValueOption, ids=True, required=True, metavar="IDS", help="The fireworks."
)
def get_qids(ids: tuple[str, ...]) -> None:
    """Print the queue ids of fireworks, as `set_reservation_id` has recorded them, or None.

    \b
    Example:
      rekindle lpad get_qids -i 1
    """
    with open_store() as session:
        known = queue_ids(session)
        for one in required_fireworks(session, FireworkFilter(ids), "look up"):
            click.echo(str(known.get(one)))


@click.command(cls=LpadCommand)
@click.option("--qid", metavar="ID", required=True, help="The reservation.")
def cancel_qid(qid: str) -> None:
    """Give back the reserved fireworks with a queue's id, and cancel the Slurm jobs that qlaunch has submitted with it.

    \b
    Example:
      rekindle lpad cancel_qid --qid 1234
    """
    with open_reconciled() as session:
        known = queue_ids(session)
        found = [one.job for one in offline_launches(session) if known.get(one.job) == qid]
        end_reservations(session, found)
        submitted = pilots.cancel_pilots(session, pilots.slurm_placement(), queued=False, job=qid)
    if submitted:
        print_message(f"Canceled the Slurm job {qid}")
    if found or not submitted:
        print_message(
            f"Canceled the reservations of FWs: {found}"
            if found
            else f"Can't find any reserved jobs with reservation id: {qid}"
        )


@click.group(cls=OriginalGroup)
def admin() -> None:
    """Maintain the store. It maintains itself: these commands exist for scripts that call them.

    \b
    Example:
      rekindle lpad admin unlock -i 1
    """


@admin.command(cls=LpadCommand)
@workflow_options
@password_option
def unlock(password: str | None, **filters: Any) -> None:  # noqa: ARG001 (nothing is changed)
    """Unlock workflows: none is ever locked, whatever process was killed.

    \b
    Example:
      rekindle lpad admin unlock -i 1
    """
    with open_store() as session:
        workflows = required_workflows(session, FireworkFilter(**filters), "unlock")
    print_message(f"Finished unlocking {len(workflows)} Workflows")


@admin.command(cls=LpadCommand)
@workflow_options
@password_option
def refresh(password: str | None, **filters: Any) -> None:  # noqa: ARG001 (nothing is changed)
    """Refresh workflows: their states always follow from their fireworks.

    \b
    Example:
      rekindle lpad admin refresh -n demo
    """
    with open_store() as session:
        workflows = required_workflows(session, FireworkFilter(**filters), "refresh")
    print_message(f"Finished refreshing {len(workflows)} Workflows")


@admin.command(cls=LpadCommand)
@click.option("--infinite", is_flag=True, help="Accepted and ignored.")
@click.option("--maintain_interval", type=int, metavar="SECONDS", help="Accepted and ignored.")
def maintain(**_: object) -> None:
    """Maintain the store: there is nothing to do.

    \b
    Example:
      rekindle lpad admin maintain
    """
    print_message("There is nothing to maintain")


@admin.command(cls=LpadCommand)
@click.option("--full", is_flag=True, help="Accepted and ignored.")
def tuneup(**_: object) -> None:
    """Tune up the store: there is nothing to do.

    \b
    Example:
      rekindle lpad admin tuneup
    """
    print_message("There is nothing to tune up")


@admin.command(cls=LpadCommand)
@firework_options
@click.option("--qid", metavar="ID", help="Accepted and ignored.")
@display_option
@sort_options
@click.option("--remove", is_flag=True, help="Remove them: there are none.")
@click.option("--ldirs", is_flag=True, help="Also remove the folders of their launches.")
def orphaned(**_: object) -> None:
    """Find fireworks without a workflow: there can be none.

    \b
    Example:
      rekindle lpad admin orphaned
    """
    print_document([])
