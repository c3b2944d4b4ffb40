from __future__ import annotations

import pytest

from rekindle.domain.errors import UndoRefused
from rekindle.domain.rerun.undo import JobPointers, UndoView, decide_undo
from rekindle.domain.states import State


def view(number: int, **more):
    fields = {
        "version": 3,
        "state": State.READY,
        "attempt": None,
        "restore": JobPointers(attempt=100 + number, held="looks odd"),
        "restored_state": State.FAILED,
        "archives": (100 + number,),
    }
    return UndoView(id=number, name=f"j{number}", **{**fields, **more})


def test_pointers_come_back_in_the_order_of_ids():
    assert decide_undo([view(2), view(1)]) == [
        (1, 3, JobPointers(attempt=101, held="looks odd"), (101,)),
        (2, 3, JobPointers(attempt=102, held="looks odd"), (102,)),
    ]


def test_what_has_started_since_is_named():
    with pytest.raises(UndoRefused, match=r"`j1`, `j3` have started") as raised:
        decide_undo([view(3, attempt=9), view(2), view(1, attempt=8)])
    assert raised.value.hint


def test_many_started_jobs_are_counted():
    with pytest.raises(UndoRefused, match=r"`j5` and 4 more have started"):
        decide_undo([view(number, attempt=number) for number in range(1, 10)])


def test_a_later_rerun_must_be_undone_first_even_when_jobs_started_since():
    with pytest.raises(UndoRefused, match="rerun 7 came later and touched `j2`") as raised:
        decide_undo([view(1, attempt=4), view(2, later_reruns=(6, 7))])
    assert "undo 7 first" in raised.value.hint


def test_a_rerun_without_jobs_has_nothing_to_put_back():
    assert decide_undo([]) == []
