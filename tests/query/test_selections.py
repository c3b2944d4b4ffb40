"""Selection flags to Selection."""

from __future__ import annotations

import pytest

from rekindle.domain.errors import BadSelection, UnknownWord
from rekindle.domain.selection import AllOf, Compare, ErrorPattern, IdsOrName, Op, Selection
from rekindle.domain.states import State
from rekindle.query.selections import SelectionFlags, parse_selection

FAILED = Compare("state", Op.EQ, State.FAILED)


def test_no_flags_give_an_empty_selection() -> None:
    assert parse_selection(SelectionFlags()) == Selection()
    assert parse_selection(SelectionFlags()).empty


@pytest.mark.parametrize(
    ("flags", "selection"),
    [
        (SelectionFlags(jobs=("1,2", "report")), Selection(jobs=(IdsOrName("1,2"), "report"))),
        (SelectionFlags(workflow="sweep"), Selection(workflow="sweep")),
        (SelectionFlags(ids=("4-6",)), Selection(jobs=(4, 5, 6))),
        (SelectionFlags(names=("train[alpha=0.1,seed=0]",)), Selection(jobs=("train[alpha=0.1,seed=0]",))),
        (SelectionFlags(names=("7",)), Selection(jobs=("7",))),
        (SelectionFlags(states=("FAILED",)), Selection(where=FAILED)),
        (
            SelectionFlags(states=("failed,canceled", "ready")),
            Selection(where=Compare("state", Op.IN, (State.FAILED, State.CANCELED, State.READY))),
        ),
        (SelectionFlags(error="no.*space"), Selection(where=ErrorPattern("no.*space"))),
        (SelectionFlags(error="x", archived=True), Selection(where=ErrorPattern("x", archived=True))),
        (SelectionFlags(signature="3F9a"), Selection(signature="3f9a")),
        (SelectionFlags(everything=True), Selection(everything=True)),
        (SelectionFlags(queries=("{}",)), Selection()),
    ],
)
def test_each_flag_sets_its_part_of_the_selection(flags: SelectionFlags, selection: Selection) -> None:
    assert parse_selection(flags) == selection


def test_several_flags_narrow() -> None:
    flags = SelectionFlags(states=("failed",), filters=("attempts>1", "exit_code=2"), queries=('{"held": false}',))
    assert parse_selection(flags).where == AllOf(
        (
            FAILED,
            Compare("attempts", Op.GT, 1),
            Compare("exit_code", Op.EQ, 2),
            Compare("held", Op.EQ, False),
        )
    )


def test_ids_and_names_together_narrow_and_must_all_exist() -> None:
    found = parse_selection(SelectionFlags(ids=("1-3",), names=("report", "tr*")))
    assert (found.jobs, found.also) == ((1, 2, 3), (("report", "tr*"),))
    assert found.where == AllOf()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (SelectionFlags(error="("), "'('"),
        (SelectionFlags(archived=True), "--archived"),
        (SelectionFlags(signature="xyz"), "'xyz'"),
        (SelectionFlags(signature=""), "''"),
        (SelectionFlags(states=(",",)), "state"),
        (SelectionFlags(names=("",)), "name"),
        (SelectionFlags(filters=("a",)), "'a'"),
    ],
)
def test_invalid_input_is_named_in_the_error(flags: SelectionFlags, named: str) -> None:
    with pytest.raises(BadSelection) as caught:
        parse_selection(flags)
    assert named in caught.value.message


def test_an_unknown_state_gets_a_hint() -> None:
    with pytest.raises(UnknownWord) as caught:
        parse_selection(SelectionFlags(states=("done",)))
    assert "completed" in caught.value.hint


def test_a_request_is_recorded_as_it_was_typed() -> None:
    assert SelectionFlags(jobs=("1-3",), states=("failed",), workflow="w").typed() == {
        "jobs": ["1-3"],
        "workflow": "w",
        "states": ["failed"],
    }
