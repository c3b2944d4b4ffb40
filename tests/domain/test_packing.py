from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.definition import Resources
from rekindle.domain.models import ReadyClass, ReadyJob
from rekindle.domain.packing import Room, never_fits, pack

GIB = 2**30


def ready(number: int, priority: int = 0) -> ReadyJob:
    return ReadyJob(number, 1, f"j{number}", 1, 1, "{}", 0, priority, 1, None, 0, None)


def of_class(resources: Resources, *jobs: ReadyJob) -> tuple[ReadyClass, list[ReadyJob]]:
    return ReadyClass(1, 1, resources, len(jobs)), list(jobs)


def chosen(room: Room, *classes: tuple[ReadyClass, list[ReadyJob]]) -> list[int]:
    return [job.id for job in pack(room, classes)]


def test_higher_priorities_come_first_then_lower_ids():
    small = of_class(Resources(cpus=1), ready(3), ready(1), ready(9, priority=5))
    other = of_class(Resources(cpus=1, memory=1), ready(2), ready(8, priority=5))
    assert chosen(Room(cpus=4, memory=10), small, other) == [8, 9, 1, 2]


def test_what_does_not_fit_is_passed_over_and_what_is_behind_it_is_taken():
    big = of_class(Resources(cpus=8), ready(1, priority=9))
    small = of_class(Resources(cpus=2), ready(2), ready(3), ready(4))
    assert chosen(Room(cpus=5, memory=0), big, small) == [2, 3]


def test_every_resource_is_counted():
    asked = Resources(cpus=1, memory=2 * GIB, gpus=1, licences=(("matlab", 1),))
    jobs = of_class(asked, *(ready(number) for number in range(1, 9)))
    roomy = {"cpus": 8, "memory": 16 * GIB, "gpus": 8, "licences": {"matlab": 8}}
    assert len(pack(Room(**roomy), [jobs])) == 8
    for short in ({"cpus": 3}, {"memory": 7 * GIB}, {"gpus": 3}, {"licences": {"matlab": 3}}):
        assert len(pack(Room(**{**roomy, **short}), [jobs])) == 3
    assert pack(Room(**{**roomy, "licences": {}}), [jobs]) == []


def test_a_job_whose_limit_outlasts_the_allocation_is_not_taken():
    room = Room(cpus=9, memory=0, seconds=600)
    long = of_class(Resources(time=601), ready(1))
    short = of_class(Resources(time=600), ready(2))
    unlimited = of_class(Resources(time=None), ready(3))
    assert chosen(room, long, short, unlimited) == [2, 3]


def test_parts_of_a_cpu_leave_no_crumbs():
    third = Resources(cpus=0.1)
    room = Room(cpus=1, memory=0)
    for _ in range(10):
        assert room.fits(third)
        room = room.take(third)
    assert not room.fits(third)
    for _ in range(10):
        room = room.give(third)
    assert room == Room(cpus=1, memory=0)


def test_what_is_not_asked_for_fits_where_there_is_less_than_none():
    assert Room(cpus=1, memory=-5, gpus=-1).fits(Resources(cpus=1))
    assert not Room(cpus=0, memory=-5).fits(Resources(cpus=1))


def test_the_room_given_is_left_as_it_was():
    room = Room(cpus=2, memory=0, licences={"matlab": 2})
    pack(room, [of_class(Resources(licences=(("matlab", 1),)), ready(1), ready(2))])
    assert room == Room(cpus=2, memory=0, licences={"matlab": 2})


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Resources(cpus=64), "64 cpus of 8"),
        (Resources(memory=3 * GIB // 2 + 4 * GIB), "memory 5.5 GiB of 4.0 GiB"),
        (Resources(memory=4 * GIB + 1), "memory 4294967297 bytes of 4294967296"),
        (Resources(time=90.6), "time 1m 31s of 1m 30s"),
        (Resources(gpus=1), "1 gpu of 0"),
        (Resources(licences=(("matlab", 2),)), "2 matlab licences of 1"),
        (Resources(time=7200), "time 2h 00m of 1m 30s"),
        (Resources(cpus=9, gpus=2), "9 cpus of 8, 2 gpus of 0"),
        (Resources(cpus=8, memory=4 * GIB, licences=(("matlab", 1),), time=90), None),
    ],
)
def test_what_can_never_fit_is_told_with_what_there_is(asked, why):
    room = Room(cpus=8, memory=4 * GIB, licences={"matlab": 1}, seconds=90.5)
    assert never_fits(room, asked) == (why and f"it asks more than this runner has: {why}")


resources = st.builds(
    Resources,
    cpus=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    memory=st.integers(0, 3),
    gpus=st.integers(0, 1),
    licences=st.sampled_from([(), (("l", 1),)]),
)


@given(
    st.builds(Room, st.integers(0, 6), st.integers(0, 6), st.integers(0, 2), st.just({"l": 1})),
    st.lists(st.tuples(resources, st.lists(st.integers(0, 2), max_size=4)), max_size=4),
)
def test_packing_equals_going_through_all_jobs_in_order(room, offered):
    classes, every, number = [], [], 0
    for asked, priorities in offered:
        jobs = []
        for priority in priorities:
            number += 1
            jobs.append(ready(number, priority))
            every.append((-priority, number, asked))
        classes.append(of_class(asked, *jobs))
    expected, free = [], room
    for _, job, asked in sorted(every, key=lambda row: row[:2]):
        if free.fits(asked):
            free = free.take(asked)
            expected.append(job)
    assert chosen(room, *classes) == expected


def test_ten_thousand_jobs_are_packed_at_once():
    classes = [
        of_class(Resources(cpus=1 + k % 3), *(ready(k * 1000 + n, n % 7) for n in range(1000))) for k in range(10)
    ]
    assert len(pack(Room(cpus=5000, memory=0), classes)) > 2000
