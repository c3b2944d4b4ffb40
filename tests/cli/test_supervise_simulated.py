"""`supervise --simulate`: guards on the history of a workflow, without running or writing."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once
from rekindle import Client, Guards

BATCH = """
name: batch
jobs:
  ok: {matrix: {i: {range: [0, 5]}}, run: "true"}
  flaky: {run: "test -e seen || { touch seen; exit 3; }"}
  broken: {run: "echo broken >&2; exit 4"}
"""


@pytest.fixture
@made_once
def batch(shell: Shell) -> Shell:
    """A batch that was supervised with the default guards: one rerun."""
    shell("supervise", shell.write(BATCH), "-j", "2")
    return shell


def test_the_same_guards_give_what_happened(batch: Shell) -> None:
    done = batch("supervise", "batch", "--simulate", "-j", "2", "--json")
    found = done.json
    assert (done.code, found["end"], found["slots"]) == (0, "max_reruns", 2)
    assert [(one["attempts"], one["matching"], one["jobs"]) for one in found["rounds"]] == [(7, 2, 2), (9, 1, 0)]
    assert found["simulated"]["attempts"] == found["happened"]["attempts"] == 9
    assert found["simulated"]["core_seconds"] == pytest.approx(found["happened"]["core_seconds"])
    assert found["simulated"]["statuses"] == found["happened"]["statuses"] == {"passed": 6, "error": 1}
    assert not any(found["drawn"].values())


def test_a_stricter_guard_saves_attempts(batch: Shell) -> None:
    done = batch("supervise", "batch", "--simulate", "--max-failure-percent", "20")
    assert done.code == 0
    assert "28.6 % fail, more than 20 %" in done.out
    assert "7 attempts" in done.out
    assert "2 attempts less" in done.out
    assert "each attempt has a record" in done.out


def test_python_gives_the_same(batch: Shell) -> None:
    with Client(str(batch.folder / ".rekindle")) as client:
        found = client.simulate("batch", Guards(max_failure_percent=20))
    assert (found.attempts, found.found.attempts) == (9, 7)


def test_attempts_without_a_record_are_drawn_and_counted(batch: Shell) -> None:
    options = ("supervise", "batch", "--simulate", "--max-reruns", "3", "--seed", "7")
    done = batch(*options)
    assert "2 of 11 attempts have no record, and are drawn with seed 7:" in done.out
    assert "2 from attempts after a failure with the same signature" in done.out
    assert done.out == batch(*options).out


def test_it_runs_and_writes_nothing(batch: Shell) -> None:
    lists = [(noun, "list", "--json") for noun in ("attempts", "reruns", "events")]
    before = [batch(*words).json for words in lists]
    batch("supervise", "batch", "--simulate", "--max-reruns", "5")
    assert [batch(*words).json for words in lists] == before


def test_a_workflow_without_a_history_is_refused(shell: Shell) -> None:
    shell("submit", shell.write(BATCH))
    done = shell("supervise", "batch", "--simulate")
    assert done.code == 1
    assert "no attempt of the workflow has completed or failed" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--simulate", "--no-work"), "it does not go with --no-work"),
        (("--simulate", "--note", "why"), "it does not go with --note"),
        (("--simulate", "--param", "a=1"), "it does not go with --param"),
        (("--simulate", "--junit", "out.xml"), "it does not go with --junit or --ci"),
        (("--simulate", "--memory", "1G"), "an option of a runner"),
        (("--seed", "1"), "--seed is for --simulate"),
        (("--simulate", "--max-failure-percent", "0"), "a percentage is above 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(batch: Shell, options: tuple[str, ...], words: str) -> None:
    done = batch("supervise", "batch", *options)
    assert done.code == 64
    assert words in done.err
