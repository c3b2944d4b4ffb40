"""Prune the history: plan what goes, record it in one transaction, and remove the files after the commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.retention import ArchivedAttempt, Kept, RetentionRules, choose_pruned
from rekindle.domain.selection import Selection
from rekindle.engine.queries.selections import Chosen, find_workflow_in, resolve_in, select_stale
from rekindle.engine.retention.cache import sweep
from rekindle.journal.attempt_files import files_of_attempts, log_files_of, remove_files, size_of
from rekindle.journal.paths import attempt_folder
from rekindle.store.retention import ArchivedWorkflow

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction

_BATCH = 500
"""Attempts whose files are removed before that is recorded."""


class PruneRequest(msgspec.Struct, frozen=True):
    """What to prune: attempts by `rules`; whole archived workflows, and events, older than `rules.older_than`."""

    rules: RetentionRules
    workflows: bool = False
    events: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the request as it is recorded."""
        return {**msgspec.to_builtins(self.rules), "workflows": self.workflows, "events": self.events}


class PrunePlan(msgspec.Struct, frozen=True):
    """What a prune will remove. `bytes`: of the files of each attempt, without logs that will be compressed;
    `workflow_bytes`: of each workflow; `kept`: how many archived attempts stay, by reason."""

    request: PruneRequest
    attempts: tuple[ArchivedAttempt, ...]
    bytes: Mapping[int, int]
    kept: Mapping[Kept, int]
    workflows: tuple[ArchivedWorkflow, ...] = ()
    workflow_bytes: Mapping[int, int] = msgspec.field(default_factory=dict)
    events: int = 0
    scope: int | None = None  # the only workflow whose events and rows are meant; None: the store's
    log_bytes: int = 0  # of the logs that will be compressed

    @property
    def total(self) -> int:
        """The bytes of all files that are removed."""
        return sum(self.bytes.values()) + sum(self.workflow_bytes.values())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.attempts or self.workflows or self.events)


class PruneResult(msgspec.Struct, frozen=True):
    """A prune that was done. `left`: attempts of the plan that stayed, because their jobs have moved since."""

    prune: int
    attempts: tuple[ArchivedAttempt, ...]
    workflows: tuple[ArchivedWorkflow, ...]
    events: int
    bytes: int
    left: tuple[ArchivedAttempt, ...] = ()


def plan_prune(session: Session, chosen: Chosen, request: PruneRequest) -> PrunePlan:
    """Plan a prune of the attempts of chosen jobs. Nothing is written. Raise UsageError for rules that say nothing, or
    for workflows and events of single jobs."""
    request.rules.check()
    before = session.clock() - (request.rules.older_than or 0.0)
    with_rows = request.workflows or request.events
    if with_rows:
        _check_scope(chosen, request.rules)
    scope: int | None = None
    resolved = select_stale(session, chosen) if isinstance(chosen, Selection) and chosen.changed else chosen
    with session.store.read() as archive:
        if with_rows and isinstance(chosen, Selection) and chosen.workflow is not None:
            scope = find_workflow_in(archive, chosen.workflow).id
        workflows = archive.retention.archived_workflows(before, scope) if request.workflows else []
        events = archive.retention.count_events(before, scope) if request.events else 0
        jobs, _ = resolve_in(archive, resolved, session.note)
        found = _choose(archive, jobs, request.rules, session.clock(), session.store.folder)
        leaving = {one.id for one in workflows}
        attempts = tuple(one for one in found[0] if one.workflow not in leaving)
        of_workflows = {one.id: archive.retention.attempts_of([one.id]) for one in workflows}
    sizes, logs = _measure(session.store.folder, [one.id for one in attempts], request.rules)
    return PrunePlan(
        request,
        attempts,
        sizes,
        found[1],
        tuple(workflows),
        {one: sum(_sizes(session.store.folder, ids).values()) for one, ids in of_workflows.items()},
        events,
        scope,
        logs,
    )


def prune(
    session: Session,
    plan: PrunePlan,
    asked: Mapping[str, Any],
    note: str | None = None,
) -> PruneResult:
    """Do what was planned. All rows change in one transaction; then the files are removed, by whoever prunes next if
    this process dies. An attempt whose job has moved since the plan stays. `asked`: the selection, to be recorded."""
    now, before = session.clock(), session.clock() - (plan.request.rules.older_than or 0.0)
    with session.store.write() as archive:
        versions = archive.jobs.versions({one.job for one in plan.attempts})
        same = [one for one in plan.attempts if versions.get(one.job, (None,))[0] == one.version]
        stay = {one.id for one in same}
        left = tuple(one for one in plan.attempts if one.id not in stay)
        still = {one.id for one in archive.retention.archived_workflows(before, plan.scope)} if plan.workflows else ()
        workflows = tuple(one for one in plan.workflows if one.id in still)
        size = plan.total - sum(plan.bytes.get(one.id, 0) for one in left)
        request = {**asked, **plan.request.to_json()}
        number = archive.retention.add(request, note, plan.request.rules.logs, size, now)
        archive.retention.mark(number, [one.id for one in same])
        events = archive.retention.delete_events(before, plan.scope) if plan.events else 0
        _delete_workflows(archive, number, workflows)
        _record_events(archive, number, same, workflows, now)
    finish_removals(session)
    sweep(session)
    return PruneResult(number, tuple(same), workflows, events, size, left)


def finish_removals(session: Session) -> int:
    """Remove the files of attempts that were pruned, also by processes that died before they had removed them. Return
    the number of attempts. Files that cannot be removed are left for the next time: Refused names the first one."""
    done = 0
    while True:
        with session.store.read() as archive:
            waiting = archive.retention.removals(_BATCH)
        if not waiting:
            return done
        for attempt, paths in files_of_attempts(session.store.folder, waiting):
            try:
                remove_files(session.store.folder, attempt, paths, compress=waiting[attempt] == "compressed")
            except OSError as error:
                raise Refused(
                    f"the files of attempt {attempt} are recorded as pruned, and cannot be removed: "
                    f"{error.strerror or error} ({error.filename})",
                    hint="mend that; the next `rekindle prune` or `rekindle store vacuum` goes on",
                ) from error
        with session.store.write() as archive:
            archive.retention.removed(waiting)
        done += len(waiting)


def _check_scope(chosen: Chosen, rules: RetentionRules) -> None:
    """Raise UsageError unless whole workflows are selected, and an age."""
    if not isinstance(chosen, Selection) or not (chosen.workflow or chosen.everything):
        raise UsageError("workflows and events are not those of single jobs", hint="-w WORKFLOW, or --all")
    if rules.older_than is None:
        raise UsageError("workflows and events are pruned by their age", hint="add --older-than 90d")


def _choose(
    archive: Snapshot, jobs: Sequence[int], rules: RetentionRules, now: float, store: str
) -> tuple[tuple[ArchivedAttempt, ...], Mapping[Kept, int]]:
    """Return the attempts of jobs that may go, and how many others are kept, by reason."""
    archived = archive.retention.archived_attempts(jobs)
    if not archived:
        return (), {}
    ids = [one.id for one in archived]
    links = archive.retention.links(ids)
    held, owners = archive.retention.held(ids), {attempt_folder(store, attempt): attempt for attempt in ids}
    for later, folder in archive.retention.shared_folders():
        owner = owners.get(folder)
        if owner is not None and later == 0:
            held.add(owner)
        elif owner is not None:
            links.append((later, owner))
    found = choose_pruned(archived, rules, now, held, links)
    return found.chosen, found.kept


def _measure(store: str, attempts: Sequence[int], rules: RetentionRules) -> tuple[dict[int, int], int]:
    """Return the bytes that are removed of each attempt, and those of the logs that are compressed."""
    sizes, logs = dict.fromkeys(attempts, 0), 0
    for attempt, paths in files_of_attempts(store, attempts):
        sizes[attempt] = size_of(paths)
        if rules.logs == "compressed":
            own = size_of(log_files_of(attempt_folder(store, attempt), paths))
            sizes[attempt] -= own
            logs += own
    return sizes, logs


def _sizes(store: str, attempts: Sequence[int]) -> dict[int, int]:
    return {attempt: size_of(paths) for attempt, paths in files_of_attempts(store, attempts)}


def _delete_workflows(archive: Transaction, prune: int, workflows: Sequence[ArchivedWorkflow]) -> None:
    for one in workflows:
        archive.retention.remove_files(prune, archive.retention.attempts_of([one.id]))
        archive.workflows.delete(one.id)


def _record_events(
    archive: Transaction,
    number: int,
    attempts: Sequence[ArchivedAttempt],
    workflows: Sequence[ArchivedWorkflow],
    now: float,
) -> None:
    """Record the prune with each workflow that it concerns, and with the store what it deletes."""
    by_workflow: dict[int, int] = {}
    for one in attempts:
        by_workflow[one.workflow] = by_workflow.get(one.workflow, 0) + 1
    for workflow, count in sorted(by_workflow.items()):
        archive.events.add(now, "pruned", workflow, {"prune": number, "attempts": count})
    for flow in workflows:
        archive.events.add(now, "deleted", None, {"workflow": flow.id, "attempts": flow.attempts, "prune": number})
