"""The executor of a run: which one the options name, its capacity, and the engines of dead runners' elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.errors import BadValue, RekindleError
from rekindle.domain.models import Runner, RunnerCapacity
from rekindle.engine.allocation import Allocation
from rekindle.engine.machine import memory, processors

if TYPE_CHECKING:
    from rekindle.engine.notify import Notifier
    from rekindle.engine.results import WorkOptions
    from rekindle.engine.session import Session
    from rekindle.executors.placement_thread import PlacementThread
    from rekindle.executors.pool import Executor

LOCAL = "local"
"""The executor whose workers are processes of this host."""

UNLIMITED = 2.0**52
"""The cpus, bytes and gpus of an engine that decides itself what it has."""


def with_executor(options: WorkOptions, environment: Mapping[str, str]) -> WorkOptions:
    """Return the options with the executor that the environment names, if they name none."""
    if options.executor is not None:
        return options
    address = options.address or environment.get("REKINDLE_ADDRESS") or None
    return replace(options, executor=environment.get("REKINDLE_EXECUTOR") or LOCAL, address=address)


def executor_names() -> list[str]:
    """Return the names that the options may have."""
    from rekindle.executors.placements import placement_names

    return [LOCAL, *placement_names()]


def check_executor(options: WorkOptions, environment: Mapping[str, str]) -> None:
    """Raise an error if the executor that the options or the environment name cannot be had, before anything is done.
    An engine at an address is not asked whether it answers."""
    chosen = with_executor(options, environment)
    assert chosen.executor is not None
    if chosen.executor == LOCAL:
        if chosen.executor_options:
            found = chosen.executor_options[0]
            raise BadValue(f"the local executor takes no options: {found!r}", hint="leave it out, or --executor slurm")
        return
    from rekindle.executors.placements import find_factory

    factory = find_factory(chosen.executor)
    if chosen.address is None:
        factory(None).close()


def offer_of(
    options: WorkOptions, slots: int, workflow: int | None = None, *, placed: bool | None = None
) -> RunnerCapacity:
    """Return the capacity that a runner with these options offers to jobs. Only licences limit the attempts that
    another engine places. `placed`: one does; None: if the options name another executor than that of this host."""
    local = not (options.executor != LOCAL if placed is None else placed)
    allocation = options.allocation or Allocation()
    return RunnerCapacity(
        cpus=float(max(slots, processors_of(options))) if local else UNLIMITED,
        memory=options.memory or allocation.memory or memory() if local else int(UNLIMITED),
        gpus=options.gpus or allocation.gpus if local else int(UNLIMITED),
        licences=dict(options.licences),
        workflow=workflow,
        chosen=options.only is not None,
        placement=None if local else options.address or "",
    )


def processors_of(options: WorkOptions) -> int:
    """Return how many processors the allocation has, or the machine."""
    return (options.allocation.cpus if options.allocation is not None else None) or processors()


def load_executor(options: WorkOptions, session: Session) -> Executor:
    """Return the executor that the options name. Its module is imported only now."""
    assert options.executor is not None
    if options.executor == LOCAL:
        from rekindle.executors.local import LocalExecutor

        return LocalExecutor(session.store.folder)
    from rekindle.executors.batches import BatchExecutor
    from rekindle.executors.placements import find_placement

    placement = find_placement(options.executor, options.address)
    return BatchExecutor(placement, session.store.folder, options.executor_options, session.note)


class EngineThreads:
    """The threads that talk to the engines of dead runners' elements; the runner's own executor has one already."""

    def __init__(self, session: Session, options: WorkOptions, executor: Executor, notifier: Notifier) -> None:
        self._session, self._notifier = session, notifier
        self._own = getattr(executor, "thread", None)
        self._own_key = (options.executor or LOCAL, options.address or "")
        self._threads: dict[tuple[str, str], PlacementThread | None] = {}

    def of(self, runner: Runner) -> PlacementThread | None:
        """Return the thread for a runner's elements; None, with a note, if its engine cannot be reached from here."""
        assert runner.offer is not None
        key = (runner.executor, runner.offer.placement or "")
        if key == self._own_key:
            return self._own
        if key not in self._threads:
            self._threads[key] = self._start(*key)
        return self._threads[key]

    def _start(self, name: str, address: str) -> PlacementThread | None:
        from rekindle.executors.placement_thread import PlacementThread
        from rekindle.executors.placements import find_placement

        try:
            return PlacementThread(find_placement(name, address or None), self._notifier.notify)
        except RekindleError as error:
            if self._session.note is not None:
                self._session.note(
                    f"the attempts of a dead {name} runner can be followed only by their journals: {error}"
                )
            return None

    def close(self) -> None:
        """Stop the threads."""
        for one in self._threads.values():
            if one is not None:
                one.close()
