"""Folders, recovery and overrides of a rerun, as they are planned."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rerun_views import C, F, K, R, W, graph, job, ran, world

from rekindle.domain.definition import Resources
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.overrides import Modified, Overrides, modified_of
from rekindle.domain.rerunning.asking import check_how, how_to_json
from rekindle.domain.rerunning.planning import plan_from_json, plan_rerun, plan_to_json, pointers_after, pointers_before
from rekindle.domain.rerunning.rerun import Change, How, Reason, ReasonKind
from rekindle.domain.texts.quantities import Amount

STEPS = ("a", "b", "c")


def failed(number=1, **more):
    """Stopped at step b of three."""
    return job(number, F, attempt=ran(C, F, number=7), steps=STEPS, **more)


def planned(view, how, exists=lambda path: True, edges=None, others=()):
    edges = edges or graph()
    return plan_rerun(world([view, *others], edges), edges, [([view.id], how)], exists)


def only(view, how, **more):
    decided = planned(view, how, **more)
    assert decided.refused == ()
    assert plan_from_json(json.loads(json.dumps(plan_to_json(decided)))) == decided
    return decided.jobs[0]


def why(view, how, **more):
    decided = planned(view, how, **more)
    assert decided.jobs == ()
    return decided.refused[0].why


# Recovery


def test_a_resume_point_that_is_kept_is_taken_up_by_a_plain_rerun():
    kept = failed(keep_recovery=3, resume_attempt=5, resume_step=2)
    row = only(kept, How())
    assert (row.start, row.resume_attempt, row.resume_step, row.keeps) == ("c", 5, 2, ("a", "b"))
    assert row.manner.keep_recovery == 3
    assert row.reasons[-1] == Reason(ReasonKind.RECOVERY, {"rerun": 3})


def test_keep_recovery_keeps_where_this_rerun_starts():
    row = only(failed(), How("failed-step", recovery="keep"))
    assert (row.start, row.manner.keep_recovery) == ("b", 0)


def test_without_being_kept_a_resume_point_is_for_one_rerun():
    row = only(failed(resume_attempt=5, resume_step=2), How())
    assert (row.start, row.resume_attempt, row.manner.keep_recovery) == ("beginning", None, None)


def test_a_new_resume_point_is_kept_in_place_of_the_old_one():
    row = only(failed(keep_recovery=3, resume_attempt=5, resume_step=2), How("failed-step"))
    assert (row.start, row.resume_attempt, row.manner.keep_recovery) == ("b", 7, 3)
    assert len(row.reasons) == 1


def test_clear_recovery_starts_from_the_beginning_and_forgets():
    row = only(failed(keep_recovery=3, resume_attempt=5, resume_step=2), How(recovery="clear"))
    assert (row.start, row.resume_attempt, row.manner.keep_recovery) == ("beginning", None, None)


def test_there_may_be_no_resume_point_to_keep():
    decided = planned(failed(), How(recovery="keep"))
    assert decided.jobs[0].manner.keep_recovery is None
    assert decided.warnings == ("`j1` starts from the beginning: it has no resume point to keep",)


def test_a_resume_point_is_lost_when_what_it_rests_on_runs_again():
    below = job(2, C, steps=STEPS, keep_recovery=3, resume_attempt=5, resume_step=1)
    decided = planned(job(1, C), How(), edges=graph((1, 2)), others=[below])
    assert (decided.jobs[1].start, decided.jobs[1].manner.keep_recovery) == ("beginning", None)
    assert "`j2` loses the resume point" in decided.warnings[0]


@pytest.mark.parametrize("cause", ["lost", "oom", "timeout", "exit", "canceled"])
def test_the_failed_step_is_the_first_that_did_not_complete_whatever_ended_it(cause):
    ended = replace(ran(C, C, state=F), cause=cause)  # the step that ran has left no row
    assert only(job(1, F, attempt=ended, steps=STEPS), How("failed-step")).start == "c"


def test_again_is_the_last_attempt_as_it_was():
    view = failed(resume_attempt=5, resume_step=1, overrides='{"cpus": 2.0}', take="copy", folder="/f", keep_recovery=3)
    row = only(replace(view, workdir="attempt"), How(again=True))
    assert (row.start, row.resume_attempt, row.resume_step) == ("b", 5, 1)
    assert (row.manner.take, row.manner.folder, row.manner.overrides) == ("copy", "/f", '{"cpus": 2.0}')
    assert row.manner.keep_recovery == 3
    assert only(failed(), How(again=True)).start == "beginning"


# Overrides

SMALL = Resources(cpus=1.0, memory=1000, time=60.0)


def test_what_is_asked_for_is_told_before_and_after():
    view = failed(resources=SMALL, params={"alpha": 0.1}, env={"A": "x"})
    asked = Overrides.asked({"alpha": 0.2}, {"A": "y", "B": "z"}, "x1.5", "2m", 4)
    row = only(view, How(overrides=asked))
    assert row.manner.changes == (
        Change("params.alpha", 0.1, 0.2),
        Change("env.A", "x", "y"),
        Change("env.B", None, "z"),
        Change("memory", 1000, 1500),
        Change("time", 60.0, 120.0),
        Change("cpus", 1.0, 4),
    )
    assert modified_of(row.manner.overrides) == Modified({"alpha": 0.2}, {"A": "y", "B": "z"}, 1500, 120.0, 4)


def test_a_factor_is_of_what_the_job_has_now():
    view = failed(resources=SMALL, overrides=Modified(memory=3000).text())
    asked = Overrides(memory=Amount(factor=2.0))
    assert modified_of(only(view, How(overrides=asked)).manner.overrides).memory == 6000


def test_a_rerun_drops_what_the_one_before_modified():
    view = failed(resources=SMALL, overrides=Modified(memory=3000).text())
    row = only(view, How())
    assert (row.manner.overrides, row.manner.changes) == (None, (Change("memory", 3000, 1000),))


def test_kept_modifications_lie_under_the_new_ones():
    view = failed(resources=SMALL, params={"a": 1, "b": 2}, overrides=Modified({"a": 5, "b": 6}, memory=3000).text())
    row = only(view, How(overrides=Overrides.asked({"a": 7}), keep_modified=True))
    assert modified_of(row.manner.overrides) == Modified({"a": 7, "b": 6}, memory=3000)
    assert row.manner.changes == (Change("params.a", 5, 7),)


def test_descendants_keep_their_own_modifications_and_get_no_others():
    mine = Modified(cpus=2.0).text()
    below = [job(2, C, overrides=mine), job(3, C)]
    decided = planned(failed(), How(overrides=Overrides.asked(cpus=8)), edges=graph((1, 2), (1, 3)), others=below)
    assert [row.manner.overrides for row in decided.jobs[1:]] == [mine, None]
    assert pointers_after(decided.jobs[1], pointers_before(below[0])).overrides == mine


def test_an_unknown_parameter_is_refused_with_the_nearest():
    view = failed(params={"alpha": 1, "beta": 2})
    told = why(view, How(overrides=Overrides.asked({"alhpa": 2})))
    assert told == "its workflow has no parameter `alhpa`: did you mean `alpha`?"
    assert "`gamma`" in why(view, How(overrides=Overrides.asked(env={"A": "${params.gamma}"})))


def test_a_value_of_the_matrix_is_no_parameter():
    assert "value of its matrix" in why(failed(binding='{"seed": 1}'), How(overrides=Overrides.asked({"seed": 2})))


def test_a_multiple_of_no_limit_is_refused():
    assert "sets no memory" in why(failed(), How(overrides=Overrides.asked(memory="x2")))
    assert "sets no time" in why(failed(), How(overrides=Overrides.asked(time="x2")))


@pytest.mark.parametrize(
    "asked",
    [
        {"memory": "8"},
        {"memory": "x"},
        {"memory": "x0"},
        {"memory": "x-1"},
        {"memory": "xnan"},
        {"memory": "xinf"},
        {"memory": "0M"},
        {"time": "2"},
        {"time": "0s"},
        {"cpus": 0},
        {"cpus": float("nan")},
        {"cpus": -1},
        {"env": {"A-B": "x"}},
        {"env": {"REKINDLE_DIR": "x"}},
        {"env": {"A": "${parms.x}"}},
        {"env": {"A": "${steps.a.result}"}},
        {"params": {"a": float("inf")}},
        {"params": {"a": 2**70}},
        {"params": {"a": "${params.b}"}},
    ],
)
def test_values_that_no_attempt_can_have_are_bad(asked):
    with pytest.raises(BadValue):
        Overrides.asked(**asked)


def test_nothing_asked_for_is_nothing():
    assert Overrides.asked() == Overrides()
    assert Modified().text() is None


def test_a_how_that_makes_no_sense_is_refused():
    for how in (How(workdir="old"), How(recovery="maybe"), How(overrides=Overrides(memory=Amount()))):
        with pytest.raises(BadValue):
            check_how(how)
    with pytest.raises(UsageError):
        check_how(How(again=True, keep_outputs=True))


def test_what_was_asked_is_recorded_in_few_words():
    how = How(
        "failed-step", workdir="copy", recovery="keep", overrides=Overrides.asked({"a": 1}, memory="x1.5", cpus=2)
    )
    assert how_to_json(replace(how, keep_modified=True)) == {
        "from": "failed-step",
        "downstream": "all",
        "workdir": "copy",
        "keep_recovery": True,
        "set": {"a": 1},
        "memory": "x1.5",
        "cpus": 2,
        "keep_modified": True,
    }
    assert how_to_json(How()) == {"from": "beginning", "downstream": "all"}


def test_jobs_asked_for_in_two_ways_are_refused():
    views = world([failed()], graph())
    hows = [([1], How(overrides=Overrides.asked(cpus=2))), ([1], How())]
    assert plan_rerun(views, graph(), hows).refused[0].why == "it is asked for in different ways: name one"


# Outputs


def test_only_outputs_that_are_there_are_named():
    view = failed(outputs=("a", "b"), declared=("a", "b"), directory="/p")
    assert planned(view, How(), exists=lambda path: path == "/p/b").overwrites == ("b",)


def test_the_next_attempts_outputs_are_named_where_a_parameter_moves_them():
    view = failed(outputs=("out-1",), declared=("out-${params.n}",), directory="/p", params={"n": 1})
    assert planned(view, How(overrides=Overrides.asked({"n": 2}))).overwrites == ("out-2",)


def test_a_new_folder_writes_nothing_over():
    assert planned(failed(outputs=("a",), workdir="attempt"), How()).overwrites == ()


def test_states_that_cannot_rerun_are_refused_as_before():
    assert "ready" in why(job(1, R), How(overrides=Overrides.asked(cpus=2)))
    assert "waiting" in why(job(1, W), How(recovery="keep"))
    assert only(job(1, K, canceled=True), How(recovery="clear")).after is R


# Another attempt than the latest


def test_a_rerun_goes_on_from_the_attempt_that_is_named():
    view = failed(source=ran(C, C, F, number=4))
    row = only(view, How("failed-step", attempt=4))
    assert (row.start, row.keeps, row.resume_attempt, row.resume_step) == ("c", ("a", "b"), 4, 2)
    assert row.archives == (7,), "the one that is live"


def test_an_attempt_that_is_not_the_jobs_is_refused():
    assert why(failed(), How("failed-step", attempt=4)) == "it has no attempt 4 to go on from"


def test_an_attempt_is_named_only_where_something_of_it_is_taken():
    with pytest.raises(UsageError, match="nothing of it is kept"):
        check_how(How(attempt=4))
    check_how(How(attempt=4, workdir="copy"))
    assert how_to_json(How("failed-step", attempt=4))["attempt"] == 4


def test_a_job_that_is_ready_drops_where_it_was_to_start():
    ready = job(1, R, steps=STEPS, resume_attempt=5, resume_step=2, keep_recovery=3)
    row = only(ready, How(recovery="clear"))
    assert (row.before, row.after, row.start, row.resume_attempt, row.archives) == (R, R, "beginning", None, ())
    assert row.manner.keep_recovery is None
    assert "it is ready" in why(ready, How())
    assert "it is ready" in why(job(1, R, steps=STEPS), How(recovery="clear"))
