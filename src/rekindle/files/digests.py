"""Digests of files and folders, and their stat, which is cheaper and proves less.

An equal stat proves that a file has not changed since it was read only if its times had settled by then: two changes
within one tick of the file system's clock leave the same time. The stat includes the change time, because size,
modification time and inode can be equal although the content differs: `cp -p` and `tar` set the modification time."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from blake3 import blake3

from rekindle.domain.changes.fingerprints import ABSENT, FileContent, FileRecord, MatchedFiles
from rekindle.files.file_patterns import matching_files

CHUNK = 4 * 1024 * 1024
"""Bytes to read at a time."""

SLACK = 20_000_000
COARSE_SLACK = 2_000_000_000
"""Nanoseconds until a file's time has settled; COARSE_SLACK for file systems that store whole seconds."""

_FOLDER = "rekindle 2026-11 folder"
_TREE_STAT = "rekindle 2026-11 glance"
_SET = "rekindle 2026-11 set"
_STORE = ".rekindle"  # a store's folder: its content changes with each attempt, so it is no input
_PARALLEL = 1024 * 1024  # bytes from which a chunk is worth several threads
_SECOND = 1_000_000_000

OnRead = Callable[[int], None]
"""Called with the number of bytes read since the last call. An exception that it raises ends the reading."""

FileDigest = Callable[[str], str]
"""Returns the digest of a regular file's content; ABSENT if the file is gone."""


class FileStat(NamedTuple):
    """The stat of a file or folder."""

    size: int  # bytes
    mtime_ns: int
    inode: int
    folder: bool = False
    ctime_ns: int = 0


def file_stat(path: str) -> FileStat | None:
    """Return the stat of a path, symbolic links followed; None if it does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _as_file_stat(found)


def is_settled(found: FileStat | FileRecord, taken_ns: int) -> bool:
    """Return whether an equal stat now proves equal content, for a file that had this stat when it was read at
    `taken_ns`."""
    times = (found.mtime_ns, found.ctime_ns)
    return all(at + (SLACK if at % _SECOND else COARSE_SLACK) <= taken_ns for at in times)


def same_stat(seen: FileRecord, now: FileStat) -> bool:
    """Return whether a regular file has the stat that it had when it was read."""
    then = (seen.size, seen.mtime_ns, seen.inode, seen.ctime_ns)
    return then == (now.size, now.mtime_ns, now.inode, now.ctime_ns) and not now.folder


def mtime_digest(found: FileStat) -> str:
    """Return the text that stands for the content of a file that is compared by size and modification time."""
    return f"mtime:{found.size}:{found.mtime_ns}"


def text_digest(text: str) -> str:
    """Return the digest of a text."""
    return blake3(text.encode(errors="surrogateescape")).hexdigest()


def digest_of_mapping(values: Mapping[str, str]) -> str:
    """Return one digest for all values, half as long as that of a file, because each attempt's row stores it."""
    text = "\n".join(f"{name} {value}" for name, value in sorted(values.items()))
    return blake3(text.encode(errors="surrogateescape")).hexdigest(length=16)


def digest_of(path: str, of_file: FileDigest | None = None, skip: Collection[str] = ()) -> str:
    """Return the hexadecimal BLAKE3 of a file's content; for a folder, of the sorted relative paths in it and the
    digest at each. ABSENT if it does not exist. `of_file` can supply known digests.

    Symbolic links to files are followed; other links in a folder count by their target path. A special file counts by
    its kind, an unreadable one by its stat ("mtime:…"). `skip`: see `tree_entries`."""
    read = of_file or _content
    try:
        found = os.stat(path)
    except OSError:
        return ABSENT
    if stat.S_ISDIR(found.st_mode):
        hasher = blake3(derive_key_context=_FOLDER)
        for name, inner, kind in tree_entries(path, skip):
            _feed(hasher, name, read(inner) if kind == "file" else kind)
        return str(hasher.hexdigest())
    return read(path) if stat.S_ISREG(found.st_mode) else _kind_digest(found)


def digest_of_set(files: Mapping[str, str]) -> str:
    """Return the digest of files by name, from their own digests; ABSENT if there are none."""
    if not files:
        return ABSENT
    hasher = blake3(derive_key_context=_SET)
    for name in sorted(files):
        _feed(hasher, os.fsencode(name), files[name])
    return str(hasher.hexdigest())


class TreeStat(NamedTuple):
    """The combined stat of a file, or of all files in a folder."""

    size: int  # bytes
    digest: str  # by size and time of modification alone: for files that the user wants compared by these
    change: str = ABSENT  # by change time and inode: where these differ, only reading decides


def tree_stat(path: str, skip: Collection[str] = ()) -> TreeStat:
    """Return the stat of a file or folder; (0, ABSENT, ABSENT) if it does not exist. `skip`: see `tree_entries`."""
    found = file_stat(path)
    if found is None:
        return TreeStat(0, ABSENT)
    if not found.folder:
        return TreeStat(found.size, mtime_digest(found), _change(found))
    whole, hasher, changes = 0, blake3(derive_key_context=_TREE_STAT), blake3()
    for name, inner, kind in tree_entries(path, skip):
        one = file_stat(inner) if kind == "file" else None
        whole += one.size if one else 0
        _feed(hasher, name, mtime_digest(one) if one else kind)
        _feed(changes, name, _change(one) if one else kind)
    return TreeStat(whole, f"mtime:{hasher.hexdigest()}", str(changes.hexdigest()))


def _change(found: FileStat) -> str:
    return f"{found.ctime_ns}:{found.inode}"


def read_file(path: str, on_read: OnRead | None = None) -> FileRecord | None:
    """Read a regular file; return None if it does not exist. `taken_ns` is 0 if the file changed meanwhile, so that
    no later stat is trusted. Raise OSError if it cannot be read."""
    taken = time.time_ns()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        before = _as_file_stat(os.fstat(fd))
        digest = _hash(fd, before.size, on_read)
        same = _as_file_stat(os.fstat(fd)) == before
    finally:
        os.close(fd)
    return FileRecord(path, before.size, before.mtime_ns, before.inode, taken if same else 0, digest, before.ctime_ns)


def tree_entries(folder: str, skip: Collection[str] = ()) -> Iterator[tuple[bytes, str, str]]:
    """Yield (path relative to the folder, path, "file" or another kind) for everything in a folder, folders
    included, sorted by relative path, without a store's folder. The paths in `skip` are left out. So are the folders
    around them, but not the rest of their content."""
    base = len(os.fsencode(os.path.join(folder, "")))
    found = []
    around = {outer for path in skip for outer in _folders_between(path, folder)}
    waiting = [folder]
    while waiting:
        try:
            listed = list(os.scandir(waiting.pop()))
        except OSError:
            continue  # a missing or unreadable folder counts as empty
        for entry in listed:
            if entry.path in skip or entry.name == _STORE:
                continue
            kind = _kind(entry)
            if kind == "folder":
                waiting.append(entry.path)
            if entry.path not in around:
                found.append((os.fsencode(entry.path)[base:], entry.path, kind))
    yield from sorted(found)


def _folders_between(path: str, folder: str) -> Iterator[str]:
    """Yield the folders that contain the path, within another folder."""
    path = os.path.dirname(path)
    while len(path) > len(folder):
        yield path
        path = os.path.dirname(path)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_file():
            return "file"
        if entry.is_symlink():
            return f"link:{text_digest(os.readlink(entry.path))}"
        return "folder" if entry.is_dir(follow_symlinks=False) else "other"
    except OSError:
        return "other"


def _content(path: str) -> str:
    return digest_with(read_file, path)


def digest_with(read: Callable[[str], FileRecord | None], path: str) -> str:
    """Return the digest of a regular file that `read` reads; its stat if it cannot be read."""
    try:
        found = read(path)
    except OSError:
        seen = file_stat(path)
        return ABSENT if seen is None else mtime_digest(seen)
    return ABSENT if found is None else found.digest


def _hash(fd: int, size: int, on_read: OnRead | None) -> str:
    """Hash a file in chunks. A memory map would kill the process if the file was truncated meanwhile."""
    hasher = blake3(max_threads=blake3.AUTO if size >= _PARALLEL else 1)
    buffer = memoryview(bytearray(min(CHUNK, max(size + 1, 4096))))
    while count := os.readv(fd, [buffer]):
        hasher.update(buffer[:count])
        if on_read is not None:
            on_read(count)
    return str(hasher.hexdigest())


def _as_file_stat(found: os.stat_result) -> FileStat:
    return FileStat(found.st_size, found.st_mtime_ns, found.st_ino, stat.S_ISDIR(found.st_mode), found.st_ctime_ns)


def _feed(hasher: blake3, name: bytes, what: str) -> None:
    text = what.encode()
    hasher.update(b"%d:%b%d:%b" % (len(name), name, len(text), text))


def _kind_digest(found: os.stat_result) -> str:
    return text_digest(f"{stat.S_IFMT(found.st_mode)}:{found.st_rdev}")


OPEN_COST = 32 * 1024
"""Bytes that can be read in the time that opening a file takes."""


class FileReader:
    """Reads files and remembers their digests: a file with an equal stat is not read again."""

    def __init__(self, known: Iterable[FileRecord] = ()) -> None:
        """`known`: files that another process has read."""
        self._known = {one.path: one for one in known}
        self._fresh: dict[str, FileRecord] = {}

    def __len__(self) -> int:
        """Return the number of remembered files."""
        return len(self._known)

    def know(self, seen: Iterable[FileRecord]) -> None:
        """Add files that another process has read. An older reading does not replace a newer one."""
        for one in seen:
            known = self._known.get(one.path)
            if known is None or known.taken_ns < one.taken_ns:
                self._known[one.path] = one

    def content(
        self,
        name: str,
        path: str,
        least: int | None = None,
        on_read: OnRead | None = None,
        pattern: str | None = None,
        without: Collection[str] = (),
    ) -> FileContent:
        """Return the content at an absolute path: by its stat if it has `least` bytes or more (None: never),
        otherwise without the paths `without`. `on_read` is called while files are read. With `pattern`, `path` is
        the location of that pattern: unless a file of this very name exists, the content is the set of matching
        files (see `matching_files`)."""
        if pattern is not None and not os.path.lexists(path):
            return self.matched(name, path, pattern, least, on_read, without)
        if least is not None:
            seen = tree_stat(path)
            if seen.size >= least:
                return FileContent(name, path, seen.digest, "mtime")
        return FileContent(name, path, digest_of(path, partial(self._digest, on_read=on_read), without))

    def matched(
        self,
        name: str,
        path: str,
        pattern: str,
        least: int | None = None,
        on_read: OnRead | None = None,
        without: Collection[str] = (),
        skip: Collection[str] = (),
        shallow: bool = False,
    ) -> FileContent:
        """Return the content of the files that match a pattern, as `content` does. Files named in `skip` are listed
        and not read; so are folders if `shallow`."""
        found = matching_files(path, pattern, without)
        if least is not None:
            looks = {one: tree_stat(inner, without) for one, inner in found.items()}
            if sum(one.size for one in looks.values()) >= least:
                files = {one: seen.digest for one, seen in looks.items()}
                return FileContent(name, path, digest_of_set(files), "mtime", matched=MatchedFiles(pattern, files))
        read = partial(self._digest, on_read=on_read)
        listed = {one for one, inner in found.items() if one in skip or (shallow and os.path.isdir(inner))}
        files = {one: "" if one in listed else digest_of(inner, read, without) for one, inner in found.items()}
        return FileContent(name, path, digest_of_set(files), matched=MatchedFiles(pattern, files))

    def effort(self, path: str, least: int | None = None, pattern: str | None = None) -> int:
        """Return how many bytes `content` would have to read. Opening a file counts as OPEN_COST bytes."""
        if pattern is not None and not os.path.lexists(path):
            files = matching_files(path, pattern).values()
            if least is not None and sum(tree_stat(one).size for one in files) >= least:
                return 0
            return sum(self.effort(one) for one in files)
        found = file_stat(path)
        if found is None or (least is not None and tree_stat(path).size >= least):
            return 0
        inner = tree_entries(path) if found.folder else [(b"", path, "file")]
        unread = (each for _, each, kind in inner if kind == "file" and self._current_reading(each) is None)
        seen = [file_stat(each) for each in unread]
        return sum(one.size + OPEN_COST for one in seen if one is not None)

    def fresh(self) -> tuple[FileRecord, ...]:
        """Return and forget the files read since the last call that a later equal stat may prove unchanged."""
        found = tuple(self._fresh.values())
        self._fresh.clear()
        return found

    def _digest(self, path: str, on_read: OnRead | None) -> str:
        known = self._current_reading(path)
        return known.digest if known else digest_with(partial(self._read, on_read=on_read), path)

    def _read(self, path: str, on_read: OnRead | None) -> FileRecord | None:
        seen = read_file(path, on_read)
        if seen is not None and is_settled(seen, seen.taken_ns):
            self._known[path] = self._fresh[path] = seen
        return seen

    def _current_reading(self, path: str) -> FileRecord | None:
        """Return the known digest of a file if its stat proves that it is still valid."""
        known = self._known.get(path)
        if known is None or not is_settled(known, known.taken_ns):
            return None
        now = file_stat(path)
        return known if now is not None and same_stat(known, now) else None
