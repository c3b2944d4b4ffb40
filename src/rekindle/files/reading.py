"""What declared files hold, read no more often than it must be."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from rekindle.domain.changes.prints import Content, FileSeen
from rekindle.files.digests import Tell, digest_by, digest_of, entries, glance, look, read_file, settled

OPENING = 32 * 1024
"""Bytes that are read in the time that opening a file takes."""


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
        skip: Collection[str] = (),
    ) -> Content:
        """What is at an absolute path; by its look where it has `least` bytes or more (None: never), else without what
        is at the paths of `skip`. `tell` is called while files are read."""
        if least is not None:
            size, digest = glance(path)
            if size >= least:
                return Content(name, path, digest, "mtime")
        return Content(name, path, digest_of(path, partial(self._digest, tell=tell), skip))

    def effort(self, path: str, least: int | None = None) -> int:
        """How many bytes `content` would have to read; a file counts as many as are read while it is opened."""
        found = look(path)
        if found is None or (least is not None and glance(path)[0] >= least):
            return 0
        inner = entries(path) if found.folder else [(b"", path, "file")]
        files = [each for _, each, kind in inner if kind == "file"]
        seen = [look(file) for file in files if self._still(file) is None]
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
        if seen is not None and settled(seen.mtime_ns, seen.taken_ns):
            self._known[path] = self._fresh[path] = seen
        return seen

    def _still(self, path: str) -> FileSeen | None:
        """What is known of a file, where its look says that it still holds."""
        known = self._known.get(path)
        if known is None or not settled(known.mtime_ns, known.taken_ns):
            return None
        now = look(path)
        same = now is not None and (now.size, now.mtime_ns, now.inode) == (known.size, known.mtime_ns, known.inode)
        return known if same else None
