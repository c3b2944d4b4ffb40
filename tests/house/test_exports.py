"""The exported names of `rekindle`, and the imports of its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rekindle

EXPORTED = {
    "AcceptedChanges",
    "Action",
    "AppliedRerun",
    "Attempt",
    "AttemptDetails",
    "AttemptDiff",
    "AttemptError",
    "BadValue",
    "Budget",
    "CachedAttempt",
    "CachePruneReport",
    "CacheVerification",
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
    "Rerun",
    "RerunDetails",
    "Lineage",
    "Reproduction",
    "RunComparison",
    "RerunPlan",
    "RowList",
    "Selection",
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
    "SimulatedSupervision",
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
}

HEAVY = ("rich", "yaml", "psycopg", "starlette", "distributed", "multiprocessing", "asyncio")


def test_the_exported_names_are_these() -> None:
    assert set(rekindle.__all__) == EXPORTED


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_each_exported_name_is_there(name: str) -> None:
    assert getattr(rekindle, name) is not None


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Wrokflow"):
        rekindle.Wrokflow  # noqa: B018


def test_the_types_are_shipped() -> None:
    assert (Path(rekindle.__file__).parent / "py.typed").is_file()


def test_the_package_alone_imports_nothing_of_ours() -> None:
    assert loaded_after("import rekindle") & {"rekindle.api", "rekindle.engine", "msgspec", "click"} == set()


def test_the_help_page_imports_nothing_heavy() -> None:
    loaded = loaded_after("from rekindle.cli.main import main; main(['--help'])")
    assert "rekindle.cli.main" in loaded
    assert loaded & set(HEAVY) == set()


def loaded_after(code: str) -> set[str]:
    """The modules of a fresh interpreter after `code`."""
    program = f"import sys\n{code}\nprint('|'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stderr.strip().splitlines()[-1].split("|"))
