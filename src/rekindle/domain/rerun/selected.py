"""The requested jobs: which of them can run again, each with its options resolved, and why the others are refused."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from operator import itemgetter

import msgspec
from msgspec.structs import replace

from rekindle.domain.errors import NotFound
from rekindle.domain.rerun.downstream import find_disturbing
from rekindle.domain.rerun.plan import Reason
from rekindle.domain.rerun.request import (
    RESET_HOLD,
    Downstream,
    How,
    RequestMode,
    Requests,
    is_automatic,
    mode_of,
    resets_downstream,
)
from rekindle.domain.rerun.resolve import Exists, ResolvedRequest, pinned_attempt, resolve_request, with_definition
from rekindle.domain.rerun.views import JobGraph, JobTable, JobView
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.display import list_names

NO_STALE_REASONS: StaleReasons = {}


NO_PINNED_VIEWS: Mapping[int, JobView] = {}


def always_exists(_: str) -> bool:
    """Return True: for callers that plan without looking at files."""
    return True


FORBIDDEN = "forbidden"
"""The kind of a refused job that must not run twice."""


def find_refused(
    views: Mapping[int, JobView],
    graph: JobGraph,
    requests: Requests,
    exists: Exists = always_exists,
    earlier: Mapping[int, JobView] = NO_PINNED_VIEWS,
) -> dict[int, str]:
    """Return the requested jobs that `plan_rerun` would refuse, with the reasons."""
    return find_roots(JobTable.of(views), graph, requests, earlier, exists)[1]


def find_roots(
    views: JobTable,
    graph: JobGraph,
    requests: Requests,
    earlier: Mapping[int, JobView],
    exists: Exists,
) -> tuple[dict[int, SelectedJob], dict[int, str]]:
    """Return the requested jobs that can run again, with resolved options, and those refused, with the reason."""
    asked, refused = _resolve_requests(views, graph, requests, earlier, exists)
    uncanceling = {job: root for job, root in asked.items() if not root.how.cancel_running}
    refused |= find_disturbing(views, graph, downstream_options(asked), lambda view: view.runs_once)
    refused |= find_disturbing(views, graph, downstream_options(uncanceling), lambda view: not view.runs_once)
    return {job: root for job, root in asked.items() if job not in refused}, refused


def _resolve_requests(
    views: JobTable,
    graph: JobGraph,
    requests: Requests,
    earlier: Mapping[int, JobView],
    exists: Exists,
) -> tuple[dict[int, SelectedJob], dict[int, str]]:
    """Return the requested jobs, in order: those that can run again, with resolved options, and those refused, with the
    reason. Jobs that are alike and can run again are resolved once, unless that gives a warning with a name."""
    roots: dict[int, SelectedJob] = {}
    refused: dict[int, str] = {}
    alike: dict[tuple[int, int], SelectedJob] = {}
    for job, how in sorted(requests.hows.items(), key=itemgetter(0)):
        if job not in views:
            raise NotFound(f"no such job: {job}", hint="`rekindle jobs list` names them")
        key = views.rows[job][0], id(how)
        if key in alike and job not in requests.conflicts:
            roots[job] = alike[key]
            continue
        view = views[job]
        refusal = _refusal(views, graph, view, how) or requests.conflicts.get(job)
        resolved = refusal or resolve_one(view, how, earlier, exists)
        if isinstance(resolved, str):
            refused[job] = resolved
            continue
        roots[job] = SelectedJob(how, resolved, job)
        if not resolved.warning and how.attempt is None and pinned_attempt(view, how) is None:
            alike[key] = roots[job]
    return roots, refused


def downstream_options(roots: Mapping[int, SelectedJob]) -> dict[int, Downstream]:
    """Return the downstream option of each job that resets its descendants."""
    return {job: root.how.downstream for job, root in roots.items() if resets_downstream(root.how)}


def _refusal(views: JobTable, graph: JobGraph, view: JobView, how: How) -> str:
    if view.archived_workflow:
        return "its workflow is archived"
    if view.retired:
        if view.added:
            return "it is retired: the job that added it does not add it any more"
        return "it is retired: the latest revision of its workflow does not have it any more"
    if mode_of(how) is RequestMode.RELEASE:
        return "" if view.held == RESET_HOLD else _not_reset(view)
    if view.runs_once:
        return _forbids_rerun(view)
    if view.state in ACTIVE and not how.cancel_running:
        cancel = f"rekindle cancel {shlex.quote(view.name)}"
        return f"it is {view.state.label}; cancel it first: --cancel-running, or {cancel}"
    if view.held is not None and not is_automatic(how):  # automatic reruns do not release the job
        reason = "" if view.held == "held" else f" ({view.held})"
        return f"it is held{reason}; release it first: rekindle release {shlex.quote(view.name)}"
    if how.hold:
        return ""
    if view.state is State.READY and not (view.recovered or _waits_for_retry(view) or _drops_resume_point(view, how)):
        return f"it {_still_to_run(view)}: it is ready"
    if view.state is State.WAITING:
        undone = [parent for parent in sorted(graph.parents.get(view.id, ())) if not is_done(views.kind(parent))]
        needs = list_names(views.name(parent) for parent in undone)
        return f"it {_still_to_run(view)}: it is waiting" + (f" for {needs}" if needs else "")
    return ""


def _forbids_rerun(view: JobView) -> str:
    """Return why a job that must not run twice is refused, and what follows for the jobs below it."""
    assert view.attempt is not None
    if view.attempt.state in ACTIVE:
        follows = "wait for its end"
    elif is_done(view):
        follows = "its attempt stays; rerun the jobs below it by their names"
    else:
        follows = "jobs below it wait: to run it again, take `manual` out of the spec"
    started = "is" if view.state in ACTIVE else "has"
    return f"it must not run twice ({view.rerun_forbidden}), and {started} {view.state.label}; {follows}"


def _waits_for_retry(view: JobView) -> bool:
    """Return whether the job failed and waits for the delay of its retry; a rerun starts it now."""
    return view.next.not_before is not None


def _drops_resume_point(view: JobView, how: How) -> bool:
    """Return whether the job was to resume an attempt, and the request drops that resume point."""
    return view.next.resume_attempt is not None and how.recovery == "clear"


def _not_reset(view: JobView) -> str:
    if view.held is None:
        return "it is not held, so it cannot be released"
    return f"it is held for another reason ({view.held}); release it with rekindle release {shlex.quote(view.name)}"


def _still_to_run(view: JobView) -> str:
    never = view.next.resume_attempt is None and view.next.reuse_candidate is None
    return "has not run yet" if never else "has not run yet since it was reset"


def resolve_one(view: JobView, how: How, earlier: Mapping[int, JobView], exists: Exists) -> ResolvedRequest | str:
    view = with_definition(view, pinned_attempt(view, how), earlier)
    if how.attempt is not None:
        if view.source is None:
            return f"it has no attempt {how.attempt} to go on from"
        view = replace(view, attempt=view.source, next=replace(view.next, keep_recovery=None), fan_outs=())
    return resolve_request(view, how, exists)


StaleReasons = Mapping[int, tuple[Reason, ...]]
"""The reasons for which requested jobs are stale."""


class SelectedJob(msgspec.Struct, frozen=True):
    """A requested job: its options, and the options as resolved for `job`, the first of those that are alike."""

    how: How
    resolved: ResolvedRequest
    job: int


def is_done(view: JobView) -> bool:
    """Return whether the job's children need not wait for it."""
    return view.state is State.COMPLETED
