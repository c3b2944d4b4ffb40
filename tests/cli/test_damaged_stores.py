"""Commands report a damaged store without a traceback, and `store check` finds detectable damage."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

SPEC = """
name: rich
env: {MODE: fast}
params: {alpha: 1}
jobs:
  a: {run: "echo 1 > $REKINDLE_RESULT; echo WARNING > $REKINDLE_VERDICT; echo x > a.txt", outputs: {o: a.txt}}
  b: {needs: [a], matrix: {i: [1, 2]}, run: "test ${matrix.i} = 1"}
  c: {steps: [{name: f, each: [1, 2], run: "test ${item} = 1", max_failed: 1}, {name: g, run: "echo ${params.alpha}"}]}
  act: {run: "echo '{\\"set_children\\": {\\"z\\": 1}}' > $REKINDLE_ACTION"}
  h: {needs: [act], run: "true", inputs: {a: a.txt}}
"""
LOOKS = (
    ["status", "--json"],
    ["jobs", "list", "--json"],
    ["jobs", "show", "h", "--json"],
    ["jobs", "list", "-q", '{"state": "failed"}'],
    ["attempts", "list", "--json"],
    ["attempts", "show", "2"],
    ["attempts", "diff", "1", "2"],
    ["why", "--all", "--json"],
    ["failures"],
    ["flaky"],
    ["workflows", "show", "rich"],
    ["reruns", "list", "--json"],
    ["reruns", "show", "1"],
    ["events", "list"],
    ["logs", "a"],
    ["rerun", "--all", "--dry-run", "--json"],
    ["torc", "workflows", "list"],
    ["lpad", "get_fws"],
    ["store", "check"],
)


@pytest.fixture(scope="module")
def rich_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has rows in most tables."""
    folder = tmp_path_factory.mktemp("rich")
    (folder / "spec.yaml").write_text(SPEC)
    command = [str(Path(sys.executable).parent / "rekindle"), "--store", ".rekindle"]
    for words in (
        ["run", "spec.yaml"],
        ["rerun", "a", "--set", "alpha=2", "--keep-outputs", "--downstream", "none", "--yes", "--work"],
        ["accept", "a"],
        ["rerun", "c", "--from", "g", "--yes"],
    ):
        done = subprocess.run([*command, *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 2), done.stderr
    return folder


@pytest.fixture
def rich(shell: Shell, rich_folder: Path) -> Shell:
    shutil.copytree(rich_folder, shell.folder, dirs_exist_ok=True)
    return shell


def change(folder: Path, table: str, column: str, value: Any) -> None:
    """Write a value into a column of each row, as far as indexes allow, without the checks of the schema."""
    for statement, values in (
        ("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'", ()),
        (f"UPDATE OR IGNORE {table} SET {column} = {'CAST(? AS TEXT)' if isinstance(value, bytes) else '?'}", (value,)),
    ):
        with closing(sqlite3.connect(folder / ".rekindle" / "store.db")) as connection:
            connection.execute("PRAGMA ignore_check_constraints = 1")
            connection.execute("PRAGMA writable_schema = 1")
            connection.execute(statement, values)
            connection.commit()


def look(shell: Shell, *commands: list[str]) -> None:
    """Run commands, which must not end in an unexpected error."""
    for words in commands:
        done = shell(*words)  # main does not catch unexpected errors
        assert done.code in (0, 1), (words, done.err)
        assert done.code == 0 or words[0] == "store" or done.err.count("rekindle: ") == 1, (words, done.err)


def test_a_store_that_is_sound_says_what_was_checked(rich: Shell) -> None:
    plain = rich("store", "check")
    assert (plain.code, plain.err) == (0, "")
    assert "the store is sound: 1 workflow, 6 jobs, " in plain.out
    deep = rich("store", "check", "--deep", "--json")
    assert deep.code == 0
    assert (deep.json["sound"], deep.json["problems"]) == (True, [])
    assert deep.json["checked"]["saved outputs"] == 1
    assert deep.json["checked"]["rows"] > 50


COLUMNS = (
    ("attempt", "state", 99),
    ("attempt", "cause", "bored"),
    ("attempt", "result", '{"a":'),
    ("attempt", "started", 1e300),
    ("attempt", "folder", b"\xff"),
    ("attempt", "verdict", "fine"),
    ("attempt", "overrides", "[]"),
    ("step", "state", "xyz"),
    ("step", "name", b"\xff\xfe"),
    ("step", "action", "]"),
    ("job", "name", None),
    ("job", "binding", "3"),
    ("job", "state", None),
    ("job", "template", 4711),
    ("job", "next_attempt", '{"take": "away"}'),
    ("template", "body", "{}"),
    ("resource_class", "licences", "{"),
    ("revision", "params", "null"),
    ("rerun", "request", b"\xe9"),
    ("rerun", "refused", "[1]"),
    ("rerun_change", "reasons", '[{"kind": "whim", "detail": {}}]'),
    ("rerun_change", "next_before", "[]"),
    ("fingerprint", "document", "[[["),
    ("signature", "message", None),
    ("event", "at", 4_611_686_018_427_387_904),
    ("event", "detail", "no"),
    ("subtask", "item", "{"),
    ("workflow", "directory", None),
)


@pytest.mark.parametrize(("table", "column", "value"), COLUMNS)
def test_a_row_that_cannot_be_read_is_named(rich: Shell, table: str, column: str, value: Any) -> None:
    change(rich.folder, table, column, value)
    look(rich, *random.Random(column).sample(LOOKS, 3))
    found = rich("store", "check", "--deep")
    assert found.code == 1
    assert f"{table} row " in found.out
    assert column in found.out


def test_an_error_names_the_row_and_the_command_that_lists_all(rich: Shell) -> None:
    change(rich.folder, "attempt", "state", 99)
    done = rich("attempts", "list")
    assert done.code == 1
    assert f"the store {rich.folder / '.rekindle'} is damaged: attempt row 1, column state: there is no state 99" in (
        done.err
    )
    assert "hint: `rekindle store check --deep`" in done.err


@pytest.mark.parametrize("seed", range(8))
def test_pieces_of_the_file_that_are_lost_never_end_a_look_in_disorder(rich: Shell, seed: int) -> None:
    dice = random.Random(seed)
    path = rich.folder / ".rekindle" / "store.db"
    content = bytearray(path.read_bytes())
    at, length = dice.randrange(100, len(content)), dice.choice((1, 64, 512, 4096))
    content[at : at + length] = bytes(length) if seed % 2 else dice.randbytes(length)
    path.write_bytes(content[: at + 1] if seed % 6 == 5 else content)
    look(rich, *dice.sample(LOOKS, 4), ["store", "check", "--deep"])


def test_states_that_do_not_follow_and_lost_copies_are_found(rich: Shell) -> None:
    change(rich.folder, "job", "unmet", 3)
    next(rich.folder.glob(".rekindle/attempts/*/*/*.outputs/0/a.txt")).write_text("other")
    shallow, deep = rich("store", "check", "--json"), rich("store", "check", "--deep", "--json")
    assert (shallow.code, deep.code) == (1, 1)
    assert {one["kind"] for one in shallow.json["problems"]} == {"derived"}
    assert {one["kind"] for one in deep.json["problems"]} == {"derived", "output"}
    assert any("does not hold what was saved" in one["text"] for one in deep.json["problems"])


def test_a_damaged_journal_is_found(rich: Shell) -> None:
    journal = next((rich.folder / ".rekindle" / "journal").iterdir())
    journal.write_bytes(journal.read_bytes()[:40] + b"\0" * 8 + journal.read_bytes()[48:])
    found = rich("store", "check", "--deep")
    assert found.code == 1
    assert f"{journal}: " in found.out
    assert rich("store", "check").code == 0


def test_a_check_writes_nothing_and_upgrades_nothing(rich: Shell) -> None:
    path = rich.folder / ".rekindle" / "store.db"
    before = path.read_bytes()
    rich("store", "check", "--deep")
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    done = rich("store", "check")
    assert done.code == 1
    assert "written by an older rekindle" in done.err


def overwrite(content: bytes, at: int, piece: bytes) -> bytes:
    return content[:at] + piece + content[at + len(piece) :]


@pytest.mark.parametrize("how", ["empty", "short", "half", "other", "random", "zeros"])
@pytest.mark.parametrize("deep", [[], ["--deep"]], ids=["check", "deep"])
def test_a_check_of_a_file_that_cannot_be_opened_names_what_helps(rich: Shell, how: str, deep: list[str]) -> None:
    path = rich.folder / ".rekindle" / "store.db"
    content = path.read_bytes()
    made = {
        "empty": b"",
        "short": content[:3000],
        "half": content[:40000],
        "other": b"a note\n" * 1000,
        "random": overwrite(content, 0, random.Random(1).randbytes(4096)),
        "zeros": overwrite(content, 0, bytes(4096)),
    }
    path.write_bytes(made[how])
    done = rich("store", "check", *deep)
    assert done.code == 1
    assert "store check" not in done.out + done.err
    assert "go back to a copy of the store's folder, or submit the workflows again" in done.out + done.err
    if how != "half":
        assert f"`sqlite3 {path} .recover | " in done.err
    others = [rich(*words) for words in (["status"], ["run", "spec.yaml"])]
    for other in others:
        assert other.code == 1
        assert "hint: `rekindle store check --deep`" in other.err
    if how == "empty":
        for one in (done, *others):
            assert f"the store {path.parent} is damaged: store.db is empty" in one.err


@pytest.mark.parametrize("blocks", [10, 100, 300])
def test_a_limit_of_file_sizes_is_named_and_leaves_no_part_of_a_store(tmp_path: Path, blocks: int) -> None:
    (tmp_path / "spec.yaml").write_text("name: w\njobs: {a: {run: 'true'}}\n")
    run = f"ulimit -f {blocks}; exec {Path(sys.executable).parent / 'rekindle'} run spec.yaml"
    done = subprocess.run(["bash", "-c", run], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"no file may be larger than {blocks}.0 KiB" in done.stderr
    assert "hint: raise the limit, which `ulimit -f` prints" in done.stderr
    assert not list(tmp_path.glob(".rekindle/store.db*"))
