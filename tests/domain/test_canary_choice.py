"""Canaries: which jobs run first, and the outcome for the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rekindle.domain.batches.canaries import Canary, CanaryGroup, FailedJob, GroupOutcome, choose_canaries, decide_group
from rekindle.domain.rerun.request import How
from rekindle.domain.states import ENDED, State

HOW = How()

SAME, ANOTHER = "3f9a0c12ab34", "9ab1ffffffff"


def struck(job: int, signature: str = SAME, workflow: int = 1, template: int = 1, host: str | None = "a") -> FailedJob:
    return FailedJob(job, f"t[{job}]", workflow, template, 1000 + job, host, signature)


def group(*canaries: Canary) -> CanaryGroup:
    return CanaryGroup(1, 1, 1, SAME, "", "too cold", canaries)


def canary(job: int, state: State, signature: str | None = None) -> Canary:
    return Canary(job, f"t[{job}]", state, signature=signature)


ANY = st.lists(
    st.builds(
        struck,
        st.integers(1, 10_000),
        st.sampled_from([SAME, ANOTHER, "000000000000"]),
        st.integers(1, 2),
        st.integers(1, 3),
        st.sampled_from(["a", "b", None]),
    ),
    unique_by=lambda one: one.job,
)


@given(ANY, st.integers(1, 6), st.randoms())
def test_jobs_of_larger_groups_are_canaries_or_wait(jobs, n, shuffled):
    chosen = choose_canaries(jobs, n, HOW)
    kinds = [(one.workflow, one.signature) for one in chosen]
    assert kinds == sorted(set(kinds))
    for kind in {(one.workflow, one.signature) for one in jobs}:
        members = {one.job: one for one in jobs if (one.workflow, one.signature) == kind}
        found = [one for one in chosen if (one.workflow, one.signature) == kind]
        assert len(found) == (len(members) > n)
        for one in found:
            canaries, waits = [job for job, _ in one.canaries], [job for job, _ in one.waits]
            assert len(canaries) == n
            assert (canaries, waits) == (sorted(canaries), sorted(waits))
            assert sorted(canaries + waits) == sorted(members)
            assert all(members[job].attempt == attempt for job, attempt in one.waits)
            kinds_of = {(members[job].template, members[job].host) for job in members}
            assert len({members[job].template for job in canaries}) == min(n, len({kind[0] for kind in kinds_of}))
    shuffled.shuffle(jobs)
    assert choose_canaries(jobs, n, HOW) == chosen


def test_canaries_are_the_first_of_each_template_and_host() -> None:
    jobs = [struck(1), struck(2), struck(3, host="b"), struck(4, template=2), struck(5, template=2, host="b")]
    assert [[job for job, _ in one.canaries] for one in choose_canaries(jobs, 1, HOW)] == [[1]]
    assert [[job for job, _ in one.canaries] for one in choose_canaries(jobs, 2, HOW)] == [[1, 5]]
    assert [[job for job, _ in one.canaries] for one in choose_canaries(jobs, 4, HOW)] == [[1, 3, 4, 5]]


def test_jobs_reset_with_the_canaries_do_not_wait() -> None:
    (one,) = choose_canaries([struck(job) for job in range(1, 6)], 2, HOW)
    assert one.without([4]).waits == ((3, 1003), (5, 1005))
    assert replace(one.without([]), how=HOW) == one


ENDS = st.lists(
    st.builds(
        canary, st.integers(1, 99), st.sampled_from([State.READY, *ENDED]), st.sampled_from([SAME, ANOTHER, None])
    ),
    min_size=1,
)


@given(ENDS, st.lists(st.booleans(), min_size=99, max_size=99))
def test_a_group_is_released_only_when_all_canaries_have_passed(ends, retired):
    ends = [replace(one, retired=away) for one, away in zip(ends, retired, strict=False)]
    ruling = decide_group(group(*ends))
    standing = [one.state for one in ends if not one.retired]
    if State.READY in standing:
        assert ruling is None
    elif standing and all(state is State.COMPLETED for state in standing):
        assert ruling is not None
        assert ruling.outcome is GroupOutcome.RELEASED
    else:
        assert ruling is not None
        assert ruling.outcome is GroupOutcome.STOPPED


@pytest.mark.parametrize(
    ("canaries", "why"),
    [
        ([canary(1, State.COMPLETED)], "its canary `t[1]` passed"),
        ([canary(1, State.COMPLETED), canary(2, State.COMPLETED)], "its canaries `t[1]`, `t[2]` passed"),
        ([canary(1, State.FAILED, SAME)], "its canary `t[1]` failed again the same way"),
        ([canary(1, State.FAILED, ANOTHER)], "its canary `t[1]` failed again another way (9ab1ffffff)"),
        ([canary(1, State.CANCELED)], "its canary `t[1]` was canceled"),
        (
            [canary(1, State.FAILED, SAME), canary(2, State.COMPLETED), canary(3, State.CANCELED)],
            "its canary `t[1]` failed again the same way; its canary `t[3]` was canceled",
        ),
        (
            [canary(1, State.FAILED, SAME), canary(2, State.FAILED, SAME)],
            "its canaries `t[1]`, `t[2]` failed again the same way",
        ),
        ([replace(canary(1, State.READY), retired=True)], "its workflow has none of its canaries any more"),
    ],
)
def test_the_decision_has_a_reason(canaries: list[Canary], why: str) -> None:
    ruling = decide_group(group(*canaries))
    assert ruling is not None
    assert ruling.why == why
