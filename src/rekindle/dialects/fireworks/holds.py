"""Holds, for the reasons that FireWorks knows: fireworks that are paused or defused."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.dialects.fireworks.standing import Standing
from rekindle.dialects.fireworks.words import DEFUSED, PAUSED
from rekindle.domain.rerunning.rerun import How
from rekindle.engine.rerunning import control, rerun
from rekindle.engine.session import Session

_UNSTARTED = ("WAITING", "READY")


def pause(session: Session, fireworks: Sequence[Standing]) -> dict[int, str]:
    """Pause those that have not started. The others, and why not."""
    control.hold(session, [one.id for one in fireworks if one.word in _UNSTARTED], PAUSED)
    hints = {"PAUSED": "it is paused already", "RESERVED": "it is being started", "DEFUSED": "it is defused"}
    return {
        one.id: hints.get(one.word, f"it is {one.word}, and only what has not started can be paused")
        for one in fireworks
        if one.word not in _UNSTARTED
    }


def resume(session: Session, fireworks: Sequence[Standing]) -> dict[int, str]:
    """Resume those that are paused. The others, and why not."""
    return _release(session, fireworks, "PAUSED", "paused")


def reignite(session: Session, fireworks: Sequence[Standing]) -> dict[int, str]:
    """Reignite those that are defused. The others, and why not."""
    return _release(session, fireworks, "DEFUSED", "defused")


def defuse(session: Session, fireworks: Sequence[Standing]) -> dict[int, str]:
    """Defuse them; what has completed or runs is reset for that, with what needs it. The others, and why not."""
    refused = {one.id: "it is defused already" for one in fireworks if one.word == "DEFUSED"}
    refused |= {one.id: "its workflow is archived" for one in fireworks if one.word == "ARCHIVED"}
    again = [one.id for one in fireworks if one.word in ("COMPLETED", "RUNNING", "RESERVED")]
    if again:
        how = How(hold=DEFUSED, cancel_running=True)
        request = {"selection": {"jobs": again}, "how": {"defuse": True}}
        proposal, _ = rerun.plan_and_apply(session, [(again, how)], request)
        refused |= {one.id: one.why for one in proposal.plan.refused}
    idle = [one.id for one in fireworks if one.word in (*_UNSTARTED, "FIZZLED", "PAUSED")]
    control.hold(session, idle, DEFUSED, instead=True)
    return refused


def _release(session: Session, fireworks: Sequence[Standing], word: str, what: str) -> dict[int, str]:
    control.release(session, [one.id for one in fireworks if one.word == word])
    return {one.id: f"it is {one.word}, not {what}" for one in fireworks if one.word != word}
