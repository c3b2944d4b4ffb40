"""What the next attempt of a job does: one value, in its row, its plan and the planner's view of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import asdict, replace

from rekindle.domain.subtasks import SubtaskChoice

FolderReuse = Literal["copy", "same"]
"""How an attempt takes over the folder of an earlier attempt."""


class NextAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the next attempt of a job does."""

    resume_attempt: int | None = None  # it builds on this attempt …
    resume_step: int = 0  # … from this position
    subtasks: SubtaskChoice | None = None  # the subtasks to run, if a fan-out is resumed
    take: FolderReuse | None = None  # how it takes over an earlier attempt's folder; None: a new folder …
    folder: str | None = None  # … and which; absolute
    overrides: str | None = None  # JSON text: see domain.overrides
    pinned_to: int | None = None  # the attempt whose definition it uses; None: the latest
    not_before: float | None = None
    avoids: str | None = None  # the host of the failed attempt: not used while another host works
    repeats: int = 0  # how many more times the job runs after the live, or next, attempt
    # the rerun since which plain reruns use the resume point; in a plan, 0 is the rerun that applies the plan
    keep_recovery: int | None = None
    # a COMPLETED attempt that is reused if its fingerprint still matches; ANY_EARLIER: found when the job is ready
    reuse_candidate: int | None = None

    def with_attempt(self, found: int, put: int) -> NextAttempt:
        """Return the value with one attempt in place of another."""
        changed = {name: put for name in ATTEMPT_FIELDS if getattr(self, name) == found}
        return replace(self, **changed) if changed else self


ATTEMPT_FIELDS = ("resume_attempt", "pinned_to", "reuse_candidate")
"""The fields that are ids of attempts."""

ANY_EARLIER = 0
"""The reuse candidate of a job that any earlier attempt with its identity may complete."""

DEFAULT_NEXT_ATTEMPT = NextAttempt()

_JSON_NAMES = {"take": "workdir", "reuse_candidate": "reserve"}
"""The JSON keys of plans that differ from the field's name."""


def next_attempt_to_json(value: NextAttempt) -> dict[str, Any]:
    """Return the keys that a plan's JSON has for a next attempt."""
    import json

    document = {_JSON_NAMES.get(name, name): each for name, each in asdict(value).items()}
    if isinstance(value.subtasks, tuple):
        document["subtasks"] = list(value.subtasks)
    document["workdir"] = value.take or "new"
    document["overrides"] = None if value.overrides is None else json.loads(value.overrides)
    return document


def next_attempt_values(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the next attempt that `next_attempt_to_json` encoded; other keys are ignored."""
    import json

    values = {name: document[_JSON_NAMES.get(name, name)] for name in NextAttempt.__struct_fields__}
    if values["take"] == "new":
        values["take"] = None
    if values["overrides"] is not None:
        values["overrides"] = json.dumps(values["overrides"], sort_keys=True)
    return values
