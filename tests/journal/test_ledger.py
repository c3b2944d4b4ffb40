"""The journal's file: what is written comes back, a torn end waits, damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.causes import Cause
from rekindle.domain.errors import JournalError
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import State
from rekindle.journal.ledger import Writer, line_of, mend, read, read_past_damage
from rekindle.journal.records import Closed, Ended, Opened, Record, Returned, Started, StepEnded, StepStarted

OUTCOME = StepOutcome(0, "run", State.FAILED, cause=Cause.EXIT, exit_code=3, started=1.5, ended=2.5)
RECORDS: list[Record] = [
    Opened(worker="w", host="h", boot_id="b", pid=7, pid_start=8, at=1.0),
    Started(attempt=1, token="a", at=2.0, pid=10, pid_start=11),
    StepEnded(attempt=1, token="a", step=OUTCOME),
    StepStarted(attempt=1, token="a", step=1, at=3.0),
    Ended(
        attempt=1,
        token="a",
        at=4.0,
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
    writer = Writer(path)
    writer.append(*records)
    writer.close()


def test_every_kind_of_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS)
    records, offset = read(path)
    assert records == RECORDS
    assert offset == path.stat().st_size


def test_a_journal_that_is_not_there_yet_has_no_records(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == ([], 0)
    assert mend(tmp_path / "none.jsonl") == 0


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:3])
    _, offset = read(path)
    assert read(path, offset) == ([], offset)
    write(path, RECORDS[3:])
    assert read(path, offset)[0] == RECORDS[3:]


@given(cut=st.integers(min_value=0))
def test_a_torn_end_is_left_for_later_and_cut_off_by_mending(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "w.jsonl"
    lines = [line_of(record) for record in RECORDS]
    content = b"".join(lines)
    cut %= len(content) + 1
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    end = sum(len(line) for line in lines[:whole])
    assert read(path) == (RECORDS[:whole], end)
    assert mend(path) == cut - end
    assert path.stat().st_size == end
    write(path, [RECORDS[-1]])
    assert read(path)[0] == [*RECORDS[:whole], RECORDS[-1]]


def test_mending_finds_a_line_end_that_is_far_back(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(path, RECORDS[:1])
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\0" * 300_000)
    assert mend(path) == 300_000
    assert path.stat().st_size == whole


@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_a_flipped_byte_is_never_taken_for_a_record(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "w.jsonl"
    content = bytearray(b"".join(line_of(record) for record in RECORDS))
    position %= len(content)
    content[position] ^= flip
    path.write_bytes(content)
    records, offset, damaged = read_past_damage(path)
    assert damaged or offset < len(content), "the damage is seen, or the last newline is gone and the end is torn"
    assert [record for record in records if record in RECORDS] == records


def test_damage_in_the_middle_is_refused_with_its_place_and_can_be_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    lines = [line_of(record) for record in RECORDS]
    bad = b"0" * 8 + lines[1][8:]
    path.write_bytes(lines[0] + bad + b"".join(lines[2:]))
    with pytest.raises(JournalError, match=rf"w\.jsonl: the line at byte {len(lines[0])} is damaged"):
        read(path)
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
    writer = Writer("/dev/full")
    with pytest.raises(JournalError, match=r"/dev/full.*No space left"):
        writer.append(RECORDS[0])
    writer.close()
