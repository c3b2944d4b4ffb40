"""Files and user data that were edited after a job had made them, and what a restart says about them."""

from __future__ import annotations

import pytest
from torc_folder import Torc

FILES = """\
name: chain
files: [{name: raw, path: raw.txt}, {name: clean, path: clean.txt}, {name: used, path: used.txt}]
jobs:
  - {name: clean, command: "cp ${files.input.raw} ${files.output.clean}"}
  - {name: use, command: "cp ${files.input.clean} ${files.output.used}"}
"""

VALUES = """\
name: values
user_data: [{name: given, data: 1, is_ephemeral: %s}, {name: made}]
jobs:
  - name: makes
    command: |
      value=$(torc user-data get ${user_data.input.given} | jq .data)
      torc user-data update ${user_data.output.made} -d $value
  - {name: reads, command: "torc user-data get ${user_data.input.made} | jq .data >> seen"}
"""


@pytest.fixture
def chain(torc: Torc) -> Torc:
    torc.write("raw.txt", "raw\n")
    torc.create(FILES)
    assert torc("jobs", "run").code == 0
    return torc


def test_an_edited_file_is_kept_and_its_users_run(chain: Torc) -> None:
    chain.write("clean.txt", "edited\n")
    assert chain.again() == {"use"}
    assert chain("workflows", "restart").code == 0
    assert chain("jobs", "run").code == 0
    assert (chain.folder / "clean.txt").read_text() == "edited\n"
    assert (chain.folder / "used.txt").read_text() == "edited\n"
    assert chain("workflows", "restart").out == "nothing to restart\n"


def test_a_last_output_that_was_edited_is_kept(chain: Torc) -> None:
    chain.write("used.txt", "edited\n")
    assert chain.again() == set()


def test_an_edited_file_is_made_again_where_its_own_input_changed(chain: Torc) -> None:
    chain.write("clean.txt", "edited\n")
    chain.write("raw.txt", "other\n")
    done = chain("workflows", "restart", "--dry-run")
    assert done.out.splitlines() == [
        "2 jobs would run again: clean, use",
        "  clean: the file raw changed",
        "  use: the file clean changed, clean runs again",
        "would overwrite:",
        "  clean.txt",
        "  used.txt",
        "a dry run: nothing is changed",
    ]
    document = chain.json("workflows", "restart", "--dry-run")
    assert document["overwrites"] == ["clean.txt", "used.txt"]
    assert (chain.folder / "clean.txt").read_text() == "edited\n"


def test_the_reasons_of_a_restart(torc: Torc) -> None:
    torc.create(
        'name: a\njobs:\n  - {name: killed, command: "kill -9 $$"}\n  - {name: below, command: "true", '
        'depends_on: [killed]}\n  - {name: reset, command: "true"}\n'
    )
    assert torc("jobs", "run", "-j", "1").code == 2
    assert torc("jobs", "reset-status", "reset").code == 0
    out = torc("workflows", "restart", "--dry-run").out
    assert "  killed: it ended with the cause signal\n" in out
    assert "  reset: it was reset\n" in out


def test_an_updated_value_is_kept_and_its_readers_run(torc: Torc) -> None:
    torc.create(VALUES % "false")
    assert torc("jobs", "run").code == 0
    assert torc("user-data", "update", "made", "--data", "99").code == 0
    assert torc.again() == {"reads"}
    assert torc("workflows", "restart").code == 0
    assert torc("jobs", "run").code == 0
    assert torc.json("user-data", "get", "made")["data"] == 99
    assert (torc.folder / "seen").read_text() == "1\n99\n"


def test_an_updated_ephemeral_value_is_restored_and_runs_nobody_who_had_it(torc: Torc) -> None:
    torc.create(VALUES % "true")
    assert torc("jobs", "run").code == 0
    assert torc("user-data", "update", "given", "--data", "5").code == 0
    assert torc.again() == set()
    done = torc("workflows", "restart")
    assert done.out.splitlines() == ["nothing to restart", "resets ephemeral user data: given"]
    assert torc.json("user-data", "get", "given")["data"] == 1
    assert torc.again() == set()


def test_readers_of_an_updated_ephemeral_value_run_again_with_the_restored_one(torc: Torc) -> None:
    torc.create(VALUES % "true")
    assert torc("user-data", "update", "given", "--data", "5").code == 0
    assert torc("jobs", "run").code == 0
    assert torc("workflows", "restart", "--dry-run").out.splitlines()[:2] == [
        "2 jobs would run again: makes, reads",
        "  makes: the user data given changed",
    ]
    assert torc("workflows", "restart").code == 0
    assert torc("jobs", "run").code == 0
    assert (torc.folder / "seen").read_text() == "5\n1\n"
