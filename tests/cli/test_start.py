"""The modules that short commands import. Time is measured by `make bench`; these tests keep what it depends on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_shell import Shell

ABSENT = {
    # third parties
    *("rich", "yaml", "regex", "psutil", "psycopg", "starlette", "distributed", "textual", "pandas", "pyarrow"),
    # slow parts of the standard library
    *("asyncio", "concurrent", "fractions", "logging", "multiprocessing", "random", "secrets", "shutil"),
    *("socket", "statistics", "subprocess", "sysconfig", "tempfile", "tomllib"),
    # what only click and msgspec import (see rekindle.cli.light_imports)
    *("ast", "dis", "gettext", "inspect", "platform", "threading", "tokenize", "typing_extensions", "urllib"),
}
"""Modules that no short command imports."""

UNUSED_BY_LISTS = {"fcntl", "hashlib", "json", "locale", "select", "shlex", "signal", "textwrap", "zlib"}
"""Modules that a command which only lists does not import, either."""

STORE = {"cli", "domain", "engine", "files", "journal", "presentation", "query", "store", "streams"}
"""The packages of ours that a command with a store imports."""

LIGHT = {
    "domain.actions", "domain.changes.differences", "domain.changes.staleness", "domain.documents.conditions",
    "domain.rerun.planner", "domain.texts.commandline", "domain.texts.patterns", "engine.rerun", "engine.running",
    "engine.staleness", "engine.submit", "journal.log", "journal.records", "presentation.documents",
    "presentation.reasons", "store.integrity", "store.path_upgrade", "store.reruns", "store.revisions",
}  # fmt: skip
"""Modules of ours, or packages, that a command which only lists does not import."""

NO_SPEC = {
    "presentation.documents", "presentation.revisions", "cli.output.runs", "domain.changes.staleness",
    "domain.documents.conditions", "domain.texts.commandline", "engine.rerun.resubmit", "engine.rerun.restart",
    "engine.running", "engine.staleness", "engine.submit", "journal.log", "store.integrity", "store.path_upgrade",
}  # fmt: skip
"""Modules of ours, or packages, that a rerun without a spec and without --work does not import."""


def loaded(words: list[str], folder: Path) -> tuple[set[str], set[str]]:
    """Return the modules that a command has imported: those of ours without `rekindle.`, and the others."""
    code = (
        f"import sys; from rekindle.cli.main import main; assert main({words!r}) == 0; "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    names = set(done.stderr.splitlines()[-1].split())
    ours = {name.removeprefix("rekindle.") for name in names if name.startswith("rekindle.")}
    return ours, {name for name in names if not name.startswith("rekindle")}


def within(names: set[str], parts: set[str]) -> set[str]:
    """Return the names that are one of `parts` or inside one."""
    return {name for name in names if any(f"{name}.".startswith(f"{part}.") for part in parts)}


@pytest.mark.parametrize(("command", "most"), [("status", 72), ("jobs list", 74), ("jobs list -s failed", 72)])
def test_a_list_imports_only_what_it_shows(command: str, most: int, still: Shell) -> None:
    ours, others = loaded(command.split(), still.folder)
    assert within(others, ABSENT | UNUSED_BY_LISTS) == set()
    assert {name.partition(".")[0] for name in ours} <= STORE
    assert within(ours, LIGHT) == set()
    assert len(ours) <= most
    assert len(others) <= 115


@pytest.mark.parametrize("more", [[], ["--memory", "1G", "--env", "A=1"]], ids=["plain", "overrides"])
def test_a_plan_imports_neither_specs_nor_staleness_nor_the_runner(more: list[str], still: Shell) -> None:
    ours, others = loaded(["rerun", "-s", "failed", "--dry-run", *more], still.folder)
    assert within(others, ABSENT - ({"fractions"} if more else set())) == set()  # amounts are fractions
    assert {name.partition(".")[0] for name in ours} <= STORE
    assert within(ours, NO_SPEC) == set()
    assert len(ours) <= 116


def test_a_rerun_imports_neither_specs_nor_staleness_nor_the_runner(diamond: Shell) -> None:
    ours, others = loaded(["rerun", "-s", "failed", "--yes"], diamond.folder)
    assert within(others, ABSENT - {"shutil"}) == set()  # for copies of outputs
    assert {name.partition(".")[0] for name in ours} <= STORE
    assert within(ours, NO_SPEC) == set()
    assert len(ours) <= 135


def test_a_rerun_takes_a_look_at_runners_a_preview_and_a_transaction(diamond: Shell) -> None:
    code = (
        "import sqlite3, sys\nconnect, begun = sqlite3.connect, []\n"
        "def traced(*args, **kwargs):\n"
        "    connection = connect(*args, **kwargs)\n"
        "    connection.set_trace_callback(lambda text: begun.append(text) if text.startswith('BEGIN') else None)\n"
        "    return connection\n"
        "sqlite3.connect = traced\nfrom rekindle.cli.main import main\n"
        "assert main(['rerun', '-s', 'failed', '--yes']) == 0\nprint(*begun, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=diamond.folder, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["BEGIN DEFERRED", "BEGIN DEFERRED", "BEGIN IMMEDIATE"]


@pytest.mark.parametrize(("words", "code"), [(["status"], 0), (["jobs", "nonsense"], 64), (["--version"], 0)])
def test_the_process_ends_with_its_code_and_all_of_its_output(words: list[str], code: int, still: Shell) -> None:
    command = [str(Path(sys.executable).parent / "rekindle"), *words]
    done = subprocess.run(command, cwd=still.folder, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert (done.stdout if code == 0 else done.stderr).endswith("\n")
