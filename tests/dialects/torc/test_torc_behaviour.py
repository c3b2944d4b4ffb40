"""Behaviour of torc workflows that users rely on, and known faults of torc that must not occur."""

from __future__ import annotations

import json

import pytest
from torc_folder import DIAMOND, Torc


def test_a_no_op_restart_runs_nothing(diamond: Torc) -> None:
    done = diamond("workflows", "restart")
    assert (done.code, done.out) == (0, "nothing to restart\n")
    assert set(diamond.statuses().values()) == {"done"}


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("first.txt", {"top", "left", "right", "bottom"}),
        ("left.txt", {"left", "bottom"}),
        ("last.txt", {"bottom"}),
    ],
)
def test_missing_file_is_made_again_with_descendants(diamond: Torc, name: str, again: set[str]) -> None:
    (diamond.folder / name).unlink()
    assert diamond.again() == again


def test_a_touch_alone_runs_nothing(diamond: Torc) -> None:
    (diamond.folder / "raw.csv").touch()
    assert diamond.again() == set()


def test_resetting_one_job_resets_descendants(diamond: Torc) -> None:
    assert diamond("jobs", "reset-status", "left").code == 0
    expected = {"top": "done", "right": "done", "left": "uninitialized", "bottom": "blocked"}
    assert diamond.statuses() == expected


def test_start_and_restart_refuse_while_an_input_is_missing(torc: Torc) -> None:
    torc.create(DIAMOND)
    for command in ("start", "restart"):
        done = torc("workflows", command)
        assert done.code == 1
        assert "top reads" in done.err
        assert "raw.csv" in done.err
    torc.write("raw.csv", "x\n")
    assert torc("workflows", "start").code == 0


def test_exit_0_without_a_declared_output_is_a_failure_and_cancels_what_depends(torc: Torc) -> None:
    torc.create(
        'name: a\nfiles: [{name: f, path: f.txt}]\njobs:\n  - {name: makes, command: "true", output_files: [f]}\n'
        '  - {name: reads, command: "true", input_files: [f]}\n'
        '  - {name: after, command: "true", depends_on: [reads]}\n'
        '  - {name: any, command: "true", depends_on: [makes], cancel_on_blocking_job_failure: false}\n'
    )
    assert torc("jobs", "run").code == 2
    assert torc.statuses() == {"makes": "done", "reads": "canceled", "after": "canceled", "any": "done"}
    (result,) = torc.json("results", "list", "-f", "job_name=makes")["results"]
    assert (result["return_code"], result["cause"]) == (1, "missing_output")


def test_only_fields_that_matter_make_a_job_stale(diamond: Torc) -> None:
    gentle = DIAMOND.replace("{name: left, comm", "{name: left, supports_termination: true, priority: 3, comm")
    diamond.create(gentle, "workflow.yaml", "--update")
    assert diamond.again() == set()
    diamond.create(gentle.replace("sort ", "sort -r "), "workflow.yaml", "--update")
    assert diamond.again() == {"left", "bottom"}
    diamond.create(gentle, "workflow.yaml", "--update")
    assert diamond.again() == set()
    diamond.create(gentle.replace(", comm", ", invocation_script: env, comm"), "workflow.yaml", "--update")
    assert diamond.again() == {"top", "left", "right", "bottom"}


def test_each_create_makes_a_workflow_of_its_own(torc: Torc) -> None:
    spec = "name: a\nuser_data: [{name: u, data: 1}]\njobs: [{name: x, command: 'true', input_user_data: [u]}]\n"
    torc.write("w.yaml", spec)
    keys = [torc.json("workflows", "create", "w.yaml")["workflow_key"] for _ in range(2)]
    assert keys == ["1", "2"]
    assert torc("-k", "2", "user-data", "modify", "u", "--data", "2").code == 0
    assert [torc.json("-k", key, "user-data", "get", "u")["data"] for key in keys] == [1, 2]


def test_signal_is_reported_as_128_plus_n_and_matches_its_rule(torc: Torc) -> None:
    torc.create(
        "name: a\nfailure_handlers: [{name: fh, rules: [{exit_codes: [137], max_retries: 2}]}]\n"
        'jobs:\n  - {name: x, command: "kill -9 $$", failure_handler: fh}\n'
        '  - {name: y, command: "kill -15 $$", failure_handler: fh}\n'
    )
    assert torc("jobs", "run").code == 2
    results = torc.json("results", "list", "--all-runs")["results"]
    assert sorted((one["job_name"], one["return_code"]) for one in results) == [("x", 137), ("x", 137), ("y", 143)]


def test_the_recovery_script_has_run_before_the_retry_starts(torc: Torc) -> None:
    torc.write("fix.sh", '#!/bin/sh\nsleep 0.3\necho "$TORC_JOB_NAME $TORC_RETURN_CODE" >> fixed\n').chmod(0o755)
    torc.create(
        "name: a\nfailure_handlers:\n  - name: fh\n    rules:\n"
        "      - {match_all_exit_codes: true, max_retries: 0}\n"
        "      - {exit_codes: [10], recovery_script: ./fix.sh, max_retries: 2}\n"
        'jobs:\n  - {name: mends, command: "test -e fixed || exit 10", failure_handler: fh}\n'
        '  - {name: other, command: "echo ran >> others; exit 11", failure_handler: fh}\n'
    )
    assert torc("jobs", "run").code == 2
    assert torc.statuses() == {"mends": "done", "other": "done"}
    codes = {one["job_name"]: one["return_code"] for one in torc.json("results", "list")["results"]}
    assert codes == {"mends": 0, "other": 11}
    assert (torc.folder / "fixed").read_text() == "mends 10\n"
    assert (torc.folder / "others").read_text() == "ran\n"


RECOVERY = """\
name: a
failure_handlers: [{name: h, rules: [{exit_codes: [10], recovery_script: "%s", max_retries: %d},
  {match_all_exit_codes: true}]}]
jobs:
  - {name: broken, command: "echo $TORC_ATTEMPT_ID >> ran; exit 10", failure_handler: h}
  - {name: publish, command: "echo published >> ran", depends_on: [broken]}
"""


@pytest.mark.parametrize(
    ("script", "most", "ran"),
    [
        ("echo fixing; exit 0", 2, "1\n2\n"),
        ("exit 3", 3, "1\n"),
        ("kill -9 $$", 3, "1\n"),
        ("'quoted' is no command", 3, "1\n"),
        ("exit 0", 1, "1\n"),
    ],
)
def test_a_recovery_script_decides_on_the_retry_and_on_nothing_else(
    torc: Torc, script: str, most: int, ran: str
) -> None:
    torc.create(RECOVERY % (script, most))
    assert torc("jobs", "run").code == 2
    assert (torc.folder / "ran").read_text() == ran
    assert torc.statuses() == {"broken": "done", "publish": "canceled"}
    results = torc.json("results", "list", "--all-runs")["results"]
    assert [one["return_code"] for one in results] == [10] * len(ran.split())


def test_a_recovery_script_leaves_the_shell_of_its_job_alone(torc: Torc) -> None:
    script = "TORC_RETURN_CODE=0; cd /; set -e; echo $TORC_RETURN_CODE > $TORC_OUTPUT_DIR/seen"
    torc.create(RECOVERY % (script, 2))
    assert torc("jobs", "run").code == 2
    assert torc.statuses()["publish"] == "canceled"


def test_the_environment_of_a_job(torc: Torc) -> None:
    torc.create(
        'name: a\njobs: [{name: x, command: "echo $TORC_WORKFLOW_ID $TORC_JOB_ID $TORC_JOB_NAME $TORC_ATTEMPT_ID > '
        '$TORC_OUTPUT_DIR/seen"}]\n'
    )
    assert torc("jobs", "run").code == 0
    key = torc.keys()["x"]
    assert (torc.folder / "torc_output" / "seen").read_text() == f"1 {key} x 1\n"
    torc("jobs", "reset-status", "x")
    torc("workflows", "restart")
    assert torc("jobs", "run").code == 0
    assert (torc.folder / "torc_output" / "seen").read_text() == f"1 {key} x 2\n"


def test_commands_run_in_bash(torc: Torc) -> None:
    torc.create("name: a\njobs: [{name: x, command: 'a=(1 2); [[ ${#a[@]} == 2 ]] && cat <(echo ${a[1]}) > seen'}]\n")
    assert torc("jobs", "run").code == 0
    assert (torc.folder / "seen").read_text() == "2\n"
    assert "${#a[@]}" in torc.json("jobs", "list")["jobs"][0]["command"]


HANDED_ON = """\
name: handed
user_data:
  - {name: given, data: {k: 1}}
  - {name: made, is_ephemeral: %s}
jobs:
  - name: makes
    command: |
      k=$(torc user-data get ${user_data.input.given} | jq .data.k)
      torc user-data update ${user_data.output.made} --data "{\\"twice\\": $((2 * k))}"
  - {name: reads, command: "torc user-data get ${user_data.input.made} | jq .data.twice >> seen"}
  - {name: aside, command: "true"}
"""


def test_user_data_is_passed_on_and_no_op_restart_runs_nothing(torc: Torc) -> None:
    torc.create(HANDED_ON % "false")
    assert torc("jobs", "run").code == 0
    assert torc.json("user-data", "get", "made")["data"] == {"twice": 2}
    assert torc.again() == set()
    assert torc("user-data", "modify", "1", "--data", '{"k": 4}').code == 0
    assert torc.again() == {"makes", "reads"}
    torc("workflows", "restart")
    assert torc("jobs", "run").code == 0
    assert (torc.folder / "seen").read_text() == "2\n8\n"
    listed = torc.json("user-data", "list", "-f", "name=made")["user_data"]
    assert listed == [{"key": "2", "name": "made", "is_ephemeral": False, "data": {"twice": 8}}]


def test_ephemeral_data_is_cleared_on_restart_and_made_again(torc: Torc) -> None:
    torc.create(HANDED_ON % "true")
    assert torc("jobs", "run").code == 0
    assert torc.again() == {"makes", "reads"}
    assert torc.json("user-data", "get", "made")["data"] == {"twice": 2}, "a dry run clears nothing"
    assert torc("workflows", "restart").code == 0
    assert torc.json("user-data", "get", "made")["data"] is None
    assert torc("jobs", "run").code == 0
    assert torc.json("user-data", "get", "made")["data"] == {"twice": 2}


def test_a_sweep_of_100_jobs_is_edited_and_restarts_exactly_what_is_affected(torc: Torc) -> None:
    spec = (
        'name: sweep\nparameters: {i: "1:10", j: "1:10"}\nuser_data:\n  - {name: base, data: 1}\n'
        '  - {name: "row_{i}", data: "{i}", use_parameters: [i]}\nfiles:\n'
        '  - {name: "cell_{i}_{j}", path: "cells/{i}_{j}", use_parameters: [i, j]}\njobs:\n'
        '  - name: "cell_{i}_{j}"\n    use_parameters: [i, j]\n    input_user_data: ["row_{i}"]\n'
        '    command: "mkdir -p cells; echo {i} {j} > ${files.output.cell_{i}_{j}}"\n'
        '  - {name: gather, command: "cat cells/* > all", input_file_regexes: ["^cell_"], input_user_data: [base]}\n'
    )
    torc.create(spec)
    assert torc("jobs", "run", "-j", "4").code == 0
    assert torc.json("workflows", "status")["jobs"] == {"done": 101}
    assert torc.again() == set()
    assert torc("user-data", "modify", "row_3", "--data", "7").code == 0
    assert torc.again() == {"gather", *(f"cell_3_{j}" for j in range(1, 11))}
    torc("workflows", "restart")
    assert torc("jobs", "run", "-j", "4").code == 0
    torc("user-data", "modify", "base", "--data", json.dumps([1]))
    assert torc.again() == {"gather"}


def test_a_file_of_commands_becomes_jobs(torc: Torc) -> None:
    torc.write("commands.txt", "# first\necho one > 1\n\necho two > 2\n")
    assert torc("workflows", "create-from-commands-file", "-n", "lines", "commands.txt").code == 0
    assert torc("jobs", "run").code == 0
    assert [(torc.folder / name).read_text() for name in "12"] == ["one\n", "two\n"]


def test_invalid_spec_leaves_nothing_behind(torc: Torc) -> None:
    torc.write("w.yaml", "name: a\njobs: [{name: x}]\n")
    done = torc("workflows", "create", "w.yaml")
    assert done.code == 1
    assert "w.yaml:2:" in done.err
    assert [path.name for path in torc.folder.iterdir()] == ["w.yaml"]


def test_unknown_filter_fields_name_the_nearest(failing: Torc) -> None:
    done = failing("jobs", "list", "-f", "stauts=ready")
    assert done.code == 64
    assert "status" in done.err


@pytest.mark.parametrize(("word", "names"), [("failed", {"bad", "worse"}), ("completed", {"good"}), ("done", 3)])
def test_newer_torc_statuses_work_in_filters(failing: Torc, word: str, names: set[str] | int) -> None:
    found = set(failing.statuses(f"status={word}"))
    assert (found if isinstance(names, set) else len(found)) == names


def test_files_are_listed_with_their_times(diamond: Torc) -> None:
    (diamond.folder / "left.txt").unlink()
    listed = {one["name"]: one for one in diamond.json("files", "list")["files"]}
    assert listed["raw"]["path"] == "raw.csv"
    assert listed["raw"]["st_mtime"] > 0
    assert listed["left"]["st_mtime"] is None


def test_a_canceled_workflow_is_restarted(torc: Torc) -> None:
    torc.create('name: a\njobs: [{name: x, command: "true"}]\n')
    assert torc.json("workflows", "cancel")["canceled"] == [torc.keys()["x"]]
    assert torc.statuses() == {"x": "canceled"}
    torc("workflows", "restart")
    assert torc("jobs", "run").code == 0
    assert torc.json("workflows", "list")["workflows"][0]["run_id"] == 2


def test_resetting_all_jobs_waits_for_the_restart(diamond: Torc) -> None:
    assert diamond.json("workflows", "reset-status", "--dry-run")["dry_run"] is True
    assert set(diamond.statuses().values()) == {"done"}
    assert diamond("workflows", "reset-status").code == 0
    assert set(diamond.statuses().values()) == {"uninitialized"}
    assert diamond("workflows", "restart", "--only-uninitialized").code == 0
    assert diamond.statuses() == {"top": "ready", "left": "blocked", "right": "blocked", "bottom": "blocked"}


def test_other_workflows_are_listed_and_restarted(torc: Torc) -> None:
    jobs = "  x: {run: 'test -e ${params.p}'}\n  y: {run: [test, a b]}\n"
    torc.write("spec.yaml", f"name: ours\nparams: {{p: go}}\njobs:\n{jobs}")
    assert torc.shell("rekindle run spec.yaml").code == 2
    commands = {job["name"]: (job["status"], job["command"]) for job in torc.json("jobs", "list")["jobs"]}
    assert commands == {"x": ("done", "test -e ${params.p}"), "y": ("done", "test 'a b'")}
    assert torc.json("files", "list") == {"files": []}
    assert torc.json("user-data", "list") == {"user_data": []}
    assert torc("workflows", "reset-status", "--failed-only").code == 0
    assert torc.statuses() == {"x": "uninitialized", "y": "done"}
    torc.write("w.yaml", "name: ours\njobs: [{name: x, command: 'true'}]\n")
    done = torc("workflows", "create", "--update", "w.yaml")
    assert done.code == 1
    assert "did not come through torc" in done.err


def test_paths_are_taken_from_the_working_directory_at_create(torc: Torc) -> None:
    (torc.folder / "specs").mkdir()
    torc.write("raw.csv", "b\na\n")
    torc.create(DIAMOND, "specs/diamond.yaml")
    assert torc("jobs", "run").code == 0
    assert (torc.folder / "last.txt").read_text() == "a\nb\na\nb\n"
    assert [path.name for path in (torc.folder / "specs").iterdir()] == ["diamond.yaml"]
    torc.create(DIAMOND.replace("tac ", "tac -b "), "specs/diamond.yaml", "--update")
    assert torc.again() == {"right", "bottom"}
    torc.write("specs/commands.txt", "touch here\n")
    assert torc("workflows", "create-from-commands-file", "-n", "lines", "specs/commands.txt").code == 0
    assert torc("jobs", "run", "lines").code == 0
    assert (torc.folder / "here").exists()


@pytest.mark.parametrize(
    ("written", "names"),
    [("return_code!=0", {"bad", "worse"}), ("return_code != 1", {"good", "worse"}), ("status!=done", set())],
)
def test_results_are_listed_by_what_they_are_not(failing: Torc, written: str, names: set[str]) -> None:
    assert {one["job_name"] for one in failing.json("results", "list", "-f", written)["results"]} == names


def test_the_tutorial_s_collected_results(torc: Torc) -> None:
    torc.create(
        'name: collect\nuser_data: [{name: "result_{i}", parameters: {i: "1:3"}}]\njobs:\n'
        '  - name: worker_{i}\n    parameters: {i: "1:3"}\n'
        '    command: torc user-data update ${user_data.output.result_{i}} --data "{i}0"\n'
        "  - name: aggregate\n    command: |\n      for i in $(seq 1 3); do\n"
        "        torc user-data get ${user_data.input.result_$i} >> all_results.json\n      done\n"
        "      jq .data all_results.json > seen\n"
    )
    assert torc("jobs", "run", "-j", "2").code == 0
    assert (torc.folder / "seen").read_text() == "10\n20\n30\n"
