"""Pages whose command lines are typed: at 80 columns, one after the other, they print what the page shows.

Tutorials and READMEs are typed, and each other page that has the comment `<!-- executed -->`. The comment can name the
folder in which the reader begins, and a requirement: `<!-- executed in: means; with: parallel -->`. A block whose first
comment is a file name (`# sweep.yaml`) is written to this file when it is reached. The line `^C` ends the output of a
command that serves until Ctrl-C; a test runs it, and does meanwhile what the page says.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from project_folder import COMMAND
from rekindle.journal.processes import wait_readable

ROOT = Path(__file__).resolve().parents[1]
HOME = "/home/user"  # what pages show for the folder above the reader's
COLUMNS = 80
SECONDS = 120  # that one command may take

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^\$ (.*(?:\n> .*)*)\n?", re.MULTILINE)
FILE_NAME = re.compile(r"# ([\w./-]+\.\w+|Makefile)\n")
EXECUTED = re.compile(r"^<!-- executed(?: in: ([\w-]+))?;?(?: with: ([\w-]+))? -->$", re.MULTILINE)

# Parts that differ between runs: durations, dates, sizes, digests, and the column widths that follow from them.
VARYING = (
    (re.compile(r"^(failed \S.*:.*|\d+ \w+(, \d+ \w+)* after .*)\n", re.MULTILINE), ""),  # progress of a long run
    (re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d(:\d\d)?(\.\d+)?Z?"), "WHEN"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s)\b"), "LASTED"),
    (re.compile(r"\b\d+(\.\d+)? ?[KMG]i?B?\b"), "SIZE"),
    (re.compile(r"\b[0-9a-f]{10,12}\b"), "DIGEST"),  # it differs between Python versions
    (re.compile(r"on (1 core|[\d.]+ cores)"), "on CORES"),
    (re.compile(r"(\S+ )*\S*…\S*( \S+)*"), "CUT"),  # a cell whose width depends on the durations beside it
    (re.compile(r"\bn[1-4]\b"), "NODE"),  # of the Slurm that tests start
    (re.compile(r" +"), " "),
)

# Runs each command that comes on the descriptor $1, and prints a mark when it has ended. `$?` is kept between commands.
SHELL = r"""
exec 2>&1; _status=0
while IFS= read -r -d '' -u $1 _line; do
    (exit $_status); eval "eval \"\$_line\" $1<&-"; _status=$?; printf '\001'
done
"""


def executed_pages() -> list[Path]:
    """Return the pages whose commands are typed."""
    always = [ROOT / "README.md", *ROOT.glob("docs/tutorials/*.md"), *ROOT.glob("examples/*/README.md")]
    marked = [page for page in ROOT.glob("docs/**/*.md") if EXECUTED.search(page.read_text())]
    return sorted(page for page in {*always, *marked} if "```console\n" in page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def begin(page: Path) -> tuple[str, str]:
    """Return the folder in which the reader begins, and what the page requires; empty where it says nothing."""
    found = EXECUTED.search(page.read_text())
    return (found[1] or "", found[2] or "") if found else ("", "")


def steady(text: str) -> list[str]:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def too_wide(printed: str) -> str:
    """Return the lines of tables and plans that a terminal would wrap. Sentences may be wrapped."""
    return "\n".join(line for line in printed.splitlines() if len(line) > COLUMNS and "  " in line.strip())


class Reader:
    """A shell in which a reader types: variables and the working directory are kept from command to command."""

    def __init__(self, folder: Path, environment: Mapping[str, str], serve: Callable[[str], str] | None) -> None:
        self.folder = folder
        self.serve = serve
        kept = {name: value for name, value in environment.items() if not name.startswith(("REKINDLE_", "GITHUB_"))}
        env = {**kept, "PATH": f"{COMMAND.parent}{os.pathsep}{kept['PATH']}", "HOME": str(folder.parent)}
        env |= {"COLUMNS": str(COLUMNS), "LC_ALL": "C.UTF-8"}
        orders, self._orders = os.pipe()
        self._printed, printed = os.pipe()
        self._shell = subprocess.Popen(
            ["bash", "-c", SHELL, "bash", str(orders)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            pass_fds=[orders],
            start_new_session=True,
        )
        os.close(orders)
        os.close(printed)

    def type(self, line: str) -> str:
        """Type a command, and return what is printed until it has ended."""
        os.write(self._orders, line.encode() + b"\0")
        printed, deadline = b"", time.monotonic() + SECONDS
        while not printed.endswith(b"\1"):
            ready = wait_readable([self._printed], max(0, deadline - time.monotonic()))
            piece = os.read(self._printed, 1 << 16) if ready else b""
            assert piece, f"{line!r} has not ended after {SECONDS} seconds; it printed:\n{printed.decode()}"
            printed += piece
        return self.shown(printed[:-1].decode())

    def shown(self, printed: str) -> str:
        """Return what was printed without keys and the names of this host and its folders."""
        text = re.sub(r"\?once=\S+", "?once=…", printed.replace(str(self.folder.parent), HOME))
        return re.sub(rf"\bon {re.escape(socket.gethostname())}\b", "on laptop", text)

    def type_block(self, block: str) -> str:
        """Type the commands of a console block, and return the block that results."""
        written = ""
        for lines, shown in zip(*(TYPED.split(block)[first::2] for first in (1, 2)), strict=True):
            line = lines.replace("\n> ", "\n")
            if shown.endswith("^C\n"):
                assert self.serve, f"no test does what the page says while {line!r} runs"
                written += f"$ {lines}\n{self.shown(self.serve(line))}^C\n"
            else:
                written += f"$ {lines}\n{self.type(line)}"
        return written if written.endswith("\n") else f"{written}\n"

    def close(self) -> None:
        """End the shell, and what was started in it."""
        os.close(self._orders)
        os.close(self._printed)
        if self._shell.poll() is None:
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()


def typed_page(
    page: Path, folder: Path, environment: Mapping[str, str], serve: Callable[[str], str] | None
) -> tuple[str, list[str]]:
    """Type a page in a folder. Return its text with what was printed, and each block that has become another one."""
    text, at, written, changed = page.read_text(), 0, "", []
    reader = Reader(folder, environment, serve)
    try:
        for block in BLOCK.finditer(text):
            written += text[at : block.start(2)]
            at = block.end(2)
            if block[1] == "console":
                printed = reader.type_block(block[2])
                assert not (wide := too_wide(printed)), f"wider than {COLUMNS} columns:\n{wide}"
                written += printed
                if steady(printed) != steady(block[2]):
                    changed.append(printed)
                continue
            if name := FILE_NAME.match(block[2]):
                (folder / name[1]).parent.mkdir(parents=True, exist_ok=True)
                (folder / name[1]).write_text(block[2])
            written += block[2]
    finally:
        reader.close()
    return written + text[at:], changed


def check_page(
    page: Path,
    folder: Path,
    environment: Mapping[str, str] = os.environ,
    *,
    write: bool = False,
    serve: Callable[[str], str] | None = None,
) -> None:
    """Type a page in a folder; fail if a block prints something else than the page shows, or write what it prints.

    `serve` runs a command that serves until Ctrl-C, and returns what it printed."""
    text, changed = typed_page(page, folder, environment, serve)
    if changed and write:
        page.write_text(text)
    elif changed:
        printed = "\n".join(f"```console\n{block}```" for block in changed)
        pytest.fail(f"{page} differs (`make pages` writes it); typed at 80 columns it is:\n{printed}", pytrace=False)
