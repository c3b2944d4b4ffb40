"""A firework changes in another process while an `lpad` command selects fireworks, asks, and acts."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lpad_folder import ODD, RELAX, Lpad

from rekindle.dialects.fireworks.lpad import messages
from rekindle.domain.states import State

COMMANDS = pytest.mark.parametrize(
    "words",
    [
        ("rerun_fws", "-s", "FIZZLED"),
        ("rerun_fws", "-q", '{"state": "FIZZLED", "name": {"$regex": "^(odd|relax)$"}}'),
        ("rerun_wflows", "-s", "FIZZLED"),
        ("defuse_fws", "-s", "FIZZLED"),
        ("update_fws", "-s", "FIZZLED", "-u", '{"_priority": 3}'),
        ("set_priority", "3", "-s", "FIZZLED"),
    ],
    ids=["rerun by state", "rerun by query", "rerun workflows", "defuse", "update", "priority"],
)


@COMMANDS
def test_a_firework_that_has_completed_since_is_left_as_it_is(
    chain: Lpad, interruptions: Callable[..., Iterator[Any]], words: tuple[str, ...]
) -> None:
    for one in interruptions(chain.folder, "odd"):
        done = chain(*words)
        assert done.code in (0, 1), done.err
        if one.changed and not one.held and words[0] != "rerun_wflows":
            assert one.found().state is State.COMPLETED
            assert one.found().held is None


@COMMANDS
def test_the_selection_is_resolved_again_after_the_answer(
    chain: Lpad,
    interruption: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    one = interruption(chain.folder, "odd", State.FAILED, State.COMPLETED)
    answer_after(one, monkeypatch)
    done = chain.ok(*words)
    assert one.found().held is None
    if words[0] == "rerun_wflows":  # the workflow is still FIZZLED
        return
    assert one.found().state is State.COMPLETED
    assert "left as it is: 4 odd: it is COMPLETED now, and not selected any more" in done.err
    assert chain.states()["relax"] in ("READY", "DEFUSED") or chain.of(RELAX)["spec"].get("_priority") == 3
    assert "_priority" not in chain.of(ODD)["spec"]


@pytest.mark.parametrize(
    "words", [("archive_wflows",), ("delete_wflows",), ("pause_wflows",), ("set_priority", "3", "-wf")]
)
def test_a_workflow_that_does_not_match_after_the_answer_is_left_as_it_is(
    chain: Lpad, interruption: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    before = chain.json("get_wflows", "-d", "all")
    answer_after(interruption(chain.folder, "odd", State.FAILED, State.COMPLETED), monkeypatch)
    done = chain.ok(*words, "-q", json.dumps({f"fw_states.{ODD}": "FIZZLED"}))
    assert "left as it is: 1 (workflow): it is not selected any more" in done.err
    after = chain.json("get_wflows", "-d", "all")
    assert after["states"] == {**before["states"], f"odd--{ODD}": "COMPLETED"}
    assert "_priority" not in chain.of(ODD)["spec"]


def answer_after(one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer the question of a command only after the interruption."""

    class Answer(io.StringIO):
        """A terminal at which the user thinks until the job has completed."""

        def readline(self, *_: Any) -> str:
            one.now()
            return "Y\n"

    monkeypatch.setattr(messages, "CONFIRM_ABOVE", 0)
    monkeypatch.setattr(sys, "stdin", Answer())
