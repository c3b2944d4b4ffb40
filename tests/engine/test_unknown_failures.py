"""`on_unknown_failure: hold`: failures that nobody has seen wait for a person."""

from __future__ import annotations

import pytest

from rekindle.domain.batches.supervision import Guards, SupervisionEnd
from rekindle.domain.judging import UNKNOWN
from rekindle.domain.states import State
from rekindle.engine.queries import failure_queries, workflow_queries
from rekindle.engine.queries.waits import wait_reasons
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import SuperviseOptions, WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.supervising.supervise import acknowledge, supervise

W, R, Q, X, C, F, K = State

SPEC = """
    name: held
    defaults: {on_unknown_failure: hold, retry: {max: 2}}
    jobs:
      a: {run: "echo x >> a.ran; test -e ok || exit 3"}
      after: {needs: [a], run: "true"}
      report: {needs: [a], when: finished, run: "echo x >> report.ran"}
"""


def undecided(project, name):
    return project.attempts(name)[-1].undecided


def ran(project, name="a"):
    path = project.folder / f"{name}.ran"
    return len(path.read_text().split()) if path.exists() else 0


def test_an_unknown_failure_is_not_retried_and_nothing_below_goes_on(project):
    assert project.run(SPEC).exit_code == 2
    assert project.states() == {"a": F, "after": W, "report": W}
    assert (ran(project), undecided(project, "a")) == (1, UNKNOWN)
    assert project.work().exit_code == 0  # it touches nothing
    assert (ran(project), ran(project, "report")) == (1, 0)


def test_a_release_hands_it_to_the_policy_and_the_next_one_is_known(project):
    project.run(SPEC)
    done = control.release(project.session, [project.job("a")])
    assert done.changed == (project.job("a"),)
    project.check()
    assert project.states()["a"] is R
    assert project.work().exit_code == 2
    assert (ran(project), undecided(project, "a")) == (3, None)
    assert project.states() == {"a": F, "after": W, "report": C}


def test_a_release_without_a_policy_lets_the_failure_stand(project):
    project.run(SPEC.replace(", retry: {max: 2}", ""))
    control.release(project.session, [project.job("a")])
    project.check()
    assert project.states() == {"a": F, "after": W, "report": R}
    assert undecided(project, "a") is None
    assert project.work().exit_code == 0
    assert ran(project, "report") == 1


def test_a_rerun_goes_on_and_undo_brings_the_decided_failure_back(project):
    project.run(SPEC)
    applied = project.rerun("a")
    assert project.states() == {"a": R, "after": W, "report": W}
    rerun.undo(project.session, applied.rerun)
    project.check()
    assert project.states() == {"a": F, "after": W, "report": R}
    project.rerun("a")
    (project.folder / "ok").touch()
    assert project.work().exit_code == 0
    assert project.states() == {"a": C, "after": C, "report": C}


def test_all_jobs_that_fail_alike_wait_until_a_person_has_seen_one(project):
    project.submit("""
        name: many
        defaults: {on_unknown_failure: hold, retry: {max: 1}}
        jobs:
          a: {matrix: {k: [1, 2, 3]}, run: "echo x >> a.ran; exit 3"}
    """)
    project.work(slots=1)
    names = [f"a[k={k}]" for k in (1, 2, 3)]
    assert [undecided(project, name) for name in names] == [UNKNOWN] * 3
    control.release(project.session, [project.job(names[0])])
    assert project.work().exit_code == 2
    assert ran(project) == 4  # the released one was retried
    assert [undecided(project, name) for name in names] == [None, UNKNOWN, UNKNOWN]
    control.release(project.session, [project.job(name) for name in names])
    project.work()
    assert ran(project) == 6


def test_a_failure_that_any_job_had_before_is_known(project):
    project.run("""
        name: other
        jobs: {b: {run: "exit 3"}}
    """)
    project.submit(SPEC, "held.yaml")
    project.work()
    assert (ran(project), undecided(project, "a")) == (3, None)


def test_another_error_is_unknown_again(project):
    project.run(SPEC)
    project.rerun("a")
    project.submit(SPEC.replace("exit 3", "exit 4"))
    project.work()
    assert undecided(project, "a") == UNKNOWN


def test_supervising_leaves_it_to_a_person(project):
    project.submit(SPEC)
    name = "held"

    def run(left):
        return work(project.session, WorkOptions(name, slots=2))

    report = supervise(project.session, SuperviseOptions(name, Guards(max_reruns=3, max_failure_percent=100.0)), run)
    acknowledge(project.session, report)
    assert (report.end, report.reruns, report.held) == (SupervisionEnd.CLEAN, 0, 1)
    assert [(one.name, one.why) for one in report.left] == [("a", "held: unknown failure; release or rerun")]
    assert report.exit_code(()) == 2
    control.release(project.session, [project.job("a")])
    report = supervise(project.session, SuperviseOptions(name, Guards(max_reruns=1, max_failure_percent=100.0)), run)
    acknowledge(project.session, report)
    assert report.reruns == 1
    project.check()


def test_a_job_that_did_not_start_and_a_canceled_one_are_decided_as_ever(project):
    project.submit("""
        name: others
        defaults: {on_unknown_failure: hold}
        jobs:
          missing: {run: "true", inputs: {i: nothing}}
          lost: {run: "true"}
    """)
    control.cancel(project.session, [project.job("lost")])
    project.work()
    assert undecided(project, "missing") == UNKNOWN
    assert project.states()["lost"] is K


def test_status_failures_and_waits_say_so(project):
    project.run(SPEC)
    [found] = workflow_queries.status(project.session)
    assert found.undecided == {UNKNOWN: 1}
    [group] = failure_queries.failures(project.session)
    assert failure_queries.undecided(project.session, [group]) == {project.job("a"): UNKNOWN}
    [reason] = wait_reasons(project.session, [project.job("a")])[project.job("a")]
    assert reason.detail["undecided"] == UNKNOWN


@pytest.mark.parametrize("policy", ["", ", on_unknown_failure: continue"])
def test_other_jobs_do_not_wait(project, policy):
    project.run(f"""
        name: others
        jobs: {{a: {{run: "echo x >> a.ran; exit 3", retry: {{max: 1}}{policy}}}}}
    """)
    assert (ran(project), undecided(project, "a")) == (2, None)
