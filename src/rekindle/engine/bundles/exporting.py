"""Export a workflow as a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import Refused
from rekindle.engine.bundles.bundled_files import AttemptFiles, LeftOutFile, LeftOutFiles, ProjectFiles
from rekindle.engine.bundles.crate import CrateBuilder
from rekindle.engine.bundles.manifest import (
    ATTEMPTS,
    CRATE,
    FORMAT,
    PROJECT,
    VERSION,
    Manifest,
    rows_member,
)
from rekindle.engine.queries.selections import find_workflow_in
from rekindle.files.bundle_files import MANIFEST, PIECE, BundleFileWriter, read_file
from rekindle.journal.encoding import to_json
from rekindle.store.bundles import PackedTable, WorkflowRows
from rekindle.store.schema import newest_version

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session

ShowProgress = Callable[[str], None]
"""Called with what is written or read next."""

_REPORTED = 10_000


class ExportOptions(msgspec.Struct, frozen=True):
    """What a bundle contains beside the rows."""

    logs: bool = True
    inputs: bool = False
    outputs: bool = False


class ExportReport(msgspec.Struct, frozen=True):
    """What is in a bundle. `path` and `digest` are None, and `bytes` is 0, if nothing was written."""

    workflow: int
    name: str
    path: str | None
    digest: str | None
    bytes: int
    rows: Mapping[str, int]
    attempt_files: int
    attempt_bytes: int
    project_files: int
    project_bytes: int
    left_out: int
    first_left_out: tuple[LeftOutFile, ...]


def export_workflow(
    session: Session,
    workflow: str,
    path: Path | None,
    options: ExportOptions,
    progress: ShowProgress = lambda _: None,
) -> ExportReport:
    """Write a workflow, given by id or name, as one file; without a path, measure only. The rows are those of one
    moment. Raise NotFound, or Refused if the file cannot be written."""
    try:
        writer = BundleFileWriter(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        return _Export(session, writer, options, progress).run(workflow, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        writer.discard()


def _unwritable(path: Path | None, error: OSError) -> Refused:
    what = error.filename if error.filename and Path(str(error.filename)) != path else path
    return Refused(f"the bundle cannot be written: {what}: {error.strerror}", hint="choose another place with -o FILE")


class _Export:
    def __init__(
        self, session: Session, writer: BundleFileWriter, options: ExportOptions, progress: ShowProgress
    ) -> None:
        self._session, self._writer, self._options, self._progress = session, writer, options, progress
        self._left_out, self._crate = LeftOutFiles(), CrateBuilder()
        self._live = bytearray()  # by attempt number - 1: 1 if it is live
        self._rows: dict[str, int] = {}

    def run(self, name: str, path: Path | None) -> ExportReport:
        with self._session.store.read() as archive:
            workflow = find_workflow_in(archive, name)
            rows = WorkflowRows(archive.database, workflow.id, workflow.directory)
            project = self._project_files(workflow)
            for table in rows.tables():
                self._writer.add(rows_member(table.name), self._lines(table, project))
        attempts = AttemptFiles(self._session.store.folder, rows.attempts, self._options.outputs, self._left_out)
        if self._options.logs or self._options.outputs:
            self._progress("logs")
            self._writer.add(ATTEMPTS, attempts.pieces())
        files, size = self._add_project(project, workflow.directory)
        text = self._crate.text(workflow.name, rows.newest, rows.attempts.count, tuple(self._writer.members))
        self._writer.add(CRATE, [text])
        self._writer.add(MANIFEST, [self._manifest(workflow, rows.newest, attempts.count)])
        written = self._writer.close()
        return ExportReport(
            workflow.id,
            workflow.name,
            None if path is None else str(path),
            self._writer.digest or None,
            written,
            self._rows,
            attempts.count,
            attempts.size,
            files,
            size,
            self._left_out.count,
            tuple(self._left_out.first),
        )

    def _project_files(self, workflow: Workflow) -> ProjectFiles:
        return ProjectFiles(
            workflow.directory,
            self._session.store.folder,
            inputs=self._options.inputs,
            outputs=self._options.outputs,
            left_out=self._left_out,
        )

    def _lines(self, table: PackedTable, project: ProjectFiles) -> Iterator[bytes]:
        """Yield the columns and the rows of a table as lines, many at a time."""
        lines, count = bytearray(to_json(table.columns) + b"\n"), 0
        see = self._seer(table, project)
        for row in table.rows:
            count += 1
            if see is not None:
                see(row)
            lines += to_json(row) + b"\n"
            if len(lines) >= PIECE:
                yield bytes(lines)
                lines.clear()
            if count % _REPORTED == 0:
                self._progress(f"{table.name}: {count} rows")
        self._rows[table.name] = count
        yield bytes(lines)

    def _seer(self, table: PackedTable, project: ProjectFiles) -> Callable[[list[Any]], None] | None:
        """Return what looks at the rows of a table for the metadata and the files; None: nothing does."""
        name, columns = table.name, table.columns
        if name == "workflow":
            at = columns.index("source")
            return lambda row: project.add_source(row[at])
        if name not in ("job", "attempt", "fingerprint"):
            return None
        wanted = self._options.inputs or self._options.outputs
        if name == "attempt":
            archived = columns.index("archived_by")

            def see_attempt(row: list[Any]) -> None:
                self._live.append(row[archived] is None)
                self._crate.see(name, columns, row)

            return see_attempt
        if name == "job" or not wanted:
            return lambda row: self._crate.see(name, columns, row)
        attempt, part, document = (columns.index(one) for one in ("attempt", "part", "document"))

        def see_fingerprint(row: list[Any]) -> None:
            self._crate.see(name, columns, row)
            if row[part] == "files" and self._live[row[attempt] - 1]:
                project.add_fingerprints(row[document])

        return see_fingerprint

    def _add_project(self, project: ProjectFiles, directory: str) -> tuple[int, int]:
        """Add the files of the project, and return their number and bytes."""
        count = size = 0
        for path in project.paths():
            whole = Path(directory, path)
            try:
                found = whole.stat()
                whole.open("rb").close()
            except OSError as error:
                self._left_out.add(path, error.strerror or "it cannot be read")
                continue
            executable = bool(found.st_mode & 0o100)
            pieces: Iterable[bytes] = read_file(str(whole))
            member = self._writer.add(PROJECT + path, pieces, mtime_ns=found.st_mtime_ns, executable=executable)
            count, size = count + 1, size + member.size
            self._progress(f"files: {count}")
        return count, size

    def _manifest(self, workflow: Workflow, newest: float, attempt_files: int) -> bytes:
        manifest = Manifest(
            FORMAT,
            VERSION,
            newest_version(),
            workflow.name,
            newest,
            self._options.logs,
            self._options.inputs,
            self._options.outputs,
            self._rows,
            attempt_files,
            tuple(self._writer.members),
        )
        return msgspec.json.format(to_json(manifest), indent=1)
