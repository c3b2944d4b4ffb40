"""What a file or folder holds, as a digest; and how it looks, which is cheaper and says a little less.

A look proves that a file has not changed since it was read only where its times had settled by then: two changes within
one tick of the file system's clock leave the same time. The change time is part of a look, because size, modification
time and inode can be equal although the content is not: `cp -p` and `tar` set the modification time.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from blake3 import blake3

from rekindle.domain.changes.prints import ABSENT, FileSeen

CHUNK = 4 * 1024 * 1024
"""Bytes that are read at a time."""

SLACK = 20_000_000
COARSE_SLACK = 2_000_000_000
"""Nanoseconds until a time of a file has settled; the second where the file system keeps whole seconds."""

_FOLDER = "rekindle 2026-11 folder"
_GLANCE = "rekindle 2026-11 glance"
_SET = "rekindle 2026-11 set"
_STORE = ".rekindle"  # a store's folder: its content changes with each attempt, so it is no input
_PARALLEL = 1024 * 1024  # bytes from which a chunk is worth several threads
_SECOND = 1_000_000_000

Tell = Callable[[int], None]
"""Called with how many bytes have been read since the last call; what it raises ends the reading."""

OfFile = Callable[[str], str]
"""The digest of a regular file's content; ABSENT where it is gone."""


class Look(NamedTuple):
    """How a file or folder looks without being read."""

    size: int  # bytes
    mtime_ns: int
    inode: int
    folder: bool = False
    ctime_ns: int = 0


def look(path: str) -> Look | None:
    """How it looks, symbolic links followed; None: it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _look(found)


def settled(found: Look | FileSeen, taken_ns: int) -> bool:
    """Whether a file that looked like this when it was read at `taken_ns`, and looks the same now, holds the same."""
    times = (found.mtime_ns, found.ctime_ns)
    return all(at + (SLACK if at % _SECOND else COARSE_SLACK) <= taken_ns for at in times)


def same_look(seen: FileSeen, now: Look) -> bool:
    """Whether a regular file looks as it did when it was read."""
    then = (seen.size, seen.mtime_ns, seen.inode, seen.ctime_ns)
    return then == (now.size, now.mtime_ns, now.inode, now.ctime_ns) and not now.folder


def mtime_digest(found: Look) -> str:
    """What stands for the content of a file that is told by its size and time of modification."""
    return f"mtime:{found.size}:{found.mtime_ns}"


def text_digest(text: str) -> str:
    """The digest of a text."""
    return blake3(text.encode(errors="surrogateescape")).hexdigest()


def digest_of_mapping(values: Mapping[str, str]) -> str:
    """Return one digest for all values, half as long as that of a file: each attempt's row has it."""
    text = "\n".join(f"{name} {value}" for name, value in sorted(values.items()))
    return blake3(text.encode(errors="surrogateescape")).hexdigest(length=16)


def digest_of(path: str, of_file: OfFile | None = None, skip: Collection[str] = ()) -> str:
    """The hexadecimal BLAKE3 of what a file holds; of a folder, over the relative paths in it, sorted, and what stands
    at each (`of_file` may know that of a file already). ABSENT when it is not there.

    Symbolic links to files are followed; within a folder, other links count by where they point to. What is no file
    counts by its kind, and what cannot be read by its look ("mtime:…"). `skip`: see `entries`."""
    read = of_file or _content
    try:
        found = os.stat(path)
    except OSError:
        return ABSENT
    if stat.S_ISDIR(found.st_mode):
        hasher = blake3(derive_key_context=_FOLDER)
        for name, inner, kind in entries(path, skip):
            _feed(hasher, name, read(inner) if kind == "file" else kind)
        return str(hasher.hexdigest())
    return read(path) if stat.S_ISREG(found.st_mode) else _kind_digest(found)


def digest_of_set(files: Mapping[str, str]) -> str:
    """The digest of files by name, from their own digests; ABSENT when there are none."""
    if not files:
        return ABSENT
    hasher = blake3(derive_key_context=_SET)
    for name in sorted(files):
        _feed(hasher, os.fsencode(name), files[name])
    return str(hasher.hexdigest())


class Glance(NamedTuple):
    """How a file, or all files of a folder together, look."""

    size: int  # bytes
    digest: str  # by size and time of modification alone: for files that the user wants compared by these
    change: str = ABSENT  # by change time and inode: where these differ, only reading decides


def glance(path: str, skip: Collection[str] = ()) -> Glance:
    """How a file or a folder looks. (0, ABSENT, ABSENT) when it is not there. `skip`: see `entries`."""
    found = look(path)
    if found is None:
        return Glance(0, ABSENT)
    if not found.folder:
        return Glance(found.size, mtime_digest(found), _change(found))
    whole, hasher, changes = 0, blake3(derive_key_context=_GLANCE), blake3()
    for name, inner, kind in entries(path, skip):
        one = look(inner) if kind == "file" else None
        whole += one.size if one else 0
        _feed(hasher, name, mtime_digest(one) if one else kind)
        _feed(changes, name, _change(one) if one else kind)
    return Glance(whole, f"mtime:{hasher.hexdigest()}", str(changes.hexdigest()))


def _change(found: Look) -> str:
    return f"{found.ctime_ns}:{found.inode}"


def read_file(path: str, tell: Tell | None = None) -> FileSeen | None:
    """Read a regular file; None: it is not there. `taken_ns` is 0 where it changed meanwhile, so that no later look is
    trusted. OSError when it cannot be read."""
    taken = time.time_ns()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        before = _look(os.fstat(fd))
        digest = _hash(fd, before.size, tell)
        same = _look(os.fstat(fd)) == before
    finally:
        os.close(fd)
    return FileSeen(path, before.size, before.mtime_ns, before.inode, taken if same else 0, digest, before.ctime_ns)


def entries(folder: str, skip: Collection[str] = ()) -> Iterator[tuple[bytes, str, str]]:
    """(path relative to the folder, path, "file" or what else it is) of all that a folder holds, folders themselves
    too, sorted by relative path, without a store's folder. The files and folders at the paths of `skip` are left out,
    and so are the folders around them, except for the rest of what these hold."""
    base = len(os.fsencode(os.path.join(folder, "")))
    found = []
    around = {outer for path in skip for outer in _folders_between(path, folder)}
    waiting = [folder]
    while waiting:
        try:
            listed = list(os.scandir(waiting.pop()))
        except OSError:
            continue  # it is gone, or may not be looked into: it counts as empty
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
    """The folders that contain the path, within another folder."""
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
    return digest_by(read_file, path)


def digest_by(read: Callable[[str], FileSeen | None], path: str) -> str:
    """What a regular file holds, as `read` finds it; its look where it cannot be read."""
    try:
        found = read(path)
    except OSError:
        seen = look(path)
        return ABSENT if seen is None else mtime_digest(seen)
    return ABSENT if found is None else found.digest


def _hash(fd: int, size: int, tell: Tell | None) -> str:
    """Chunk by chunk, not as a memory map: a file that is cut off while it is mapped kills the process."""
    hasher = blake3(max_threads=blake3.AUTO if size >= _PARALLEL else 1)
    buffer = memoryview(bytearray(min(CHUNK, max(size + 1, 4096))))
    while count := os.readv(fd, [buffer]):
        hasher.update(buffer[:count])
        if tell is not None:
            tell(count)
    return str(hasher.hexdigest())


def _look(found: os.stat_result) -> Look:
    return Look(found.st_size, found.st_mtime_ns, found.st_ino, stat.S_ISDIR(found.st_mode), found.st_ctime_ns)


def _feed(hasher: blake3, name: bytes, what: str) -> None:
    text = what.encode()
    hasher.update(b"%d:%b%d:%b" % (len(name), name, len(text), text))


def _kind_digest(found: os.stat_result) -> str:
    return text_digest(f"{stat.S_IFMT(found.st_mode)}:{found.st_rdev}")
