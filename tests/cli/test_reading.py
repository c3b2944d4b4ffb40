"""Output for people."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_shell import Shell


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["jobs", "list"],
        ["jobs", "show", "left"],
        ["attempts", "list"],
        ["attempts", "show", "2"],
        ["failures"],
        ["workflows", "list"],
        ["workflows", "show", "diamond"],
        ["workflows", "diff", "diamond"],
        ["events", "list"],
        ["rerun", "-s", "failed", "--dry-run"],
        ["reruns", "list"],
        ["reruns", "show", "1"],
    ],
    ids=" ".join,
)
def test_text_fits_80_columns_and_has_no_colour_where_there_is_no_terminal(diamond: Shell, words: list[str]) -> None:
    diamond("rerun", "left", "--yes", "--work")
    done = diamond(*words)
    assert done.code == 0
    assert "\x1b" not in done.out
    wide = [line for line in done.out.splitlines() if len(line) > 80 and str(diamond.folder) not in line]
    assert wide == []


def test_a_plan_is_shown_with_its_sum(still: Shell) -> None:
    out = still("rerun", "top", "--dry-run").out
    assert "4 jobs run again: 1 selected, 3 downstream" in out
    assert [line[4:16].rstrip() for line in out.splitlines()[1:6]] == [
        "top",
        "├─ left",
        "│  └─ bottom",
        "└─ right",
        "   └─ bottom",
    ]
    assert "nothing is changed" in out


def test_a_rerun_ends_with_what_to_type_next(diamond: Shell) -> None:
    out = diamond("rerun", "left", "--yes").out
    assert out.endswith("1 ready; no runner is alive: rekindle work\n")
    assert "1 ready; no runner is alive: rekindle work" in diamond("status").out


def test_a_long_plan_shows_its_first_rows(shell: Shell) -> None:
    names = [f"j{first}{second}" for first in "abcde" for second in "vwxyz"]
    shell.write("name: many\njobs: {" + ", ".join(f"{name}: {{run: 'true'}}" for name in names) + "}\n")
    shell("run", "spec.yaml", "-j", "2")
    short, long = shell("rerun", "--all", "--dry-run").out, shell("rerun", "--all", "--dry-run", "-v").out
    assert "and 5 more jobs" in short
    assert "jez" not in short
    assert "jez" in long
    assert "25 jobs run again: 25 selected" in short


def test_similar_jobs_of_a_plan_are_one_line(shell: Shell) -> None:
    shell.write("""
        name: many
        jobs:
          cut: {run: "true"}
          job: {matrix: {i: {range: [0, 50]}}, needs: [cut], run: "true"}
          sum: {needs: ["job*"], run: "true"}
        """)
    shell("run", "spec.yaml", "-j", "2")
    short, long = shell("rerun", "cut", "--dry-run").out, shell("rerun", "cut", "--dry-run", "-v").out
    assert "2-51  └─ job[*] ×50" in short
    assert "52       └─ sum" in short
    assert "job[i=49]" in long
    assert "expected: about " in short
    assert "(52 attempts)" in short


def test_a_job_that_failed_is_explained(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'no-such-program-here; exit 127'}, b: {run: 'kill -9 $$'}}\n")
    assert shell("run", "spec.yaml").code == 2
    assert "the command was not found" in shell("jobs", "show", "a").out
    assert "out of memory" in shell("attempts", "show", "2").out


def test_logs_have_headers_only_where_there_are_several(still: Shell) -> None:
    assert still("logs", "top").out == "made the top\n"
    out = still("logs", "left").out
    assert "==> prepare stdout <==\nprepared\n" in out
    assert "==> check stderr <==\nno such alloy: Xy\n" in out
    assert still("logs", "left", "--step", "prepare").out == "prepared\n"
    assert still("logs", "left", "--stderr").out == "no such alloy: Xy\n"
    assert still("logs", "left", "--step", "preparee").code == 1
    assert still("logs", "bottom").code == 1
    silent = still("logs", "right")
    assert (silent.code, silent.out) == (0, "")


def test_logs_are_copied_byte_for_byte(shell: Shell) -> None:
    shell.write("import sys; sys.stdout.buffer.write(bytes(range(256)))", "bytes.py")
    shell.write("name: w\njobs: {a: {run: python3 bytes.py}}\n")
    shell("run", "spec.yaml")
    command = [str(Path(sys.executable).parent / "rekindle"), "logs", "a"]
    assert subprocess.run(command, cwd=shell.folder, capture_output=True, check=True).stdout == bytes(range(256))


def test_logs_are_followed_until_the_attempt_ends(shell: Shell) -> None:
    shell.write(
        "name: w\njobs: {a: {run: 'echo one; touch started; while ! test -e go; do sleep 0.01; done; echo two'}}\n"
    )
    command = str(Path(sys.executable).parent / "rekindle")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = subprocess.Popen([command, "run", "spec.yaml"], cwd=shell.folder, **quiet)
    end = time.monotonic() + 30
    while not (shell.folder / "started").exists():
        assert time.monotonic() < end, "it never started"
        time.sleep(0.01)
    follow = subprocess.Popen([command, "logs", "a", "-f"], cwd=shell.folder, stdout=subprocess.PIPE, text=True)
    assert follow.stdout is not None
    assert follow.stdout.readline() == "one\n"
    (shell.folder / "go").touch()
    assert follow.stdout.read() == "two\n"
    assert follow.wait(30) == 0
    assert run.wait(30) == 0
    follow.stdout.close()


def test_hold_and_release_say_what_they_did(shell: Shell) -> None:
    shell.write("name: w\njobs: {job: {matrix: {i: [0, 1, 2]}, run: 'true'}}\n")
    shell("submit", "spec.yaml")
    assert shell("hold", "1-2", "--reason", "later").out == "2 jobs held: 1-2\n"
    assert "held: later" in shell("jobs", "list").out
    assert shell("hold", "2-3").out == "1 job held: 3\n1 job already held: 2\n"
    assert shell("jobs", "list", "-f", "held=true", "--json").json["jobs"][0]["held_reason"] == "later"
    assert shell("release", "--all").out == "3 jobs released: 1-3\n"
    assert shell("cancel", "3").out == "1 job canceled before starting: 3\n"


def test_workflows_are_archived_brought_back_and_deleted(diamond: Shell) -> None:
    assert diamond("workflows", "archive", "diamond").code == 0
    assert diamond("workflows", "list", "--json").json == {"workflows": []}
    assert diamond("workflows", "list", "--archived", "--json").json["workflows"][0]["archived"] is True
    assert diamond("workflows", "archive", "--undo", "diamond").code == 0
    refused = diamond("workflows", "delete", "diamond")
    assert (refused.code, "--yes" in refused.err) == (1, True)
    assert diamond("workflows", "delete", "diamond", "--yes", "--files").code == 0
    assert diamond("workflows", "list").out.startswith("no workflows")


def test_a_diff_tells_what_a_new_revision_would_change(diamond: Shell) -> None:
    assert "as stored in revision 1" in diamond("workflows", "diff", "diamond").out
    diamond.write("name: diamond\njobs: {top: {run: 'true'}, side: {run: 'true'}}\n")
    out = diamond("workflows", "diff", "diamond").out
    assert "+ side" in out
    assert "- bottom" in out
    assert "~ top" in out
    assert diamond("workflows", "list", "--json").json["workflows"][0]["revision"] == 1


def test_a_name_with_wildcards_means_a_job_of_that_very_name_first(shell: Shell) -> None:
    shell.write("name: w\njobs: {job: {matrix: {glob: ['*', 'a', 'b']}, run: 'true'}}\n")
    shell("submit", "spec.yaml")
    assert [job["name"] for job in shell("jobs", "list", "job[glob=*]", "--json").json["jobs"]] == ["job[glob=*]"]
    assert len(shell("jobs", "list", "job*", "--json").json["jobs"]) == 3
