"""`rekindle torc workflows`."""

from __future__ import annotations

from pathlib import Path

import click

from rekindle.dialects.opening import opened, reconciled, report_ending
from rekindle.dialects.torc.asked import agreed, asked, key_argument, the_workflow
from rekindle.dialects.torc.creating import create_from
from rekindle.dialects.torc.records import records_of
from rekindle.dialects.torc.restarting import Clearing, clear, plan_clearing
from rekindle.dialects.torc.showing import emit, filter_option, kept, show
from rekindle.dialects.torc.words import Runs, counted, job_documents, jobs_of
from rekindle.domain.models import Workflow
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.rerunning import rerun
from rekindle.engine.rerunning.resetting import plan_reset
from rekindle.engine.rerunning.restart import check_inputs, plan_restart
from rekindle.engine.results import Restarting
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session

_NAMED = 5
_FIELDS = ("key", "name", "project", "timestamp", "run_id", "directory")


@click.group()
def workflows() -> None:
    """Create, start, restart and look at workflows.

    \b
    Example:
      rekindle torc workflows restart --dry-run
    """


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--update", is_flag=True, help="As the next revision of the workflow of that name, not as another one.")
def create(spec: Path, update: bool) -> None:
    """Store a spec file (YAML, JSON, JSON5) as a new workflow.

    \b
    Example:
      rekindle torc workflows create workflow.yaml
      rekindle torc workflows create --update workflow.yaml
    """
    create_from(spec, update=update)


for _name in ("create", "create-from-spec", "create-from-json-file", "create-from-json5-file"):
    workflows.add_command(create, _name)


@workflows.command("create-from-commands-file")
@click.argument("commands", type=click.Path(path_type=Path))
@click.option("-n", "--name", required=True, help="The name of the workflow.")
def create_from_commands_file(commands: Path, name: str) -> None:
    """Store a workflow with a job for each line of a file.

    \b
    Example:
      rekindle torc workflows create-from-commands-file commands.txt -n sweep
    """
    create_from(commands, commands_of=name)


@workflows.command()
@key_argument
def start(key: str | None) -> None:
    """See that the workflow can run: every file is there that no job makes.

    \b
    Example:
      rekindle torc workflows start 1
    """
    with reconciled() as session:
        workflow = the_workflow(session, key)
        check_inputs(session, workflow)
        counts = counted(job_documents(session, workflow))
    if asked().as_json:
        emit({"workflow_key": str(workflow.id), "jobs": counts})
    else:
        ready = counts.get("ready", 0)
        click.echo(f"workflow {workflow.id} is started: {ready} ready; `torc jobs run {workflow.id}` runs them")


@workflows.command()
@key_argument
@click.option("-d", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--only-uninitialized", is_flag=True, help="Only let go what was reset by hand.")
def restart(key: str | None, dry_run: bool, only_uninitialized: bool) -> None:
    """Run again what did not end by itself, what is stale, and what was reset; what runs is left alone.

    \b
    Example:
      rekindle torc workflows restart --dry-run
      rekindle torc workflows restart --only-uninitialized
    """
    with reconciled() as session:
        workflow = the_workflow(session, key)
        records = records_of(session, workflow)
        clearing = Clearing() if only_uninitialized else plan_clearing(session, workflow, records)
        found = plan_restart(session, workflow, only_uninitialized=only_uninitialized, also=clearing.jobs)
        if found.proposal is None and not only_uninitialized:
            check_inputs(session, workflow)
        planned = found.proposal.plan.jobs if found.proposal is not None else ()
        if not dry_run:
            agreed(f"This restarts workflow {workflow.id} {workflow.name}: {_jobs(len(planned))} will run again.")
            clear(workflow, records, clearing, {job.id for job in planned if not job.stays})
            if found.proposal is not None:
                rerun.apply(session, found.proposal)
        _tell_restart(session, workflow, found, dry_run=dry_run)


@click.command()
@key_argument
@click.option("-f", "--failed-only", is_flag=True, help="Only jobs that have failed, with whatever return code.")
@click.option("-d", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def reset_status(key: str | None, failed_only: bool, dry_run: bool) -> None:
    """Reset jobs to uninitialized, with what needs them; `restart` lets them go.

    \b
    Example:
      rekindle torc workflows reset-status --failed-only 1
    """
    with reconciled() as session:
        workflow = the_workflow(session, key)
        ids = [
            row.job.id
            for row in jobs_of(session, workflow)
            if not row.job.retired and (not failed_only or row.job.state is State.FAILED)
        ]
        reset_jobs(session, ids, dry_run=dry_run)


for _name in ("reset-status", "reset-job-status"):
    workflows.add_command(reset_status, _name)


@workflows.command("list")
@filter_option
def list_workflows(filters: tuple[str, ...]) -> None:
    """List workflows.

    \b
    Example:
      rekindle torc workflows list
    """
    from datetime import UTC, datetime

    with opened() as session:
        documents = [
            {
                "key": str(one.id),
                "id": one.id,
                "name": one.name,
                "project": one.project,
                "timestamp": datetime.fromtimestamp(one.submitted, UTC).isoformat().replace("+00:00", "Z"),
                "run_id": Runs(session, one).now,
                "directory": one.directory,
            }
            for one in look.workflows(session)
        ]
    show("workflows", kept(documents, filters, _FIELDS), ("key", "name", "project", "timestamp", "run_id"))


@workflows.command()
@key_argument
def cancel(key: str | None) -> None:
    """Cancel what runs and what has not started.

    \b
    Example:
      rekindle torc workflows cancel 1
    """
    with opened() as session:
        workflow = the_workflow(session, key)
        agreed(f"This cancels workflow {workflow.id} {workflow.name}.")
        done = reconciling.cancel(session, [row.job.id for row in jobs_of(session, workflow)])
    report_ending(done)
    keys = [str(job) for job in (*done.now, *done.asked)]
    if asked().as_json:
        emit({"workflow_key": str(workflow.id), "canceled": keys})
    else:
        click.echo(f"canceled {_jobs(len(keys))} of workflow {workflow.id}")


@workflows.command()
@key_argument
def status(key: str | None) -> None:
    """Show how many jobs of a workflow stand how.

    \b
    Example:
      rekindle torc workflows status 1
    """
    with reconciled(looks=True) as session:
        workflow = the_workflow(session, key)
        counts = counted(job_documents(session, workflow))
        state = look.status(session, str(workflow.id))[0].state
        run = Runs(session, workflow).now
    if asked().as_json:
        document = {"workflow_key": str(workflow.id), "name": workflow.name, "run_id": run, "jobs": counts}
        emit({**document, "is_complete": state in ("completed", "failed"), "is_canceled": state == "canceled"})
        return
    click.echo(f"workflow {workflow.id} {workflow.name}, run {run}: {state}")
    for word, number in sorted(counts.items()):
        click.echo(f"  {word}: {number:,}")


def reset_jobs(session: Session, ids: list[int], *, dry_run: bool) -> None:
    """Reset these, and tell; shared with `jobs reset-status`."""
    if not ids:
        if asked().as_json:
            emit({"dry_run": dry_run, "jobs": [], "refused": []})
        else:
            click.echo("no job is to be reset")
        return
    proposal = plan_reset(session, ids, {"jobs": ids})
    jobs = [job for job in proposal.plan.jobs if not job.stays]
    if not dry_run:
        agreed(f"This resets {_jobs(len(jobs))}: {_names([job.name for job in jobs])}.")
        rerun.apply(session, proposal)
    held = {job.id for job in jobs if job.holds is not None}
    if asked().as_json:
        document = [_line(job.id, job.name, job.id in held) for job in jobs]
        refused = [{"key": str(one.id), "name": one.name, "why": one.why} for one in proposal.plan.refused]
        emit({"dry_run": dry_run, "jobs": document, "refused": refused})
        return
    would = "would reset" if dry_run else "reset"
    click.echo(f"{would} {_jobs(len(jobs))}: {_names([job.name for job in jobs])}")
    for one in proposal.plan.refused:
        click.echo(f"left alone: {one.name}: {one.why}", err=True)
    click.echo("a dry run: nothing is changed" if dry_run else "`torc workflows restart` lets them run")


def _line(key: int, name: str, held: bool) -> dict[str, object]:
    return {"key": str(key), "name": name, "status": "uninitialized" if held else "blocked"}


def _tell_restart(session: Session, workflow: Workflow, found: Restarting, *, dry_run: bool) -> None:
    planned = found.proposal.plan.jobs if found.proposal is not None else ()
    refused = found.proposal.plan.refused if found.proposal is not None else ()
    if asked().as_json:
        emit(
            {
                "workflow_key": str(workflow.id),
                "run_id": Runs(session, workflow).now,
                "dry_run": dry_run,
                "jobs": [
                    {
                        "key": str(job.id),
                        "name": job.name,
                        "status": "ready" if job.after is State.READY else "blocked",
                        "reasons": [{"kind": reason.kind.value, **reason.detail} for reason in job.reasons],
                    }
                    for job in planned
                ],
                "running": [{"key": str(job.id), "name": job.name} for job in found.running],
                "done": [{"key": str(job.id), "name": job.name} for job in found.stays],
                "refused": [{"key": str(one.id), "name": one.name, "why": one.why} for one in refused],
            }
        )
        return
    if planned:
        would = "would run again" if dry_run else "run again"
        click.echo(f"{_jobs(len(planned))} {would}: {_names([job.name for job in planned])}")
    else:
        click.echo("nothing to restart")
    if found.running:
        click.echo(f"left alone, for they run: {_names([job.name for job in found.running])}")
    if found.stays:
        click.echo(f"done, with a return code that is not 0: {_names([job.name for job in found.stays])}")
    for one in refused:
        click.echo(f"left alone: {one.name}: {one.why}")
    if dry_run:
        click.echo("a dry run: nothing is changed")


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number:,} jobs"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
