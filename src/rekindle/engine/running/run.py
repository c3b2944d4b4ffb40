"""Working: a runner claims what is ready, hands it to an executor, and takes in what comes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from rekindle.domain.errors import BadValue, Refused, StoreError
from rekindle.domain.models import Offer, Runner
from rekindle.domain.packing import room_of
from rekindle.domain.states import State
from rekindle.engine.looking.look import find_workflow
from rekindle.engine.looking.whereabouts import refuse_without_folder, without_folder
from rekindle.engine.machine import memory, owner_of, processors, provide_files
from rekindle.engine.nesting import refuse_inside_job
from rekindle.engine.presence import here
from rekindle.engine.results import Progress, WorkOptions, WorkReport
from rekindle.engine.running.claiming import Scope
from rekindle.engine.running.lease import LEASE_SECONDS, Lease
from rekindle.engine.running.runner import Shift
from rekindle.engine.running.signals import Interrupts
from rekindle.engine.session import Session
from rekindle.engine.wake import Bell
from rekindle.executors.port import Executor
from rekindle.store.port import Archive

Tell = Callable[[Progress], None]


def work(
    session: Session, options: WorkOptions, tell: Tell | None = None, executor: Executor | None = None
) -> WorkReport:
    """Run until nothing is ready, running or adoptable (with `watch`: until interrupted).

    The first SIGINT, SIGTERM or SIGHUP cancels what runs, records it, and ends the run with `interrupted`; a second
    SIGINT or SIGTERM does not wait for grace periods. Whatever else breaks the run off, Superseded among it, what runs
    goes on to its end, which the next runner takes in. Refused in a process of a job that the run would wait for.
    `tell` is called a few times a second. `executor` stands in for the one that the options name.
    """
    workflow = find_workflow(session, options.workflow) if options.workflow else None
    if workflow is not None and workflow.archived is not None:
        raise Refused(f"{workflow.name} is archived", hint=f"rekindle workflows archive --undo {workflow.id}")
    if options.linger:
        refuse_inside_job(session, workflow.id if workflow else None)
    if workflow is not None:
        refuse_without_folder(session, [workflow.id])
    gone = without_folder(session) if workflow is None else ()
    stopped = {one.id: f"its workflow's folder is missing: {one.directory}" for one in gone}
    slots = options.slots or processors()
    provide_files(slots)
    executor = executor or load_executor(options.executor, session)
    offer = offer_of(options, slots, workflow.id if workflow else None)
    with session.store.write() as archive:
        archive.queue.ready(0, 0, 0, only=options.only)  # a condition that cannot be is refused before anything begins
        runner = archive.runners.register(
            here(), executor.name, slots, session.clock(), LEASE_SECONDS, options.label, offer
        )
    lease = Lease(session, runner)
    scope = Scope(
        offer.workflow,
        room_of(offer),
        runner.id,
        session.store.folder,
        runner.host,
        options.only,
        options.place,
        stopped,
        owner=owner_of(room_of(offer)),
    )
    try:
        with closing(Bell(session.store.folder, runner.id)) as bell, Interrupts() as interrupts:
            shift = Shift(session, executor, runner, lease, scope, options, bell, interrupts, tell)
            report = shift.run(slots)
            if shift.leaves:
                executor.leave()
            else:
                executor.close(grace=0.0)
            with lease.write(session.clock()) as archive:
                _end(archive, runner, session.clock(), leaves=shift.leaves)
                if report.completed or report.failed or report.canceled or report.reinstated:
                    archive.events.add(session.clock(), "worked", scope.workflow, _summary(runner, report))
                held = archive.jobs.held_back(scope.workflow) if report.counts.get(State.READY) else {}
    except BaseException:  # whatever broke the run off, what it had under way is left to the next runner
        executor.leave()
        _abandon(session, runner)
        raise
    return replace(report, held=held)


def _end(archive: Archive, runner: Runner, now: float, *, leaves: bool) -> None:
    if leaves:
        archive.runners.abandon(runner.id, runner.epoch)
    else:
        archive.runners.end(runner.id, now)


def _summary(runner: Runner, report: WorkReport) -> dict[str, int | bool | str]:
    signal = {"signal": report.signal.name} if report.signal else {}
    return {
        "runner": runner.id,
        "completed": report.completed,
        "failed": report.failed,
        "canceled": report.canceled,
        "reinstated": report.reinstated,
        "interrupted": report.interrupted,
        **signal,
    }


def _abandon(session: Session, runner: Runner) -> None:
    """The run broke off, and what it had under way is not accounted for: the next runner does that."""
    try:
        with session.store.write() as archive:
            archive.runners.abandon(runner.id, runner.epoch)
    except StoreError:
        return  # then the end of this process tells


def offer_of(options: WorkOptions, slots: int, workflow: int | None = None) -> Offer:
    """What a runner with these options has for jobs."""
    return Offer(
        cpus=float(max(slots, processors())),
        memory=options.memory if options.memory is not None else memory(),
        gpus=options.gpus,
        licences=dict(options.licences),
        workflow=workflow,
        chosen=options.only is not None,
    )


def load_executor(name: str, session: Session) -> Executor:
    """The executor of that name, its module imported now."""
    if name == "local":
        from rekindle.executors.local import LocalExecutor

        return LocalExecutor(session.store.folder)
    if name in ("slurm", "dask"):
        raise BadValue(f"the {name} executor is not there yet", hint="--executor local")
    raise BadValue(f"unknown executor {name!r}", hint="executors are local, slurm, dask")
