"""`rekindle reproduce`: an attempt again, in a folder of its own, with what it had."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Done, Shell

from rekindle import Client, Refused

SPEC = """\
name: sweep
params: {alpha: 2}
env: {LEVEL: "3"}
jobs:
  prepare:
    run: python prepare.py ${inputs.raw} ${outputs.data}
    inputs: {raw: data/raw.csv}
    outputs: {data: build/data.txt}
  train:
    needs: [prepare]
    matrix: {seed: [0, 1]}
    call: "fits:fit"
    args: {alpha: "${params.alpha}", seed: "${matrix.seed}"}
  own:
    workdir: attempt
    needs: [prepare]
    run: cp ${inputs.data} here.txt; echo $LEVEL $REKINDLE_JOB $REKINDLE_ATTEMPT >> here.txt
    inputs: {data: build/data.txt}
    outputs: {here: here.txt}
  slices:
    steps:
      - {name: cut, run: "printf a > s1.txt; printf b > s2.txt"}
      - {name: each, each: "s*.txt", run: "cat ${item}; echo $REKINDLE_SUBTASK > $REKINDLE_RESULT"}
      - {name: sum, run: "echo ${steps.cut.result} > total.txt"}
    outputs: {total: total.txt}
  noise: {run: "date +%N > ${outputs.out}", outputs: {out: noise.txt}}
  bad: {call: "fits:fit", args: {alpha: 9, seed: 0}}
"""

FILES = {
    "data/raw.csv": "a,b\n1,2\n",
    "helper.py": "def twice(x):\n    return 2 * x\n",
    "prepare.py": "import sys, helper\nopen(sys.argv[2], 'w').write(open(sys.argv[1]).read() * helper.twice(1))\n",
    "fits.py": """\
import json
import os


def fit(alpha, seed, ctx):
    score = alpha + seed
    if alpha > 8:
        raise ValueError(f"alpha {alpha}")
    with open("fitted.txt", "a") as file:
        file.write(f"{score}\\n")
    data = json.loads(os.environ["REKINDLE_INPUTS"])["prepare"]["outputs"]["data"]
    return {"score": score, "size": os.path.getsize(data), "number": ctx.attempt}
""",
}


def tree(folder: Path, without: str = "") -> dict[str, str]:
    """The digest of each file of a project, without the store and a folder in which processes may run."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for top in sorted(folder.iterdir())
        if top.name != without
        for path in (top, *sorted(top.rglob("*")))
        if path.is_file() and ".rekindle" not in path.parts and "__pycache__" not in path.parts
    }


def rows(folder: Path) -> Any:
    """What the store holds of jobs, attempts and reruns."""
    with Client(folder / ".rekindle") as client:
        return [
            [repr(one) for one in client.jobs()],
            [repr(one) for one in client.attempts()],
            [repr(one) for one in client.reruns.list()],
            [repr(one) for one in client.events()],
        ]


@pytest.fixture
def project(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A workflow that has run; temporary folders are made in one of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))
    monkeypatch.setattr("tempfile.tempdir", None)
    for name, text in FILES.items():
        (shell.folder / name).parent.mkdir(exist_ok=True)
        (shell.folder / name).write_text(text)
    (shell.folder / "build").mkdir()
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    return shell


def attempt_of(shell: Shell, job: str) -> int:
    found = shell("attempts", "list", job, "--live", "--json").json["attempts"]
    return int(found[0]["id"])


def again(shell: Shell, job: str, *words: str) -> Done:
    return shell("reproduce", str(attempt_of(shell, job)), *words)


@pytest.mark.parametrize(
    "job", ["prepare", "train[seed=1]", "own", "slices"], ids=["command", "call", "own-folder", "steps"]
)
def test_an_attempt_comes_out_the_same_and_leaves_all_as_it_was(project: Shell, job: str) -> None:
    before, stored = tree(project.folder), rows(project.folder)
    done = again(project, job, "--json")
    assert (done.code, done.json["state"], done.json["same"]) == (0, "completed", True), done
    assert done.json["drift"] == []
    assert all(one["compared"] == "same" for one in done.json["outputs"])
    assert tree(project.folder) == before
    assert rows(project.folder) == stored


def test_it_runs_in_a_folder_of_its_own_that_is_kept_and_said(project: Shell) -> None:
    done = again(project, "prepare", "--into", "aside")
    folder = project.folder / "aside"
    assert f"folder {folder}" in done.err
    assert (folder / "project" / "build" / "data.txt").read_text() == FILES["data/raw.csv"] * 2
    assert "recorded  completed\nnow       completed\nthe end and outputs are the same" in done.out
    assert again(project, "prepare", "--into", "aside").code == 1, "it is not empty"


def test_a_call_has_its_parameters_matrix_values_and_upstream_results(project: Shell) -> None:
    found = again(project, "train[seed=1]", "--json").json
    assert found["result"] == {"score": 3, "size": 16, "number": 1}


def test_an_earlier_attempt_has_its_own_overrides_and_definition(project: Shell) -> None:
    first = attempt_of(project, "train[seed=0]")
    assert project("rerun", "train[seed=0]", "--set", "alpha=5", "--env", "LEVEL=7", "--yes", "--work").code == 0
    second = attempt_of(project, "train[seed=0]")
    (project.folder / "spec.yaml").write_text(SPEC.replace("alpha: 2", "alpha: 4"))
    assert project("submit", "spec.yaml").code == 0
    scores = {
        attempt: project("reproduce", str(attempt), "--json").json["result"]["score"] for attempt in (first, second)
    }
    assert scores == {first: 2, second: 5}


def test_another_upstream_result_is_given_as_it_was(project: Shell) -> None:
    assert project("rerun", "prepare", "--downstream", "none", "--yes", "--work").code == 0
    found = again(project, "train[seed=1]", "--json").json
    assert (found["same"], found["drift"]) == (True, [])
    assert [(one["kind"], one["name"]) for one in found["restored"]] == [("result", "prepare")]


@pytest.mark.parametrize("fault", ["changed", "gone", "code", "upstream", "variable"])
def test_each_drift_is_named_and_refused_without_yes(
    project: Shell, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.folder
    job, change, named = _fault(fault, folder, monkeypatch, project)
    change()
    done = again(project, job)
    assert (done.code, "nothing is run" in done.err) == (1, True), done
    assert named in done.err
    found = again(project, job, "--json")
    assert found.code == 1
    assert len(found.json["drift"]) >= 1
    assert again(project, job, "--yes").code in (0, 2), "it runs"


def _fault(
    fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch, project: Shell
) -> tuple[str, Callable[[], object], str]:
    if fault == "changed":
        return "prepare", lambda: (folder / "data" / "raw.csv").write_text("other\n"), "input raw changed"
    if fault == "gone":
        return "prepare", lambda: (folder / "data" / "raw.csv").unlink(), "input raw is missing"
    if fault == "code":
        text = FILES["fits.py"].replace("alpha + seed", "alpha - seed")
        return "train[seed=0]", lambda: (folder / "fits.py").write_text(text), "fits:fit changed"
    if fault == "upstream":
        return "own", lambda: (folder / "build" / "data.txt").write_text("other\n"), "input data changed"
    monkeypatch.setenv("REGION", "north")
    project.write("name: outer\njobs:\n  one: {run: 'echo ${env.REGION}'}\n", "outer.yaml")
    assert project("run", "outer.yaml").code == 0
    return "one", lambda: monkeypatch.setenv("REGION", "south"), "variable REGION changed"


def test_the_end_beside_the_recorded_one_has_the_first_difference(project: Shell) -> None:
    (project.folder / "data" / "raw.csv").write_text("a,b\n1,3\n")
    done = again(project, "prepare", "--yes")
    assert "output data differs: line 2, byte 6: 1,2 -> 1,3" in done.out


def test_an_input_that_was_overwritten_is_taken_from_a_kept_copy(project: Shell) -> None:
    own = attempt_of(project, "own")
    (project.folder / "data" / "raw.csv").write_text("new\n")
    assert project("rerun", "prepare", "--keep-outputs", "--downstream", "none", "--yes", "--work").code == 0
    found = project("reproduce", str(own), "--json").json
    assert (found["drift"], found["same"]) == ([], True), found
    assert {one["name"] for one in found["restored"]} == {"data", "prepare"}


CACHED = """\
name: cached
params: {a: 1}
defaults: {cache: true}
jobs:
  make:
    run: |
      mkdir -p tree
      echo ${params.a} > data.txt
      echo ${params.a} > tree/one
      echo "echo ${params.a}" > tree/run
      chmod +x tree/run
    outputs: {data: data.txt, tree: tree}
  use:
    run: cat data.txt tree/one > used.txt; tree/run >> used.txt
    inputs: {one: tree/one, data: data.txt, tree: tree}
    outputs: {out: used.txt}
"""


@pytest.fixture
def cached(project: Shell) -> Shell:
    """A project in which the first attempt of `use` has read outputs that were overwritten since, and that are in the
    cache."""
    project.write(CACHED, "cached.yaml")
    assert project("run", "cached.yaml").code == 0
    assert project("run", "cached.yaml", "--param", "a=2", "--yes").code == 0
    return project


def first_of_use(shell: Shell) -> str:
    found = shell("attempts", "list", "use", "--json").json["attempts"]
    return next(str(one["id"]) for one in found if one["number"] == 1)


def test_inputs_that_were_overwritten_are_restored_from_the_cache(cached: Shell) -> None:
    before, stored = tree(cached.folder), rows(cached.folder)
    done = cached("reproduce", first_of_use(cached))
    assert done.code == 0, done.err
    for name in ("data", "tree", "one"):
        said = f"input {name}: today's file differs; the content of then is restored from the cache"
        assert said in " ".join(done.err.split())
    found = cached("reproduce", first_of_use(cached), "--into", "aside", "--json").json
    assert (found["drift"], found["same"]) == ([], True), found
    assert {one["name"] for one in found["restored"] if one["cached"]} == {"data", "tree", "one"}
    assert (cached.folder / "aside" / "project" / "used.txt").read_text() == "1\n1\n1\n"
    shutil.rmtree(cached.folder / "aside")
    assert tree(cached.folder) == before
    assert rows(cached.folder) == stored


def test_an_altered_content_of_the_cache_is_not_restored(cached: Shell) -> None:
    for path in (cached.folder / ".rekindle" / "cache" / "contents").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    done = cached("reproduce", first_of_use(cached), "--json")
    assert done.code == 1, "nothing is run without --yes"
    assert {one["name"] for one in done.json["drift"]} == {"data", "tree", "one"}
    assert not any(one["cached"] for one in done.json["restored"])


def test_a_failure_fails_again_and_exits_with_2(project: Shell) -> None:
    done = again(project, "bad")
    assert done.code == 2
    assert "recorded  failed (exception)\nnow       failed (exception)\nthe end is the same" in done.out
    assert "error: alpha 9" in done.out


def test_one_item_of_a_fan_out_runs_behind_the_steps_before(project: Shell) -> None:
    done = again(project, "slices", "--subtask", "1", "--into", "aside", "--json")
    assert (done.code, done.json["subtask"], done.json["result"], done.json["same"]) == (0, 1, 1, True)
    assert not (project.folder / "aside" / "project" / "total.txt").exists(), "no later step ran"
    logs = {path.name: path.read_text() for path in (project.folder / "aside").rglob("*.1.out")}
    assert logs == {"1.1.out": "b"}, "the other item did not run"


def test_an_absolute_path_of_the_project_leads_to_the_copy(project: Shell) -> None:
    out = project.folder / "abs.txt"
    project.write(f"name: abs\njobs:\n  one: {{run: 'echo x >> {out}', outputs: {{out: '{out}'}}}}\n", "abs.yaml")
    assert project("run", "abs.yaml").code == 0
    assert again(project, "one", "--into", "aside").code == 0
    assert out.read_text() == "x\n"
    assert (project.folder / "aside" / "project" / "abs.txt").read_text() == "x\n"


def test_a_link_into_the_project_becomes_what_it_leads_to(project: Shell) -> None:
    (project.folder / "kept.txt").write_text("kept\n")
    (project.folder / "link.txt").symlink_to(project.folder / "kept.txt")
    project.write("name: link\njobs:\n  one: {run: 'echo x >> link.txt', inputs: {l: link.txt}}\n", "link.yaml")
    assert project("run", "link.yaml").code == 1, "it has changed its own input"
    (project.folder / "kept.txt").write_text("kept\n")
    assert again(project, "one", "--yes").code == 0
    assert (project.folder / "kept.txt").read_text() == "kept\n"


def test_inputs_beside_the_project_keep_their_relative_paths(project: Shell, tmp_path_factory: Any) -> None:
    inner = project.folder / "inner"
    inner.mkdir()
    (project.folder / "shared.txt").write_text("shared\n")
    (inner / "beside.yaml").write_text(
        "name: beside\njobs:\n  one:\n    run: cat ${inputs.s} > ${outputs.o}\n"
        "    inputs: {s: ../shared.txt}\n    outputs: {o: o.txt}\n"
    )
    assert project("run", "inner/beside.yaml").code == 0
    assert again(project, "one", "--into", "aside").code == 0
    assert (project.folder / "aside" / "project" / "inner" / "o.txt").read_text() == "shared\n"


def test_print_is_a_script_that_does_what_the_step_did(project: Shell) -> None:
    done = again(project, "prepare", "--print", "--into", "aside")
    assert done.code == 0
    made = project.folder / "aside" / "project" / "build" / "data.txt"
    assert not made.exists(), "nothing is run"
    assert "python prepare.py data/raw.csv build/data.txt" in done.out
    assert "export LEVEL=3" in done.out
    assert "export PATH=" not in done.out
    subprocess.run(["sh", "-c", done.out], check=True, timeout=60)
    assert made.read_text() == FILES["data/raw.csv"] * 2


def test_print_has_the_recorded_results_of_earlier_steps_and_calls(project: Shell) -> None:
    steps = again(project, "slices", "--print", "--json").json["steps"]
    assert [one["step"] for one in steps] == ["cut", "sum"]
    item = again(project, "slices", "--print", "--subtask", "1", "--json").json["steps"]
    assert [(one["step"], one["variables"]["REKINDLE_ITEM"]) for one in item] == [("each", "s2.txt")]
    script = again(project, "bad", "--print").out
    ended = subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "ValueError: alpha 9" in ended.stderr) == (2, True)


def test_a_shell_opens_where_the_step_runs_with_its_variables(project: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    script = project.folder / "shell"
    script.write_text(f'#!/bin/sh\npwd > "{project.folder}/seen"\nenv >> "{project.folder}/seen"\nls >> "$0.ls"\n')
    script.chmod(0o755)
    monkeypatch.setenv("SHELL", str(script))
    done = again(project, "slices", "--shell", "--step", "sum", "--into", "aside")
    assert done.code == 0, done.err
    seen = (project.folder / "seen").read_text().splitlines()
    assert seen[0] == str(project.folder / "aside" / "project")
    assert {"REKINDLE_STEP=sum", "REKINDLE_JOB_NAME=slices", "LEVEL=3"} <= set(seen)
    assert "step sum: " in done.err
    assert {"s1.txt", "s2.txt"} <= set((project.folder / "shell.ls").read_text().split()), "earlier steps ran"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("reproduce", "999"), 1, "there is no attempt 999"),
        (("reproduce", "none"), 64, "none"),
        (("reproduce", "{prepare}", "--step", "run"), 64, "--step needs --shell, --pdb or --print"),
        (("reproduce", "{prepare}", "--print", "--step", "rnu"), 1, "has no step 'rnu'"),
        (("reproduce", "{prepare}", "--subtask", "0"), 1, "has no fan-out"),
        (("reproduce", "{slices}", "--subtask", "9"), 1, "has no subtask 9"),
        (("reproduce", "{slices}", "--shell", "--step", "each"), 64, "step each is a fan-out"),
        (("reproduce", "{slices}", "--pdb"), 64, "--pdb needs a Python function"),
        (("reproduce", "{prepare}", "--shell", "--json"), 64, "exclude each other"),
        (("reproduce", "{prepare}", "--shell", "--print"), 64, "--shell and --print exclude each other"),
        (("reproduce", "{prepare}", "--into", "spec.yaml"), 1, "spec.yaml cannot be used"),
    ],
)
def test_what_is_wrong_is_named(project: Shell, words: tuple[str, ...], code: int, text: str) -> None:
    ids = {name: str(attempt_of(project, name)) for name in ("prepare", "slices")}
    done = project(*(word.format(**ids) if word.startswith("{") else word for word in words))
    assert (done.code, text in done.err) == (code, True), done.err


def test_a_running_attempt_is_refused(project: Shell) -> None:
    project.write(
        "name: long\njobs:\n  wait: {run: 'touch began; while test ! -e go; do sleep 0.05; done'}\n", "l.yaml"
    )
    with subprocess.Popen([sys.executable, "-m", "rekindle", "run", "l.yaml"], stderr=subprocess.DEVNULL) as run:
        _wait_for(lambda: (project.folder / "began").exists())
        _wait_for(lambda: project("attempts", "list", "wait", "--json").json["attempts"][0]["state"] == "running")
        done = again(project, "wait")
        (project.folder / "go").touch()
        assert run.wait(60) == 0
    assert (done.code, "is running" in done.err) == (1, True)


def test_a_job_that_must_not_run_twice_is_only_printed(project: Shell) -> None:
    project.write(
        "name: pay\njobs:\n  pay: {run: 'echo paid', manual: {rerun: forbidden, reason: it costs}}\n", "p.yaml"
    )
    assert project("run", "p.yaml").code == 0
    done = again(project, "pay")
    assert (done.code, "must not run twice: it costs" in done.err) == (1, True)
    assert "echo paid" in again(project, "pay", "--print").out


def test_killed_in_the_middle_it_leaves_the_store_as_it_was(project: Shell) -> None:
    (project.folder / "go").touch()
    project.write(
        "name: slow\njobs:\n  slow:\n    run: echo began > ${outputs.o}; while test ! -e go; do sleep 0.05; done\n"
        "    outputs: {o: o.txt}\n",
        "slow.yaml",
    )
    assert project("run", "slow.yaml").code == 0
    (project.folder / "go").unlink()
    before, stored = tree(project.folder), rows(project.folder)
    words = ["reproduce", str(attempt_of(project, "slow")), "--into", "aside", "--yes"]
    with subprocess.Popen([sys.executable, "-m", "rekindle", *words], stderr=subprocess.DEVNULL) as killed:
        _wait_for(lambda: (project.folder / "aside" / "project" / "o.txt").exists())
        killed.send_signal(signal.SIGKILL)
    (project.folder / "aside" / "project" / "go").touch()
    assert rows(project.folder) == stored
    assert tree(project.folder, without="aside") == before
    assert project("status").code == 0


def test_an_interrupt_ends_the_attempt(project: Shell) -> None:
    project.write(
        "name: slow\njobs:\n  slow: {run: 'echo $$ > pid; while test ! -e go; do sleep 0.05; done'}\n", "slow.yaml"
    )
    (project.folder / "go").touch()
    assert project("run", "slow.yaml").code == 0
    (project.folder / "go").unlink()
    (project.folder / "pid").unlink()
    words = ["reproduce", str(attempt_of(project, "slow")), "--into", "aside", "--yes"]
    pid = project.folder / "aside" / "project" / "pid"
    with subprocess.Popen([sys.executable, "-m", "rekindle", *words], stderr=subprocess.DEVNULL) as run:
        _wait_for(lambda: pid.exists() and pid.read_text().strip() != "")
        run.send_signal(signal.SIGINT)
        assert run.wait(60) != 0
    _wait_for(lambda: not Path("/proc", pid.read_text().strip()).exists())


def _wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_the_python_api_reproduces_and_refuses_drift(project: Shell) -> None:
    attempt = attempt_of(project, "train[seed=0]")
    with Client() as client:
        found = client.reproduce(attempt, into=project.folder / "aside")
        assert (found.same, found.state, found.result["score"]) == (True, "completed", 2)
        (project.folder / "data" / "raw.csv").write_text("other\n")
        with pytest.raises(Refused, match="input raw changed"):
            client.reproduce(attempt_of(project, "prepare"))
        assert not client.reproduce(attempt_of(project, "prepare"), accept_drift=True).same
        assert client.reproduce(attempt_of(project, "slices"), subtask=0).subtask == 0


def test_json_is_one_document(project: Shell) -> None:
    done = again(project, "noise", "--json")
    found = json.loads(done.out)
    assert (done.err, found["same"]) == ("", False)
    assert found["outputs"][0]["first"]["line"] == 1
    assert Path(found["folder"]).is_dir()
