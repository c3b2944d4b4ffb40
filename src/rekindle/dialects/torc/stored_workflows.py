"""`rekindle torc workflows list`, `get`, `archive`, `export` and `import`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.dialects.command_session import open_reconciled, open_store
from rekindle.dialects.torc.spec_store import store_spec, stored_spec
from rekindle.dialects.torc.torc_jobs import action_name
from rekindle.dialects.torc.torc_options import (
    ListOptions,
    key_argument,
    list_documents,
    list_options,
    print_json,
    print_list,
    selected_workflow,
    torc_options,
    user_option,
)
from rekindle.dialects.torc.torc_records import write_text
from rekindle.dialects.torc.torc_spec import load_spec
from rekindle.dialects.torc.torc_status import RunNumbers, job_documents, utc_text
from rekindle.engine.queries import selections, workflow_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session

_FIELDS = ("key", "name", "project", "timestamp", "run_id", "directory", "is_archived")


@click.command("list")
@list_options
@user_option
@click.option(
    "-a", "--all-users", is_flag=True, expose_value=False, help="Accepted and ignored: a store has one owner."
)
@click.option("-i", "--include-archived", is_flag=True, help="Also archived workflows.")
@click.option("-A", "--archived-only", "--only-archived", is_flag=True, help="Only archived workflows.")
def list_workflows(listed: ListOptions, include_archived: bool, archived_only: bool) -> None:
    """List workflows.

    \b
    Example:
      rekindle torc workflows list
    """
    with open_store() as session:
        found = workflow_queries.workflows(session, archived=include_archived or archived_only)
        documents = [_document(session, one) for one in found if not archived_only or one.archived is not None]
    print_list(
        "workflows", list_documents(documents, listed, _FIELDS), ("key", "name", "project", "timestamp", "run_id")
    )


@click.command()
@key_argument
@user_option
def get(key: str | None) -> None:
    """Print one workflow as JSON.

    \b
    Example:
      rekindle torc workflows get 1
    """
    with open_store() as session:
        print_json(_document(session, selected_workflow(session, key)))


def _document(session: Session, workflow: Workflow) -> dict[str, object]:
    return {
        "key": str(workflow.id),
        "id": workflow.id,
        "name": workflow.name,
        "project": workflow.project,
        "timestamp": utc_text(workflow.submitted),
        "run_id": RunNumbers(session, workflow).current,
        "directory": workflow.directory,
        "is_archived": workflow.archived is not None,
    }


@click.command()
@click.argument("is_archived", type=click.Choice(["true", "false"]))
@click.argument("keys", nargs=-1, required=True, metavar="WORKFLOW_KEY...")
def archive(is_archived: str, keys: tuple[str, ...]) -> None:
    """Archive workflows (true), or bring them back (false).

    \b
    Example:
      rekindle torc workflows archive true 1
    """
    from rekindle.engine.submit.submit import archive_workflow

    with open_reconciled() as session:
        found = [selections.find_workflow(session, key) for key in keys]
        for workflow in found:
            archive_workflow(session, workflow.id, back=is_archived == "false")
    if torc_options().as_json:
        print_json({"workflow_keys": [str(one.id) for one in found], "is_archived": is_archived == "true"})
        return
    for workflow in found:
        click.echo(f"workflow {workflow.id} {workflow.name} is {'archived' if is_archived == 'true' else 'back'}")


@click.command("list-actions")
@key_argument
@user_option
def list_actions(key: str | None) -> None:
    """List the actions of a workflow. Those that run commands are jobs, with the job's status.

    \b
    Example:
      rekindle torc workflows list-actions 1
    """
    with open_store() as session:
        workflow = selected_workflow(session, key)
        actions = json.loads(stored_spec(session, workflow)).get("actions") or []
        jobs = {one["name"]: one for one in job_documents(session, workflow)}
    documents = []
    for number, action in enumerate(actions, 1):
        job = jobs.get(action_name(number, action["trigger_type"]), {})
        kinds = {field: action[field] for field in ("trigger_type", "action_type")}
        documents.append({"key": str(number), **kinds, "job_key": job.get("key"), "status": job.get("status")})
    print_list("actions", documents, ("key", "trigger_type", "action_type", "job_key", "status"))


@click.command()
@key_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write this file. [default: print it]")
def export(key: str | None, output: Path | None) -> None:
    """Print the spec of a workflow as JSON, for `create` or `import`.

    \b
    Example:
      rekindle torc workflows export 1 -o workflow.json
    """
    with open_store() as session:
        workflow = selected_workflow(session, key)
        text = stored_spec(session, workflow)
    if output is None:
        click.echo(text, nl=False)
        return
    write_text(output, text.removesuffix("\n"))
    if torc_options().as_json:
        print_json({"workflow_key": str(workflow.id), "file": str(output)})
    else:
        click.echo(f"exported workflow {workflow.id} {workflow.name} to {output}")


@click.command("import")
@click.argument("spec", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", help="Name the workflow otherwise.")
def import_spec(spec: Path, name: str | None) -> None:
    """Store an exported spec as a new workflow. No job of it has run.

    \b
    Example:
      rekindle torc workflows import workflow.json --name my-copy
    """
    store_spec(spec, reader=partial(load_spec, name=name))
