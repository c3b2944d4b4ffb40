"""A database server that stays away ends a run after a time, and no earlier."""

from __future__ import annotations

import threading

import pytest

from rekindle.domain.errors import StoreUnreachable
from rekindle.engine.results import WorkOptions
from rekindle.engine.running import work as working
from rekindle.engine.running.signals import StopHandle
from rekindle.store.archive import Store


class Away:
    """A store whose server does not answer from a given transaction on."""

    def __init__(self, store: Store, after: int) -> None:
        self.identity, self.folder, self.name = store.identity, store.folder, store.name
        self.read, self.data_version, self._store, self._left = store.read, store.data_version, store, after
        self.notify, self.listen = store.notify, store.listen
        self.tries = 0

    def write(self):
        self._left -= 1
        if self._left < 0:
            self.tries += 1
            raise StoreUnreachable("the store cannot be reached", hint="wait")
        return self._store.write()

    def turn(self, runner):
        assert runner
        return self.write()


@pytest.fixture
def away(project, monkeypatch):
    monkeypatch.setattr(working, "OUTAGE_POLL_SECONDS", 0.01)
    project.submit("{name: w, jobs: {a: {run: 'true'}}}")
    return Away(project.session.store, 1)  # the runner is registered


def work(project, away, notes, **options):
    session = type(project.session)(away, project.session.clock, notes.append)
    return working.work(session, WorkOptions(slots=1), **options)


def test_a_run_ends_with_the_error_once_it_has_waited(project, away, monkeypatch):
    monkeypatch.setattr(working, "OUTAGE_SECONDS", 0.1)
    notes: list[str] = []
    with pytest.raises(StoreUnreachable):
        work(project, away, notes)
    assert away.tries > 3
    assert len(notes) == 1
    assert "running jobs go on" in notes[0]


def test_a_run_that_waits_can_be_stopped(project, away):
    stop, notes = StopHandle(), []
    threading.Timer(0.1, stop.stop).start()
    with pytest.raises(StoreUnreachable):
        work(project, away, notes, stop=stop)


def test_a_server_that_answers_again_is_worked_with(project, away, monkeypatch):
    def answer(_: str) -> None:
        away._left = 1000

    session = type(project.session)(away, project.session.clock, answer)
    report = working.work(session, WorkOptions(slots=1))
    assert (report.exit_code, report.completed) == (0, 1)


def test_a_server_that_is_away_again_before_the_next_runner_is_registered_is_waited_for(project, away):
    answers = [1, 1, 1000]  # transactions until it is away again: the first marks the last runner as dead

    def answer(_: str) -> None:
        away._left = answers.pop(0)

    session = type(project.session)(away, project.session.clock, answer)
    report = working.work(session, WorkOptions(slots=1))
    assert (report.exit_code, report.completed, answers) == (0, 1, [])
