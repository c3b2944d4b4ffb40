"""What completed attempts have left in their outputs, kept in the content store.

An attempt has one document there: for each declared output, the files, folders and symbolic links in it, with their
modes and times, and the digest of each file. An output that is itself a symbolic link is kept as a link and as what it
leads to; links within a folder are kept as links. Extended attributes and owners are not kept, nor are holes of small
files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from rekindle.files.digests import FileReader, OnRead, digest_of, tree_stat
from rekindle.files.store_files import kind_name
from rekindle.journal.content_store import SMALL, ChangedMeanwhile, ContentStore, is_locked_by_another
from rekindle.journal.encoding import json_reader, to_json

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileContent

MODES = 0o777
"""The bits of a mode that are kept."""

_STORE = ".rekindle"
_READ_AGAIN = 3  # times that contents are added which others have removed meanwhile


class KeptFile(msgspec.Struct, frozen=True, array_like=True):
    """A file, folder or symbolic link in an output."""

    path: str  # relative to the output; "" for the output itself
    kind: str  # "file", "folder" or "link"
    text: str  # the digest of a file, the target of a link; "" for a folder
    mode: int
    size: int  # bytes of a file
    mtime_ns: int


class KeptOutput(msgspec.Struct, frozen=True):
    """A declared output as an attempt has left it."""

    name: str  # as declared
    path: str  # absolute, when the attempt ran
    digest: str  # as in the attempt's fingerprint
    by: str  # "content" or "mtime": what that digest is of
    files: tuple[KeptFile, ...]  # a folder before what is in it
    link: str | None = None  # the target, if the output is a symbolic link; `files` are what it leads to


class KeptOutputs(msgspec.Struct, frozen=True):
    """The document of an attempt."""

    attempt: int
    outputs: tuple[KeptOutput, ...]

    @property
    def contents(self) -> dict[str, int]:
        """The size in bytes of each content, by digest."""
        return {one.text: one.size for output in self.outputs for one in output.files if one.kind == "file"}


class CannotKeep(Exception):
    """Outputs cannot be kept: the text says why."""


_DOCUMENT = json_reader(KeptOutputs)


def document_path(store: ContentStore, attempt: int) -> str:
    """Return the path of an attempt's document. 256 attempts share a folder, as those of attempts."""
    return f"{store.folder}/outputs/{attempt >> 16:04x}/{attempt >> 8 & 0xFF:02x}/{attempt}"


def documents(store: ContentStore) -> Iterator[int]:
    """Yield the attempts that have a document, in order."""
    top = f"{store.folder}/outputs"
    for place in sorted(_folders(top)):
        for inner in sorted(_folders(f"{top}/{place}")):
            with contextlib.suppress(FileNotFoundError):
                names = os.listdir(f"{top}/{place}/{inner}")
                yield from sorted(int(name) for name in names if name.isdecimal())


def read_document(store: ContentStore, attempt: int) -> KeptOutputs | None:
    """Return an attempt's document; None if there is none that can be read."""
    try:
        with open(document_path(store, attempt), "rb") as file:
            return decode_document(file.read())
    except FileNotFoundError:
        return None


def decode_document(content: bytes) -> KeptOutputs | None:
    """Return the document; None if it is damaged."""
    try:
        found: KeptOutputs = _DOCUMENT(content)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError):
        return None
    return found


def remove_document(store: ContentStore, attempt: int) -> KeptOutputs | None:
    """Remove an attempt's document, unless its outputs are being restored; return it if it could be read."""
    path = document_path(store, attempt)
    with contextlib.suppress(FileNotFoundError), open(path, "rb+") as file:
        if is_locked_by_another(file.fileno()):
            return None
        found = decode_document(file.read())
        os.unlink(path)
        return found
    return None


@contextlib.contextmanager
def held_document(store: ContentStore, attempt: int) -> Iterator[KeptOutputs | None]:
    """Hold an attempt's document, so that no other process removes it or restores from it; None if there is none that
    can be read."""
    try:
        file = open(document_path(store, attempt), "rb+")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        yield None
        return
    with file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        there = os.path.exists(document_path(store, attempt))
        yield decode_document(file.read()) if there else None


def keep_outputs(
    store: ContentStore,
    attempt: int,
    outputs: Sequence[FileContent],
    reader: FileReader,
    most: int,
    on_read: OnRead | None = None,
) -> KeptOutputs:
    """Add what an attempt has left to the content store, and write its document.

    `outputs`: its fingerprint; `reader`: has read them; `most`: bytes that the content store may hold. Raise CannotKeep
    if an output changes meanwhile, holds what cannot be kept, or is too large; or OSError, as for a full disk. Contents
    that were added then stay until unnamed ones are removed."""
    found = KeptOutputs(attempt, tuple(_Adder(store, reader, most, on_read).add(one) for one in outputs))
    text = to_json(found)
    for _ in range(_READ_AGAIN):
        with store.locked(exclusive=False):
            store.write(document_path(store, attempt), text)
            gone = [digest for digest in found.contents if not store.touch(digest)]
        if not gone:
            return found
        for one in outputs:  # contents that others have removed meanwhile
            _Adder(store, reader, most, on_read).add(one)
    raise CannotKeep("its contents are removed by others again and again")


class _Adder:
    """Adds outputs to the content store, up to a number of bytes together."""

    def __init__(self, store: ContentStore, reader: FileReader, most: int, on_read: OnRead | None) -> None:
        self._store, self._reader, self._most, self._on_read = store, reader, most, on_read
        self._bytes = 0

    def add(self, recorded: FileContent) -> KeptOutput:
        """Add an output; return it. CannotKeep if it differs from its fingerprint."""
        top = os.path.realpath(recorded.path)
        try:
            files = tuple(self._files(top, "", os.stat(top)))
        except (ChangedMeanwhile, FileNotFoundError) as error:
            raise CannotKeep(f"the output {recorded.name} changed while it was kept") from error
        link = os.readlink(recorded.path) if os.path.islink(recorded.path) else None
        output = KeptOutput(recorded.name, recorded.path, recorded.digest, recorded.by, files, link)
        if digest_as_recorded(recorded.path, output) != recorded.digest:
            raise CannotKeep(f"the output {recorded.name} changed while it was kept")
        return output

    def _files(self, path: str, inner: str, found: os.stat_result) -> Iterator[KeptFile]:
        mode, times = stat.S_IMODE(found.st_mode) & MODES, found.st_mtime_ns
        if stat.S_ISREG(found.st_mode):
            yield KeptFile(inner, "file", self._add_file(path, found.st_size), mode, found.st_size, times)
        elif stat.S_ISDIR(found.st_mode):
            yield KeptFile(inner, "folder", "", mode, 0, times)
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                if entry.name == _STORE:
                    raise CannotKeep(f"{path} holds a store")
                one = entry.stat(follow_symlinks=False)
                yield from self._files(entry.path, f"{inner}/{entry.name}".lstrip("/"), one)
        elif stat.S_ISLNK(found.st_mode):
            yield KeptFile(inner, "link", os.readlink(path), 0, 0, times)
        else:
            raise CannotKeep(f"{path} is {kind_name(found.st_mode)}")

    def _add_file(self, path: str, size: int) -> str:
        self._bytes += size
        if self._bytes > self._most:
            raise CannotKeep("the outputs are larger than the cache may be")
        if size <= SMALL:
            return self._store.add_small(path)
        known = self._reader.effort(path) == 0  # else it changed when it was read, or just before
        digest = self._reader.content("", path).digest if known else None
        return self._store.add_large(path, digest, self._on_read)


def digest_as_recorded(path: str, output: KeptOutput) -> str:
    """Return the digest of what is at a path, in the way that the output's was taken. The files of the output count as
    they are kept: they are not read."""
    if output.by == "mtime":
        return tree_stat(path).digest
    top = os.path.realpath(path)
    known = {f"{top}/{one.path}" if one.path else top: one.text for one in output.files if one.kind == "file"}
    return digest_of(top, _from(known))


def _from(known: dict[str, str]) -> Callable[[str], str]:
    return lambda path: known.get(path) or digest_of(path)


def _folders(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
