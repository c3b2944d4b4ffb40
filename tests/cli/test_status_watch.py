"""`status --watch`: shown again at each change."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_shell import Shell
from test_live_display import Screen

from rekindle.journal.processes import wait_readable

REKINDLE = Path(sys.executable).with_name("rekindle")
PATIENCE = 60.0
SPEC = "name: w\njobs: {a: {run: 'true'}, b: {run: exit 3}}\n"


class Watch:
    """A running watch: what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self.fd, self.written = process, fd, ""

    def until(self, wanted: Callable[[str], bool]) -> str:
        """Read until what was written is wanted."""
        deadline = time.monotonic() + PATIENCE
        while not wanted(self.written):
            left = deadline - time.monotonic()
            assert left > 0, self.written
            if wait_readable((self.fd,), left):
                self.written += os.read(self.fd, 65536).decode()
        return self.written

    def end(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextmanager
def watching(folder: Path, *words: str, fd: int | None = None) -> Iterator[Watch]:
    """Watch through a pipe, or on the terminal of `fd`."""
    read, write = os.pipe() if fd is None else (-1, fd)
    env = {name: text for name, text in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm-256color"}
    command = [REKINDLE, "status", "--watch", *words]
    with subprocess.Popen(
        command, cwd=folder, stdout=write, stderr=write, stdin=subprocess.DEVNULL, env=env
    ) as process:
        try:
            yield Watch(process, read)
        finally:
            process.kill()
    for one in {read, write} - {-1}:
        os.close(one)


def test_each_change_is_one_document_a_line(shell: Shell) -> None:
    shell.write(SPEC)
    assert shell("submit", "spec.yaml").code == 0
    with watching(shell.folder, "--json", "--interval", "10m") as watch:
        watch.until(lambda text: text.count("\n") == 1)
        assert shell("hold", "a").code == 0  # its notification ends the wait of ten minutes
        written = watch.until(lambda text: text.count("\n") == 2)
        assert watch.end() == 0
    before, after = [json.loads(line)["workflows"][0] for line in written.splitlines()]
    assert (before["held"], after["held"]) == ({}, {"held": 1})
    assert before.keys() == shell("status", "--json").json["workflows"][0].keys()


def test_without_a_terminal_only_changes_are_printed(shell: Shell) -> None:
    shell.write(SPEC)
    assert shell("submit", "spec.yaml").code == 0
    with watching(shell.folder, "--interval", "200ms") as watch:
        watch.until(lambda text: "2 ready" in text)
        assert shell("hold", "a").code == 0
        written = watch.until(lambda text: "is held" in text)
        assert watch.end() == 0
    assert written.count("COUNTS") == 2


def test_on_a_terminal_the_status_is_drawn_in_place(shell: Shell) -> None:
    shell.write(SPEC)
    assert shell("submit", "spec.yaml").code == 0
    above, below = pty.openpty()
    fcntl.ioctl(below, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with watching(shell.folder, fd=below) as watch:
        watch.fd = above
        watch.until(lambda text: "2 ready" in text)
        assert shell("work").code == 2
        watch.until(lambda text: "1 failed, 1 completed" in text)
        assert watch.end() == 0
        watch.until(lambda text: text.endswith("\x1b[?25h"))
    os.close(above)
    shown = Screen(80)
    shown.write(watch.written)
    assert shown.cursor
    left = "\n".join(shown.lines)
    assert left.count("COUNTS") == 1
    assert "1 failed, 1 completed" in left
    assert "2 ready" not in left


@pytest.mark.parametrize(("value", "code"), [("0s", 64), ("5", 64)])
def test_a_wrong_interval_is_refused(shell: Shell, value: str, code: int) -> None:
    assert shell("status", "--watch", "--interval", value).code == code


def test_a_watch_leaves_no_notifier(shell: Shell) -> None:
    shell.write(SPEC)
    assert shell("submit", "spec.yaml").code == 0
    with watching(shell.folder, "--json") as watch:
        watch.until(lambda text: "\n" in text)
        assert len(list(Path(shell.folder, ".rekindle/run/supervisors").iterdir())) == 1
        assert watch.end() == 0
    assert list(Path(shell.folder, ".rekindle/run/supervisors").iterdir()) == []
