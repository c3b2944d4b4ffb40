"""Fingerprints, accepted ones, sources, and the cache of what files hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rekindle.domain.changes.prints import Basis, FileSeen, Prints
from rekindle.domain.models import PartialOfFailure, PartialOutput
from rekindle.journal.encoding import from_json, json_reader, to_json
from rekindle.store.database import Database, Row
from rekindle.store.paths import with_partial, with_prints
from rekindle.store.queries import as_set, load

SQL = load("fingerprints")

_NEEDED = json_reader(dict[int, int])
_PRINTS = json_reader(Prints)
_BASIS = json_reader(Basis)
_MODULES = json_reader(dict[str, str])
_PARTIAL = json_reader(tuple[PartialOutput, ...])


class Fingerprints:
    """See rekindle.store.port.Fingerprints."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put_needed(self, needed: Mapping[int, Mapping[int, int]]) -> None:
        self._put("needed", needed)

    def put_files(self, prints: Mapping[int, Prints]) -> None:
        encode = self._db.paths.encode
        self._put("files", {attempt: with_prints(one, encode) for attempt, one in prints.items()})

    def put_patched(self, patched: Mapping[int, Mapping[str, Any]]) -> None:
        self._put("patched", patched)

    def _put(self, part: str, documents: Mapping[int, object]) -> None:
        rows = [(attempt, part, to_json(one).decode()) for attempt, one in documents.items()]
        if rows:
            self._db.change_each(SQL["put"], rows)

    def needed(self, attempts: Iterable[int]) -> dict[int, dict[int, int]]:
        rows = self._db.rows(SQL["get"], part="needed", attempts=as_set(attempts))
        return {attempt: _NEEDED(document) for attempt, document in rows}

    def files(self, attempts: Iterable[int]) -> dict[int, Prints]:
        rows = self._db.rows(SQL["get"], part="files", attempts=as_set(attempts))
        decode = self._db.paths.decode
        return {attempt: with_prints(_PRINTS(document), decode) for attempt, document in rows}

    def patched(self, attempts: Iterable[int]) -> dict[int, dict[str, Any]]:
        rows = self._db.rows(SQL["get"], part="patched", attempts=as_set(attempts))
        return {attempt: from_json(document) for attempt, document in rows}

    def put_partial(self, partial: Mapping[int, Sequence[PartialOutput]]) -> None:
        encode = self._db.paths.encode
        self._put("partial", {attempt: with_partial(several, encode) for attempt, several in partial.items()})

    def partial(self, attempts: Iterable[int]) -> dict[int, tuple[PartialOutput, ...]]:
        rows = self._db.rows(SQL["get"], part="partial", attempts=as_set(attempts))
        return {attempt: self._partial(document) for attempt, document in rows}

    def partial_of_failures(self, jobs: Collection[int], archived: bool) -> list[PartialOfFailure]:
        rows = self._db.rows(SQL["partial_of_failures"], jobs=as_set(jobs), archived=archived)
        decode = self._db.paths.decode
        return [
            PartialOfFailure(signature, attempt, job, decode(directory), one)
            for signature, attempt, job, directory, document in rows
            for one in self._partial(document)
        ]

    def aside(self, attempts: Sequence[int]) -> dict[int, tuple[PartialOutput, ...]]:
        if not attempts:
            return {}
        found: dict[int, dict[str, PartialOutput]] = {}
        taken: set[int] = set()
        for attempt, document, has_begun in self._db.rows(SQL["aside"], attempts=as_set(attempts)):
            for one in self._partial(document) if document else ():
                if one.aside is not None:
                    found.setdefault(attempt, {}).setdefault(one.path, replace(one, taken=attempt in taken))
            if has_begun:
                taken.add(attempt)
        return {attempt: tuple(by_path.values()) for attempt, by_path in found.items()}

    def _partial(self, document: str) -> tuple[PartialOutput, ...]:
        return with_partial(_PARTIAL(document), self._db.paths.decode)

    def put_source(self, digest: str, modules: Mapping[str, str]) -> None:
        self._db.change(SQL["put_source"], digest=digest, modules=to_json(dict(modules)).decode())

    def sources(self, digests: Collection[str]) -> dict[str, dict[str, str]]:
        rows = self._db.rows(SQL["sources"], digests=as_set(digests))
        return {digest: _MODULES(modules) for digest, modules in rows}

    def accept(self, rerun: int, bases: Mapping[int, Basis]) -> None:
        encode = self._db.paths.encode
        stored = {attempt: replace(one, prints=with_prints(one.prints, encode)) for attempt, one in bases.items()}
        rows = [(rerun, attempt, to_json(one).decode()) for attempt, one in stored.items()]
        self._db.change_each(SQL["accept"], rows)

    def accepted(self, attempts: Iterable[int]) -> dict[int, tuple[int, Basis]]:
        rows = self._db.rows(SQL["accepted"], attempts=as_set(attempts))
        return {attempt: (rerun, self._basis(document)) for attempt, rerun, document in rows}

    def _basis(self, document: str) -> Basis:
        basis: Basis = _BASIS(document)
        return replace(basis, prints=with_prints(basis.prints, self._db.paths.decode))

    def known_files(self, paths: Collection[str]) -> dict[str, FileSeen]:
        wanted = as_set(self._db.paths.encode(path) for path in paths)
        return self._seen(self._db.rows(SQL["known_files"], paths=wanted))

    def remember_files(self, seen: Sequence[FileSeen]) -> None:
        encode = self._db.paths.encode
        rows = [
            (encode(one.path), one.size, one.mtime_ns, one.inode, one.taken_ns, one.digest, one.ctime_ns)
            for one in seen
        ]
        if rows:
            self._db.change_each(SQL["remember_file"], rows)

    def known_below(self, folders: Collection[str]) -> dict[str, FileSeen]:
        wanted = as_set(self._db.paths.encode(folder) for folder in folders)
        return self._seen(self._db.rows(SQL["known_below"], folders=wanted))

    def _seen(self, rows: Iterable[Row]) -> dict[str, FileSeen]:
        found = (FileSeen(self._db.paths.decode(path), *rest) for path, *rest in rows)
        return {one.path: one for one in found}
