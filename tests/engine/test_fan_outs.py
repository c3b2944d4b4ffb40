"""Fan-out steps with real processes: which items run, are kept, or are accepted as a part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rekindle.domain.errors import PlanRefused
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, logs
from rekindle.engine.rerun import rerun
from stores import every_row

SLICES = """
    name: slices
    jobs:
      slices:
        steps:
          - {name: marshal, run: "echo marshal >> ran"}
          - name: process
            each: [s0, s1, s2, s3]
            run: |
              echo ${item} >> ran
              echo saw $REKINDLE_ITEM
              echo 7 > $REKINDLE_RESULT
              test ${item} != s0 -o -e mended
          - {name: store, run: "echo store >> ran; echo $REKINDLE_INPUTS > stored"}
      after: {needs: [slices], run: "true"}
"""
FAILED_STEP = How("failed-step")


def ran(project, name="ran"):
    path = project.folder / name
    return path.read_text().split() if path.exists() else []


def subtasks(project, job="slices", attempt=-1, step=1):
    found = job_queries.subtasks(project.session, project.attempts(job)[attempt])[step]
    return [(json.loads(one.item), one.state.label, one.attempts) for one in found]


def rows(project, attempt):
    """Return the number of subtask rows that an attempt owns."""
    return sum(row[0] == attempt for row in every_row(project.session.store)["subtask"])


def stored(project):
    return json.loads((project.folder / "stored").read_text())


@pytest.fixture
def failed(project):
    """Ziggy's example: the first of four subtasks has failed."""
    assert project.run(SLICES).exit_code == 2
    return project


def test_each_item_is_a_subtask_and_one_that_fails_fails_the_step(failed):
    (attempt,) = failed.attempts("slices")
    assert (attempt.state, attempt.cause, attempt.partial) == (State.FAILED, Cause.SUBTASKS, False)
    assert [(step.name, step.state, step.cause) for step in attempt.steps] == [
        ("marshal", State.COMPLETED, None),
        ("process", State.FAILED, Cause.SUBTASKS),
    ]
    assert attempt.failure.message == '1 of 4 subtasks failed; 0 ("s0"): exit code 1'
    assert subtasks(failed) == [(f"s{n}", "failed" if n == 0 else "completed", 1) for n in range(4)]
    assert ran(failed) == ["marshal", "s0", "s1", "s2", "s3"]
    assert failed.states() == {"slices": State.FAILED, "after": State.WAITING}


def test_from_the_failed_step_only_the_failed_subtask_runs_again(failed):
    (failed.folder / "mended").touch()
    applied = failed.rerun("slices", how=FAILED_STEP)
    planned = applied.plan.jobs[0]
    assert (planned.start, planned.keeps, planned.next.resume_step) == ("process", ("marshal",), 1)
    assert planned.next.subtasks == "failed"
    assert planned.reasons[1].detail == {"step": "process", "run": 1, "keep": 3, "new": 0, "gone": 0}
    assert failed.work().exit_code == 0
    assert ran(failed)[5:] == ["s0", "store"]
    assert subtasks(failed) == [("s0", "completed", 2), *((f"s{n}", "completed", 1) for n in (1, 2, 3))]
    first, second = failed.attempts("slices")
    assert rows(failed, second.id) == 1
    assert (second.builds_on, second.partial) == (first.id, False)
    assert stored(failed)["process"] == {"items": [{"item": f"s{n}", "result": 7} for n in range(4)]}
    counts = job_queries.subtask_counts(failed.session, [first, second])
    assert counts == {
        (first.id, 1): {State.COMPLETED: 3, State.FAILED: 1},
        (second.id, 1): {State.COMPLETED: 4},
    }


def test_a_parameter_that_made_a_subtask_fail_is_changed_for_the_rerun(project):
    """Ziggy cannot do this: its subtask 0 fails because of a parameter, and would fail again."""
    project.run(
        """
        name: permuter
        params: {throw_subtask_0: true}
        jobs:
          permute:
            steps:
              - {name: marshal, run: "echo marshal >> ran"}
              - name: process
                each: [0, 1, 2, 3]
                run: |
                  echo ${item} >> ran
                  test ${item} -ne 0 -o ${params.throw_subtask_0} = false
              - {name: store, run: "echo store >> ran"}
        """
    )
    project.rerun("permute", how=How("failed-step", overrides=Overrides(params={"throw_subtask_0": False})))
    assert project.work().exit_code == 0
    assert ran(project) == ["marshal", "0", "1", "2", "3", "0", "store"]
    assert [attempts for _, _, attempts in subtasks(project, "permute")] == [2, 1, 1, 1]
    assert project.attempts("permute")[-1].overrides is not None


def test_accept_partial_stores_three_of_four_and_marks_it_and_what_follows(failed):
    applied = failed.rerun("slices", how=How(accept_partial=True))
    assert applied.plan.jobs[0].start == "store"
    assert applied.plan.jobs[0].reasons[1].detail == {"step": "process", "completed": 3, "given_up": 1}
    assert applied.plan.warnings == ('`slices` goes on with 3 of 4 subtasks of `process`: 0 ("s0") given up',)
    assert failed.work().exit_code == 0
    assert ran(failed)[5:] == ["store"]
    assert [one["item"] for one in stored(failed)["process"]["items"]] == ["s1", "s2", "s3"]
    attempt = failed.attempts("slices")[-1]
    assert (attempt.state, attempt.partial) == (State.COMPLETED, True)
    assert rows(failed, attempt.id) == 0
    assert [(step.name, step.state, step.kept_from) for step in attempt.steps] == [
        ("marshal", State.COMPLETED, 1),
        ("process", State.COMPLETED, 1),
        ("store", State.COMPLETED, None),
    ]
    jobs = job_queries.jobs(failed.session, [failed.job("slices"), failed.job("after")])
    assert [row.partial for row in jobs] == [True, True]
    assert [row.attempt.partial for row in jobs] == [True, False]


def test_a_rerun_of_the_missing_ones_makes_a_partial_job_whole_and_reruns_what_follows(failed):
    failed.rerun("slices", how=How(accept_partial=True))
    failed.work()
    (failed.folder / "mended").touch()
    applied = failed.rerun("slices", how=FAILED_STEP)
    assert {job.name: job.start for job in applied.plan.jobs} == {"slices": "process", "after": "beginning"}
    assert failed.work().exit_code == 0
    assert ran(failed)[6:] == ["s0", "store"]
    assert len(stored(failed)["process"]["items"]) == 4
    assert not any(row.partial for row in job_queries.jobs(failed.session, [failed.job("slices"), failed.job("after")]))
    assert subtasks(failed) == [("s0", "completed", 2), *((f"s{n}", "completed", 1) for n in (1, 2, 3))]
    with pytest.raises(PlanRefused, match="every subtask is complete"):
        failed.rerun("slices", how=FAILED_STEP)


def test_undo_brings_back_an_accepted_part_and_the_choice_of_subtasks(failed):
    before = failed.states()
    failed.rerun("slices", how=How("failed-step", subtasks=(0, 2)))
    rerun.undo(failed.session)
    assert failed.states() == before
    failed.rerun("slices", how=How(accept_partial=True))
    rerun.undo(failed.session)
    failed.check()
    assert failed.states() == before
    (failed.folder / "mended").touch()
    failed.rerun("slices", how=FAILED_STEP)
    failed.work()
    assert ran(failed)[5:] == ["s0", "store"]


def test_subtasks_are_chosen_by_number_or_all(failed):
    (failed.folder / "mended").touch()
    failed.rerun("slices", how=How("failed-step", subtasks=(2,)))
    assert failed.work().exit_code == 2
    assert ran(failed)[5:] == ["s2"]
    failed.rerun("slices", how=How("process", subtasks="all"))
    assert failed.work().exit_code == 0
    assert ran(failed)[6:] == ["s0", "s1", "s2", "s3", "store"]
    assert [times for _, _, times in subtasks(failed)] == [2, 2, 3, 2]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (How("failed-step", subtasks=(1, 9, 10)), r"step `process` has no subtask 9-10: it has 0-3"),
        (How("marshal", subtasks="failed"), "which is no fan-out: leave out --subtasks|at the beginning"),
        (How(subtasks="all"), "at the beginning, and --subtasks is for resuming a fan-out"),
        (How("store", accept_partial=True), "leave out --from"),
        (How(accept_partial=True, subtasks="all"), "leave out --subtasks"),
    ],
)
def test_impossible_requests_are_refused_with_a_reason(failed, how, why):
    with pytest.raises(PlanRefused, match=why):
        failed.rerun("slices", how=how)


def test_a_resubmit_is_refused_when_every_subtask_is_complete(failed):
    (failed.folder / "mended").touch()
    failed.rerun("slices", how=FAILED_STEP)
    failed.work()
    with pytest.raises(PlanRefused, match="every subtask of step `process` is complete"):
        failed.rerun("slices", how=How("process", subtasks="failed"))
    with pytest.raises(PlanRefused, match="has not failed"):
        failed.rerun("slices", how=How(accept_partial=True))
    applied = failed.rerun("slices", how=How("process"))
    assert "all of them run again" in applied.plan.warnings[0]


def test_nothing_is_accepted_where_nothing_succeeded(project):
    project.run("{name: w, jobs: {all: {each: [a, b], run: 'false', max_failed: 2}}}")
    (attempt,) = project.attempts("all")
    assert (attempt.state, attempt.cause) == (
        State.FAILED,
        Cause.SUBTASKS,
    )  # if all fail, the step fails, whatever is allowed
    with pytest.raises(PlanRefused, match="no subtask of step `run` succeeded"):
        project.rerun("all", how=How(accept_partial=True))


def test_a_job_that_stopped_elsewhere_repeats_that_step_under_accept_partial(project):
    project.run(
        """
        name: w
        jobs:
          x:
            steps:
              - {name: process, each: [a, b], run: "echo ${item} >> ran"}
              - {name: store, run: "echo store >> ran; test -e mended"}
        """
    )
    (project.folder / "mended").touch()
    applied = project.rerun("x", how=How(accept_partial=True))
    assert applied.plan.jobs[0].start == "store"
    assert project.work().exit_code == 0
    assert ran(project) == ["a", "b", "store", "store"]
    assert project.attempts("x")[-1].partial is False


def test_a_part_is_accepted_where_the_fan_out_is_the_last_step(project):
    project.run(
        """
        name: w
        jobs:
          x: {each: [1, 2, 3], run: "echo ${item} > $REKINDLE_RESULT; test ${item} != 2"}
          y: {needs: [x], run: "echo $REKINDLE_INPUTS > stored"}
        """
    )
    applied = project.rerun("x", how=How(accept_partial=True))
    assert applied.plan.jobs[0].start == "end"
    assert project.work().exit_code == 0
    assert stored(project)["x"]["result"] == {"items": [{"item": 1, "result": 1}, {"item": 3, "result": 3}]}
    assert project.attempts("x")[-1].partial


def test_few_enough_failures_complete_the_step_with_a_part(project):
    text = "{name: w, jobs: {x: {each: [a, b, c], run: 'test ${item} != b -o -e mended', max_failed: 1}}}"
    assert project.run(text).exit_code == 0
    assert project.attempts("x")[0].partial
    (project.folder / "mended").touch()
    project.rerun("x", how=FAILED_STEP)
    project.work()
    assert not project.attempts("x")[-1].partial
    assert subtasks(project, "x", step=0) == [("a", "completed", 1), ("b", "completed", 2), ("c", "completed", 1)]


def test_subtask_resubmits_are_limited_and_a_manual_rerun_resets_the_count(project):
    text = "{name: w, jobs: {x: {each: [a, b], run: 'echo ${item} >> ran; test ${item} != b', resubmit: 2}}}"
    project.run(text)
    assert ran(project) == ["a", "b", "b", "b"]
    assert subtasks(project, "x", step=0) == [("a", "completed", 1), ("b", "failed", 3)]
    project.rerun("x", how=FAILED_STEP)
    project.work()
    assert ran(project) == ["a", "b", "b", "b"] + ["b"] * 3
    assert subtasks(project, "x", step=0)[1] == ("b", "failed", 6)


def test_no_items_is_nothing_to_do(project):
    text = "{name: w, jobs: {x: {steps: [{name: p, each: 'none/*', run: 'false'}, {name: q, run: 'echo q >> ran'}]}}}"
    assert project.run(text).exit_code == 0
    assert ran(project) == ["q"]


def test_items_come_from_patterns_commands_calls_and_earlier_steps(project):
    (project.folder / "fan_items.py").write_text(
        "def names(n): return [{'n': i} for i in range(n)]\n"
        "def work(it, ctx):\n"
        "    assert ctx.item == it\n"
        "    if it['n'] == 1: raise ValueError('odd one')\n"
        "    return it['n'] * 2\n"
    )
    for name in ("b.txt", "a.txt"):
        (project.folder / name).touch()
    project.run(
        """
        name: w
        jobs:
          glob: {each: "*.txt", run: "echo ${item} >> glob"}
          printed: {each: {run: "printf 'x y\\\\n\\\\nz\\\\n'"}, run: "printf '%s\\\\n' ${item} >> printed"}
          called:
            each: {call: "fan_items:names", args: {n: 4}}
            parallel: 3
            call: "fan_items:work"
            args: {it: "${item}"}
          earlier:
            steps:
              - {name: plan, run: "echo '[3, 4]' > $REKINDLE_RESULT"}
              - {name: do, each: "${steps.plan.result}", run: "echo ${item} >> earlier"}
        """
    )
    assert ran(project, "glob") == ["a.txt", "b.txt"]
    assert (project.folder / "printed").read_text() == "x y\nz\n"
    assert ran(project, "earlier") == ["3", "4"]
    found = job_queries.subtasks(project.session, project.attempts("called")[0])[0]
    assert [(one.state.label, one.result) for one in found] == [
        ("completed", "0"),
        ("failed", None),
        ("completed", "4"),
        ("completed", "6"),
    ]
    assert found[1].cause is Cause.EXCEPTION
    _, err = logs.subtask_log_files(project.session, project.job("called"), None, "run", 1)
    assert "ValueError: odd one" in Path(err.path).read_text()


def test_items_that_are_there_twice_fail_the_step(project):
    project.run("{name: w, jobs: {x: {each: {run: 'echo a; echo a'}, run: 'true'}}}")
    (attempt,) = project.attempts("x")
    assert attempt.cause is Cause.START
    assert 'the item "a" is there twice' in attempt.failure.message


def test_subtasks_are_matched_by_item_when_items_change(project):
    for name in ("b", "c", "d"):
        (project.folder / f"{name}.in").touch()
    text = "{name: w, jobs: {x: {each: '*.in', run: 'echo ${item} >> ran; test ${item} != c.in -o -e mended'}}}"
    project.run(text)
    (project.folder / "a.in").touch()
    (project.folder / "d.in").unlink()
    (project.folder / "mended").touch()
    applied = project.rerun("x", how=FAILED_STEP)
    assert applied.plan.warnings == ('the items of `run` of `x` have changed: 1 new ("a.in"), 1 gone ("d.in")',)
    assert applied.plan.jobs[0].reasons[1].detail == {"step": "run", "run": 2, "keep": 1, "new": 1, "gone": 1}
    assert project.work().exit_code == 0
    assert ran(project) == ["b.in", "c.in", "d.in", "a.in", "c.in"]
    found = job_queries.subtasks(project.session, project.attempts("x")[-1])[0]
    told = [(one.index, one.item, one.attempts) for one in found]
    assert told == [(0, '"b.in"', 1), (1, '"c.in"', 2), (3, '"a.in"', 1)]


def test_subtasks_run_at_once_over_the_cpus_of_the_job(project):
    text = """
        name: w
        jobs:
          x:
            resources: {cpus: 2}
            each: [a, b]
            run: "touch ${item}; while [ ! -e a -o ! -e b ]; do sleep 0.01; done"
        """
    assert project.run(text).exit_code == 0


def test_a_time_limit_ends_all_that_runs_and_starts_nothing_more(project):
    project.run("{name: w, jobs: {x: {each: [0, 60, 61], run: 'sleep ${item}', resources: {time: 1s}, resubmit: 3}}}")
    (attempt,) = project.attempts("x")
    assert attempt.cause is Cause.TIMEOUT
    assert subtasks(project, "x", step=0) == [(0, "completed", 1), (60, "failed", 1), (61, "waiting", 0)]


def test_each_subtask_has_its_log_and_its_folder(failed):
    out, _ = logs.subtask_log_files(failed.session, failed.job("slices"), None, "process", 2)
    assert Path(out.path).read_text() == "saw s2\n"
    (failed.folder / "mended").touch()
    failed.rerun("slices", how=FAILED_STEP)
    failed.work()
    again, _ = logs.subtask_log_files(failed.session, failed.job("slices"), None, "process", 2)
    assert again.path == out.path  # kept: its log stays where it ran
    own, _ = logs.subtask_log_files(failed.session, failed.job("slices"), None, "process", 0)
    assert (own.attempt, Path(own.path).read_text()) == (failed.attempts("slices")[-1].id, "saw s0\n")


def test_a_hundred_failed_of_ten_thousand_are_planned_at_once_and_only_they_are_written(project):
    (project.folder / "fan_many.py").write_text(
        "import os\n"
        "def names(): return list(range(10_000))\n"
        "def work(n):\n"
        "    if n % 100 == 7 and not os.path.exists('mended'): raise ValueError('bad')\n"
    )
    project.run("{name: w, jobs: {x: {each: {call: 'fan_many:names'}, call: 'fan_many:work', args: {n: '${item}'}}}}")
    counts = job_queries.subtask_counts(project.session, project.attempts("x"))
    assert counts == {(1, 0): {State.COMPLETED: 9_900, State.FAILED: 100}}
    proposal = rerun.plan(project.session, [([project.job("x")], FAILED_STEP)], {})
    assert proposal.plan.jobs[0].reasons[1].detail["run"] == 100
    rerun.apply(project.session, proposal)
    (project.folder / "mended").touch()
    assert project.work().exit_code == 0
    assert rows(project, project.attempts("x")[-1].id) == 100
    assert job_queries.subtask_counts(project.session, project.attempts("x")[-1:]) == {
        (2, 0): {State.COMPLETED: 10_000}
    }


def test_possible_ways_to_rerun_are_listed_without_changes(failed):
    hows = {"again": How(), "resume": FAILED_STEP, "accept": How(accept_partial=True), "store": How("store")}
    job = failed.job("slices")
    found = rerun.refused_by_name(failed.session, {name: {job: how} for name, how in hows.items()})
    assert [name for name, refused in found.items() if not refused] == ["again", "resume", "accept"]
    assert "step `process`, which comes before, has not completed" in found["store"][job]
    assert rerun.refused_by_name(failed.session, {}) == {}
    assert failed.states()["slices"] is State.FAILED
