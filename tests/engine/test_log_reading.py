"""Pieces of logs, and search in them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekindle.domain.errors import BadSelection, Refused, SlowPattern
from rekindle.engine.queries import log_reading as reading
from rekindle.engine.results import LogFile

PARTS = [
    b"line\n",
    b"\r\n",
    b"bar\r",
    "naïve 日本 🙂".encode(),
    b"\x1b[1;31m",
    b"\x1b[0m",
    b"\x00",
    b"\xff\x80\x80",
    b"x" * 40,
]


def log(path: Path, *, final: bool = True) -> LogFile:
    return LogFile(1, "run", "stdout", str(path), final)


def written(path: Path, data: bytes, *, final: bool = True) -> LogFile:
    path.write_bytes(data)
    return log(path, final=final)


@given(st.lists(st.sampled_from(PARTS), max_size=80).map(b"".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_pieces_in_either_direction_are_the_whole_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(reading, "PIECE_BYTES", 64)
    file = written(tmp_path / "log", data)
    forwards, at = b"", 0
    while (piece := reading.piece_from(file, at)).data:
        assert piece.start == at
        assert len(piece.data) <= 64
        forwards, at = forwards + piece.data, piece.end
    assert forwards == data
    backwards, before = b"", None
    while (piece := reading.piece_before(file, before)).data:
        assert piece.end == (len(data) if before is None else before)
        assert len(piece.data) <= 64
        backwards, before = piece.data + backwards, piece.start
    assert backwards == data


@pytest.mark.parametrize("cut", [b"\xe6", b"\xe6\x97", b"\xf0\x9f\x99", b"\x1b", b"\x1b[1;3", b"\r"])
def test_half_a_character_or_escape_sequence_waits_for_its_rest(tmp_path: Path, cut: bytes) -> None:
    file = written(tmp_path / "log", b"text" + cut, final=False)
    assert reading.last_piece(file).data == reading.piece_from(file, 0).data == b"text"
    assert reading.piece_from(log(tmp_path / "log"), 0).data == b"text" + cut


def test_a_piece_begins_and_ends_with_a_line(tmp_path: Path) -> None:
    file = written(tmp_path / "log", b"".join(b"line %07d\n" % number for number in range(20_000)))
    for piece in (reading.last_piece(file), reading.piece_before(file, 150_001), reading.piece_from(file, 13)):
        assert 60_000 < len(piece.data) <= reading.PIECE_BYTES
    assert reading.last_piece(file).data.startswith(b"line ")
    assert reading.piece_from(file, 13).data.endswith(b"\n")
    around = reading.piece_around(file, 130_005)
    assert around.data.startswith(b"line ")
    assert around.start < 130_005 < around.end


def test_a_piece_of_short_lines_is_bounded_by_their_number(tmp_path: Path) -> None:
    file = written(tmp_path / "log", b"\n" * 200_000)
    assert reading.piece_from(file, 0).data == reading.last_piece(file).data == b"\n" * reading.MOST_LINES


@pytest.mark.parametrize("start", [0, 700_000, reading._WINDOW - 3, reading._WINDOW, 2_500_000, 3_000_000])
@pytest.mark.parametrize("pattern", [False, True])
def test_search_finds_offsets_from_any_byte_in_both_directions(tmp_path: Path, start: int, pattern: bool) -> None:
    window = reading._WINDOW
    places = [5, 699_999, window - 4, window + 900_000, 2 * window - 1, 2_999_000]
    data = bytearray("é\n".encode() * 1_000_000)
    for at in places:
        data[at - 1 : at + 7] = b"\nNeedle\n"
    file = written(tmp_path / "log", bytes(data))
    found = reading.search_log(file, "^Need.*e$" if pattern else "needle", start, pattern=pattern)
    assert [one.offset for one in found.matches] == [at for at in places if at >= start]
    assert all(one.found == b"Needle" and one.length == 6 for one in found.matches)
    found = reading.search_log(file, "^Need.*e$" if pattern else "needle", start, pattern=pattern, backwards=True)
    assert [one.offset for one in found.matches] == [at for at in reversed(places) if at < start]


def test_search_goes_on_where_it_ended(tmp_path: Path) -> None:
    file = written(tmp_path / "log", b"hit and hit\n" * 100)
    offsets: list[int] = []
    at: int | None = 0
    while at is not None:
        found = reading.search_log(file, "hit", at, pattern=False)
        offsets += [one.offset for one in found.matches]
        at = found.resume
    assert offsets == [12 * line + place for line in range(100) for place in (0, 8)]


def test_a_search_ends_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SEARCH_SECONDS", 0.0)
    path = tmp_path / "log"
    os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 200 << 20)
    found = reading.search_log(log(path), "x", 0, pattern=False)
    assert not found.matches
    assert found.resume is not None
    assert found.size == 200 << 20
    backwards = reading.search_log(log(path), "x", 150 << 20, pattern=False, backwards=True)
    assert backwards.resume is not None
    assert backwards.resume <= 150 << 20


def test_a_wrong_and_a_slow_expression_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "log", b"a" * 60_000 + b"!\n")
    with pytest.raises(BadSelection):
        reading.search_log(file, "(", 0, pattern=True)
    began = time.monotonic()
    with pytest.raises(SlowPattern):
        reading.search_log(file, "(a|aa)+$", 0, pattern=True)
    assert time.monotonic() - began < 20


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("link", "fifo", "folder"):
        for read in (reading.last_piece, lambda file: reading.search_log(file, "s", 0, pattern=False)):
            with pytest.raises(Refused):
                read(log(tmp_path / name))
    assert reading.last_piece(log(tmp_path / "none")).data == b""
