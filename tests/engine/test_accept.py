"""Accepting what changed: jobs are stale no more, and nothing else of them is touched."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import PlanOutdated, PlanRefused, UndoRefused
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.changes.reading import take
from rekindle.engine.changes.staleness import changed, explain
from rekindle.engine.looking import look
from rekindle.engine.rerunning import accepting, rerun
from rekindle.engine.rerunning.accepting import accept

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
    return look.select(project.session, Selection(everything=True))


def stale(project):
    rows = {row.job.id: row.job.name for row in look.jobs(project.session, every(project))}
    return {rows[job] for job in changed(project.session, every(project)).stale}


def accepted(project, *names, note=None):
    """The names of what was accepted, refused, and current already."""
    done = accept(project.session, [project.job(name) for name in names], {"jobs": list(names)}, note)
    project.check()
    current = {row.job.name for row in look.jobs(project.session, done.current)}
    return {job.name for job in done.plan.jobs}, {job.name: job.why for job in done.plan.refused}, current


def test_a_change_is_accepted_and_what_follows_stays_as_it_is(chain):
    before = look.jobs(chain.session, every(chain))
    (chain.folder / "raw").write_text("1\n# a comment\n")
    assert stale(chain) == {"a", "noisy"}
    assert accepted(chain, "a", note="a comment") == ({"a"}, {}, set())
    assert stale(chain) == {"noisy"}
    assert chain.work().completed == 0
    after = look.jobs(chain.session, every(chain))
    assert [(row.job.state, row.job.attempt) for row in after] == [(row.job.state, row.job.attempt) for row in before]
    [found] = explain(chain.session, [chain.job("a")])
    assert (found.word, found.accepted) == ("current", 1)
    record = look.rerun(chain.session, 1)
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
def test_all_that_is_stale_at_once_is_current_once_it_is_accepted(chain, edit):
    """Each is measured by what the others come to as they are accepted with it."""
    edit(chain.folder)
    names = stale(chain) - {"noisy"}
    assert names
    accepted(chain, *names)
    assert stale(chain) <= {"noisy"}
    assert accepted(chain, "a", "b", "c", "d") == (set(), {}, {"a", "b", "c", "d"})


def test_a_revision_and_parameters_are_accepted(chain):
    chain.submit(CHAIN.replace("alpha: 1", "alpha: 2").replace('a: {run: "cat', 'a: {run: "cat -u'))
    assert stale(chain) == {"a", "b", "c"}  # what a function looks at, nobody knows
    accepted(chain, "b", "c")
    assert stale(chain) == {"a"}
    accepted(chain, "a")
    assert stale(chain) == set()
    chain.submit(CHAIN)
    assert stale(chain) == {"a", "b", "c"}


def test_who_consumes_what_was_accepted_is_measured_by_that(chain):
    """An output edited by hand and accepted is what its consumers must have seen."""
    (chain.folder / "a.txt").write_text("by hand\n")
    accepted(chain, "a")
    assert stale(chain) == {"b"}
    chain.rerun("b")
    chain.work()
    assert stale(chain) == set()
    rerun_of_b = chain.attempts("b")[-1]
    assert rerun_of_b.state is C


def test_what_is_consumed_after_it_was_accepted_is_not_stale_for_it(chain):
    (chain.folder / "raw").write_text("1\n#\n")
    accepted(chain, "a")
    chain.rerun("b")
    chain.work()
    assert stale(chain) == {"noisy"}


def test_what_cannot_be_accepted_is_named_and_the_rest_is_accepted(chain):
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


def test_when_nothing_can_be_accepted_it_is_refused_and_nothing_is_written(chain):
    (chain.folder / "raw").unlink()
    with pytest.raises(PlanRefused, match=r"a: its input .*raw is missing; rerun it; noisy: it failed"):
        accepted(chain, "a", "noisy")
    assert look.reruns(chain.session) == []


def test_what_needs_something_that_is_not_done_cannot_be_accepted(chain):
    (chain.folder / "raw").write_text("other\n")
    chain.rerun("a", how=How(downstream="none"))
    with pytest.raises(PlanRefused, match="b: `a`, which it needs, is not done; rerun it"):
        accepted(chain, "b")


def test_undo_voids_what_was_accepted_unless_a_later_rerun_touched_it(chain):
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
        return take(*words)

    monkeypatch.setattr(accepting, "take", meanwhile)
    with pytest.raises(PlanOutdated, match="`a` has moved"):
        accepted(chain, "a")
    assert [record.kind for record, _ in look.reruns(chain.session)] == ["manual"]
