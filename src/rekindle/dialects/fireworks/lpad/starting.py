"""`lpad init`, `add_scripts`, `append_wflow` and `version`."""

from __future__ import annotations

from pathlib import Path

import click

from rekindle.dialects.fireworks.adding import add_flow
from rekindle.dialects.fireworks.appending import append_flow
from rekindle.dialects.fireworks.lpad.adding import read_flow
from rekindle.dialects.fireworks.lpad.printing import tell
from rekindle.dialects.fireworks.lpad.typed import Command, Several
from rekindle.dialects.fireworks.reading import read_document
from rekindle.dialects.opening import opened
from rekindle.domain.errors import UsageError
from rekindle.query.words import parse_ids


@click.command(cls=Command)
@click.option("-u", "--uri_mode", is_flag=True, help="Taken, and has no effect.")
@click.option("--config-file", metavar="FILE", help="Taken, and has no effect: nothing needs a file.")
def init(**_: object) -> None:
    """Make a store in this folder, or open the one that there is.

    \b
    Example:
      rekindle lpad init
    """
    with opened(create=True) as session:
        click.echo(f"the store is {session.store.folder}: nothing has to be set up")


@click.command("add_scripts", cls=Command)
@click.argument("scripts", nargs=-1, required=True)
@click.option("-n", "--names", cls=Several, metavar="NAMES", help="The names of the fireworks.")
@click.option("-w", "--wf_name", metavar="NAME", help="The name of the workflow.")
@click.option("-d", "--delimiter", metavar="TEXT", help="Taken, and has no effect: each script is a word.")
def add_scripts(scripts: tuple[str, ...], names: tuple[str, ...], wf_name: str | None, delimiter: str | None) -> None:  # noqa: ARG001 (kept)
    """Add scripts to be run in sequence, as one workflow.

    \b
    Example:
      rekindle lpad add_scripts 'echo one' 'echo two' -n first second -w both
    """
    if names and len(names) != len(scripts):
        raise UsageError(f"{len(names)} names for {len(scripts)} scripts", hint="give each its own, or none")
    fireworks = [
        {
            "fw_id": at,
            "name": names[at] if names else None,
            "spec": {"_tasks": [{"_fw_name": "ScriptTask", "script": script, "use_shell": True}]},
        }
        for at, script in enumerate(scripts)
    ]
    links = {str(at): [at + 1] for at in range(len(scripts) - 1)}
    document = {"fws": fireworks, "links": links, "name": wf_name or (names[0] if names else None)}
    with opened(create=True) as session:
        added = add_flow(session, read_document(document), str(Path.cwd()))
    tell(f"Added a workflow. id_map: {added}")


@click.command(cls=Command)
@click.option(
    *("-i", "--fw_id", "ids"), cls=Several, ids=True, required=True, metavar="IDS", help="The fireworks that it needs."
)
@click.option("-f", "--wf_file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The workflow.")
@click.option("-d", "--detour", is_flag=True, help="What needs these fireworks needs it too.")
@click.option("--no_pull_spec_mods", is_flag=True, help="Without what these fireworks have changed.")
def append_wflow(ids: tuple[str, ...], wf_file: Path, detour: bool, no_pull_spec_mods: bool) -> None:
    """Append a workflow to one that is stored, behind some of its fireworks.

    \b
    Example:
      rekindle lpad append_wflow -i 1 -f more.yaml
      rekindle lpad append_wflow -i 1,2 -f between.yaml --detour
    """
    flow = read_flow(wf_file)
    with opened() as session:
        added = append_flow(session, parse_ids(ids), flow, detour=detour, pull=not no_pull_spec_mods)
    tell(f"Appended a workflow. id_map: {added}")


@click.command(cls=Command)
def version() -> None:
    """Print the version.

    \b
    Example:
      rekindle lpad version
    """
    from rekindle import __version__

    click.echo(f"lpad of rekindle {__version__}")
