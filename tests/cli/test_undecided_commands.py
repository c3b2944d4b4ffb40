"""Failures that wait for a person or a judge, as the command line shows them."""

from __future__ import annotations

import json

import pytest
from cli_shell import Shell

from rekindle.engine.running.judges import JudgeAsker


def spec(**policy: object) -> str:
    return json.dumps({"name": "s", "jobs": {"a": {"run": "exit 3", **policy}, "b": {"run": "true", "needs": ["a"]}}})


def test_a_held_failure_is_shown_as_such_everywhere(shell: Shell) -> None:
    shell.write(spec(on_unknown_failure="hold"))
    assert shell("run", "spec.yaml").code == 2
    text = "held: unknown failure; release or rerun"
    for command in (
        ("jobs", "show", "a"),
        ("attempts", "show", "1"),
        ("why", "a"),
    ):
        assert text in " ".join(shell(*command).out.split()), command
    for command in (("jobs", "list"), ("attempts", "list")):
        assert "held: unknown failure" in shell(*command).out, command
    for command in (("status",), ("failures",)):
        assert "1 failed job is held: unknown failure" in shell(*command).out, command
    assert shell("status", "--json").json["workflows"][0]["undecided"] == {"unknown failure": 1}
    assert shell("jobs", "list", "--json").json["jobs"][0]["undecided"] == "unknown failure"
    [group] = shell("failures", "--json").json["failures"]
    assert group["undecided"] == [{"job": 1, "waits": "unknown failure"}]
    assert shell("release", "--signature", group["signature"]).out == "1 job released: 1\n"
    assert "held" not in shell("status").out


def test_a_run_says_that_a_failure_is_held_and_what_decides_it(shell: Shell) -> None:
    shell.write(spec(on_unknown_failure="hold"))
    lines = (
        "1 failed job is held: unknown failure\n",
        "  look: rekindle jobs show 1\n",
        "  let go: rekindle release -i 1    again: rekindle rerun -i 1 --work\n",
    )
    assert shell("submit", "spec.yaml").code == 0
    for command in (("work",), ("run", "spec.yaml")):
        ended = shell(*command)
        assert ended.code == 2
        for line in lines:
            assert line in ended.err, command
            assert len(line) <= 81
    assert shell("release", "-i", "1").code == 0
    assert "held" not in shell("run", "spec.yaml").err


def test_the_failed_hook_fires_for_a_held_failure(shell: Shell) -> None:
    held = json.loads(spec(on_unknown_failure="hold"))
    shell.write(json.dumps({**held, "on": {"failed": "echo $REKINDLE_STATE >> hooks"}}))
    assert shell("run", "spec.yaml").code == 2
    assert (shell.folder / "hooks").read_text() == "failed\n"


def test_a_run_asks_the_judge_that_an_interrupted_one_did_not(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.write(spec(judge="echo hold ask Ann"))
    with monkeypatch.context() as patch:
        patch.setattr(JudgeAsker, "look", lambda _: False)
        assert shell("run", "spec.yaml").code == 2
    assert "with a judge" in shell("status").out
    assert shell("run", "spec.yaml").code == 2
    assert "held: its judge: ask Ann" in shell("status").out
    [record] = shell("reruns", "list", "--json").json["reruns"]
    assert (record["kind"], record["note"]) == ("judge", "hold: ask Ann")
    shown = shell("reruns", "show", str(record["rerun"]))
    assert (shown.code, "its judge says hold: ask Ann" in shown.out) == (0, True), shown.out
    undone = shell("undo", str(record["rerun"]))
    assert (undone.code, "rekindle rerun 1" in undone.err) == (1, True)
