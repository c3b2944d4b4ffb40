"""Processes that a job leaves running are killed and named, or kept with `leave_running: true`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

from rekindle.journal.processes import start_of

pytestmark = pytest.mark.new_interpreters

MODULE = """\
import subprocess
def leave(): return subprocess.Popen(["sleep", "600"]).pid
"""

LEAVES: dict[str, dict[str, Any]] = {
    "plain": {"run": "sleep 600 &"},
    "apart": {"run": "setsid nohup sleep 600 >/dev/null 2>&1 & sleep 0.1"},
    "orphan": {"run": "(setsid sh -c ': > up; exec sleep 600' &) ; while ! test -e up; do :; done"},
    "call": {"call": "lib:leave"},
    "items": {"steps": [{"name": "p", "each": ["a"], "run": "setsid sleep 600 &"}]},
    "called": {"steps": [{"name": "p", "each": ["a"], "call": "lib:leave"}]},
    "early": {"steps": [{"name": "one", "run": "sleep 600 &"}, {"name": "two", "run": "true"}]},
}
"""Jobs that leave one process each."""


def run(shell: Shell, jobs: dict[str, dict[str, Any]], **more: Any) -> int:
    """Run a workflow of these jobs and return the exit code."""
    shell.write(MODULE, "lib.py")
    shell.write(json.dumps({"name": "s", "jobs": jobs, **more}))
    return shell("run", "spec.yaml", "-j", "1").code


def test_what_a_job_leaves_running_is_killed_and_named(shell: Shell) -> None:
    assert run(shell, LEAVES) == 0
    attempts = shell("attempts", "list", "--json").json["attempts"]
    assert len(attempts) == len(LEAVES)
    for one in attempts:
        found = one["left_running"]
        assert found["killed"]
        assert found["count"] == len(found["processes"]) > 0
        for process in found["processes"]:
            assert "sleep 600" in process["name"] or process["name"] == "sh"  # forked, and not yet `sleep`
            assert start_of(process["pid"]) is None
    said, found = f"(pid {attempts[0]['left_running']['processes'][0]['pid']})", attempts[0]["left_running"]
    assert said in shell("attempts", "show", "1").out
    assert shell("attempts", "show", "1", "--json").json["left_running"] == found
    logs = shell("logs", "1")
    assert said in logs.err
    assert "killed at its end" in logs.err
    assert "leave_running: true" in logs.err
    assert shell("logs", "1", "--json").json["left_running"] == found


def test_leave_running_leaves_it_alone_beyond_the_end_of_the_runner(shell: Shell) -> None:
    jobs = {**LEAVES, "last": {"needs": list(LEAVES), "run": "sleep 600 & exit 0", "leave_running": False}}
    assert run(shell, jobs, defaults={"leave_running": True}) == 0
    attempts = shell("attempts", "list", "--json").json["attempts"]
    assert len(attempts) == len(jobs)
    *left, last = [one["left_running"] for one in attempts]
    pids = [process["pid"] for one in left for process in one["processes"]]
    living = [pid for pid in pids if start_of(pid) is not None]
    for pid in living:
        assert os.getsid(pid) != os.getsid(0)
        os.kill(pid, signal.SIGKILL)
    assert [(one["killed"], one["count"]) for one in left] == [(False, 1)] * len(LEAVES)
    assert living == pids
    assert last["killed"], "another job of the same workflow does not leave anything"
    assert f"(pid {pids[0]})" in shell("attempts", "show", "1").out


def test_a_server_that_a_job_starts_serves_the_jobs_that_need_it(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shell.write("it serves\n", "page")
    shell.write(
        "import socket, sys, time, urllib.request\n"
        "for _ in range(500):\n"
        "    try: socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close(); break\n"
        "    except ConnectionRefusedError: time.sleep(0.02)\n"
        "print(urllib.request.urlopen(f'http://127.0.0.1:{sys.argv[1]}/page').read().decode(), end='')\n",
        "get.py",
    )
    server = f"setsid nohup {sys.executable} -m http.server {port} --bind 127.0.0.1 >/dev/null 2>&1 & echo up"
    get = f"{sys.executable} get.py {port}"
    jobs = {
        "up": {"run": server, "leave_running": True},
        "use": {"needs": ["up"], "run": get},
        "again": {"needs": ["use"], "run": get, "resources": {"memory": "100M"}},
    }
    shell.write(json.dumps({"name": "s", "jobs": jobs}))
    assert shell("run", "spec.yaml").code == 0
    assert shell("logs", "use").out == shell("logs", "again").out == "it serves\n"
    (server,) = shell("attempts", "show", "1", "--json").json["left_running"]["processes"]
    os.kill(server["pid"], signal.SIGKILL)
    assert "http.server" in server["name"]


def test_leave_running_kills_all_the_same_where_the_job_does_not_complete(shell: Shell) -> None:
    leave = "setsid sleep 600 & echo $! > ${job.name}"
    jobs: dict[str, dict[str, Any]] = {
        "exit": {"run": f"{leave}; exit 1"},
        "timeout": {"run": f"{leave}; sleep 600", "resources": {"time": "200ms"}},
        "output": {"run": leave, "outputs": {"o": "never made"}},
        "result": {"run": f"{leave}; echo '{{' > $REKINDLE_RESULT"},
        "later": {"steps": [{"name": "one", "run": leave}, {"name": "two", "run": "false"}]},
        "item": {"steps": [{"name": "p", "each": ["a"], "run": f"{leave}; false"}]},
    }
    assert run(shell, jobs, defaults={"leave_running": True}) == 2
    for one, name in zip(shell("attempts", "list", "--json").json["attempts"], jobs, strict=True):
        assert one["state"] == "failed"
        assert start_of(int((shell.folder / name).read_text())) is None, name
        assert one["cause"] == "timeout" or one["left_running"]["killed"], name


def test_leave_running_kills_all_the_same_at_a_cancel(shell: Shell) -> None:
    shell.write("name: s\njobs: {j: {run: 'setsid sleep 600 & echo $! > pid; sleep 600', leave_running: true}}")
    command = [str(Path(sys.executable).parent / "rekindle"), "run", "spec.yaml"]
    runner = subprocess.Popen(command, cwd=shell.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 30
    while not (shell.folder / "pid").exists() or not (shell.folder / "pid").read_text().endswith("\n"):
        assert time.monotonic() < limit, "it never started"
        time.sleep(0.01)
    assert shell("cancel", "j").code == 0
    assert runner.wait(30) == 5
    assert start_of(int((shell.folder / "pid").read_text())) is None


def test_a_job_is_not_stale_when_only_leave_running_changes(shell: Shell) -> None:
    assert run(shell, {"j": {"run": "true"}}) == 0
    assert run(shell, {"j": {"run": "true", "leave_running": True}}) == 0
    assert len(shell("attempts", "list", "--json").json["attempts"]) == 1


def test_leave_running_is_a_key_of_jobs_and_defaults_and_takes_yes_or_no(shell: Shell) -> None:
    shell.write("name: s\ndefaults: {leave_running: true}\njobs: {a: {run: x}, b: {run: x, leave_running: false}}")
    assert shell("submit", "spec.yaml").code == 0
    shell.write("name: s\njobs: {a: {run: x, leave_runing: true}}")
    assert "did you mean `leave_running`?" in shell("submit", "spec.yaml").err
    shell.write("name: s\njobs: {a: {run: x, leave_running: maybe}}")
    refused = shell("submit", "spec.yaml")
    assert (refused.code, "`leave_running`" in refused.err) == (1, True)


def test_processes_killed_because_the_attempt_failed_are_reported_so(shell: Shell) -> None:
    assert run(shell, {"a": {"run": "sleep 600 & exit 3", "leave_running": True}}) == 2
    for said in (shell("logs", "a").err, shell("attempts", "show", "1").out):
        assert "killed because the attempt failed: " in said
        assert "leave_running" not in said
