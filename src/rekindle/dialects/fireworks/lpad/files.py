"""`lpad check_wflow` and `lpad dump_wflow`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rekindle.dialects.fireworks.lpad.printing import tell
from rekindle.dialects.fireworks.lpad.typed import Command
from rekindle.dialects.fireworks.reading import read_document
from rekindle.dialects.fireworks.shown import flow_document
from rekindle.dialects.fireworks.standing import owners
from rekindle.dialects.opening import opened
from rekindle.domain.errors import NotFound, RekindleError

_id_option = click.option("-i", "--fw_id", type=int, required=True, metavar="ID", help="A firework of the workflow.")


@click.command(cls=Command)
@_id_option
def check_wflow(fw_id: int) -> None:
    """Check a workflow: its links, and that it has no circle.

    \b
    Example:
      rekindle lpad check_wflow -i 1
    """
    flow = read_document(_document(fw_id))
    tell(f"{flow.name}: {len(flow.fireworks)} FWs, links are well")


@click.command(cls=Command)
@_id_option
@click.option("-f", "--wf_file", type=click.Path(path_type=Path), required=True, help="Where to; .json or .yaml.")
def dump_wflow(fw_id: int, wf_file: Path) -> None:
    """Write a workflow to a file, as `add` takes it.

    \b
    Example:
      rekindle lpad dump_wflow -i 1 -f saved.yaml
    """
    document = _document(fw_id)
    try:
        wf_file.write_text(_text(document, wf_file.suffix))
    except OSError as error:
        raise RekindleError(f"cannot write to {wf_file}: {error.strerror}") from error
    tell(f"Wrote the workflow to {wf_file}")


def _document(fw_id: int) -> dict[str, Any]:
    with opened() as session:
        found = owners(session, [fw_id])
        if not found:
            raise NotFound(f"there is no firework {fw_id}", hint="`lpad get_fws` lists them")
        return flow_document(session, found[0])


def _text(document: dict[str, Any], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(document, indent=4) + "\n"
    import yaml

    text: str = yaml.safe_dump(document, default_flow_style=False, allow_unicode=True)
    return text
