"""Accepting changes: accepted jobs are no longer stale, and nothing else about them changes."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import PlanOutdated, PlanRefused, UndoRefused
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections, workflow_queries
from rekindle.engine.rerun import accept as accepting
from rekindle.engine.rerun import rerun
from rekindle.engine.rerun.accept import accept
from rekindle.engine.staleness.contents import read_contents
from rekindle.engine.staleness.stale_jobs import explain, find_stale_jobs

W, R, Q, X, C, F, K = State

CHAIN = """
    name: chain
    params: {alpha: 1}
    jobs:
      a: {run: "cat ${inputs.raw} > ${outputs.o}", inputs: {raw: raw}, outputs: {o: a.txt}}
      b: {run: "echo ${params.alpha} | cat ${inputs.i} - > ${outputs.o}", inputs: {i: a.txt}, outputs: {o: b.txt}}
      c: {call: "tools:double", args: {path: b.txt}, inputs: {i: b.txt}}
      d: {needs: [c], run: "true"}
      noisy: {run: "false", inputs: {raw: raw}}
"""


@pytest.fixture
def chain(project):
    (project.folder / "raw").write_text("1\n")
    (project.folder / "tools.py").write_text("def double(path):\n    return 2 * open(path).read()\n")
    assert project.run(CHAIN).exit_code == 2
    return project


def every(project):
    return selections.select(project.session, Selection(everything=True))


def stale(project):
    rows = {row.job.id: row.job.name for row in job_queries.jobs(project.session, every(project))}
    return {rows[job] for job in find_stale_jobs(project.session, every(project)).stale}


def accepted(project, *names, note=None):
    """Return the names of the accepted, refused and current jobs."""
    done = accept(project.session, [project.job(name) for name in names], {"jobs": list(names)}, note)
    project.check()
    current = {row.job.name for row in job_queries.jobs(project.session, done.current)}
    return {job.name for job in done.plan.jobs}, {job.name: job.why for job in done.plan.refused}, current


def test_a_change_is_accepted_and_what_follows_stays_as_it_is(chain):
    before = job_queries.jobs(chain.session, every(chain))
    (chain.folder / "raw").write_text("1\n# a comment\n")
    assert stale(chain) == {"a", "noisy"}
    assert accepted(chain, "a", note="a comment") == ({"a"}, {}, set())
    assert stale(chain) == {"noisy"}
    assert chain.work().completed == 0
    after = job_queries.jobs(chain.session, every(chain))
    assert [(row.job.state, row.job.attempt) for row in after] == [(row.job.state, row.job.attempt) for row in before]
    [found] = explain(chain.session, [chain.job("a")])
    assert (found.word, found.accepted) == ("current", 1)
    record = workflow_queries.rerun(chain.session, 1)
    assert (record.kind, record.note) == ("accept", "a comment")
    assert [reason.kind.value for reason in record.plan.jobs[0].reasons] == ["input"]
    (chain.folder / "raw").write_text("2\n")
    assert stale(chain) == {"a", "noisy"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "raw").write_text("other\n"),
        lambda folder: (folder / "a.txt").write_text("other\n"),
        lambda folder: (folder / "b.txt").write_text("other\n"),
        lambda folder: (folder / "tools.py").write_text("def double(path):\n    return 3 * open(path).read()\n"),
    ],
    ids=["input", "between", "read by a function", "function"],
)
def test_accepting_all_stale_jobs_at_once_makes_them_current(chain, edit):
    """Each job is measured by the results accepted for the others."""
    edit(chain.folder)
    names = stale(chain) - {"noisy"}
    assert names
    accepted(chain, *names)
    assert stale(chain) <= {"noisy"}
    assert accepted(chain, "a", "b", "c", "d") == (set(), {}, {"a", "b", "c", "d"})


def test_a_revision_and_parameters_are_accepted(chain):
    chain.submit(CHAIN.replace("alpha: 1", "alpha: 2").replace('a: {run: "cat', 'a: {run: "cat -u'))
    assert stale(chain) == {"a", "b", "c"}  # the dependencies of a function are unknown
    accepted(chain, "b", "c")
    assert stale(chain) == {"a"}
    accepted(chain, "a")
    assert stale(chain) == set()
    chain.submit(CHAIN)
    assert stale(chain) == {"a", "b", "c"}


def test_consumers_of_an_accepted_output_are_measured_by_it(chain):
    """An edited and accepted output becomes the basis of its consumers."""
    (chain.folder / "a.txt").write_text("by hand\n")
    accepted(chain, "a")
    assert stale(chain) == {"b"}
    chain.rerun("b")
    chain.work()
    assert stale(chain) == set()
    rerun_of_b = chain.attempts("b")[-1]
    assert rerun_of_b.state is C


def test_a_job_that_ran_after_an_accept_is_not_stale(chain):
    (chain.folder / "raw").write_text("1\n#\n")
    accepted(chain, "a")
    chain.rerun("b")
    chain.work()
    assert stale(chain) == {"noisy"}


def test_refused_jobs_are_named_and_the_others_are_accepted(chain):
    (chain.folder / "raw").write_text("other\n")
    chain.rerun("c")
    (chain.folder / "b.txt").unlink()
    names = ("a", "b", "c", "d", "noisy")
    done, refused, current = accepted(chain, *names)
    assert (done, current) == ({"a"}, set())
    assert refused == {
        "b": f"its output {chain.folder / 'b.txt'} is missing; rerun it",
        "c": "it has not run yet since it was reset: there is nothing that could be accepted; rerun it",
        "d": "it has not run yet since it was reset: there is nothing that could be accepted; rerun it",
        "noisy": "it failed: there is nothing that could be accepted; rerun it",
    }


def test_an_accept_of_refused_jobs_alone_writes_nothing(chain):
    (chain.folder / "raw").unlink()
    with pytest.raises(PlanRefused, match=r"a: its input .*raw is missing; rerun it; noisy: it failed"):
        accepted(chain, "a", "noisy")
    assert workflow_queries.reruns(chain.session) == []


def test_a_job_with_unfinished_needs_cannot_be_accepted(chain):
    (chain.folder / "raw").write_text("other\n")
    chain.rerun("a", how=How(downstream="none"))
    with pytest.raises(PlanRefused, match="b: `a`, which it needs, is not done; rerun it"):
        accepted(chain, "b")


def test_undo_revokes_an_accept_unless_a_later_rerun_touched_it(chain):
    (chain.folder / "raw").write_text("1\n#\n")
    accepted(chain, "a")
    (chain.folder / "raw").write_text("1\n##\n")
    accepted(chain, "a")
    with pytest.raises(UndoRefused, match="rerun 2 came later"):
        rerun.undo(chain.session, 1)
    undone = rerun.undo(chain.session)
    assert (undone.rerun, [(name, state) for _, name, state in undone.jobs]) == (2, [("a", C)])
    assert stale(chain) == {"a", "noisy"}
    (chain.folder / "raw").write_text("1\n#\n")
    assert stale(chain) == {"noisy"}
    chain.rerun("a")
    with pytest.raises(UndoRefused, match="rerun 3 came later"):
        rerun.undo(chain.session, 1)
    rerun.undo(chain.session)
    assert stale(chain) == {"noisy"}
    rerun.undo(chain.session)
    assert stale(chain) == {"a", "noisy"}


def test_a_job_that_moves_while_files_are_read_is_not_accepted(chain, monkeypatch):
    (chain.folder / "raw").write_text("1\n#\n")

    def meanwhile(*words):
        chain.rerun("a")
        return read_contents(*words)

    monkeypatch.setattr(accepting, "read_contents", meanwhile)
    with pytest.raises(PlanOutdated, match="`a` has moved"):
        accepted(chain, "a")
    assert [record.kind for record, _ in workflow_queries.reruns(chain.session)] == ["manual"]
