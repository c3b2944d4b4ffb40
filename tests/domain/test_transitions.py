from __future__ import annotations

from itertools import product

import pytest

from rekindle.domain.errors import IllegalTransition
from rekindle.domain.states import ACTIVE, ENDED, TRANSITIONS, JobEvent, State, derive_state, transition

LEGAL = {
    JobEvent.NEEDS_MET: {"waiting": "ready"},
    JobEvent.NEEDS_LOST: {"ready": "waiting"},
    JobEvent.CLAIM: {"ready": "queued"},
    JobEvent.START: {"queued": "running"},
    JobEvent.GIVE_BACK: {"queued": "ready"},
    JobEvent.COMPLETE: {"running": "completed"},
    JobEvent.FAIL: {"queued": "failed", "running": "failed"},
    JobEvent.CANCEL: dict.fromkeys(("waiting", "ready", "queued", "running"), "canceled"),
    JobEvent.RESET: dict.fromkeys(("waiting", "ready", "completed", "failed", "canceled"), "waiting"),
    JobEvent.CANCEL_AND_RESET: {"queued": "waiting", "running": "waiting"},
    JobEvent.REINSTATE: {"waiting": "completed", "ready": "completed"},
}


@pytest.mark.parametrize(("state", "event"), list(product(State, JobEvent)))
def test_every_event_has_a_transition_or_raises_with_the_story(state, event):
    after = LEGAL[event].get(state.label)
    if after is not None:
        assert transition(state, event, "job 1").label == after
        return
    with pytest.raises(IllegalTransition, match="job 1 train") as raised:
        transition(state, event, "job 1 train")
    assert (raised.value.state, raised.value.event) == (state.label, event.value)


def test_a_running_job_is_reset_only_when_canceled():
    assert not any((state, JobEvent.RESET) in TRANSITIONS for state in ACTIVE)
    assert {state for state, event in TRANSITIONS if event is JobEvent.CANCEL_AND_RESET} == ACTIVE


def test_every_state_can_be_reached_and_left():
    assert set(TRANSITIONS.values()) == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State)


@pytest.mark.parametrize("attempt", [*ACTIVE, *ENDED])
def test_a_live_attempt_decides_the_state_alone(attempt):
    for canceled, unmet in product((False, True), (0, 2)):
        assert derive_state(attempt, canceled, unmet) is attempt


def test_without_an_attempt_needs_decide_unless_it_was_canceled():
    assert derive_state(None, False, 0) is State.READY
    assert derive_state(None, False, 1) is State.WAITING
    assert derive_state(None, True, 0) is State.CANCELED
    assert derive_state(None, True, 1) is State.CANCELED
