"""Due dates when clocks are set, and the dates that a worker records meanwhile."""

from __future__ import annotations

import math
import time

import pytest

from rekindle.domain.models import Runner
from rekindle.engine.presence import Presence, is_runner_alive, presence, this_process
from rekindle.engine.running.delay_timer import DelayTimer
from rekindle.engine.running.lease import PeerWatch
from rekindle.journal.processes import boot_id, pid_namespace
from rekindle.journal.records import Started
from rekindle.worker.steps import Clock


@pytest.fixture
def passing(monkeypatch):
    """Let monotonic time pass."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def let(seconds: float) -> None:
        now[0] += seconds

    return let


def test_a_delay_is_over_when_the_clock_says_so(passing):
    alarm = DelayTimer()
    assert (alarm.is_set, alarm.seconds(5.0), alarm.latest(5.0)) == (False, math.inf, 5.0)
    alarm.set(130.0, 100.0)
    assert (alarm.is_set, alarm.seconds(100.0), alarm.latest(100.0)) == (True, 30.0, 100.0)
    assert alarm.seconds(200.0) == 0  # set forward
    assert alarm.latest(200.0) == 200.0


def test_a_clock_that_is_set_back_makes_no_delay_longer(passing):
    alarm = DelayTimer()
    alarm.set(130.0, 100.0)
    passing(20)
    alarm.set(130.0, -3480.0)  # an hour back: elapsed time stays elapsed
    assert alarm.seconds(-3480.0) == 10
    passing(10)
    assert alarm.seconds(-3470.0) == 0
    assert alarm.latest(-3470.0) == 130.0
    alarm.set(None, -3470.0)
    assert not alarm.is_set


def far_away(expires: float) -> Runner:
    return Runner(7, "elsewhere", "another boot", 1, 2, "local", 1, 0.0, expires, 1, None, 3)


@pytest.mark.parametrize(("expires", "after"), [(-5.0, 15.0), (1e9, 30.0)], ids=["expired", "dated in the future"])
def test_an_invisible_runner_is_dead_after_silence(passing, expires, after):
    neighbours, rows = PeerWatch(1), [far_away(expires)]
    assert neighbours.dead_peers(rows, 0.0) == []
    passing(after - 1)
    assert neighbours.dead_peers(rows, 0.0) == []
    passing(1)
    assert neighbours.dead_peers(rows, 0.0) == rows
    assert neighbours.dead_peers(rows, 0.0) == rows  # checked again before it is taken over


def test_a_runner_that_renews_its_lease_is_alive_whatever_the_clocks_say(passing):
    neighbours = PeerWatch(1)
    for turn in range(20):
        assert neighbours.dead_peers([far_away(10.0 * turn)], 1e6) == []
        passing(10)


def test_a_visible_process_alone_decides_whether_a_runner_lives():
    place = this_process()

    def runner(pid_start: int, host: str, boot: str, space: int, expires: float, epoch: int = 1) -> Runner:
        return Runner(1, host, boot, place.pid, pid_start, "local", 1, 0.0, expires, epoch, None, space)

    mine = runner(place.pid_start, "renamed", boot_id(), pid_namespace(), -1.0)
    assert is_runner_alive(mine, 0.0)
    said = [
        presence(one, 0.0)
        for one in (
            runner(place.pid_start + 1, place.host, boot_id(), pid_namespace(), 99.0),
            runner(place.pid_start, place.host, "an earlier boot", pid_namespace(), 99.0),
            runner(place.pid_start, place.host, boot_id(), pid_namespace() + 1, 99.0),
            runner(place.pid_start, place.host, boot_id(), pid_namespace() + 1, -1.0),
            runner(place.pid_start, place.host, boot_id(), pid_namespace(), 99.0, epoch=2),
        )
    ]
    assert said == [Presence.GONE, Presence.GONE, Presence.ALIVE, Presence.EXPIRED, Presence.SUPERSEDED]


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_worker_dates_by_monotonic_time(passing, monkeypatch, step):
    monkeypatch.setattr(time, "time", lambda: 50_000.0)
    clock = Clock()
    begun = clock.date()
    started = Started(1, "t", begun, clock=time.monotonic())
    monkeypatch.setattr(time, "time", lambda: 50_000.0 + step)
    passing(2.5)
    assert clock.date() - begun == 2.5
    assert started.now(time.monotonic()) == begun + 2.5
    clock.set()
    assert clock.date() == 50_000.0 + step
