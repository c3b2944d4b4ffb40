"""The file of a bundle: a zip file with a manifest, whose comment ends with the digest of everything before that.

Each member is written and read a piece at a time. Equal contents give equal bytes (with the same zlib)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from blake3 import blake3

PIECE = 1 << 20
"""Bytes that are read at once."""

_COMMENT = b"rekindle bundle, BLAKE3 of the bytes before: "
_DIGITS = 64
_DATE = (1980, 1, 1, 0, 0, 0)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_LARGEST_LIST = 256 << 20  # bytes of a manifest

MANIFEST = "manifest.json"


class DamagedBundle(Exception):
    """The file is no bundle, or it is damaged. The text says what is wrong."""


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of a bundle. `mtime_ns` and `executable` are those of a file of the project."""

    name: str
    size: int
    blake3: str
    sha256: str
    mtime_ns: int | None = None
    executable: bool = False


class BundleFileWriter:
    """Writes the file of a bundle. Nothing is at its path before `close`; `discard` removes what was written. Without a
    path, members are only measured."""

    def __init__(self, path: Path | None) -> None:
        """Raise OSError."""
        self.members: list[Member] = []
        self.digest = ""
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        if path is not None:
            self._draft = path.with_name(f".{path.name}.{os.getpid()}.part")
            self._file = self._draft.open("xb+")
            self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def add(
        self, name: str, pieces: Iterable[bytes], *, mtime_ns: int | None = None, executable: bool = False
    ) -> Member:
        """Write a member."""
        size, short, long = 0, blake3(), hashlib.sha256()
        info = zipfile.ZipInfo(name, _DATE)
        info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
        info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
        with contextlib.nullcontext() if self._zip is None else self._zip.open(info, "w", force_zip64=True) as file:
            for piece in pieces:
                size += len(piece)
                short.update(piece)
                long.update(piece)
                if file is not None:
                    file.write(piece)
        found = Member(name, size, short.hexdigest(), long.hexdigest(), mtime_ns, executable)
        self.members.append(found)
        return found

    def close(self) -> int:
        """Finish the file, and return its size in bytes; 0 without a path."""
        if self._zip is None or self._path is None:
            return 0
        self._zip.comment = _COMMENT + b"0" * _DIGITS
        self._zip.close()
        size = self._file.seek(0, os.SEEK_END)
        self.digest = digest_of_file(self._file, size - _DIGITS)
        self._file.seek(size - _DIGITS)
        self._file.write(self.digest.encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._draft.replace(self._path)
        return size

    def discard(self) -> None:
        """Remove what was written."""
        if self._zip is not None and not self._file.closed:
            self._zip.fp = None  # so that it writes no end
            self._file.close()
            self._draft.unlink(missing_ok=True)


def digest_of_file(file: BinaryIO, size: int) -> str:
    """Return the digest of the first `size` bytes of a file."""
    file.seek(0)
    found = blake3()
    while size and (piece := file.read(min(size, PIECE))):
        found.update(piece)
        size -= len(piece)
    return found.hexdigest()


class BundleFile:
    """An open bundle: every byte of the file has been compared with its digest. `digest` identifies the bundle."""

    def __init__(self, path: Path) -> None:
        """Raise DamagedBundle, or OSError."""
        self._file = path.open("rb")
        try:
            self.digest = self._verified()
            self._zip = zipfile.ZipFile(self._file)
            self._infos = {info.filename: info for info in self._zip.infolist()}
            self.manifest = b"".join(self._pieces(self._info(MANIFEST), _LARGEST_LIST))
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            self._file.close()
            raise DamagedBundle(f"it is no zip file that can be read ({error})") from error
        except DamagedBundle:
            self._file.close()
            raise
        self._members: dict[str, Member] = {}

    def _verified(self) -> str:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - _DIGITS - len(_COMMENT)))
        end = self._file.read()
        if not end.startswith(_COMMENT):
            raise DamagedBundle("it is no bundle of rekindle, or its end is missing")
        digest = end[-_DIGITS:].decode("ascii", "replace")
        if digest_of_file(self._file, size - _DIGITS) != digest:
            raise DamagedBundle("its bytes are not those that were written")
        return digest

    def expect(self, members: Iterable[Member]) -> None:
        """Set what the manifest says of the members. Raise DamagedBundle unless the file has exactly these."""
        self._members = {one.name: one for one in members}
        if {*self._members, MANIFEST} != self._infos.keys() or len(self._zip.infolist()) != len(self._infos):
            raise DamagedBundle("its members are not those that its manifest lists")
        for name in self._infos:
            self._info(name)

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = self._infos.get(name)
        if info is None:
            raise DamagedBundle(f"it has no {name}")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED or kind not in (0, stat.S_IFREG):
            raise DamagedBundle(f"{name} is no plain file")
        return info

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member. Raise DamagedBundle, at the latest at its end, if it is not what the manifest
        says."""
        member = self._members.get(name)
        if member is None:
            raise DamagedBundle(f"it has no {name}")
        found, size = blake3(), 0
        for piece in self._pieces(self._info(name), member.size):
            found.update(piece)
            size += len(piece)
            yield piece
        if size != member.size or found.hexdigest() != member.blake3:
            raise DamagedBundle(f"{name} is not what its manifest says")

    def _pieces(self, info: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
        """Yield the content, up to `most` bytes: whatever the file claims, no more is unpacked."""
        left = most
        try:
            with self._zip.open(info) as member:
                while piece := member.read(PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise DamagedBundle(f"{info.filename} is larger than its manifest says")
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise DamagedBundle(f"{info.filename} cannot be read ({error})") from error

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()


def read_file(path: str) -> Iterator[bytes]:
    """Yield the content of a file. Raise OSError."""
    with Path(path).open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a member, without their ends."""
    rest: list[bytes] = []
    for piece in pieces:
        *whole, last = piece.split(b"\n")
        for line in whole:
            yield b"".join((*rest, line)) if rest else line
            rest = []
        if last:
            rest.append(last)
    if rest:
        yield b"".join(rest)


def is_safe(name: str) -> bool:
    """Return whether a name from outside stays below the folder where it is unpacked."""
    return bool(name) and "\0" not in name and not {"", ".", ".."} & set(name.split("/"))
