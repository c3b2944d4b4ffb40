"""`rekindle torc workflows`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rekindle.dialects.command_session import open_reconciled, open_store, print_canceled
from rekindle.dialects.torc.restart_report import first_names, job_count, report_restart
from rekindle.dialects.torc.spec_store import read_new_spec, store_spec
from rekindle.dialects.torc.torc_group import TorcGroup
from rekindle.dialects.torc.torc_options import (
    confirm,
    key_argument,
    no_prompts_option,
    print_json,
    selected_workflow,
    torc_options,
    user_option,
)
from rekindle.dialects.torc.torc_records import (
    EphemeralReset,
    plan_ephemeral_reset,
    records_of,
    reset_ephemeral,
)
from rekindle.dialects.torc.torc_spec import load_commands
from rekindle.dialects.torc.torc_status import RunNumbers, count_statuses, job_documents, jobs_of
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.queries.selections import SelectedJobs
from rekindle.engine.rerun import rerun
from rekindle.engine.rerun.restart import check_inputs, plan_reset, plan_restart
from rekindle.engine.running import reconcile

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session


@click.group(cls=TorcGroup)
def workflows() -> None:
    """Create, start, restart and show workflows.

    \b
    Example:
      rekindle torc workflows restart --dry-run
    """


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--update", is_flag=True, help="Store the next revision of the workflow of that name, not another one.")
@click.option("--dry-run", is_flag=True, help="Check the file, and store nothing.")
@user_option
@click.option("--skip-checks", is_flag=True, expose_value=False, help="Accepted and ignored.")
@click.option("--no-resource-monitoring", is_flag=True, expose_value=False, help="Accepted and ignored.")
def create(spec: Path, update: bool, dry_run: bool) -> None:
    """Store a spec file (YAML, JSON, JSON5) as a new workflow.

    \b
    Example:
      rekindle torc workflows create workflow.yaml
      rekindle torc workflows create --update workflow.yaml
    """
    if not dry_run:
        store_spec(spec, update=update)
        return
    definition = read_new_spec(spec).definition
    if torc_options().as_json:
        print_json({"valid": True, "name": definition.name, "jobs": len(definition.jobs)})
    else:
        click.echo(f"{definition.name} is valid: {job_count(len(definition.jobs))}; a dry run: nothing is stored")


for _name in ("create", "create-from-spec", "create-from-json-file", "create-from-json5-file"):
    workflows.add_command(create, _name)


@workflows.command("create-from-commands-file")
@click.argument("commands", type=click.Path(path_type=Path))
@click.option("-n", "--name", required=True, help="The name of the workflow.")
@click.option("-c", "--cpus-per-job", type=click.IntRange(min=1), default=1, help="The CPUs of each job.")
@click.option("-m", "--memory-per-job", metavar="SIZE", help="The memory of each job (100m, 1g). [default: no limit]")
@click.option("-r", "--runtime-per-job", metavar="DURATION", help="The runtime of each job (PT1H). [default: no limit]")
def create_from_commands_file(commands: Path, name: str, **per_job: Any) -> None:
    """Store a workflow with a job for each line of a file.

    \b
    Example:
      rekindle torc workflows create-from-commands-file commands.txt -n sweep
    """
    resources = {
        "num_cpus": per_job["cpus_per_job"],
        "memory": per_job["memory_per_job"],
        "runtime": per_job["runtime_per_job"],
    }
    store_spec(commands, reader=partial(load_commands, name=name, resources=resources))


@click.command()
@key_argument
@click.option("-i", "--force", "--ignore-missing-data", "ignores", is_flag=True, help="Do not check for missing files.")
@click.option("--dry-run", is_flag=True, expose_value=False, help="Accepted: the command changes nothing.")
@no_prompts_option
def start(key: str | None, ignores: bool) -> None:
    """Check that the workflow can run: every file that no job makes exists.

    \b
    Example:
      rekindle torc workflows start 1
    """
    with open_reconciled() as session:
        workflow = selected_workflow(session, key)
        if not ignores:
            check_inputs(session, workflow)
        counts = count_statuses(job_documents(session, workflow))
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "jobs": counts})
    else:
        ready = counts.get("ready", 0)
        click.echo(f"workflow {workflow.id} is started: {ready} ready; `torc jobs run {workflow.id}` runs them")


for _name in ("start", "initialize", "init"):
    workflows.add_command(start, _name)


@click.command()
@key_argument
@click.option("-d", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--only-uninitialized", is_flag=True, help="Only run jobs that were reset by hand.")
@no_prompts_option
def restart(key: str | None, dry_run: bool, only_uninitialized: bool) -> None:
    """Run again jobs that were interrupted, that are stale, or that were reset. Running jobs are not touched.

    \b
    Example:
      rekindle torc workflows restart --dry-run
      rekindle torc workflows restart --only-uninitialized
    """
    with open_reconciled() as session:
        restart_workflow(session, selected_workflow(session, key), only_uninitialized, dry_run=dry_run)


for _name in ("restart", "reinitialize", "reinit"):
    workflows.add_command(restart, _name)


def restart_workflow(session: Session, workflow: Workflow, only_uninitialized: bool, *, dry_run: bool) -> None:
    """Plan a restart, apply it unless it is a dry run, and print it."""
    records = records_of(session, workflow)
    ephemeral = EphemeralReset() if only_uninitialized else plan_ephemeral_reset(session, workflow, records)
    found = plan_restart(
        session,
        workflow,
        only_uninitialized=only_uninitialized,
        also=ephemeral.jobs,
        ignores=ephemeral.ignores,
    )
    if found.proposal is None and not only_uninitialized:
        check_inputs(session, workflow)
    planned = found.proposal.plan.jobs if found.proposal is not None else ()
    if not dry_run:
        confirm(f"This restarts workflow {workflow.id} {workflow.name}: {job_count(len(planned))} will run again.")
        reset_ephemeral(workflow, records, ephemeral, {job.id for job in planned if not job.stays})
        if found.proposal is not None:
            rerun.apply(session, found.proposal)
    report_restart(session, workflow, found, sorted(ephemeral.values), dry_run=dry_run)


reinitialize_option = click.option(
    *("-r", "--reinitialize", "--restart", "reinitialize"),
    is_flag=True,
    help="Let them run, as `restart --only-uninitialized` does.",
)


@click.command()
@key_argument
@click.option("-f", "--failed-only", is_flag=True, help="Only jobs that have failed, with any return code.")
@click.option("-d", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@reinitialize_option
@no_prompts_option
def reset_status(key: str | None, failed_only: bool, dry_run: bool, reinitialize: bool) -> None:
    """Reset jobs and their descendants to uninitialized. `restart` runs them.

    \b
    Example:
      rekindle torc workflows reset-status --failed-only 1
    """
    with open_reconciled() as session:
        workflow = selected_workflow(session, key)
        jobs = [
            row.job
            for row in jobs_of(session, workflow)
            if not row.job.retired and (not failed_only or row.job.state is State.FAILED)
        ]
        ids = [job.id for job in jobs]
        failed = SelectedJobs({job.id: job.version for job in jobs}) if failed_only else None
        restarted = [workflow] if reinitialize else []
        reset_jobs(session, ids, failed, dry_run=dry_run, restarted=restarted)


for _name in ("reset-status", "reset-job-status"):
    workflows.add_command(reset_status, _name)


@workflows.command("execution-plan")
@click.argument("spec_or_key", required=False, metavar="[SPEC|WORKFLOW_KEY]")
def execution_plan(spec_or_key: str | None) -> None:
    """Show which jobs can run at once: each stage follows the ones before it.

    \b
    Example:
      rekindle torc workflows execution-plan workflow.yaml
    """
    if spec_or_key is not None and Path(spec_or_key).is_file():
        definition = read_new_spec(Path(spec_or_key)).definition
        names = {number: job.name for number, job in enumerate(definition.jobs)}
        edges = list(definition.edges)
    else:
        with open_store() as session:
            rows = jobs_of(session, selected_workflow(session, spec_or_key))
            names = {row.job.id: row.job.name for row in rows if not row.job.retired}
            below = job_queries.child_ids(session, list(names))
            edges = [(parent, child) for parent, children in below.items() for child in children if child in names]
    sorter = TopologicalSorter[int](dict.fromkeys(names, ()))
    for parent, child in edges:
        sorter.add(child, parent)
    sorter.prepare()
    stages = []
    while ready := sorted(sorter.get_ready()):
        stages.append([names[job] for job in ready])
        sorter.done(*ready)
    if torc_options().as_json:
        print_json({"stages": [{"stage": number, "jobs": jobs} for number, jobs in enumerate(stages, 1)]})
        return
    for number, jobs in enumerate(stages, 1):
        click.echo(f"stage {number}: {job_count(len(jobs))}: {first_names(jobs)}")


@workflows.command()
@key_argument
def cancel(key: str | None) -> None:
    """Cancel running and unstarted jobs.

    \b
    Example:
      rekindle torc workflows cancel 1
    """
    with open_store() as session:
        workflow = selected_workflow(session, key)
        confirm(f"This cancels workflow {workflow.id} {workflow.name}.")
        done = reconcile.cancel(session, [row.job.id for row in jobs_of(session, workflow)])
    print_canceled(done)
    keys = [str(job) for job in (*done.now, *done.asked)]
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "canceled": keys})
    else:
        click.echo(f"canceled {job_count(len(keys))} of workflow {workflow.id}")


@workflows.command()
@key_argument
@user_option
def status(key: str | None) -> None:
    """Show the number of jobs in each state.

    \b
    Example:
      rekindle torc workflows status 1
    """
    with open_reconciled(looks=True) as session:
        workflow = selected_workflow(session, key)
        counts = count_statuses(job_documents(session, workflow))
        state = workflow_queries.status(session, str(workflow.id))[0].state
        run = RunNumbers(session, workflow).current
    if torc_options().as_json:
        document = {"workflow_key": str(workflow.id), "name": workflow.name, "run_id": run, "jobs": counts}
        print_json({**document, "is_complete": state in ("completed", "failed"), "is_canceled": state == "canceled"})
        return
    click.echo(f"workflow {workflow.id} {workflow.name}, run {run}: {state}")
    for word, number in sorted(counts.items()):
        click.echo(f"  {word}: {number:,}")


def reset_jobs(
    session: Session,
    ids: list[int],
    selected: SelectedJobs | None = None,
    *,
    dry_run: bool,
    restarted: Sequence[Workflow] = (),
) -> None:
    """Reset these jobs and report them; of `selected` ones, only those that have not changed since. Then let the reset
    jobs of the `restarted` workflows run. `jobs reset-status` uses this too."""
    if not ids:
        if torc_options().as_json:
            print_json({"dry_run": dry_run, "jobs": [], "refused": []})
        else:
            click.echo("there is no job to reset")
        return
    proposal = plan_reset(session, ids if selected is None else selected, {"jobs": ids})
    jobs = [job for job in proposal.plan.jobs if not job.stays]
    if not dry_run:
        confirm(f"This resets {job_count(len(jobs))}: {first_names([job.name for job in jobs])}.")
        rerun.apply(session, proposal)
        for workflow in restarted:
            restart_workflow(session, workflow, only_uninitialized=True, dry_run=False)
        if restarted:
            return
    held = {job.id for job in jobs if job.holds is not None}
    if torc_options().as_json:
        document = [_reset_document(job.id, job.name, job.id in held) for job in jobs]
        refused = [{"key": str(one.id), "name": one.name, "why": one.why} for one in proposal.plan.refused]
        print_json({"dry_run": dry_run, "jobs": document, "refused": refused})
        return
    would = "would reset" if dry_run else "reset"
    click.echo(f"{would} {job_count(len(jobs))}: {first_names([job.name for job in jobs])}")
    for one in proposal.plan.refused:
        click.echo(f"left alone: {one.name}: {one.why}", err=True)
    click.echo("a dry run: nothing is changed" if dry_run else "`torc workflows restart` lets them run")


def _reset_document(key: int, name: str, held: bool) -> dict[str, object]:
    return {"key": str(key), "name": name, "status": "uninitialized" if held else "blocked"}
