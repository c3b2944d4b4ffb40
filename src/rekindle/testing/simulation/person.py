"""A person's commands: each is a process of its own that opens the store, reconciles, changes something and ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rekindle.domain.errors import Refused, RekindleError
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.rerun import control, rerun
from rekindle.engine.rerun.accept import accept
from rekindle.engine.running.reconcile import cancel, reconciled
from rekindle.engine.session import Session
from rekindle.engine.submit.submit import submit
from rekindle.testing.fakes import Crash
from rekindle.testing.simulation.faulty_store import connect_store
from rekindle.testing.simulation.history import pointers
from rekindle.testing.simulation.workflows import draw_definition, draw_how

if TYPE_CHECKING:
    from rekindle.testing.simulation.world import World

WORKFLOWS = ("first", "second")


def project_of(folder: str) -> str:
    """Return the folder of the projects of a store in `folder`: the one around it."""
    return str(Path(folder).parent)


class Person:
    """Types commands."""

    def __init__(self, world: World, folder: str, identity: str) -> None:
        self._world, self._folder, self._identity = world, folder, identity
        self._commands = 0

    def type_something(self) -> None:
        """Type a command drawn from the world's randomness."""
        kinds: list[Callable[[Session], object]] = [
            *(3 * [self._rerun]),
            self._rerun_and_undo,
            self._undo,
            self._cancel,
            self._hold,
            self._release,
            self._release,
            self._submit,
            self._accept,
        ]
        self.type(self._world.random.choice(kinds))

    def type(self, command: Callable[[Session], object], space: int = 1) -> bool:
        """Run a command in a process of its own. Return whether it succeeded."""
        self._commands += 1
        process = self._world.start(f"command-{self._commands}", space)
        with self._world.running(process):
            try:
                self._world.note(command.__name__.strip("_"))
                session = Session(
                    connect_store(self._world, process, self._folder, self._identity), self._world.clock, self._note
                )
                with session, reconciled(session):
                    command(session)
                self._world.note("is done")
            except Crash:
                return False
            except RekindleError as error:
                self._world.note(f"{type(error).__name__}: {error.message}".replace(self._folder, "STORE"))
                return False
            finally:
                self._world.kill(process, "ends")
        return True

    def _note(self, text: str) -> None:
        self._world.note(text.replace(self._folder, "STORE"))

    # --- commands

    def _some(self, session: Session) -> list[int]:
        with session.store.read() as archive:
            ids = archive.jobs.select(Selection().where, None)
        random = self._world.random
        return sorted(random.sample(ids, random.randint(1, min(3, len(ids)))))

    def _rerun(self, session: Session) -> None:
        with session.store.read() as archive:
            jobs = archive.jobs.get(archive.jobs.select(Selection().where, None))
        failed = [job.id for job in jobs if job.state is State.FAILED]
        chosen = failed if failed and self._world.random.random() < 0.5 else self._some(session)
        requests = [(chosen, draw_how(self._world.random))]
        with self._world.quiet():
            planned = rerun.plan(session, requests, {})
            assert planned.plan == rerun.plan(session, requests, {}).plan, "planning twice gave two plans"
        rerun.apply(session, planned)
        try:
            rerun.apply(session, planned)
        except Refused:
            return
        raise AssertionError("a plan was applied twice")

    def _rerun_and_undo(self, session: Session) -> None:
        """Undo a rerun at once: unless something ran between, every pointer is as before."""
        with self._world.quiet():
            before = pointers(session)
            planned = rerun.plan(session, [(self._some(session), draw_how(self._world.random))], {})
            applied = rerun.apply(session, planned)
            undone = rerun.undo(session)
            assert undone.rerun == applied.rerun
            assert pointers(session) == before, "an undo did not restore every pointer"

    def _undo(self, session: Session) -> None:
        rerun.undo(session)

    def _cancel(self, session: Session) -> None:
        cancel(session, self._some(session))

    def _hold(self, session: Session) -> None:
        control.hold(session, self._some(session))

    def _release(self, session: Session) -> None:
        with session.store.read() as archive:
            ids = archive.jobs.select(Selection().where, None)
        control.release(session, ids)

    def _submit(self, session: Session) -> None:
        random = self._world.random
        submit(session, draw_definition(random, random.choice(WORKFLOWS), project_of(self._folder)))

    def _accept(self, session: Session) -> None:
        accept(session, self._some(session), {})
