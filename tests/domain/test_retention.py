"""Which attempts may be pruned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.errors import UsageError
from rekindle.domain.retention import ArchivedAttempt, RetentionRules, choose_pruned, needed_among
from rekindle.domain.states import State

DAY = 86_400.0
NOW = 100 * DAY


def archived(attempt: int, *, later: int = 1, ended: float = 0.0, logs: str | None = None) -> ArchivedAttempt:
    return ArchivedAttempt(attempt, 1, "one", 1, 1, attempt, State.FAILED, "exit", ended, logs, later)  # type: ignore[arg-type]


def chosen(rules: RetentionRules, *attempts: ArchivedAttempt) -> list[int]:
    return [one.id for one in choose_pruned(attempts, rules, NOW, (), ()).chosen]


def test_old_attempts_are_pruned_and_young_ones_kept() -> None:
    old, young = archived(1, ended=NOW - 31 * DAY), archived(2, ended=NOW - 29 * DAY)
    assert chosen(RetentionRules(older_than=30 * DAY), old, young) == [1]


def test_the_last_ones_of_a_job_are_kept() -> None:
    attempts = [archived(number, later=5 - number) for number in range(1, 5)]
    assert chosen(RetentionRules(keep_last=3), *attempts) == [1, 2]


def test_both_rules_must_allow_it() -> None:
    attempts = [archived(1, later=4, ended=NOW), archived(2, later=3), archived(3, later=2)]
    assert chosen(RetentionRules(older_than=DAY, keep_last=3), *attempts) == [2]


def test_the_newest_attempt_of_a_job_is_never_pruned() -> None:
    found = choose_pruned([archived(1, later=0)], RetentionRules(keep_last=0), NOW, (), ())
    assert found.chosen == ()
    assert found.kept == {"newest": 1}


def test_compressed_logs_are_removed_later_and_not_compressed_again() -> None:
    pruned = archived(1, logs="compressed")
    assert chosen(RetentionRules(keep_last=0), pruned) == [1]
    assert chosen(RetentionRules(keep_last=0, logs="compressed"), pruned) == []


@pytest.mark.parametrize("rules", [RetentionRules(), RetentionRules(keep_last=-1)])
def test_rules_that_say_nothing_are_refused(rules: RetentionRules) -> None:
    with pytest.raises(UsageError, match=r"what to prune|below 0"):
        rules.check()


ids = st.integers(1, 12)
links = st.lists(st.tuples(ids, ids).filter(lambda pair: pair[0] > pair[1]))


@given(st.sets(ids), st.sets(ids), links)
def test_nothing_that_stays_builds_on_what_goes(
    candidates: set[int], held: set[int], links: list[tuple[int, int]]
) -> None:
    needed = needed_among(candidates, held, links)
    going = candidates - needed
    assert needed <= candidates
    assert not going & held
    assert all(later in going for later, earlier in links if earlier in going)


@given(st.sets(ids), st.sets(ids), links)
def test_what_stays_has_a_reason(candidates: set[int], held: set[int], links: list[tuple[int, int]]) -> None:
    needed = needed_among(candidates, held, links)
    stays = needed | (set(range(13)) - candidates)
    assert all(one in held or any(earlier == one and later in stays for later, earlier in links) for one in needed)
