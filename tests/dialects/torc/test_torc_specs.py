"""torc's spec files: conversion and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.torc.json5 import read_json5
from rekindle.dialects.torc.torc_spec import load_spec
from rekindle.domain.definition import Definition, JobTemplate
from rekindle.domain.errors import SpecError
from rekindle.domain.states import Cause
from rekindle.spec.nodes import ListNode, MappingNode, Node, Problems, ScalarNode

Read = Callable[..., Definition]

REFERENCE = """\
name: demo
parameters: {lr: "[0.01,0.1]", i: "1:3"}            # sweeps; `parameter_mode: zip` pairs instead of crossing
files:
  - {name: raw, path: raw.csv}
  - {name: "out_{lr:.2f}_{i:03d}", path: "o/{lr}_{i}.json", use_parameters: [lr, i]}
user_data: [{name: cfg, is_ephemeral: false, data: {k: 1}}]
resource_requirements: [{name: small, num_cpus: 1, num_gpus: 0, num_nodes: 1, memory: 2g, runtime: PT30M}]
failure_handlers:
  - {name: fh, rules: [{exit_codes: [10], recovery_script: ./fix.sh, max_retries: 3}, {match_all_exit_codes: true}]}
slurm_schedulers: [{name: std, account: a, partition: p, nodes: 1, walltime: "04:00:00", extra: "--signal=..."}]
jobs:
  - name: "work_{lr:.2f}_{i:03d}"
    command: "run -i ${files.input.raw} -o ${files.output.out_{lr:.2f}_{i:03d}}"
    use_parameters: [lr, i]
    input_user_data: [cfg]
    resource_requirements: small
    failure_handler: fh
    scheduler: std
  - {name: gather, command: python gather.py, depends_on_regexes: ["^work_.*"]}
actions:
  - trigger_type: on_jobs_ready
    action_type: schedule_nodes
    job_name_regexes: ["work_.*"]
    scheduler: std
    num_allocations: 2
"""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def _read(text: str, suffix: str = ".yaml") -> Definition:
        path = tmp_path / f"workflow{suffix}"
        path.write_text(text)
        return load_spec(path, tmp_path, lambda name: "torc_output/x-1").definition

    return _read


def of(definition: Definition, name: str) -> JobTemplate:
    return next(one for one in definition.templates if one.name == name)


def edges(definition: Definition) -> set[tuple[str, str]]:
    return {(definition.jobs[parent].name, definition.jobs[child].name) for parent, child in definition.edges}


def wrong(read: Read, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(text)
    return [f"{one.line}: {one.message}" for one in caught.value.problems]


def test_the_reference_s_spec_becomes_a_definition(read: Read) -> None:
    found = read(REFERENCE)
    names = [f"work_{lr}_{i:03d}" for lr in ("0.01", "0.10") for i in (1, 2, 3)]
    assert [job.name for job in found.jobs] == [*names, "gather"]
    assert edges(found) == {(name, "gather") for name in names}
    job = of(found, "work_0.10_002")
    assert "run -i raw.csv -o o/0.1_2.json" in str(job.steps[0].run)
    assert job.inputs == {"raw": "raw.csv", "user_data_cfg": "torc_output/x-1/user_data/cfg.json"}
    assert list(job.outputs.values()) == ["o/0.1_2.json"]
    assert (job.resources.cpus, job.resources.memory, job.resources.time) == (1, 2 << 30, 1800)
    assert [(rule.max, rule.exit_codes) for rule in job.retry] == [(0, ()), (2, (10,)), (2, ())]
    assert Cause.LOST not in job.retry[2].causes


def test_json_and_json5_equal_yaml(read: Read) -> None:
    yaml = read('name: a\nfiles: [{name: f, path: "it,s"}]\njobs: [{name: x, command: "cat ${files.input.f}"}]\n')
    plain = {"name": "a", "files": [{"name": "f", "path": "it,s"}], "jobs": [{"name": "x", "command": ""}]}
    plain["jobs"][0]["command"] = "cat ${files.input.f}"  # type: ignore[index]
    json5 = """// a comment
    {name: 'a', /* another */ files: [{name: "f", path: 'it\\x2cs',},],
     jobs: [{"name": 'x', command: 'cat \\
${files.input.f}'}],}"""
    assert read(json.dumps(plain), ".json").templates == yaml.templates
    assert read(json5, ".json5").templates == yaml.templates


def test_parameters_are_crossed_or_paired(read: Read) -> None:
    spec = (
        'name: a\nparameter_mode: {mode}\nparameters: {{x: "1:3:2", y: "[\'p\', q]"}}\njobs:\n'
        '  - {{name: "j_{{x:02d}}_{{y}}", command: "echo {{x}} {{y}} ${{x}}", use_parameters: [x, y]}}\n'
    )
    crossed, paired = read(spec.format(mode="product")), read(spec.format(mode="zip"))
    assert [job.name for job in crossed.jobs] == ["j_01_p", "j_01_q", "j_03_p", "j_03_q"]
    assert [job.name for job in paired.jobs] == ["j_01_p", "j_03_q"]
    assert str(of(crossed, "j_03_p").steps[0].run) == "echo 3 p $${x}", "what is the shell's stays the shell's"


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ('"1:3"', ["1", "2", "3"]),
        ('"0.0:1.0:0.25"', ["0.0", "0.25", "0.5", "0.75", "1.0"]),
        ('"3:1:-1"', ["3", "2", "1"]),
        ('"[1, 2.5]"', ["1", "2.5"]),
        ("[a, 2]", ["a", "2"]),
        ("alone", ["alone"]),
    ],
)
def test_the_values_of_a_parameter(read: Read, written: str, values: list[str]) -> None:
    found = read(f'name: a\njobs: [{{name: "j{{p}}", command: "true", parameters: {{p: {written}}}}}]\n')
    assert [job.name for job in found.jobs] == [f"j{value}" for value in values]


def test_writer_of_a_file_runs_before_its_readers(read: Read) -> None:
    found = read(
        "name: a\nfiles: [{name: f, path: f.txt}, {name: g1, path: g1}, {name: g2, path: g2}]\n"
        "user_data: [{name: u}]\njobs:\n"
        '  - {name: one, command: "true", output_files: [f], output_user_data: [u]}\n'
        '  - {name: two, command: "true", input_files: [f], output_file_regexes: ["g."]}\n'
        '  - {name: three, command: "true", input_user_data: [u], input_file_regexes: ["^g"]}\n'
        '  - {name: four, command: "true", depends_on: [three], cancel_on_blocking_job_failure: false}\n'
    )
    assert edges(found) == {("one", "two"), ("one", "three"), ("two", "three"), ("three", "four")}
    assert (of(found, "three").when, of(found, "four").when) == ("completed", "finished")


def test_actions_that_run_commands_are_jobs_in_their_place(read: Read) -> None:
    found = read(
        'name: a\njobs: [{name: x, command: "true"}, {name: y, command: "true", depends_on: [x]}]\nactions:\n'
        "  - {trigger_type: on_workflow_start, action_type: run_commands, commands: [echo start]}\n"
        "  - {trigger_type: on_jobs_ready, action_type: run_commands, commands: [echo ready], job_names: [y]}\n"
        "  - {trigger_type: on_jobs_complete, action_type: run_commands, commands: [echo x], job_name_regexes: [x]}\n"
        "  - {trigger_type: on_workflow_complete, action_type: run_commands, commands: [echo end]}\n"
    )
    first, ready, after, last = (job.name for job in found.jobs[2:])
    assert edges(found) == {
        *{(first, "x"), (first, "y"), (first, ready), ("x", ready), (ready, "y"), ("x", "y")},
        *{("x", after), ("x", last), ("y", last)},
    }
    assert (of(found, after).when, of(found, last).when) == ("finished", "finished")


def test_all_errors_are_reported_with_lines(read: Read) -> None:
    told = wrong(
        read,
        'name: a\nparamters: {}\nparameters: {i: "1:"}\nfiles:\n  - {name: f}\njobs:\n'
        '  - {name: x, command: "cat ${files.input.g}"}\n'
        '  - {name: y, command: "true", depends_on: [z], resource_requirements: big}\n'
        '  - {name: w, comand: "true"}\n  - {name: v, command: "true", depends_on_regexes: ["("]}\n'
        "resource_requirements: [{name: small, memory: 512, runtime: soon}]\n",
    )
    assert [line for line in told if line.startswith("2:")] == ["2: a torc spec has no key 'paramters'"]
    for line, words in (
        (5, "has no `path`"),
        (7, "no file 'g'"),
        (8, "no job 'z'"),
        (8, "no entry of resource_requirements 'big'"),
        (9, "has no key 'comand'"),
        (9, "has no `command`"),
        (10, "is not a regular expression"),
    ):
        assert any(one.startswith(f"{line}: ") and words in one for one in told), (line, words, told)


def test_resources_are_checked_where_they_stand(read: Read) -> None:
    told = wrong(
        read,
        'name: a\njobs: [{name: x, command: "true", resource_requirements: small}]\n'
        "resource_requirements:\n  - {name: small, memory: 512}\n",
    )
    assert told == ["4: `memory`: the size 512 has no unit"]


def test_duplicate_job_names_are_reported(read: Read) -> None:
    told = wrong(read, 'name: a\nparameters: {i: "1:2"}\njobs:\n  - {name: x, command: "true", use_parameters: [i]}\n')
    assert told == ["4: there is a job 'x' already"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "{a: +1, 'b': .5, \"c\": 0x1F, d: -Infinity, $e: 5.}",
            {"a": 1, "b": 0.5, "c": 31, "d": float("-inf"), "$e": 5.0},
        ),
        ("[true, false, null,]", [True, False, None]),
        (r"'\x41\u00e9\ud83d\ude00\'\"\n'", "Aé😀'\"\n"),
        ("// only\n/* a */ 1 // b", 1),
        ("", None),
    ],
)
def test_json5_is_read(text: str, value: object) -> None:
    problems = Problems("x.json5")
    assert plain(read_json5(text, problems)) == value
    assert not problems


@pytest.mark.parametrize("text", ["{a 1}", "[1 2]", "{a: }", "'open", "{a: 1} x", "[", "{1a: 2}", "{a: b}", "[" * 100])
def test_invalid_json5_is_reported_once_with_its_place(text: str) -> None:
    problems = Problems("x.json5")
    assert read_json5(f"\n{text}", problems) is None
    with pytest.raises(SpecError) as caught:
        problems.raise_any()
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert problem.message.startswith("not JSON5: ")


def plain(node: Node | None) -> Any:
    if isinstance(node, MappingNode):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value if isinstance(node, ScalarNode) else None


def test_an_explicit_null_is_the_same_as_no_key(read: Read) -> None:
    spec: dict[str, Any] = {
        "name": "a",
        "files": [{"name": "f", "path": "f.txt"}],
        "user_data": [{"name": "u"}],
        "resource_requirements": [{"name": "small", "num_cpus": 2}],
        "failure_handlers": [{"name": "h", "rules": [{"exit_codes": [3]}]}],
        "jobs": [{"name": "x", "command": "true"}],
    }
    nulls = json.loads(json.dumps(spec))
    keys = ("project", "description", "parameters", "parameter_mode", "slurm_schedulers", "actions", "resource_monitor")
    nulls.update(dict.fromkeys(keys))
    nulls["files"][0].update(dict.fromkeys(["st_mtime", "use_parameters", "parameters", "parameter_mode"]))
    nulls["user_data"][0].update(dict.fromkeys(["data", "is_ephemeral"]))
    nulls["resource_requirements"][0].update(dict.fromkeys(["num_gpus", "num_nodes", "memory", "runtime"]))
    nulls["failure_handlers"][0]["rules"][0].update(
        dict.fromkeys(["match_all_exit_codes", "recovery_script", "max_retries"])
    )
    job_keys = ("invocation_script", "resource_requirements", "failure_handler", "scheduler", "priority", "parameters")
    more = ("depends_on", "depends_on_regexes", "cancel_on_blocking_job_failure", "supports_termination")
    files = ("input_files", "output_files", "input_user_data", "output_user_data", "input_file_regexes")
    nulls["jobs"][0].update(dict.fromkeys([*job_keys, *more, *files]))
    assert read(json.dumps(nulls), ".json").templates == read(json.dumps(spec), ".json").templates


def test_a_kdl_file_is_refused_as_kdl(read: Read) -> None:
    with pytest.raises(SpecError) as caught:
        read('name "a"\njob "x" {\n  command "true"\n}\n', ".kdl")
    (problem,) = caught.value.problems
    assert problem.message == "KDL files are not read here"
    assert "YAML" in problem.hint


AGGREGATE = """\
name: sweep
parameters: {i: "1:3"}
files: [{name: "out_{i}", path: "out_{i}.txt", use_parameters: [i]}]
jobs:
  - {name: "work_{i}", command: "echo {i} > ${files.output.out_{i}}", use_parameters: [i]}
  - {name: gather, command: "%s", input_files: ["out_{i}"], use_parameters: [i]}
  - {name: last, command: "true", depends_on: [gather]}
"""


def test_parameters_that_only_name_files_make_one_job_that_follows_them_all(read: Read) -> None:
    found = read(AGGREGATE % "cat out_*")
    assert [job.name for job in found.jobs] == ["work_1", "work_2", "work_3", "gather", "last"]
    assert edges(found) == {*((f"work_{i}", "gather") for i in (1, 2, 3)), ("gather", "last")}


def test_different_jobs_of_one_name_are_refused(read: Read) -> None:
    told = wrong(read, AGGREGATE % "cat out_{i}.txt")
    assert told == ["6: there is a job 'gather' already"]


def test_user_data_may_be_named_by_a_shell_variable(read: Read) -> None:
    found = read(
        'name: a\nuser_data: [{name: "result_{i}", parameters: {i: "1:3"}}, {name: other}]\njobs:\n'
        "  - name: gather\n    command: |\n      for i in 1 2 3; do\n"
        "        torc user-data get ${user_data.input.result_$i} >> all\n      done\n"
    )
    job = of(found, "gather")
    assert list(job.inputs) == [f"user_data_result_{i}" for i in (1, 2, 3)]
    assert "get result_$${i} >>" in str(job.steps[0].run)
    assert wrong(read, "name: a\njobs: [{name: x, command: 'echo ${user_data.input.none_$i}'}]\n") == [
        "2: there is no user data 'none_$i'"
    ]
