"""What the restart modes mean, and when they are offered."""

from __future__ import annotations

from typing import Any

import pytest

from rekindle.dialects.ziggy.modes import Mode, default_mode, meaning, parse_mode
from rekindle.dialects.ziggy.tasks import Counts, Step, Task, unit_of_work
from rekindle.domain.causes import Cause
from rekindle.domain.errors import BadValue
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.states import State


def task(state: State = State.FAILED, step: Step = Step.WAITING_TO_STORE, **more: Any) -> Task:
    """Subtask 0 of 4 has failed, unless something else is said."""
    given = {"counts": Counts(4, 3, 1), "incomplete": "process", "started": True, "fans_out": True}
    return Task(3, 1, "permuter", "[set-1]", state, step, **{**given, **more})


FAILED = task(cause=Cause.SUBTASKS)
NOT_OFFERED = {
    "running": (task(State.RUNNING, Step.EXECUTING), {"RESUME_MONITORING"}),
    "waiting": (task(State.WAITING, Step.INITIALIZING, incomplete=None), set()),
    "ready": (task(State.READY, Step.WAITING_TO_RUN, incomplete=None), set()),
    "complete": (task(State.COMPLETED, Step.COMPLETE, counts=Counts(4, 4), incomplete=None), set()),
    "complete, with a failed subtask": (
        task(State.COMPLETED, Step.COMPLETE),
        {"RESUBMIT", "RESTART_FROM_BEGINNING"},
    ),
    "failed while marshaling": (
        task(step=Step.MARSHALING, cause=Cause.EXIT, counts=Counts(), incomplete=None),
        {"RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"},
    ),
    "failed in the algorithm": (FAILED, {"RESUBMIT", "RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"}),
    "failed while storing": (
        task(step=Step.STORING, cause=Cause.EXIT, counts=Counts(4, 4), incomplete=None),
        {"RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"},
    ),
    "halted before it started": (
        task(State.CANCELED, Step.WAITING_TO_RUN, started=False, counts=Counts(), incomplete=None),
        {"RESUME_CURRENT_STEP", "RESTART_FROM_BEGINNING"},
    ),
}


@pytest.mark.parametrize(("found", "offered"), NOT_OFFERED.values(), ids=NOT_OFFERED)
def test_a_mode_is_offered_only_where_the_state_allows_it(found: Task, offered: set[str]) -> None:
    meanings = {mode.name: meaning(found, mode) for mode in Mode if mode is not Mode.RESUME_MONITORING}
    assert {name for name, one in meanings.items() if isinstance(one, How)} == offered - {"RESUME_MONITORING"}
    assert all(isinstance(one, How) or one for one in meanings.values()), "a reason is given"


@pytest.mark.parametrize(("found", "offered"), NOT_OFFERED.values(), ids=NOT_OFFERED)
def test_the_mode_without_a_name_is_offered_and_gives_nothing_up(found: Task, offered: set[str]) -> None:
    if not offered:
        return
    mode = default_mode(found)
    assert mode.name in offered
    how = meaning(found, mode)
    if isinstance(how, How):
        assert not how.accept_partial
        assert how.start != "beginning" or not found.started


def test_resubmit_with_every_subtask_complete_says_so() -> None:
    found = meaning(task(step=Step.STORING, cause=Cause.EXIT, counts=Counts(4, 4), incomplete=None), Mode.RESUBMIT)
    assert found == "every subtask is complete: there is none to run again"


def test_resume_current_step_advances_where_the_algorithm_has_ended_and_repeats_what_was_cut_off() -> None:
    assert meaning(FAILED, Mode.RESUME_CURRENT_STEP) == How(accept_partial=True, keep_modified=True)
    for cause, state in ((Cause.LOST, State.FAILED), (Cause.TIMEOUT, State.FAILED), (Cause.CANCELED, State.CANCELED)):
        found = task(state, Step.EXECUTING, cause=cause)
        assert meaning(found, Mode.RESUME_CURRENT_STEP) == How("failed-step", keep_modified=True)


def test_a_restart_keeps_the_parameters_of_before_under_those_that_are_set() -> None:
    overrides = Overrides({"alpha": 2})
    for mode in (Mode.RESUBMIT, Mode.RESUME_CURRENT_STEP, Mode.RESTART_FROM_BEGINNING):
        how = meaning(FAILED, mode, overrides)
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
def test_modes_are_read(word: str, mode: Mode) -> None:
    assert parse_mode(word) is mode


@pytest.mark.parametrize(("word", "said"), [("resume", "could be"), ("again", "unknown"), ("", "unknown")])
def test_a_word_that_means_no_mode_or_several_is_refused(word: str, said: str) -> None:
    with pytest.raises(BadValue, match=said) as bad:
        parse_mode(word)
    assert "resume-current-step" in bad.value.hint


def test_units_of_work_and_counts_are_written_as_ziggy_does() -> None:
    assert unit_of_work('{"unit": "set-1"}') == "[set-1]"
    assert unit_of_work('{"unit": "set-1", "band": 2}') == "[set-1,2]"
    assert unit_of_work("{}") == "[single]"
    assert str(Counts(4, 3, 1)) == "3/4 (1)"
    assert str(Counts(4, 4)) == "4/4"
    assert (FAILED.status, FAILED.name) == ("ERROR - WAITING_TO_STORE", "permuter[set-1]")
    assert task(State.CANCELED, Step.EXECUTING).status == "HALTED - EXECUTING"
