"""`run` brings a workflow up to date: which jobs it runs, and the exit code for the whole workflow."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_shell import Shell

REKINDLE = str(Path(sys.executable).parent / "rekindle")

SWEEP = """\
name: sweep
params: {k: 1}
jobs:
  sim:
    matrix: {seed: [0, 1]}
    outputs: {o: "o/${matrix.seed}"}
    run: "mkdir -p o; echo ${matrix.seed} ${params.k} > ${outputs.o}"
  summary: {needs: ["sim*"], run: "cat o/* > sum.txt"}
"""


def attempts(shell: Shell) -> int:
    return len(shell("attempts", "list", "--json").json["attempts"])


def states(shell: Shell) -> dict[str, str]:
    return {job["name"]: job["state"] for job in shell("jobs", "list", "--json").json["jobs"]}


def nothing_more(shell: Shell, code: int, *words: str) -> None:
    """A second run does nothing and exits as the first."""
    before = attempts(shell)
    assert shell("run", "spec.yaml", *words).code == code
    assert attempts(shell) == before


@pytest.mark.parametrize("aggregate", ["", "aggregate: true, "])
def test_an_extended_sweep_runs_what_needs_the_new_jobs_again(shell: Shell, aggregate: str) -> None:
    spec = SWEEP.replace("summary: {", "summary: {" + aggregate)
    shell.write(spec)
    assert shell("run", "spec.yaml").code == 0
    shell.write(spec.replace("[0, 1]", "[0, 1, 2]"))
    done = shell("run", "spec.yaml")
    assert done.code == 0
    assert "summary" in done.out
    assert (shell.folder / "sum.txt").read_text() == "0 1\n1 1\n2 1\n"
    assert attempts(shell) == 5
    nothing_more(shell, 0)
    shell.write(spec.replace("[0, 1]", "[0, 1, 2, 3]").replace("k: 1", "k: 5"))
    assert shell("run", "spec.yaml").code == 0
    assert (shell.folder / "sum.txt").read_text() == "0 5\n1 5\n2 5\n3 5\n"
    nothing_more(shell, 0)


def test_a_shrunk_sweep_runs_what_needed_the_lost_jobs_again(shell: Shell) -> None:
    shell.write(SWEEP.replace("cat o/*", "echo $REKINDLE_INPUTS"))
    assert shell("run", "spec.yaml").code == 0
    shell.write(SWEEP.replace("cat o/*", "echo $REKINDLE_INPUTS").replace("[0, 1]", "[1]"))
    assert shell("run", "spec.yaml").code == 0
    assert list(json.loads((shell.folder / "sum.txt").read_text())) == ["sim[seed=1]"]
    nothing_more(shell, 0)


def test_an_edited_input_runs_its_job_and_those_below_again(shell: Shell) -> None:
    shell.write("1\n", "raw")
    shell.write(
        "name: w\njobs:\n  a: {run: 'cat raw > mid', inputs: {i: raw}, outputs: {o: mid}}\n"
        "  b: {run: 'cat mid > end', inputs: {i: mid}, outputs: {o: end}}\n  c: {run: 'true'}\n"
    )
    assert shell("run", "spec.yaml").code == 0
    shell.write("2\n", "raw")
    done = shell("run", "spec.yaml", "--json")
    assert done.code == 0
    assert [job["name"] for job in done.json["update"]["jobs"]] == ["a", "b"]
    assert (shell.folder / "end").read_text() == "2\n"
    assert attempts(shell) == 5
    nothing_more(shell, 0)
    assert shell("reruns", "list", "--json").json["reruns"][0]["kind"] == "run"


def test_failed_jobs_stay_failed_and_count_until_they_are_asked_for(shell: Shell) -> None:
    spec = "name: w\njobs:\n  a: {run: test -e mended}\n  c: {needs: a, run: 'true'}\n"
    shell.write(spec)
    assert shell("run", "spec.yaml").code == 2
    shell.write(spec + "  b: {run: 'true'}\n")
    done = shell("run", "spec.yaml", "--json")
    assert (done.code, done.json["exit_code"], done.json["state"]) == (2, 2, "failed")
    assert states(shell) == {"a": "failed", "b": "completed", "c": "waiting"}
    assert "rekindle run spec.yaml --retry-failed" in done.err
    nothing_more(shell, 2)
    shell.write("", "mended")
    nothing_more(shell, 2)
    assert shell("run", "spec.yaml", "--retry-failed").code == 0
    nothing_more(shell, 0, "--retry-failed")


def test_a_failed_job_whose_command_was_mended_is_named_and_waits_to_be_asked_for(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: exit 3}, b: {run: exit 4}}\n")
    assert shell("run", "spec.yaml").code == 2
    shell.write("name: w\njobs: {a: {run: exit 0}, b: {run: exit 4}}\n")
    done = shell("run", "spec.yaml")
    assert done.code == 2
    assert "changed since: a\n" in done.err
    assert states(shell) == {"a": "failed", "b": "failed"}
    assert shell("run", "spec.yaml", "--retry-failed").code == 2
    assert states(shell) == {"a": "completed", "b": "failed"}


def test_a_failed_job_below_one_that_runs_again_runs_with_it(shell: Shell) -> None:
    shell.write("bad\n", "raw")
    shell.write(
        "name: w\njobs:\n  a: {run: 'cat raw > mid', inputs: {i: raw}, outputs: {o: mid}}\n"
        "  b: {run: 'grep good mid', inputs: {i: mid}}\n"
    )
    assert shell("run", "spec.yaml").code == 2
    shell.write("good\n", "raw")
    assert shell("run", "spec.yaml").code == 0


def test_what_was_canceled_by_name_stays_canceled(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}, b: {run: 'true'}}\n")
    shell("submit", "spec.yaml")
    assert shell("cancel", "a").code == 0
    done = shell("run", "spec.yaml")
    assert done.code == 5
    assert "-s canceled" in done.err
    assert states(shell) == {"a": "canceled", "b": "completed"}
    nothing_more(shell, 5)


def test_a_held_job_is_not_all_well(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}, b: {run: 'true'}}\n")
    shell("submit", "spec.yaml")
    shell("hold", "a")
    done = shell("run", "spec.yaml")
    assert done.code == 1
    assert "rekindle release" in done.err
    shell("release", "a")
    assert shell("run", "spec.yaml").code == 0


def test_a_stale_job_that_cannot_run_again_is_named_and_1(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}}\n")
    assert shell("run", "spec.yaml").code == 0
    shell("hold", "a")
    shell.write("name: w\njobs: {a: {run: 'true 2'}}\n")
    done = shell("run", "spec.yaml")
    assert done.code == 1
    assert "it is held" in done.out
    assert "1 job is stale: a" in done.err


def test_no_rerun_runs_what_never_ran_and_names_what_is_stale(shell: Shell) -> None:
    shell.write(SWEEP)
    assert shell("run", "spec.yaml").code == 0
    shell.write(SWEEP.replace("[0, 1]", "[0, 1, 2]"))
    done = shell("run", "spec.yaml", "--no-rerun")
    assert done.code == 1
    assert "1 job is stale: summary" in done.err
    assert states(shell)["sim[seed=2]"] == "completed"
    assert (shell.folder / "sum.txt").read_text() == "0 1\n1 1\n"
    assert shell("run", "spec.yaml", "--no-rerun", "--retry-failed").code == 64


def test_a_dry_run_shows_the_plan_and_changes_nothing(shell: Shell) -> None:
    shell.write(SWEEP)
    assert shell("run", "spec.yaml").code == 0
    shell.write(SWEEP.replace("k: 1", "k: 2"))
    before = shell("events", "list", "--json").out
    done = shell("run", "spec.yaml", "--dry-run")
    assert (done.code, "sim[seed=1]" in done.out, "summary" in done.out) == (0, True, True)
    assert len(shell("run", "spec.yaml", "--dry-run", "--json").json["update"]["jobs"]) == 3
    assert shell("events", "list", "--json").out == before
    assert shell("workflows", "list", "--json").json["workflows"][0]["revision"] == 1


def interrupted(shell: Shell, spec: str, started: str) -> str:
    """Run until a file exists, then interrupt, and return the output."""
    shell.write(spec)
    run = subprocess.Popen(
        [REKINDLE, "run", "spec.yaml", "-j", "2"], cwd=shell.folder, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 30
    while not (shell.folder / started).exists():
        assert time.monotonic() < end, "it never started"
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=30)[1]
    assert run.returncode == 5, said
    return said


def test_the_same_command_goes_on_after_an_interrupt(shell: Shell) -> None:
    said = interrupted(
        shell,
        """\
        name: long
        jobs:
          sim: {matrix: {seed: [1, 2, 3, 4]}, run: "touch s${matrix.seed}; test -e go || sleep 60"}
          end: {needs: ["sim*"], run: "true"}
        """,
        "s1",
    )
    assert "go on: rekindle run spec.yaml" in said
    shell.write("", "go")
    assert shell("run", "spec.yaml").code == 0
    assert set(states(shell).values()) == {"completed"}
    nothing_more(shell, 0)


def test_a_fan_out_that_was_interrupted_goes_on_where_it_stopped(shell: Shell) -> None:
    interrupted(
        shell,
        """\
        name: fan
        jobs:
          f:
            steps:
              - name: p
                each: [1, 2]
                parallel: 1
                run: "echo ${item} >> done; test ${item} = 1 || test -e go || { touch at2; sleep 60; }"
        """,
        "at2",
    )
    shell.write("", "go")
    assert shell("run", "spec.yaml").code == 0
    assert (shell.folder / "done").read_text() == "1\n2\n2\n"


def test_on_a_terminal_it_asks_before_completed_jobs_run_again(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: echo 1 >> ran}}\n")
    assert shell("run", "spec.yaml").code == 0
    shell.write("name: w\njobs: {a: {run: echo 2 >> ran}}\n")
    assert on_terminal(shell.folder, "n") == (1, True)
    assert (shell.folder / "ran").read_text() == "1\n"
    assert shell("workflows", "list", "--json").json["workflows"][0]["revision"] == 1
    assert on_terminal(shell.folder, "y") == (0, True)
    assert (shell.folder / "ran").read_text() == "1\n2\n"
    shell.write("name: w\njobs: {a: {run: echo 3 >> ran}}\n")
    assert on_terminal(shell.folder, "", "--yes") == (0, False)


def on_terminal(folder: Path, answer: str, *words: str) -> tuple[int, bool]:
    """(exit code, whether it asked) of `run` on a terminal."""
    above, below = pty.openpty()
    run = subprocess.Popen([REKINDLE, "run", "spec.yaml", *words], cwd=folder, stdin=below, stdout=below, stderr=below)
    os.close(below)
    said, asked = "", False
    while True:
        try:
            said += os.read(above, 4096).decode()
        except OSError:  # the other end is closed
            break
        if not asked and "again? [y/N]" in said:
            asked = True
            os.write(above, f"{answer}\n".encode())
    os.close(above)
    return run.wait(timeout=30), asked


def test_a_parameter_of_another_type_is_another_value(shell: Shell) -> None:
    shell.write("name: w\nparams: {a: 1}\njobs: {j: {run: ['sh', '-c', 'echo $0 >> ran', '${params.a}']}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert shell("run", "spec.yaml", "--param", "a=true").code == 0
    assert (shell.folder / "ran").read_text() == "1\ntrue\n"


def test_an_archived_workflow_is_refused_before_anything_is_done(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}}\n")
    assert shell("run", "spec.yaml").code == 0
    shell("workflows", "archive", "w")
    shell.write("name: w\njobs: {a: {run: 'true 2'}}\n")
    done = shell("run", "spec.yaml")
    assert (done.code, "w is archived" in done.err, "archive --undo 1" in done.err) == (1, True, True)
    assert shell("workflows", "show", "1", "--json").json["revision"] == 1
