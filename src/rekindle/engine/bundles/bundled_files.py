"""The files that a bundle has beside the rows: those of attempts, as a tar file, and those of the project."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.texts.patterns import glob_base
from rekindle.files.bundle_files import PIECE
from rekindle.files.store_files import open_regular_file
from rekindle.journal.encoding import from_json
from rekindle.journal.paths import attempt_folder
from rekindle.store.bundles import IdRuns

if TYPE_CHECKING:
    from collections.abc import Iterable

_OWN = re.compile(r"(\d+)(\.\d+\.(?:out|err)(?:\.gz)?|\.outputs|\.partial|\.subtasks|)")
"""The names of an attempt's files beside the folder of attempts: its folder, logs, and folders with kept files."""

_LOG = re.compile(r"\d+\.\d+\.(?:out|err)(?:\.gz)?")
_BLOCK = 512
_MOST_LISTED = 20


class LeftOutFile(msgspec.Struct, frozen=True):
    """A file that was asked for and is not in the bundle, and why."""

    path: str
    why: str


class LeftOutFiles(msgspec.Struct):
    """Counts the files that are left out, and keeps the first of them."""

    count: int = 0
    first: list[LeftOutFile] = msgspec.field(default_factory=list)

    def add(self, path: str, why: str) -> None:
        """Add a file."""
        self.count += 1
        if len(self.first) < _MOST_LISTED:
            self.first.append(LeftOutFile(path, why))


class AttemptFiles(msgspec.Struct):
    """The files of attempts, in the order of the attempts. `pieces` makes a tar file of them; `count` and `size` are
    those of the files that it has had so far."""

    store: str
    attempts: IdRuns
    outputs: bool  # everything; else only logs
    left_out: LeftOutFiles
    count: int = 0
    size: int = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the tar file."""
        for name, path in self._found():
            try:
                file = open_regular_file(path)
            except FileNotFoundError:
                continue  # it was removed meanwhile
            except OSError as error:
                self.left_out.add(path, error.strerror or "it cannot be read")
                continue
            with file:
                found = os.fstat(file.fileno())
                left = found.st_size  # a log that grows meanwhile is cut there
                info = tarfile.TarInfo(name)
                info.size, info.mode = left, 0o755 if found.st_mode & stat.S_IXUSR else 0o644
                yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
                self.count, self.size = self.count + 1, self.size + left
                while left:
                    piece = file.read(min(left, PIECE)) or bytes(min(left, PIECE))  # it was cut meanwhile: zeros
                    left -= len(piece)
                    yield piece
                yield bytes(-found.st_size % _BLOCK)
        yield bytes(2 * _BLOCK)

    def _found(self) -> Iterator[tuple[str, str]]:
        """Yield (name in the tar file, path). The folder that attempts share is listed once for all of them."""
        listed, own = "", dict[int, list[str]]()
        for number, attempt in enumerate(self.attempts, 1):
            folder, _, _ = attempt_folder(self.store, attempt).rpartition("/")
            if folder != listed:
                listed, own = folder, _by_attempt(folder)
            for name in own.get(attempt, ()):
                rest = name[len(str(attempt)) :]
                path = f"{folder}/{name}"
                if _LOG.fullmatch(name):
                    yield f"{number}{rest}", path
                elif self.outputs or rest == ".subtasks":
                    for inner in _files_below(path):
                        if self.outputs or _LOG.fullmatch(inner.rpartition("/")[2]):
                            yield f"{number}{rest}/{inner}", f"{path}/{inner}"


def _by_attempt(folder: str) -> dict[int, list[str]]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (names only)
    except OSError:
        return {}
    found: dict[int, list[str]] = {}
    for name in names:
        if own := _OWN.fullmatch(name):
            found.setdefault(int(own[1]), []).append(name)
    return found


def _files_below(folder: str) -> Iterator[str]:
    """Yield the files below a folder that are no links, in order; relative."""
    for at, folders, files in os.walk(folder):
        folders.sort()
        inner = at[len(folder) + 1 :]
        for name in sorted(files):
            yield f"{inner}/{name}" if inner else name


class ProjectFiles:
    """Collects the files of the workflow's folder that live attempts have recorded."""

    def __init__(self, directory: str, store: str, *, inputs: bool, outputs: bool, left_out: LeftOutFiles) -> None:
        self._directory, self._store = directory, f"{store}/"
        self._wants_inputs, self._wants_outputs, self._left_out = inputs, outputs, left_out
        self._inputs: set[str] = set()
        self._outputs: set[str] = set()
        self._outside: set[str] = set()

    def add_source(self, path: str | None) -> None:
        """Add the spec file, as a path of the bundle."""
        if path is not None and self._wants_inputs:
            self._add(self._inputs, {"path": path})

    def add_fingerprints(self, document: str) -> None:
        """Add the files that an attempt recorded, as the document has them in the bundle."""
        found: dict[str, Any] = from_json(document)
        if self._wants_inputs:
            for one in found.get("inputs", ()):
                if one.get("named") not in ("written", "made"):
                    self._add(self._inputs, one)
        for one in found.get("outputs", ()):
            self._add(self._outputs, one)

    def _add(self, known: set[str], one: dict[str, Any]) -> None:
        path = one["path"]
        if path.startswith("/"):
            if (known is self._inputs or self._wants_outputs) and path not in self._outside:
                self._outside.add(path)
                self._left_out.add(path, "it is outside of the workflow's folder")
        elif path.startswith("./"):
            matched = one.get("matched")
            if matched is None:
                known.add(path[2:])
            elif matched.get("files") is None:
                known.add(glob_base(path, matched["pattern"])[2:])
            else:
                root = path.removesuffix(matched["pattern"])[2:]
                known.update(root + name for name in matched["files"])

    def paths(self) -> Iterator[str]:
        """Yield the files, relative to the workflow's folder, in order."""
        wanted = self._outputs if self._wants_outputs else set[str]()
        if self._wants_inputs:
            wanted = wanted | (self._inputs - self._outputs)
        found: set[str] = set()
        for path in wanted:
            found.update(self._files(path))
        yield from sorted(found)

    def _files(self, path: str) -> Iterator[str]:
        whole = f"{self._directory.rstrip('/')}/{path}"
        if os.path.isdir(whole):  # noqa: PTH112 (the path may be any bytes)
            for inner in _files_below(whole):
                if not f"{whole}/{inner}".startswith(self._store):
                    yield from self._file(f"{path}/{inner}")
        elif not os.path.exists(whole):  # noqa: PTH110
            self._left_out.add(path, "it does not exist")
        else:
            yield from self._file(path)

    def _file(self, path: str) -> Iterator[str]:
        try:
            path.encode()
        except UnicodeEncodeError:
            self._left_out.add(path, "its name is not UTF-8")
            return
        whole = f"{self._directory.rstrip('/')}/{path}"
        if os.path.isfile(whole):  # noqa: PTH113
            yield path
        else:
            self._left_out.add(path, "it is not a file")


class _Stream:
    """Pieces as a file that tarfile reads."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, unless the end is reached."""
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def drain(self) -> None:
        """Read what is left."""
        for _ in self._pieces:
            pass


def unpack_tar(pieces: Iterator[bytes], write: Callable[[tarfile.TarInfo, Iterable[bytes]], None]) -> int:
    """Pass each member of a tar file to `write`, and return the number of members. Raise tarfile.TarError."""
    stream, count = _Stream(pieces), 0
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[call-overload]
        while (info := tar.next()) is not None:
            tar.members.clear()  # tarfile would keep all of them
            count += 1
            content = tar.extractfile(info) if info.isreg() else None
            if content is None:
                raise tarfile.ReadError(f"{info.name!r} is no plain file")
            write(info, iter(partial(content.read, PIECE), b""))
    stream.drain()
    return count
