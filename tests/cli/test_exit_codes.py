"""Exit codes of the contract, and their messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_shell import Shell

ACTING = [["rerun", "--yes"], ["reset", "--yes"], ["accept"], ["cancel"], ["hold"], ["release"]]
LOOKING = [["jobs", "list"], ["attempts", "list"]]


@pytest.mark.parametrize("command", ACTING, ids=lambda words: words[0])
def test_a_command_that_acts_needs_a_selection(still: Shell, command: list[str]) -> None:
    done = still(*command)
    assert done.code == 64
    assert f"say which jobs to {command[0]}" in done.err
    assert "--all" in done.err


@pytest.mark.parametrize("command", ACTING + LOOKING, ids=" ".join)
@pytest.mark.parametrize(
    "words", [["nobody"], ["99"], ["-i", "2-99"], ["-n", "nobody"], ["-w", "nobody"]], ids=" ".join
)
def test_what_is_named_must_exist(still: Shell, command: list[str], words: list[str]) -> None:
    named = "5" if words == ["-i", "2-99"] else words[-1]
    before = still("jobs", "list", "--json").out
    done = still(*command, *words)
    assert done.code == 1
    assert named in done.err
    assert done.out == ""
    assert still("jobs", "list", "--json").out == before


def test_a_signature_that_is_named_must_exist(still: Shell) -> None:
    assert still("jobs", "list", "--signature", "0123456789ab").code == 1


@pytest.mark.parametrize("command", ACTING + LOOKING, ids=" ".join)
@pytest.mark.parametrize(
    "words", [["-s", "canceled"], ["-n", "no*"], ["-f", "attempts>9"], ["--error", "nothing like it"]]
)
def test_a_filter_that_matches_nothing_is_well(still: Shell, command: list[str], words: list[str]) -> None:
    done = still(*command, *words)
    assert (done.code, done.out) == (0, "nothing selected\n")


@pytest.mark.parametrize(
    ("command", "empty"),
    [
        (["jobs", "list"], {"jobs": []}),
        (["attempts", "list"], {"attempts": []}),
        (["cancel"], {"canceled": [], "asked": [], "ended": [], "left_out": []}),
        (["hold"], {"held": [], "already": []}),
        (["release"], {"released": [], "already": []}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_selected_is_an_empty_document(still: Shell, command: list[str], empty: dict[str, object]) -> None:
    assert still(*command, "-s", "canceled", "--json").json == empty


def test_nothing_selected_is_an_empty_plan(still: Shell) -> None:
    document = still("rerun", "-s", "canceled", "--dry-run", "--json").json
    assert document["rerun"] is None
    assert (document["jobs"], document["refused"], document["warnings"]) == ([], [], [])


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["jobs"],
        ["jobs", "frobnicate"],
        ["status", "--frobnicate"],
        ["run"],
        ["work", "-j", "0"],
        ["work", "-j", "many"],
        ["work", "--wait-timeout", "90"],
        ["work", "--memory", "lots"],
        ["work", "--licence", "matlab"],
        ["work", "--executor", "abacus"],
        ["run", "spec.yaml", "--param", "alpha"],
        ["jobs", "list", "-i", "1-x"],
        ["jobs", "list", "-s", "fizzled"],
        ["jobs", "list", "-f", "colour=red"],
        ["jobs", "list", "-q", "{"],
        ["jobs", "list", "--error", "("],
        ["jobs", "list", "--archived"],
        ["attempts", "show", "0"],
        ["rerun", "left", "--from", "--yes"],
        ["rerun", "left", "-j", "2"],
        ["logs", "left", "-f", "--json"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_64_and_says_what_is_wrong(still: Shell, words: list[str]) -> None:
    done = still(*words)
    assert done.code == 64
    assert done.out == "" or done.json["error"]["exit_code"] == 64
    assert done.err


def test_the_nearest_command_is_offered(shell: Shell) -> None:
    assert "did you mean `status`?" in shell("staus").err


def test_there_is_no_store_to_look_at(shell: Shell) -> None:
    done = shell("status")
    assert done.code == 1
    assert "no store" in done.err
    assert not (shell.folder / ".rekindle").exists()


def test_a_run_ends_with_0_when_all_is_well_and_says_so_again(shell: Shell) -> None:
    shell.write("name: good\njobs: {a: {run: 'true'}}\n")
    assert shell("run", "spec.yaml").code == 0
    again = shell("run", "spec.yaml")
    assert again.code == 0
    assert "unchanged" in again.err
    assert "nothing to run: 1 completed job: 1 unknown (nothing to compare)" in again.err


def test_a_run_ends_with_2_when_jobs_fail_and_says_what_to_type(diamond: Shell) -> None:
    again = diamond("run", "spec.yaml")
    assert again.code == 2
    assert "rekindle rerun -w 1 -s failed" in again.err
    assert len(diamond("attempts", "list", "--json").json["attempts"]) == 3


def test_stale_jobs_that_are_left_are_1(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}, b: {run: 'true'}}\n")
    assert shell("run", "spec.yaml").code == 0
    shell.write("name: w\njobs: {a: {run: 'true 2'}, b: {run: 'true'}}\n")
    done = shell("run", "spec.yaml", "--no-rerun")
    assert done.code == 1
    assert "1 job is stale: a" in done.err
    assert "again: rekindle run spec.yaml" in done.err
    assert shell("run", "spec.yaml", "--no-rerun").code == 1  # the job stays stale until it runs again
    assert shell("run", "spec.yaml").code == 0
    assert shell("run", "spec.yaml", "--no-rerun").code == 0


def test_new_parameters_make_the_jobs_that_use_them_stale(shell: Shell) -> None:
    shell.write("name: w\nparams: {x: 1, y: 1}\njobs: {a: {run: 'echo ${params.x}'}}\n")
    assert shell("run", "spec.yaml").code == 0
    assert shell("run", "spec.yaml", "--no-rerun", "--param", "y=2").code == 0
    assert shell("run", "spec.yaml", "--no-rerun", "--param", "x=2").code == 1
    assert shell("run", "spec.yaml", "--new", "--param", "x=2").code == 0


def test_a_run_that_times_out_ends_with_6(shell: Shell) -> None:
    shell.write("name: slow\njobs: {a: {run: sleep 0.2}, b: {run: 'true', needs: [a]}}\n")
    assert shell("run", "spec.yaml", "--wait-timeout", "1ms").code == 6
    assert shell("run", "spec.yaml").code == 0


def test_ctrl_c_ends_a_run_with_5_and_leaves_nothing_running(shell: Shell) -> None:
    shell.write("name: long\njobs: {a: {run: 'test -e started || { touch started; sleep 60; }'}}\n")
    command = [str(Path(sys.executable).parent / "rekindle"), "run", "spec.yaml"]
    run = subprocess.Popen(command, cwd=shell.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while not (shell.folder / "started").exists():
        assert time.monotonic() < end, "it never started"
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 5, said
    assert "interrupted" in said
    assert "Traceback" not in said
    (job,) = shell("jobs", "list", "--json").json["jobs"]
    assert (job["state"], job["cause"]) == ("canceled", "canceled")
    assert "go on: rekindle run spec.yaml" in said
    assert shell("run", "spec.yaml", "--no-rerun").code == 5
    assert shell("run", "spec.yaml").code == 0


def test_a_rerun_needs_yes_where_there_is_no_terminal(still: Shell) -> None:
    done = still("rerun", "left")
    assert done.code == 1
    assert "--yes" in done.err
    assert still("reruns", "list", "--json").json == {"reruns": []}


def test_a_rerun_of_nothing_but_refused_jobs_is_1(still: Shell) -> None:
    done = still("rerun", "left", "--from", "nonsense", "--yes")
    assert done.code == 1
    assert "nonsense" in done.err
    document = still("rerun", "left", "--from", "nonsense", "--dry-run", "--json")
    assert document.code == 1
    assert [one["name"] for one in document.json["refused"]] == ["left"]


def test_a_spec_with_mistakes_tells_them_all(shell: Shell) -> None:
    shell.write("name: w\njobs:\n  a: {rum: 'true'}\n  b: {run: 'true', needs: [nobody]}\n")
    done = shell("run", "spec.yaml")
    assert done.code == 1
    assert "spec.yaml:3:" in done.err
    assert "spec.yaml:4:" in done.err


def test_an_error_that_nobody_foresaw_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys, rekindle.cli.main as front, rekindle.cli.root as root; root.cli.callback = None; "
        "root.cli.get_command = lambda *_: 1 / 0; sys.exit(front.main(['status']))"
    )
    kept = {name: value for name, value in os.environ.items() if name != "REKINDLE_DEBUG"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "REKINDLE_DEBUG=1" in done.stderr
    assert "Traceback" not in done.stderr
    debug = {**kept, "REKINDLE_DEBUG": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=debug, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(diamond: Shell) -> None:
    diamond.write("name: many\njobs: {job: {matrix: {i: {range: [0, 3000]}}, run: 'true'}}\n", "many.yaml")
    diamond("submit", "many.yaml")
    command = f"{Path(sys.executable).parent / 'rekindle'} jobs list | head -n 1"
    done = subprocess.run(command, shell=True, cwd=diamond.folder, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_python_m_rekindle_ends_with_the_exit_code_of_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rekindle", "--store", "nowhere", "status"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1
