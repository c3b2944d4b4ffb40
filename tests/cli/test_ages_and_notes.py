"""Ages in filters and queries, and notes of cancel, hold and release."""

from __future__ import annotations

import sqlite3

import pytest
from cli_shell import Shell

from made_once import made_once

SPEC = """
name: aged
jobs:
  old: {run: "true"}
  young: {run: "true"}
  never: {run: "true"}
"""


@pytest.fixture
@made_once
def aged(shell: Shell) -> Shell:
    """A job that ended three days ago, one that ended just now, and one that never ran."""
    shell("submit", shell.write(SPEC))
    assert shell("work", "old", "young", "-j", "1", "--json").json["completed"] == 2
    with sqlite3.connect(shell.folder / ".rekindle" / "store.db") as database:
        for column in ("queued", "started", "ended"):
            database.execute(f"UPDATE attempt SET {column} = {column} - 3 * 86400 WHERE job = 1")
    database.close()
    return shell


def names(shell: Shell, *words: str) -> list[str]:
    """The names of the selected jobs."""
    return [job["name"] for job in shell("jobs", "list", *words, "--json").json["jobs"]]


@pytest.mark.parametrize("field", ["ended", "started", "queued", "last_active"])
def test_a_duration_is_an_age_younger_or_older(aged: Shell, field: str) -> None:
    assert names(aged, "-f", f"{field}<2d") == ["young"]
    assert names(aged, "-f", f"{field}<=1h30m") == ["young"]
    assert names(aged, "-f", f"{field}>2d") == ["old"]
    assert names(aged, "-f", f"{field}>=1-02:00:00") == ["old"]
    assert names(aged, "-f", f"{field}>2d", "-f", f"{field}<100w") == ["old"]
    assert names(aged, "-q", f'{{"{field}": {{"$gt": "2d"}}}}') == ["old"]
    assert names(aged, "-q", f'{{"$or": [{{"{field}": {{"$lt": "PT1H"}}}}, {{"name": "never"}}]}}') == [
        "young",
        "never",
    ]


def test_ages_select_for_commands_that_act(aged: Shell) -> None:
    assert [one["name"] for one in aged("rerun", "-f", "ended>2d", "--dry-run", "--json").json["jobs"]] == ["old"]
    assert aged("work", "-f", "workflow.submitted<1h", "--json").json["completed"] == 1


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("ended<2", "the duration 2 has no unit", "2d"),
        ("ended<yesterday", "'yesterday' is not a time", "2d"),
        ("ended=2d", "an age is compared with", "ended<2d"),
        ("ended!=2d", "an age is compared with", "ended<2d"),
        ("ended<-2d", "'-2d' is not a time", "2d"),
        ("ended~2d", "is a time", "use"),
    ],
)
def test_an_age_that_cannot_be_read_is_refused_with_a_hint(aged: Shell, text: str, said: str, hint: str) -> None:
    done = aged("jobs", "list", "-f", text)
    assert done.code == 64
    assert said in done.err
    assert hint in done.err.partition("hint:")[2]


def test_notes_of_cancel_hold_and_release_are_kept_and_shown(shell: Shell) -> None:
    shell("submit", shell.write(SPEC))
    assert shell("hold", "old", "--note", "no licence").code == 0
    assert shell("release", "old", "--note", "a licence came").code == 0
    assert shell("cancel", "old", "young", "--note", "wrong input").code == 0
    assert shell("cancel", "never").code == 0
    events = shell("events", "list", "--json").json["events"]
    notes = [(one["kind"], one["detail"].get("note")) for one in events if one["kind"] != "submitted"]
    assert notes == [
        ("held", "no licence"),
        ("released", "a licence came"),
        ("canceled", "wrong input"),
        ("canceled", None),
    ]
    assert "note wrong input" in shell("events", "list").out
    assert shell("why", "old").out.count("note: wrong input") == 1
    assert [job["note"] for job in shell("why", "--all", "--json").json["jobs"]] == ["wrong input", "wrong input", None]
    shell("rerun", "old", "--yes")
    shell("cancel", "old")
    assert "wrong input" not in shell("why", "old").out, "the last cancel had no note"


@pytest.mark.parametrize(
    "words",
    [["cancel", "a"], ["hold", "a"], ["release", "a"], ["rerun", "a", "--yes"], ["reset", "a"], ["accept", "a"]],
)
def test_a_note_that_is_not_utf_8_is_refused_before_anything_is_done(shell: Shell, words: list[str]) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}}\n")
    assert shell("run", "spec.yaml").code == 0
    before = shell("events", "list", "--json").out
    done = shell(*words, "--note", "caf\udce9")
    assert (done.code, done.out) == (64, "")
    assert done.err.startswith("rekindle: not a valid text: caf\\xe9\n")
    assert shell("events", "list", "--json").out == before
