"""Mistakes of newcomers: the message names what was typed, and the hint says what to type."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from rekindle.cli.command_table import COMMANDS
from rekindle.cli.foreign_words import COMMANDS as FOREIGN

SWEEP = """\
name: sweep
params: {rate: 1}
jobs:
  train: {matrix: {alpha: [0.1, 1.0], seed: [0, 1]}, run: "true"}
  report: {needs: ["train*"], run: "true"}
"""


@pytest.fixture
def sweep(shell: Shell) -> Shell:
    """A sweep that is stored, and has not run."""
    shell.write(SWEEP, "sweep.yaml")
    shell.write("name: other", "other.yaml")
    assert shell("submit", "sweep.yaml").code == 0
    return shell


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("resume", ["no command 'resume'", "rekindle run SPEC"]),
        ("retry", ["no command 'retry'", "rekindle rerun -s failed --work"]),
        ("list", ["no command 'list'", "rekindle jobs list"]),
        ("help", ["no command 'help'", "rekindle --help"]),
        ("plot", ["no command 'plot'", "rekindle serve"]),
        ("staus", ["no command 'staus'", "did you mean `status`?"]),
        ("jobs lst", ["no command 'lst'", "did you mean `list`?"]),
        ("rerun failed", ["no such job: failed", "-s failed"]),
        ("rerun --failed", ["no option --failed", "-s failed"]),
        ("rerun sweep", ["no such job: sweep", "-w sweep"]),
        ("rerun -s faild", ["unknown state 'faild'", "did you mean `failed`?"]),
        ("rerun -w swep", ["no such workflow: swep", "did you mean `sweep`?"]),
        ("rerun -f stat=failed", ["unknown field 'stat'", "did you mean `state`?"]),
        ("rerun -i 9-2", ["the range 9-2", "2-9"]),
        ("rerun -q {a}", ["not JSON", "-q '"]),
        ("rerun --error (", ["'('", "\\"]),
        ("rerun --all -j 2", ["-j needs --work", "add --work"]),
        ("rerun --all --memory 8", ["the size 8 has no unit", "8M"]),
        ("rerun --all --set rate", ["not 'rate'", "--set alpha=0.2"]),
        ("rerun --all --downstream some", ["--downstream: 'some'", "--downstream all|changed|none"]),
        ("rerun --all --subtasks x", ["not 'x'", "--subtasks 0,3-5"]),
        ("why trian", ["no such job: trian", "did you mean `train`?"]),
        ("why trian[alpha=0.1,seed=0]", ["no such job", "did you mean `train[alpha=0.1,seed=0]`?"]),
        ("hold train[alpha=0.1,seed=9]", ["did you mean `train[alpha=0.1,seed=", "train has seed=0, 1"]),
        ("accept train[alpa=0.1]", ["no such job", "train has alpha, seed, not alpa"]),
        ("logs train", ["train means 4 jobs", "`rekindle logs 1`"]),
        ("attempts list repot", ["no such job: repot", "did you mean `report`?"]),
        ("attempts show x", ["ID: 'x' is not a whole number", "rekindle attempts show ID"]),
        ("undo x", ["RERUN: 'x' is not a whole number", "rekindle undo [RERUN]"]),
        ("run", ["Missing argument 'SPEC'", "`rekindle run SPEC`"]),
        ("run -", ["-: a spec is read from a file, not from stdin", "rekindle run spec.yaml"]),
        ("run sweep.yml", ["there is no such file", "did you mean `sweep.yaml`?"]),
        ("run sweep.yaml --param", ["'--param' requires an argument", "`--param K=V`"]),
        ("run sweep.yaml --param rate", ["not 'rate'", "--param alpha=0.2"]),
        ("run sweep.yaml --param rte=1", ["no parameter 'rte'", "did you mean `rate`?"]),
        ("run sweep.yaml -j four", ["-j / --jobs: 'four' is not a whole number", "`-j N`"]),
        ("run sweep.yaml -j 0", ["0 is less than 1", "`-j N`"]),
        ("run sweep.yaml -k", ["no option -k", "leave it out"]),
        ("run sweep.yaml --dryrun", ["no option --dryrun", "--dry-run"]),
        ("run sweep.yaml --wait-timeout 30", ["the duration 30 has no unit", "30s"]),
        ("run sweep.yaml --executor slrum", ["no executor 'slrum'", "slurm"]),
        ("serve --port 99999", ["--port: 99999 is not between 0 and 65535", "`--port"]),
        ("token new", ["Missing option '--scope'", "`--scope SCOPES`"]),
        ("status sweep", ["unexpected extra argument", "did you mean `rekindle status -w sweep`?"]),
        ("failures sweep", ["did you mean `rekindle failures -w sweep`?"]),
        ("rerun -s stale", ["unknown state 'stale'", "--changed selects stale jobs"]),
        ("rerun -s complted", ["did you mean `completed`?"]),
        ("rerun -s zebra", ["states are waiting, ready"]),
        ("rerun -s held", ["-f held=true"]),
        ("run sweep.yaml -n", ["no option -n", "--dry-run"]),
        ("status -n", ["`rekindle status --help`"]),
        ("run sweep.yaml --time 5", ["no option --time", "`resources: {time: 5m}`"]),
        ("run sweep.yaml --force", ["no option --force", "`rekindle rerun -w WORKFLOW`"]),
        ("retry train", ["no command 'retry'", "`rekindle rerun train --work`"]),
        ("kill 3", ["`rekindle cancel 3`"]),
        ("help run", ["`rekindle run --help`"]),
        ("make other.yaml -j 4", ["`rekindle run other.yaml`"]),
        ("clean sweep", ["`rekindle workflows delete sweep`"]),
        ("history", ["`rekindle reruns list`"]),
        ("cancel", ["say which jobs to cancel", "`rekindle cancel -s running`"]),
        ("rerun 1..3", ["no such job: 1..3", "did you mean 1-3?"]),
        ("rerun -i 1:3", ["neither an id nor a range", "did you mean 1-3?"]),
        ("apply nothing.json", ["no such file: nothing.json", "--save-plan FILE"]),
    ],
)
def test_a_wrong_command_says_what_is_wrong_and_what_to_type(sweep: Shell, typed: str, said: list[str]) -> None:
    done = sweep(*typed.split(" "))
    assert done.code in (1, 64)
    message = " ".join(done.err.split())
    assert [one for one in said if one not in message] == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("jobs:\n  a:\n    run: x\n   b:\n    run: y\n", [":4:4:", "check the indentation"]),
        ("jobs:\n\ta: {run: x}\n", [":2:1:", "spaces, not tabs"]),
        ("jobs:\n  a:\n    run: echo a: b\n", [":3:16:", "must be quoted"]),
        ("name: s\njobs:\n  a: {run: x, timeout: 5m}\n", ["no key 'timeout'", "`resources: {time: 10m}`"]),
        ("name: s\njobs:\n  a: {run: x, memory: 8G}\n", ["no key 'memory'", "`resources: {memory: 4G}`"]),
        ("name: s\njobs:\n  a: {cmd: x}\n", ["no key 'cmd'", "did you mean `run`?"]),
        ("name: s\njobs:\n  a: {run: x, depends_on: b}\n", ["no key 'depends_on'", "did you mean `needs`?"]),
        ("name: s\njobs:\n  a: {run: x, retries: 3}\n", ["no key 'retries'", "`retry: {max: 2}`"]),
        ("name: s\njobs:\n  a: {run: x, zebra: 3}\n", ["no key 'zebra'", "known: run, call", "labels"]),
        ("name: s\nstages:\n  a: {run: x}\n", ["no key 'stages'", "did you mean `jobs`?"]),
        ("name: s\njobs:\n  a: {run: x, resources: {time: 30}}\n", ["the duration 30 has no unit", "30s"]),
        ("name: s\njobs:\n  a: {run: x, needs: b}\n  b: {run: x, needs: a}\n", ["a needs b needs a", "take one"]),
        (
            "jobs:\n  a: {run: x}\n  b:\n    needs: *\n",
            [":4:12:", "not YAML: an unquoted * or &", "quote a text that begins with *", '`needs: "*"`'],
        ),
        ("jobs:\n  a:\n    env: {A: &}\n", [":3:14:", "quote a text that begins with *"]),
        ('name: s\njobs:\n  a:\n    run: "x\n  b:\n    run: y\n', [":4:10:", "quote that begins here is not closed"]),
        ('name: s\njobs:\n  a:\n    run: "x\n  b:\n    run: "y"\n', ["close every quote"]),
        ("jobs:\n  a:\n    outputs: {f: ${matrix.x}.txt}\n", ["quote a text with ${…}", '"${matrix.x}.txt"']),
        ("jobs:\n  a:\n    run: [echo, a-${params.x}]\n", ["quote a text with ${…} within […]"]),
        ("name: s\njobs:\n  a: {run: x, manual: true}\n", ["must be a mapping", "as in `manual: {rerun: forbidden"]),
        ("name: s\njobs:\n  a: {run: x, quarantine: true}\n", ["as in `quarantine: {until: 2030-01-31"]),
        ("name: s\njobs:\n  a: {run: x, matrix: [1, 2]}\n", ["must be a mapping", "as in `matrix: {"]),
        ("name: s\njobs:\n  a: {run: x, env: [A=1]}\n", ["must be a mapping", "as in `env: {"]),
        ("name: s\njobs:\n  a: {run: x, resources: 4G}\n", ["must be a mapping", "as in `resources: {"]),
        ("name: s\njobs: [{run: x}]\n", ["must be a mapping", "as in `jobs: {"]),
        ("name: [s]\njobs: {a: {run: x}}\n", ["must be a text", "as in `name: sweep`"]),
        ("name: s\nparams: [1]\njobs: {a: {run: x}}\n", ["must be a mapping", "as in `params: {"]),
    ],
)
def test_a_wrong_spec_says_where_it_is_wrong_and_what_to_write(shell: Shell, spec: str, said: list[str]) -> None:
    done = shell("run", shell.write(spec))
    assert done.code == 1
    assert [one for one in said if one not in done.err] == []


@pytest.mark.parametrize(("name", "text"), [("a.toml", "[jobs.a]\nrun = x\n"), ("a.json", '{"jobs": {"a": {},}}')])
def test_wrong_toml_and_json_have_a_hint(shell: Shell, name: str, text: str) -> None:
    assert "quote" in shell("run", shell.write(text, name)).err.partition("(")[2]


def test_jobs_that_are_refused_for_one_reason_are_counted(sweep: Shell) -> None:
    assert sweep("run", "sweep.yaml").code == 0
    done = sweep("rerun", "train", "--from", "tain", "--yes")
    assert done.err.count("it has no step `tain`") == 1
    assert "train[alpha=1.0,seed=0] and 1 more: it has no step" in done.err


@pytest.mark.parametrize("word", FOREIGN)
def test_each_word_of_another_tool_leads_to_a_command(word: str) -> None:
    first = FOREIGN[word].split()[1]
    assert word not in COMMANDS
    assert first in COMMANDS or first in ("--help", "--version")


@pytest.mark.parametrize("command", ["run", "submit", "spec check"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("simulate.py", ["simulate.py: is a Python file, not a spec", "there are: other.yaml, sweep.yaml"]),
        ("job.sh", ["job.sh: is a shell script, not a spec", "sweep.yaml"]),
        (
            "Snakefile",
            ["Snakefile: is a Snakefile, not a spec", "`rekindle init --from snakemake Snakefile` converts it"],
        ),
    ],
)
def test_a_file_of_another_kind_is_named(sweep: Shell, command: str, name: str, said: list[str]) -> None:
    sweep.write("import os\nx = {1: [2}\n", name)
    done = sweep(*command.split(), name)
    assert done.code == 1
    assert [one for one in said if one not in done.out + done.err] == []
    assert "not YAML" not in done.out + done.err


def test_a_parameter_that_is_a_key_of_a_matrix_is_explained(sweep: Shell) -> None:
    said = sweep("run", "sweep.yaml", "--param", "alpha=3").err
    assert "no parameter 'alpha'" in said
    assert "alpha is a key of the `matrix` of train" in said
