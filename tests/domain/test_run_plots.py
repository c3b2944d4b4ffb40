"""What the plots of a workflow show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.run_plots import LATER, TimedAttempt, critical_path, outcome_bins, spreads, timeline
from rekindle.domain.states import State

NOW = 2_000.0

ENDED = (State.COMPLETED, State.FAILED, State.CANCELED)


def attempt(identity: int, started: float, seconds: float | None, **more: object) -> TimedAttempt:
    values = {
        "id": identity,
        "job": identity,
        "name": f"job{identity}",
        "template": "t",
        "number": 1,
        "state": State.RUNNING if seconds is None else State.COMPLETED,
        "cause": None,
        "host": "a",
        "worker": "w",
        "started": started,
        "ended": None if seconds is None else started + seconds,
        "max_rss_bytes": None,
        "archived": False,
    }
    return TimedAttempt(**{**values, **more})


@st.composite
def runs(draw: st.DrawFn) -> list[TimedAttempt]:
    found = []
    for number in range(draw(st.integers(0, 30))):
        state = draw(st.sampled_from([*ENDED, State.RUNNING]))
        cause = draw(st.sampled_from(["exit", "oom", "lost"])) if state is State.FAILED else None
        found.append(
            attempt(
                number,
                draw(st.floats(0, 1_000)),
                None if state is State.RUNNING else draw(st.floats(0, 500)),
                state=state,
                cause=cause,
                host=draw(st.sampled_from("ab")),
                template=draw(st.sampled_from(["t", "u", "v"])),
                number=draw(st.integers(1, 6)),
            )
        )
    return found


@given(runs(), st.integers(1, 80))
def test_each_attempt_that_ended_is_in_one_interval(attempts: list[TimedAttempt], bins: int) -> None:
    found = outcome_bins(attempts, NOW, bins)
    if not attempts:
        assert found is None
        return
    assert found is not None
    total = sum(sum(numbers) for numbers in found.counts.values())
    assert total == sum(one.ended is not None for one in attempts)
    assert len({len(numbers) for numbers in found.counts.values()}) <= 1
    assert found.highest <= total


@given(runs())
def test_bars_of_a_lane_do_not_overlap_and_are_on_its_host(attempts: list[TimedAttempt]) -> None:
    found = timeline(attempts, [], NOW)
    shown = [bar for lane in (found.lanes if found else ()) for bar in lane.bars]
    assert sorted(bar.attempt.id for bar in shown) == sorted(one.id for one in attempts)
    for lane in found.lanes if found else ():
        assert {bar.attempt.host for bar in lane.bars} == {lane.host}
        assert all(a.end <= b.attempt.started for a, b in zip(lane.bars, lane.bars[1:], strict=False))


def test_a_timeline_of_many_shows_the_longest_and_the_critical_path() -> None:
    attempts = [attempt(number, float(number), 1.0 + number % 7) for number in range(100)]
    found = timeline(attempts, [attempts[1]], NOW, most=10)
    assert found is not None
    shown = {bar.attempt.id: bar for lane in found.lanes for bar in lane.bars}
    assert found.left_out == 100 - len(shown)
    assert shown[1].critical
    assert all(bar.attempt.id % 7 == 6 for number, bar in shown.items() if number != 1)


def test_the_critical_path_follows_what_ended_last() -> None:
    needs = {3: (1, 2), 4: (3,), 5: ()}
    attempts = [
        attempt(1, 0.0, 5.0),
        attempt(2, 0.0, 9.0),
        attempt(9, 0.0, 50.0, job=2, archived=True),
        attempt(3, 9.0, 1.0),
        attempt(4, 10.0, 5.0),
        attempt(5, 0.0, 14.0),
        attempt(6, 0.0, None),
    ]
    path = critical_path(attempts, lambda job: needs.get(job, ()))
    assert [one.job for one in path] == [2, 3, 4]
    assert critical_path([], lambda _: ()) == []


@given(runs())
def test_spreads_are_ordered_and_leave_out_what_was_cut_off(attempts: list[TimedAttempt]) -> None:
    rows, more = spreads(attempts, most=2)
    counted = [
        one for one in attempts if one.ended is not None and one.state is not State.CANCELED and one.cause != "lost"
    ]
    templates = {one.template for one in counted}
    assert more == max(0, len(templates) - 2)
    shown = {row.template for row in rows}
    assert sum(row.seconds.count for row in rows) == sum(one.template in shown for one in counted)
    for row in rows:
        one = row.seconds
        assert one.low <= one.lower <= one.median <= one.upper <= one.high
        assert 1 <= row.number <= LATER
