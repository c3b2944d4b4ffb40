"""Commands that add: `init`, `add`, `add_scripts` and `append_wflow`; and `version`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.dialects.command_session import open_store
from rekindle.dialects.fireworks.duplicates import check_dupefinders
from rekindle.dialects.fireworks.flow_file import read_flow, read_flow_file
from rekindle.dialects.fireworks.lpad.messages import print_message
from rekindle.dialects.fireworks.lpad.options import LpadCommand, MultiValueOption
from rekindle.dialects.fireworks.workflow_operations import add_flow, append_flow
from rekindle.domain.errors import NotFound, UsageError
from rekindle.query.job_keys import parse_ids

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.flow import Flow

FLOW_SUFFIXES = (".yaml", ".yml", ".json")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-d", "--dir", "folders", is_flag=True, help="The arguments are folders: add every file in them.")
@click.option("-c", "--check", is_flag=True, help="Accepted: links and cycles are always checked.")
def add(files: Sequence[Path], folders: bool, check: bool) -> None:  # noqa: ARG001 (files are always checked)
    """Add workflows from YAML or JSON files. A folder stands for its .yaml, .yml and .json files. If one file is
    invalid, none is added.

    \b
    Example:
      rekindle lpad add workflow.yaml
      rekindle lpad add -d workflows
    """
    flows = [(path, read_checked_flow(path)) for path in _flow_files(files, folders)]
    with open_store(create=True) as session:
        for path, flow in flows:
            ids = add_flow(session, flow, str(path.parent.resolve()))
            print_message(f"Added a workflow. id_map: {ids}")


def read_checked_flow(path: Path) -> Flow:
    """Read and check a workflow file."""
    if not path.exists():
        raise NotFound(f"No such file or directory: '{path}'", hint="a workflow file: .yaml, .yml or .json")
    flow = read_flow_file(path)
    check_dupefinders(flow, str(path), str(path.parent.resolve()))
    return flow


def _flow_files(files: Sequence[Path], folders: bool) -> Iterator[Path]:
    for path in files:
        if not path.exists():
            raise NotFound(f"No such file or directory: '{path}'", hint="a workflow file, or a folder of them")
        if folders and not path.is_dir():
            raise NotFound(f"{path} is no folder", hint="without -d it is taken as a file")
        if not path.is_dir():
            yield path
            continue
        found = sorted(one for one in path.iterdir() if one.suffix.lower() in FLOW_SUFFIXES and one.is_file())
        if not found:
            raise NotFound(f"no workflow file is in {path}", hint=f"they end in {', '.join(FLOW_SUFFIXES)}")
        yield from found


@click.command(cls=LpadCommand)
@click.option("-u", "--uri_mode", is_flag=True, help="Accepted and ignored.")
@click.option("--config-file", metavar="FILE", help="Accepted and ignored.")
def init(**_: object) -> None:
    """Make a store in this folder, or open the present one.

    \b
    Example:
      rekindle lpad init
    """
    with open_store(create=True) as session:
        click.echo(f"the store is {session.store.folder}: nothing has to be set up")


@click.command("add_scripts", cls=LpadCommand)
@click.argument("scripts", nargs=-1, required=True)
@click.option("-n", "--names", cls=MultiValueOption, metavar="NAMES", help="The names of the fireworks.")
@click.option("-w", "--wf_name", metavar="NAME", help="The name of the workflow.")
@click.option("-d", "--delimiter", metavar="TEXT", help="Accepted and ignored: each script is a word.")
def add_scripts(scripts: tuple[str, ...], names: tuple[str, ...], wf_name: str | None, delimiter: str | None) -> None:  # noqa: ARG001 (accepted and ignored)
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
    with open_store(create=True) as session:
        added = add_flow(session, read_flow(document), str(Path.cwd()))
    print_message(f"Added a workflow. id_map: {added}")


@click.command(cls=LpadCommand)
@click.option(
    *("-i", "--fw_id", "ids"),
    cls=MultiValueOption,
    ids=True,
    required=True,
    metavar="IDS",
    help="The parents.",
)
@click.option("-f", "--wf_file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The workflow.")
@click.option("-d", "--detour", is_flag=True, help="The present children of the parents also need the new fireworks.")
@click.option("--no_pull_spec_mods", is_flag=True, help="Do not apply the parents' spec changes.")
def append_wflow(ids: tuple[str, ...], wf_file: Path, detour: bool, no_pull_spec_mods: bool) -> None:
    """Append a workflow to a stored one, as children of some of its fireworks.

    \b
    Example:
      rekindle lpad append_wflow -i 1 -f more.yaml
      rekindle lpad append_wflow -i 1,2 -f between.yaml --detour
    """
    flow = read_checked_flow(wf_file)
    with open_store() as session:
        added = append_flow(session, parse_ids(ids), flow, detour=detour, pull=not no_pull_spec_mods)
    print_message(f"Appended a workflow. id_map: {added}")


@click.command(cls=LpadCommand)
def version() -> None:
    """Print the version.

    \b
    Example:
      rekindle lpad version
    """
    from rekindle import __version__

    click.echo(f"lpad of rekindle {__version__}")
