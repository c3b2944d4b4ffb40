"""Logs of ended steps, plain or compressed. A compressed log is beside the plain one's path, with `.gz` behind it.

A compressed log is a sequence of gzip members, one for each MEMBER_BYTES of text, so that `zcat` prints it, and a
reader that wants one place decompresses one member. Each member's header holds its own length and that of its text.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import zlib
from bisect import bisect_right
from typing import BinaryIO

from rekindle.files.store_files import open_regular_file, open_store_file

MEMBER_BYTES = 1 << 20

SUFFIX = ".gz"

_HEADER = struct.Struct(
    "<4sIBBH2sHII"
)  # magic and flags, time, level, system, extra length; field, its length; lengths
_TRAILER = struct.Struct("<II")
_MAGIC, _FIELD = b"\x1f\x8b\x08\x04", b"RK"


def open_log_file(path: str) -> BinaryIO:
    """Open a log for reading, plain or compressed. Raise FileNotFoundError if nothing was printed, NotARegularFile or
    another OSError if it cannot be read."""
    try:
        return open_regular_file(path)
    except FileNotFoundError:
        try:
            packed = open_regular_file(f"{path}{SUFFIX}")
        except FileNotFoundError:
            pass
        else:
            return io.BufferedReader(_CompressedLog(packed), MEMBER_BYTES)
        raise


def content_size(log: BinaryIO) -> int:
    """Return the number of bytes of an open log's text. The position changes."""
    return log.seek(0, os.SEEK_END)


def log_size(path: str) -> int:
    """Return the number of bytes of a log's text; 0 if nothing was printed, or the log cannot be read."""
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    with contextlib.suppress(OSError), open_log_file(path) as log:
        return content_size(log)
    return 0


def compress_log(path: str) -> None:
    """Replace a log by its compressed form, which is complete before the plain one is removed. Nothing is done if there
    is no such file, or something else is at its path."""
    try:
        log = open_regular_file(path)
    except OSError:
        return
    draft = f"{path}{SUFFIX}.part"
    with log, open(open_store_file(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as packed:
        while text := log.read(MEMBER_BYTES):
            packed.write(_member(text))
        packed.flush()
        os.fsync(packed.fileno())
    os.replace(draft, f"{path}{SUFFIX}")
    os.unlink(path)


def _member(text: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(text) + packer.flush()
    length = _HEADER.size + len(body) + _TRAILER.size
    header = _HEADER.pack(_MAGIC, 0, 0, 255, 12, _FIELD, 8, length, len(text))
    return header + body + _TRAILER.pack(zlib.crc32(text), len(text))


class _CompressedLog(io.RawIOBase):
    """The text of a compressed log, which can be read from any position."""

    def __init__(self, packed: BinaryIO) -> None:
        """Raise OSError if the file is no compressed log."""
        self._packed = packed
        self._starts = [0]  # of the texts of members, and where the last one ends
        self._members: list[tuple[int, int]] = []  # position and length in the file
        self._position = 0
        self._text: tuple[int, bytes] = (-1, b"")  # the member that was read last
        at, size = 0, os.fstat(packed.fileno()).st_size
        while at < size:
            head = os.pread(packed.fileno(), _HEADER.size, at)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                packed.close()
                raise OSError(f"{packed.name} is no compressed log")
            *_, field, _, length, text = _HEADER.unpack(head)
            if field != _FIELD or length <= _HEADER.size:
                packed.close()
                raise OSError(f"{packed.name} is no compressed log")
            self._members.append((at, length))
            self._starts.append(self._starts[-1] + text)
            at += length

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the text."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position in the text, and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read text from the position, at most to the end of a member."""
        number = bisect_right(self._starts, self._position) - 1
        if number >= len(self._members):
            return 0
        if self._text[0] != number:
            at, length = self._members[number]
            body = os.pread(self._packed.fileno(), length, at)[_HEADER.size : -_TRAILER.size]
            try:
                self._text = number, zlib.decompress(body, -zlib.MAX_WBITS)
            except zlib.error as error:
                raise OSError(f"{self._packed.name} is damaged: {error}") from error
        begin = self._position - self._starts[number]
        piece = self._text[1][begin : begin + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        """Close the file."""
        self._packed.close()
        super().close()
