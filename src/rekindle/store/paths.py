"""Convert the paths in values of the store: fingerprints, reasons, plans, requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import FileContent, FileFingerprints
from rekindle.domain.rerun.plan import JobSet, PlannedJobs, Reason, ReasonKind, RerunPlan, SavedFile, seal_plan
from rekindle.store.rows import with_next_attempt

if TYPE_CHECKING:
    from rekindle.domain.models import PartialOutput
    from rekindle.store.stored_paths import Convert


_REASONS_WITH_PATH = (ReasonKind.INPUT, ReasonKind.OUTPUT, ReasonKind.UNSTABLE)
"""Kinds of reasons whose detail has an absolute path."""

_REQUEST_PATHS = ("source", "submit")
"""Keys of a rerun's request with the path of a spec file."""


def with_prints(prints: FileFingerprints, convert: Convert) -> FileFingerprints:
    """Return fingerprints with converted paths."""
    if not (prints.inputs or prints.outputs):
        return prints
    values = (_contents(prints.inputs, convert), _contents(prints.outputs, convert), *_other_prints(prints))
    return FileFingerprints(*values)


def _contents(contents: tuple[FileContent, ...], convert: Convert) -> tuple[FileContent, ...]:
    return tuple([FileContent(one.name, convert(one.path), *_other_content(one)) for one in contents])


_other_prints: Callable[[FileFingerprints], tuple[Any, ...]] = attrgetter(*FileFingerprints.__struct_fields__[2:])
_other_content: Callable[[FileContent], tuple[Any, ...]] = attrgetter(*FileContent.__struct_fields__[2:])
"""All fields but the first two: `msgspec.structs.replace` takes six times as long."""


def with_reasons(reasons: tuple[Reason, ...], convert: Convert) -> tuple[Reason, ...]:
    """Return reasons with converted paths."""
    if not any(reason.kind in _REASONS_WITH_PATH for reason in reasons):
        return reasons
    return tuple(Reason(one.kind, _with_detail(one.kind, one.detail, convert)) for one in reasons)


def _with_detail(kind: str, detail: Mapping[str, Any], convert: Convert) -> Mapping[str, Any]:
    """Return the detail of a reason with its path converted, if it has one."""
    return {**detail, "path": convert(detail["path"])} if kind in _REASONS_WITH_PATH and "path" in detail else detail


def with_saved(saved: Sequence[SavedFile], convert: Convert) -> tuple[SavedFile, ...]:
    """Return saved outputs with converted paths."""
    return tuple(replace(one, path=convert(one.path), kept=convert(one.kept)) for one in saved)


def with_partial(partial: Sequence[PartialOutput], convert: Convert) -> tuple[PartialOutput, ...]:
    """Return partial outputs with converted paths."""
    return tuple(
        replace(one, path=convert(one.path), aside=None if one.aside is None else convert(one.aside)) for one in partial
    )


def with_request(request: Mapping[str, Any], convert: Convert) -> dict[str, Any]:
    """Return a rerun's request with the paths of spec files converted."""
    paths = {key: convert(request[key]) for key in _REQUEST_PATHS if isinstance(request.get(key), str)}
    return {**request, **paths}


def with_checked(checked: Mapping[str, Any], convert: Convert) -> dict[str, Any]:
    """Return the result of a reuse check with converted paths in its reasons."""
    if not (reasons := checked.get("reasons")):
        return {**checked}
    return {**checked, "reasons": [_with_detail(one["kind"], one, convert) for one in reasons]}


def with_plan(plan: RerunPlan, convert: Convert) -> RerunPlan:
    """Return a plan with converted paths and its new digest."""
    return seal_plan(replace(plan, jobs=PlannedJobs(_with_change(one, convert) for one in plan.jobs.sets)))


def _with_change(one: JobSet, convert: Convert) -> JobSet:
    change = replace(
        one.change,
        next=with_next_attempt(one.change.next, convert),
        saves=tuple(map(convert, one.change.saves)),
        reasons=with_reasons(one.change.reasons, convert),
    )
    return replace(one, change=change)
