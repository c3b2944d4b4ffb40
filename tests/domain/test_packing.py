from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.definition import Resources
from rekindle.domain.models import ReadyJob
from rekindle.domain.next_attempt import NextAttempt
from rekindle.domain.packing import Capacity, explain_never_fits, find_shortages, pack_jobs

GIB = 2**30


def ready(number: int, priority: int = 0) -> ReadyJob:
    return ReadyJob(number, 1, f"j{number}", 1, 1, "{}", 0, priority, 1, NextAttempt())


def of_class(resources: Resources, *jobs: ReadyJob) -> tuple[Resources, list[ReadyJob]]:
    return resources, list(jobs)


def chosen(room: Capacity, *classes: tuple[Resources, list[ReadyJob]]) -> list[int]:
    return [job.id for job in pack_jobs(room, classes)]


def test_higher_priorities_come_first_then_lower_ids():
    small = of_class(Resources(cpus=1), ready(3), ready(1), ready(9, priority=5))
    other = of_class(Resources(cpus=1, memory=1), ready(2), ready(8, priority=5))
    assert chosen(Capacity(cpus=4, memory=10), small, other) == [8, 9, 1, 2]


def test_a_job_that_does_not_fit_is_skipped():
    big = of_class(Resources(cpus=8), ready(1, priority=9))
    small = of_class(Resources(cpus=2), ready(2), ready(3), ready(4))
    assert chosen(Capacity(cpus=5, memory=0), big, small) == [2, 3]


def test_every_resource_is_counted():
    asked = Resources(cpus=1, memory=2 * GIB, gpus=1, licences=(("matlab", 1),))
    jobs = of_class(asked, *(ready(number) for number in range(1, 9)))
    roomy = {"cpus": 8, "memory": 16 * GIB, "gpus": 8, "licences": {"matlab": 8}}
    assert len(pack_jobs(Capacity(**roomy), [jobs])) == 8
    for short in ({"cpus": 3}, {"memory": 7 * GIB}, {"gpus": 3}, {"licences": {"matlab": 3}}):
        assert len(pack_jobs(Capacity(**{**roomy, **short}), [jobs])) == 3
    assert pack_jobs(Capacity(**{**roomy, "licences": {}}), [jobs]) == []


def test_a_job_whose_limit_outlasts_the_allocation_is_not_taken():
    room = Capacity(cpus=9, memory=0, seconds=600)
    long = of_class(Resources(time=601), ready(1))
    short = of_class(Resources(time=600), ready(2))
    unlimited = of_class(Resources(time=None), ready(3))
    assert chosen(room, long, short, unlimited) == [2, 3]


def test_fractions_of_a_cpu_add_up_again():
    third = Resources(cpus=0.1)
    room = Capacity(cpus=1, memory=0)
    for _ in range(10):
        assert room.fits(third)
        room = room.take(third)
    assert not room.fits(third)
    for _ in range(10):
        room = room.give(third)
    assert room == Capacity(cpus=1, memory=0)


def test_unrequested_resources_fit_a_negative_capacity():
    assert Capacity(cpus=1, memory=-5, gpus=-1).fits(Resources(cpus=1))
    assert not Capacity(cpus=0, memory=-5).fits(Resources(cpus=1))


def test_the_given_capacity_is_not_changed():
    room = Capacity(cpus=2, memory=0, licences={"matlab": 2})
    pack_jobs(room, [of_class(Resources(licences=(("matlab", 1),)), ready(1), ready(2))])
    assert room == Capacity(cpus=2, memory=0, licences={"matlab": 2})


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
def test_a_job_that_never_fits_lists_its_shortages(asked, why):
    room = Capacity(cpus=8, memory=4 * GIB, licences={"matlab": 1}, seconds=90.5)
    assert explain_never_fits(room, asked) == (why and f"it asks more than this runner has: {why}")


resources = st.builds(
    Resources,
    cpus=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    memory=st.integers(0, 3),
    gpus=st.integers(0, 1),
    licences=st.sampled_from([(), (("l", 1),)]),
)


@given(
    st.builds(Capacity, st.integers(0, 6), st.integers(0, 6), st.integers(0, 2), st.just({"l": 1})),
    st.lists(st.tuples(resources, st.lists(st.integers(0, 2), max_size=4)), max_size=4),
)
def test_packing_equals_a_scan_of_all_jobs_in_order(room, offered):
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


amounts = st.integers(-1, 2)


@given(
    st.builds(
        Capacity,
        st.sampled_from([-1.0, 0.0, 0.1 + 0.2, 1.0]),
        amounts,
        amounts,
        st.sampled_from([{}, {"l": 0}, {"l": 1}]),
        st.sampled_from([None, 0.0, 5.0]),
    ),
    st.builds(
        Resources,
        cpus=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
        memory=st.integers(0, 2),
        gpus=st.integers(0, 2),
        time=st.sampled_from([None, 0.0, 5.0, 6.0]),
        licences=st.sampled_from([(), (("l", 0),), (("l", 1),), (("m", 1),)]),
    ),
)
def test_a_job_fits_exactly_if_nothing_is_short(room, asked):
    assert room.fits(asked) == (find_shortages(room, asked) == ())


def test_ten_thousand_jobs_are_packed_at_once():
    classes = [
        of_class(Resources(cpus=1 + k % 3), *(ready(k * 1000 + n, n % 7) for n in range(1000))) for k in range(10)
    ]
    assert len(pack_jobs(Capacity(cpus=5000, memory=0), classes)) > 2000
