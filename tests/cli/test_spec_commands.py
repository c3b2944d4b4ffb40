"""`rekindle spec check` and `rekindle spec schema`."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
from cli_shell import Shell

GOOD = """\
name: sweep
params: {alpha: 1}
jobs:
  prep: {outputs: {d: data.txt}, run: "echo ${params.alpha} > data.txt"}
  train: {matrix: {seed: [1, 2, 3]}, inputs: {d: data.txt}, run: "cat data.txt; true ${matrix.seed}"}
"""

BAD = """\
name: sweep
parms: {alpha: 1}
jobs:
  prep: {rn: x}
  train: {needs: pre, run: "true"}
"""


def test_a_valid_spec_is_counted(shell: Shell) -> None:
    shell.write(GOOD)
    done = shell("spec", "check", "spec.yaml")
    assert (done.code, done.out) == (0, "spec.yaml: valid: sweep, 4 jobs of 2 entries, 3 edges\n")
    assert [path.name for path in shell.folder.iterdir()] == ["spec.yaml"]  # no store is made


def test_all_problems_of_all_files_are_listed_with_places_and_hints(shell: Shell) -> None:
    shell.write(GOOD)
    shell.write(BAD, "bad.yaml")
    done = shell("spec", "check", "bad.yaml", "spec.yaml", "gone.yaml")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0] == "bad.yaml:2:1: a spec has no key 'parms' (did you mean `params`?)"
    assert "bad.yaml:4:10: a job has no key 'rn' (did you mean `run`?)" in lines
    assert "bad.yaml:5:18: there is no job 'pre' (did you mean `prep`?)" in lines
    assert "bad.yaml: not valid: 4 problems" in lines
    assert "spec.yaml: valid: sweep, 4 jobs of 2 entries, 3 edges" in lines
    assert lines[-1] == "gone.yaml: not valid: 1 problem"


WARNED = """\
name: w
params: {used: 1, unused: 2}
jobs:
  a:
    matrix: {n: [1, 2, 3]}
    inputs:
      raw: raw.csv
      each: each/${matrix.n}.csv
      cut: cuts/*.png
      maybe: {path: maybe.csv, optional: true}
      made: out/made.csv
      all: out/*.csv
      there: there.csv
    run: "true ${matrix.n} ${params.used}"
  b: {outputs: {made: out/made.csv, never_read: log.txt}, run: "true"}
"""


def test_warnings_name_missing_inputs_and_unused_parameters(shell: Shell) -> None:
    shell.write(WARNED)
    shell.write("", "there.csv")
    done = shell("spec", "check", "spec.yaml")
    assert done.code == 0
    assert done.out.splitlines() == [
        "spec.yaml:2:19: warning: no job uses the parameter 'unused'",
        "spec.yaml:7:12: warning: the input raw.csv is not there, and no job writes it",
        "spec.yaml:8:13: warning: the input each/1.csv is not there, and no job writes it (2 more like it)",
        "spec.yaml:9:12: warning: no file matches the input cuts/*.png, and no job writes it",
        "spec.yaml: valid: w, 4 jobs of 2 entries, 3 edges, 4 warnings",
    ]
    (shell.folder / "cuts").mkdir()
    for name in ("raw.csv", "cuts/1.png"):
        shell.write("", name)
    assert "2 warnings" in shell("spec", "check", "spec.yaml").out


@pytest.mark.parametrize("name", ["${params.alpha}", "${params.alpha.deep}"])
def test_a_parameter_is_used_wherever_a_text_names_it(shell: Shell, name: str) -> None:
    shell.write(f"name: w\nparams: {{alpha: {{deep: 1}}}}\nenv: {{A: '{name}'}}\njobs: {{a: {{run: 'true'}}}}\n")
    assert "warning" not in shell("spec", "check", "spec.yaml").out


def test_the_document_has_counts_problems_and_warnings(shell: Shell) -> None:
    shell.write(WARNED)
    shell.write(BAD, "bad.yaml")
    done = shell("spec", "check", "spec.yaml", "bad.yaml", "--json")
    assert done.code == 1
    good, bad = done.json["files"]
    assert (good["valid"], good["name"], good["entries"], good["jobs"], good["edges"]) == (True, "w", 2, 4, 3)
    assert [one["line"] for one in good["missing"]] == [7, 8, 9, 13]
    assert [one["message"] for one in good["unused"]] == ["no job uses the parameter 'unused'"]
    assert (bad["valid"], bad["jobs"]) == (False, None)
    assert bad["problems"][0] == {
        "line": 2,
        "column": 1,
        "message": "a spec has no key 'parms'",
        "hint": "did you mean `params`?",
    }


def test_a_parameter_can_be_given(shell: Shell) -> None:
    shell.write("name: w\nparams: {seeds: []}\njobs: {a: {matrix: {s: '${params.seeds}'}, run: 'true ${matrix.s}'}}\n")
    assert shell("spec", "check", "spec.yaml").code == 1
    done = shell("spec", "check", "spec.yaml", "--param", "seeds=[1, 2]")
    assert (done.code, done.out) == (0, "spec.yaml: valid: w, 2 jobs of 1 entry, 0 edges\n")


def test_the_schema_is_printed(shell: Shell) -> None:
    printed = json.loads(shell("spec", "schema").out)
    assert jsonschema_rs.is_valid(printed, {"name": "x", "jobs": {"a": {"run": "true"}}})


NUMBERS = """\
name: n
params: {v: 1.50, rate: 1e-3, off: 0.5, whole: 3, text: "007"}
jobs:
  a:
    matrix: {py: [3.9, 3.10, 007], exclude: [{py: 3.10}]}
    run: "true ${matrix.py} ${params.v}"
  b: {call: "os:getcwd", args: {mode: 0o17}}
  c: {steps: [{name: s, call: "os:getcwd", args: {at: [0.10]}}]}
"""
CHANGED = [
    "spec.yaml:2:13: 1.50 is the number 1.5",
    "spec.yaml:5:24: 3.10 is the number 3.1",
    "spec.yaml:5:30: 007 is the number 7",
    "spec.yaml:5:51: 3.10 is the number 3.1",
    "spec.yaml:7:39: 0o17 is the number 15",
    "spec.yaml:8:56: 0.10 is the number 0.1",
]


def test_a_number_that_does_not_keep_its_digits_is_a_warning(shell: Shell) -> None:
    shell.write(NUMBERS)
    lines = [one for one in shell("spec", "check", "spec.yaml").out.splitlines() if "is the number" in one]
    assert [one.replace("warning: ", "").partition(" (quote it")[0] for one in lines] == CHANGED
    assert [len(one["numbers"]) for one in shell("spec", "check", "spec.yaml", "--json").json["files"]] == [6]


@pytest.mark.parametrize("command", ["submit", "submit --dry-run", "run --dry-run", "run --yes"])
def test_submissions_warn_of_numbers_that_do_not_keep_their_digits(shell: Shell, command: str) -> None:
    shell.write(NUMBERS.replace(", 007", ""))
    done = shell(*command.split(), "spec.yaml", "--param", "v=2.0", "--param", "rate=1.10")
    warned = [one for one in done.err.splitlines() if "is the number" in one]
    assert len(warned) == 5
    assert warned[1] == 'warning: spec.yaml:5:24: 3.10 is the number 3.1 (quote it to keep it: "3.10")'
    assert "1 more such numbers: rekindle spec check spec.yaml" in done.err
