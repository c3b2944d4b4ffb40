"""How the engine's results show themselves in Python: a short `repr`, plans as text and, in notebooks, as HTML."""

from __future__ import annotations

import contextlib
import io
from signal import Signals
from typing import TYPE_CHECKING

from rekindle.domain.batches.canaries import CanaryChoice, CanaryGroup
from rekindle.domain.batches.supervision_report import SupervisionReport
from rekindle.domain.changes.differences import Difference
from rekindle.domain.changes.revisions import RevisionDiff
from rekindle.domain.definition import Definition
from rekindle.domain.errors import RefusedJob
from rekindle.domain.models import Job, Workflow
from rekindle.domain.rerun.plan import Reason, RerunPlan
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import Cause
from rekindle.domain.texts.name_sets import NameIndex
from rekindle.engine import results
from rekindle.engine.rerun.complete import CompletedByHand
from rekindle.presentation import html_views
from rekindle.presentation.values import short_repr
from rekindle.store.archive import Snapshot

if TYPE_CHECKING:
    from rekindle.engine.results import PlannedRerun

_SHORT = (
    SupervisionReport,
    RerunPlan,
    Selection,
    results.AcceptedChanges,
    CompletedByHand,
    results.AppliedRerun,
    results.CancelResult,
    results.HoldResult,
    results.PlannedRestart,
    results.ReattachResult,
    results.SubmitPreview,
    results.SubmitResult,
    results.UndoneRerun,
    results.WorkReport,
)


def show_results() -> None:
    """Give the engine's results the methods that show them. Their classes are in packages that know no text."""
    for kind in _SHORT:
        setattr(kind, "__repr__", short_repr)  # noqa: B010  mypy refuses the assignment
    methods = {"__repr__": plan_repr, "__str__": plan_text, "_repr_html_": html_views.plan}
    for name, method in methods.items():
        setattr(results.PlannedRerun, name, method)


def resolve_annotations() -> None:
    """Let `help` and Sphinx find the types of the results' fields: their module imports these for type checkers only,
    so that commands start quickly."""
    for kind in (
        CanaryChoice,
        CanaryGroup,
        Difference,
        RevisionDiff,
        RefusedJob,
        Job,
        Workflow,
        RerunPlan,
        How,
        Cause,
        NameIndex,
    ):
        vars(results).setdefault(kind.__name__, kind)
    vars(results).update(Definition=Definition, Signals=Signals, Snapshot=Snapshot, Reason=Reason)


def plan_repr(one: PlannedRerun) -> str:
    """Return a plan in one line: `<PlannedRerun: 3 jobs run again: 1 selected, 2 downstream>`."""
    from rekindle.presentation import plans

    return f"<PlannedRerun: {plans.summary(one.plan)}>"


def plan_text(one: PlannedRerun) -> str:
    """Return a plan as the command line prints it: its jobs as a tree, refusals, overwritten files and cost."""
    from rekindle.cli.output.plans import draw_plan

    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        draw_plan(one.plan, one.children, lambda: one.names or NameIndex(()), verbose=False)
    return written.getvalue().rstrip("\n")
