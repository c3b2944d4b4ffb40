"""How many pilots the ready jobs are worth, and the sizes that options of sbatch give them."""

from __future__ import annotations

import pytest

from rekindle.domain.definition import Resources
from rekindle.domain.packing import Capacity
from rekindle.domain.pilots import ReadyGroup, advise

SIZE = Capacity(4.0, 8 << 30, 1)


@pytest.mark.parametrize(
    ("group", "useful"),
    [
        (ReadyGroup("unknown", 16, Resources(), None), 4),
        (ReadyGroup("long", 16, Resources(), 3600.0), 4),
        (ReadyGroup("short", 1000, Resources(), 0.6), 3),
        (ReadyGroup("one", 1, Resources(), 0.1), 1),
        (ReadyGroup("heavy", 3, Resources(memory=8 << 30), None), 3),
        (ReadyGroup("gpu", 5, Resources(gpus=1), 60.0), 5),
    ],
    ids=lambda value: value.name if isinstance(value, ReadyGroup) else "",
)
def test_as_many_are_useful_as_the_ready_jobs_keep_busy(group, useful) -> None:
    assert advise([group], SIZE).useful == useful


def test_jobs_that_fit_in_none_are_named_and_do_not_count() -> None:
    bounded = Capacity(4.0, 8 << 30, 1, seconds=600.0)
    groups = [
        ReadyGroup("wide", 2, Resources(cpus=8), None),
        ReadyGroup("limited", 2, Resources(time=3600.0), 1.0),
        ReadyGroup("slow", 2, Resources(), 3600.0),
        ReadyGroup("fits", 2, Resources(cpus=4), 60.0),
    ]
    found = advise(groups, bounded)
    assert (found.jobs, found.useful) == (2, 2)
    assert [name for name, _ in found.unfit] == ["wide", "limited", "slow"]
    assert advise([], bounded).useful == 0
