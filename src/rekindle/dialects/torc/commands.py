"""`rekindle torc`, and its commands for jobs, results, files, user data and Slurm."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rekindle import __version__
from rekindle.dialects.command_session import open_reconciled, open_store
from rekindle.dialects.torc.newer_commands import (
    delete,
    is_complete,
    recover,
    reports,
    run_jobs,
    sync_status,
    time_limit_option,
    watch,
)
from rekindle.dialects.torc.newer_commands import run as run_workflow
from rekindle.dialects.torc.slurm_commands import hpc
from rekindle.dialects.torc.stored_workflows import archive, export, get, import_spec, list_actions, list_workflows
from rekindle.dialects.torc.torc_group import FORMATS, TorcGroup
from rekindle.dialects.torc.torc_options import (
    ListOptions,
    TorcOptions,
    key_argument,
    list_documents,
    list_options,
    no_prompts_option,
    print_json,
    print_list,
    selected_workflow,
    torc_options,
)
from rekindle.dialects.torc.torc_records import UserDatum, find_user_data, records_of, value_of, write_text
from rekindle.dialects.torc.torc_status import RunNumbers, job_documents, jobs_of, result_document
from rekindle.dialects.torc.workflow_commands import (
    cancel,
    create,
    reinitialize_option,
    reset_jobs,
    restart,
    start,
    status,
    workflows,
)
from rekindle.domain.errors import BadValue
from rekindle.domain.selection import Selection
from rekindle.domain.states import ENDED
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.results import WorkOptions
from rekindle.query.job_keys import parse_job_words
from rekindle.streams import outlives_reader

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow

_JOB_FIELDS = (
    *("key", "name", "command", "status", "return_code", "run_id", "attempt_id", "priority", "cause"),
    "cancel_on_blocking_job_failure",
)
_RESULT_FIELDS = (
    *("key", "job_key", "job_id", "job_name", "workflow_key", "run_id", "attempt_id", "compute_node", "return_code"),
    *("exec_time_minutes", "completion_time", "status", "cause"),
)


@click.group(cls=TorcGroup)
def jobs() -> None:
    """List, reset and run jobs.

    \b
    Example:
      rekindle torc jobs list -f status=ready
    """


@jobs.command("list")
@key_argument
@list_options
@click.option("-s", "--status", "wanted", help="Only jobs with this status.")
@click.option("--upstream-job-id", type=int, help="Only jobs that depend on this job.")
def list_jobs(key: str | None, listed: ListOptions, wanted: str | None, upstream_job_id: int | None) -> None:
    """List the jobs of a workflow.

    \b
    Example:
      rekindle torc jobs list -f status=ready
    """
    with open_store() as session:
        documents = job_documents(session, selected_workflow(session, key))
        if upstream_job_id is not None:
            below = job_queries.child_ids(session, [upstream_job_id]).get(upstream_job_id, ())
            documents = [one for one in documents if one["id"] in below]
    found = list_documents(documents, listed.narrowed(status=wanted), _JOB_FIELDS, {"status": "later_status"})
    for one in found:
        del one["later_status"]
    print_list("jobs", found, ("key", "name", "status", "return_code", "cause"))


@jobs.command("get")
@click.argument("job", metavar="JOB_KEY")
def get_job(job: str) -> None:
    """Print one job as JSON.

    \b
    Example:
      rekindle torc jobs get 3
    """
    with open_store() as session:
        ids = selections.select(session, Selection(workflow=torc_options().key, jobs=parse_job_words([job])))
        (row, *_) = job_queries.jobs(session, ids)
        documents = job_documents(session, selections.find_workflow(session, str(row.job.workflow)))
    (found,) = [one for one in documents if one["id"] == row.job.id]
    del found["later_status"]
    print_json(found)


@jobs.command("reset-status")
@click.argument("keys", nargs=-1, required=True, metavar="JOB_KEY...")
@click.option("-d", "--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@reinitialize_option
@no_prompts_option
def reset_status(keys: tuple[str, ...], dry_run: bool, reinitialize: bool) -> None:
    """Reset these jobs and their descendants to uninitialized. `restart` runs them.

    \b
    Example:
      rekindle torc jobs reset-status 3 4
    """
    with open_reconciled() as session:
        ids = selections.select(session, Selection(workflow=torc_options().key, jobs=parse_job_words(list(keys))))
        owners = {row.job.workflow for row in job_queries.jobs(session, ids)} if reinitialize else set()
        restarted = [selections.find_workflow(session, str(owner)) for owner in sorted(owners)]
        reset_jobs(session, ids, dry_run=dry_run, restarted=restarted)


@jobs.command()
@key_argument
@click.option("-j", "-m", "--max-parallel-jobs", type=click.IntRange(min=1), help="How many jobs run at once.")
@time_limit_option
@click.option("-p", "--poll-interval", type=float, help="Accepted and ignored: nothing is polled.")
@click.option("-o", "--output", type=click.Path(), help="Accepted and ignored: logs are in the store.")
@outlives_reader
def run(key: str | None, max_parallel_jobs: int | None, time_limit: float | None, **_: Any) -> int:
    """Run the ready jobs of a workflow, and jobs that become ready. Exit code: 0, 2 jobs failed, 5 canceled.

    \b
    Example:
      rekindle torc jobs run 1 -j 4
    """
    with open_store() as session:
        options = WorkOptions(slots=max_parallel_jobs, claim_for=time_limit)
        return run_jobs(session, selected_workflow(session, key), options)


@click.group(cls=TorcGroup)
def results() -> None:
    """List the results of jobs.

    \b
    Example:
      rekindle torc -F json results list -f return_code=1
    """


@results.command("list")
@key_argument
@list_options
@click.option("--all-runs", is_flag=True, help="Include superseded results, marked as archived.")
@click.option("--failed", is_flag=True, help="Only results whose return code is not 0.")
@click.option("--return-code", type=int, help="Only results with this return code.")
@click.option("-s", "--status", "wanted", help="Only results with this status.")
@click.option("-j", "--job-id", type=int, help="Only results of this job.")
@click.option("-r", "--run-id", type=int, help="Only results of this run.")
@click.option("--compute-node", help="Only results of this host.")
def list_results(
    key: str | None,
    listed: ListOptions,
    all_runs: bool,
    failed: bool,
    return_code: int | None,
    wanted: str | None,
    job_id: int | None,
    run_id: int | None,
    compute_node: str | None,
) -> None:
    """List the valid results: the latest of each job, none of a job that was reset since.

    \b
    Example:
      rekindle torc -F json results list -f return_code=1
    """
    with open_store() as session:
        workflow = selected_workflow(session, key)
        names = {row.job.id: row.job.name for row in jobs_of(session, workflow) if not row.job.retired}
        runs = RunNumbers(session, workflow)
        found = job_queries.attempts(session, None, workflow.id, live=not all_runs)
        ended = [one for one in found if one.state in ENDED and one.job in names]
        documents = [result_document(one, names[one.job], runs) for one in ended]
    listed = listed.narrowed(
        **{"return_code!": 0 if failed else None},
        return_code=return_code,
        status=wanted,
        job_id=job_id,
        run_id=run_id,
        compute_node=compute_node,
    )
    columns = ("job_key", "job_name", "run_id", "attempt_id", "return_code", "exec_time_minutes", "status", "cause")
    print_list("results", list_documents(documents, listed, _RESULT_FIELDS), columns)


_FILE_FIELDS = ("key", "name", "path", "st_mtime")
_DATA_FIELDS = ("key", "name", "is_ephemeral", "data")


@click.group(cls=TorcGroup)
def files() -> None:
    """List files.

    \b
    Example:
      rekindle torc files list
    """


@files.command("list")
@key_argument
@list_options
def list_files(key: str | None, listed: ListOptions) -> None:
    """List the files of a workflow. `st_mtime` is empty for a missing file.

    \b
    Example:
      rekindle torc files list
    """
    with open_store() as session:
        workflow = selected_workflow(session, key)
        records = records_of(session, workflow)
    documents = [
        {"key": str(at), "name": name, "path": path, "st_mtime": _mtime(Path(workflow.directory, path))}
        for at, (name, path) in enumerate(records.files.items(), 1)
    ]
    print_list("files", list_documents(documents, listed, _FILE_FIELDS), _FILE_FIELDS)


@click.group("user-data", cls=TorcGroup)
def user_data() -> None:
    """Show and set the JSON values that jobs pass on.

    \b
    Example:
      rekindle torc user-data list
    """


@user_data.command("list")
@key_argument
@list_options
@click.option("--name", help="Only the value of this name.")
@click.option("--is-ephemeral", type=click.Choice(["true", "false"]), help="Only ephemeral values, or the others.")
def list_user_data(key: str | None, listed: ListOptions, name: str | None, is_ephemeral: str | None) -> None:
    """List the user data of a workflow.

    \b
    Example:
      rekindle torc -F json user-data list
    """
    with open_store() as session:
        workflow = selected_workflow(session, key)
        records = records_of(session, workflow)
    documents = [
        _user_data_document(workflow, at, known, one) for at, (known, one) in enumerate(records.user_data.items(), 1)
    ]
    listed = listed.narrowed(name=name, is_ephemeral=is_ephemeral)
    print_list("user_data", list_documents(documents, listed, _DATA_FIELDS), _DATA_FIELDS)


@user_data.command("get")
@click.argument("datum", metavar="KEY|NAME")
def get_user_data(datum: str) -> None:
    """Print one value with its key and name as JSON. Inside a job, its own workflow is used.

    \b
    Example:
      rekindle torc user-data get cfg | jq .data
    """
    with open_store() as session:
        workflow = selected_workflow(session, None)
        records = records_of(session, workflow)
    name, one = find_user_data(records, datum)
    print_json(_user_data_document(workflow, list(records.user_data).index(name) + 1, name, one))


@click.command()
@click.argument("datum", metavar="KEY|NAME")
@click.option("-d", "--data", required=True, metavar="JSON", help="The value.")
def modify(datum: str, data: str) -> None:
    """Set one value. Jobs that have read another value become stale, and `restart` runs them again.

    \b
    Example:
      rekindle torc user-data modify cfg --data '{"k": 2}'
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BadValue(f"--data is not JSON: {error}", hint="""as in --data '{"k": 2}'""") from error
    with open_store() as session:
        workflow = selected_workflow(session, None)
        records = records_of(session, workflow)
    name, one = find_user_data(records, datum)
    write_text(Path(workflow.directory, one.path), json.dumps(value))
    if torc_options().as_json:
        print_json(_user_data_document(workflow, list(records.user_data).index(name) + 1, name, one))
    else:
        click.echo(f"{name} is set")


for _name in ("modify", "update"):
    user_data.add_command(modify, _name)


def _user_data_document(workflow: Workflow, key: int, name: str, one: UserDatum) -> dict[str, Any]:
    return {"key": str(key), "name": name, "is_ephemeral": one.ephemeral, "data": value_of(workflow, one)}


def _mtime(path: Path) -> float | None:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116 - a single stat
    except OSError:
        return None


@click.group(cls=TorcGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    *("-F", "-f", "--output-format", "--format", "output_format"),
    type=click.Choice(FORMATS),
    default="text",
    help="The format of lists.",
)
@click.option("-n", "--no-prompts", is_flag=True, help="Do not ask. Without a terminal nothing is asked anyway.")
@click.option("-k", "--workflow-key", metavar="KEY", help="The workflow. [default: the only one of the store]")
@click.version_option(__version__, prog_name="rekindle torc")
@click.pass_context
def torc(ctx: click.Context, output_format: str, no_prompts: bool, workflow_key: str | None) -> None:
    """Speak torc: its spec files and its commands.

    \b
    Example:
      rekindle torc workflows create workflow.yaml
      rekindle torc jobs run -j 4
      rekindle torc -F json results list -f return_code=1
    """
    ctx.obj = TorcOptions(output_format == "json", not no_prompts, workflow_key)


for _group in (workflows, jobs, results, files, user_data, hpc, reports):
    torc.add_command(_group)
for _command in (create, run_workflow, watch, recover, status, cancel, delete):
    torc.add_command(_command)
for _name in ("init-jobs", "init"):
    torc.add_command(start, _name)
torc.add_command(restart, "reinit")
for _command in (run_workflow, delete, is_complete, sync_status):
    workflows.add_command(_command)
for _command in (list_workflows, list_actions, get, archive, export, import_spec):
    workflows.add_command(_command)
workflows.add_command(export, "show")
