"""Problems of invalid specs: exact place, message and hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekindle.domain.errors import SpecError
from rekindle.spec import load


def problems_of(tmp_path: Path, content: str | bytes, suffix: str = ".yaml", **params: str) -> list[str]:
    """Return every problem of a spec, without the file's folder."""
    path = tmp_path / f"s{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecError) as caught:
        load(path, params=params)
    assert caught.value.path == str(path)
    return [problem.render(path.name) for problem in caught.value.problems]


HEAD = "name: a\njobs:\n"

ONE_PROBLEM = {
    # top level
    "": "s.yaml: the spec is empty (a spec is `name: …` and `jobs: …`, with a `run` for each job)",
    "- a": "s.yaml:1:1: the spec must be a mapping of keys to values, and is a list",
    "name: a": "s.yaml:1:1: the spec has no `jobs` (a spec is `name: …` and `jobs: …`, with a `run` for each job)",
    "name: a\njobs: {}": "s.yaml:2:7: `jobs` is empty (a spec is `name: …` and `jobs: …`, with a `run` for each job)",
    "name: a\njobs:": "s.yaml:2:6: `jobs` must be a mapping of keys to values, and is nothing "
    '(as in `jobs: {prepare: {run: "python prepare.py"}}`)',
    "jobs: {a: {run: x}}": "s.yaml:1:1: the spec has no `name` (as in `name: sweep`; the workflow is known by it)",
    "name: 12\njobs: {a: {run: x}}": "s.yaml:1:7: '12' cannot be a workflow's name "
    "(not digits alone (those are ids), and one line)",
    "name: a\nprojct: b\njobs: {a: {run: x}}": "s.yaml:2:1: a spec has no key 'projct' (did you mean `project`?)",
    "name: a-${params.b}\njobs: {a: {run: x}}": "s.yaml:1:7: ${params.b} cannot be used in `name` (write it out)",
    "name: a\nworkdir: atempt\njobs: {a: {run: x}}": "s.yaml:2:10: `workdir` must be project or attempt, and is "
    "'atempt' (did you mean `attempt`?)",
    # YAML itself
    "name: a\nname: b\njobs: {a: {run: x}}": "s.yaml:2:1: the key 'name' is there already "
    "(first at line 1, column 1; remove one of the two)",
    "name: a\n\tjobs: {}": "s.yaml:2:1: not YAML: found a tab character that violates indentation "
    "(indent with spaces, not with tabs)",
    "name: a: b": "s.yaml:1:8: not YAML: mapping values are not allowed in this context "
    "(a text that holds `: ` must be quoted)",
    "a: 1\n---\nb: 2": "s.yaml:2:1: a second document begins here (a spec is one document: take the `---` out)",
    "a: *b": "s.yaml:1:4: the alias *b names no anchor above it",
    "a: &a [*a]": "s.yaml:1:8: the alias *a is inside the node that it names",
    "? [a]\n: b": "s.yaml:1:3: a key must be a text (quote a text that begins with [, { or `- `)",
    "x: " + "[" * 70: "s.yaml:1:67: lists or mappings nested more than 64 deep",
    # jobs
    HEAD + "  x: {}": "s.yaml:3:3: the job 'x' has nothing to do (as in `run: python train.py`, "
    "`call: mypkg.metrics:score` or `steps: [{name: train, run: …}]`)",
    HEAD + "  x: {run: a, call: 'm:f'}": "s.yaml:3:3: the job 'x' has `run` and `call` (it takes one of them)",
    HEAD + "  x: echo": "s.yaml:3:6: the job 'x' must be a mapping, and is 'echo' "
    "(a spec is `name: …` and `jobs: …`, with a `run` for each job)",
    HEAD + "  x[1]: {run: x}": "s.yaml:3:3: 'x[1]' cannot be the name of a job (names are letters, digits, _ . and -, "
    "do not begin with . or -, and are not digits alone (those are ids))",
    HEAD + "  7: {run: x}": "s.yaml:3:3: '7' cannot be the name of a job (names are letters, digits, _ . and -, "
    "do not begin with . or -, and are not digits alone (those are ids))",
    HEAD + "  x: {run: x, neds: y}": "s.yaml:3:15: a job has no key 'neds' (did you mean `needs`?)",
    HEAD + "  x: {run: x, priority: 1.5}": "s.yaml:3:25: `priority` must be a whole number, and is 1.5 "
    "(as in `priority: 10`)",
    HEAD + "  x: {run: x, priority: '1'}": "s.yaml:3:25: `priority` must be a whole number, and is '1' "
    "(write it without quotes)",
    HEAD + "  x: {run: x, inputs: [a]}": "s.yaml:3:23: `inputs` must be a mapping of names to paths, and is a list "
    "(name each, as in `inputs: {data: build/data.npz}`)",
    HEAD + "  x: {run: x, inputs: {a: [b]}}": "s.yaml:3:27: the path of 'a' must be a text, and is a list",
    HEAD + "  x: {run: x, inputs: {a: {by: mtime}}}": "s.yaml:3:27: the file 'a' has no `path` "
    "(as in `raw: data/raw.csv` or `raw: {path: data/raw.csv, by: mtime}`)",
    HEAD + "  x: {run: x, inputs: {a: {path: b, by: mtme}}}": "s.yaml:3:41: `by` must be content or mtime, and is "
    "'mtme' (did you mean `mtime`?)",
    HEAD + "  x: {run: x, inputs: {a: {path: b, bye: mtime}}}": "s.yaml:3:37: the file 'a' has no key 'bye' "
    "(did you mean `by`?)",
    HEAD + "  x: {run: x, outputs: {a: {path: b, over: 1G}}}": "s.yaml:3:38: `over` is only for files that are "
    "compared by mtime (as in `{by: mtime, over: 1G}`: smaller files are compared by content)",
    HEAD + "  x: {run: x, outputs: {a: {path: b, by: content, over: 1G}}}": "s.yaml:3:51: `over` is only for files "
    "that are compared by mtime (as in `{by: mtime, over: 1G}`: smaller files are compared by content)",
    HEAD + "  x: {run: x, inputs: {a: {path: b, by: mtime, over: 5}}}": "s.yaml:3:54: `over`: the size 5 has no unit "
    "(5M for mebibytes or 5B for bytes; write it like 512M, 8G, 8GiB or 1.5T)",
    HEAD + "  x: {run: x, inputs: {a: {path: b, by: mtime}}, outputs: {a: c}}": "s.yaml:3:63: the output 'a' is "
    "compared differently from the input of that name (give both the same `by` and `over`, or other names)",
    "name: a\ndefaults: {files: mtime}\njobs: {x: {run: x}}": "s.yaml:2:19: `files` must be a mapping of keys to "
    "values, and is 'mtime' (as in `files: {by: mtime, over: 1G}`)",
    "name: a\ndefaults: {files: {over: 1G}}\njobs: {x: {run: x}}": "s.yaml:2:20: `over` is only for files that are "
    "compared by mtime (as in `{by: mtime, over: 1G}`: smaller files are compared by content)",
    HEAD + "  x: {run: x, aggregate: 1}": "s.yaml:3:26: `aggregate` must be true or false, and is 1 "
    "(as in `aggregate: true`)",
    HEAD + "  x: {run: x, when: ended}": "s.yaml:3:21: `when` must be completed or finished, and is 'ended' "
    "(known: completed, finished)",
    HEAD + "  x: {run: x, env: {a b: 1}}": "s.yaml:3:21: 'a b' cannot be a name in `env` "
    "(names of variables are letters, digits and _)",
    HEAD + "  x: {run: x, env: {REKINDLE_JOB: 1}}": "s.yaml:3:21: REKINDLE_JOB is set by rekindle for each step "
    "(use another name)",
    # steps
    HEAD + "  x: {steps: []}": "s.yaml:3:14: `steps` must be a list of steps, and is an empty list "
    "(as in `run: python train.py`, `call: mypkg.metrics:score` or `steps: [{name: train, run: …}]`)",
    HEAD
    + "  x: {steps: [{run: x}]}": "s.yaml:3:15: a step has no name (as in `- {name: train, run: python train.py}`)",
    HEAD
    + "  x: {steps: [{name: a}]}": "s.yaml:3:15: the step 'a' has neither `run` nor `call` (a step does one thing)",
    HEAD + "  x: {steps: [{name: a, run: x}, {name: a, run: x}]}": "s.yaml:3:35: two steps are named 'a' "
    "(steps of a job have different names)",
    HEAD + "  x: {steps: [{name: beginning, run: x}]}": "s.yaml:3:22: 'beginning' cannot be the name of a step "
    "(names are letters, digits, _ and -, and not beginning or failed-step)",
    HEAD + "  x: {run: x, args: {}}": "s.yaml:3:15: `args` belongs to `call` (write a command's words into `run`)",
    HEAD + "  x: {call: 'm:f', shell: sh}": "s.yaml:3:20: `shell` belongs to `run` (a call needs no shell)",
    HEAD + "  x: {call: score}": "s.yaml:3:13: 'score' is not a module and a function "
    "(as in `call: mypkg.metrics:score`)",
    HEAD + "  x: {call: 'm:f', args: {a-b: 1}}": "s.yaml:3:27: 'a-b' cannot be the name of an argument "
    "(args are passed as keywords)",
    HEAD + "  x: {call: 'm:f', args: {a: .nan}}": "s.yaml:3:30: an argument must be finite, and holds .nan "
    "(quote it to have it as a text)",
    HEAD + "  x: {run: []}": 's.yaml:3:12: `run` names no program (as in `run: [python, train.py, "--alpha", "0.1"]`)',
    HEAD + "  x: {run: [a, [b]]}": "s.yaml:3:16: a word of `run` must be a text, and is a list (quote it)",
    HEAD + "  x: {run: '  '}": "s.yaml:3:12: `run` is empty",
    # resources
    HEAD + "  x: {run: x, resources: {cpu: 1}}": "s.yaml:3:27: `resources` has no key 'cpu' (did you mean `cpus`?)",
    HEAD + "  x: {run: x, resources: {cpus: 0}}": "s.yaml:3:33: `cpus` must be above 0 and finite, and is 0",
    HEAD + "  x: {run: x, resources: {gpus: -1}}": "s.yaml:3:33: `gpus` must be at least 0, and is -1",
    HEAD + "  x: {run: x, resources: {memory: [8G]}}": "s.yaml:3:35: `memory` cannot be a list "
    "(as in `memory: 512M` or `time: 1h30m`)",
    HEAD + "  x: {run: x, resources: {licences: {m: x}}}": "s.yaml:3:41: the number of licences m must be a whole "
    "number, and is 'x'",
    # matrix
    HEAD + "  x: {run: x, matrix: {}}": "s.yaml:3:23: `matrix` is empty (give it a list of values, or leave it out)",
    HEAD + "  x: {run: x, matrix: {a: []}}": "s.yaml:3:27: the list of 'a' is empty (no job would be made)",
    HEAD + "  x: {run: x, matrix: {a: 1}}": "s.yaml:3:27: 'a' must be a list or a range, and is 1 "
    "(as in [1, 2] or {range: [0, 10]})",
    HEAD + "  x: {run: x, matrix: {a: [1, '1']}}": "s.yaml:3:31: 'a' has the value '1' twice "
    "(two jobs would have one name)",
    HEAD + "  x: {run: x, matrix: {a: [[1]]}}": "s.yaml:3:28: a value of 'a' must be a text, number, true or false, "
    "and is a list",
    HEAD + "  x: {run: x, matrix: {a: {range: [3, 3]}}}": "s.yaml:3:35: the range of 'a' is empty "
    "(the stop is left out)",
    HEAD + "  x: {run: x, matrix: {a: {range: [0, 9, 0]}}}": "s.yaml:3:35: the range of 'a' must be two or three whole "
    "numbers (as in {range: [0, 10]}, or with a step {range: [0, 10, 2]}; the stop is left out)",
    HEAD + "  x: {run: x, matrix: {a: {range: [0, 9000000]}}}": "s.yaml:3:35: the range of 'a' has 9,000,000 values; "
    "5,000,000 are the most",
    HEAD + "  x: {run: x, zip: {a: [1], b: [1, 2]}}": "s.yaml:3:15: the lists of `zip` differ in length: a has 1, "
    "b has 2 (each row takes one of each)",
    HEAD + "  x: {run: x, matrix: {a: [1]}, zip: {a: [1]}}": "s.yaml:3:33: 'a' is in `matrix` and in `zip` "
    "(use one of the two)",
    HEAD + "  x: {run: x, zip: {a: [1, 1], b: [2, 2]}}": "s.yaml:3:3: two jobs of 'x' are named "
    "'x[a=1,b=2]' (change the values, so that no two look alike)",
    # references
    HEAD + "  x: {run: 'echo ${inputs.rav}', inputs: {raw: a}}": "s.yaml:3:12: ${inputs.rav}: there is no input 'rav' "
    "(did you mean `raw`?)",
    HEAD + "  x: {run: 'echo ${outputs.a}'}": "s.yaml:3:12: ${outputs.a}: there is no output 'a' "
    "(nothing is declared in `outputs`)",
    HEAD + "  x: {run: 'echo ${item}'}": "s.yaml:3:12: ${item}: only a fan-out step has items "
    "(`each:` makes one of a step)",
    # fan-outs
    HEAD + "  x: {run: x, each: 3}": "s.yaml:3:21: `each` must be a pattern, a list or a mapping, and is 3 "
    '(as in `each: "slices/*.png"`, `each: [a, b]`, `each: {range: [0, 10]}`, `each: {call: "mypkg.cuts:names"}` or '
    "`each: {run: ls slices}`)",
    HEAD + "  x: {run: x, each: [a, b, a]}": 's.yaml:3:21: the item "a" is there twice '
    "(each item of a fan-out is there once)",
    HEAD + "  x: {run: x, max_failed: 1}": "s.yaml:3:15: `max_failed` belongs to `each` (add `each`, or leave it out)",
    HEAD + "  x: {run: x, each: [a], parallel: 0}": "s.yaml:3:36: `parallel` must be at least 1, and is 0",
    HEAD + "  x: {run: x, each: {run: 'ls ${item}'}}": "s.yaml:3:27: ${item}: only a fan-out step has items "
    "(`each:` makes one of a step)",
    HEAD + "  x: {each: [a], steps: [{name: a, run: x}]}": "s.yaml:3:7: `each` belongs to a step "
    "(move it into the step)",
    HEAD + "  x: {run: 'echo ${job.nam}'}": "s.yaml:3:12: ${job.nam}: there is no fact of a job 'nam' "
    "(did you mean `name`?)",
    HEAD + "  x: {run: 'echo ${job.name.x}'}": "s.yaml:3:12: ${job.name.x}: ${job.name} is one value and holds nothing "
    "named 'x' (write ${job.name})",
    HEAD
    + "  x: {run: 'echo ${job.attempt}', env: {A: '${job.attempt}'}}": "s.yaml:3:12: ${job.attempt}: is known only "
    "when an attempt starts (give it to a variable with `env`, and use that)",
    HEAD + "  x: {run: x, outputs: {o: '${env.HOME}/x'}}": "s.yaml:3:28: ${env.HOME}: variables cannot be used here "
    "(paths, needs and variables are rendered early: they can use params, matrix and job.name)",
    HEAD + "  x: {call: 'm:f', args: {a: [{b: '${params.b}'}]}}": "s.yaml:3:35: ${params.b}: there is no parameter 'b' "
    "(nothing is declared in `params`)",
    HEAD + "  x: {run: x, env: {A: '${matrix.a}'}}": "s.yaml:3:24: ${matrix.a}: there is no matrix value 'a' "
    "(nothing is declared in `matrix`)",
    HEAD + "  x: {steps: [{name: a, run: 'x ${steps.b.result}'}, {name: b, run: x}]}": "s.yaml:3:30: "
    "${steps.b.result}: the step 'b' does not come before this one",
    HEAD + "  x: {steps: [{name: a, run: x}, {name: b, run: 'x ${steps.a.exit}'}]}": "s.yaml:3:49: ${steps.a.exit}: "
    "of a step only its result can be used (${steps.a.result} or ${steps.a.result.KEY})",
    HEAD + "  x: {run: x, matrix: {a: ['${job.name}']}}": "s.yaml:3:28: ${job.name}: no job is there yet "
    "(only ${params.…} can be used here)",
    # needs, files, cycles
    HEAD + "  x: {run: x}\n  y: {run: x, needs: [xx]}": "s.yaml:4:23: there is no job 'xx' (did you mean `x`?)",
    HEAD + "  x: {run: x, needs: [x]}": "s.yaml:3:23: the job 'x' needs itself (take it out)",
    HEAD + "  x: {run: x, needs: ['x*']}": "s.yaml:3:23: no other job matches 'x*' "
    "(only * and ? are special; a job does not match its own globs)",
    HEAD + "  x: {run: x, matrix: {a: [1, 2]}, needs: x}": "s.yaml:3:43: the job 'x' needs itself "
    "(jobs of one matrix can need one another by their full names: train[alpha=0.1])",
    HEAD
    + "  x: {run: x, matrix: {a: [1, 2]}}\n  y: {run: x, needs: 'x[a=3]'}": "s.yaml:4:22: there is no job 'x[a=3]' "
    "(did you mean `x[a=2]`?)",
    HEAD
    + "  x: {run: x, matrix: {a: [1]}}\n  y: {run: x, needs: 'x[a=${matrix.b}]', matrix: {b: [1, 2, 3]}}": "s.yaml:"
    "4:22: there is no job 'x[a=2]' (and so for 1 more jobs) (did you mean `x[a=1]`?)",
    HEAD + "  x: {run: x, outputs: {o: a/b}}\n  y: {run: x, outputs: {p: ./a//b}}": "s.yaml:4:28: x and y both write "
    "./a//b (every output has one writer: put ${matrix.…} into the path)",
    HEAD + "  x: {run: x, matrix: {a: [1, 2, 3]}, outputs: {o: b}}": "s.yaml:3:52: x[a=1] and x[a=2] both write b "
    "(and 1 more) (every output has one writer: put ${matrix.…} into the path)",
    HEAD + "  x: {run: x, needs: y}\n  y: {run: x, needs: x}": "s.yaml:3:22: jobs need each other in a cycle: "
    "x needs y needs x (take one of these needs out)",
    HEAD
    + "  x: {run: x, inputs: {i: o}}\n  y: {run: x, outputs: {o: o}, needs: x}": "s.yaml:3:27: jobs need each other "
    "in a cycle: x needs y needs x (take one of these needs out)",
}


@pytest.mark.parametrize(("text", "expected"), ONE_PROBLEM.items())
def test_each_problem_is_reported_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert problems_of(tmp_path, text) == [expected]


def test_all_problems_are_reported_at_once_in_file_order(tmp_path: Path) -> None:
    text = """\
name: sweep
projct: alloys
defaults: {resources: {cpus: -1, memory: 512, time: 10}, retry: {max: -2}}
env: {OMP_NUM_THREADS: }
jobs:
  prepare:
    run: echo 'a
  train:
    need: [prepare]
    steps:
      - {name: z, run: "${matrix.a}", call: x}
  report:
    needs: ["tran*", prepar, "b[x=1]", "b*"]
    run: python report.py ${matrx.a}
  b:
    matrix: {x: 1}
    run: b
"""
    assert [problem.split(": ")[0] for problem in problems_of(tmp_path, text)] == [
        *("s.yaml:2:1", "s.yaml:3:30", "s.yaml:3:42", "s.yaml:3:53", "s.yaml:3:71", "s.yaml:4:24", "s.yaml:7:10"),
        *("s.yaml:9:5", "s.yaml:11:9", "s.yaml:13:22", "s.yaml:14:10", "s.yaml:16:17"),
    ]


def test_invalid_references_and_quotes_are_reported_at_their_place(tmp_path: Path) -> None:
    jobs = ["'${parms.a}'", "'echo ${params.a b}'", '"echo \'a"']
    for command in jobs:
        (only,) = problems_of(tmp_path, HEAD + f"  x:\n    run: {command}")
        assert only.startswith("s.yaml:4:10: ")
    assert "did you mean `${params.a}`?" in problems_of(tmp_path, HEAD + "  x: {run: '${parms.a}'}")[0]


def test_an_undeclared_parameter_is_reported(tmp_path: Path) -> None:
    text = "name: a\nparams: {alpha: 1}\njobs: {x: {run: x}}"
    assert problems_of(tmp_path, text, alhpa="2") == [
        "s.yaml: --param alhpa: the spec declares no parameter 'alhpa' (did you mean `alpha`?)"
    ]
    assert problems_of(tmp_path, text, alpha=".inf") == [
        "s.yaml: --param alpha: the parameter 'alpha' must be finite, and holds inf (quote it to have it as a text)"
    ]


def test_a_reference_within_params_is_reported(tmp_path: Path) -> None:
    text = "name: a\nparams: {a: 1, b: ['${params.a}']}\njobs: {x: {run: x}}"
    assert problems_of(tmp_path, text) == [
        "s.yaml:2:20: ${params.a} is not filled in within `params` (put it where the parameter is used)"
    ]


def test_numbers_out_of_range_are_reported(tmp_path: Path) -> None:
    text = f"name: a\nparams: {{a: {2**64}, b: {'9' * 5000}, c: 1e999}}\njobs: {{x: {{run: x, priority: {2**63}}}}}"
    found = problems_of(tmp_path, text)
    assert [problem.split(": ")[0] for problem in found] == [
        "s.yaml:2:13",
        "s.yaml:2:38",
        "s.yaml:2:5043",
        "s.yaml:3:30",
    ]


def test_the_expansion_of_aliases_is_bounded(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert problems_of(tmp_path, "\n".join(lines)) == [
        "s.yaml:6:4: aliases expand to too many nodes (write less with each alias)"
    ]


def test_json_problems_have_their_place(tmp_path: Path) -> None:
    assert problems_of(tmp_path, '{\n "name": a\n}', ".json") == ["s.json:2:10: not JSON: expecting value"]
    text = '{"name": "a",\n "jobs": {"x": {"run": "x"},\n          "x": {"runs": "\\ud83d\\ude00"}}}'
    assert problems_of(tmp_path, text, ".json") == [
        "s.json:3:11: the key 'x' is there already (first at line 2, column 11; remove one of the two)"
    ]
    text = '{"name": "a", "jobs": {"x": {"run": "\\ud83d"}}}'
    assert problems_of(tmp_path, text, ".json")[0].startswith("s.json:1:37: not a valid text")
    assert problems_of(tmp_path, "[" * 100_000, ".json")[0].startswith("s.json: lists or mappings nested")


def test_toml_problems_have_the_lines_of_their_keys(tmp_path: Path) -> None:
    assert problems_of(tmp_path, 'name = "a"\nname = "b"', ".toml")[0].startswith("s.toml:2:")
    text = """\
name = "a"
retry = 2020-01-01
[jobs.x]
run = "x"
inputs = { a = 1, "b c" = "" }
[[jobs.y.steps]]
name = "a"
run = "x"
[[jobs.y.steps]]
name = "a"
rum = "x"
[jobs.y.steps.env]
"""
    assert [problem.split(" (")[0] for problem in problems_of(tmp_path, text, ".toml")] == [
        "s.toml:2:1: a spec has no key 'retry'",
        "s.toml:2:9: a date or time cannot be used: 2020-01-01",
        "s.toml:5:10: 'b c' cannot be a name in `inputs`",
        "s.toml:9:1: the step 'a' has neither `run` nor `call`",
        "s.toml:10:1: two steps are named 'a'",
        "s.toml:11:1: a step has no key 'rum'",
        "s.toml:12:1: a step has no key 'env'",
    ]


def test_bytes_that_are_not_utf_8_are_reported(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "name: a\nproject: ä\n".encode("latin-1")) == [
        "s.yaml:2:10: not UTF-8: the byte 0xe4 (save the file as UTF-8)"
    ]
    assert problems_of(tmp_path, "é: \x00".encode()) == ["s.yaml:1:4: not YAML: control characters are not allowed"]


def test_a_long_cycle_is_shortened(tmp_path: Path) -> None:
    jobs = "".join(f"  j{n}: {{run: x, needs: j{(n + 1) % 100}}}\n" for n in range(100))
    (only,) = problems_of(tmp_path, HEAD + jobs)
    assert "j0 needs j1 needs j2 needs" in only
    assert "(89 more)" in only
    assert only.count(" needs ") < 14


def test_too_many_edges_are_refused_with_a_hint(tmp_path: Path) -> None:
    text = (
        HEAD
        + """\
  x: {run: x, matrix: {i: {range: [0, 5000]}}}
  y: {run: x, matrix: {i: {range: [0, 5000]}}, needs: x}
"""
    )
    (only,) = problems_of(tmp_path, text)
    assert only.startswith(
        "s.yaml:4:55: more than 5,000,000 edges: 5,000 jobs are needed by each of 5,000 (put one job"
    )


def test_at_most_200_problems_are_reported(tmp_path: Path) -> None:
    jobs = "".join(f"  j{n}: {{rum: x}}\n" for n in range(500))
    found = problems_of(tmp_path, HEAD + jobs)
    assert len(found) == 201
    assert found[-1].endswith("and 800 more problems")


def test_a_command_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"{HEAD}  a: {{run: 'echo {'x ' * 1_100_000}'}}")
    assert problem.startswith("s.yaml:3:12: `run` has 2,200,005 characters: the system starts no command that long")
