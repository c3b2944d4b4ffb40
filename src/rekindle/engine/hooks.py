"""Hooks of workflows: record the ends of runs, and deliver each event once.

The end of a run is recorded in one transaction, as a delivery for each hook that it concerns. A process takes a
delivery before it runs the hook, and records the result after it. If that process dies, another one runs the hook
again: receivers tell by the delivery's token that they have had it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rekindle.domain.batches.quarantine import failed_counts
from rekindle.domain.definition import Hook
from rekindle.domain.errors import StoreError
from rekindle.domain.hooks import MAX_STARTS, RunEnd, events_of
from rekindle.engine.notify import Notifier
from rekindle.engine.presence import is_process_alive, this_process
from rekindle.engine.queries.workflow_queries import quarantined_jobs, remaining_work
from rekindle.engine.session import open_session

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.results import WorkOptions, WorkReport
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction
    from rekindle.store.hooks import Delivery

TAKEN_SECONDS = 180.0
"""How long a delivery belongs to a process that is not visible from here; longer than any delivery takes."""

LOOK_SECONDS = 1.0
"""The least time between two looks for ends of runs, by a runner that does not end by itself."""

_MOST_FAILURES = 20
"""The most groups of failures in a document."""


def end_run(session: Session, workflow: int | None, report: WorkReport | None = None, since: int | None = None) -> None:
    """Record the ends of runs of one or all workflows, and run the hooks that wait. `report`: of a runner that ends,
    whose first attempt could have had the id `since`."""
    with session.store.read() as archive:
        hooks = archive.hooks.of_workflows(workflow)
        waiting = bool(hooks) or bool(archive.hooks.pending(workflow))
    if not waiting:
        return
    why = None
    if report is not None and report.interrupted:
        why = "it was interrupted"
    elif report is not None and report.exit_code == 6:
        why = "it timed out"
    record_ends(session, hooks, why, since, unfit=bool(report and report.never_fit))
    deliver(session, workflow)


def record_ends(
    session: Session,
    hooks: Mapping[int, tuple[Hook, ...]],
    why: str | None = None,
    since: int | None = None,
    *,
    unfit: bool = False,
) -> None:
    """Record the ends of runs of workflows with these hooks, but of those that a living process supervises: it decides
    when their runs end. `why`: what stopped the runner, whose attempts have ids from `since` on. `unfit`: ready jobs
    are too large for it."""
    if not hooks:
        return
    now = session.clock()
    with session.store.read() as archive:
        supervisions = [one for number in hooks if (one := archive.supervisions.active(number)) is not None]
        ended = {number for number in hooks if _end_of(archive, number, why, since, now, unfit=unfit) is not None}
    ended -= {one.workflow for one in supervisions if one.outcome is None and is_process_alive(one.owner) is not False}
    if not ended:
        return
    with session.store.write() as archive:
        for number in sorted(ended):
            end = _end_of(archive, number, why, since, now, unfit=unfit)
            if end is not None:
                add_deliveries(archive, number, end, now)


def _end_of(
    archive: Snapshot, number: int, why: str | None, since: int | None, now: float, *, unfit: bool
) -> RunEnd | None:
    """Return how a run of a workflow has ended, or None if it goes on."""
    left, newest = remaining_work(archive, number), archive.hooks.run_to_end(number)
    workflow = archive.workflows.find(number)
    if workflow is None or newest is None:
        return None
    rests = not left.active and (not left.claimable or unfit)
    if not left and newest < (since or 0):
        why = None  # it came to rest before the runner began
    if not rests and why is None:
        return None
    return run_end(archive, workflow, rests, why, now)


def run_end(archive: Snapshot, workflow: Workflow, rests: bool, why: str | None, now: float) -> RunEnd:
    """Return the end of a run of a workflow, in which failures in quarantine do not count."""
    return RunEnd(failed_counts(workflow.counts, quarantined_jobs(archive, workflow.id, now)), rests, why)


def add_deliveries(archive: Transaction, number: int, end: RunEnd, now: float) -> None:
    """Add a delivery for each hook that the end of a run concerns. A run in which no attempt has started has none, and
    no event of a run has two."""
    workflow, newest = archive.workflows.find(number), archive.hooks.run_to_end(number)
    hooks = {hook.event: hook for hook in archive.hooks.of_workflows(number).get(number, ())}
    if workflow is None or newest is None:
        return
    for event, why in events_of(end).items():
        if event in hooks:
            document = _document(archive, workflow, end, newest, now)
            archive.hooks.add(number, newest, hooks[event], {"event": event, **document, "why": why}, now)
    if end.rests and "finished" not in hooks:
        archive.hooks.add(number, newest, Hook("finished"), {}, now, "no hook")


def _document(archive: Snapshot, workflow: Workflow, end: RunEnd, newest: int, now: float) -> dict[str, Any]:
    """Return what a hook gets: the state of the workflow and its failures."""
    groups = archive.attempts.failures(workflow.id)[:_MOST_FAILURES] if end.state == "failed" else []
    return {
        "workflow": {"id": workflow.id, "name": workflow.name, "project": workflow.project},
        "revision": workflow.revision,
        "state": end.state,
        "counts": {state.label: number for state, number in workflow.counts.items() if number},
        "failures": [
            {
                "signature": one.signature,
                "cause": one.cause,
                "type": one.type,
                "message": one.newest_message or one.message,
                "count": one.count,
            }
            for one in groups
        ],
        "attempt": newest,
        "at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def deliver(session: Session, workflow: int | None, stopped: Callable[[], bool] = lambda: False) -> None:
    """Run the hooks that wait, of one or all workflows, and record the results. `stopped` ends it between two hooks."""
    with session.store.read() as archive:
        waiting = archive.hooks.pending(workflow)
    owner = this_process()
    for delivery in waiting:
        if stopped() or not _is_free(delivery, session.clock()):
            continue
        with session.store.write() as archive:
            taken = archive.hooks.take(delivery, owner, session.clock())
        if taken:
            _deliver(session, delivery)


def _is_free(delivery: Delivery, now: float) -> bool:
    """Return whether no living process runs the hook."""
    if delivery.owner is None or delivery.taken is None:
        return True
    alive = is_process_alive(delivery.owner)
    return not alive if alive is not None else now > delivery.taken + TAKEN_SECONDS


def _deliver(session: Session, delivery: Delivery) -> None:
    """Run a hook, and record its result."""
    from rekindle.engine.hook_delivery import Result, run_hook

    hook = delivery.hook
    if delivery.starts >= MAX_STARTS:
        result = Result(f"given up: {delivery.starts} processes died while it ran", failed=True)
    else:
        result = run_hook(delivery, session.store.folder, session.note)
    detail = {
        "event": hook.event,
        "result": result.text,
        "tries": result.tries,
        "target": hook.target,
        "failed": result.failed,
        "delivery": delivery.token,
    }
    detail |= {"log": result.log} if result.log else {}
    with session.store.write() as archive:
        archive.hooks.conclude(delivery.id, result.text, session.clock())
        archive.events.add(session.clock(), "hook", delivery.workflow, detail)
    if result.failed and session.note is not None:
        where = f"; its output: {result.log}" if result.log else ""
        session.note(f"warning: the hook `{hook.event}` failed: {result.text} ({hook.target:.60}){where}")


@contextmanager
def hooks_watched(session: Session, options: WorkOptions) -> Iterator[None]:
    """Run hooks from a thread during the block, if the runner in it does not end with the run of its workflow: with
    `watch`, or if it works on several workflows."""
    if not options.watch:
        with session.store.read() as archive:
            hooks = () if options.workflow is not None else archive.hooks.of_workflows(None)
        if not hooks:
            yield
            return
    over = threading.Event()
    with closing(Notifier(session.store.folder, threading.get_native_id(), "hooks")) as notifier:
        thread = threading.Thread(target=_watch, args=(session, notifier, over), name="hooks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            notifier.notify()
            thread.join()


def _watch(session: Session, notifier: Notifier, over: threading.Event) -> None:
    """Look for ends of runs when notified, with a connection of its own, until `over` is set."""
    seen = -1
    try:
        with open_session(session.store.folder, create=False) as own:
            own = replace(own, clock=session.clock, note=session.note)
            while not over.wait(LOOK_SECONDS):
                notifier.drain()
                if over.is_set():  # its notification may have been drained
                    return
                version = own.store.data_version()
                if version != seen:
                    seen = version
                    with own.store.read() as archive:
                        hooks = archive.hooks.of_workflows(None)
                    record_ends(own, hooks)
                    deliver(own, None, over.is_set)
                notifier.wait(None)
    except StoreError as error:  # the runner meets it too; it runs the hooks at its end
        if session.note is not None:
            session.note(f"hooks wait for the end of this runner: {error.message}")
