"""The content store: files of completed attempts, one copy of each content, named by its BLAKE3.

It is the folder `cache` of a store's folder (of the spool, if rows are elsewhere):

    contents/ab/cdef…   a content; its name is its digest
    outputs/0000/01/7   what attempt 7 has left: a document that names contents (journal/kept_outputs.py)
    new/                drafts, renamed when they are complete
    poisoned/           contents that were found to differ from their names
    lock                held shared while a document is written, exclusively while contents are removed

A content is a reflink or a copy, never a hard link to a file that a job can write. It is believed only after it was
read: whoever copies it out digests the copy."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from typing import NamedTuple

from blake3 import blake3

from rekindle.files.digests import OnRead, read_file
from rekindle.files.store_files import file_mode, make_folder, open_file, set_mode
from rekindle.journal.trees import copy_file, remove_path

SMALL = 1 << 20
"""Bytes of a file that is read and written in one piece."""

_FOLDER = "cache"
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class PoisonedContent(Exception):
    """A content differs from its name. `digest`: the name."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class ChangedMeanwhile(Exception):
    """A file changed while it was copied. `path`: the file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class StoredContent(NamedTuple):
    """A content of the store."""

    digest: str
    size: int  # bytes
    touched: float  # when it was added, or named by an attempt again; seconds since the epoch


class ContentStore:
    """The content store of a store's folder. Folders are made when they are needed."""

    def __init__(self, store: str, *, durable: bool = False) -> None:
        """`store`: the store's folder. `durable`: sync each file before it gets its name."""
        self.folder = f"{store}/{_FOLDER}"
        self._durable = durable

    def path(self, digest: str) -> str:
        """Return the path of a content."""
        return f"{self.folder}/contents/{digest[:2]}/{digest[2:]}"

    def touch(self, digest: str) -> bool:
        """Return whether a content is there. It then counts as used now, so that no other process removes it."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        except PermissionError:  # of another user of the group
            return os.path.exists(self.path(digest))
        return True

    def add_small(self, path: str) -> str:
        """Add the content of a regular file of at most SMALL bytes, unless it is there; return its digest."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            content = file.read()
        digest = str(blake3(content).hexdigest())
        if not self.touch(digest):
            self.write(self.path(digest), content)
        return digest

    def add_large(self, path: str, digest: str | None, on_read: OnRead | None = None) -> str:
        """Add the content of a regular file, unless it is there; return its digest. `digest`: as it was read before, if
        it was. Raise ChangedMeanwhile if the copy differs from that, or OSError."""
        if digest is not None and self.touch(digest):
            return digest
        draft = self._draft()
        try:
            copy_file(path, draft, on_read or _nothing)
            copied = read_file(draft, on_read)
            if copied is None or digest not in (None, copied.digest):
                raise ChangedMeanwhile(path)
            if not self.touch(copied.digest):
                set_mode(draft, file_mode(os.path.dirname(draft)))
                os.utime(draft)  # the copy has the times of the file
                self._move(draft, self.path(copied.digest))
            return copied.digest
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)

    def write(self, path: str, content: bytes) -> None:
        """Write a file of the content store as a whole."""
        draft = self._draft()
        try:
            with open(open_file(draft, os.O_WRONLY | os.O_EXCL), "wb") as file:
                file.write(content)
            self._move(draft, path)
        except BaseException:  # an interruption too
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            raise

    def copy_out(self, digest: str, size: int, target: str, on_read: OnRead | None = None) -> None:
        """Copy a content to `target`, which does not exist, and digest the copy. Raise PoisonedContent if it differs
        from its name, FileNotFoundError if it is not there, or another OSError."""
        source = self.path(digest)
        if size <= SMALL:
            with open(source, "rb") as file:
                content = file.read()
            if blake3(content).hexdigest() != digest:
                raise PoisonedContent(digest)
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as made:
                made.write(content)
        else:
            copy_file(source, target, on_read or _nothing)
            copied = read_file(target, on_read)
            if copied is None or copied.digest != digest:
                raise PoisonedContent(digest)
        if self._durable:
            _sync(target)

    def is_sound(self, digest: str) -> bool:
        """Read a content; return whether it is what its name says, or gone. Raise OSError if it cannot be read."""
        found = read_file(self.path(digest))
        return found is None or found.digest == digest

    def set_aside(self, digest: str) -> None:
        """Move a poisoned content to the folder `poisoned`, if it still differs from its name."""
        if not self.is_sound(digest):
            make_folder(f"{self.folder}/poisoned")
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.path(digest), f"{self.folder}/poisoned/{digest}")

    def contents(self) -> Iterator[StoredContent]:
        """Yield all contents, by digest."""
        top = f"{self.folder}/contents"
        for shard in sorted(_names(top)):
            for name in sorted(_names(f"{top}/{shard}")):
                digest = f"{shard}{name}"
                if _DIGEST.match(digest) is not None:
                    with contextlib.suppress(FileNotFoundError):
                        found = os.lstat(f"{top}/{shard}/{name}")
                        yield StoredContent(digest, found.st_size, found.st_mtime)

    def remove(self, digest: str, before: float) -> int:
        """Remove a content that was not touched since `before`; return the bytes that are free now."""
        try:
            found = os.lstat(self.path(digest))
            if found.st_mtime >= before:
                return 0
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return 0
        return found.st_size

    def remove_drafts(self, before: float) -> None:
        """Remove the drafts that processes which died have left since before a time."""
        place = f"{self.folder}/new"
        for name in _names(place):
            with contextlib.suppress(FileNotFoundError):
                if os.lstat(f"{place}/{name}").st_mtime < before:
                    remove_path(f"{place}/{name}")

    @contextlib.contextmanager
    def locked(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock of the content store: shared while a document is written that names contents, exclusively while
        contents are removed that no document names."""
        make_folder(self.folder)
        fd = open_file(f"{self.folder}/lock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    def _draft(self) -> str:
        make_folder(f"{self.folder}/new")
        return f"{self.folder}/new/{os.getpid()}-{secrets.token_hex(8)}"

    def _move(self, draft: str, path: str) -> None:
        if self._durable:
            _sync(draft)
        try:
            os.replace(draft, path)
        except FileNotFoundError:
            make_folder(os.path.dirname(path))
            os.replace(draft, path)
        if self._durable:
            _sync(os.path.dirname(path))


def is_locked_by_another(fd: int) -> bool:
    """Return whether another process holds a lock on an open file. Otherwise this process holds it exclusively until it
    closes the file."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return True
    return False


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _nothing(_: int) -> None:
    """Ignore progress."""
