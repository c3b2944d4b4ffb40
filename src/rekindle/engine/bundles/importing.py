"""Import a bundle: its workflow, archived, with new ids."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from rekindle.domain.definition import check_workflow_name
from rekindle.domain.errors import NotFound, Refused, StoreDamaged
from rekindle.engine.bundles.bundled_files import unpack_tar
from rekindle.engine.bundles.manifest import ATTEMPTS, FORMAT, PROJECT, VERSION, Manifest, rows_member
from rekindle.engine.retention.unfinished_imports import remove_unfinished_imports
from rekindle.files.bundle_files import BundleFile, DamagedBundle, Member, digest_of_file, is_safe, lines_of
from rekindle.files.store_files import make_folder, open_regular_file, open_store_file
from rekindle.journal.encoding import from_json
from rekindle.journal.import_drafts import DraftFile, ImportDraft, new_token, recorded
from rekindle.journal.paths import attempt_folder
from rekindle.journal.trees import move_to_free_name, open_parent
from rekindle.store.bundle_columns import COLUMNS
from rekindle.store.bundles import EVENT, BundleWriter, NewWorkflow, reserve_attempts
from rekindle.store.schema import newest_version

if TYPE_CHECKING:
    from rekindle.engine.bundles.exporting import ShowProgress
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

_OWN = re.compile(r"([1-9]\d*)((?:\.[^/]*)?(?:/.*)?)", re.DOTALL)
_UNUSABLE = re.compile(r"[/\0-\x1f\x7f]+")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ImportReport(msgspec.Struct, frozen=True):
    """What was imported. `workflow` is None if nothing was."""

    workflow: int | None
    name: str
    digest: str
    directory: str
    rows: Mapping[str, int]
    attempt_files: int
    project_files: int
    present: int  # files of the project that were there already, with the same content


class Bundle:
    """An open bundle whose bytes have been compared with their digest. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raise NotFound if there is no such file; Refused if it is damaged or of a newer version."""
        self.path = path
        try:
            self.file = BundleFile(path)
        except FileNotFoundError as error:
            raise NotFound(f"no such file: {path}") from error
        except OSError as error:
            raise Refused(
                f"{path} cannot be read: {error.strerror}", hint="name a file that `rekindle export` wrote"
            ) from error
        except DamagedBundle as error:
            raise _damaged(path, error) from error
        try:
            self.manifest = _read_manifest(self.file, path)
        except (DamagedBundle, Refused) as error:
            self.file.close()
            if isinstance(error, Refused):
                raise
            raise _damaged(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def import_bundle(
    session: Session,
    bundle: Bundle,
    *,
    name: str | None = None,
    into: Path | None = None,
    dry_run: bool = False,
    progress: ShowProgress = lambda _: None,
) -> ImportReport:
    """Import a bundle into the store: rows in one transaction, after the files. The workflow is archived: no runner
    claims its jobs.

    Args:
        name: The workflow's name in this store; None: as in the bundle.
        into: The workflow's folder, in which files are unpacked; None: a folder beside the store with its name.
        dry_run: Verify the bundle and what it would change, and change nothing.

    Raises:
        BadValue: No workflow can have the name.
        Refused: The bundle is damaged, or its name or files are taken. Nothing is imported.
    """
    if not dry_run:
        remove_unfinished_imports(session)
    try:
        return _Import(session, bundle, name, into, progress).run(dry_run=dry_run)
    except (DamagedBundle, tarfile.TarError) as error:
        raise _damaged(bundle.path, error) from error


def _damaged(path: Path, error: Exception) -> Refused:
    return Refused(
        f"{path} is damaged, or no bundle: {error}; nothing was imported",
        hint="copy it again, or export it again: rekindle export WORKFLOW -o FILE",
    )


class _Import:
    def __init__(
        self, session: Session, bundle: Bundle, name: str | None, into: Path | None, progress: ShowProgress
    ) -> None:
        self._session, self._bundle, self._progress = session, bundle.file, progress
        self._manifest = bundle.manifest
        self._renamed = None if name is None else check_workflow_name(name)
        self._name = self._renamed or self._manifest.workflow
        beside = Path(session.store.folder).parent / folder_name(self._name)
        self._directory = os.path.abspath(into or beside)  # noqa: PTH100  resolve() would follow links
        self._files = [one for one in self._manifest.members if one.name.startswith(PROJECT)]

    def run(self, *, dry_run: bool) -> ImportReport:
        with self._session.store.read() as archive:
            self._refuse_known(archive)
        new = self._new_files()
        if dry_run:
            for one in self._manifest.members:
                for _ in self._bundle.read(one.name):
                    pass
            return self._report(None, new)
        attempts = self._manifest.rows.get("attempt", 0)
        with self._session.store.write() as archive:
            first = reserve_attempts(archive.database, attempts)
        draft = self._draft(first, attempts, new)
        with recorded(self._session.store.folder, draft):
            self._unpack_attempts(first, attempts)
            self._unpack_project(draft, new)
            workflow = self._write_rows(draft)
        return self._report(workflow, new)

    def _draft(self, first: int, attempts: int, new: list[Member]) -> ImportDraft:
        places = [
            DraftFile(f"{self._directory}/{one.name.removeprefix(PROJECT)}", one.size, one.blake3, one.mtime_ns)
            for one in new
        ]
        wanted = {parent for one in places for parent in Path(one.path).parents}
        wanted |= {Path(self._directory), *Path(self._directory).parents} if self._files else set()
        folders = sorted(str(one) for one in wanted if not os.path.lexists(one))
        return ImportDraft(new_token(), self._bundle.digest, first, attempts, tuple(places), tuple(folders))

    def _report(self, workflow: int | None, new: list[Member]) -> ImportReport:
        manifest = self._manifest
        return ImportReport(
            workflow,
            self._name,
            self._bundle.digest,
            self._directory,
            manifest.rows,
            manifest.attempt_files,
            len(self._files),
            len(self._files) - len(new),
        )

    def _refuse_known(self, archive: Snapshot) -> None:
        """Raise Refused if the store has a workflow of this name, and say so if it is of this bundle."""
        known = archive.workflows.find(self._name)
        before = [
            one.detail["workflow"]
            for one in archive.events.of_kind(EVENT)
            if one.workflow is None and one.detail.get("bundle") == self._bundle.digest
        ]
        if known is not None and known.id not in before:
            raise Refused(
                f"the store has a workflow {self._name!r} already (id {known.id})",
                hint="--as NAME imports the bundle under another name",
            )
        again = known
        if again is None and self._renamed is None:
            again = next((one for one in map(archive.workflows.find, before) if one is not None), None)
        if again is not None:
            raise Refused(
                f"this bundle has been imported already, as workflow {again.id} {again.name}",
                hint="--as NAME imports it once more",
            )

    def _new_files(self) -> list[Member]:
        """Return the files of the project that are to be written. Raise Refused if another file is at its place."""
        new = []
        for one in self._files:
            place = f"{self._directory}/{one.name.removeprefix(PROJECT)}"
            if not os.path.lexists(place):
                new.append(one)
            elif not _holds(place, one):
                raise Refused(
                    f"{place} is there already, and is not the file of the bundle; nothing was imported",
                    hint="--into DIR unpacks into another folder",
                )
        return new

    def _unpack_attempts(self, first: int, count: int) -> None:
        if not (self._manifest.logs or self._manifest.outputs):
            return
        store = self._session.store.folder

        def write(info: tarfile.TarInfo, pieces: Iterable[bytes]) -> None:
            own = _OWN.fullmatch(info.name)
            if own is None or int(own[1]) > count or not is_safe(info.name):
                raise DamagedBundle(f"{info.name!r} is no file of an attempt")
            self._progress(f"files of attempt {own[1]} of {count}")
            path = attempt_folder(store, first + int(own[1]) - 1) + own[2]
            make_folder(path.rpartition("/")[0])
            _write(open_store_file(path, _NEW_FILE), pieces)
            if info.mode & 0o100:
                os.chmod(path, os.stat(path).st_mode | 0o100)  # noqa: PTH101 PTH116

        try:
            unpack_tar(self._bundle.read(ATTEMPTS), write)
        except OSError as error:
            raise _unwritable(error) from error

    def _unpack_project(self, draft: ImportDraft, new: list[Member]) -> None:
        """Write the files of the project, each beside its place under another name first."""
        if not self._files:
            return
        try:
            Path(self._directory).mkdir(parents=True, exist_ok=True)
            for number, one in enumerate(new, 1):
                self._progress(f"files: {number} of {len(new)}")
                path = f"{self._directory}/{one.name.removeprefix(PROJECT)}"
                with open_parent(self._directory, path, made=[]) as (at, name):
                    fd = os.open(draft.part_name, _NEW_FILE, 0o777 if one.executable else 0o666, dir_fd=at)
                    _write(fd, self._bundle.read(one.name), one.mtime_ns)
                    move_to_free_name(at, draft.part_name, at, name)
        except OSError as error:
            raise _unwritable(error) from error

    def _write_rows(self, draft: ImportDraft) -> int:
        new = NewWorkflow(self._renamed, self._directory, draft.first, self._manifest.rows)
        now = self._session.clock()
        with self._session.store.write() as archive:
            self._refuse_known(archive)
            try:
                writer = BundleWriter(archive.database, new)
                for table in COLUMNS:
                    if table in self._manifest.rows:
                        self._write_table(writer, table)
            except StoreDamaged as error:
                raise DamagedBundle(error.message) from error
            writer.finish()
            archive.workflows.archive(writer.workflow, now)
            detail = {"workflow": writer.workflow, "name": self._name, "bundle": self._bundle.digest}
            detail["token"] = draft.token
            archive.events.add(now, EVENT, None, detail)
        return writer.workflow

    def _write_table(self, writer: BundleWriter, table: str) -> None:
        lines = lines_of(self._bundle.read(rows_member(table)))
        names = _decoded(next(lines, b""), table)
        if not isinstance(names, list):
            raise DamagedBundle(f"the rows of {table} have no columns")
        rows = (_decoded(line, table) for line in lines)
        count = writer.write(table, names, rows, lambda name, n: self._progress(f"{name}: {n} rows"))
        if count != self._manifest.rows[table]:
            raise DamagedBundle(f"it has {count} rows of {table}, and its manifest says {self._manifest.rows[table]}")


def folder_name(name: str) -> str:
    """Return the name of the folder for a workflow of this name."""
    return _UNUSABLE.sub("_", name).lstrip(".")[:100] or "workflow"


def _read_manifest(bundle: BundleFile, path: Path) -> Manifest:
    """Return the manifest. Raise Refused for a newer version, DamagedBundle if something does not fit."""
    head = _decoded(bundle.manifest, "the manifest")
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise DamagedBundle("its manifest is not that of a bundle")
    for what, mine in (("version", VERSION), ("schema", newest_version())):
        if isinstance(found := head.get(what), int) and found > mine:
            raise Refused(
                f"{path} was written by a newer rekindle: its {what} is {found}, and this one reads up to {mine}",
                hint="import it with a newer rekindle",
            )
    try:
        manifest = msgspec.convert(head, Manifest)
    except msgspec.ValidationError as error:
        raise DamagedBundle(f"its manifest is not complete ({error})") from error
    bundle.expect(manifest.members)
    names = {one.name for one in manifest.members}
    if unsafe := sorted(one for one in names if not is_safe(one)):
        raise DamagedBundle(f"the member {unsafe[0]!r} would be written outside of its folder")
    if missing := sorted({rows_member(table) for table in manifest.rows} - names):
        raise DamagedBundle(f"it has no {missing[0]}")
    if unknown := sorted(manifest.rows.keys() - COLUMNS):
        raise DamagedBundle(f"there is no table {unknown[0]}")
    if manifest.rows.get("workflow") != 1:
        raise DamagedBundle("it has no workflow")
    return manifest


def _decoded(text: bytes, what: str) -> Any:
    try:
        return from_json(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DamagedBundle(f"{what}: {error}") from error


def _holds(path: str, member: Member) -> bool:
    """Return whether a regular file has the content of a member."""
    try:
        with open_regular_file(path) as file:
            size = file.seek(0, os.SEEK_END)
            return size == member.size and digest_of_file(file, size) == member.blake3
    except OSError:
        return False


def _unwritable(error: OSError) -> Refused:
    return Refused(
        f"{error.filename or 'a file'} cannot be written: {error.strerror}; nothing was imported",
        hint="--into DIR unpacks into another folder",
    )


def _write(fd: int, pieces: Iterable[bytes], mtime_ns: int | None = None) -> None:
    """Write a new file that is open, and close it."""
    with open(fd, "wb") as file:
        for piece in pieces:
            file.write(piece)
        if mtime_ns is not None:
            file.flush()
            os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
