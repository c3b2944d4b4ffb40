"""The progress of a run on a terminal: what is on the screen, and what is left of it."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import unicodedata
from pathlib import Path
from typing import Any

import click
import pytest
from cli_shell import Shell

from rekindle.cli.output.progress import FailureKind, InPlace, LiveDisplay, NewFailures, PlainDisplay, pace_text
from rekindle.domain.pace import Pace
from rekindle.domain.states import State
from rekindle.engine.results import Progress

CONTROL = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")
BAR = "━" * 24
REKINDLE = Path(sys.executable).with_name("rekindle")


class Screen(io.StringIO):
    """A terminal that keeps what is on its screen. A character beyond the last column goes to the next row."""

    encoding = "utf-8"

    def __init__(self, columns: int, rows: int = 24) -> None:
        super().__init__()
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column, self.cursor = [""], 0, 0, True
        self.painted = ""

    def write(self, text: str) -> int:
        self.painted += text
        position = 0
        while position < len(text):
            control = CONTROL.match(text, position)
            position = control.end() if control else position + 1
            if control is None:
                self._put(text[position - 1])
            elif control[2] == "A":
                assert self.row - int(control[1]) >= len(self.lines) - self.rows, "above the screen"
                self.row -= int(control[1])
            elif control[2] == "K":
                self.lines[self.row] = ""
            elif control[2] in "hl":
                self.cursor = control[2] == "h"
        return len(text)

    def _put(self, character: str) -> None:
        width = cells(character)
        if character == "\r":
            self.column = 0
        elif character == "\n" or self.column + width > self.columns:
            self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row + 1 - len(self.lines))
        if character not in "\r\n":
            assert cells(self.lines[self.row]) == self.column, "written over"
            self.lines[self.row] += character
            self.column += width

    def resize(self, columns: int) -> None:
        """Become another width; lines that are too wide are wrapped."""
        self.columns = columns
        wrapped = [
            line[at : at + columns]
            for line in self.lines[: self.row + 1]
            for at in range(0, max(1, len(line)), columns)
        ]
        self.lines, self.row, self.column = wrapped, len(wrapped) - 1, len(wrapped[-1])


def cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)

    def open_screen(columns: int, rows: int = 24) -> Screen:
        opened = Screen(columns, rows)
        monkeypatch.setattr(sys, "stderr", opened)
        monkeypatch.setattr(opened, "fileno", lambda: 2)
        monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((opened.columns, opened.rows)))
        return opened

    return open_screen


def progress(seconds: float, names: tuple[str, ...] = (), **counts: int) -> Progress:
    found = {State[name.upper()]: number for name, number in counts.items()}
    return Progress(counts=found, running=names, ended=0, failed=counts.get("failed", 0), seconds=seconds)


def test_progress_is_drawn_in_place_and_erased_at_the_end(screen: Any) -> None:
    shown = screen(80)
    shown.write("before\n")
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        display(progress(0.5, ready=10))
        assert shown.lines == ["before", f"{BAR}   0% 0 of 10", "10 ready after 0.5 s"]
        display(progress(1, ("a", "b"), running=2, ready=7, completed=1))
        row = "━━╺" + "━" * 21 + "  10% 1 of 10"
        assert shown.lines == ["before", row, "7 ready, 2 running, 1 completed after 1.0 s", "running: a, b"]
        assert not shown.cursor
        display(progress(2, completed=10))
        assert shown.lines[:3] == ["before", f"{BAR} 100% 10 of 10", "10 completed after 2.0 s"]
    assert [line for line in shown.lines if line] == ["before"]
    assert (shown.row, shown.column, shown.cursor) == (1, 0, True)


def test_a_new_kind_of_failure_is_printed_above_the_display(screen: Any) -> None:
    shown, kinds = screen(80), {}
    with LiveDisplay(NewFailures(lambda: dict(kinds)), Pace()) as display:
        display(progress(1, ("a",), running=2))
        kinds["x"] = FailureKind("a", "ValueError: too cold", 1)
        display(progress(3, failed=1, running=1))
        assert shown.lines[:2] == ["failed a: ValueError: too cold", "━" * 12 + "╺" + BAR[13:] + "  50% 1 of 2"]
    assert [line for line in shown.lines if line] == ["failed a: ValueError: too cold"]


def test_all_failures_are_printed_at_the_end_if_any_was_printed_during_the_run(screen: Any) -> None:
    shown, kinds = screen(80), {}
    with LiveDisplay(NewFailures(lambda: dict(kinds)), Pace()) as display:
        display(progress(1, ("a",), running=12))
        kinds["x"] = FailureKind("a[n=3]", "ValueError: too cold", 3)
        display(progress(3, failed=3, running=9))
        kinds["x"] = FailureKind("a[n=5]", "ValueError: too cold", 5)
        kinds.update({f"y{n}": FailureKind(f"b[n={n}]", f"exit code {n}", 1) for n in range(1, 7)})
    assert [line for line in shown.lines if line] == [
        "failed a[n=3] and 2 more: ValueError: too cold",
        "failed 2 more like a[n=5]: ValueError: too cold",
        *(f"failed b[n={n}]: exit code {n}" for n in range(1, 5)),
        "failed in 2 more ways: rekindle failures",
    ]


def test_no_failure_is_printed_at_the_end_if_none_was_during_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    kinds: dict[str, FailureKind] = {}
    with PlainDisplay(NewFailures(lambda: dict(kinds)), Pace()) as display:
        display(progress(0.2, running=1))
        kinds["x"] = FailureKind("a", "exit code 1", 1)
        display(progress(0.5, failed=1))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("columns", [80, 40, 20, 12, 3, 1])
def test_no_line_is_wider_than_the_terminal(screen: Any, columns: int) -> None:
    shown = screen(columns)
    names = (
        "train[alpha=0.1,beta=0.25]",
        "évaluation-très-longue-du-modèle",
        "模型評估任務一二三四五六七八",
        "b\x1b[31m\n",
    )
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        for number in range(1, 5):
            display(progress(number, names[number - 1 :], running=number, completed=9000 + number, failed=2))
            assert len(shown.lines) == 3
            assert max(map(cells, shown.lines)) <= columns
            assert "\x1b" not in shown.lines[2]
    assert set(shown.lines) == {""}


def test_wide_characters_are_cut_within_the_width(screen: Any) -> None:
    shown = screen(16)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        display(progress(1, ("模型評估任務",), running=1))
        assert shown.lines[2] == "running: 模型評…"


def test_a_cut_line_keeps_its_colours_and_ends_them(screen: Any) -> None:
    shown = screen(14)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        display(progress(1, ready=1, running=2))
    assert f"1 {click.style('ready', fg='blue')}, 2 \x1b[36mru…\x1b[0m" in shown.painted


@pytest.mark.parametrize("columns", [40, 27, 10])
def test_a_terminal_that_becomes_narrower_is_left_clean(screen: Any, columns: int) -> None:
    shown = screen(80)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        display(progress(1, ("x" * 100,), running=1))
        shown.resize(columns)
        display(progress(2, ("x" * 100,), running=1))
        assert [line for line in shown.lines if line] == shown.lines[:3]
        shown.resize(columns + 30)
    assert set(shown.lines) == {""}


def test_a_terminal_of_two_rows_shows_two_lines(screen: Any) -> None:
    shown = screen(80, rows=2)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        for seconds in (1, 2, 3):
            display(progress(seconds, ("a",), running=1))
            assert len(shown.lines) == 2


def test_the_bar_grows_by_half_columns(screen: Any) -> None:
    shown = screen(80)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        for done, bar in ((0, BAR), (1, "╸" + BAR[1:]), (2, "━╺" + BAR[2:]), (47, BAR[1:] + "╸"), (48, BAR)):
            display(progress(1, completed=done, ready=48 - done))
            assert shown.lines[0] == f"{bar} {100 * done // 48:3d}% {done} of 48"
    assert "\x1b[38;5;70m" + BAR in shown.painted


def test_without_colours_the_bar_is_only_as_long_as_what_is_done(screen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = screen(80)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        display(progress(1, ("a",), completed=5, running=5))
        assert shown.lines[0] == "━" * 12 + " " * 12 + "  50% 5 of 10"
    assert not re.search(r"\x1b\[[0-9;]*m", shown.painted)


def test_characters_that_a_terminal_does_not_know_are_replaced(screen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(40)
    monkeypatch.setattr(shown, "encoding", "ascii")
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        display(progress(1, ("é" * 80,), running=1))
        assert shown.lines == ["-" * 24 + "   0% 0 of 1", "1 running after 1.0 s", "running: " + "?" * 30 + "."]


def test_ctrl_c_in_a_drawing_leaves_one_drawing(screen: Any) -> None:
    shown, pressed = screen(40), []

    class Interrupting(io.RawIOBase):
        """A terminal whose user presses Ctrl-C as soon as the text is seen."""

        def writable(self) -> bool:
            return True

        def isatty(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            shown.write(bytes(data).decode())
            if b"pressed now" in bytes(data) and not pressed:
                pressed.append(True)
                os.kill(os.getpid(), signal.SIGINT)
            return len(data)

    stream = io.TextIOWrapper(io.BufferedWriter(Interrupting()), encoding="utf-8")
    drawn = InPlace(stream)
    drawn.draw(["first"])
    with pytest.raises(KeyboardInterrupt):
        drawn.draw(["pressed now", "with more lines", "than the first"])
    drawn.draw(["third"])
    assert [line for line in shown.lines if line] == ["third"]


def test_a_stream_without_an_encoding_takes_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Capture:
        """What some frameworks put in the place of stderr."""

        text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None:
            pass

        def fileno(self) -> int:
            return -1

    capture = Capture()
    monkeypatch.setattr(sys, "stderr", capture)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        display(progress(2, completed=10))
    assert "100% 10 of 10" in capture.text


def run_on_a_terminal(folder: Path, *words: str, columns: int, **env: str) -> str:
    """Return what a command wrote to a terminal of this width."""
    above, below = pty.openpty()
    fcntl.ioctl(below, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    outer = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [REKINDLE, *words], cwd=folder, env={**outer, **env}, stdin=below, stdout=below, stderr=below
    ) as process:
        os.close(below)
        written = b""
        while True:
            try:
                read = os.read(above, 65536)
            except OSError:  # the end: EIO
                break
            if not read:
                break
            written += read
        assert process.wait(60) == 2
    os.close(above)
    return written.decode()


SPEC = "name: w\njobs:\n  a: {run: sleep 0.4}\n  b: {needs: [a], run: 'echo cold >&2; exit 3'}\n"


@pytest.mark.parametrize("columns", [80, 40])
def test_a_run_on_a_terminal_leaves_its_summary_only(shell: Shell, columns: int) -> None:
    shell.write(SPEC)
    written = run_on_a_terminal(shell.folder, "run", "spec.yaml", columns=columns, TERM="xterm-256color")
    assert "running: a" in written
    shown = Screen(columns)
    shown.write(written)
    assert shown.cursor
    left = "\n".join(shown.lines)
    assert "━" not in left
    assert "running: a" not in left
    assert "1 completed, 1 failed" in left


def test_a_terminal_whose_cursor_cannot_be_moved_gets_lines(shell: Shell) -> None:
    shell.write(SPEC)
    written = run_on_a_terminal(shell.folder, "run", "spec.yaml", columns=80, TERM="dumb", NO_COLOR="1")
    assert "\x1b" not in written
    assert "1 completed, 1 failed" in written


def steady(seconds: int, total: int = 100) -> list[Progress]:
    """Return the reports of a run whose jobs end one a second."""
    return [progress(float(at), completed=at, ready=total - at) for at in range(1, seconds + 1)]


def test_the_rate_and_the_time_left_are_beside_the_bar(screen: Any) -> None:
    shown = screen(80)
    with LiveDisplay(NewFailures(dict), Pace()) as display:
        for report in steady(2):
            display(report)
        assert "left" not in shown.lines[0]
        for report in steady(40)[2:]:
            display(report)
        assert shown.lines[0].endswith("  40% 40 of 100  1 job/s, about 1m left")
        display(progress(41.0, completed=100))
        assert "left" not in shown.lines[0]


def test_the_history_gives_the_time_left_from_the_start(screen: Any) -> None:
    shown = screen(80)
    with LiveDisplay(NewFailures(dict), Pace(job_seconds=60)) as display:
        display(progress(0.2, ready=100))
        assert shown.lines[0].endswith("   0% 0 of 100  about 1h 40m left")


def test_lines_without_a_terminal_have_the_rate_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay(NewFailures(dict), Pace()) as display:
        for report in steady(30, total=1000):
            display(report)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "970 ready, 30 completed after 30 s; 1 job/s, about 16m left"


@pytest.mark.parametrize(
    ("rate", "text"), [(250, "250 jobs/s"), (2.52, "2.5 jobs/s"), (0.5, "30 jobs/min"), (0.0021, "7.6 jobs/h")]
)
def test_rates_have_the_unit_that_fits(rate: float, text: str) -> None:
    pace = Pace()
    for number in range(5):
        pace.report(number * 10 / rate + number, int(10 * number + number * rate), 0)
    assert pace_text(pace) == text


def test_a_rerun_on_a_terminal_shows_the_time_left(shell: Shell) -> None:
    shell.write(
        "name: w\njobs:\n  a: {matrix: {i: {range: [0, 4]}}, run: sleep 0.6}\n"
        "  b: {needs: ['a*'], run: 'echo cold >&2; exit 3'}\n"
    )
    assert shell("run", "spec.yaml", "-j", "4").code == 2
    words = ("rerun", "a*", "--yes", "--work", "-j", "1")
    written = run_on_a_terminal(shell.folder, *words, columns=100, TERM="xterm-256color")
    assert re.search(r"of 5  about \d s left", click.unstyle(written))
