"""Working: a runner claims what is ready, hands it to an executor, and takes in what comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from rekindle.domain.errors import BadValue, Refused, StoreError
from rekindle.domain.models import Runner
from rekindle.domain.packing import Room
from rekindle.domain.states import State
from rekindle.engine.looking.look import find_workflow
from rekindle.engine.looking.whereabouts import refuse_without_folder, without_folder
from rekindle.engine.machine import processors, provide_files
from rekindle.engine.presence import here
from rekindle.engine.results import Progress, WorkOptions, WorkReport
from rekindle.engine.running.claiming import Scope
from rekindle.engine.running.lease import LEASE_SECONDS, Lease
from rekindle.engine.running.runner import Shift
from rekindle.engine.running.signals import Interrupts
from rekindle.engine.session import Session
from rekindle.engine.wake import Bell
from rekindle.executors.port import Executor

Tell = Callable[[Progress], None]


def work(
    session: Session, options: WorkOptions, tell: Tell | None = None, executor: Executor | None = None
) -> WorkReport:
    """Run until nothing is ready, running or adoptable (with `watch`: until interrupted).

    The first SIGINT or SIGTERM cancels what runs, records it, and ends the run with `interrupted`; a second one
    does not wait for grace periods. Whatever else breaks the run off, Superseded among it, what runs goes on to its
    end, which the next runner takes in. `tell` is called a few times a second. `executor` stands in for the one that
    the options name.
    """
    workflow = find_workflow(session, options.workflow) if options.workflow else None
    if workflow is not None and workflow.archived is not None:
        raise Refused(f"{workflow.name} is archived", hint=f"rekindle workflows archive --undo {workflow.id}")
    if workflow is not None:
        refuse_without_folder(session, [workflow.id])
    gone = without_folder(session) if workflow is None else ()
    stopped = {one.id: f"its workflow's folder is missing: {one.directory}" for one in gone}
    slots = options.slots or processors()
    provide_files(slots)
    executor = executor or load_executor(options.executor, session)
    with session.store.write() as archive:
        archive.queue.ready(0, 0, 0, only=options.only)  # a condition that cannot be is refused before anything begins
        runner = archive.runners.register(here(), executor.name, slots, session.clock(), LEASE_SECONDS, options.label)
    lease = Lease(session, runner)
    scope = Scope(
        workflow.id if workflow else None,
        _total(options, slots),
        runner.id,
        session.store.folder,
        runner.host,
        options.only,
        options.place,
        stopped,
    )
    try:
        with closing(Bell(session.store.folder, runner.id)) as bell, Interrupts() as interrupts:
            report = Shift(session, executor, runner, lease, scope, options, bell, interrupts, tell).run(slots)
        executor.close(grace=0.0)
        now = session.clock()
        with lease.write(now) as archive:
            archive.runners.end(runner.id, now)
            if report.completed or report.failed or report.canceled or report.reinstated:
                archive.events.add(now, "worked", scope.workflow, _summary(runner, report))
            held = archive.jobs.held_back(scope.workflow) if report.counts.get(State.READY) else {}
    except BaseException:  # whatever broke the run off, what it had under way is left to the next runner
        executor.leave()
        _abandon(session, runner)
        raise
    return replace(report, held=held)


def _summary(runner: Runner, report: WorkReport) -> dict[str, int | bool]:
    return {
        "runner": runner.id,
        "completed": report.completed,
        "failed": report.failed,
        "canceled": report.canceled,
        "reinstated": report.reinstated,
        "interrupted": report.interrupted,
    }


def _abandon(session: Session, runner: Runner) -> None:
    """The run broke off, and what it had under way is not accounted for: the next runner does that."""
    try:
        with session.store.write() as archive:
            archive.runners.abandon(runner.id, runner.epoch)
    except StoreError:
        return  # then the end of this process tells


def _total(options: WorkOptions, slots: int) -> Room:
    memory = options.memory if options.memory is not None else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Room(
        cpus=float(max(slots, processors())),
        memory=memory,
        gpus=options.gpus,
        licences=dict(options.licences),
        seconds=None,
    )


def load_executor(name: str, session: Session) -> Executor:
    """The executor of that name, its module imported now."""
    if name == "local":
        from rekindle.executors.local import LocalExecutor

        return LocalExecutor(session.store.folder)
    if name in ("slurm", "dask"):
        raise BadValue(f"the {name} executor is not there yet", hint="--executor local")
    raise BadValue(f"unknown executor {name!r}", hint="executors are local, slurm, dask")
