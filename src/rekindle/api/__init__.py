"""The Python API: `Workflow` defines workflows, `Client` does with a store what the command line does."""

from __future__ import annotations

from rekindle.api.client import Client
from rekindle.api.workflow import Workflow
from rekindle.engine.rerun.complete import CompletedByHand
from rekindle.engine.results import (
    AcceptedChanges,
    AppliedRerun,
    CancelResult,
    HoldResult,
    PlannedRerun,
    PlannedRestart,
    ReattachResult,
    SubmitPreview,
    SubmitResult,
    UndoneRerun,
    WorkReport,
)

__all__ = [
    "AcceptedChanges",
    "AppliedRerun",
    "CancelResult",
    "Client",
    "CompletedByHand",
    "HoldResult",
    "PlannedRerun",
    "PlannedRestart",
    "ReattachResult",
    "SubmitPreview",
    "SubmitResult",
    "UndoneRerun",
    "WorkReport",
    "Workflow",
]
