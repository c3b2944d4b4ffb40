"""Regular expressions that backtrack without end: every command ends, names the pattern, and holds no lock."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shell import Shell

SLOW = "(a|aa)+$"
FAILED = """
name: slow
jobs:
  x: {run: "printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' >&2; exit 1"}
"""
RETRIED = """
name: retried
jobs:
  x:
    run: "printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' >&2; exit 1"
    retry: {max: 2, error: "(a|aa)+$"}
  z: {run: "echo 'a temporary failure' >&2; exit 1", retry: {max: 1, error: "temp.rary"}}
  y: {run: "true"}
"""


def until(done: Callable[[], bool]) -> None:
    """Wait for a condition, at most three minutes: searches take all processors."""
    limit = time.monotonic() + 180
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "list", "--error", SLOW),
        ("why", "-q", f'{{"error.stderr": {{"$regex": "{SLOW}"}}}}'),
        ("rerun", "--error", SLOW, "--archived", "--yes"),
        ("hold", "-q", f'{{"$not": {{"error.stderr": {{"$regex": "{SLOW}"}}}}}}'),
    ],
)
def test_a_command_stops_a_slow_search_and_names_the_pattern(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell("run", shell.write(FAILED)).code == 2
    began = time.monotonic()
    done = shell(*words)
    assert (done.code, done.out) == (1, "")
    assert f"the pattern '{SLOW}' takes too long" in done.err
    assert "hint:" in done.err
    assert time.monotonic() - began < 30
    assert shell("jobs", "list", "--json").json["jobs"][0]["state"] == "failed"


FIREWORK = """
spec:
  _tasks:
    - _fw_name: ScriptTask
      script: "printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' >&2; exit 1"
"""


def test_lpad_stops_a_slow_search_and_names_the_pattern(shell: Shell) -> None:
    shell("lpad", "add", shell.write(FIREWORK, "fw.yaml"))
    assert shell("work").code == 2
    query = f'{{"launches.action.stored_data._exception._stacktrace": {{"$regex": "{SLOW}"}}}}'
    began = time.monotonic()
    done = shell("lpad", "get_fws", "-q", query)
    assert (done.code, done.out) == (1, "")
    assert f"the pattern '{SLOW}' takes too long" in done.err
    assert "hint:" in done.err
    assert time.monotonic() - began < 30


def test_a_slow_error_of_a_retry_policy_counts_as_not_found(shell: Shell) -> None:
    done = shell("run", shell.write(RETRIED), "-j", "1")
    assert done.code == 2
    assert f"x: the pattern '{SLOW}' of `retry: error:` takes too long" in done.err
    jobs = {one["name"]: one for one in shell("jobs", "list", "--json").json["jobs"]}
    assert {name: (one["state"], one["attempts"]) for name, one in jobs.items()} == {
        "x": ("failed", 1),
        "y": ("completed", 1),
        "z": ("failed", 2),
    }
    slow = [one for one in shell("events", "list", "--json").json["events"] if one["kind"] == "slow_pattern"]
    assert [(one["detail"]["job"], one["detail"]["pattern"]) for one in slow] == [(jobs["x"]["id"], SLOW)]


MANY = """
name: many
jobs:
  x:
    matrix: {k: {range: [0, 3]}}
    run: "printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' >&2; exit 1"
    retry: [{max: 2, error: "(a|aa)+$"}, {max: 2, error: "(a|aa)+.$x"}, {max: 2, error: "(aa|a)+$"}]
  z: {run: sleep 600}
"""


def test_a_run_that_searches_is_ended_by_sigterm_and_locks_nobody_out(shell: Shell) -> None:
    command = [str(Path(sys.executable).parent / "rekindle"), "run", shell.write(MANY), "-j", "4"]
    with subprocess.Popen(command, cwd=shell.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        try:
            until(lambda: (shell.folder / ".rekindle" / "store.db").exists())
            until(lambda: "slow_pattern" in shell("events", "list").out)
            assert shell("hold", "x").code == 0
            run.terminate()
            began = time.monotonic()
            assert run.wait(60) == 5
        finally:
            run.kill()
    assert time.monotonic() - began < 30
    states = {job["name"]: job["state"] for job in shell("jobs", "list", "--json").json["jobs"]}
    assert states["z"] == "canceled"


CHAIN = """
name: chain
jobs:
  a1: {run: "true"}
  a2: {run: "true", needs: [a1]}
  a3: {run: "true", needs: [a2]}
  b: {run: "true"}
"""


def test_work_runs_the_jobs_that_a_pattern_finds_as_they_become_ready(shell: Shell) -> None:
    shell("submit", shell.write(CHAIN))
    assert shell("work", "-f", "name~^a[0-9]$", "--json").json["completed"] == 3
    assert shell("status", "--json").json["workflows"][0]["counts"] == {"completed": 3, "ready": 1}


def test_work_with_a_slow_pattern_ends_and_names_it(shell: Shell) -> None:
    shell("submit", shell.write(f"name: long\njobs:\n  {'a' * 60}-: {{run: 'true'}}\n"))
    done = shell("work", "-f", f"name~{SLOW}")
    assert done.code == 1
    assert SLOW in done.err
    assert shell("work", "--json").json["completed"] == 1


@pytest.mark.parametrize("words", [["--error", "(" * 6000], ["-q", '{"name": {"$regex": "' + "(" * 6000 + '"}}']])
def test_a_long_pattern_that_is_none_is_cut_in_the_error(shell: Shell, words: list[str]) -> None:
    shell("run", shell.write("name: w\njobs: {a: {run: 'true'}}\n"))
    done = shell("jobs", "list", *words)
    assert done.code != 0
    assert "((((…' is not a regular expression" in done.err
    assert len(done.err) < 600
