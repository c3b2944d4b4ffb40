"""Assess all ended jobs of a workflow, block by block, and remember which blocks were current.

Whether an attempt is current follows from the rows of the store and from what files, code and variables contain. A
block that was found current is stored with both: with the state of its rows and of those that it needs (`basis`), and
with all that was read (`FoundCurrent`). While both are equal, so is the answer, and its rows are not read again. The
content of a file is taken to be equal if its stat is, under the rule of `files.digests.is_settled`; everything else is
read again. A block with a stale job is not stored.

A basis proves what it says although rows are measured after it was read: versions of jobs only increase, so that a
basis that is equal later means that nothing has moved in between.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from rekindle.domain.changes.fingerprints import ABSENT, FileRecord
from rekindle.domain.errors import StoreUnavailable
from rekindle.domain.rerun.plan import Reason
from rekindle.engine.staleness.contents import ContentReader, ContentRequests, FileContents, VariableDigests
from rekindle.engine.staleness.measure import AttemptMeasures, known_records, measure_attempts
from rekindle.files.digests import is_settled
from rekindle.journal.encoding import to_json
from rekindle.store.assessments import BLOCK, BlockState, FoundBlock

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session
    from rekindle.engine.staleness.contents import ReadProgress
    from rekindle.store.archive import Snapshot

_RULES = 2
"""Raised with each change of the code after which the same rows and files may lead to another answer."""

_WRITTEN = 64
"""Blocks that are written in one transaction."""

_Stat = tuple[int, int, int, int]
"""Size, modification time, inode and change time (nanoseconds): see files.digests.same_stat."""


class FoundCurrent(msgspec.Struct, array_like=True):
    """What a block of current jobs was found from, besides rows of the store."""

    needs: list[int] | None  # blocks of the jobs that it needs; None: every block of the workflow
    folders: list[tuple[str, list[str], list[_Stat]]]  # (folder, names, stats) of regular files
    absent: list[str]  # paths at which nothing is
    variables: dict[str, str]  # digest by name
    others: ContentRequests  # what is read again
    answers: str  # digest of what was read
    unknown: list[tuple[int, int]]  # jobs with nothing to compare: (first, last) of consecutive ids


_DECODER = msgspec.msgpack.Decoder(FoundCurrent)


class WorkflowAssessment(msgspec.Struct):
    """The stale jobs of a workflow with reasons, their versions when that was found, and the jobs that have nothing to
    compare."""

    stale: dict[int, tuple[Reason, ...]] = msgspec.field(default_factory=dict)
    versions: dict[int, int] = msgspec.field(default_factory=dict)
    unknown: list[int] = msgspec.field(default_factory=list)


def assess_workflow(session: Session, number: int, progress: ReadProgress | None = None) -> WorkflowAssessment:
    """Assess the live attempts of a workflow that have ended, except those of retired jobs. Digests of files that had
    to be read are stored, and which blocks are current. An exception raised by `progress` ends the reading."""
    found, reader = WorkflowAssessment(), ContentReader(progress)
    with session.store.read() as archive:
        workflow = archive.workflows.find(number)
        if workflow is None:
            return found
        bases = _Bases(archive, workflow, session.store.folder)
        current = set()
        for one in archive.assessments.found(number):
            known = _decoded(one)
            if known is not None and one.basis == bases.of(one.block, known.needs) and _holds(archive, known, reader):
                current.add(one.block)
                found.unknown += [job for first, last in known.unknown for job in range(first, last + 1)]
    fresh: list[FoundBlock] = []
    seen: list[FileRecord] = []
    for block in bases.blocks:
        if block not in current:
            document, more = _assess_block(session, workflow, block, reader, found)
            seen += more
            if document is not None and (text := _encoded(document)) is not None:
                fresh.append(FoundBlock(block, bases.of(block, document.needs), text))
            if len(fresh) >= _WRITTEN:
                _remember(session, number, fresh, seen)
    _remember(session, number, fresh, seen)
    found.unknown.sort()
    return found


def _remember(session: Session, workflow: int, fresh: list[FoundBlock], seen: list[FileRecord]) -> None:
    """Store what was found, and forget it here."""
    if not fresh and not seen:
        return
    try:
        with session.store.write() as archive:
            archive.fingerprints.remember_files(seen)
            if archive.workflows.find(workflow) is not None:
                archive.assessments.put(workflow, fresh)
    except StoreUnavailable:
        pass  # all is read again next time
    fresh.clear()
    seen.clear()


class _Bases:
    """The bases of blocks: digests of the state of the rows that their assessments are made from."""

    def __init__(self, archive: Snapshot, workflow: Workflow, folder: str) -> None:
        self.blocks: Mapping[int, BlockState] = archive.assessments.blocks(workflow.id)
        params = archive.workflows.params(workflow.id, workflow.revision)
        self._common = repr((_RULES, folder, workflow.directory, to_json(dict(sorted(params.items())))))
        self._every = _digest(self._common, sorted(self.blocks.items()))

    def of(self, block: int, needs: Collection[int] | None) -> str:
        """Return the basis of a block that needs jobs of other blocks; None: of any."""
        own = self.blocks.get(block)
        if own is None:
            return ""
        if needs is None or own.when_finished:
            return _digest(self._every, block)
        return _digest(self._common, [(one, self.blocks.get(one)) for one in sorted({block, *needs})])


def _digest(common: str, values: object) -> str:
    return blake3(f"{common} {values!r}".encode(errors="surrogateescape")).hexdigest(length=16)


def _holds(archive: Snapshot, known: FoundCurrent, reader: ContentReader) -> bool:
    """Return whether everything that a block was found from is as it was."""
    variables = VariableDigests(os.environ)
    if any(variables.digest(name) != digest for name, digest in known.variables.items()):
        return False
    if not all(_are_unchanged(*folder) for folder in known.folders) or any(map(os.path.exists, known.absent)):
        return False
    others = known.others
    return others.is_empty or known.answers == _answers(others, reader.read(others, known_records(archive, others)))


def _are_unchanged(folder: str, names: list[str], stats: list[_Stat]) -> bool:
    """Return whether files have the stats that they had when they were read."""
    start, stat = f"{folder}/", os.stat
    try:
        for name, then in zip(names, stats, strict=True):
            now = stat(start + name)
            if (now.st_size, now.st_mtime_ns, now.st_ino, now.st_ctime_ns) != then:
                return False
    except OSError:
        return False
    return True


def _assess_block(
    session: Session, workflow: Workflow, block: int, reader: ContentReader, found: WorkflowAssessment
) -> tuple[FoundCurrent | None, Iterable[FileRecord]]:
    """Add the stale and unknown jobs of a block to `found`. Return what the block was found current from (None: it is
    not current, or cannot be known to be so later), and the files that had to be read."""
    variables = _SeenVariables(os.environ)
    with session.store.read() as archive:
        ended = archive.assessments.ended(workflow.id, block)
        if not ended:
            return None, ()
        now = archive.workflows.find(workflow.id)
        measured = measure_attempts(archive, {one.job: one.attempt for one in ended}, variables)
    contents = reader.read(measured.requests, measured.known)
    assessed = measured.assess(contents)
    stale = {job: one.reasons for job, one in assessed.items() if one.reasons}
    unknown = [job for job, one in assessed.items() if not (one.reasons or one.comparable)]
    found.stale |= stale
    found.versions |= {one.job: one.version for one in ended if one.job in stale}
    found.unknown += unknown
    if stale or now is None or now.revision != workflow.revision:
        return None, contents.seen
    return _found_current(measured, contents, variables, sorted(unknown)), contents.seen


def _found_current(
    measured: AttemptMeasures, contents: FileContents, variables: _SeenVariables, unknown: list[int]
) -> FoundCurrent | None:
    """Return what current attempts were found from; None if a file may have changed while it was read."""
    fresh = {one.path: one for one in contents.seen}
    folders: dict[str, tuple[list[str], list[_Stat]]] = {}
    absent: list[str] = []
    again: list[str] = []
    for path in measured.requests.content:
        digest = contents.content[path]
        one = fresh.get(path) or measured.known.get(path)
        if digest == ABSENT:
            absent.append(path)
        elif one is not None and one.digest == digest and is_settled(one, one.taken_ns):
            folder, _, name = path.rpartition("/")
            names, stats = folders.setdefault(folder, ([], []))
            names.append(name)
            stats.append((one.size, one.mtime_ns, one.inode, one.ctime_ns))
        elif os.path.isdir(path):  # noqa: PTH112 many
            again.append(path)
        else:
            return None
    requests = measured.requests
    others = ContentRequests(again, requests.mtime_paths, requests.code, requests.sets, requests.environment)
    return FoundCurrent(
        needs=None if measured.named else sorted({job // BLOCK for job in measured.needed}),
        folders=[(folder, *files) for folder, files in folders.items()],
        absent=absent,
        variables=variables.digests(),
        others=others,
        answers=_answers(others, contents),
        unknown=_ranges(unknown),
    )


def _answers(requests: ContentRequests, contents: FileContents) -> str:
    """Return a digest of what was read."""
    read: list[Any] = [[contents.content[path] for path in requests.content]]
    read.append([contents.mtime_paths[path[0], path[1]] for path in requests.mtime_paths])
    read.append([sorted(contents.code[one[0], one[1]].items()) for one in requests.code])
    for wanted in requests.sets:
        one = contents.sets[wanted]
        files = None if one.matched is None or one.matched.files is None else sorted(one.matched.files.items())
        read.append((one.digest, one.by, files))
    read.append([contents.environment[one] for one in requests.environment])
    return _digest("", read)


class _SeenVariables(Mapping[str, str]):
    """The environment, and which variables of it were looked up."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self._names.add(name)
        return self._environment[name]

    def __iter__(self) -> Iterator[str]:
        self._names.update(self._environment)
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)

    def digests(self) -> dict[str, str]:
        """Return the digests of the variables that were looked up."""
        known = VariableDigests(self._environment)
        return {name: known.digest(name) for name in sorted(self._names)}


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Return sorted numbers as (first, last) of consecutive ones."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def _encoded(document: FoundCurrent) -> bytes | None:
    """Return what is stored; None for a path that is not UTF-8, or a number that is too large."""
    try:
        return msgspec.msgpack.encode(document)
    except (UnicodeEncodeError, OverflowError):
        return None


def _decoded(one: FoundBlock) -> FoundCurrent | None:
    """Return what was found of a block; None if another version of rekindle wrote it."""
    try:
        return _DECODER.decode(one.document)
    except msgspec.DecodeError:
        return None
