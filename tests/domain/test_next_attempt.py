"""Folders, resume points and overrides of planned reruns."""

from __future__ import annotations

import json
from datetime import timedelta
from fractions import Fraction

import pytest
from msgspec.structs import replace
from rerun_views import C, F, K, R, W, graph, job, plan_pairs, ran, world

from rekindle.domain.definition import Resources
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.overrides import AppliedOverrides, Overrides, decode_overrides
from rekindle.domain.rerun.plan import OverrideChange, Reason, ReasonKind
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json
from rekindle.domain.rerun.request import How, InternalHow, RequestMode, check_how, how_to_json
from rekindle.domain.rerun.undo import pointers_after, pointers_before
from rekindle.domain.texts.quantities import Amount

STEPS = ("a", "b", "c")


def failed(number=1, **more):
    """Return a job that stopped at step b of three."""
    return job(number, F, attempt=ran(C, F, number=7), steps=STEPS, **more)


def planned(view, how, exists=lambda path: True, edges=None, others=()):
    edges = edges or graph()
    return plan_pairs(world([view, *others], edges), edges, [([view.id], how)], exists)


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


def test_a_plain_rerun_uses_a_kept_resume_point():
    kept = failed(keep_recovery=3, resume_attempt=5, resume_step=2)
    row = only(kept, How())
    assert (row.start, row.next.resume_attempt, row.next.resume_step, row.keeps) == ("c", 5, 2, ("a", "b"))
    assert row.next.keep_recovery == 3
    assert row.reasons[-1] == Reason(ReasonKind.RECOVERY, {"rerun": 3})


def test_keep_recovery_keeps_this_start_point():
    row = only(failed(), How("failed-step", recovery="keep"))
    assert (row.start, row.next.keep_recovery) == ("b", 0)


def test_without_being_kept_a_resume_point_is_for_one_rerun():
    row = only(failed(resume_attempt=5, resume_step=2), How())
    assert (row.start, row.next.resume_attempt, row.next.keep_recovery) == ("beginning", None, None)


def test_a_new_resume_point_is_kept_in_place_of_the_old_one():
    row = only(failed(keep_recovery=3, resume_attempt=5, resume_step=2), How("failed-step"))
    assert (row.start, row.next.resume_attempt, row.next.keep_recovery) == ("b", 7, 3)
    assert len(row.reasons) == 1


def test_clear_recovery_starts_from_the_beginning_and_forgets():
    row = only(failed(keep_recovery=3, resume_attempt=5, resume_step=2), How(recovery="clear"))
    assert (row.start, row.next.resume_attempt, row.next.keep_recovery) == ("beginning", None, None)


def test_there_may_be_no_resume_point_to_keep():
    decided = planned(failed(), How(recovery="keep"))
    assert decided.jobs[0].next.keep_recovery is None
    assert decided.warnings == ("`j1` starts from the beginning: it has no resume point to keep",)


def test_a_resume_point_is_lost_when_an_upstream_job_runs_again():
    below = job(2, C, steps=STEPS, keep_recovery=3, resume_attempt=5, resume_step=1)
    decided = planned(job(1, C), How(), edges=graph((1, 2)), others=[below])
    assert (decided.jobs[1].start, decided.jobs[1].next.keep_recovery) == ("beginning", None)
    assert "`j2` loses the resume point" in decided.warnings[0]


@pytest.mark.parametrize("cause", ["lost", "oom", "timeout", "exit", "canceled"])
def test_the_failed_step_is_the_first_that_did_not_complete_whatever_ended_it(cause):
    ended = replace(ran(C, C, state=F), cause=cause)  # the running step has no row
    assert only(job(1, F, attempt=ended, steps=STEPS), How("failed-step")).start == "c"


def test_again_is_the_last_attempt_as_it_was():
    view = failed(resume_attempt=5, resume_step=1, overrides='{"cpus": 2.0}', take="copy", folder="/f", keep_recovery=3)
    row = only(replace(view, workdir="attempt"), InternalHow(mode=RequestMode.REPEAT))
    assert (row.start, row.next.resume_attempt, row.next.resume_step) == ("b", 5, 1)
    assert (row.next.take, row.next.folder, row.next.overrides) == (
        "copy",
        "/f",
        '{"cpus": 2.0}',
    )
    assert row.next.keep_recovery == 3
    assert only(failed(), InternalHow(mode=RequestMode.REPEAT)).start == "beginning"


# Overrides

SMALL = Resources(cpus=1.0, memory=1000, time=60.0)


def test_overrides_show_before_and_after():
    view = failed(resources=SMALL, params={"alpha": 0.1}, env={"A": "x"})
    asked = Overrides({"alpha": 0.2}, {"A": "y", "B": "z"}, "x1.5", "2m", 4)
    row = only(view, How(overrides=asked))
    assert row.changes == (
        OverrideChange("params.alpha", 0.1, 0.2),
        OverrideChange("env.A", "x", "y"),
        OverrideChange("env.B", None, "z"),
        OverrideChange("memory", 1000, 1500),
        OverrideChange("time", 60.0, 120.0),
        OverrideChange("cpus", 1.0, 4),
    )
    assert decode_overrides(row.next.overrides) == AppliedOverrides(
        {"alpha": 0.2}, {"A": "y", "B": "z"}, 1500, 120.0, 4
    )


def test_a_factor_is_of_what_the_job_has_now():
    view = failed(resources=SMALL, overrides=AppliedOverrides(memory=3000).text())
    asked = Overrides(memory=Amount(factor=2.0))
    assert decode_overrides(only(view, How(overrides=asked)).next.overrides).memory == 6000


def test_a_rerun_drops_earlier_overrides():
    view = failed(resources=SMALL, overrides=AppliedOverrides(memory=3000).text())
    row = only(view, How())
    assert (row.next.overrides, row.changes) == (None, (OverrideChange("memory", 3000, 1000),))


def test_kept_modifications_lie_under_the_new_ones():
    view = failed(
        resources=SMALL, params={"a": 1, "b": 2}, overrides=AppliedOverrides({"a": 5, "b": 6}, memory=3000).text()
    )
    row = only(view, How(overrides=Overrides({"a": 7}), keep_modified=True))
    assert decode_overrides(row.next.overrides) == AppliedOverrides({"a": 7, "b": 6}, memory=3000)
    assert row.changes == (OverrideChange("params.a", 5, 7),)


def test_descendants_keep_their_own_modifications_and_get_no_others():
    mine = AppliedOverrides(cpus=2.0).text()
    below = [job(2, C, overrides=mine), job(3, C)]
    decided = planned(failed(), How(overrides=Overrides(cpus=8)), edges=graph((1, 2), (1, 3)), others=below)
    assert [row.next.overrides for row in decided.jobs[1:]] == [mine, None]
    assert pointers_after(decided.jobs[1], pointers_before(below[0])).next.overrides == mine


def test_an_unknown_parameter_is_refused_with_the_nearest():
    view = failed(params={"alpha": 1, "beta": 2})
    told = why(view, How(overrides=Overrides({"alhpa": 2})))
    assert told == "its workflow has no parameter `alhpa`: did you mean `alpha`?"
    assert "`gamma`" in why(view, How(overrides=Overrides(env={"A": "${params.gamma}"})))


def test_a_value_of_the_matrix_is_no_parameter():
    assert "value of its matrix" in why(failed(binding='{"seed": 1}'), How(overrides=Overrides({"seed": 2})))


def test_a_multiple_of_no_limit_is_refused():
    assert "sets no memory" in why(failed(), How(overrides=Overrides(memory="x2")))
    assert "sets no time" in why(failed(), How(overrides=Overrides(time="x2")))


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
        Overrides(**asked)


def test_no_overrides_are_stored_as_none():
    assert Overrides(None, None) == Overrides()
    assert AppliedOverrides().text() is None


@pytest.mark.parametrize(
    "asked",
    [
        lambda: How(workdir="old"),
        lambda: How(recovery="maybe"),
        lambda: How(overrides=Overrides(memory=Amount())),
        lambda: How(downstream="some"),
        lambda: How(definition="newest"),
        lambda: How(start=3),
        lambda: How(subtasks="3"),
        lambda: How(subtasks=[0, 1]),
        lambda: How(repeats="2"),
        lambda: How(repeats=10_000),
        lambda: How(overrides={"memory": "8G"}),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_written(asked):
    with pytest.raises(BadValue):
        asked()


def test_contradictory_options_are_refused():
    with pytest.raises(UsageError):
        check_how(InternalHow(mode=RequestMode.REPEAT, keep_outputs=True))
    with pytest.raises(UsageError):
        How(undo_dynamic=True, downstream="none")


@pytest.mark.parametrize(
    ("given", "memory", "time", "cpus"),
    [
        ({"memory": "8G"}, Amount(8 * 2**30), None, None),
        ({"memory": "x1.5"}, Amount(factor=1.5), None, None),
        ({"time": "2h"}, None, Amount(7200.0), None),
        ({"time": timedelta(minutes=90)}, None, Amount(5400.0), None),
        ({"time": "x2"}, None, Amount(factor=2.0), None),
        ({"cpus": 2}, None, None, 2),
        ({"cpus": Fraction(1, 2)}, None, None, 0.5),
        ({"memory": Amount(factor=2.0), "time": None}, Amount(factor=2.0), None, None),
    ],
)
def test_amounts_are_written_as_on_the_command_line(given, memory, time, cpus):
    made = Overrides(**given)
    assert (made.memory, made.time, made.cpus) == (memory, time, cpus)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"memory": 8}, "memory: the size 8 has no unit (8M for mebibytes"),
        ({"memory": "8X"}, "memory: '8X' is not a size (write it like 512M, 8G"),
        ({"memory": "xfast"}, "memory: 'xfast' is not a factor (a factor is written like x1.5)"),
        ({"memory": ["8G"]}, "memory: ['8G'] is not a size"),
        ({"time": 90}, "time: the duration 90 has no unit (90s for seconds"),
        ({"time": "soon"}, "time: 'soon' is not a duration"),
        ({"cpus": "4"}, "cpus must be a number, and is '4' (cpus=4)"),
        ({"cpus": True}, "cpus must be a number, and is True"),
        ({"cpus": float("nan")}, "cpus must be above 0 and finite, and is nan"),
        ({"params": ["alpha=1"]}, "params must be a mapping of names to values, and is ['alpha=1']"),
        ({"params": {3: 1}}, "the name of a parameter must be a text, and is 3"),
        ({"env": {"A": 1}}, "the value of A must be a text, and is 1 (A='1')"),
    ],
)
def test_a_wrong_amount_is_refused_where_it_is_written_with_its_value(given, says):
    with pytest.raises(BadValue) as refused:
        Overrides(**given)
    assert str(refused.value).startswith(says)


def test_the_request_is_recorded_without_defaults():
    how = How("failed-step", workdir="copy", recovery="keep", overrides=Overrides({"a": 1}, memory="x1.5", cpus=2))
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


def test_jobs_requested_with_different_options_are_refused():
    views = world([failed()], graph())
    hows = [([1], How(overrides=Overrides(cpus=2))), ([1], How())]
    assert plan_pairs(views, graph(), hows).refused[0].why == "it is requested in different ways: name one"


# Outputs


def test_only_existing_outputs_are_overwritten():
    view = failed(outputs=("a", "b"), declared=("a", "b"), directory="/p")
    assert planned(view, How(), exists=lambda path: path == "/p/b").overwrites == ("b",)


def test_outputs_moved_by_a_parameter_are_overwritten():
    view = failed(outputs=("out-1",), declared=("out-${params.n}",), directory="/p", params={"n": 1})
    assert planned(view, How(overrides=Overrides({"n": 2}))).overwrites == ("out-2",)


def test_a_new_folder_writes_nothing_over():
    assert planned(failed(outputs=("a",), workdir="attempt"), How()).overwrites == ()


def test_states_that_cannot_rerun_are_refused_as_before():
    assert "ready" in why(job(1, R), How(overrides=Overrides(cpus=2)))
    assert "waiting" in why(job(1, W), How(recovery="keep"))
    assert only(job(1, K, canceled=True), How(recovery="clear")).after is R


# A named attempt


def test_a_rerun_resumes_the_named_attempt():
    view = failed(source=ran(C, C, F, number=4))
    row = only(view, How("failed-step", attempt=4))
    assert (row.start, row.keeps, row.next.resume_attempt, row.next.resume_step) == ("c", ("a", "b"), 4, 2)
    assert row.archives == (7,), "the one that is live"


def test_an_attempt_of_another_job_is_refused():
    assert why(failed(), How("failed-step", attempt=4)) == "it has no attempt 4 to go on from"


def test_a_named_attempt_must_be_used():
    with pytest.raises(UsageError, match="nothing of it would be kept"):
        check_how(How(attempt=4))
    check_how(How(attempt=4, workdir="copy"))
    assert how_to_json(How("failed-step", attempt=4))["attempt"] == 4


def test_a_ready_job_drops_its_resume_point():
    ready = job(1, R, steps=STEPS, resume_attempt=5, resume_step=2, keep_recovery=3)
    row = only(ready, How(recovery="clear"))
    assert (row.before, row.after, row.start, row.next.resume_attempt, row.archives) == (R, R, "beginning", None, ())
    assert row.next.keep_recovery is None
    assert "it is ready" in why(ready, How())
    assert "it is ready" in why(job(1, R, steps=STEPS), How(recovery="clear"))
