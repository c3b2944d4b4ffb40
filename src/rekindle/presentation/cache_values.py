"""Values about the content store that the Python API returns. See `values`."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  fields of Structs
from typing import Any

from rekindle.presentation.values import Value


class CachedAttempt(Value, frozen=True):
    """An attempt whose outputs are kept in the content store.

    Attributes:
        id: Its number.
        job: The number of its job.
        name: The name of its job.
        number: Its number within the job.
        workflow: The number of its workflow.
        workflow_name: The name of its workflow.
        contents: The number of different contents that it has left.
        bytes: Of these contents, which other attempts may have left too.
        kept: When they were kept.
        used: When they were kept or restored last.
    """

    id: int
    job: int
    name: str
    number: int
    workflow: int
    workflow_name: str
    contents: int
    bytes: int
    kept: datetime
    used: datetime


class CachePruneReport(Value, frozen=True):
    """What was removed from the content store, or would be.

    Attributes:
        pruned: Whether it was removed.
        attempts: The attempts whose outputs went.
        held: Attempts (ids) that stay because their outputs were being restored.
        contents: The number of contents that went.
        bytes: Of these contents.
    """

    pruned: bool
    attempts: list[CachedAttempt]
    held: list[int]
    contents: int
    bytes: int


class CacheVerification(Value, frozen=True):
    """What a reading of the content store found.

    Attributes:
        sound: Whether nothing is wrong.
        contents: The number of contents that were read.
        bytes: Of the sound ones.
        poisoned: Contents that had changed and were set aside: `digest`, and `attempts` (ids) that had left them.
        incomplete: Attempts (ids) whose outputs are not kept any more, because contents are missing.
    """

    sound: bool
    contents: int
    bytes: int
    poisoned: list[dict[str, Any]]
    incomplete: list[int]
