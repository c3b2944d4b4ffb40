"""What declared files hold, read no more often than it must be."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from functools import partial

from rekindle.domain.changes.prints import Content, FileSeen, Matched
from rekindle.domain.texts.globs import base, split
from rekindle.files.digests import (
    Tell,
    digest_by,
    digest_of,
    digest_of_set,
    entries,
    glance,
    look,
    read_file,
    same_look,
    settled,
)
from rekindle.files.globbing import matched

OPENING = 32 * 1024
"""Bytes that are read in the time that opening a file takes."""


def matching(path: str, pattern: str, without: Collection[str] = ()) -> dict[str, str]:
    """Return what matches a pattern whose location is `path` (see domain.texts.globs), sorted: absolute paths by names,
    which are relative as the pattern is. What is at or below one of the paths `without` is left out; so are folders
    where the pattern ends with `**`, because the files in them match too."""
    head, rest = split(pattern)
    folder = base(path, pattern)
    found = {head + name: os.path.join(folder, name) for name in matched(rest, folder)}
    if without:
        below = tuple(f"{one}/" for one in without)
        found = {name: inner for name, inner in found.items() if inner not in without and not inner.startswith(below)}
    if rest.rpartition("/")[2] == "**":
        return {name: inner for name, inner in found.items() if not os.path.isdir(inner)}
    return found


class Reader:
    """Reads files, and remembers what they held: a look that equals the one of then spares reading them again."""

    def __init__(self, known: Iterable[FileSeen] = ()) -> None:
        """`known`: read by somebody before."""
        self._known = {one.path: one for one in known}
        self._fresh: dict[str, FileSeen] = {}

    def __len__(self) -> int:
        """How many files it remembers."""
        return len(self._known)

    def know(self, seen: Iterable[FileSeen]) -> None:
        """These were read by somebody else; an older reading does not replace a newer one."""
        for one in seen:
            known = self._known.get(one.path)
            if known is None or known.taken_ns < one.taken_ns:
                self._known[one.path] = one

    def content(
        self,
        name: str,
        path: str,
        least: int | None = None,
        tell: Tell | None = None,
        pattern: str | None = None,
        without: Collection[str] = (),
    ) -> Content:
        """What is at an absolute path; by its look where it has `least` bytes or more (None: never), else without what
        is at the paths `without`. `tell` is called while files are read. With `pattern`, `path` is the location of that
        pattern: unless there is a file of this very name, what counts is the set of the files that match (see
        `matching`)."""
        if pattern is not None and not os.path.lexists(path):
            return self.matched(name, path, pattern, least, tell, without)
        if least is not None:
            seen = glance(path)
            if seen.size >= least:
                return Content(name, path, seen.digest, "mtime")
        return Content(name, path, digest_of(path, partial(self._digest, tell=tell), without))

    def matched(
        self,
        name: str,
        path: str,
        pattern: str,
        least: int | None = None,
        tell: Tell | None = None,
        without: Collection[str] = (),
        skip: Collection[str] = (),
        shallow: bool = False,
    ) -> Content:
        """The files that match a pattern, as for `content`; those named in `skip` are listed and not read, and so are
        folders where it is `shallow`."""
        found = matching(path, pattern, without)
        if least is not None:
            looks = {one: glance(inner, without) for one, inner in found.items()}
            if sum(one.size for one in looks.values()) >= least:
                files = {one: seen.digest for one, seen in looks.items()}
                return Content(name, path, digest_of_set(files), "mtime", matched=Matched(pattern, files))
        read = partial(self._digest, tell=tell)
        listed = {one for one, inner in found.items() if one in skip or (shallow and os.path.isdir(inner))}
        files = {one: "" if one in listed else digest_of(inner, read, without) for one, inner in found.items()}
        return Content(name, path, digest_of_set(files), matched=Matched(pattern, files))

    def effort(self, path: str, least: int | None = None, pattern: str | None = None) -> int:
        """How many bytes `content` would have to read; a file counts as many as are read while it is opened."""
        if pattern is not None and not os.path.lexists(path):
            files = matching(path, pattern).values()
            if least is not None and sum(glance(one).size for one in files) >= least:
                return 0
            return sum(self.effort(one) for one in files)
        found = look(path)
        if found is None or (least is not None and glance(path).size >= least):
            return 0
        inner = entries(path) if found.folder else [(b"", path, "file")]
        unread = (each for _, each, kind in inner if kind == "file" and self._still(each) is None)
        seen = [look(each) for each in unread]
        return sum(one.size + OPENING for one in seen if one is not None)

    def fresh(self) -> tuple[FileSeen, ...]:
        """The files that were read since the last call and may be trusted by a later look."""
        found = tuple(self._fresh.values())
        self._fresh.clear()
        return found

    def _digest(self, path: str, tell: Tell | None) -> str:
        known = self._still(path)
        return known.digest if known else digest_by(partial(self._read, tell=tell), path)

    def _read(self, path: str, tell: Tell | None) -> FileSeen | None:
        seen = read_file(path, tell)
        if seen is not None and settled(seen, seen.taken_ns):
            self._known[path] = self._fresh[path] = seen
        return seen

    def _still(self, path: str) -> FileSeen | None:
        """What is known of a file, where its look says that it still holds."""
        known = self._known.get(path)
        if known is None or not settled(known, known.taken_ns):
            return None
        now = look(path)
        return known if now is not None and same_look(known, now) else None
