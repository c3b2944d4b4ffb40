"""A real shell on a pseudo-terminal, with the completion of rekindle."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import struct
import sys
import termios
import time
from pathlib import Path

import pytest

from rekindle.cli.completion import script
from rekindle.journal.processes import wait_readable

TIMEOUT = 60.0  # seconds that a loaded machine may need

_SETUP = {
    "bash": "PS1='R''EADY> '; bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; "
    "bind 'set page-completions off'; bind 'set completion-query-items 0'; source ./completion",
    "zsh": "PS1='R''EADY> '; bindkey -e; unsetopt zle_bracketed_paste prompt_sp; unset zle_bracketed_paste; "
    "LISTMAX=0; autoload -U compinit; compinit -u -D; source ./completion",
    "fish": "function fish_prompt; printf 'R''EADY> '; end; set -g fish_greeting; source ./completion",
}
_COMMAND = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}


class InteractiveShell:
    """An interactive shell in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"{name} is not installed: scripts/debian-packages installs it")
        (folder / "completion").write_text(script(name))
        (folder / "home").mkdir(exist_ok=True)
        environment = {**os.environ, "TERM": "xterm", "HOME": str(folder / "home"), "LC_ALL": "C.UTF-8"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(folder)
            os.execve(program, [name, *_COMMAND[name]], environment)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 250, 0, 0))
        self._send(_SETUP[name] + "\n")
        self._read_until("READY>")

    def complete(self, typed: str) -> str:
        """Return the command line after a Tab behind `typed`, as the words that a command would get: `a|b|c|`."""
        self._send(f"{typed}\t")
        self._quiet()
        self._send("\x01printf '%s|' '::' \x05")
        self._send(" '::'\n")
        seen = self._read_until("::|", "READY>")
        return seen.partition("::|")[2].rpartition("::|")[0]

    def offered(self, typed: str, *wanted: str) -> str:
        """Return what the shell shows after Tabs behind `typed`, which is not executed. Wait until all of `wanted` are
        shown."""
        self._send(f"{typed}\t")
        self._quiet()
        self._send("\t")
        seen = self._read_until(*wanted)
        self._quiet()  # while a completion runs, the terminal takes the keys, and Ctrl-C ends the completion
        self._send("\x03")
        if self.name == "fish":  # that has closed the list; the line is still there
            self._quiet()
            self._send("\x03")
        return seen

    def interrupt(self, typed: str) -> str:
        """Return what is shown if Ctrl-C follows a Tab at once."""
        self._send(f"{typed}\t")
        self._send("\x03")
        self._quiet()
        shown = self._before
        self._send("\x15\n")
        self._read_until("READY>")
        return shown

    def close(self) -> None:
        """End the shell."""
        os.close(self._terminal)
        os.waitpid(self._process, 0)

    def _send(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _quiet(self) -> None:
        """Wait until the shell has written nothing for a while."""
        self._before = ""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and wait_readable((self._terminal,), 1.0):
            self._before += os.read(self._terminal, 65536).decode(errors="replace")

    def _read_until(self, *wanted: str) -> str:
        """Return what the shell writes until each of `wanted` has been seen, in order."""
        seen, self._before = getattr(self, "_before", ""), ""
        deadline = time.monotonic() + TIMEOUT
        while True:
            at = 0
            for one in wanted:
                at = seen.find(one, at)
                if at < 0:
                    break
                at += len(one)
            else:
                return seen
            left = deadline - time.monotonic()
            if left <= 0 or not wait_readable((self._terminal,), left):
                raise AssertionError(f"{self.name} does not show {wanted}, but {seen!r}")
            seen += os.read(self._terminal, 65536).decode(errors="replace")
