"""What prevents undoing a rerun."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import UndoRefused
from rekindle.domain.rerun.undo import UndoConflicts, refuse_undo


def test_what_has_started_since_is_named():
    with pytest.raises(UndoRefused, match=r"`j1`, `j3` have started") as raised:
        refuse_undo(UndoConflicts(["j1", "j3"], {}))
    assert raised.value.hint


def test_many_started_jobs_are_counted():
    with pytest.raises(UndoRefused, match=r"`j5` and 4 more have started"):
        refuse_undo(UndoConflicts([f"j{number}" for number in range(1, 10)], {}))


def test_a_later_rerun_must_be_undone_first_even_when_jobs_started_since():
    with pytest.raises(UndoRefused, match="rerun 7 came later and touched `j2`") as raised:
        refuse_undo(UndoConflicts(["j1"], {"j2": (6, 7)}))
    assert "undo 7 first" in raised.value.hint


def test_nothing_prevents_undoing_a_rerun_without_conflicts():
    refuse_undo(UndoConflicts([], {}))


def test_what_was_reused_since_is_named_with_the_attempt():
    with pytest.raises(UndoRefused) as one:
        refuse_undo(UndoConflicts([], {}, reused={"j1": 17}))
    assert one.value.message == "`j1` was reused from attempt 17 since the rerun"
    with pytest.raises(UndoRefused) as mixed:
        refuse_undo(UndoConflicts(["j1"], {}, reused={"j2": 17, "j3": 18}))
    assert mixed.value.message == ("`j1` has started, and `j2`, `j3` were reused from attempts 17, 18 since the rerun")
    with pytest.raises(UndoRefused) as deleted:
        refuse_undo(UndoConflicts([], {}, reused={"j1": 0}))
    assert deleted.value.message == "`j1` was reused from attempts that were deleted since the rerun"
