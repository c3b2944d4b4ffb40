"""Rows to the values of the law, one function for each kind of row."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Resources
from rekindle.domain.models import Attempt, Failure, Job, StepOutcome
from rekindle.domain.states import State
from rekindle.domain.subtasks import Choice
from rekindle.domain.verdicts import Verdict, Word
from rekindle.journal.encoding import from_json, to_json
from rekindle.store.database import Row
from rekindle.store.paths import StoredPaths

STATES: tuple[State, ...] = tuple(State)
"""By number: an index is a fifth of the price of a call."""

_SILENT = (None, None, None, None)
"""The columns of a failure, of an attempt that said nothing."""

CAUSES: dict[str | None, Cause | None] = {None: None, **{cause.value: cause for cause in Cause}}


def job_of(row: Row, paths: StoredPaths) -> Job:
    """A row of `job_columns`."""
    values = list(row)
    values[3], values[11], values[12] = STATES[row[3]], row[11] != 0, row[12] != 0
    values[23] = paths.decode(row[23])
    return Job._make(values)


def step_of(row: Row) -> StepOutcome:
    """A row of `step_columns`, behind the attempt's id."""
    values = [*row[1:3], STATES[row[3]], CAUSES[row[4]], *row[5:12], verdict_of(row[12], row[13])]
    return StepOutcome(*values)


def attempt_of(row: Row, paths: StoredPaths, steps: Sequence[StepOutcome] = ()) -> Attempt:
    """A row of `attempt_columns`."""
    said = row[11:15]
    values = list(row)
    values[5], values[8], values[21] = STATES[row[5]], CAUSES[row[8]], paths.decode(row[21])
    values[28], values[32] = verdict_of(row[28], row[38]), row[32] != 0
    values[38:40] = [row[39] != 0]
    values[34:34] = [tuple(steps)]
    values[11:15] = [None if said == _SILENT else Failure(*(text or "" for text in said))]
    return Attempt._make(values)


def verdict_columns(verdict: Verdict | None) -> tuple[str | None, str | None]:
    """The two columns of a verdict."""
    return (None, None) if verdict is None else (verdict.word.value, verdict.message)


def verdict_of(word: str | None, message: str | None) -> Verdict | None:
    """The verdict of its two columns."""
    return None if word is None else Verdict(Word(word), message or "")


def resources_of(row: Row) -> Resources:
    """A row of cpus, memory, gpus, time, licences."""
    cpus, memory, gpus, time, licences = row
    pairs = tuple((name, count) for name, count in from_json(licences))
    return Resources(cpus, memory, gpus, time or None, pairs)


def choice_of(text: str | None) -> Choice | None:
    """Which subtasks run, of its column."""
    return None if text is None else _CHOICE.decode(text)


def choice_text(choice: Choice | None) -> str | None:
    """The column of which subtasks run."""
    return None if choice is None else to_json(choice).decode()


_CHOICE: msgspec.json.Decoder[Choice] = msgspec.json.Decoder(Choice)
