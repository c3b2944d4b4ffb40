"""Results of calls and commands, and errors of fan-outs, on the command line."""

from __future__ import annotations

import json

import pytest
from cli_shell import Shell

CALLS = """
import math
from rekindle import Action

def returned(value):
    return eval(value)
"""
NUMBERS = ["math.nan", "-math.inf", "[None, 1, math.nan]", "{'a': {'x': float('inf')}}", "(None, [math.inf])"]
ACTIONS = ["Action(set={'x': math.nan})", "Action(add=[{'name': 'n', 'run': 'true', 'x': [math.inf]}])"]


STEPS = [
    "call: 'calls:returned', args: {value: VALUE}",
    "steps: [{name: p, call: 'calls:returned', args: {value: VALUE}}, {name: q, run: 'true'}]",
    "steps: [{name: p, each: [1], call: 'calls:returned', args: {value: VALUE}}]",
    "steps: [{name: p, each: {call: 'calls:returned', args: {value: VALUE}}, run: 'true'}]",
]


@pytest.mark.parametrize("step", STEPS, ids=["job", "step", "item", "items"])
def test_a_call_that_returns_no_finite_number_fails(shell: Shell, step: str) -> None:
    shell.write(CALLS, "calls.py")
    values = [*NUMBERS, *ACTIONS, "Action(exit=True, result=math.nan)"]
    jobs = [f"  j{at}: {{{step.replace('VALUE', json.dumps(value))}}}\n" for at, value in enumerate(values)]
    shell.write(f"name: w\njobs:\n{''.join(jobs)}  after: {{needs: [j0], run: 'true'}}\n")
    assert shell("run", "spec.yaml").code == 2
    attempts = {one["job"]: one for one in shell("attempts", "list", "--json").json["attempts"]}
    assert len(attempts) == len(values)
    for job, value in enumerate(values, 1):
        error = attempts[job]["error"]
        assert error["type"] == ("BadAction" if value in ACTIONS else "BadResult"), (value, error)
        assert "is no number of JSON" in error["message"]


def test_a_call_may_return_none_and_texts_that_name_no_number(shell: Shell) -> None:
    shell.write(CALLS, "calls.py")
    shell.write("""name: w\njobs: {a: {call: "calls:returned", args: {value: "[None, 'null', 'NaN', 1.5e300]"}}}\n""")
    assert shell("run", "spec.yaml").code == 0
    assert shell("attempts", "show", "1", "--json").json["result"] == [None, "null", "NaN", 1.5e300]


@pytest.mark.parametrize("text", ["NaN", "[1, Infinity]", "1e999"])
def test_a_command_that_leaves_no_finite_number_fails(shell: Shell, text: str) -> None:
    shell.write(f"name: w\njobs: {{a: {{run: 'echo \"{text}\" > $REKINDLE_RESULT'}}}}\n")
    assert shell("run", "spec.yaml").code == 2
    assert shell("attempts", "show", "1", "--json").json["error"]["type"] == "BadResult"


@pytest.mark.parametrize("parallel", ["", "parallel: 2, "])
def test_a_stopped_fan_out_has_the_error_of_what_was_stopped(shell: Shell, parallel: str) -> None:
    run = "echo of-${item} >&2; mkfifo $REKINDLE_RESULT; test ${item} = a || sleep 20"
    step = f"{{name: p, each: [a, b], {parallel}run: '{run}'}}"
    shell.write(f"name: w\njobs:\n  g: {{steps: [{step}], resources: {{cpus: 2, time: 1s}}}}\n")
    assert shell("run", "spec.yaml").code == 2
    attempt = shell("attempts", "show", "1", "--json").json
    assert [one["cause"] for one in attempt["subtasks"]] == ["exception", "timeout"]
    error = {"type": "", "message": "ran longer than its limit of 1 s", "traceback": "", "stderr": "of-b\n"}
    assert (attempt["cause"], attempt["error"]) == ("timeout", error)
