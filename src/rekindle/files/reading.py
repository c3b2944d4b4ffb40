"""What declared files hold, read no more often than it must be."""

from __future__ import annotations

from collections.abc import Iterable

from rekindle.domain.prints import Content, FileSeen
from rekindle.files.digests import Tell, digest_by, digest_of, entries, glance, look, read_file, settled


class Reader:
    """Reads files, and remembers what they held: a look that equals the one of then spares reading them again."""

    def __init__(self, known: Iterable[FileSeen] = (), tell: Tell | None = None) -> None:
        """`tell` is called while files are read; what it raises ends that."""
        self._known = {one.path: one for one in known}
        self._tell = tell
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

    def content(self, name: str, path: str, least: int | None = None) -> Content:
        """What is at an absolute path; by its look where it has `least` bytes or more (None: never)."""
        if least is not None:
            size, digest = glance(path)
            if size >= least:
                return Content(name, path, digest, "mtime")
        return Content(name, path, digest_of(path, self._digest))

    def unread(self, path: str, least: int | None = None) -> int:
        """How many bytes `content` would have to read."""
        found = look(path)
        if found is None or (least is not None and glance(path)[0] >= least):
            return 0
        inner = entries(path) if found.folder else [(b"", path, "file")]
        files = [each for _, each, kind in inner if kind == "file"]
        seen = [look(file) for file in files if self._still(file) is None]
        return sum(one.size for one in seen if one is not None)

    def fresh(self) -> tuple[FileSeen, ...]:
        """The files that were read since the last call and may be trusted by a later look."""
        found = tuple(self._fresh.values())
        self._fresh.clear()
        return found

    def _digest(self, path: str) -> str:
        known = self._still(path)
        return known.digest if known else digest_by(self._read, path)

    def _read(self, path: str) -> FileSeen | None:
        seen = read_file(path, self._tell)
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
