"""Decisions of a supervision for a batch at rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.batches.supervision import (
    Budget,
    GroupKeys,
    Guards,
    RerunCandidate,
    SpentBudget,
    SupervisionEnd,
    check_guards,
    decide_round,
    group_of,
    over_budget,
    parse_causes,
    parse_statuses,
)
from rekindle.domain.errors import UsageError
from rekindle.domain.states import Cause
from rekindle.domain.verdicts import Status


def batch(statuses, **more):
    return [RerunCandidate(at, Status(status), **more) for at, status in enumerate(statuses.split(), start=1)]


# The boundaries of ReSim's supervise: strictly greater stops


@pytest.mark.parametrize(
    ("statuses", "limit", "rerun", "end"),
    [
        ("error passed", 50, (1,), None),
        ("error error passed", 34, (), SupervisionEnd.FAILURE_PERCENT),
        ("error passed passed", 34, (1,), None),
        ("error error passed", 66, (), SupervisionEnd.FAILURE_PERCENT),
        ("error error passed", 67, (1, 2), None),
        ("error error", 100, (1, 2), None),
        ("error " + "passed " * 99, 1, (1,), None),
        ("error error " + "passed " * 98, 1, (), SupervisionEnd.FAILURE_PERCENT),
        ("passed passed", 50, (), SupervisionEnd.CLEAN),
        ("passed warning blocker", 50, (), SupervisionEnd.CLEAN),
        ("", 50, (), SupervisionEnd.CLEAN),
    ],
)
def test_a_failure_percentage_above_the_limit_ends_it(statuses, limit, rerun, end):
    decided = decide_round(0, batch(statuses), Guards(max_failure_percent=limit))
    assert (decided.rerun, decided.end) == (rerun, end)


@pytest.mark.parametrize(
    ("rerun", "most", "end"), [(0, 0, SupervisionEnd.MAX_RERUNS), (0, 1, None), (1, 1, SupervisionEnd.MAX_RERUNS)]
)
def test_it_runs_again_so_many_times_at_the_most(rerun, most, end):
    assert decide_round(rerun, batch("error passed"), Guards(max_reruns=most)).end is end


def test_a_batch_that_is_clean_after_its_last_rerun_ended_well():
    assert decide_round(1, batch("passed passed"), Guards(max_reruns=1)).end is SupervisionEnd.CLEAN


def test_a_canceled_batch_is_not_run_again():
    decided = decide_round(0, batch("error canceled passed passed"), Guards())
    assert (decided.rerun, decided.end) == ((), SupervisionEnd.CANCELED)
    assert decide_round(0, batch("canceled passed"), Guards()).end is SupervisionEnd.CANCELED


def test_canceled_jobs_run_again_where_that_is_asked_for():
    guards = Guards(on=frozenset({Status.ERROR, Status.CANCELED}))
    assert decide_round(0, batch("error canceled passed passed"), guards).rerun == (1, 2)


def test_only_the_statuses_asked_for_match():
    guards = Guards(on=frozenset({Status.WARNING, Status.BLOCKER}))
    assert decide_round(0, batch("error warning blocker passed passed"), guards).rerun == (2, 3)


def test_only_the_causes_asked_for_match():
    jobs = [
        RerunCandidate(1, Status.ERROR, Cause.EXIT),
        RerunCandidate(2, Status.ERROR, Cause.OOM),
        RerunCandidate(3, Status.PASSED),
        RerunCandidate(4, Status.PASSED),
    ]
    assert decide_round(0, jobs, Guards(on_causes=frozenset({Cause.OOM}))).rerun == (2,)


def test_an_aggregate_runs_again_with_the_others_and_counts_in_no_percentage():
    jobs = [*batch("error passed"), RerunCandidate(9, Status.ERROR, aggregate=True)]
    decided = decide_round(0, jobs, Guards(max_failure_percent=50))
    assert decided.rerun == (1, 9)
    assert (decided.percent, decided.total) == (50.0, 2)


def test_only_an_aggregate_that_failed_is_run_again():
    jobs = [*batch("passed passed"), RerunCandidate(9, Status.ERROR, aggregate=True)]
    assert decide_round(0, jobs, Guards(max_failure_percent=1)).rerun == (9,)


def test_a_cause_is_asked_of_those_that_have_one():
    jobs = [
        RerunCandidate(1, Status.WARNING),
        RerunCandidate(2, Status.ERROR, Cause.EXIT),
        RerunCandidate(3, Status.ERROR, Cause.LOST),
        RerunCandidate(4, Status.PASSED),
    ]
    on = frozenset({Status.ERROR, Status.WARNING})
    assert decide_round(0, jobs, Guards(on=on, on_causes=frozenset({Cause.LOST}))).rerun == (1, 3)


# Groups


def hosts(**groups):
    found = []
    for group, statuses in groups.items():
        found += [
            RerunCandidate(len(found) + at, Status(one), group=group)
            for at, one in enumerate(statuses.split(), start=1)
        ]
    return found


def test_a_group_that_fails_too_often_stops_and_the_others_go_on():
    jobs = hosts(n1="error error error passed", n2="error passed passed passed")
    decided = decide_round(0, jobs, Guards(group_by="host", max_group_percent=50))
    assert decided.rerun == (5,)
    assert decided.stopped == {"n1": 75.0}


def test_a_group_at_its_limit_goes_on():
    jobs = hosts(n1="error passed", n2="passed passed")
    assert decide_round(0, jobs, Guards(group_by="host", max_group_percent=50)).rerun == (1,)


def test_when_every_group_that_fails_is_stopped_it_ends():
    jobs = hosts(n1="error error error passed", n2="passed passed passed passed")
    decided = decide_round(0, jobs, Guards(group_by="host", max_group_percent=50))
    assert (decided.rerun, decided.end, decided.stopped) == ((), SupervisionEnd.GROUPS, {"n1": 75.0})


def test_the_share_of_a_signature_is_that_of_the_whole_batch():
    jobs = hosts(aaa="error error error", bbb="error", none="passed passed passed passed passed passed")
    decided = decide_round(0, jobs, Guards(group_by="signature", max_group_percent=25))
    assert decided.rerun == (4,)
    assert decided.stopped == {"aaa": 30.0}


def test_an_aggregate_does_not_keep_a_batch_going_whose_groups_are_stopped():
    jobs = [*hosts(n1="error error passed", n2="passed"), RerunCandidate(9, Status.ERROR, group="n2", aggregate=True)]
    assert decide_round(0, jobs, Guards(group_by="host", max_group_percent=50)).end is SupervisionEnd.GROUPS


def test_the_share_of_a_cause_is_that_of_the_whole_batch():
    jobs = hosts(oom="error error", exit="error", none="passed passed passed passed passed")
    decided = decide_round(0, jobs, Guards(group_by="cause", max_group_percent=20))
    assert (decided.rerun, decided.stopped) == ((3,), {"oom": 25.0})


@pytest.mark.parametrize(
    ("by", "group"),
    [
        (None, ""),
        ("host", "n1"),
        ("signature", "3f9a"),
        ("cause", "oom"),
        ("template", "train"),
        ("matrix.alpha", "0.1"),
        ("matrix.beta", ""),
    ],
)
def test_a_job_is_of_the_group_that_the_word_says(by, group):
    assert group_of(by, GroupKeys("n1", "3f9a", Cause.OOM, "train", {"alpha": 0.1})) == group


# Budgets


@pytest.mark.parametrize(
    ("budget", "spent", "fits"),
    [
        (Budget(attempts=10), SpentBudget(attempts=4, next_attempts=6), True),
        (Budget(attempts=10), SpentBudget(attempts=4, next_attempts=7), False),
        (Budget(core_seconds=3600), SpentBudget(core_seconds=3000, next_core_seconds=600), True),
        (Budget(core_seconds=3600), SpentBudget(core_seconds=3000, next_core_seconds=601), False),
        (Budget(seconds=60), SpentBudget(seconds=59.9), True),
        (Budget(seconds=60), SpentBudget(seconds=60), False),
        (Budget(), SpentBudget(10**6, 1e9, 1e9, 10**6, 1e9), True),
    ],
)
def test_a_rerun_beyond_the_budget_is_not_made(budget, spent, fits):
    assert (over_budget(budget, spent) is None) is fits


# Invalid options are refused first


@pytest.mark.parametrize("percent", [1, 50, 100, 0.5])
def test_a_percentage_within_bounds_is_taken(percent):
    check_guards(Guards(max_failure_percent=percent))


@pytest.mark.parametrize(
    "guards",
    [
        Guards(max_failure_percent=0),
        Guards(max_failure_percent=101),
        Guards(max_failure_percent=-3),
        Guards(max_failure_percent=float("nan")),
        Guards(max_reruns=-1),
        Guards(max_group_percent=50),
        Guards(group_by="host", max_group_percent=0),
        Guards(on=frozenset()),
        Guards(group_by="moon"),
        Guards(group_by="matrix"),
        Guards(group_by="matrix."),
        Guards(budget=Budget(attempts=-1)),
        Guards(budget=Budget(core_seconds=-0.5)),
        Guards(budget=Budget(seconds=float("inf"))),
    ],
)
def test_guards_that_make_no_sense_are_refused(guards):
    with pytest.raises(UsageError):
        check_guards(guards)


@pytest.mark.parametrize("by", ["host", "signature", "cause", "template", "matrix.alpha", "matrix.a.b"])
def test_groups_that_are_known_are_taken(by):
    check_guards(Guards(group_by=by))


def test_statuses_and_causes_are_read_in_any_case():
    assert parse_statuses("--on", ["Warning,ERROR", "blocker"]) == {Status.WARNING, Status.ERROR, Status.BLOCKER}
    assert parse_statuses("--on", ["cancelled"]) == {Status.CANCELED}
    assert parse_causes("--on-cause", ["OOM, timeout"]) == {Cause.OOM, Cause.TIMEOUT}


@pytest.mark.parametrize(
    ("read", "words", "said"),
    [
        (parse_statuses, ["failed"], "`error`"),
        (parse_statuses, ["bloker"], "did you mean `blocker`?"),
        (parse_statuses, ["error,passed"], "passed"),
        (parse_statuses, ["running"], "running"),
        (parse_causes, ["out of memory"], "out of memory"),
        (parse_causes, ["time"], "did you mean `timeout`?"),
    ],
)
def test_a_word_that_nobody_knows_is_refused(read, words, said):
    with pytest.raises(UsageError) as refused:
        read("--on", words)
    assert said in str(refused.value)


STATUS = st.sampled_from(["passed", "warning", "blocker", "error"])


@given(st.lists(STATUS, max_size=30), st.integers(1, 100), st.integers(0, 3))
def test_a_round_reruns_all_that_matches_or_nothing(statuses, limit, rerun):
    jobs = batch(" ".join(statuses))
    decided = decide_round(rerun, jobs, Guards(max_reruns=3, max_failure_percent=limit))
    errors = tuple(one.job for one in jobs if one.status == "error")
    assert decided.rerun in ((), errors)
    assert bool(decided.rerun) == (decided.end is None)
    assert bool(decided.rerun) == (bool(errors) and rerun < 3 and 100 * len(errors) <= limit * len(jobs))
