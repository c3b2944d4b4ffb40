"""What a terminal shows while a large spec is read and stored."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from cli_shell import Shell
from test_live_display import Screen

from rekindle.cli.output.busy import busy
from rekindle.engine.session import open_session
from rekindle.engine.submit.submit import submit
from rekindle.spec import load

REKINDLE = Path(sys.executable).with_name("rekindle")
MATRIX = "name: large\njobs:\n  a: {run: 'true'}\n  b: {matrix: {i: {range: [0, 20000]}}, needs: [a], run: 'true'}\n"
LARGE = MATRIX + "".join(f"  c{number}: {{run: 'true'}}\n" for number in range(6_000))
"""Entries take time to read, and the jobs of a matrix to store."""


def on_a_terminal(folder: Path, *words: str, code: int = 0) -> list[tuple[float, str]]:
    """Return what a command writes to a terminal, each piece with the seconds since the command began."""
    above, below = pty.openpty()
    fcntl.ioctl(below, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {name: text for name, text in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm-256color"}
    began, written = time.monotonic(), []
    with subprocess.Popen([REKINDLE, *words], cwd=folder, env=env, stdin=below, stdout=below, stderr=below) as process:
        os.close(below)
        while True:
            try:
                read = os.read(above, 65536)
            except OSError:  # the end: EIO
                break
            if not read:
                break
            written.append((time.monotonic() - began, read.decode()))
        assert process.wait(60) == code
    os.close(above)
    return written


@pytest.mark.parametrize(
    ("words", "code"), [(["submit"], 0), (["run", "-j", "1", "--wait-timeout", "100ms"], 6)], ids=["submit", "run"]
)
def test_a_large_spec_is_announced_before_it_is_read_and_stored(shell: Shell, words: list[str], code: int) -> None:
    shell.write(LARGE)
    written = on_a_terminal(shell.folder, *words, "spec.yaml", code=code)
    text = "".join(piece for _, piece in written)
    assert text.startswith("\r\x1b[Kreading spec.yaml …")
    reading, storing = (next(at for at, piece in written if word in piece) for word in ("reading", "storing"))
    assert storing - reading > 0.1  # the first line is there before the spec is read
    shares = [int(share) for share in re.findall(r"26,001 jobs; storing … (\d+) %", text)]
    assert shares
    assert shares == sorted(shares)
    shown = Screen(80)
    shown.write(text)
    left = [line for line in shown.lines if line]
    assert "large: workflow 1, 26,001 jobs" in left[:2]
    assert "reading" not in "".join(left)
    assert "storing" not in "".join(left)


def test_nothing_is_shown_with_json_or_without_a_terminal(shell: Shell) -> None:
    shell.write(MATRIX.replace("20000", "6000"))
    assert "reading" not in "".join(piece for _, piece in on_a_terminal(shell.folder, "submit", "spec.yaml", "--json"))
    assert "reading" not in shell("submit", "spec.yaml", "--new").err


def test_what_is_quick_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(80)
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with busy("reading spec.yaml …", quiet=False, after=60):
        pass
    assert screen.painted == ""
    with busy("reading spec.yaml …", quiet=False):
        deadline = time.monotonic() + 30
        while not screen.painted and time.monotonic() < deadline:
            time.sleep(0.01)
        assert screen.lines == ["reading spec.yaml …"]
    assert screen.lines == [""]


def test_the_stored_part_is_reported(shell: Shell) -> None:
    shell.write(MATRIX.replace("20000", "3000"))
    seen: list[tuple[int, int]] = []
    with open_session(None, create=True) as session:
        submit(session, load(Path("spec.yaml")), progress=lambda done, whole: seen.append((done, whole)))
    assert seen == [(0, 6001), (1000, 6001), (2000, 6001), (3000, 6001), (3001, 6001), (4001, 6001), (5001, 6001)]
