"""Flakiness: how jobs came to pass, and how often they fail."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.batches.flakiness import (
    ConditionStatistics,
    Flakiness,
    PassHistory,
    measure_flakiness,
    merge_statistics,
    pass_history,
    sort_by_certainty,
    wilson_interval,
)
from rekindle.domain.changes.staleness import FilledTemplate, definition_text
from rekindle.domain.definition import JobTemplate, Resources, Step
from rekindle.domain.overrides import AppliedOverrides


def history(text: str, job: int = 1) -> list[ConditionStatistics]:
    """Parse `a- a+ b+!`: attempts in order, each with conditions, whether it passed, `!` if it had overrides."""
    return [
        ConditionStatistics(
            job,
            word[0],
            passes=int(word[1] == "+"),
            failures=int(word[1] == "-"),
            first_failure=at if word[1] == "-" else None,
            newest=at,
            newest_passed=word[1] == "+",
            modified=word.endswith("!"),
        )
        for at, word in enumerate(text.split(), 1)
    ]


def of(text: str) -> list[ConditionStatistics]:
    return merge_statistics(history(text))[1]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("a+", PassHistory.PLAIN),
        ("a+ a+ b+", PassHistory.PLAIN),
        ("a- a+", PassHistory.FLAKY),
        ("a- a- a- a+", PassHistory.FLAKY),
        ("a+ a- a+", PassHistory.FLAKY),
        ("a- b+", PassHistory.MODIFIED),
        ("a- b- b+", PassHistory.FLAKY),
        ("a- b+ b+", PassHistory.MODIFIED),
        ("a- a+ b+", PassHistory.FLAKY),
        ("a- a+ b- c+", PassHistory.MODIFIED),
        ("a+!", PassHistory.MODIFIED),
        ("a- a+ b+!", PassHistory.MODIFIED),
        ("a-! a+!", PassHistory.FLAKY),
        ("a- b+ a-", PassHistory.FAILING),
        ("a-", PassHistory.FAILING),
        ("a- b-", PassHistory.FAILING),
        ("a+ a-", PassHistory.MIXED),
        ("a+ b-", PassHistory.FAILING),
        ("a+ b- a-", PassHistory.MIXED),
    ],
)
def test_how_a_job_came_to_pass(text: str, how: PassHistory) -> None:
    assert pass_history(of(text)) is how


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("a+ a- a+", (2, 1, 0)),
        ("a- a- b- b+ b+", (2, 1, 2)),
        ("a- b-", (0, 2, 0)),
        ("a+ b+", (2, 0, 0)),
        ("a- a+ b- b+ c-", (2, 2, 1)),
    ],
)
def test_failures_count_where_it_can_pass(text: str, counts: tuple[int, int, int]) -> None:
    found = measure_flakiness(of(text))
    assert (found.passes, found.failures, found.elsewhere) == counts


def test_the_first_failure_and_the_newest_attempt_are_kept_whatever_is_merged_first() -> None:
    tries = history("a- a+ a- a+")
    for seed in range(10):
        random.Random(seed).shuffle(tries)
        (one,) = merge_statistics(tries)[1]
        assert (one.first_failure, one.newest, one.newest_passed, one.passes, one.failures) == (1, 4, True, 2, 2)


attempts = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=1, max_size=12)


@given(st.lists(attempts, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_other_jobs_and_row_order_change_nothing(
    jobs: list[list[tuple[str, bool, bool]]], chance: random.Random
) -> None:
    texts = [" ".join(f"{c}{'+' if ok else '-'}{'!' if mod else ''}" for c, ok, mod in one) for one in jobs]
    rows = [row for number, text in enumerate(texts) for row in history(text, number)]
    alone = {
        number: measure_flakiness(merge_statistics(history(text, number))[number]) for number, text in enumerate(texts)
    }
    chance.shuffle(rows)
    together = {job: measure_flakiness(tried) for job, tried in merge_statistics(rows).items()}
    assert together == alone
    for found in together.values():
        assert found.passes + found.failures > 0
        assert 0 <= found.interval[0] <= found.rate <= found.interval[1] <= 1
        assert not (found.passed is PassHistory.PLAIN and found.failures)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),  # R: prop.test(hits, of, correct = FALSE)$conf.int
    [(0, 0, 0, 1), (0, 10, 0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1)],
)
def test_the_interval_holds_for_small_counts(hits: int, of: int, low: float, high: float) -> None:
    assert wilson_interval(hits, of) == pytest.approx((low, high), abs=1e-4)


def test_the_most_certain_failure_rate_comes_first() -> None:
    def seen(job: int, failures: int, of: int) -> Flakiness:
        return Flakiness(job, PassHistory.FLAKY, of - failures, failures, 0, interval=wilson_interval(failures, of))

    found = {one.job: one for one in (seen(1, 1, 2), seen(2, 10, 20), seen(3, 3, 100), seen(4, 10, 20))}
    assert [one.job for one in sort_by_certainty(found)] == [2, 4, 1, 3]


def test_irrelevant_fields_are_not_in_the_definition_text() -> None:
    template = JobTemplate("fit", (Step("fit", run="fit ${params.alpha}"),))
    one = FilledTemplate(template, {"alpha": 1, "beta": 2}, {"n": 3})
    same = FilledTemplate(JobTemplate("fit it", template.steps, priority=5), {"alpha": 1, "beta": 7}, {"n": 4})
    assert definition_text(one) == definition_text(same)
    assert definition_text(one) == definition_text(one, AppliedOverrides({"alpha": 1}))
    assert definition_text(one) != definition_text(one, AppliedOverrides({"alpha": True}))
    assert definition_text(one) != definition_text(one, AppliedOverrides(env={"N": "1"}))
    assert definition_text(one) == definition_text(one, AppliedOverrides(memory=2**30)), "resources stand beside it"
    assert Resources() == AppliedOverrides().resources(Resources())
