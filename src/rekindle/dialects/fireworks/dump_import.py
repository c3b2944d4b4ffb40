"""`rekindle import fireworks`: read a dump of a LaunchPad's collections and store its workflows with their history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec.structs import replace

from rekindle.dialects.command_session import open_store
from rekindle.dialects.fireworks.dump_files import Document, Dump, int_list, read_dump
from rekindle.dialects.fireworks.dump_history import (
    IMPORTED_PARAM,
    DumpedWorkflow,
    NotImportable,
    read_dumped_workflow,
    workflow_identity,
)
from rekindle.dialects.fireworks.fw_states import WORKFLOW_PARAM, fw_state
from rekindle.domain.errors import Refused
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.submit.histories import ImportedWorkflow, import_workflows

if TYPE_CHECKING:
    from rekindle.engine.session import Session


class DumpWorkflowImport(msgspec.Struct, frozen=True):
    """A workflow of the dump, as it was read and as it was stored."""

    dumped: DumpedWorkflow
    brought: ImportedWorkflow

    @property
    def launches(self) -> tuple[int, int]:
        """Return the number of launches, and how many of them are archived."""
        every = [one for job in self.dumped.past.jobs for one in job.attempts]
        return len(every), sum(one.archived for one in every)


class ImportReport(msgspec.Struct):
    """The result of an import."""

    imported: list[DumpWorkflowImport] = msgspec.field(default_factory=list)
    skipped: list[tuple[str, str]] = msgspec.field(default_factory=list)  # (what, why)
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def ids_kept(self) -> bool:
        """Return whether fireworks and launches kept their ids."""
        return all(one.brought.jobs == one.dumped.fireworks for one in self.imported)


def import_dump(session: Session, dump: Dump, source: str, directory: str) -> ImportReport:
    """Store the workflows of a dump that are not in the store yet, in one transaction.

    `source`: where the dump is, for the record. `directory`: where functions and Firetasks are imported from. Raises
    Refused, and stores nothing, if no workflow can be imported."""
    report = ImportReport()
    known = _earlier_imports(session)
    following = count(max((*dump.launches, *_named_launches(dump)), default=0) + 1)
    workflows = []
    for workflow in sorted(dump.workflows, key=lambda one: min(int_list(one.get("nodes")), default=0)):
        before = known.get(workflow_identity(workflow))
        if before is not None:
            report.skipped.append((_describe_workflow(workflow), f"it has been imported already, as workflow {before}"))
            continue
        try:
            workflows.append(read_dumped_workflow(workflow, dump, directory, lambda: next(following)))
        except NotImportable as why:
            report.skipped.append((_describe_workflow(workflow), str(why)))
    if not workflows:
        raise Refused(_nothing_imported(report), hint="`lpad get_wflows` shows what is there")
    brought = import_workflows(session, [one.past for one in workflows], source)
    report.imported = [DumpWorkflowImport(*pair) for pair in zip(workflows, brought, strict=True)]
    report.notes = [note for one in workflows for note in one.notes] + _left_out(dump, workflows)
    return report


def _earlier_imports(session: Session) -> dict[str, int]:
    """Return the workflow id by identity for all workflows that were imported before."""
    found = {}
    for workflow in workflow_queries.workflows(session, archived=True):
        about = workflow_queries.params(session, replace(workflow, revision=1)).get(WORKFLOW_PARAM)
        if isinstance(about, dict) and IMPORTED_PARAM in about:
            found[about[IMPORTED_PARAM]] = workflow.id
    return found


def _named_launches(dump: Dump) -> list[int]:
    """Return the ids of all launches that fireworks name, so that missing ones are not given to others."""
    return [
        one
        for firework in dump.fireworks.values()
        for key in ("launches", "archived_launches")
        for one in int_list(firework.get(key))
    ]


def _describe_workflow(workflow: Document) -> str:
    nodes = sorted(int_list(workflow.get("nodes")))
    shown = f"{nodes[0]}–{nodes[-1]}" if len(nodes) > 1 else "".join(str(one) for one in nodes)  # noqa: RUF001
    return f"workflow {workflow.get('name')!r} (firework{'s' * (len(nodes) > 1)} {shown})"


def _nothing_imported(report: ImportReport) -> str:
    shown = "; ".join(f"{what}: {why}" for what, why in report.skipped[:3])
    more = len(report.skipped) - 3
    return f"nothing is imported: {shown}" + (f"; and {more} more" if more > 0 else "")


def _left_out(dump: Dump, workflows: Sequence[DumpedWorkflow]) -> list[str]:
    """Describe the parts of the dump that are not imported."""
    found = []
    owned = {one for workflow in dump.workflows for one in int_list(workflow.get("nodes"))}
    stray = sorted(set(dump.fireworks) - owned)
    if stray:
        found.append(f"fireworks of no workflow are left out: {', '.join(str(one) for one in stray[:10])}")
    tracked = sum(bool(one.get("trackers")) for one in dump.launches.values())
    if tracked:
        found.append(f"the contents of trackers are left out, of {tracked} launches")
    ours = {one for each in workflows for one in each.fireworks}
    pushed = [one for one in dump.launches.values() if one.get("fw_id") in ours and _changes_others(one)]
    if pushed:
        listed_ids = ", ".join(str(one) for one in sorted({one["fw_id"] for one in pushed})[:10])
        found.append(
            f"the spec changes that fireworks {listed_ids} made in others are part of these specs now, and the "
            "fireworks that they added are ordinary ones: a rerun makes the changes again"
        )
    if dump.others:
        found.append(f"{dump.others} documents of other collections are left out")
    return found


def _changes_others(launch: Document) -> bool:
    action = launch.get("action")
    keys = ("update_spec", "mod_spec", "additions", "detours", "append_wfs")
    return isinstance(action, dict) and any(action.get(key) for key in keys)


@click.command("fireworks")
@click.argument("dump", nargs=-1, required=True, metavar="DUMP", type=click.Path(path_type=Path))
@click.option(
    "-d",
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Where the functions of tasks are imported from. [default: the working directory]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def import_fireworks(dump: tuple[Path, ...], directory: Path, as_json: bool) -> None:
    """Import a LaunchPad's workflows with their whole history.

    DUMP is a folder or files of the collections fireworks, launches and workflows, for instance from `mongoexport
    --db lab --collection launches --out dump/launches.json`: JSON, one document a line (or in a list). Archived
    launches become archived attempts. Ids are kept unless the store has used one of them. A workflow that was
    imported before is not imported again.

    \b
    Example:
      rekindle import fireworks dump
      rekindle lpad get_wflows
    """
    documents = read_dump(dump)
    source = ", ".join(str(path.absolute()) for path in dump)
    with open_store(create=True) as session:
        report = import_dump(session, documents, source, str(directory.resolve()))
        if as_json:
            click.echo(json.dumps(_report_document(session, report), indent=2))
            return
    _print_report(report)


def _print_report(report: ImportReport) -> None:
    every = [one.launches for one in report.imported]
    total, archived = sum(one for one, _ in every), sum(old for _, old in every)
    fireworks = sum(len(one.brought.jobs) for one in report.imported)
    click.echo(
        f"{len(report.imported):,} workflows, {fireworks:,} fireworks, {total:,} launches ({archived:,} archived)"
    )
    if report.ids_kept:
        click.echo("fireworks and launches keep their ids")
    else:
        click.echo("the store has given out ids of these before: fireworks and launches have new ones")
        for one in report.imported:
            pairs = ", ".join(
                f"{old} is {new}" for old, new in zip(one.dumped.fireworks, one.brought.jobs, strict=True)
            )
            click.echo(f"  {one.dumped.name}: {pairs}")
    for what, why in report.skipped:
        click.echo(f"not taken: {what}: {why}", err=True)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)


def _report_document(session: Session, report: ImportReport) -> dict[str, object]:
    return {
        "workflows": [_workflow_document(session, one) for one in report.imported],
        "ids_kept": report.ids_kept,
        "not_taken": [{"what": what, "why": why} for what, why in report.skipped],
        "notes": report.notes,
    }


def _workflow_document(session: Session, one: DumpWorkflowImport) -> dict[str, object]:
    rows = {row.job.id: row.job for row in job_queries.jobs(session, one.brought.jobs)}
    archived = one.dumped.past.archived is not None
    return {
        "id": one.brought.workflow,
        "name": one.dumped.name,
        "fireworks": [
            {
                "fw_id": new,
                "was": old,
                "state": fw_state(rows[new].state, rows[new].held, archived=archived),
                "launches": list(launches),
            }
            for old, new, launches in zip(one.dumped.fireworks, one.brought.jobs, one.brought.attempts, strict=True)
        ],
    }
