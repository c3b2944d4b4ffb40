"""rekindle runs workflows of jobs, and reruns exactly the jobs that must run again."""

TYPE_CHECKING = False  # `typing` takes milliseconds to import
if TYPE_CHECKING:
    from rekindle.api import Client, Workflow
    from rekindle.domain.actions import Action
    from rekindle.domain.batches.supervision import Budget, Guards
    from rekindle.domain.batches.supervision_report import SupervisionReport
    from rekindle.domain.errors import (
        BadValue,
        NotFound,
        PlanOutdated,
        PlanRefused,
        Refused,
        RekindleError,
        SpecError,
        StoreError,
        SubmitRefused,
        UndoRefused,
        UsageError,
    )
    from rekindle.domain.overrides import Overrides
    from rekindle.domain.rerun.plan import PlannedJob, RerunPlan
    from rekindle.domain.rerun.request import How
    from rekindle.domain.selection import Selection
    from rekindle.domain.states import Cause, State
    from rekindle.domain.verdicts import Status
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
    from rekindle.engine.running.signals import StopHandle
    from rekindle.engine.supervising.simulation import SimulatedSupervision
    from rekindle.presentation.batch_values import (
        Event,
        Explanation,
        FailureGroup,
        FlakyJob,
        PruneReport,
        Rerun,
        RerunDetails,
        StoreCheck,
        StoredWorkflow,
        Token,
        WorkflowDetails,
        WorkflowStatus,
    )
    from rekindle.presentation.bundles import ExportedBundle, ImportedBundle
    from rekindle.presentation.cache_values import CachedAttempt, CachePruneReport, CacheVerification
    from rekindle.presentation.comparison_values import (
        AttemptDiff,
        Lineage,
        Reproduction,
        RunComparison,
        VerifiedJob,
        WorkflowDiff,
    )
    from rekindle.presentation.forecast_values import Forecast
    from rekindle.presentation.row_lists import RowList
    from rekindle.presentation.values import (
        Attempt,
        AttemptDetails,
        AttemptError,
        Job,
        JobDetails,
        Log,
        Step,
        Subtask,
    )
    from rekindle.spec.builder import JobHandle

__version__ = "0.1.0.dev0"

__all__ = [
    "AcceptedChanges",
    "Action",
    "AppliedRerun",
    "Attempt",
    "AttemptDetails",
    "AttemptDiff",
    "AttemptError",
    "BadValue",
    "Budget",
    "CachePruneReport",
    "CacheVerification",
    "CachedAttempt",
    "CancelResult",
    "Cause",
    "Client",
    "CompletedByHand",
    "Event",
    "Explanation",
    "ExportedBundle",
    "FailureGroup",
    "FlakyJob",
    "Forecast",
    "Guards",
    "HoldResult",
    "How",
    "ImportedBundle",
    "Job",
    "JobDetails",
    "JobHandle",
    "Lineage",
    "Log",
    "NotFound",
    "Overrides",
    "PlanOutdated",
    "PlanRefused",
    "PlannedJob",
    "PlannedRerun",
    "PlannedRestart",
    "PruneReport",
    "ReattachResult",
    "Refused",
    "RekindleError",
    "Reproduction",
    "Rerun",
    "RerunDetails",
    "RerunPlan",
    "RowList",
    "RunComparison",
    "Selection",
    "SimulatedSupervision",
    "SpecError",
    "State",
    "Status",
    "Step",
    "StopHandle",
    "StoreCheck",
    "StoreError",
    "StoredWorkflow",
    "SubmitPreview",
    "SubmitRefused",
    "SubmitResult",
    "Subtask",
    "SupervisionReport",
    "Token",
    "UndoRefused",
    "UndoneRerun",
    "UsageError",
    "VerifiedJob",
    "WorkReport",
    "Workflow",
    "WorkflowDetails",
    "WorkflowDiff",
    "WorkflowStatus",
    "__version__",
]

_MODULES = {
    "Client": "rekindle.api",
    "Workflow": "rekindle.api",
    "Action": "rekindle.domain.actions",
    "Budget": "rekindle.domain.batches.supervision",
    "Guards": "rekindle.domain.batches.supervision",
    "SimulatedSupervision": "rekindle.engine.supervising.simulation",
    "SupervisionReport": "rekindle.domain.batches.supervision_report",
    "BadValue": "rekindle.domain.errors",
    "NotFound": "rekindle.domain.errors",
    "PlanOutdated": "rekindle.domain.errors",
    "PlanRefused": "rekindle.domain.errors",
    "Refused": "rekindle.domain.errors",
    "RekindleError": "rekindle.domain.errors",
    "SpecError": "rekindle.domain.errors",
    "StoreError": "rekindle.domain.errors",
    "SubmitRefused": "rekindle.domain.errors",
    "UndoRefused": "rekindle.domain.errors",
    "UsageError": "rekindle.domain.errors",
    "Overrides": "rekindle.domain.overrides",
    "PlannedJob": "rekindle.domain.rerun.plan",
    "RerunPlan": "rekindle.domain.rerun.plan",
    "How": "rekindle.domain.rerun.request",
    "Selection": "rekindle.domain.selection",
    "Cause": "rekindle.domain.states",
    "State": "rekindle.domain.states",
    "AcceptedChanges": "rekindle.api",
    "CompletedByHand": "rekindle.api",
    "AppliedRerun": "rekindle.api",
    "CancelResult": "rekindle.api",
    "HoldResult": "rekindle.api",
    "PlannedRerun": "rekindle.api",
    "PlannedRestart": "rekindle.api",
    "ReattachResult": "rekindle.api",
    "SubmitPreview": "rekindle.api",
    "SubmitResult": "rekindle.api",
    "UndoneRerun": "rekindle.api",
    "WorkReport": "rekindle.api",
    "Status": "rekindle.domain.verdicts",
    "StopHandle": "rekindle.engine.running.signals",
    "Event": "rekindle.presentation.batch_values",
    "Explanation": "rekindle.presentation.batch_values",
    "ExportedBundle": "rekindle.presentation.bundles",
    "FailureGroup": "rekindle.presentation.batch_values",
    "ImportedBundle": "rekindle.presentation.bundles",
    "FlakyJob": "rekindle.presentation.batch_values",
    "PruneReport": "rekindle.presentation.batch_values",
    "CachedAttempt": "rekindle.presentation.cache_values",
    "CachePruneReport": "rekindle.presentation.cache_values",
    "CacheVerification": "rekindle.presentation.cache_values",
    "Rerun": "rekindle.presentation.batch_values",
    "RerunDetails": "rekindle.presentation.batch_values",
    "Reproduction": "rekindle.presentation.comparison_values",
    "RunComparison": "rekindle.presentation.comparison_values",
    "VerifiedJob": "rekindle.presentation.comparison_values",
    "StoreCheck": "rekindle.presentation.batch_values",
    "StoredWorkflow": "rekindle.presentation.batch_values",
    "Token": "rekindle.presentation.batch_values",
    "WorkflowDetails": "rekindle.presentation.batch_values",
    "WorkflowDiff": "rekindle.presentation.comparison_values",
    "WorkflowStatus": "rekindle.presentation.batch_values",
    "Forecast": "rekindle.presentation.forecast_values",
    "RowList": "rekindle.presentation.row_lists",
    "Attempt": "rekindle.presentation.values",
    "AttemptDetails": "rekindle.presentation.values",
    "AttemptDiff": "rekindle.presentation.comparison_values",
    "Lineage": "rekindle.presentation.comparison_values",
    "AttemptError": "rekindle.presentation.values",
    "Job": "rekindle.presentation.values",
    "JobDetails": "rekindle.presentation.values",
    "Log": "rekindle.presentation.values",
    "Step": "rekindle.presentation.values",
    "Subtask": "rekindle.presentation.values",
    "JobHandle": "rekindle.spec.builder",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that the command line starts quickly."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names, for completion and `help`."""
    return sorted(__all__)
