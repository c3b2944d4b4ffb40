"""`rekindle init`: make a store, and write a spec to begin with."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from rekindle.cli.command_table import CONVERTERS, SPEC_FILE
from rekindle.cli.options import json_option
from rekindle.cli.output import json_output
from rekindle.domain.errors import NotFound, Refused, UsageError
from rekindle.engine.session import STORE_FOLDER, STORE_VARIABLE, open_session
from rekindle.presentation import words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekindle.spec.conversion import Conversion, Omission, WrittenSpec


@click.command()
@click.option(
    "--shared", is_flag=True, help="Let the folder's group read and write the store, as REKINDLE_SHARED=group."
)
@click.option(
    "--from",
    "source",
    type=(click.Choice(list(CONVERTERS)), click.Path()),
    metavar="KIND FILE",
    help=f"Convert the file of another tool to a spec. KIND: {', '.join(CONVERTERS)}.",
)
@click.option("--only-failed", is_flag=True, help="With --from joblog: leave out the jobs that completed.")
@click.option("--target", metavar="NAME", help="With --from make or snakemake: convert what this target needs.")
@click.option("-o", "--output", metavar="FILE", help=f"Write the spec to this file. [default: {SPEC_FILE}]")
@json_option
def init(
    shared: bool,
    source: tuple[str, str] | None,
    only_failed: bool,
    target: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Make a store here, private or shared with a group, and a spec to begin with.

    The spec is `workflow.yaml`, with comments: it runs at once. A folder that has a spec gets none. With --from, it is
    converted from FILE, which is read and not run; what cannot be converted is listed with its line and the reason.
    No file is overwritten. The schema by which editors complete and check specs is written into the store's folder.

    The store is `.rekindle` in the working directory, or the folder in --store or $REKINDLE_STORE; with --store, the
    starter is not written. Only its user can read a private store (the default): folders are 0700, files 0600. In a
    shared store folders are 2770 and files 0660 for every user and umask. The group is that of the store's folder:
    `chgrp -R GROUP .rekindle` changes it. Files that jobs write keep the user's umask. An existing store is kept; with
    --shared it becomes shared.

    Exit code: 0, or 1 if nothing could be converted.

    \b
    Example:
      rekindle init
      rekindle init --shared
      rekindle init --from snakemake Snakefile
      rekindle init --from joblog runs.log --only-failed -o again.yaml
    """
    from rekindle.spec.starting import specs_in

    _check_options(source, only_failed, target)
    spec = Path(output or SPEC_FILE)
    only_store = source is None and click.get_current_context().find_root().params.get("store") is not None
    found = [] if source or only_store or output else [path.name for path in specs_in(Path.cwd())]
    write = not only_store and not found
    if write and (spec.exists() or spec.is_symlink()):
        raise Refused(f"{spec} is there, and is not overwritten", hint="-o FILE names another file")
    converted = _convert(source, only_failed, target) if source else None
    folder, document, text = _make_store(shared)
    schema = _write_schema(folder)
    written = _write(spec, converted, schema) if write else None
    if as_json:
        facts = {"spec": str(spec) if write else None, "specs": found, "schema": schema}
        json_output.emit({**document, **facts, **(_written_document(written) if written else {})})
        return
    click.echo(text)
    if converted is not None and written is not None:
        _show_written(spec, converted, written)
    elif write:
        _show_starter(spec)
    elif found:
        _show_found(found, schema)


def _check_options(source: tuple[str, str] | None, only_failed: bool, target: str | None) -> None:
    """Raise UsageError for an option that is not for the kind of --from."""
    kind = source[0] if source else ""
    if only_failed and kind != "joblog":
        raise UsageError("--only-failed needs --from joblog", hint="leave --only-failed out")
    if target is not None and kind not in ("make", "snakemake"):
        raise UsageError("--target needs --from make or --from snakemake", hint="leave --target out")


def _convert(source: tuple[str, str], only_failed: bool, target: str | None) -> Conversion:
    """Read the file of another tool."""
    module, _, name = CONVERTERS[source[0]].target.partition(":")
    convert = getattr(importlib.import_module(module), name)
    options = {"only_failed": only_failed, "target": target}
    found: Conversion = convert(Path(source[1]), **{key: value for key, value in options.items() if value})
    if not found.jobs:
        _refuse(found.source, found.omissions)
    return found


def _refuse(source: str, omissions: Sequence[Omission]) -> NoReturn:
    """List what was not converted on stderr, and raise Refused."""
    for one in omissions:
        click.echo(f"  {words.one_line(one.render(source))}", err=True)
    raise Refused(f"nothing in {source} could be converted", hint="`rekindle init` writes a spec to begin with")


def _write(spec: Path, converted: Conversion | None, schema: str | None) -> WrittenSpec | None:
    """Write the spec: the starter, or a converted one. Raise Refused if nothing could be converted."""
    from rekindle.spec.conversion import write_spec
    from rekindle.spec.starting import starter_text, workflow_name

    if schema is not None:
        schema = os.path.relpath(schema, spec.parent)  # editors resolve it from the spec's folder
    if converted is None:
        spec.write_text(starter_text(workflow_name(Path.cwd()), schema, str(spec)), encoding="utf-8")
        return None
    written = write_spec(converted, spec.absolute().parent, schema)
    if not written.jobs:
        _refuse(converted.source, written.omissions)
    spec.write_text(written.text, encoding="utf-8")
    return written


def _written_document(written: WrittenSpec) -> dict[str, object]:
    return {"jobs": written.jobs, "omissions": [one._asdict() for one in written.omissions]}


def _show_starter(spec: Path) -> None:
    click.echo(f"wrote {spec}, a workflow of 5 jobs to try and to change")
    _show_next(
        [
            (f"rekindle run {spec}", "run it"),
            (f"rekindle run {spec} --param limit=40", "run it so that one job fails"),
            ("rekindle failures", "see what failed, and why"),
            ("rekindle rerun -s failed --set limit=100 --work", "rerun what failed"),
        ]
    )


def _show_written(spec: Path, converted: Conversion, written: WrittenSpec) -> None:
    click.echo(f"wrote {spec}: {words.plural(written.jobs, 'job')} from {converted.source}")
    if written.omissions:
        click.echo("\nnot converted:")
        for one in written.omissions:
            click.echo(f"  {words.one_line(one.render(converted.source))}")
    _show_next([(f"rekindle spec check {spec}", "check it"), (f"rekindle run {spec}", "run it")])


def _show_found(found: Sequence[str], schema: str | None) -> None:
    """Print which specs are in the folder, and the line by which editors find the schema."""
    from rekindle.spec.starting import schema_line

    named = ", ".join(found[:3]) + (" …" if len(found) > 3 else "")
    click.echo(f"no spec is written: the folder has {named}")
    line = schema_line(schema).strip()
    if line and found[0].endswith((".yaml", ".yml")) and line not in Path(found[0]).read_text(errors="replace"):
        click.echo(f"its first line for editors: {line}")
    _show_next([(f"rekindle spec check {found[0]}", "check it"), (f"rekindle run {found[0]}", "run it")])


def _show_next(commands: Sequence[tuple[str, str]]) -> None:
    width = max(len(command) for command, _ in commands)
    click.echo("\nnext:")
    for command, about in commands:
        line = f"  {command:{width}}  {about}"
        click.echo(line if len(line) <= terminal_columns() else f"  {command}\n      {about}")


def _write_schema(folder: Path) -> str | None:
    """Write the schema into a store's folder. Return its path from here; None if the store is elsewhere."""
    from rekindle.files.store_files import write_file
    from rekindle.spec.starting import SCHEMA_FILE, schema_text

    path, text = folder / SCHEMA_FILE, schema_text()
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_file(path, text)
    here = Path.cwd()
    return str((folder / SCHEMA_FILE).relative_to(here)) if folder.is_relative_to(here) else None


def _make_store(shared: bool) -> tuple[Path, dict[str, object], str]:
    """Make the store, or open it, and share it if asked to. Return its folder, and what to print."""
    from rekindle.files.store_files import is_shared, set_modes

    url = click.get_current_context().find_root().params.get("store") or os.environ.get(STORE_VARIABLE)
    location = url or str(Path.cwd() / STORE_FOLDER)
    try:
        open_session(location, create=False).close()
        made = False
    except NotFound:
        made = True
    with open_session(location, shared=shared) as session:
        folder, name = Path(session.store.folder), session.store.name
    if shared and not is_shared(folder):
        set_modes(folder, shared=True)
        if Path(name).is_dir():  # the rows are in another folder
            set_modes(Path(name), shared=True)
        if not is_shared(folder):
            raise Refused(
                f"the store {folder} cannot be shared: its permissions cannot be changed",
                hint=f"its owner can: rekindle --store {folder} init --shared",
            )
    is_group = is_shared(folder)
    access = f"shared with the group {_group_of(folder)}" if is_group else "private to its user"
    text = f"{'made a store' if made else 'there is a store'}: {name}, {access}"
    return folder, {"store": name, "made": made, "shared": is_group}, text


def _group_of(folder: Path) -> str:
    """Return the name of a folder's group, or its number where the group has no name here."""
    try:
        return folder.group()
    except KeyError:
        return str(folder.stat().st_gid)
