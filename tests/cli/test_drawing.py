"""Tables and text for the terminal."""

from __future__ import annotations

import click
import pytest

from rekindle.cli.output import terminal
from rekindle.cli.output.terminal import Column
from rekindle.domain.models import Attempt
from rekindle.domain.states import Cause, State
from rekindle.presentation import attempts, words


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def plain(text: str) -> list[str]:
    return click.unstyle(text).splitlines()


def test_a_table_is_aligned() -> None:
    columns = [Column("ID", right=True), Column("NAME"), Column("STATE")]
    assert plain(terminal.table(columns, [("7", "a", "failed"), ("12", "report", "ready")])) == [
        "ID  NAME    STATE",
        " 7  a       failed",
        "12  report  ready",
    ]


def test_a_long_name_is_cut_with_an_ellipsis_within_the_width() -> None:
    columns = [Column("ID", right=True), Column("NAME", cut="end"), Column("STATE")]
    lines = plain(terminal.table(columns, [("7", "x" * 200, "failed"), ("8", "short", "ready")]))
    assert max(map(len, lines)) == 80
    assert "x…  failed" in lines[1]


def test_names_that_differ_in_their_ends_are_cut_in_the_middle() -> None:
    assert words.cut("train[alpha=0.1,seed=3]", 12, "middle") == "train[…ed=3]"
    columns = [Column("NAME", cut="middle")]
    lines = plain(terminal.table(columns, [("x" * 90 + "1",), ("x" * 90 + "2",)]))
    assert lines[1] != lines[2]
    assert {len(lines[1]), len(lines[2])} == {80}


def test_the_widest_column_gives_first() -> None:
    columns = [Column("A", cut="end"), Column("B", cut="end")]
    lines = plain(terminal.table(columns, [("a" * 100, "b" * 20)]))
    assert "b" * 20 in lines[1]
    assert len(lines[1]) == 80


def test_a_column_without_values_is_left_out() -> None:
    columns = [Column("A"), Column("CAUSE", drop=True), Column("B")]
    assert plain(terminal.table(columns, [("1", "", "2")])) == ["A  B", "1  2"]


def test_wide_characters_take_two_columns() -> None:
    columns = [Column("NAME"), Column("N")]
    assert plain(terminal.table(columns, [("合金", "1"), ("ab", "2")])) == ["NAME  N", "合金  1", "ab    2"]


def test_what_a_job_printed_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in words.one_line("red \x1b[31m alert\x07\r\nnext")
    assert words.one_line("two\nlines") == "two lines"
    assert words.printable("two\nlines\x1b[2J").startswith("two\nlines")
    assert "\x1b" not in words.printable("\x1b[2J")


def test_ids_are_listed_as_the_selection_takes_them() -> None:
    assert attempts.id_ranges([9, 1, 4, 5, 6]) == "1,4-6,9"
    assert attempts.id_ranges([3, 4]) == "3-4"
    assert attempts.id_ranges([]) == ""


@pytest.mark.parametrize(
    ("code", "signal", "words"),
    [
        (126, None, "permission"),
        (127, None, "not found"),
        (137, None, "memory"),
        (139, None, "crashed"),
        (152, None, "processor time"),
        (None, 9, "SIGKILL"),
        (None, 11, "SIGSEGV"),
        (None, 10, "SIGUSR1"),
        (3, None, ""),
    ],
)
def test_codes_are_explained(code: int | None, signal: int | None, words: str) -> None:
    cause = Cause.SIGNAL if signal else Cause.EXIT
    attempt = Attempt(1, 1, 1, 1, "t", State.FAILED, 1, 1, cause=cause, exit_code=code, signal=signal)
    assert words in attempts.meaning(attempt)
    assert attempts.full_cause(attempt).startswith(f"signal {words}" if signal else f"exit {code}")
