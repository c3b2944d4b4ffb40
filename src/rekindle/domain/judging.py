"""Failures that wait for a decision: of a person, because nobody has seen such a failure before, or of a judge, a
command that is given the failed attempt and answers what becomes of it.

The order for a failed attempt: an unknown failure waits for a person (`on_unknown_failure: hold`); else the first rule
of `retry` that matches decides; where none does, or its retries are used up, the judge; else the failure stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from rekindle.domain.errors import BadValue

if TYPE_CHECKING:
    from rekindle.domain.definition import RetryRule

UNKNOWN = "unknown failure"
"""What a failure with a new signature waits for: a person."""

JUDGE = "judge"
"""What a failure waits for while its judge is asked."""

BY_JUDGE = "its judge"
"""The beginning of what a failure waits for if its judge leaves it to a person."""

MOST_RETRIES = 3
"""Retries that a judge may order for a job without `retry` since a user last reset it."""

MAX_STARTS = 3
"""How many processes ask one question. If each died, the judge may be why."""

JUDGE_SECONDS = 60.0
"""How long a judge may take; then its process group is killed."""

MOST_ANSWER = 16_384
"""Bytes of an answer that are read."""

_MOST_REASON = 500

Answer = Literal["retry", "fail", "hold"]


class Judgement(msgspec.Struct, frozen=True):
    """What a judge has answered. `error`: it has not; `reason` says why, and the failure stands."""

    answer: Literal["retry", "fail", "hold", "error"]
    reason: str = ""


def parse_answer(text: str) -> Judgement:
    """Read an answer: `retry`, `fail` or `hold` as the first word, with a reason after it; or a JSON object with
    `answer` and `reason`. Raise BadValue for anything else."""
    text = text.strip()
    if text.startswith(("{", '"')):
        try:
            found = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise BadValue(f"the answer is not JSON: {text!r:.100}") from None
        given = found if isinstance(found, dict) else {"answer": found}
        word, reason = given.get("answer"), given.get("reason") or ""
    else:
        word, _, reason = text.partition("\n")[0].partition(" ")
        word = word.rstrip(":,.;")
    answer = word.lower() if isinstance(word, str) else word
    if answer not in ("retry", "fail", "hold"):
        raise BadValue(f"the answer is none of retry, fail and hold: {text!r:.100}" if text else "there is no answer")
    if not isinstance(reason, str):
        raise BadValue(f"the reason is not a text: {reason!r:.100}")
    return Judgement(cast("Answer", answer), " ".join(reason.split())[:_MOST_REASON])


def most_retries(policy: Sequence[RetryRule]) -> int:
    """Return how many retries a judge may order since a user last reset the job: as many as the job's own `retry`."""
    return max((rule.max for rule in policy), default=MOST_RETRIES)


def held_by_judge(reason: str) -> str:
    """Return what a failure waits for that its judge leaves to a person."""
    return f"{BY_JUDGE}: {reason}" if reason else BY_JUDGE


def waits_for_person(undecided: str | None) -> bool:
    """Return whether a person must decide about a failure."""
    return undecided is not None and undecided != JUDGE


def undecided_text(undecided: str) -> str:
    """Return what a failure waits for: `held: unknown failure; release or rerun`."""
    if undecided == JUDGE:
        return "its judge is asked"
    return f"held: {undecided}; release or rerun"
