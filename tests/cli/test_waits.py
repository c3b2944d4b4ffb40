"""`why`, `status`, `jobs show`, `submit` and `run` explain why jobs do not run now."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

CPUS = len(os.sched_getaffinity(0))
HUGE = f"{{cpus: {CPUS + 1}}}"


def waits(shell, job):
    found = shell("why", job, "--json").json["jobs"][0]["waits"]
    assert shell("jobs", "show", job, "--json").json["waits"] == found
    return {one["kind"]: one for one in found}


def said(shell, job):
    """The lines of `why`, which equal those of `jobs show`."""
    found = shell("why", job).out
    shown = [line[len("workflow  ") :].strip() for line in shell("jobs", "show", job).out.splitlines()]
    last = found.strip().splitlines()[-1].strip()
    assert last in shown
    return found


def test_a_job_that_asks_more_than_the_machine_has_is_named_everywhere(shell):
    shell.write(
        f"name: w\njobs:\n  ok: {{run: 'true'}}\n  big: {{run: 'true', resources: {HUGE}, matrix: {{i: [1, 2]}}}}\n"
    )
    text = f"more than this machine has: {CPUS + 1} cpus of {CPUS}"
    assert f"waiting: 2 jobs ask {text}" in shell("submit", "spec.yaml").err
    assert f"waiting: 2 jobs ask {text}" in shell("status").out
    assert shell("status", "--json").json["workflows"][0]["unfit"][0]["jobs"] == 2
    found = said(shell, "big[i=1]")
    assert f"can never start: it asks {text}" in found
    assert "ask for less cpus in `resources`" in found
    lacks = waits(shell, "big[i=1]")["resources"]["lacks"]
    assert [(one["what"], one["asked"]) for one in lacks] == [("cpus", CPUS + 1)]
    done = shell("run", "spec.yaml")
    assert done.code == 1
    assert f"waiting: 2 jobs ask {text}" in done.err
    assert f"big[i=1] can never start here: it asks {text}" in done.err
    assert shell("work", "-j", str(CPUS + 1)).code == 0
    assert "can never start" not in shell("why", "big[i=1]").out


@pytest.mark.parametrize(
    ("asked", "text", "offer"),
    [
        ("{memory: 4000G}", "memory 3.9 TiB of", "--memory 4000G"),
        ("{gpus: 2}", "2 gpus of 0", "--gpus 2"),
        ("{licences: {matlab: 1}}", "1 matlab licence of 0", "--licence matlab=1"),
    ],
)
def test_each_resource_that_is_lacking_is_said_with_the_option_that_offers_it(shell, asked, text, offer):
    shell.write(f"name: w\njobs:\n  big: {{run: 'true', resources: {asked}}}\n")
    for found in (shell("submit", "spec.yaml").err, shell("status").out, said(shell, "big")):
        assert text in found
        assert f"rekindle work -w 1 {offer}" in found
    assert shell("work", *offer.split()).code == 0


def test_what_waits_for_a_job_that_asks_too_much_counts_too(shell):
    shell.write(f"name: w\njobs:\n  a: {{run: 'true'}}\n  b: {{run: 'true', needs: [a], resources: {HUGE}}}\n")
    assert "waiting: 1 job asks more than this machine has" in shell("submit", "spec.yaml").err
    assert {"needs", "resources"} <= waits(shell, "b").keys()


CHAIN = """\
name: w
jobs:
  bad: {run: "exit 3"}
  mid: {run: "true", needs: [bad]}
  low: {run: "true", needs: [mid, ok]}
  fin: {run: "true", needs: [late], when: finished}
  ok: {run: "true"}
  late: {run: "true", needs: [ok]}
"""


def test_a_need_that_is_not_done_is_named_with_the_failed_job_above(shell):
    shell.write(CHAIN)
    assert shell("run", "spec.yaml").code == 2
    found = said(shell, "low")
    assert "waits for 2 mid (waiting)" in found
    assert "which waits for 1 bad (failed: exit 3)    again: rekindle rerun 1 --work" in found
    assert "no runner" not in found
    need = waits(shell, "low")["needs"]
    assert (need["job"], need["name"], need["state"], need["when"], need["unmet"]) == (
        2,
        "mid",
        "waiting",
        "completed",
        1,
    )
    assert [(one["name"], one["cause"], one["exit_code"]) for one in need["roots"]] == [("bad", "exit", 3)]
    assert waits(shell, "bad") == {"failed": {"kind": "failed", "cause": "exit", "exit_code": 3}}
    assert waits(shell, "ok") == {}


def test_a_job_that_needs_another_only_finished_waits_for_its_end(shell):
    shell.write(CHAIN)
    shell("submit", "spec.yaml")
    assert shell("hold", "late").code == 0
    assert "waits for the end of 6 late (waiting, held: held)    let go: rekindle release 6" in said(shell, "fin")
    assert waits(shell, "fin")["needs"]["when"] == "finished"


def test_the_needs_of_an_aggregate_are_not_all_listed(shell):
    shell.write("name: w\njobs:\n  a: {run: 'true', matrix: {i: {range: [0, 50]}}}\n  all: {run: 'true', needs: [a]}\n")
    shell("submit", "spec.yaml")
    assert "… and 47 more needs" in shell("why", "all").out
    assert waits(shell, "all")["needs"]["unmet"] == 50


def test_a_hold_is_said_with_its_reason_and_since_when(shell):
    shell.write("name: w\njobs:\n  a: {run: 'true'}\n")
    shell("submit", "spec.yaml")
    shell("hold", "a", "--reason", "the licence is late")
    found = said(shell, "a")
    assert "the licence is late    let go: rekindle release 1" in found
    held = waits(shell, "a")["held"]
    assert held["reason"] == "the licence is late"
    assert held["since"].endswith("Z")
    shell("release", "a")
    assert waits(shell, "a").keys() == {"runner"}


def test_an_archived_workflow_is_said_with_the_command_that_brings_it_back(shell):
    shell.write("name: w\njobs:\n  a: {run: 'true'}\n")
    shell("submit", "spec.yaml")
    shell("workflows", "archive", "w")
    assert "rekindle workflows archive --undo 1" in shell("why", "-w", "w").out
    assert shell("why", "-w", "w", "--json").json["jobs"][0]["waits"][0]["kind"] == "archived"


def test_without_a_runner_the_command_that_starts_one_is_named(shell):
    shell.write("name: w\njobs:\n  a: {run: 'true'}\n")
    shell("submit", "spec.yaml")
    assert "no runner is alive: rekindle work -w 1" in said(shell, "a")
    assert waits(shell, "a") == {"runner": {"kind": "runner", "problem": "none", "runners": []}}
    shell("cancel", "a")
    assert "again: rekindle rerun 1 --work" in said(shell, "a")


@pytest.fixture
def at_work(shell):
    """Starts runners that run until the test lets their jobs end."""
    started = []
    (shell.folder / "go").unlink(missing_ok=True)

    def start(*words):
        command = [sys.executable, "-m", "rekindle", "work", *words]
        started.append(
            subprocess.Popen(command, cwd=shell.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    yield start
    (shell.folder / "go").touch()
    for one in started:
        one.terminate()
        one.wait(30)


def until(shell, job, kind):
    """Wait for a reason of that kind."""
    end = time.monotonic() + 30
    while True:
        found = shell("why", job, "--json").json["jobs"][0]["waits"]
        for one in found:
            if one["kind"] == kind:
                return one
        assert time.monotonic() < end, found
        time.sleep(0.02)


BUSY = "until test -e go; do sleep 0.02; done"


def test_a_running_job_is_said_with_its_runner_and_what_waits_for_room(shell, at_work):
    shell.write(
        f"name: w\njobs:\n  a: {{run: '{BUSY}', resources: {{memory: 3G}}}}\n"
        "  b: {run: 'true', resources: {memory: 2G}, priority: -1}\n  c: {run: 'true', resources: {memory: 5G}}\n"
    )
    shell("submit", "spec.yaml")
    at_work("-j", "2", "--memory", "4G")
    running = until(shell, "a", "running")
    assert running["runner_alive"] is True
    assert running["pid"] > 0
    assert "running since" in said(shell, "a")
    assert (running["attempt"], running["id"]) == (1, 1)
    room = until(shell, "b", "resources")
    assert (room["never"], room["text"]) == (False, "memory 2.0 GiB of 1.0 GiB")
    assert "memory 2.0 GiB of 1.0 GiB free, taken by 1 a" in said(shell, "b")
    assert waits(shell, "c")["resources"]["never"] is True
    assert "it asks more than runner 1 has: memory 5.0 GiB of 4.0 GiB" in said(shell, "c")
    assert "waiting: 1 job asks more than runner 1 has" in shell("status").out
    assert shell("status", "--json").json["workflows"][0]["runners"][0]["offer"]["memory"] == 4 << 30


def test_a_busy_runner_and_one_of_another_workflow_are_said(shell, at_work):
    shell.write(f"name: w\njobs:\n  a: {{run: '{BUSY}'}}\n  b: {{run: 'true', priority: -1}}\n")
    shell.write("name: x\njobs:\n  other: {run: 'true'}\n", "x.yaml")
    shell("submit", "spec.yaml")
    shell("submit", "x.yaml")
    at_work("-w", "w", "-j", "1")
    until(shell, "a", "running")
    assert waits(shell, "b")["runner"]["problem"] == "busy"
    assert "waits for a slot: runner 1 runs 1 job at once: 1 a" in said(shell, "b")
    limited = waits(shell, "other")["runner"]
    assert (limited["problem"], limited["runners"]) == ("limited", [{"id": 1, "workflow": 1}])
    assert "no runner works on this workflow (runner 1: only on workflow 1): rekindle work -w 2" in said(shell, "other")


def test_a_retry_that_is_due_later_is_said_with_its_time(shell, at_work):
    shell.write("name: w\njobs:\n  a: {run: 'exit 1', retry: {max: 2, delay: 1h}}\n")
    shell("submit", "spec.yaml")
    at_work()
    delay = until(shell, "a", "delay")
    assert delay["until"].endswith("Z")
    assert (delay["retry"]["retry"], delay["retry"]["of"]) == (1, 2)
    found = said(shell, "a")
    assert "\n  failed (exit 1); its retry 1 of 2 starts at " in found
    assert "was reset" not in found
    assert (delay["attempt"], delay["id"], delay["exit_code"]) == (1, 1, 1)
    (again,) = [one["again"] for one in shell("why", "a", "--json").json["jobs"]]
    assert again == {"kind": "retry", "attempt": 1, "id": 1, "cause": "exit", "exit_code": 1}


def test_a_canceled_need_is_named_with_its_state_alone(shell):
    shell.write("name: w\njobs:\n  a: {run: 'true'}\n  b: {run: 'true', needs: [a]}\n")
    shell("submit", "spec.yaml")
    assert shell("cancel", "a").code == 0
    assert "waits for 1 a (canceled)    again: rekindle rerun 1 --work" in said(shell, "b")


def test_what_can_never_start_here_is_not_called_held(shell):
    shell.write(f"name: w\njobs:\n  big: {{run: 'true', resources: {HUGE}}}\n")
    done = shell("run", "spec.yaml")
    assert "\nbig can never start here: it asks more" in done.err
    assert "held" not in done.err
