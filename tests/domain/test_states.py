from __future__ import annotations

import pytest

from rekindle.domain.errors import UnknownWord
from rekindle.domain.states import ACTIVE, ENDED, State


@pytest.mark.parametrize("state", State)
def test_a_state_is_read_in_any_case(state):
    assert State.parse(state.label) is state
    assert State.parse(f" {state.label.title()} ") is state
    assert State.parse(state.name) is state


def test_canceled_may_have_two_ls():
    assert State.parse("cancelled") is State.CANCELED


@pytest.mark.parametrize(
    ("word", "hint"), [("fizzled", "failed"), ("DONE", "completed"), ("error", "failed"), ("defused", "held")]
)
def test_other_systems_words_get_a_hint(word, hint):
    with pytest.raises(UnknownWord) as raised:
        State.parse(word)
    assert word in raised.value.message
    assert hint in raised.value.hint


def test_an_unknown_word_is_answered_with_the_list():
    with pytest.raises(UnknownWord) as raised:
        State.parse("finisht")
    assert all(state.label in raised.value.hint for state in State)


def test_the_numbers_that_stores_keep_do_not_move():
    assert [(state.name, int(state)) for state in State] == [
        ("WAITING", 0),
        ("READY", 1),
        ("QUEUED", 2),
        ("RUNNING", 3),
        ("COMPLETED", 4),
        ("FAILED", 5),
        ("CANCELED", 6),
    ]


def test_active_and_ended_states_do_not_meet():
    assert not ACTIVE & ENDED
    assert set(State) - ACTIVE - ENDED == {State.WAITING, State.READY}
