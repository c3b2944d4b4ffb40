"""`attempts diff`, on attempts that ran."""

from __future__ import annotations

import pytest
from cli_shell import Shell

SPEC = """\
name: tuned
params: {alpha: 1}
jobs:
  fit:
    resources: {memory: 1M}
    steps:
      - {name: load, run: "true"}
      - {name: fit, run: "test ${params.alpha} = 5"}
"""


@pytest.fixture
def rerun(shell: Shell) -> Shell:
    """A job that failed, and completed in a rerun with another parameter and more memory."""
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 2
    words = ("--from", "failed-step", "--set", "alpha=5", "--memory", "x2", "--yes", "--work")
    assert shell("rerun", "fit", *words).code == 0
    return shell


def test_a_failed_attempt_and_its_rerun(rerun: Shell) -> None:
    document = rerun("attempts", "diff", "1", "2", "--json").json
    assert (document["a"], document["b"]) == (1, 2)
    assert all(set(one) == {"field", "a", "b"} for one in document["differences"])
    found = {one["field"]: (one["a"], one["b"]) for one in document["differences"]}
    assert found["modified.params.alpha"] == (None, 5)
    assert found["modified.memory"] == (None, 2097152)
    assert found["start_step"] == (0, 1)
    assert found["builds_on"] == (None, 1)
    assert found["state"] == ("failed", "completed")
    assert found["cause"] == ("exit", None)
    assert found["exit_code"] == (1, 0)
    assert found["steps.fit.state"] == ("failed", "completed")
    assert found["steps.load.kept_from"] == (None, 1)
    assert not {"job", "revision", "host"} & set(found)
    assert not any(name.startswith("template.") for name in found)


def test_people_see_them_side_by_side(rerun: Shell) -> None:
    lines = rerun("attempts", "diff", "1", "2").out.splitlines()
    assert lines[:2] == ["attempt 1: number 1 of job 1 fit", "attempt 2: number 2 of job 1 fit"]
    rows = [line.split() for line in lines[2:]]
    assert rows[0] == ["FIELD", "ATTEMPT", "1", "ATTEMPT", "2"]
    assert ["modified.params.alpha", "-", "5"] in rows
    assert ["modified.memory", "-", "2.0", "MiB"] in rows
    assert ["start_step", "1", "2"] in rows
    assert ["state", "failed", "completed"] in rows


def test_nothing_differs_from_itself(rerun: Shell) -> None:
    assert rerun("attempts", "diff", "1", "1").out.splitlines()[-1] == "nothing differs"
    assert rerun("attempts", "diff", "1", "1", "--json").json == {"a": 1, "b": 1, "differences": []}


def test_long_commands_are_shown_from_where_they_differ(rerun: Shell) -> None:
    for number in ("0", "00"):
        rerun.write(SPEC.replace("test $", f"true a very long command that goes on and on and on; test {number}$"))
        assert rerun("submit", "spec.yaml").code == 0
        assert rerun("rerun", "fit", "--yes", "--work").code == 2
    out = rerun("attempts", "diff", "3", "4").out
    assert max(len(line) for line in out.splitlines()) <= 80
    (command,) = [line for line in out.splitlines() if line.startswith("template.")]
    _, before, after = command.split("  ")
    assert before.startswith("…; test 0${params")
    assert after.startswith("…; test 00${params")
    assert any(line.split() == ["revision", "2", "3"] for line in out.splitlines())


def test_an_attempt_that_is_not_there_is_named(rerun: Shell) -> None:
    done = rerun("attempts", "diff", "1", "99")
    assert done.code == 1
    assert "no such attempt: 99" in done.err
