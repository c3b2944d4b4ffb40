"""`rekindle lpad add`: workflow files into the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from rekindle.dialects.fireworks.adding import add_flow
from rekindle.dialects.fireworks.duplicates import check_finders
from rekindle.dialects.fireworks.flows import Flow
from rekindle.dialects.fireworks.lpad.printing import note, tell
from rekindle.dialects.fireworks.reading import read_file
from rekindle.dialects.opening import opened
from rekindle.domain.errors import NotFound

SUFFIXES = (".yaml", ".yml", ".json")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-d", "--dir", "folders", is_flag=True, help="What is named are folders: add every file in them.")
@click.option("-c", "--check", is_flag=True, help="Taken: links and circles are checked in any case.")
def add(files: Sequence[Path], folders: bool, check: bool) -> None:  # noqa: ARG001 (nothing is added unchecked)
    """Add workflows from files, YAML or JSON: each a workflow of its own. A folder means the .yaml, .yml and .json
    files in it. Where one file is wrong, none is added.

    \b
    Example:
      rekindle lpad add workflow.yaml
      rekindle lpad add -d workflows
    """
    flows = [(path, read_flow(path)) for path in _every(files, folders)]
    with opened(create=True) as session:
        for path, flow in flows:
            told = add_flow(session, flow, str(path.parent.resolve()))
            tell(f"Added a workflow. id_map: {told}")


def read_flow(path: Path) -> Flow:
    """A workflow, all of it checked; what of it has no effect here is noted."""
    flow = read_file(path)
    check_finders(flow, str(path))
    for one in flow.fireworks:
        if one.spec.get("_background_tasks"):
            note(f"{path}: firework {one.id} ({one.name}) has `_background_tasks`, which are not run")
    return flow


def _every(files: Sequence[Path], folders: bool) -> Iterator[Path]:
    for path in files:
        if not path.exists():
            raise NotFound(f"there is no {path}", hint="a workflow file, or a folder of them")
        if folders and not path.is_dir():
            raise NotFound(f"{path} is no folder", hint="without -d it is taken as a file")
        if not path.is_dir():
            yield path
            continue
        found = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
        if not found:
            raise NotFound(f"no workflow file is in {path}", hint=f"they end in {', '.join(SUFFIXES)}")
        yield from found
