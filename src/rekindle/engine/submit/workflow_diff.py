"""What differs between two revisions of a workflow, or from a spec file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.revisions import RevisionDiff
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.models import Workflow
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.submit.revise import compare_revisions

if TYPE_CHECKING:
    from rekindle.engine.session import Session


class WorkflowDiff(msgspec.Struct, frozen=True):
    """Two revisions, or a revision and a spec file, with their differences."""

    workflow: Workflow
    a: int
    b: int | None  # None: a file is compared, or there is one revision only
    spec: Path | None
    differences: RevisionDiff | None  # None: there is nothing to compare with


def diff_workflow(
    session: Session,
    workflow: str,
    revisions: Sequence[int] = (),
    spec: Path | None = None,
    params: Mapping[str, str] | None = None,
) -> WorkflowDiff:
    """Compare two revisions, one with the latest, or one with a spec file. Without a revision and a file, compare with
    the workflow's own spec file, or, if that is unchanged, the latest revision with the one before."""
    if len(revisions) > (1 if spec or params else 2):
        raise UsageError("at most two revisions can be compared, or one with a spec file")
    known = selections.find_workflow(session, workflow)
    file = spec or _own_file(known, revisions, bool(params))
    a, b = _sides(known, revisions, file)
    if file is None:
        return WorkflowDiff(known, a, b, None, None if b is None else compare_revisions(session, known, a, b))
    from rekindle.spec import load

    return WorkflowDiff(known, a, b, file, compare_revisions(session, known, a, load(file, params=params or {})))


def _own_file(known: Workflow, revisions: Sequence[int], with_params: bool) -> Path | None:
    """Return the workflow's own spec file if it is to be compared: no revision is named, and the file has changed."""
    if with_params and known.source is None:
        raise Refused(f"{known.name} was made by the Python API: --param needs a file", hint="--spec FILE names one")
    if known.source is None or (revisions and not with_params):
        return None
    use_file = with_params or workflow_queries.spec_state(known) in ("changed", "invalid")
    return Path(known.source) if use_file else None


def _sides(known: Workflow, revisions: Sequence[int], file: Path | None) -> tuple[int, int | None]:
    """Return the revisions to compare. The second is None without one, or if a file is compared."""
    if file is not None:
        return (revisions or (known.revision,))[0], None
    if len(revisions) == 2:
        return revisions[0], revisions[1]
    if revisions:
        return revisions[0], known.revision
    return (known.revision - 1, known.revision) if known.revision > 1 else (known.revision, None)
