"""Restart modes: their rerun options, and the states in which they are offered."""

from __future__ import annotations

from typing import Any

import pytest

from rekindle.dialects.ziggy.restart_modes import Mode, default_mode, options_for_mode, parse_mode
from rekindle.dialects.ziggy.tasks import ProcessingStep, SubtaskCounts, Task, unit_of_work
from rekindle.domain.errors import BadValue
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State


def task(state: State = State.FAILED, step: ProcessingStep = ProcessingStep.WAITING_TO_STORE, **more: Any) -> Task:
    """Return a task whose subtask 0 of 4 failed, with changes in `more`."""
    given = {"counts": SubtaskCounts(4, 3, 1), "incomplete": "process", "started": True, "fans_out": True}
    return Task(3, 1, "permuter", "[set-1]", state, step, **{**given, **more})


FAILED = task(cause=Cause.SUBTASKS)
NOT_OFFERED = {
    "running": (task(State.RUNNING, ProcessingStep.EXECUTING), {"RESUME_MONITORING"}),
    "waiting": (task(State.WAITING, ProcessingStep.INITIALIZING, incomplete=None), set()),
    "ready": (task(State.READY, ProcessingStep.WAITING_TO_RUN, incomplete=None), set()),
    "complete": (task(State.COMPLETED, ProcessingStep.COMPLETE, counts=SubtaskCounts(4, 4), incomplete=None), set()),
    "complete, with a failed subtask": (
        task(State.COMPLETED, ProcessingStep.COMPLETE),
        {"RESUBMIT", "RESTART_FROM_BEGINNING"},
    ),
    "failed while marshaling": (
        task(step=ProcessingStep.MARSHALING, cause=Cause.EXIT, counts=SubtaskCounts(), incomplete=None),
        {"RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"},
    ),
    "failed in the algorithm": (FAILED, {"RESUBMIT", "RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"}),
    "failed while storing": (
        task(step=ProcessingStep.STORING, cause=Cause.EXIT, counts=SubtaskCounts(4, 4), incomplete=None),
        {"RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"},
    ),
    "halted before it started": (
        task(State.CANCELED, ProcessingStep.WAITING_TO_RUN, started=False, counts=SubtaskCounts(), incomplete=None),
        {"RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"},
    ),
}


@pytest.mark.parametrize(("found", "offered"), NOT_OFFERED.values(), ids=NOT_OFFERED)
def test_a_mode_is_offered_only_if_the_state_allows_it(found: Task, offered: set[str]) -> None:
    meanings = {mode.name: options_for_mode(found, mode) for mode in Mode if mode is not Mode.RESUME_MONITORING}
    assert {name for name, one in meanings.items() if isinstance(one, How)} == offered - {"RESUME_MONITORING"}
    assert all(isinstance(one, How) or one for one in meanings.values()), "a reason is given"


@pytest.mark.parametrize(("found", "offered"), NOT_OFFERED.values(), ids=NOT_OFFERED)
def test_the_default_mode_is_offered_and_gives_up_no_subtask(found: Task, offered: set[str]) -> None:
    if not offered:
        return
    mode = default_mode(found)
    assert mode.name in offered
    how = options_for_mode(found, mode)
    if isinstance(how, How):
        assert not how.accept_partial
        assert how.start != "beginning" or not found.started


def test_resubmit_with_every_subtask_complete_is_refused() -> None:
    found = options_for_mode(
        task(step=ProcessingStep.STORING, cause=Cause.EXIT, counts=SubtaskCounts(4, 4), incomplete=None), Mode.RESUBMIT
    )
    assert found == "every subtask is complete: no subtask has to run again"


def test_resume_current_step_accepts_partial_or_repeats_the_step() -> None:
    assert options_for_mode(FAILED, Mode.RESUME_CURRENT_STEP) == How(accept_partial=True, keep_modified=True)
    for cause, state in ((Cause.LOST, State.FAILED), (Cause.TIMEOUT, State.FAILED), (Cause.CANCELED, State.CANCELED)):
        found = task(state, ProcessingStep.EXECUTING, cause=cause)
        assert options_for_mode(found, Mode.RESUME_CURRENT_STEP) == How("failed-step", keep_modified=True)


def test_a_restart_keeps_earlier_parameters_under_new_ones() -> None:
    overrides = Overrides({"alpha": 2})
    for mode in (Mode.RESUBMIT, Mode.RESUME_CURRENT_STEP, Mode.RESTART_FROM_BEGINNING):
        how = options_for_mode(FAILED, mode, overrides)
        assert isinstance(how, How)
        assert (how.keep_modified, how.overrides) == (True, overrides)


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        ("RESTART_FROM_BEGINNING", Mode.RESTART_FROM_BEGINNING),
        ("restart-from-beginning", Mode.RESTART_FROM_BEGINNING),
        ("RESUBMIT", Mode.RESUBMIT),
        ("resub", Mode.RESUBMIT),
        ("RESUME_CURRENT_STEP", Mode.RESUME_CURRENT_STEP),
        ("resume-m", Mode.RESUME_MONITORING),
        ("RESUME_MONITORING", Mode.RESUME_MONITORING),
        ("Resume Current Step", Mode.RESUME_CURRENT_STEP),
    ],
)
def test_modes_are_parsed(word: str, mode: Mode) -> None:
    assert parse_mode(word) is mode


@pytest.mark.parametrize(("word", "result"), [("resume", "could be"), ("again", "unknown"), ("", "unknown")])
def test_an_unknown_or_ambiguous_mode_is_refused(word: str, result: str) -> None:
    with pytest.raises(BadValue, match=result) as bad:
        parse_mode(word)
    assert "resume-current-step" in bad.value.hint


def test_units_of_work_and_counts_use_ziggys_format() -> None:
    assert unit_of_work('{"unit": "set-1"}') == "[set-1]"
    assert unit_of_work('{"unit": "set-1", "band": 2}') == "[set-1,2]"
    assert unit_of_work("{}") == "[single]"
    assert str(SubtaskCounts(4, 3, 1)) == "3/4 (1)"
    assert str(SubtaskCounts(4, 4)) == "4/4"
    assert (FAILED.status, FAILED.name) == ("ERROR - WAITING_TO_STORE", "permuter[set-1]")
    assert task(State.CANCELED, ProcessingStep.EXECUTING).status == "HALTED - EXECUTING"
