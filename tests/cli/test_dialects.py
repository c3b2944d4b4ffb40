"""`rekindle dialects`."""

from __future__ import annotations

import subprocess

import pytest
from cli_shell import Shell

from rekindle.cli.command_table import DIALECTS


def test_the_dialects_are_listed(shell: Shell) -> None:
    assert [one["name"] for one in shell("dialects", "list", "--json").json["dialects"]] == list(DIALECTS)


@pytest.mark.parametrize("name", list(DIALECTS))
def test_each_dialect_gets_an_executable(shell: Shell, name: str) -> None:
    assert shell("dialects", "install", "bin").code == 0
    assert shell("dialects", "install", "bin").code == 0, "its own files are written again"
    done = subprocess.run([shell.folder / "bin" / name, "--help"], capture_output=True, text=True, check=True)
    assert f"Usage: rekindle {name}" in done.stdout


def test_what_rekindle_did_not_write_is_kept(shell: Shell) -> None:
    there = shell.folder / "bin" / next(iter(DIALECTS))
    there.parent.mkdir()
    there.write_text("the real one")
    done = shell("dialects", "install", "bin")
    assert done.code == 1
    assert "not written by rekindle" in done.err
    assert [path.name for path in there.parent.iterdir()] == [there.name]
    assert there.read_text() == "the real one"


def test_a_folder_that_cannot_be_written_to_is_named(shell: Shell) -> None:
    (shell.folder / "file").write_text("")
    done = shell("dialects", "install", "file/bin")
    assert done.code == 1
    assert "cannot write to file/bin" in done.err
