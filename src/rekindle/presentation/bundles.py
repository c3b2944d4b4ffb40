"""What an export has written and an import has read, as documents and as typed values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rekindle.presentation.values import Value

if TYPE_CHECKING:
    from rekindle.engine.bundles.exporting import ExportReport
    from rekindle.engine.bundles.importing import ImportReport


class ExportedBundle(Value, frozen=True):
    """What a bundle contains.

    Attributes:
        bundle: Its path; None: nothing was written.
        digest: BLAKE3 of its content, which identifies it; None: nothing was written.
        bytes: Its size; 0: nothing was written.
        workflow: The id of the workflow.
        name: The name of the workflow.
        rows: The number of rows, by table.
        attempt_files: The number of logs and other files of attempts, `attempt_bytes` their size.
        attempt_bytes: In bytes.
        project_files: The number of files of the workflow's folder, `project_bytes` their size.
        project_bytes: In bytes.
        left_out: The number of files that were asked for and are not in the bundle.
        first_left_out: The first of them: `path`, `why`.
    """

    bundle: str | None
    digest: str | None
    bytes: int
    workflow: int
    name: str
    rows: dict[str, int]
    attempt_files: int
    attempt_bytes: int
    project_files: int
    project_bytes: int
    left_out: int
    first_left_out: list[dict[str, str]]


class ImportedBundle(Value, frozen=True):
    """What was imported from a bundle.

    Attributes:
        workflow: The id of the workflow, which is archived; None: nothing was imported.
        name: The name of the workflow.
        digest: BLAKE3 of the bundle's content.
        directory: The workflow's folder.
        rows: The number of rows, by table.
        attempt_files: The number of logs and other files of attempts.
        project_files: The number of files of the workflow's folder.
        present: How many of these were there already, with the same content.
    """

    workflow: int | None
    name: str
    digest: str
    directory: str
    rows: dict[str, int]
    attempt_files: int
    project_files: int
    present: int


def export_document(report: ExportReport) -> dict[str, Any]:
    """Return an export as JSON."""
    return {
        "bundle": report.path,
        "digest": report.digest,
        "bytes": report.bytes,
        "workflow": report.workflow,
        "name": report.name,
        "rows": dict(report.rows),
        "attempt_files": report.attempt_files,
        "attempt_bytes": report.attempt_bytes,
        "project_files": report.project_files,
        "project_bytes": report.project_bytes,
        "left_out": report.left_out,
        "first_left_out": [{"path": one.path, "why": one.why} for one in report.first_left_out],
    }


def import_document(report: ImportReport) -> dict[str, Any]:
    """Return an import as JSON."""
    return {
        "workflow": report.workflow,
        "name": report.name,
        "digest": report.digest,
        "directory": report.directory,
        "rows": dict(report.rows),
        "attempt_files": report.attempt_files,
        "project_files": report.project_files,
        "present": report.present,
    }
