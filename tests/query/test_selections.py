"""From flags to a Selection."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import BadSelection, UnknownWord
from rekindle.domain.selection import Compare, ErrorMatches, Every, IdsOrName, Op, Selection
from rekindle.domain.states import State
from rekindle.query.selections import Flags, parse_selection

FAILED = Compare("state", Op.EQ, State.FAILED)


def test_no_flags_select_nothing_in_particular() -> None:
    assert parse_selection(Flags()) == Selection()
    assert parse_selection(Flags()).empty


@pytest.mark.parametrize(
    ("flags", "selection"),
    [
        (Flags(jobs=("1,2", "report")), Selection(jobs=(IdsOrName("1,2"), "report"))),
        (Flags(workflow="sweep"), Selection(workflow="sweep")),
        (Flags(ids=("4-6",)), Selection(jobs=(4, 5, 6))),
        (Flags(names=("train[alpha=0.1,seed=0]",)), Selection(jobs=("train[alpha=0.1,seed=0]",))),
        (Flags(names=("7",)), Selection(jobs=("7",))),
        (Flags(states=("FAILED",)), Selection(where=FAILED)),
        (
            Flags(states=("failed,canceled", "ready")),
            Selection(where=Compare("state", Op.IN, (State.FAILED, State.CANCELED, State.READY))),
        ),
        (Flags(error="no.*space"), Selection(where=ErrorMatches("no.*space"))),
        (Flags(error="x", archived=True), Selection(where=ErrorMatches("x", archived=True))),
        (Flags(signature="3F9a"), Selection(signature="3f9a")),
        (Flags(everything=True), Selection(everything=True)),
        (Flags(queries=("{}",)), Selection()),
    ],
)
def test_each_flag_has_its_place(flags: Flags, selection: Selection) -> None:
    assert parse_selection(flags) == selection


def test_several_flags_narrow() -> None:
    flags = Flags(states=("failed",), filters=("attempts>1", "exit_code=2"), queries=('{"held": false}',))
    assert parse_selection(flags).where == Every(
        (
            FAILED,
            Compare("attempts", Op.GT, 1),
            Compare("exit_code", Op.EQ, 2),
            Compare("held", Op.EQ, False),
        )
    )


def test_ids_and_names_together_narrow_and_must_all_exist() -> None:
    found = parse_selection(Flags(ids=("1-3",), names=("report", "tr*")))
    assert (found.jobs, found.also) == ((1, 2, 3), (("report", "tr*"),))
    assert found.where == Every()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (Flags(error="("), "'('"),
        (Flags(archived=True), "--archived"),
        (Flags(signature="xyz"), "'xyz'"),
        (Flags(signature=""), "''"),
        (Flags(states=(",",)), "state"),
        (Flags(names=("",)), "name"),
        (Flags(filters=("a",)), "'a'"),
    ],
)
def test_what_cannot_be_read_is_named(flags: Flags, named: str) -> None:
    with pytest.raises(BadSelection) as caught:
        parse_selection(flags)
    assert named in caught.value.message


def test_an_unknown_state_gets_a_hint() -> None:
    with pytest.raises(UnknownWord) as caught:
        parse_selection(Flags(states=("done",)))
    assert "completed" in caught.value.hint


def test_a_request_is_recorded_as_it_was_typed() -> None:
    assert Flags(jobs=("1-3",), states=("failed",), workflow="w").typed() == {
        "jobs": ["1-3"],
        "workflow": "w",
        "states": ["failed"],
    }
