"""`judge:`: a command decides about failures that `retry` leaves; each answer is recorded, and applied once."""

from __future__ import annotations

import json
import time

import pytest
from msgspec.structs import replace

from rekindle.domain.batches.supervision import Guards, SupervisionEnd
from rekindle.domain.errors import UndoRefused
from rekindle.domain.judging import JUDGE, Judgement
from rekindle.domain.states import State
from rekindle.engine.queries import workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import SuperviseOptions, WorkOptions
from rekindle.engine.running import judges
from rekindle.engine.running.judges import JudgeAsker, conclude
from rekindle.engine.running.work import work
from rekindle.engine.supervising.supervise import acknowledge, supervise
from rekindle.testing.fakes import Crash, CrashingStore

W, R, Q, X, C, F, K = State

SPEC = """
    name: judged
    jobs:
      a: {{run: "echo x >> a.ran; test -e ok || exit 3", judge: {judge}{more}}}
      after: {{needs: [a], run: "true"}}
      report: {{needs: [a], when: finished, run: "echo x >> report.ran"}}
"""


def spec(judge, more=""):
    return SPEC.format(judge=json.dumps(judge), more=more)


def ran(project, name="a"):
    path = project.folder / f"{name}.ran"
    return len(path.read_text().split()) if path.exists() else 0


def answers(project):
    with project.session.store.read() as archive:
        events = [one for one in archive.events.listing(None) if one.kind == "judged"]
    return [(one.detail["answer"], one.detail["reason"]) for one in sorted(events, key=lambda one: one.id)]


def judged(project):
    found = [record for record, _ in workflow_queries.reruns(project.session) if record.kind == "judge"]
    return sorted(found, key=lambda one: one.id)


def undecided(project, name="a"):
    return project.attempts(name)[-1].undecided


def test_a_retry_is_a_recorded_rerun_with_its_reason(project):
    assert project.run(spec("touch ok; cat > asked.json; echo retry a node of mine")).exit_code == 0
    assert project.states() == {"a": C, "after": C, "report": C}
    assert (ran(project), ran(project, "report")) == (2, 1)
    [record] = judged(project)
    assert (record.note, record.request["answer"]) == ("retry: a node of mine", "retry")
    [job] = workflow_queries.rerun(project.session, record.id).plan.jobs
    reason = next(one for one in job.reasons if one.kind == "judge")
    assert (reason.detail["answer"], reason.detail["reason"]) == ("retry", "a node of mine")
    document = json.loads((project.folder / "asked.json").read_text())
    failed = project.attempts("a")[0]
    assert (document["id"], document["exit_code"], document["undecided"]) == (failed.id, 3, JUDGE)


def test_it_may_let_the_failure_stand(project):
    assert project.run(spec('echo \'{"answer": "fail", "reason": "no hope"}\'')).exit_code == 2
    assert project.states() == {"a": F, "after": W, "report": C}
    [record] = judged(project)
    assert (record.note, ran(project), undecided(project)) == ("fail: no hope", 1, None)
    with pytest.raises(UndoRefused, match="answered fail"):
        rerun.undo(project.session, record.id)


def test_it_may_leave_it_to_a_person(project):
    assert project.run(spec("echo hold ask Ann")).exit_code == 2
    assert project.states() == {"a": F, "after": W, "report": W}
    assert undecided(project) == "its judge: ask Ann"
    assert judged(project)[0].note == "hold: ask Ann"
    control.release(project.session, [project.job("a")])
    project.check()
    assert project.states() == {"a": F, "after": W, "report": R}


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        ("exit 7", "exit 7"),
        ("echo perhaps", "none of retry, fail and hold"),
        ("true", "there is no answer"),
        (["./no-such-judge"], "it cannot start: No such file or directory"),
        ("kill -9 $$", "SIGKILL"),
    ],
)
def test_a_judge_that_does_not_answer_changes_nothing_but_an_event(project, judge, reason):
    assert project.run(spec(judge)).exit_code == 2
    assert project.states() == {"a": F, "after": W, "report": C}
    [(answer, said)] = answers(project)
    assert (answer, reason in said) == ("error", True), said
    assert (judged(project), ran(project), undecided(project)) == ([], 1, None)


def test_a_slow_judge_is_killed_with_its_children(project, monkeypatch):
    monkeypatch.setattr(judges, "JUDGE_SECONDS", 1.0)
    assert project.run(spec("(sleep 600; touch late) & echo $! > child; wait")).exit_code == 2
    assert answers(project) == [("error", "killed after 1 s")]
    child = int((project.folder / "child").read_text())
    limit = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < limit, "the child of the judge runs on"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_retry_comes_first_and_the_judge_when_it_gives_up(project):
    assert project.run(spec("echo x >> judge.ran; echo fail", ", retry: {max: 2}")).exit_code == 2
    assert (ran(project), ran(project, "judge")) == (3, 1)
    assert [record.kind for record, _ in workflow_queries.reruns(project.session)] == ["judge", "retry", "retry"]


def test_a_rule_that_does_not_match_leaves_the_failure_to_the_judge(project):
    project.run(spec("echo fail", ", retry: {max: 2, on: [timeout]}"))
    assert (ran(project), len(judged(project))) == (1, 1)


@pytest.mark.parametrize(("policy", "most"), [("", 3), (", retry: {max: 1, on: [timeout]}", 1)])
def test_it_orders_a_bounded_number_of_retries(project, policy, most):
    assert project.run(spec("echo retry", policy)).exit_code == 2
    assert (ran(project), len(judged(project))) == (1 + most, most)
    assert answers(project)[-1][0] == "error"
    assert "not asked: it has had the job retried" in answers(project)[-1][1]
    project.rerun("a")
    project.work()
    assert ran(project) == 2 * (1 + most)  # a rerun by a person begins again


def test_an_unknown_failure_waits_for_a_person_before_the_judge_is_asked(project):
    project.run(spec("echo x >> judge.ran; echo fail", ", on_unknown_failure: hold"))
    assert (ran(project, "judge"), undecided(project)) == (0, "unknown failure")
    control.release(project.session, [project.job("a")])
    project.check()
    assert undecided(project) == JUDGE
    project.work()
    assert (ran(project, "judge"), undecided(project)) == (1, None)


def test_the_runner_goes_on_while_a_judge_thinks(project):
    project.submit("""
        name: both
        jobs:
          a: {run: "exit 3", judge: "while ! test -e last; do sleep 0.05; done; echo fail"}
          b: {matrix: {k: {range: [0, 5]}}, run: "true"}
          last: {needs: ["b*"], run: "touch last"}
    """)
    assert project.work(slots=1).exit_code == 2
    assert project.states()["last"] is C
    assert [answer for answer, _ in answers(project)] == ["fail"]


def test_a_person_who_decides_first_withdraws_the_question(project):
    project.submit(spec("echo retry"))
    ask_nobody(project)
    project.rerun("a")
    (project.folder / "ok").touch()
    assert project.work().exit_code == 0
    assert (judged(project), answers(project), ran(project)) == ([], [], 2)
    with project.session.store.read() as archive:
        assert archive.judgements.open(None) == []


def ask_nobody(project, monkeypatch=None):
    """Run until the job has failed, without asking its judge."""
    original = JudgeAsker.look
    JudgeAsker.look = lambda _: False
    try:
        project.work()
    finally:
        JudgeAsker.look = original
    assert undecided(project) == JUDGE
    assert project.states() == {"a": F, "after": W, "report": W}


def test_a_question_of_a_runner_that_died_is_asked_by_the_next(project):
    project.submit(spec("touch ok; echo retry"))
    ask_nobody(project)
    assert project.work().exit_code == 0
    assert (len(judged(project)), ran(project)) == (1, 2)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("answer", ["retry", "fail", "hold", "error"])
def test_an_answer_is_applied_once_whenever_its_writer_dies(project, when, answer):
    project.submit(spec(f"echo {answer if answer != 'error' else 'x'} again"))
    ask_nobody(project)
    session = project.session
    with session.store.read() as archive:
        [question] = archive.judgements.open(None)
    with session.store.write() as archive:
        assert archive.judgements.take(question, judges.this_process(), session.clock())
        assert not archive.judgements.take(question, judges.this_process(), session.clock())
    dying = replace(session, store=CrashingStore(session.store, 1, when))
    with pytest.raises(Crash):
        conclude(dying, question, Judgement(answer, "again"))
    project.check()
    conclude(session, question, Judgement(answer, "again"))
    conclude(session, question, Judgement("fail", "too late"))
    project.check()
    assert len(answers(project)) == 1
    assert len(judged(project)) == (answer != "error")
    assert project.states()["a"] is (R if answer == "retry" else F)


def test_a_question_that_kills_each_process_is_given_up(project):
    project.submit(spec("echo retry"))
    ask_nobody(project)
    with project.session.store.read() as archive:
        [question] = archive.judgements.open(None)
    dead = replace(judges.this_process(), pid=2**22 - 1, pid_start=1)
    for starts in range(3):
        with project.session.store.write() as archive:
            assert archive.judgements.take(replace(question, starts=starts), dead, project.session.clock())
    assert project.work().exit_code == 0
    assert answers(project) == [("error", "given up: 3 processes died while it was asked")]
    assert project.states()["a"] is F


def test_an_undone_retry_leaves_the_failure_as_it_was(project):
    project.submit(spec("echo retry"))
    ask_nobody(project)
    with project.session.store.read() as archive:
        [question] = archive.judgements.open(None)
    with project.session.store.write() as archive:
        archive.judgements.take(question, judges.this_process(), 0.0)
    conclude(project.session, question, Judgement("retry"))
    rerun.undo(project.session, judged(project)[0].id)
    project.check()
    assert (project.states()["a"], undecided(project)) == (F, None)


def test_supervising_waits_for_the_judge_and_leaves_what_it_holds(project):
    project.submit(spec("echo hold"))

    def run(left):
        return work(project.session, WorkOptions("judged", slots=2))

    report = supervise(project.session, SuperviseOptions("judged", Guards(max_failure_percent=100.0)), run)
    acknowledge(project.session, report)
    assert (report.end, report.reruns, ran(project)) == (SupervisionEnd.CLEAN, 0, 1)
    assert [one.why for one in report.left] == ["held: its judge; release or rerun"]
