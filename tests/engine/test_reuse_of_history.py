"""Reuse over all history: jobs are completed by attempts of any workflow with the same definition, values and inputs.
Commands are real."""

from __future__ import annotations

import textwrap

import pytest

from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.submit.submit import delete_workflow
from rekindle.spec import load

SWEEP = """
    name: NAME
    params: {a: 1}
    jobs:
      prepare: {run: "echo prepare >> ran; cp raw ready", inputs: {raw: raw}, outputs: {out: ready}}
      train:
        run: "echo train${params.a} >> ran; (cat ready; echo ${params.a}) > model${params.a}"
        inputs: {in: ready}
        outputs: {out: "model${params.a}"}
"""


def update(project, text, a=1, *, file="spec.yaml", **options):
    """Do what `run` does. Return the report of the run and the jobs that ran."""
    path = project.folder / file
    path.write_text(textwrap.dedent(text))
    found = plan_update(project.session, load(path, params={"a": str(a)}))
    done, _ = apply_update(project.session, found)
    report = work(project.session, WorkOptions(slots=2, workflow=str(done.workflow), **options))
    project.check()
    return report, ran(project)


def ran(project):
    path = project.folder / "ran"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(found)


def everything(project):
    return selections.select(project.session, Selection(everything=True))


def live(project, name, workflow):
    jobs = [row.job for row in job_queries.jobs(project.session, everything(project)) if row.job.name == name]
    return job_queries.attempt(project.session, next(job.attempt for job in jobs if job.workflow == workflow))


@pytest.fixture
def sweep(project):
    (project.folder / "raw").write_text("raw\n")
    _, names = update(project, SWEEP.replace("NAME", "sweep"))
    assert names == ["prepare", "train1"]
    return project


def test_a_parameter_set_back_runs_nothing(sweep):
    text = SWEEP.replace("NAME", "sweep")
    assert update(sweep, text, 2)[1] == ["train2"]
    report, names = update(sweep, text, 1)
    assert (names, report.exit_code, report.reinstated) == ([], 0, 1)
    now = live(sweep, "train", 1)
    assert (now.state, now.number, now.started) == (State.COMPLETED, 3, None)
    assert job_queries.attempt(sweep.session, now.reused_from).number == 1
    report, names = update(sweep, text, 1)
    assert (names, report.exit_code) == ([], 0)


def test_another_workflow_with_the_same_preparation_reuses_it(sweep):
    report, names = update(sweep, SWEEP.replace("NAME", "other"), 5, file="other.yaml")
    assert names == ["train5"]
    assert report.reinstated == 1
    assert live(sweep, "prepare", 2).reused_from == live(sweep, "prepare", 1).id


def test_what_was_reused_stays_when_its_workflow_is_deleted(sweep):
    other = SWEEP.replace("NAME", "other")
    assert update(sweep, other, 5, file="other.yaml")[1] == ["train5"]
    prepared = live(sweep, "prepare", 2)
    assert prepared.reused_from > 0
    delete_workflow(sweep.session, 1)
    again = job_queries.attempt(sweep.session, prepared.id)
    assert (again.state, again.reused_from, again.reused_workflow) == (State.COMPLETED, 0, None)
    report, names = update(sweep, other, 5, file="other.yaml")
    assert (names, report.exit_code) == ([], 0)
    report, names = update(sweep, other, 6, file="other.yaml")
    assert (names, report.exit_code) == (["train6"], 0)


def test_no_reuse_runs_anyway(sweep):
    _, names = update(sweep, SWEEP.replace("NAME", "other"), 1, file="other.yaml", reuse=False)
    assert names == ["prepare", "train1"]


def test_an_output_altered_by_hand_is_never_reused(sweep):
    (sweep.folder / "ready").write_text("poison\n")
    _, names = update(sweep, SWEEP.replace("NAME", "other"), 1, file="other.yaml")
    assert names == ["prepare"]  # train then has the inputs that it had
    assert (sweep.folder / "ready").read_text() == "raw\n"
    (sweep.folder / "model1").write_text("poison\n")
    _, names = update(sweep, SWEEP.replace("NAME", "third"), 1, file="third.yaml")
    assert names == ["train1"]
    assert (sweep.folder / "model1").read_text() == "raw\n1\n"


def test_a_renamed_job_is_not_run(sweep):
    text = SWEEP.replace("NAME", "sweep").replace("train:", "fit:")
    assert update(sweep, text)[1] == []


@pytest.mark.parametrize("key", ["pure: false", "aggregate: true", "manual: {rerun: forbidden, reason: costly}"])
def test_jobs_that_must_run_are_not_reused(sweep, key):
    text = SWEEP.replace("NAME", "first").replace("outputs: {out: ready}", "outputs: {out: ready}, " + key)
    update(sweep, text, file="first.yaml")
    assert update(sweep, text.replace("first", "second"), file="second.yaml")[1] == ["prepare"]


def test_a_job_without_outputs_runs_in_each_workflow_and_is_reused_in_its_own(project):
    text = """
        name: NAME
        params: {a: 1}
        jobs: {test: {run: "echo t${params.a} >> ran", inputs: {raw: raw}}}
    """
    (project.folder / "raw").write_text("raw\n")
    assert update(project, text)[1] == ["t1"]
    assert update(project, text, 2)[1] == ["t2"]
    assert update(project, text, 1)[1] == []
    assert update(project, text.replace("NAME", "other"), file="other.yaml")[1] == ["t1"]
    pure = text.replace("inputs:", "pure: true, inputs:").replace("NAME", "pure")
    assert update(project, pure, file="pure.yaml")[1] == ["t1"]
    assert update(project, pure.replace("pure\n", "fast\n"), file="fast.yaml")[1] == []


def test_a_selected_job_runs_and_undo_and_prune_hold(sweep):
    text = SWEEP.replace("NAME", "sweep")
    update(sweep, text, 2)
    update(sweep, text, 1)
    before = live(sweep, "train", 1)
    sweep.rerun("train")
    sweep.work()
    assert ran(sweep) == ["train1"]
    sweep.rerun("train", how=How(downstream="none"))
    rerun.undo(sweep.session)
    sweep.check()
    assert live(sweep, "train", 1).number == before.number + 1
    assert len(sweep.attempts("train")) == 4  # none is lost


CACHED = """
    name: NAME
    params: {a: 1}
    jobs:
      train: {run: "echo train${params.a} >> ran; echo ${params.a} > model", outputs: {out: model}, cache: true}
"""


def contents(project):
    """Return the files of the content store that have a content of the model."""
    folder = project.folder / ".rekindle"
    return [path for path in folder.rglob("*") if path.is_file() and path.read_bytes() in (b"1\n", b"2\n")]


def test_an_overwritten_output_is_restored(project):
    text = CACHED.replace("NAME", "sweep")
    assert [update(project, text, a)[1] for a in (1, 2, 1, 2, 1)] == [["train1"], ["train2"], [], [], []]
    assert (project.folder / "model").read_text() == "1\n"
    (project.folder / "model").unlink()
    assert update(project, text, 1)[1] == []
    assert (project.folder / "model").read_text() == "1\n"


def test_a_poisoned_content_is_found_and_never_restored(project):
    text = CACHED.replace("NAME", "sweep")
    update(project, text, 1)
    update(project, text, 2)
    for path in contents(project):
        if path.read_bytes() == b"1\n":
            path.chmod(0o600)
            path.write_bytes(b"9\n")
    assert update(project, text, 1)[1] == ["train1"]
    assert (project.folder / "model").read_text() == "1\n"
    kinds = [one.kind for one in workflow_queries.events(project.session)]
    assert "cache_poisoned" in kinds


def test_the_output_of_another_job_is_not_overwritten_by_a_restore(project):
    update(project, CACHED.replace("NAME", "left"), 1)
    update(project, CACHED.replace("NAME", "right"), 2, file="right.yaml")
    assert update(project, CACHED.replace("NAME", "third"), 1, file="third.yaml")[1] == ["train1"]
    assert update(project, CACHED.replace("NAME", "fourth"), 1, file="fourth.yaml")[1] == []


@pytest.mark.parametrize("name", ["JOB", "JOB_NAME", "WORKFLOW"])
def test_a_command_with_a_variable_of_its_job_runs_in_each_job(project, name):
    text = f"""
        name: this-flow
        params: {{a: 1}}
        jobs:
          this-job: {{run: "echo ${{REKINDLE_{name}}} > o; echo ran >> ran", outputs: {{o: o}}}}
    """
    for workflow, job in (("s", "a"), ("s", "b"), ("t", "b")):
        spec = text.replace("this-flow", workflow).replace("this-job", job)
        assert update(project, spec, file=f"{workflow}.yaml")[1] == ["ran"]
    here = {"JOB": str(live(project, "b", 2).job), "JOB_NAME": "b", "WORKFLOW": "t"}
    assert (project.folder / "o").read_text() == f"{here[name]}\n"
    assert update(project, spec, file="t.yaml")[1] == []
