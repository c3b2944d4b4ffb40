"""Plans over sets of jobs that are alike: they equal the plans that are made job by job."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rerun_views import C, F, K, Q, R, W, X, as_kinds, graph, job, plan_pairs, ran, world

from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.costs import DurationHistory
from rekindle.domain.rerun.plan import Columns, JobSets, PlannedJob, Reason, ReasonKind, planned_jobs
from rekindle.domain.rerun.plan_json import plan_from_json, plan_to_json
from rekindle.domain.rerun.request import RESET_HOLD, How, InternalHow, RequestMode
from rekindle.domain.rerun.views import OWN, JobTable
from rekindle.domain.states import ACTIVE, ENDED

HOWS = [
    How(),
    How(downstream="changed"),
    How(downstream="none"),
    How("failed-step"),
    How("b", workdir="copy"),
    How(definition="pinned", downstream="changed"),
    How(overrides=Overrides({"alpha": 2}, memory="x2")),
    How(overrides=Overrides({"unknown": 2})),
    How(keep_outputs=True, cancel_running=True),
    How("failed-step", recovery="keep"),
    How(hold=RESET_HOLD),
    InternalHow(mode=RequestMode.RELEASE),
    InternalHow(mode=RequestMode.REPEAT),
]
NEXT = {
    "overrides": lambda number: NextAttempt(overrides='{"params": {"alpha": 1}}'),
    "candidate": lambda number: NextAttempt(reuse_candidate=100 + number),
    "kept": lambda number: NextAttempt(resume_attempt=100 + number, resume_step=1, keep_recovery=3),
    "earlier": lambda number: NextAttempt(resume_attempt=500 + number, resume_step=1, keep_recovery=3),
    "pinned": lambda number: NextAttempt(pinned_to=500 + number),
    "delayed": lambda number: NextAttempt(not_before=9.0, repeats=2),
}
MORE = {
    "held": lambda number: {"held": "later"},
    "reset": lambda number: {"held": RESET_HOLD},
    "finished": lambda number: {"when_finished": True},
    "aggregate": lambda number: {"aggregate": True},
    "forbidden": lambda number: {"rerun_forbidden": "it pays"},
    "retired": lambda number: {"retired": True},
    "folder": lambda number: {"workdir": "attempt"},
    "shared": lambda number: {"outputs": ("/out",), "declared": ("/out",)},
    "outputs": lambda number: {"outputs": (f"/out/{number}",), "declared": ("/out/${job.id}",)},
}
KINDS = st.tuples(
    st.sampled_from([C, C, F, F, F, K, W, W, R, Q, X]),
    st.booleans(),
    st.sampled_from([*NEXT]) | st.none() | st.none(),
    st.sampled_from([*MORE]) | st.none() | st.none(),
)
"""The state, whether it ran before, what its next attempt does, and further fields of jobs that are alike."""


def one_of(kind, number):
    """Return a job of a kind. Its newest attempt is 100 + number."""
    state, ran_before, following, further = kind
    own, more = 100 + number, {} if further is None else MORE[further](number)
    if state in ENDED and state is not K:
        more["attempt"] = ran(C, state, number=own)
    elif ran_before and state not in ACTIVE:
        more["last"] = own
    if following is not None:
        more["next"] = NEXT[following](number)
    return job(number, state, **{"steps": ("a", "b"), "params": {"alpha": 0}, **more})


@st.composite
def batches(draw):
    """Jobs 0 … n-1 of few kinds with the edges of a random graph, requests, and why some jobs are stale."""
    kinds = draw(st.lists(KINDS, min_size=1, max_size=3))
    n = draw(st.integers(1, 14))
    of = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=n, max_size=n))
    views = [replace(one_of(kinds[kind], number), template=kind + 1) for number, kind in enumerate(of)]
    needs = draw(st.lists(st.lists(st.integers(0, n), max_size=3), min_size=n, max_size=n))
    edges = {(parent, child) for child, parents in enumerate(needs) for parent in parents if parent < child}
    hows = draw(st.lists(st.sampled_from(HOWS[:3]) | st.sampled_from(HOWS), min_size=1, max_size=2))
    picked = draw(st.sampled_from([[number for number, kind in enumerate(of) if kind == 0], [0], [*range(n // 2 + 1)]]))
    share = draw(st.integers(0, 5))  # of each request; the others are requested in the second way
    requests = [([number for number in picked if (number % 6 < share) is bool(at)], how) for at, how in enumerate(hows)]
    why = draw(st.lists(st.integers(0, n - 1), unique=True, max_size=1))
    return views, graph(*sorted(edges)), requests, {number: (Reason(ReasonKind.FAILED),) for number in why}


@settings(max_examples=300, deadline=None)
@given(batches(), st.booleans())
def test_a_plan_over_sets_equals_the_one_made_job_by_job(batch, exists):
    views, edges, requests, why = batch
    found = world(views, edges)
    pinned = {number: replace(view, outputs=("/then",), declared=("/then",)) for number, view in found.items()}
    past = DurationHistory({0: 3.0, 2: 5.0}, {1: 2.0}, cores=2.0)
    more = {"exists": lambda _: exists, "why": why, "earlier": pinned, "past": past}
    one_by_one = plan_pairs(JobTable.of(found), edges, requests, **more)
    decided = plan_pairs(as_kinds(found), edges, requests, **more)
    assert decided == one_by_one
    assert decided.digest == one_by_one.digest
    assert list(decided.jobs) == list(one_by_one.jobs)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(decided)))) == decided


@given(batches())
def test_a_plan_has_one_set_for_each_change(batch):
    views, edges, requests, why = batch
    decided = plan_pairs(as_kinds(world(views, edges)), edges, requests, why=why)
    assert max(Counter(one.key for one in decided.jobs.sets).values(), default=1) == 1
    assert [one.id for one in decided.jobs] == decided.jobs.ids == sorted(set(decided.jobs.ids))
    assert planned_jobs(decided.jobs) == decided.jobs
    assert [decided.jobs[at] for at in range(len(decided.jobs))] == list(decided.jobs)


def test_a_plan_of_many_jobs_that_are_alike_is_few_sets():
    views = [job(number, F if number < 100 else W) for number in range(1000)]
    edges = graph(*((number % 100, number) for number in range(100, 1000)))
    decided = plan_pairs(as_kinds(world(views, edges)), edges, [(range(100), How())])
    assert [len(one) for one in decided.jobs.sets] == [100, 900]
    assert decided.jobs[999].reasons == (Reason(ReasonKind.UPSTREAM, {"job": 99, "name": "j99"}),)
    assert decided.jobs[5].archives == (105,)
    assert len(json.dumps(plan_to_json(decided))) < 60_000


def test_jobs_whose_plans_name_other_attempts_are_not_added_together():
    first = PlannedJob(1, "j1", 0, C, R, "beginning", (), archives=(7,))
    sets = JobSets()
    assert not sets.add(first, Columns([1, 2], ["j1", "j2"], [0, 0], [8, 9], [OWN, OWN], {}))
    assert len(sets.collected()) == 0
    assert sets.add(first, Columns([1, 2], ["j1", "j2"], [0, 0], [7, 9], [OWN, OWN], {}))
    assert [one.archives for one in sets.collected()] == [(7,), (9,)]
