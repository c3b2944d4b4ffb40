"""How torc's lists are sorted and cut, and how its specs are exported, imported and archived."""

from __future__ import annotations

import json

import pytest
from torc_folder import FAILING, Torc, kill_runner


def names(torc: Torc, *words: str) -> list[str]:
    kind = words[0].replace("-", "_")
    found = torc.json(*words)[kind]
    return [one.get("name") or one["job_name"] for one in found]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--sort-by name", ["bad", "below", "good", "worse"]),
        ("--sort-by name --reverse-sort", ["worse", "good", "below", "bad"]),
        ("--sort-by return_code --reverse-sort --limit 1", ["worse"]),
        ("--sort-by id --limit 2", ["good", "bad"]),
        ("--limit 2 --offset 1", ["bad", "worse"]),
        ("-l 0", []),
        ("--skip 3", ["below"]),
    ],
)
def test_jobs_are_sorted_and_cut(failing: Torc, words: str, expected: list[str]) -> None:
    assert names(failing, "jobs", "list", *words.split()) == expected


def test_keys_are_sorted_as_numbers(torc: Torc) -> None:
    jobs = "".join(f"  - {{name: j{number}, command: 'true'}}\n" for number in range(11))
    torc.create(f"name: many\njobs:\n{jobs}")
    assert names(torc, "jobs", "list", "--sort-by", "key")[-2:] == ["j9", "j10"]


def test_a_field_to_sort_by_that_is_unknown_is_refused(failing: Torc) -> None:
    done = failing("results", "list", "--sort-by", "return_cod")
    assert (done.code, "did you mean `return_code`?" in done.err) == (64, True)


def test_results_of_a_job_a_run_or_a_node(failing: Torc) -> None:
    keys = failing.keys()
    assert names(failing, "results", "list", "-j", keys["worse"]) == ["worse"]
    assert len(names(failing, "results", "list", "-r", "1")) == 3
    assert names(failing, "results", "list", "--run-id", "2") == []
    host = failing.json("results", "list")["results"][0]["compute_node"]
    assert len(names(failing, "results", "list", "--compute-node", host, "-l", "2")) == 2
    assert names(failing, "results", "list", "--compute-node", "elsewhere") == []


def test_jobs_below_a_job(failing: Torc) -> None:
    keys = failing.keys()
    assert names(failing, "jobs", "list", "--upstream-job-id", keys["bad"]) == ["below"]
    assert names(failing, "jobs", "list", "--upstream-job-id", keys["good"]) == []


def test_user_data_by_name_and_kind(torc: Torc) -> None:
    torc.create(
        "name: data\nuser_data: [{name: kept, data: 1}, {name: brief, is_ephemeral: true, data: 2}]\n"
        "jobs: [{name: a, command: 'true', input_user_data: [kept, brief]}]\n"
    )
    assert names(torc, "user-data", "list", "--is-ephemeral", "true") == ["brief"]
    assert names(torc, "user-data", "list", "--name", "kept") == ["kept"]
    assert names(torc, "user-data", "list", "-o", "1") == ["brief"]


def test_workflows_are_archived_and_come_back(failing: Torc) -> None:
    failing.create(FAILING.replace("failing", "second"))
    assert failing("workflows", "archive", "true", "1").code == 0
    assert names(failing, "workflows", "list", "--all-users", "-u", "me") == ["second"]
    assert names(failing, "workflows", "list", "--archived-only") == ["failing"]
    assert names(failing, "workflows", "list", "--include-archived", "--sort-by", "name") == ["failing", "second"]
    assert failing("workflows", "archive", "false", "1").code == 0
    assert names(failing, "workflows", "list") == ["failing", "second"]


SWEEP = """\
name: sweep
parameters: {i: "1:3"}
files: [{name: raw, path: raw.csv}]
jobs:
  - {name: "work_{i}", command: "echo {i} > out_{i}.txt", use_parameters: [i], input_files: [raw]}
  - {name: gather, command: "cat out_*.txt", depends_on_regexes: ["^work_.*"]}
"""


def test_an_exported_spec_makes_the_same_workflow(torc: Torc) -> None:
    torc.write("raw.csv", "1\n")
    torc.create(SWEEP)
    assert torc("workflows", "export", "1", "-o", "exported.json").code == 0
    document = json.loads((torc.folder / "exported.json").read_text())
    assert (document["parameters"], len(document["jobs"])) == ({"i": "1:3"}, 2)
    assert json.loads(torc("workflows", "show", "1").out) == document
    assert torc("workflows", "import", "exported.json", "--name", "my-copy").code == 0
    copied = torc.json("jobs", "list", "2")["jobs"]
    assert [one["name"] for one in copied] == ["work_1", "work_2", "work_3", "gather"]
    assert json.loads(torc("workflows", "export", "2").out) == {**document, "name": "my-copy"}
    assert torc("jobs", "run", "2", "-m", "2").code == 0


def test_an_export_has_the_latest_revision(torc: Torc) -> None:
    torc.create('name: w\njobs: [{name: a, command: "echo 1"}]\n')
    torc.create('name: w\njobs: [{name: a, command: "echo 2"}]\n', "workflow.yaml", "--update")
    assert json.loads(torc("workflows", "export").out)["jobs"] == [{"name": "a", "command": "echo 2"}]


def test_a_workflow_that_torc_did_not_store_is_not_exported(torc: Torc) -> None:
    from rekindle.cli.main import main

    torc.write("spec.yaml", "name: native\njobs: {a: {run: 'true'}}\n")
    assert main(["submit", "spec.yaml"]) == 0
    done = torc("workflows", "export")
    assert (done.code, "rekindle workflows show 1" in done.err) == (1, True)


def test_each_job_of_a_commands_file_gets_its_resources(torc: Torc) -> None:
    torc.write("commands.txt", "echo a\n# none\necho b\n")
    words = ("commands.txt", "-n", "many", "-c", "2", "-m", "64m", "-r", "PT5M")
    assert torc("workflows", "create-from-commands-file", *words).code == 0
    spec = json.loads(torc("workflows", "export").out)
    assert spec["resource_requirements"] == [{"name": "each", "num_cpus": 2, "memory": "64m", "runtime": "PT5M"}]
    assert torc("jobs", "run").code == 0


def test_the_ends_of_a_dead_runners_jobs_are_shown_before_they_are_recorded(torc: Torc) -> None:
    torc.create('name: lost\njobs: [{name: a, command: "touch began; sleep 60"}]\n')
    kill_runner(torc, "began", "a")
    document = torc.json("workflows", "sync-status", "1", "--dry-run")
    assert (document["ended"], document["running"]) == (["a"], [])
    assert torc.statuses() == {"a": "submitted"}
    assert torc.json("workflows", "sync-status")["ended"] == ["a"]
    assert torc.statuses() == {"a": "ready"}


def test_a_missing_input_is_not_checked_on_request(torc: Torc) -> None:
    torc.create("name: w\nfiles: [{name: f, path: f.txt}]\njobs: [{name: a, command: 'true', input_files: [f]}]\n")
    assert torc("workflows", "start").code == 1
    assert torc("workflows", "start", "--ignore-missing-data").code == 0
    assert torc("workflows", "init", "--force", "--dry-run").code == 0


def test_no_job_starts_after_the_time_limit(torc: Torc) -> None:
    torc.create('name: w\njobs: [{name: a, command: "sleep 1.5"}, {name: b, command: "true", depends_on: [a]}]\n')
    torc("jobs", "run", "-t", "PT1S")
    assert torc.statuses() == {"a": "done", "b": "ready"}


def test_actions_are_listed_with_the_status_of_their_job(torc: Torc) -> None:
    torc.create(
        "name: w\njobs: [{name: a, command: 'true'}]\nslurm_schedulers: [{name: std, account: a}]\nactions:\n"
        "  - {trigger_type: on_workflow_complete, action_type: run_commands, commands: [echo done]}\n"
        "  - {trigger_type: on_jobs_ready, action_type: schedule_nodes, job_names: [a], scheduler: std}\n"
    )
    found = torc.json("workflows", "list-actions", "1")["actions"]
    assert [(one["trigger_type"], one["status"]) for one in found] == [
        ("on_workflow_complete", "blocked"),
        ("on_jobs_ready", None),
    ]
    assert torc("jobs", "run").code == 0
    assert torc.json("workflows", "list-actions")["actions"][0]["status"] == "done"
