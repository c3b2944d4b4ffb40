"""Retries, with real processes and the real command line."""

from __future__ import annotations

import json
from typing import Any

from project_folder import Project

FLAKY = """
name: flaky
jobs:
  flaky:
    run: |
      echo flaky >> ran.txt
      if [ $REKINDLE_ATTEMPT -lt 3 ]; then echo "a temporary trouble" >&2; exit 75; fi
      touch passed
    resources: {memory: 256M, time: 1m}
    retry: {max: 3, exit_codes: [10, 75], delay: 200ms, backoff: 2, memory: x1.5, max_memory: 512M, time: x2}
  wrong: {run: "exit 3", retry: {max: 3, exit_codes: [10, 75]}}
  long: {run: "while [ ! -e passed ]; do sleep 0.01; done"}
"""


def test_a_job_fails_twice_and_passes_while_another_runs(project: Project) -> None:
    project.spec(FLAKY)
    done = project.rekindle("run", "spec.yaml", "-j", "2", expect=2)
    assert project.ran() == ["flaky"] * 3
    assert "2 attempts failed, of jobs that are retried" in done.stderr
    assert project.states() == {"flaky": "completed", "wrong": "failed", "long": "completed"}
    (flaky, wrong, _) = (project.ask("attempts", "list", name)["attempts"] for name in ("flaky", "wrong", "long"))
    assert len(wrong) == 1
    assert [one["state"] for one in flaky] == ["failed", "failed", "completed"]
    assert [one["archived"] for one in flaky] == [True, True, False]
    tried = [one["retry"] and (one["retry"]["retry"], one["retry"]["of"], one["retry"]["delay"]) for one in flaky]
    assert tried == [None, (1, 3, 0.2), (2, 3, 0.4)]
    memory = [(one["overrides"] or {}).get("memory") for one in flaky]
    assert memory == [None, 384 * 2**20, 512 * 2**20]
    assert [(one["overrides"] or {}).get("time") for one in flaky] == [None, 120.0, 240.0]


HUNGRY = """
name: hungry
jobs:
  hungry:
    run: |
      echo hungry >> ran.txt
      exec python3 -c "import time; held = bytearray(96 << 20); time.sleep(60 * (2 - $REKINDLE_ATTEMPT))"
    resources: {memory: 64M}
    retry: {max: 1, on: [oom], memory: x2}
  neighbour: {run: "while [ $(grep -c hungry ran.txt) -lt 2 ]; do sleep 0.02; done; echo neighbour >> ran.txt"}
"""


def test_a_job_that_takes_too_much_memory_is_ended_and_completes_with_more(project: Project) -> None:
    project.spec(HUNGRY)
    project.write("ran.txt", "")
    project.rekindle("run", "spec.yaml", "-j", "2")
    first, second = project.ask("attempts", "list", "hungry")["attempts"]
    assert (first["state"], first["cause"], second["state"]) == ("failed", "oom", "completed")
    assert first["max_rss_bytes"] > 64 * 2**20
    assert (second["overrides"] or {}).get("memory") == 2 * max(first["max_rss_bytes"], 64 * 2**20)
    assert (project.ran().count("hungry"), project.ran().count("neighbour")) == (2, 1)


def test_retries_are_shown_by_every_command(project: Project) -> None:
    project.spec(FLAKY)
    project.rekindle("run", "spec.yaml", "-j", "2", expect=2)
    project.env["COLUMNS"] = "200"  # no cell is truncated
    last = project.ask("attempts", "list", "flaky")["attempts"][-1]
    shown = project.rekindle("attempts", "show", str(last["id"])).stdout
    assert "retry 2 of 3: exit" in shown
    assert "512.0 MiB" in shown
    assert "retry 1 of 3" in project.rekindle("attempts", "list", "flaky").stdout
    assert "retry 2 of 3" in project.rekindle("jobs", "show", "flaky").stdout
    listed = project.ask("reruns", "list")["reruns"]
    assert [(one["kind"], one["note"]) for one in listed] == [
        ("retry", "retry 2 of 3: exit"),
        ("retry", "retry 1 of 3: exit"),
    ]
    rerun = project.ask("reruns", "show", str(listed[0]["rerun"]))
    assert {"kind": "retry", "retry": 2, "of": 3, "cause": "exit", "delay": 0.4} in rerun["jobs"][0]["reasons"]
    assert "retry 2 of 3: exit" in project.rekindle("reruns", "show", str(listed[0]["rerun"])).stdout
    assert "no rerun to undo" in project.rekindle("undo", expect=1).stderr


def test_a_distant_retry_is_reported_and_kept(project: Project) -> None:
    project.spec('{name: later, jobs: {a: {run: "exit 1", retry: {max: 1, delay: 1h}}}}')

    def status() -> dict[str, Any]:
        (workflow,) = project.ask("status")["workflows"]
        assert workflow["counts"] == {"ready": 1}
        return workflow

    project.rekindle("submit", "spec.yaml")
    while not status()["delayed"]:  # on a busy host no job may have started after a second
        project.rekindle("work", "--wait-timeout", "1s", expect=6)
    assert "1 waits for a retry" in project.rekindle("status").stdout
    job = json.loads(project.rekindle("jobs", "show", "a", "--json").stdout)
    assert job["not_before"] is not None
    assert (job["retry"]["retry"], job["retry"]["of"]) == (1, 1)
    assert "retry 1 of 1: exit" in project.rekindle("jobs", "show", "a").stdout
    assert "retry at" in project.rekindle("jobs", "list").stdout
