"""The journal's file: what is written comes back, a torn end waits, damage is named."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rekindle.domain.errors import JournalError
from rekindle.domain.models import Failure, LeftProcess, LeftRunning, StepOutcome
from rekindle.domain.states import Cause, State
from rekindle.journal.log import (
    Damage,
    JournalWriter,
    encode_line,
    read_past_damage,
    read_records,
    records_at_leaving,
    repair_end,
    restore_length,
)
from rekindle.journal.records import Closed, Ended, Leaving, Opened, Record, Returned, Started, StepEnded, StepStarted

OUTCOME = StepOutcome(0, "run", State.FAILED, cause=Cause.EXIT, exit_code=3, started=1.5, ended=2.5)
RECORDS: list[Record] = [
    Opened(worker="w", host="h", boot_id="b", pid=7, pid_start=8, at=1.0),
    Started(attempt=1, token="a", at=2.0, pid=10, pid_start=11),
    StepEnded(attempt=1, token="a", step=OUTCOME),
    StepStarted(attempt=1, token="a", step=1, at=3.0),
    Ended(
        attempt=1,
        token="a",
        ended=4.0,
        state=State.FAILED,
        cause=Cause.EXIT,
        exit_code=3,
        failure=Failure(stderr="line\nline two \u2028 ünï"),
        result='{"a": 1}',
        steps=(OUTCOME,),
    ),
    Returned(tokens=("b",), attempts=(2,)),
    Closed(at=9.0),
]


def write(path: Path, records: list[Record]) -> None:
    writer = JournalWriter(path)
    writer.append(*records)
    writer.close()


def test_what_a_worker_said_at_its_end_is_found_before_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    said = Started(attempt=1, token='"type":"leaving"', at=2.0)
    write(path, [*RECORDS[:1], said, Leaving(("a",)), *RECORDS[2:]])
    _, end = read_records(path)
    assert records_at_leaving(path, end) == [Leaving(("a",)), Closed(at=9.0)]
    assert records_at_leaving(path, end - len(encode_line(Closed(at=9.0)))) == [Leaving(("a",))]
    assert records_at_leaving(path, len(encode_line(RECORDS[0])) + len(encode_line(said))) == []
    assert records_at_leaving(tmp_path / "none", 5) == []


def test_every_kind_of_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS)
    records, offset = read_records(path)
    assert records == RECORDS
    assert offset == path.stat().st_size


def test_an_end_is_written_and_read_under_the_names_that_stored_journals_have(tmp_path: Path) -> None:
    text = (
        b'{"type":"ended","attempt":1,"token":"a","at":4.0,"state":5,"started":2.0,"cause":"exit","exit_code":3,'
        b'"left_running":{"killed":true,"count":1,"processes":[{"pid":7,"name":"sleep"}]},'
        b'"steps":[{"position":0,"name":"run","state":5}]}'
    )
    path = tmp_path / "w.journal"
    path.write_bytes(b"%08x %b\n" % (crc32(text), text))
    [ended] = read_records(path)[0]
    assert isinstance(ended, Ended)
    assert (ended.ended, ended.state, ended.cause) == (4.0, State.FAILED, Cause.EXIT)
    assert ended.left_running == LeftRunning(True, 1, (LeftProcess(7, "sleep"),))
    written = json.loads(encode_line(ended)[9:])
    assert written.items() >= {one: value for one, value in json.loads(text).items() if one != "steps"}.items()
    assert "worker" not in written


def test_a_journal_that_is_not_there_yet_has_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl") == ([], 0)
    assert repair_end(tmp_path / "none.jsonl") == 0


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:3])
    _, offset = read_records(path)
    assert read_records(path, offset) == ([], offset)
    write(path, RECORDS[3:])
    assert read_records(path, offset)[0] == RECORDS[3:]


@given(cut=st.integers(min_value=0))
def test_a_torn_end_is_left_for_later_and_cut_off_by_mending(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "w.jsonl"
    lines = [encode_line(record) for record in RECORDS]
    content = b"".join(lines)
    cut %= len(content) + 1
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    end = sum(len(line) for line in lines[:whole])
    assert read_records(path) == (RECORDS[:whole], end)
    assert repair_end(path) == cut - end
    assert path.stat().st_size == end
    write(path, [RECORDS[-1]])
    assert read_records(path)[0] == [*RECORDS[:whole], RECORDS[-1]]


def test_mending_finds_a_line_end_that_is_far_back(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:1])
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"x" * 300_000)
    assert repair_end(path) == 300_000
    assert path.stat().st_size == whole


@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_a_flipped_byte_is_never_taken_for_a_record(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "w.jsonl"
    content = bytearray(b"".join(encode_line(record) for record in RECORDS))
    position %= len(content)
    content[position] ^= flip
    path.write_bytes(content)
    records, offset, damaged = read_past_damage(path)
    assert damaged or offset < len(content) or records == RECORDS, "the damage is seen, or only a newline is gone"
    assert [record for record in records if record in RECORDS] == records


def test_damage_in_the_middle_is_refused_with_its_place_and_can_be_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    lines = [encode_line(record) for record in RECORDS]
    bad = b"0" * 8 + lines[1][8:]
    path.write_bytes(lines[0] + bad + b"".join(lines[2:]))
    with pytest.raises(JournalError, match=rf"w\.jsonl: {len(bad)} bytes from byte {len(lines[0])} on cannot be read"):
        read_records(path)
    records, offset, damaged = read_past_damage(path)
    assert records == [RECORDS[0], *RECORDS[2:]]
    assert offset == path.stat().st_size
    assert [(damage.offset, damage.length) for damage in damaged] == [(len(lines[0]), len(bad))]


@pytest.mark.parametrize("text", [b"", b"hello", b"00000000 {}", b"zzzzzzzz {}", b"12345678"])
def test_a_line_that_is_no_record_is_damage(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(text + b"\n")
    assert read_past_damage(path)[0] == []
    assert len(read_past_damage(path)[2]) == 1


def test_a_full_disk_is_told_with_the_journals_name() -> None:
    writer = JournalWriter("/dev/full")
    with pytest.raises(JournalError, match=r"/dev/full.*No space left"):
        writer.append(RECORDS[0])
    writer.close()


def torn_writer(path: Path, record: Record, taken: int) -> JournalWriter:
    """A writer of which the disk has taken only so many bytes of a line."""
    writer = JournalWriter(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + taken, resource.RLIM_INFINITY))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.write(encode_line(record))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return writer


@given(taken=st.integers(min_value=0), interrupted=st.booleans())
@example(taken=-1, interrupted=False)  # only the newline is missing
def test_a_line_that_the_disk_took_a_piece_of_is_written_again_and_harms_no_other_writers(
    tmp_path_factory: pytest.TempPathFactory, taken: int, interrupted: bool
) -> None:
    path = tmp_path_factory.mktemp("piece") / "w.jsonl"
    write(path, RECORDS[:2])
    taken %= len(encode_line(RECORDS[4]))
    writer = torn_writer(path, RECORDS[4], taken)
    if interrupted:
        write(path, [RECORDS[2]])
    writer.append(RECORDS[4])
    writer.append(RECORDS[5])
    writer.close()
    told = [RECORDS[2]] if interrupted else []
    if taken == len(encode_line(RECORDS[4])) - 1 and not interrupted:
        told = [RECORDS[4]]  # that line is a record already: a repeated record changes nothing
    assert read_past_damage(path) == ([*RECORDS[:2], *told, RECORDS[4], RECORDS[5]], path.stat().st_size, [])


def test_two_writers_with_torn_lines_both_come_through(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:1])
    one = torn_writer(path, RECORDS[1], 20)
    other = torn_writer(path, RECORDS[2], 5)
    other.append(RECORDS[2])
    one.append(RECORDS[1])
    for writer in (one, other):
        writer.close()
    assert read_past_damage(path)[0] == [RECORDS[0], RECORDS[2], RECORDS[1]]
    assert read_past_damage(path)[2] == []


def test_records_behind_damage_on_their_own_line_are_found(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:1])
    begin = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    write(path, RECORDS[1:])
    records, offset, damaged = read_past_damage(path)
    assert records == RECORDS
    assert offset == path.stat().st_size
    assert [(damage.offset, damage.length) for damage in damaged] == [(begin, 100)]


def test_the_zeroes_that_a_power_cut_leaves_at_the_end_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:2])
    begin = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"1234abcd {" + b"\0" * 4000)
    assert read_past_damage(path) == (RECORDS[:2], begin, [])
    assert repair_end(path) == 4010
    records, offset, damaged = read_past_damage(path)
    assert records == RECORDS[:2]
    assert offset == path.stat().st_size
    assert [(damage.offset, damage.length) for damage in damaged] == [(begin, 4011)]


def test_neighbouring_damage_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:1])
    begin = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"rubbish\nmore\n\n")
    write(path, RECORDS[1:])
    assert read_past_damage(path)[0] == RECORDS
    assert [(damage.offset, damage.length) for damage in read_past_damage(path)[2]] == [(begin, 14)]


def test_a_journal_that_was_cut_short_is_named_once_and_read_on_behind_what_had_been_read(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS)
    _, offset = read_records(path)
    os.truncate(path, offset - 30)
    assert read_past_damage(path, offset)[2] == [Damage(offset - 30, 30, "it has been cut short")]
    restore_length(path, offset)
    write(path, RECORDS[:2])
    assert read_past_damage(path, offset) == (RECORDS[:2], path.stat().st_size, [])


def test_a_journal_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"cannot read the journal .*Is a directory"):
        read_records(tmp_path)
    with pytest.raises(JournalError, match=r"cannot write the journal .*Is a directory"):
        JournalWriter(tmp_path)
