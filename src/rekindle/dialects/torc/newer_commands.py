"""Commands of torc since 0.8: run, watch, recover, and what it has moved or renamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from rekindle.dialects.command_session import open_reconciled, open_store
from rekindle.dialects.torc.restart_report import first_names, job_count
from rekindle.dialects.torc.spec_store import store_spec
from rekindle.dialects.torc.torc_group import TorcGroup
from rekindle.dialects.torc.torc_options import (
    confirm,
    key_argument,
    no_prompts_option,
    print_json,
    selected_workflow,
    torc_options,
)
from rekindle.dialects.torc.torc_status import jobs_of, return_code
from rekindle.dialects.torc.workflow_commands import status
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import How
from rekindle.domain.states import ACTIVE, Cause, State
from rekindle.domain.texts.quantities import Amount, parse_duration
from rekindle.engine.queries import workflow_queries
from rekindle.engine.queries.selections import SelectedJobs
from rekindle.engine.rerun import rerun
from rekindle.engine.results import PlannedRerun, WorkOptions
from rekindle.engine.running import reconcile
from rekindle.streams import outlives_reader

if TYPE_CHECKING:
    from rekindle.domain.models import Attempt, Workflow
    from rekindle.engine.session import Session

_GIB = 1 << 30
_OOM_CODE, _TIMEOUT_CODE = 137, 152


time_limit_option = click.option(
    *("-t", "--time-limit"),
    metavar="DURATION",
    callback=lambda _ctx, _param, value: None if value is None else parse_duration(value),
    help="Start no job after this time (PT4H); running jobs go on to their ends.",
)


@click.command("run")
@click.argument("spec_or_key", required=False, metavar="[SPEC|WORKFLOW_KEY]")
@click.option("-j", "--max-parallel-jobs", type=click.IntRange(min=1), help="How many jobs run at once.")
@click.option("--num-cpus", type=click.IntRange(min=1), help="How many jobs of one CPU run at once.")
@click.option("--memory-gb", type=click.FloatRange(min=0, min_open=True), help="GiB for all jobs.")
@click.option("--num-gpus", type=click.IntRange(min=0), default=0, help="GPUs for all jobs.")
@click.option("-p", "--poll-interval", type=float, help="Accepted and ignored: nothing is polled.")
@click.option("-o", "--output-dir", type=click.Path(), help="Accepted and ignored: logs are in the store.")
@click.option("--skip-checks", is_flag=True, help="Accepted and ignored.")
@time_limit_option
@outlives_reader
def run(
    spec_or_key: str | None,
    max_parallel_jobs: int | None,
    num_cpus: int | None,
    memory_gb: float | None,
    num_gpus: int,
    time_limit: float | None,
    **_: Any,
) -> int:
    """Run a workflow here; a spec file is stored first. Exit code: 0, 2 jobs failed, 5 canceled.

    \b
    Example:
      rekindle torc run workflow.yaml
    """
    key = spec_or_key
    if key is not None and Path(key).is_file():
        key = str(store_spec(Path(key), quiet=torc_options().as_json))
    memory = None if memory_gb is None else round(memory_gb * _GIB)
    options = WorkOptions(slots=max_parallel_jobs or num_cpus, memory=memory, gpus=num_gpus, claim_for=time_limit)
    with open_store() as session:
        return run_jobs(session, selected_workflow(session, key), options)


def run_jobs(session: Session, workflow: Workflow, options: WorkOptions) -> int:
    """Run the ready jobs of a workflow, print their number and return the exit code."""
    from rekindle.engine.running.work import work

    report = work(session, msgspec.structs.replace(options, workflow=str(workflow.id)))
    for name, asks in report.never_fit:
        click.echo(f"{name} can never start here: {asks}", err=True)
    counts = {"completed": report.completed, "failed": report.failed, "canceled": report.canceled}
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "exit_code": report.exit_code, **counts})
    else:
        click.echo(", ".join(f"{number:,} {word}" for word, number in counts.items()))
    return report.exit_code


class Recovery(msgspec.Struct, frozen=True):
    """How failed jobs are recovered: the factors of their resources, and whether other failures run again too."""

    memory: float
    runtime: float
    retry_unknown: bool


def recovery_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `recover` and `watch`."""
    for option in (
        click.option("--retry-unknown", is_flag=True, help="Also jobs that failed for another cause."),
        click.option("--runtime-multiplier", type=float, default=1.5, help="Factor of the runtime after a timeout."),
        click.option(
            "--memory-multiplier", type=float, default=1.5, help="Factor of the memory after running out of it."
        ),
        click.option("-o", "--output-dir", type=click.Path(), help="Accepted and ignored: logs are in the store."),
    ):
        command = option(command)
    return command


@click.command()
@key_argument
@recovery_options
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@no_prompts_option
def recover(
    key: str | None,
    memory_multiplier: float,
    runtime_multiplier: float,
    retry_unknown: bool,
    dry_run: bool,
    **_: Any,
) -> None:
    """Reset jobs that ran out of memory or time, with more of it. `torc run` runs them.

    \b
    Example:
      rekindle torc recover 1 --dry-run
    """
    how = Recovery(memory_multiplier, runtime_multiplier, retry_unknown)
    with open_reconciled() as session:
        workflow = selected_workflow(session, key)
        proposal, left = _plan_recovery(session, workflow, how)
        names = [job.name for job in proposal.plan.jobs if not job.stays] if proposal else []
        if proposal is not None and not dry_run:
            confirm(f"This resets {job_count(len(names))}: {first_names(names)}.")
            rerun.apply(session, proposal)
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "dry_run": dry_run, "jobs": names, "left": left})
        return
    would = "would reset" if dry_run else "reset"
    click.echo(f"{would} {job_count(len(names))}: {first_names(names)}" if names else "nothing to recover")
    if left:
        click.echo(f"failed for another cause (see --retry-unknown): {first_names(left)}")


@click.command()
@key_argument
@recovery_options
@click.option("-r", "--recover", "recovers", is_flag=True, help="Run jobs that ran out of memory or time again.")
@click.option("-m", "--max-retries", type=click.IntRange(min=0), help="How many times. [default: no limit]")
@click.option("-p", "--poll-interval", type=float, help="Accepted and ignored: nothing is polled.")
@click.option("-s", "--show-job-counts", is_flag=True, help="Accepted and ignored.")
@outlives_reader
def watch(
    key: str | None,
    memory_multiplier: float,
    runtime_multiplier: float,
    retry_unknown: bool,
    recovers: bool,
    max_retries: int | None,
    **_: Any,
) -> int:
    """Run a workflow here until it ends, with --recover until nothing is left to recover.

    \b
    Example:
      rekindle torc watch 1 --recover
    """
    how = Recovery(memory_multiplier, runtime_multiplier, retry_unknown)
    done = 0
    with open_store() as session:
        workflow = selected_workflow(session, key)
        while True:
            code = run_jobs(session, workflow, WorkOptions())
            if code != _FAILED or not recovers or (max_retries is not None and done >= max_retries):
                return code
            proposal, _left = _plan_recovery(session, workflow, how)
            if proposal is None:
                return code
            rerun.apply(session, proposal)
            done += 1
            names = [job.name for job in proposal.plan.jobs if not job.stays]
            click.echo(f"recovery {done}: {first_names(names)}", err=True)


_FAILED = 2


def _plan_recovery(session: Session, workflow: Workflow, how: Recovery) -> tuple[PlannedRerun | None, list[str]]:
    """Return the plan that reruns the failed jobs with more resources, and the names of those that are left."""
    templates = {template.name: template for template in workflow_queries.templates(session, workflow.id)}
    groups: dict[tuple[float | None, float | None], dict[int, int]] = {}  # by the factors of memory and time
    left: list[str] = []
    for row in jobs_of(session, workflow):
        job, attempt, template = row.job, row.attempt, templates.get(row.job.name)
        if job.retired or job.state is not State.FAILED or attempt is None:
            continue
        memory = time = None
        if _failed_by(attempt, Cause.OOM, _OOM_CODE):
            memory = how.memory if template and template.resources.memory else None
        elif _failed_by(attempt, Cause.TIMEOUT, _TIMEOUT_CODE):
            time = how.runtime if template and template.resources.time else None
        elif not how.retry_unknown:
            left.append(job.name)
            continue
        groups.setdefault((memory, time), {})[job.id] = job.version
    if not groups:
        return None, left
    requests = [(SelectedJobs(jobs), _with_more(*factors)) for factors, jobs in groups.items()]
    return rerun.plan(session, requests, {"selection": {"workflow": workflow.name}}), left


def _with_more(memory: float | None, time: float | None) -> How:
    """Return how a job runs again with its memory or time multiplied, in addition to what it was given earlier."""
    more = Overrides(
        memory=Amount(factor=memory) if memory else None,
        time=Amount(factor=time) if time else None,
    )
    return How(overrides=more if memory or time else None, keep_modified=True)


def _failed_by(attempt: Attempt, cause: Cause, code: int) -> bool:
    return attempt.cause is cause or return_code(attempt) == code


@click.command()
@click.argument("keys", nargs=-1, required=True, metavar="WORKFLOW_KEY...")
@no_prompts_option
@click.option("-f", "--force", is_flag=True, help="Accepted and ignored: a store has one owner.")
def delete(keys: tuple[str, ...], force: bool) -> None:  # noqa: ARG001
    """Delete workflows with all their results.

    \b
    Example:
      rekindle torc delete 1
    """
    from rekindle.engine.submit.submit import delete_workflow

    with open_reconciled() as session:
        found = [selected_workflow(session, key) for key in keys]
        confirm(f"This deletes {first_names([f'{one.id} {one.name}' for one in found])} with all results.")
        for workflow in found:
            delete_workflow(session, workflow.id, files=False)
    if torc_options().as_json:
        print_json({"deleted": [str(one.id) for one in found]})
    else:
        click.echo(f"deleted {first_names([f'{one.id} {one.name}' for one in found])}")


@click.command("is-complete")
@key_argument
def is_complete(key: str | None) -> None:
    """Say whether all jobs of a workflow have ended.

    \b
    Example:
      rekindle torc workflows is-complete 1
    """
    with open_reconciled(looks=True) as session:
        workflow = selected_workflow(session, key)
        state = workflow_queries.status(session, str(workflow.id))[0].state
    complete = state in ("completed", "failed", "canceled")
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "is_complete": complete, "is_canceled": state == "canceled"})
    else:
        click.echo(f"workflow {workflow.id} {workflow.name}: {'complete' if complete else 'not complete'} ({state})")


@click.command("sync-status")
@key_argument
@click.option("--dry-run", is_flag=True, help="Show what would be recorded, and change nothing.")
def sync_status(key: str | None, dry_run: bool) -> None:
    """Record the ends of jobs whose runner died, as every command that changes something does.

    \b
    Example:
      rekindle torc workflows sync-status 1 --dry-run
    """
    with open_store() as session:
        workflow = selected_workflow(session, key)
        active = [row.job.id for row in jobs_of(session, workflow) if row.job.state in ACTIVE]
        found = (reconcile.plan_reattach if dry_run else reconcile.reattach)(session, active)
    names = {
        "ended": [one.name for one in found.jobs if one.found in ("finished", "gone")],
        "running": [one.name for one in found.jobs if one.found in ("running", "attended")],
    }
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "dry_run": dry_run, **names})
        return
    would = "would record" if dry_run else "recorded"
    click.echo(f"{would} the ends of {job_count(len(names['ended']))}: {first_names(names['ended'])}")
    click.echo(f"{job_count(len(names['running']))} still running")


@click.group(cls=TorcGroup)
def reports() -> None:
    """Summarize a workflow.

    \b
    Example:
      rekindle torc reports summary 1
    """


reports.add_command(status, "summary")
