"""`rekindle import fireworks`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rekindle.dialects.fireworks.dumps.documents import read_dump
from rekindle.dialects.fireworks.dumps.importing import Imported, Report, import_dump
from rekindle.dialects.fireworks.words import fw_state
from rekindle.dialects.opening import opened
from rekindle.engine.looking import look
from rekindle.engine.session import Session


@click.command("fireworks")
@click.argument("dump", nargs=-1, required=True, metavar="DUMP", type=click.Path(path_type=Path))
@click.option(
    "-d",
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Where the functions that tasks name are looked for. [default: the working directory]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def import_fireworks(dump: tuple[Path, ...], directory: Path, as_json: bool) -> None:
    """Bring in a LaunchPad's workflows with their whole history.

    DUMP is a folder, or files, of the collections fireworks, launches and workflows, as for instance
    `mongoexport --db lab --collection launches --out dump/launches.json` writes them: JSON, one document a line (or
    in a list). Archived launches become archived attempts. Ids are kept while the store has given none of them out.
    What has been imported before is not imported again.

    \b
    Example:
      rekindle import fireworks dump
      rekindle lpad get_wflows
    """
    documents = read_dump(dump)
    source = ", ".join(str(path.absolute()) for path in dump)
    with opened(create=True) as session:
        report = import_dump(session, documents, source, str(directory.resolve()))
        if as_json:
            click.echo(json.dumps(_document(session, report), indent=2))
            return
    _tell(report)


def _tell(report: Report) -> None:
    every = [one.launches for one in report.imported]
    total, archived = sum(one for one, _ in every), sum(gone for _, gone in every)
    fireworks = sum(len(one.brought.jobs) for one in report.imported)
    click.echo(
        f"{len(report.imported):,} workflows, {fireworks:,} fireworks, {total:,} launches ({archived:,} archived)"
    )
    if report.ids_kept:
        click.echo("fireworks and launches keep their ids")
    else:
        click.echo("the store has given out ids of these before: fireworks and launches have new ones")
        for one in report.imported:
            pairs = ", ".join(f"{old} is {new}" for old, new in zip(one.taken.fireworks, one.brought.jobs, strict=True))
            click.echo(f"  {one.taken.name}: {pairs}")
    for what, why in report.untaken:
        click.echo(f"not taken: {what}: {why}", err=True)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)


def _document(session: Session, report: Report) -> dict[str, object]:
    return {
        "workflows": [_workflow(session, one) for one in report.imported],
        "ids_kept": report.ids_kept,
        "not_taken": [{"what": what, "why": why} for what, why in report.untaken],
        "notes": report.notes,
    }


def _workflow(session: Session, one: Imported) -> dict[str, object]:
    rows = {row.job.id: row.job for row in look.jobs(session, one.brought.jobs)}
    archived = one.taken.past.archived is not None
    return {
        "id": one.brought.workflow,
        "name": one.taken.name,
        "fireworks": [
            {
                "fw_id": new,
                "was": old,
                "state": fw_state(rows[new].state, rows[new].held, archived=archived),
                "launches": list(launches),
            }
            for old, new, launches in zip(one.taken.fireworks, one.brought.jobs, one.brought.attempts, strict=True)
        ],
    }
