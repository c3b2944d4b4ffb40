"""`rekindle torc jobs` and `rekindle torc results`."""

from __future__ import annotations

import click

from rekindle.dialects.opening import opened, reconciled
from rekindle.dialects.torc.asked import asked, key_argument, the_workflow
from rekindle.dialects.torc.commands_workflows import reset_jobs
from rekindle.dialects.torc.showing import emit, filter_option, kept, show
from rekindle.dialects.torc.words import Runs, job_documents, jobs_of, result_document
from rekindle.domain.selection import Selection
from rekindle.domain.states import ENDED
from rekindle.engine.looking import look
from rekindle.engine.results import WorkOptions
from rekindle.query.words import parse_words
from rekindle.streams import outlives_reader

_JOB_FIELDS = (
    *("key", "name", "command", "status", "return_code", "run_id", "attempt_id", "priority", "cause"),
    "cancel_on_blocking_job_failure",
)
_RESULT_FIELDS = (
    *("key", "job_key", "job_id", "job_name", "workflow_key", "run_id", "attempt_id", "compute_node", "return_code"),
    *("exec_time_minutes", "completion_time", "status", "cause"),
)


@click.group()
def jobs() -> None:
    """List, reset and run jobs.

    \b
    Example:
      rekindle torc jobs list -f status=ready
    """


@jobs.command("list")
@key_argument
@filter_option
def list_jobs(key: str | None, filters: tuple[str, ...]) -> None:
    """List the jobs of a workflow.

    \b
    Example:
      rekindle torc jobs list -f status=ready
    """
    with opened() as session:
        documents = job_documents(session, the_workflow(session, key))
    found = kept(documents, filters, _JOB_FIELDS, {"status": "later_status"})
    for one in found:
        del one["later_status"]
    show("jobs", found, ("key", "name", "status", "return_code", "cause"))


@jobs.command("reset-status")
@click.argument("keys", nargs=-1, required=True, metavar="JOB_KEY...")
@click.option("-d", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def reset_status(keys: tuple[str, ...], dry_run: bool) -> None:
    """Reset these jobs to uninitialized, with what needs them; `restart` lets them go.

    \b
    Example:
      rekindle torc jobs reset-status 3 4
    """
    with reconciled() as session:
        ids = look.select(session, Selection(workflow=asked().key, jobs=parse_words(list(keys))))
        reset_jobs(session, ids, dry_run=dry_run)


@jobs.command()
@key_argument
@click.option("-j", "--max-parallel-jobs", type=click.IntRange(min=1), help="How many jobs run at once.")
@click.option("-p", "--poll-interval", type=float, help="Taken and without effect: nothing is polled.")
@click.option("-o", "--output", type=click.Path(), help="Taken and without effect: logs are in the store.")
@outlives_reader
def run(key: str | None, max_parallel_jobs: int | None, poll_interval: float | None, output: str | None) -> int:  # noqa: ARG001
    """Run the ready jobs of a workflow, and what they make ready. Exit code: 0, 2 jobs failed, 5 canceled.

    \b
    Example:
      rekindle torc jobs run 1 -j 4
    """
    from rekindle.engine.running.run import work

    with opened() as session:
        workflow = the_workflow(session, key)
        report = work(session, WorkOptions(str(workflow.id), slots=max_parallel_jobs))
    for name, asks in report.never_fit:
        click.echo(f"{name} can never start here: {asks}", err=True)
    counts = {"completed": report.completed, "failed": report.failed, "canceled": report.canceled}
    if asked().as_json:
        emit({"workflow_key": str(workflow.id), "exit_code": report.exit_code, **counts})
    else:
        click.echo(", ".join(f"{number:,} {word}" for word, number in counts.items()))
    return report.exit_code


@click.group()
def results() -> None:
    """List what became of jobs.

    \b
    Example:
      rekindle torc -F json results list -f return_code=1
    """


@results.command("list")
@key_argument
@filter_option
@click.option("--all-runs", is_flag=True, help="Superseded ones too, marked as archived.")
def list_results(key: str | None, filters: tuple[str, ...], all_runs: bool) -> None:
    """List the results that stand: of each job the latest, none of one that was reset since.

    \b
    Example:
      rekindle torc -F json results list -f return_code=1
    """
    with opened() as session:
        workflow = the_workflow(session, key)
        names = {row.job.id: row.job.name for row in jobs_of(session, workflow) if not row.job.retired}
        runs = Runs(session, workflow)
        found = look.attempts(session, None, workflow.id, live=not all_runs)
        ended = [one for one in found if one.state in ENDED and one.job in names]
        documents = [result_document(one, names[one.job], runs) for one in ended]
    columns = ("job_key", "job_name", "run_id", "attempt_id", "return_code", "exec_time_minutes", "status", "cause")
    show("results", kept(documents, filters, _RESULT_FIELDS), columns)
