"""Steps and subtasks that an attempt keeps are compared with the attempts in which they ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from assessments import check_assessments
from engine_project import Project

from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.rerun import accept
from rekindle.engine.staleness import stale_jobs

STEPS = """
    name: s
    params: {v: 1}
    env: {E: e, O: "${env.Q}"}
    jobs:
      up: {run: "echo 0 > ${outputs.u}", outputs: {u: u}}
      b:
        needs: [up]
        outputs: {y: y}
        steps:
          - {name: one, run: "(echo $E $O ${params.v}; sh t.sh; cat cfg.txt u) > y1"}
          - {name: called, call: "m:f"}
          - {name: two, run: "cat y1 y2 ok > y"}
"""

FAN_OUT = """
    name: s
    params: {v: 1}
    env: {E: e, O: "${env.Q}"}
    jobs:
      up: {run: "echo 0 > ${outputs.u}", outputs: {u: u}}
      b:
        needs: [up]
        steps:
          - name: one
            each: [k, l]
            run: "(echo $E $O ${params.v}; sh t.sh; cat cfg.txt u) > y.${item}; test ${item} = k || cat ok"
"""

CALLED = """
    name: s
    jobs:
      b: {steps: [{name: one, each: [k, l], call: "m:g", args: {item: "${item}"}}]}
"""

MODULE = """
import pathlib
def f(): pathlib.Path("y2").write_text("1")
def g(item):
    pathlib.Path("y." + item).write_text("1")
    if item == "l": pathlib.Path("ok").read_text()
"""

Edit = Callable[[Path, str], str]  # changes files; changes the text of a spec, and returns it


def in_spec(before: str, after: str) -> Edit:
    return lambda _, spec: spec.replace(before, after)


def in_file(name: str, before: str, after: str) -> Edit:
    def change(folder: Path, spec: str) -> str:
        (folder / name).write_text((folder / name).read_text().replace(before, after))
        return spec

    return change


EDITS: dict[str, tuple[Edit, ReasonKind]] = {
    "parameter": (in_spec("v: 1", "v: 5"), ReasonKind.PARAMETER),
    "command": (in_spec("(echo", "(echo more"), ReasonKind.DEFINITION),
    "env": (in_spec("E: e", "E: f"), ReasonKind.DEFINITION),
    "script": (in_file("t.sh", "1", "2"), ReasonKind.INPUT),
    "named": (in_file("cfg.txt", "1", "2"), ReasonKind.INPUT),
    "upstream": (in_spec("echo 0", "echo 7"), ReasonKind.RESULT),
}


@pytest.fixture
def folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    (project.folder / "t.sh").write_text("echo 1\n")
    (project.folder / "cfg.txt").write_text("1\n")
    (project.folder / "m.py").write_text(MODULE)
    monkeypatch.setenv("Q", "1")
    return project.folder


def found(project: Project, name: str = "b") -> list:
    """Return why a job is stale, and check that a workflow's assessment says the same."""
    check_assessments(project.session)
    [one] = stale_jobs.explain(project.session, [project.job(name)])
    assert one.word in ("stale", "current")
    return list(one.reasons)


def fails(project: Project, spec: str) -> None:
    project.run(spec)
    assert project.states()["b"] is State.FAILED
    (project.folder / "ok").write_text("ok\n")


RESUME = How(start="failed-step")


def resume(project: Project, spec: str, how: How = RESUME) -> None:
    project.submit(spec)
    if "echo 7" in spec:
        project.rerun("up", how=How(downstream="none"))
        project.work()
    project.rerun("b", how=how)
    project.work()
    assert project.states()["b"] is State.COMPLETED


@pytest.mark.parametrize("changed", EDITS)
@pytest.mark.parametrize("spec", [STEPS, FAN_OUT], ids=["steps", "subtasks"])
def test_what_kept_steps_depended_on_makes_the_job_stale(project, folder, spec, changed):
    fails(project, spec)
    edit, kind = EDITS[changed]
    first = project.attempts("b")[0].id
    resume(project, edit(folder, spec))
    assert {(one.kind, one.detail["kept_from"]) for one in found(project)} == {(kind, first)}
    project.rerun("up", "b")
    project.work()
    assert found(project) == []


@pytest.mark.parametrize("spec", [STEPS, FAN_OUT], ids=["steps", "subtasks"])
def test_a_variable_from_outside_makes_kept_steps_stale(project, folder, spec, monkeypatch):
    fails(project, spec)
    monkeypatch.setenv("Q", "2")
    resume(project, spec)
    assert [(one.kind, one.detail["name"]) for one in found(project)] == [(ReasonKind.ENVIRONMENT, "Q")]


@pytest.mark.parametrize(("spec", "function"), [(STEPS, "f"), (CALLED, "g")], ids=["steps", "subtasks"])
def test_code_that_kept_steps_have_called_makes_them_stale(project, folder, spec, function):
    fails(project, spec)
    in_file("m.py", '"1"', '"2"')(folder, spec)
    resume(project, spec)
    assert [(one.kind, one.detail["name"]) for one in found(project)] == [(ReasonKind.CODE, function)]


@pytest.mark.parametrize("spec", [STEPS, FAN_OUT], ids=["steps", "subtasks"])
def test_a_parameter_set_by_a_rerun_makes_kept_steps_stale(project, folder, spec):
    fails(project, spec)
    resume(project, spec, How(start="failed-step", overrides=Overrides(params={"v": 5})))
    assert [one.kind for one in found(project)] == [ReasonKind.PARAMETER]
    project.submit(spec.replace("v: 1", "v: 5"))
    assert [one.kind for one in found(project)] == [ReasonKind.PARAMETER]


def test_a_completed_job_that_starts_in_the_middle_keeps_older_steps(project, folder):
    (folder / "ok").write_text("ok\n")
    project.run(STEPS)
    assert found(project) == []
    resume(project, STEPS.replace("v: 1", "v: 5"), How(start="two"))
    assert [one.kind for one in found(project)] == [ReasonKind.PARAMETER]
    resume(project, STEPS.replace("v: 1", "v: 5"), How(start="two"))  # which builds on an attempt that builds on one
    assert [one.kind for one in found(project)] == [ReasonKind.PARAMETER]


def test_a_mended_step_that_ran_again_makes_nothing_stale(project, folder):
    spec = STEPS.replace("cat y1 y2 ok", "cat y1 y2 missing; sh u.sh; call ${params.w}").replace("v: 1", "v: 1, w: 1")
    spec = spec.replace('call: "m:f"', 'run: "echo 1 > y2"')
    (folder / "u.sh").write_text("exit 1\n")
    project.run(spec)
    assert project.states()["b"] is State.FAILED
    (folder / "u.sh").write_text("exit 0\n")
    resume(project, spec.replace("missing", "u").replace("call ${", "echo ${").replace("w: 1", "w: 2"))
    assert found(project) == []


def test_the_mended_function_of_a_step_that_ran_again_makes_nothing_stale(project, folder):
    spec = STEPS.replace('run: "cat y1 y2 ok > y"', 'call: "m:h"')
    in_file("m.py", "import pathlib", "import pathlib\ndef h(): raise ValueError")(folder, spec)
    project.run(spec)
    assert project.states()["b"] is State.FAILED
    in_file("m.py", "raise ValueError", "pathlib.Path('y').write_text('1')")(folder, spec)
    resume(project, spec)
    assert found(project) == []


def test_items_added_to_a_fan_out_leave_its_kept_subtasks_current(project, folder):
    fails(project, FAN_OUT)
    resume(project, FAN_OUT.replace("[k, l]", "[k, l, m]"))
    assert found(project) == []


def test_kept_steps_that_equal_the_present_again_are_current(project, folder):
    fails(project, STEPS)
    resume(project, STEPS.replace("v: 1", "v: 5"))
    project.submit(STEPS)
    assert found(project) == []


def test_a_file_of_kept_steps_and_of_those_that_ran_again_counts_for_both(project, folder):
    spec = STEPS.replace("cat y1 y2 ok", "cat y1 y2 ok cfg.txt")
    fails(project, spec)
    in_file("cfg.txt", "1", "2")(folder, spec)
    resume(project, spec)
    assert [one.kind for one in found(project)] == [ReasonKind.INPUT]
    in_file("cfg.txt", "2", "1")(folder, spec)
    assert [one.kind for one in found(project)] == [ReasonKind.INPUT]


def test_an_accepted_job_is_current_though_it_keeps_older_steps(project, folder):
    fails(project, STEPS)
    resume(project, STEPS.replace("v: 1", "v: 5"))
    accept.accept(project.session, [project.job("b")], {})
    assert found(project) == []
