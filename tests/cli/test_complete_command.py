"""`rekindle complete`: what it prints, what it refuses, and the same from Python."""

from __future__ import annotations

import json

import pytest
from cli_shell import Shell

import rekindle

SPEC = json.dumps(
    {
        "name": "s",
        "jobs": {
            "a": {"run": "exit 3", "outputs": {"o": "a.txt"}},
            "b": {"run": "cat a.txt", "needs": ["a"]},
        },
    }
)


@pytest.fixture
def failed(shell: Shell) -> Shell:
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 2
    return shell


def test_the_record_says_who_and_why_wherever_the_job_is_shown(failed: Shell) -> None:
    (failed.folder / "a.txt").write_text("by hand")
    done = failed("complete", "a", "--note", "from the cluster", "--json").json
    assert [(job["name"], job["before"], job["after"]) for job in done["jobs"]] == [("a", "failed", "completed")]
    assert [reason["kind"] for reason in done["jobs"][0]["reasons"]] == ["by_hand"]
    attempt = failed("attempts", "show", "2", "--json").json
    assert attempt["completed_by"] == attempt["by_hand"]["rerun"] == done["rerun"]
    assert (attempt["by_hand"]["by"] != "", attempt["by_hand"]["note"]) == (True, "from the cluster")
    line = f"by hand by {attempt['by_hand']['by']}: from the cluster"
    for command in (("attempts", "show", "2"), ("why", "a")):
        assert line in failed(*command).out
    assert "by hand" in failed("jobs", "list").out
    assert "1 job completed by hand" in failed("status").out
    assert "completed by hand" in failed("lineage", "a.txt").out
    assert failed("status", "--json").json["workflows"][0]["by_hand"] == 1
    shown = failed("reruns", "show", str(done["rerun"])).out
    assert ("(complete)" in shown, "from the cluster" in shown) == (True, True)
    assert failed("undo").code == 0
    assert failed("jobs", "list", "--json").json["jobs"][0]["state"] == "failed"


def test_mistakes_are_named_with_a_way_out(failed: Shell) -> None:
    refused = failed("complete", "a")
    assert (refused.code, "missing_output" in refused.err, "--outputs NAME=PATH" in refused.err) == (1, True, True)
    assert [one["name"] for one in failed("complete", "a", "--json").json["refused"]] == ["a"]
    for words, code, text in (
        (("a", "--outputs", "o"), 64, "'o' is not NAME=PATH"),
        (("a", "--outputs", "o=x", "--outputs", "o=y"), 64, "given twice"),
        (("a", "--result", "{"), 64, "is not JSON"),
        (("a", "b", "--outputs", "o=spec.yaml"), 64, "for one job"),
        (("a", "--outputs", "p=spec.yaml"), 1, "declares no output 'p'"),
        (("a", "--outputs", "o=nothing"), 1, "is not at"),
        ((), 64, "say which jobs to complete"),
        (("nope",), 1, "no such job: nope"),
    ):
        done = failed("complete", *words)
        assert (done.code, text in done.err) == (code, True), done
    assert failed("complete", "-s", "running").out == "nothing selected\n"


def test_a_dry_run_changes_nothing(failed: Shell) -> None:
    (failed.folder / "elsewhere").write_text("by hand")
    done = failed("complete", "a", "--outputs", "o=elsewhere", "--dry-run", "--json").json
    assert (done["rerun"], [one["target"] for one in done["copied"]]) == (None, [str(failed.folder / "a.txt")])
    assert not (failed.folder / "a.txt").exists()
    assert failed("reruns", "list", "--json").json["reruns"] == []


def test_python_completes_jobs_too(failed: Shell) -> None:
    (failed.folder / "elsewhere").write_text("by hand")
    with rekindle.Client(failed.folder / ".rekindle") as client:
        done = client.complete(client.select("a"), outputs={"o": failed.folder / "elsewhere"}, result=[1], note="n")
        assert [job.name for job in done.plan.jobs] == ["a"]
        assert client.attempts.show(2).result == [1]
        assert client.complete(client.select("a")).completed == (1,)
        client.undo()
        assert client.jobs(client.select("a"))[0].state == "failed"
