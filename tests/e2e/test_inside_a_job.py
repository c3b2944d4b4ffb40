"""A job that runs its own workflow would wait for itself: the command is refused with an explanation."""

from __future__ import annotations

import subprocess
import sys

import pytest

from project_folder import Project

SCRIPT = """
import rekindle

def double(seed):
    return seed * 2

w = rekindle.Workflow("y")
w.job("a", call=double, matrix={"seed": [1, 2]}, args={"seed": "${matrix.seed}"})
"""

ENDINGS = {
    "run": "print(w.run(jobs=2).exit_code)\n",
    "submit": "w.submit()\n",
    "another store": "print(w.run('elsewhere', jobs=2).exit_code)\n",
    "client": "with rekindle.Client() as c:\n    c.submit(w.definition())\n    print(c.work().exit_code)\n",
}


def python(project: Project, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script],
        cwd=project.folder,
        env=project.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_script_without_a_guard_fails_its_jobs_with_an_explanation(project: Project, kind: str) -> None:
    project.write("sweep.py", SCRIPT + ENDINGS[kind])
    done = python(project, "sweep.py")
    assert done.returncode == 0, done.stderr
    if kind in ("run", "another store"):
        assert "jobs did not start: " in done.stderr
        assert "sweep.py runs a workflow while a worker imports it" in done.stderr
    if kind == "submit":
        project.rekindle("work", "-j", "2", expect=2)
    store = ("--store", "elsewhere") if kind == "another store" else ()
    attempts = project.ask(*store, "attempts", "list")["attempts"]
    assert [(one["state"], one["cause"]) for one in attempts] == [("failed", "start")] * 2
    for one in attempts:
        message = one["error"]["message"]
        assert "sweep.py" in message
        assert 'if __name__ == "__main__":' in message
    stores = list(project.folder.rglob("store.db"))
    assert len(stores) == 1
    assert [one["alive"] for one in project.ask(*store, "status")["workflows"][0]["runners"]] == []


def test_a_script_with_a_guard_runs_and_its_function_may_submit(project: Project) -> None:
    more = """
import rekindle

def more():
    w = rekindle.Workflow("added")
    w.job("b", run="echo b >> ran.txt")
    with rekindle.Client() as client:
        return client.submit(w.definition()).workflow

if __name__ == "__main__":
    w = rekindle.Workflow("y")
    w.job("a", call=more)
    print(w.run(jobs=1).exit_code)
"""
    project.write("more.py", more)
    assert python(project, "more.py").stdout == "0\n"
    project.rekindle("work", "-w", "added")
    assert project.ran() == ["b"]


REFUSED = (
    "rekindle run spec.yaml",
    "rekindle work",
    "rekindle work -w self -n j0",
    "rekindle supervise self",
    "rekindle supervise self --no-work",
    "rekindle restart self --yes --work",
    "rekindle torc jobs run 1",
    "rekindle rlaunch rapidfire",
    "python3 -c 'import rekindle; rekindle.Client().work()'",
)


def test_a_command_that_would_wait_for_its_own_job_is_refused(project: Project) -> None:
    jobs = "".join(f'  j{at}: {{run: "{command}"}}\n' for at, command in enumerate(REFUSED))
    project.spec("name: self\njobs:\n" + jobs)
    project.rekindle("run", "spec.yaml", "-j", "2", expect=2)
    for one in project.attempts():
        assert (one["state"], one["cause"], one["exit_code"]) == ("failed", "exit", 1)
        assert "of the workflow self: it would wait for its own end" in one["error"]["stderr"]
    assert project.ask("reruns", "list")["reruns"] == []


def test_a_job_may_work_on_another_workflow_and_in_another_store(project: Project) -> None:
    project.write("other.yaml", "name: other\njobs: {x: {run: echo ran >> ran.txt}}\n")
    project.spec(
        "name: self\n"
        "jobs:\n"
        "  a: {run: rekindle run other.yaml}\n"
        "  b: {needs: [a], run: rekindle submit other.yaml --as added}\n"
        "  c: {needs: [b], run: rekindle work -w added}\n"
        "  d: {needs: [c], run: rekindle --store nested run other.yaml}\n"
    )
    project.rekindle("run", "spec.yaml", "-j", "1")
    assert project.ran() == ["ran"] * 3


CLEANED = {
    "environment": "env -i PATH=$PATH rekindle run spec.yaml",
    "environment, work": "env -i PATH=$PATH rekindle work",
    "session": "env -i PATH=$PATH setsid -w rekindle supervise self",
    "double fork": "(env -i PATH=$PATH nohup setsid rekindle run spec.yaml > out.txt 2>&1; echo $? > code.txt) & "
    "while ! test -e code.txt; do sleep 0.02; done; cat out.txt >&2; exit $(cat code.txt)",
}


@pytest.mark.parametrize("command", CLEANED.values(), ids=CLEANED)
def test_a_command_is_refused_inside_its_job_without_the_environment_of_the_job(project: Project, command: str) -> None:
    project.spec(f"name: self\njobs:\n  g:\n    run: |\n      {command}\n")
    project.rekindle("run", "spec.yaml", "-j", "1", expect=2)
    [attempt] = project.attempts()
    assert attempt["exit_code"] == 1
    assert "of the workflow self: it would wait for its own end" in attempt["error"]["stderr"]


def test_a_job_without_its_environment_may_run_another_workflow(project: Project) -> None:
    project.write("other.yaml", "name: other\njobs: {x: {run: echo ran >> ran.txt}}\n")
    project.spec("name: self\njobs: {g: {run: 'env -i PATH=$PATH rekindle run other.yaml'}}\n")
    project.rekindle("run", "spec.yaml", "-j", "1")
    assert project.ran() == ["ran"]
