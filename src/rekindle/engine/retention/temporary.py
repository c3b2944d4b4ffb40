"""Remove temporary outputs that no job needs any more.

What is removed is decided from rows and recorded in one transaction. Then each output is renamed beside its place, and
what was renamed is removed in a thread. A runner that dies leaves the rest to the next one. A job that has been reset
meanwhile gets its output back: an output is removed only as long as the attempt that wrote it is live."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rekindle.domain.changes.fingerprints import ABSENT, FileFingerprints
from rekindle.domain.texts.patterns import glob_base
from rekindle.engine.staleness.definitions import AttemptDefinitions
from rekindle.engine.staleness.implicit_inputs import fan_out_items
from rekindle.engine.staleness.needs import compare_needs
from rekindle.journal.output_removal import move_aside, move_back, remove_aside
from rekindle.journal.restored_outputs import RestoreTarget
from rekindle.journal.trees import relative_below

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot

_Pending = tuple[int, str]
"""(attempt, name of the output)."""


def unneeded_outputs(archive: Snapshot, above: Collection[int] | None = None) -> list[tuple[int, str, str]]:
    """Return (attempt, name, path) of the temporary outputs that can be removed: their jobs and all jobs that need
    these are completed, and used what their jobs came to last. `above`: only of the jobs that these need.

    An output within a folder that one of these jobs reads as a whole, or that matches a pattern of one, stays: without
    it that folder would differ."""
    done = archive.temporary_outputs.unneeded(above)
    if not done:
        return []
    consumers: dict[int, list[int]] = {}
    for job, _, attempt in archive.temporary_outputs.consumers([job for job, *_ in done]):
        consumers.setdefault(job, []).append(attempt)
    outdated, folders = _read_by(archive, {attempt for several in consumers.values() for attempt in several})
    templates = archive.staleness.templates({template for *_, template in done})
    prints = archive.fingerprints.files([attempt for _, attempt, _ in done])
    return [
        (attempt, name, path)
        for job, attempt, template in done
        if outdated.isdisjoint(consumers[job])
        for name, path in _outputs(prints.get(attempt), templates[template].temporary)
        if not any(path.startswith(f"{folder}/") for one in consumers[job] for folder in folders[one])
    ]


def _read_by(archive: Snapshot, attempts: Collection[int]) -> tuple[set[int], Mapping[int, set[str]]]:
    """Return the attempts that used other results than those that the jobs that they need have now, and by attempt the
    folders that it has read, or in which it has looked for files."""
    subjects = archive.staleness.subjects(attempts)
    accepted, prints = archive.fingerprints.accepted(attempts), archive.fingerprints.files(attempts)
    definitions = AttemptDefinitions(archive, subjects, accepted)
    needs = compare_needs(archive, subjects, accepted, definitions.templates, whole=False)
    folders: dict[int, set[str]] = {attempt: set() for attempt in attempts}
    for one in subjects:
        recorded = prints.get(one.attempt, FileFingerprints())
        for each in recorded.inputs:
            matched = each.matched
            folders[one.attempt].add(each.path if matched is None else glob_base(each.path, matched.pattern))
        basis = accepted[one.attempt][1] if one.attempt in accepted else None
        for items in fan_out_items(archive, one, definitions, definitions.of(one).now, recorded, basis):
            folders[one.attempt].add(glob_base(items.wanted.path, items.wanted.pattern or ""))
    return {attempt for attempt, reasons in needs.reasons.items() if reasons}, folders


def _outputs(prints: FileFingerprints | None, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, path) of the recorded outputs of these names."""
    for one in prints.outputs if prints else ():
        if one.name in names and one.digest != ABSENT:
            yield one.name, one.path


def restore_targets(archive: Snapshot, attempts: Collection[int]) -> dict[int, tuple[RestoreTarget, ...]]:
    """Return, by attempt, where the temporary outputs that were removed are put back; nowhere for attempts whose
    outputs are not kept in the content store. Attempts without removed outputs are left out."""
    removed = archive.temporary_outputs.removed_of(attempts)
    if not removed:
        return {}
    found: dict[int, tuple[RestoreTarget, ...]] = {one.attempt: () for one in removed}
    kept = sorted(archive.cached_outputs.kept(found.keys()))
    prints, roots = archive.fingerprints.files(kept), _roots(archive, kept)
    for one in removed:
        digests = {each.name: each.digest for each in prints[one.attempt].outputs} if one.attempt in prints else {}
        root = next((root for root in roots.get(one.attempt, ()) if relative_below(root, one.path)), None)
        if one.name in digests and root is not None:
            found[one.attempt] += (RestoreTarget(one.name, one.path, digests[one.name], root),)
    return found


class TemporaryRemover:
    """Removes the temporary outputs that are not needed any more, while a runner works."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._template, self._declared = 0, False  # the newest template that was looked at; whether any declares them
        self._newest = 0  # the newest template of the store
        self._pool: ThreadPoolExecutor | None = None
        self._removing: dict[_Pending, Future[None]] = {}

    def note_templates(self, archive: Snapshot, ended: Collection[int]) -> None:
        """Note the newest template, in the transaction in which jobs have ended: `look` is to begin no block that only
        reads, after which SQLite compiles every statement again."""
        if ended:
            self._newest = archive.temporary_outputs.newest_template()

    def look(self, ended: Collection[int]) -> None:
        """Remove what the jobs that have just ended were the last to need. `ended`: these jobs. The templates were
        noted with their ends."""
        if ended and self._any_declared():
            self._remove_unneeded(ended)
        self._record_removed()

    def finish(self) -> None:
        """At the end of a run: remove all that is not needed any more, also what others have left, and wait for it."""
        with self._session.store.read() as archive:
            self._newest = archive.temporary_outputs.newest_template()
        if self._any_declared():
            self._remove_unneeded(None)
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._record_removed()
            self._pool = None

    def _any_declared(self) -> bool:
        """Return whether any job declares a temporary output, up to the newest template that was noted."""
        if self._newest != self._template and not self._declared:
            with self._session.store.read() as archive:
                self._declared = archive.temporary_outputs.declared_above(self._template)
        self._template = self._newest
        return self._declared

    def _remove_unneeded(self, above: Collection[int] | None) -> None:
        with self._session.store.read() as archive:
            found = unneeded_outputs(archive, above)
        if found:
            with self._session.store.write() as archive:
                still = set(unneeded_outputs(archive, above))
                archive.temporary_outputs.decide([one for one in found if one in still], self._session.clock())
        if found or above is None:
            self._begin()

    def _begin(self) -> None:
        """Begin to remove what was decided, by this runner or by one that has died."""
        with self._session.store.read() as archive:
            pending = [one for one in archive.temporary_outputs.pending() if one[:2] not in self._removing]
            roots = _roots(archive, [attempt for attempt, *_ in pending])
        if not pending:
            return
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, "temporary")
        moved, failed = set[_Pending](), set[_Pending]()
        for attempt, name, path, is_live in pending:
            try:
                if is_live and move_aside(roots[attempt], path, attempt):
                    moved.add((attempt, name))
            except OSError:  # tried again at the end of the next run
                failed.add((attempt, name))
        with self._session.store.read() as archive:  # again: a job may have been reset, and begun to write
            live = {(attempt, name) for attempt, name, _, is_live in archive.temporary_outputs.pending() if is_live}
        for attempt, name, path, _ in pending:
            if (attempt, name) in moved - live:
                move_back(roots[attempt], path, attempt)
            if (attempt, name) not in failed:
                self._removing[attempt, name] = self._pool.submit(remove_aside, roots[attempt], path, attempt)

    def _record_removed(self) -> None:
        done = [one for one, future in self._removing.items() if future.done()]
        if not done:
            return
        gone = [one for one in done if self._removing.pop(one).exception() is None]
        with self._session.store.write() as archive:
            archive.temporary_outputs.mark_removed(gone, self._session.clock())


def _roots(archive: Snapshot, attempts: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
    """Return, by attempt, the folders in which it may have written outputs: its own and that of its workflow."""
    found = {}
    directories: dict[int, str] = {}
    for one in archive.attempts.by_id(attempts):
        if one.workflow not in directories:
            workflow = archive.workflows.find(one.workflow)
            directories[one.workflow] = workflow.directory if workflow else ""
        found[one.id] = tuple(folder for folder in (one.folder, directories[one.workflow]) if folder)
    return found
