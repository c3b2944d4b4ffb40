"""Partial outputs of attempts that are killed with their runner, or while the outputs are set aside."""

from __future__ import annotations

from pathlib import Path

from test_killed import kill_tree

from project_folder import Project, until

RUN = 'run: "echo half > ${outputs.o}; echo b >> begun; test -e ok || exec sleep 100"'
SPEC = f"""
name: lost
defaults: {{partial: aside}}
jobs:
  aside: {{{RUN}, outputs: {{o: aside.out}}}}
  kept: {{{RUN}, outputs: {{o: kept.out, old: old.out}}, partial: keep}}
  moved: {{{RUN}, outputs: {{o: moved.out}}}}
  hidden: {{{RUN}, outputs: {{o: hidden.out}}}}
"""


def place(project: Project, attempt: int, name: str) -> Path:
    return project.folder / f".rekindle/attempts/0000/00/{attempt}.partial/0/{name}"


def test_outputs_of_lost_attempts_are_named_and_set_aside(project: Project) -> None:
    project.spec(SPEC)
    project.write("old.out", "there before")
    runner = project.start("run", "spec.yaml", "-j", "4")
    until(lambda: len(project.ran("begun")) == 4, "all jobs have begun")
    until(lambda: all(one["state"] == "running" for one in project.attempts()), "this is recorded")
    kill_tree(runner)
    by_name = {name: job["attempt"] for name, job in project.jobs().items()}
    numbers = {number: name for name, number in by_name.items()}
    # As if the worker had been killed after the move, and during a move to another file system.
    place(project, by_name["moved"], "moved.out").parent.mkdir(parents=True)
    (project.folder / "moved.out").rename(place(project, by_name["moved"], "moved.out"))
    (project.folder / "hidden.out").rename(project.folder / f".rekindle-{by_name['hidden']}.partial-0")
    project.write("ok", "")
    project.rekindle("work", "-j", "4")
    found = {numbers[one["id"]]: one for one in project.attempts() if one["id"] in numbers}
    assert {one["cause"] for one in found.values()} == {"lost"}
    for name in ("aside", "moved", "hidden"):
        [output] = found[name]["partial_outputs"]
        assert output["bytes"] == 5
        assert output["aside"] == str(place(project, by_name[name], f"{name}.out"))
        assert Path(output["aside"]).read_text() == "half\n"
    [output] = found["kept"]["partial_outputs"]
    assert (output["path"], output["aside"]) == (str(project.folder / "kept.out"), None)
    assert not list(project.folder.glob(".rekindle-*"))
    assert set(project.states().values()) == {"completed"}


def test_outputs_of_canceled_attempts_are_set_aside(project: Project) -> None:
    project.spec(f"name: c\njobs: {{a: {{{RUN}, outputs: {{o: a.out}}, partial: aside}}}}\n")
    runner = project.start("run", "spec.yaml")
    until(lambda: project.ran("begun"), "the job has begun")
    until(lambda: project.states()["a"] == "running", "this is recorded")
    project.rekindle("cancel", "a")
    assert runner.wait(60) == 5
    [attempt] = project.attempts()
    [output] = attempt["partial_outputs"]
    assert Path(output["aside"]).read_text() == "half\n"
    assert not (project.folder / "a.out").exists()
