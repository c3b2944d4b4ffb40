"""`rekindle torc files` and `rekindle torc user-data`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.torc.asked import asked, key_argument, the_workflow
from rekindle.dialects.torc.records import Datum, find, records_of, value_of, write_text
from rekindle.dialects.torc.showing import emit, filter_option, kept, show
from rekindle.domain.errors import BadValue
from rekindle.domain.models import Workflow

_FILE_FIELDS = ("key", "name", "path", "st_mtime")
_DATA_FIELDS = ("key", "name", "is_ephemeral", "data")


@click.group()
def files() -> None:
    """List files.

    \b
    Example:
      rekindle torc files list
    """


@files.command("list")
@key_argument
@filter_option
def list_files(key: str | None, filters: tuple[str, ...]) -> None:
    """List the files of a workflow; `st_mtime` is empty where one is not there.

    \b
    Example:
      rekindle torc files list
    """
    with opened() as session:
        workflow = the_workflow(session, key)
        records = records_of(session, workflow)
    documents = [
        {"key": str(at), "name": name, "path": path, "st_mtime": _mtime(Path(workflow.directory, path))}
        for at, (name, path) in enumerate(records.files.items(), 1)
    ]
    show("files", kept(documents, filters, _FILE_FIELDS), _FILE_FIELDS)


@click.group("user-data")
def user_data() -> None:
    """Look at the JSON values that jobs hand on, and set them.

    \b
    Example:
      rekindle torc user-data list
    """


@user_data.command("list")
@key_argument
@filter_option
def list_user_data(key: str | None, filters: tuple[str, ...]) -> None:
    """List the user data of a workflow.

    \b
    Example:
      rekindle torc -F json user-data list
    """
    with opened() as session:
        workflow = the_workflow(session, key)
        records = records_of(session, workflow)
    documents = [_document(workflow, at, name, one) for at, (name, one) in enumerate(records.user_data.items(), 1)]
    show("user_data", kept(documents, filters, _DATA_FIELDS), _DATA_FIELDS)


@user_data.command()
@click.argument("datum", metavar="KEY|NAME")
def get(datum: str) -> None:
    """Print one value as JSON; within a job that of its own workflow.

    \b
    Example:
      rekindle torc user-data get cfg
    """
    with opened() as session:
        workflow = the_workflow(session, None)
        records = records_of(session, workflow)
    name, one = find(records, datum)
    if asked().as_json:
        emit(_document(workflow, list(records.user_data).index(name) + 1, name, one))
    else:
        emit(value_of(workflow, one))


@click.command()
@click.argument("datum", metavar="KEY|NAME")
@click.option("-d", "--data", required=True, metavar="JSON", help="The value.")
def modify(datum: str, data: str) -> None:
    """Set one value. Jobs that have read another are stale from now on: `restart` runs them again.

    \b
    Example:
      rekindle torc user-data modify cfg --data '{"k": 2}'
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BadValue(f"--data is not JSON: {error}", hint="""as in --data '{"k": 2}'""") from error
    with opened() as session:
        workflow = the_workflow(session, None)
        records = records_of(session, workflow)
    name, one = find(records, datum)
    write_text(Path(workflow.directory, one.path), json.dumps(value))
    if asked().as_json:
        emit(_document(workflow, list(records.user_data).index(name) + 1, name, one))
    else:
        click.echo(f"{name} is set")


for _name in ("modify", "update"):
    user_data.add_command(modify, _name)


def _document(workflow: Workflow, key: int, name: str, one: Datum) -> dict[str, Any]:
    return {"key": str(key), "name": name, "is_ephemeral": one.ephemeral, "data": value_of(workflow, one)}


def _mtime(path: Path) -> float | None:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116 one look
    except OSError:
        return None
