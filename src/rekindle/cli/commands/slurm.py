"""`rekindle slurm`: Slurm jobs that each run a runner on the store's ready jobs (pilots)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import json_option, read_duration, workflow_option
from rekindle.cli.output import json_output
from rekindle.cli.sessions import opened
from rekindle.domain.errors import UsageError
from rekindle.engine import pilots
from rekindle.engine.queries.selections import find_workflow
from rekindle.engine.slurm_options import read_options
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.engine.pilots import PlannedPilots

COMMANDS = {
    "schedule-nodes": Entry("rekindle.cli.commands.slurm:schedule_nodes", "Submit Slurm jobs that run ready jobs."),
    "list": Entry("rekindle.cli.commands.slurm:list_jobs", "List the Slurm jobs that were submitted for the store."),
    "cancel": Entry("rekindle.cli.commands.slurm:cancel", "Cancel the Slurm jobs of the store."),
}


@click.group("slurm", cls=LazyGroup, entries=COMMANDS)
def slurm() -> None:
    """Run ready jobs in jobs of Slurm.

    \b
    Example:
      rekindle slurm schedule-nodes -n 4 -- --time=4:00:00 --cpus-per-task=16 --partition=short
      rekindle slurm list
    """


@click.command("schedule-nodes")
@click.option("-n", "--nodes", "count", default="1", metavar="N|auto", help="Submit N jobs. [default: 1]")
@workflow_option
@click.option(
    "--grace",
    callback=read_duration,
    default="60s",
    show_default=True,
    metavar="D",
    help="End what runs this long before the end of a Slurm job.",
)
@click.option(
    "--server",
    metavar="URL",
    envvar=pilots.SERVER_VARIABLE,
    help="Work for the server at this URL: see `rekindle serve`. [default: $REKINDLE_SERVER]",
)
@click.option("--dry-run", is_flag=True, help="Print the script and the command, and submit nothing.")
@json_option
@click.argument("options", nargs=-1, metavar="[-- SBATCH_OPTION...]", type=click.UNPROCESSED)
def schedule_nodes(
    count: str,
    workflow: str | None,
    grace: float,
    server: str | None,
    dry_run: bool,
    as_json: bool,
    options: tuple[str, ...],
) -> None:
    """Submit Slurm jobs that run ready jobs, each as `rekindle work` does.

    Each takes what fits its processors, memory, GPUs and time, and ends by itself when nothing is left; the queued ones
    are then canceled. What still runs before its time is over is ended, and continues in the next one. Words after --
    are options of sbatch; without them a Slurm job is as large as the largest ready job.

    `-n auto` submits as many as the ready jobs would keep busy, by their resources and how long earlier attempts took.

    \b
    Example:
      rekindle slurm schedule-nodes -n 4 -- --time=4:00:00 --cpus-per-task=16 --mem=32G
      rekindle slurm schedule-nodes -n auto --dry-run
    """
    if count != "auto" and not (count.isdecimal() and int(count)):
        raise UsageError(f"-n takes a number from 1 on, or auto, not {count!r}")
    size = read_options(options)
    with opened() as session:
        planned = pilots.plan_pilots(
            session,
            pilots.PilotOptions(
                count=None if count == "auto" else int(count),
                workflow=find_workflow(session, workflow).id if workflow else None,
                cpus=size.cpus,
                memory=size.memory,
                gpus=size.gpus,
                seconds=size.seconds,
                grace=grace,
                options=size.others,
                server=server,
            ),
        )
        handle = None if dry_run else pilots.submit_pilots(session, planned, pilots.slurm_placement())
    _print(planned, handle, as_json=as_json)


def _print(planned: PlannedPilots, handle: str | None, *, as_json: bool) -> None:
    """Print what was submitted, or would be if `handle` is None, and advice about the number."""
    batch, advice = planned.batch, planned.advice
    command = pilots.sbatch_command(batch)
    if as_json:
        json_output.emit(
            {
                "pilots": batch.elements,
                "token": batch.token,
                "slurm_job": None if handle is None else int(handle.partition(":")[0]),
                "name": batch.name,
                "command": command,
                "script": planned.script,
                "ready": advice.jobs,
                "useful": advice.useful,
                "unfit": [{"job": name, "lacks": lacks} for name, lacks in advice.unfit],
            }
        )
    elif handle is None:
        click.echo(f"{command}\n\n{planned.script}", nl=False)
    else:
        jobs = words.plural(batch.elements, "Slurm job")
        click.echo(f"submitted {jobs} as {handle.partition(':')[0]} for {words.plural(advice.jobs, 'ready job')}")
    for name, lacks in advice.unfit:
        click.echo(f"{words.one_line(name)} fits in none of them: {lacks}", err=True)
    if batch.elements > advice.useful:
        ready = words.plural(advice.jobs, "ready job")
        click.echo(f"advice: {ready} would keep {advice.useful} of {batch.elements} busy (-n auto)", err=True)


@click.command("list")
@json_option
def list_jobs(as_json: bool) -> None:
    """List the Slurm jobs that were submitted for the store, as far as Slurm knows them.

    \b
    Example:
      rekindle slurm list
    """
    with opened() as session:
        found = pilots.list_pilots(session, pilots.slurm_placement())
    if as_json:
        json_output.emit(
            {
                "submissions": [
                    {
                        "token": one.token,
                        "slurm_job": one.handle and int(one.handle.partition(":")[0]),
                        "pilots": one.count,
                        "seen": [
                            {"element": seen.element, "phase": seen.phase.value, "waits_for": seen.waits_for}
                            for seen in one.seen
                        ],
                    }
                    for one in found
                ]
            }
        )
        return
    for one in found:
        phases = Counter(seen.phase.value for seen in one.seen)
        known = ", ".join(f"{number} {phase}" for phase, number in sorted(phases.items())) or "not known to Slurm"
        reasons = sorted({seen.waits_for for seen in one.seen if seen.waits_for})
        waits = f"    waiting: {', '.join(reasons)}" if reasons else ""
        job = one.handle.partition(":")[0] if one.handle else "not submitted"
        click.echo(f"{job}: {words.plural(one.count, 'Slurm job')}: {known}{waits}")


@click.command()
@click.option("--queued", is_flag=True, help="Only those that have not started.")
@json_option
def cancel(queued: bool, as_json: bool) -> None:
    """Cancel the Slurm jobs of the store. Jobs that run in them become ready again.

    \b
    Example:
      rekindle slurm cancel --queued
    """
    with opened() as session:
        number = pilots.cancel_pilots(session, pilots.slurm_placement(), queued=queued)
    if as_json:
        json_output.emit({"canceled": number})
        return
    click.echo(f"canceled {words.plural(number, 'Slurm job')}")
