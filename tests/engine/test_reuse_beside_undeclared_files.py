"""Incremental equals clean where jobs write files that they do not declare: attempts are reused only beside what they
left or read."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from rekindle.engine.queries import job_queries
from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.engine.running.work import work
from rekindle.spec import load

if TYPE_CHECKING:
    from engine_project import Project


def bring_up_to_date(project: Project, text: str, v: int = 1, name: str = "spec") -> WorkReport:
    """Do what `run --as NAME` does, with a parameter `v` and an input file `i` of this value."""
    path = project.folder / "spec.yaml"
    path.write_text(f"name: {name}\nparams: {{v: {v}}}\njobs:\n" + textwrap.indent(textwrap.dedent(text), "  "))
    if not (project.folder / "i").exists() or (project.folder / "i").read_text() != f"{v}\n":
        (project.folder / "i").write_text(f"{v}\n")
    done, _ = apply_update(project.session, plan_update(project.session, load(path)))
    report = work(project.session, WorkOptions(slots=1, workflow=str(done.workflow)))
    project.check()
    assert report.exit_code == 0
    return report


def contents(project: Project, *names: str) -> list[str]:
    return [(project.folder / name).read_text().strip() for name in names]


BELOW = "b: {needs: a, run: 'cat x > y', outputs: {y: y}}\n"
UNDECLARED = {
    "an input": "a: {run: 'cat i > x', inputs: {i: i}}\n",
    "a parameter": "a: {run: 'echo ${params.v} > x; echo log > l', outputs: {l: l}}\n",
    "a result": "a: {run: 'cat i > x; echo {} > $REKINDLE_RESULT', inputs: {i: i}}\n",
    "a kept output": "a: {run: 'cat i > x; cat i > k', inputs: {i: i}, outputs: {k: k}, cache: true}\n",
    "tee": "a: {run: 'cat i | tee x', inputs: {i: i}}\n",
    "a renamed file": "a: {run: 'cat i > x.tmp && mv x.tmp x', inputs: {i: i}}\n",
    "a changed file": "a: {run: 'cp i x', inputs: {i: i}}\n",
    "a file begun and appended to": "a: {run: 'echo > x; cat i >> x', inputs: {i: i}}\n",
    "a file removed and appended to": "a: {run: 'rm -f x; cat i >> x', inputs: {i: i}}\n",
    "a pattern": "a: {run: 'cp i x && cat ?', inputs: {i: i}}\n",
}


@pytest.mark.parametrize("job", UNDECLARED.values(), ids=UNDECLARED)
def test_a_value_set_back_makes_undeclared_files_again(project: Project, job: str) -> None:
    for v in (1, 2, 1):
        bring_up_to_date(project, job + BELOW, v)
        assert contents(project, "x", "y") == [str(v), str(v)]
    attempts = len(project.attempts("a"))
    bring_up_to_date(project, job + BELOW, 1)
    assert len(project.attempts("a")) == attempts


def test_another_workflow_that_wrote_the_file_meanwhile_counts_too(project: Project) -> None:
    text = UNDECLARED["a parameter"] + BELOW
    bring_up_to_date(project, text, 1)
    bring_up_to_date(project, text, 2, "other")
    bring_up_to_date(project, text, 1, "third")
    assert contents(project, "x", "y") == ["1", "1"]


@pytest.mark.parametrize(
    "job",
    [
        "a: {run: 'cat i > k; echo same > x', inputs: {i: i}, outputs: {k: k}, cache: true}\n",
        "a: {run: 'cat i > t; mv t k; echo ran >> log', inputs: {i: i}, outputs: {k: k}, cache: true}\n",
        "a: {run: 'mkdir -p d; touch d/x; cat i > k', inputs: {i: i}, outputs: {k: k}, cache: true}\n",
    ],
)
def test_attempts_whose_undeclared_files_are_as_they_left_them_are_reused(project: Project, job: str) -> None:
    for v in (1, 2, 1, 2):
        bring_up_to_date(project, job, v)
        assert contents(project, "k") == [str(v)]
    assert [one.started is None for one in project.attempts("a")] == [False, False, True, True]


REWRITTEN = {
    "an output": "a: {run: 'echo 0 > k; echo ${params.v} > x', outputs: {k: k}}\n",
    "a result": "a: {run: 'echo ${params.v} > x; echo {} > $REKINDLE_RESULT'}\n",
    "an output of a script": "a: {run: 'sh sim.sh ${params.v}; echo 0 > k', outputs: {k: k}}\n",
    "a result of a script": "a: {run: 'sh sim.sh ${params.v}; echo {} > $REKINDLE_RESULT'}\n",
}
READING = {
    "a file": "b: {needs: a, run: 'cat x > o', outputs: {o: o}}\n",
    "a pattern": "b: {needs: a, run: 'cat [x] > o', outputs: {o: o}}\n",
    "two below": (
        "m: {needs: a, run: 'echo m > n', outputs: {n: n}}\nb: {needs: m, run: 'cat x > o', outputs: {o: o}}\n"
    ),
}


@pytest.mark.parametrize("below", READING.values(), ids=READING)
@pytest.mark.parametrize("job", REWRITTEN.values(), ids=REWRITTEN)
def test_a_job_whose_command_names_a_file_that_was_rewritten_above_runs(project: Project, job: str, below: str) -> None:
    (project.folder / "sim.sh").write_text("echo $1 > x\n")
    for v in (1, 2):
        bring_up_to_date(project, job + below, v)
        assert contents(project, "x", "o") == [str(v), str(v)]


@pytest.mark.parametrize("below", READING.values(), ids=READING)
def test_a_job_whose_command_names_a_file_that_was_rewritten_with_equal_content_is_reinstated(
    project: Project, below: str
) -> None:
    job = "a: {run: 'echo 0 > k; echo ${params.v} > j; echo same > x', outputs: {k: k}}\n"
    for v in (1, 2):
        report = bring_up_to_date(project, job + below, v)
    assert (report.reinstated, len(project.attempts("b"))) == (below.count("needs"), 1)


def test_a_job_that_made_the_matches_of_its_own_pattern_is_reinstated(project: Project) -> None:
    below = "b: {needs: a, run: 'cp k p1; cp k p2; cat p? > o', outputs: {o: o}}\n"
    for v in (1, 2):
        report = bring_up_to_date(project, "a: {run: 'echo ${params.v} > j; echo 0 > k', outputs: {k: k}}\n" + below, v)
    assert (report.reinstated, len(project.attempts("b"))) == (1, 1)
    with project.session.store.read() as archive:
        explained = archive.staleness.written([archive.workflows.find("spec").id])
    assert {str(project.folder / name) for name in ("p1", "p2")} <= {path for _, path in explained}
    assert job_queries.attempt(project.session, project.attempts("b")[0].id).number == 1
