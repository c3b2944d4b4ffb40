"""`rekindle top` in a terminal of 80 columns, and without one."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from rekindle.cli.main import main
from rekindle.journal.processes import wait_readable

COLUMNS, ROWS = 80, 24
SECONDS = 30.0
SEQUENCE = re.compile(
    r"\x1b(?:\[([?<>=0-9;]*)([A-Za-z~$}]*?)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|P[^\x1b]*\x1b\\|[()][A-Z0-9]|.)"
)

UNFINISHED = re.compile(r"\x1b(?:\[[?<>=0-9;]*\$?|\][^\x07\x1b]*\x1b?|P[^\x1b]*\x1b?|[()])?\Z")
"""A sequence whose end has not been read yet."""


class Terminal:
    """A program in a pseudo terminal, and what its screen shows."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self._fd = process, fd
        self.output = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    @property
    def lines(self) -> list[str]:
        """The lines of the screen. A character after the last column or row is an error."""
        screen, row, column, at = [[" "] * COLUMNS for _ in range(ROWS)], 0, 0, 0
        output = UNFINISHED.sub("", self.output)
        while at < len(output):
            found = SEQUENCE.match(output, at)
            if found is None:
                character, at = output[at], at + 1
                if character == "\r":
                    column = 0
                elif character == "\n":
                    row, column = min(row + 1, ROWS - 1), 0
                else:
                    assert column < COLUMNS
                    screen[row][column], column = character, column + 1
                continue
            at = found.end()
            if found[3] == "H":
                numbers = [int(number or 1) for number in (found[1] or "1;1").split(";")]
                row, column = numbers[0] - 1, (numbers[1] if len(numbers) > 1 else 1) - 1
            elif found[3] == "J":
                screen = [[" "] * COLUMNS for _ in range(ROWS)]
        return ["".join(line).rstrip() for line in screen]

    def shows(self, *texts: str) -> None:
        """Wait until the screen shows the texts."""
        end = time.monotonic() + SECONDS
        while not all(text in "\n".join(self.lines) for text in texts):
            assert time.monotonic() < end, "\n".join(self.lines)
            self._read(0.1)

    def type(self, keys: str) -> None:
        """Type keys."""
        os.write(self._fd, keys.encode())

    def wait(self) -> int:
        """Read until the program ends, and return its exit code."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end
            self._read(0.1)
        self._read(0.1)
        return self.process.returncode

    def _read(self, seconds: float) -> None:
        while wait_readable((self._fd,), seconds):
            try:
                piece = os.read(self._fd, 1 << 16)
            except OSError:  # the program has ended
                return
            self.output += self._decoder.decode(piece)
            seconds = 0


@contextmanager
def terminal(*words: str, command: Sequence[str] = (sys.executable, "-m", "rekindle")) -> Iterator[Terminal]:
    """Run rekindle, or another command, in a terminal of 80 columns and 24 rows."""
    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    env["TERM"] = "xterm-256color"
    process = subprocess.Popen(
        [*command, *words],
        stdin=other,
        stdout=other,
        stderr=other,
        env=env | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(other)
    try:
        yield Terminal(process, own)
    finally:
        process.kill()
        process.wait()
        os.close(own)


def test_top_works_in_a_terminal_of_80_columns(alloys: Path) -> None:
    with terminal("top", "-w", "alloys") as shown:
        shown.shows("1 alloys  failed", "jobs 1-5 of 5", "train[alpha=0.5]", "no runner is alive", "q quit")
        shown.type("/-s failed\r")
        shown.shows("jobs 1-2 of 2   filter: -s failed")
        shown.type("ar")
        shown.shows("rerun 2 jobs", "[keep most]", "train[alpha=0.9]", "y apply this plan")
        shown.type("y")
        shown.shows("rerun 1 is applied: 2 ready; no runner is alive: rekindle work   u undoes it")
        shown.type("u")
        shown.shows("rerun 1 is undone: 3 jobs back")
        shown.type("q")
        assert shown.wait() == 0
        assert "\x1b[?1049l" in shown.output  # back to what was on the screen before


@pytest.mark.parametrize("before", ["", "/-s", "r", "l"], ids=["list", "filter", "plan", "log"])
def test_ctrl_c_ends_it_from_every_screen(alloys: Path, before: str) -> None:
    with terminal("top") as shown:
        shown.shows("jobs 1-5 of 5")
        shown.type(before)
        shown.shows({"/-s": "esc cancel", "r": "y apply", "l": "esc back"}.get(before, "q quit"))
        shown.type("\x03")
        assert shown.wait() == 0


def test_a_signal_leaves_the_terminal_as_it_was(alloys: Path) -> None:
    with terminal("top") as shown:
        shown.shows("jobs 1-5 of 5")
        shown.process.send_signal(signal.SIGTERM)
        shown.wait()
        assert shown.output.rindex("\x1b[?1049l") > shown.output.rindex("\x1b[?1049h")


def test_without_a_terminal_there_is_one_error(alloys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["top"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "rekindle: top needs a terminal\n  hint: `rekindle status` prints what there is now\n"


def test_a_workflow_that_does_not_exist_is_named(alloys: Path) -> None:
    with terminal("top", "-w", "alloy") as shown:
        assert shown.wait() == 1
        assert "no such workflow: alloy" in shown.output
        assert "did you mean `alloys`?" in shown.output
        assert "\x1b[?1049h" not in shown.output


def test_json_is_refused(alloys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["top", "--json"]) == 64
    assert "rekindle status --json" in capsys.readouterr().err


def test_without_textual_the_error_names_the_extra(alloys: Path) -> None:
    code = "import sys\nsys.modules['textual'] = None\nfrom rekindle.cli.main import main\nsys.exit(main(['top']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "textual" in done.stderr
    assert "pip install 'rekindle[tui]'" in done.stderr


def test_an_unexpected_error_is_one_line_and_the_terminal_is_as_it_was(alloys: Path, folder: Path) -> None:
    (folder / "broken.py").write_text(
        "import sys\nfrom rekindle.cli.main import main\nfrom rekindle.tui import overview\n"
        "overview.overview = lambda *_: 1 / 0\nsys.exit(main(['top']))\n"
    )
    with terminal(command=[sys.executable, "broken.py"]) as shown:
        assert shown.wait() == 1
    _, _, after = shown.output.rpartition("\x1b[?1049l")
    assert "unexpected ZeroDivisionError" in after
    assert len(after.strip().splitlines()) <= 4
    assert "locals" not in after
