"""Several runners on one store: fencing, leases and takeover. The runners are real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from rekindle.domain.errors import StoreUnavailable, Superseded
from rekindle.domain.states import State
from rekindle.engine.notify import Notifier, notify
from rekindle.engine.presence import this_process
from rekindle.engine.queries import workflow_queries
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.lease import Lease
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.journal.processes import start_of, wait_readable

BOUND = 120.0

WATCH = """
import sys
from rekindle.domain.errors import Superseded
from rekindle.engine.running import lease
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
lease.LEASE_SECONDS, lease.RENEW_SECONDS = float(sys.argv[2]), float(sys.argv[2]) / 3
with open_session(sys.argv[1]) as session:
    try:
        sys.exit(work(session, WorkOptions(slots=2, watch=sys.argv[3] == "watch")).exit_code)
    except Superseded as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
"""

GATED = """
name: gated
jobs:
  nap: {run: "sh -c 'echo nap >> ran; until test -e go; do sleep 0.02; done'"}
  after: {needs: [nap], run: "sh -c 'echo after >> ran'"}
"""


def until(condition: Callable[[], Any]) -> Any:
    limit = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.02)
    return found


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(project) -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def runner(lease: float = 30.0, how: str = "once") -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", WATCH, str(project.folder / ".rekindle"), str(lease), how]
        begun.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        return begun[-1]

    yield runner
    for process in begun:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
            process.wait(BOUND)
        assert process.stdout is not None
        process.stdout.close()


def ran(project) -> list[str]:
    path = project.folder / "ran"
    return path.read_text().split() if path.exists() else []


def rows(project) -> dict[int, Any]:
    with project.session.store.read() as archive:
        return {runner.pid: runner for runner in archive.runners.alive()}


def move_away(project, pid: int) -> None:
    """Make a runner's process invisible from this host, with an expired lease."""
    with project.session.store.write() as archive:
        database = archive.runners._db
        database.driver.execute("UPDATE runner SET pid_space = 1, expires = 0 WHERE pid = :pid", {"pid": pid})


def test_a_runner_that_was_superseded_changes_nothing_and_its_job_runs_once(project, start):
    project.submit(GATED)
    first = start()
    until(lambda: ran(project) == ["nap"] and project.states()["nap"] is State.RUNNING)
    os.kill(first.pid, signal.SIGSTOP)
    move_away(project, first.pid)
    second = start(lease=0.6)
    until(lambda: rows(project)[first.pid].epoch == 2)
    before = rows(project)[first.pid]
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait(BOUND) == 1
    said = first.stdout.read()
    assert f"runner {before.id} was taken for dead, and runner {before.keeper} (pid {second.pid}" in said
    assert rows(project)[first.pid] == before
    assert project.states() == {"nap": State.RUNNING, "after": State.WAITING}
    (project.folder / "go").touch()
    assert second.wait(BOUND) == 0
    assert ran(project) == ["nap", "after"]
    assert [len(project.attempts(name)) for name in ("nap", "after")] == [1, 1]
    assert set(project.states().values()) == {State.COMPLETED}


def test_a_busy_runner_takes_over_from_one_that_is_killed(project, start):
    long = "sh -c 'echo long >> ran; until test -e end; do sleep 0.02; done'"
    project.submit(f"{{name: busy, jobs: {{long: {{matrix: {{i: {{range: [0, 2]}}}}, run: {long}}}}}}}")
    busy = start()
    until(lambda: ran(project) == ["long", "long"])
    project.submit(GATED, "gated.yaml")
    killed = start()
    until(lambda: "nap" in ran(project) and project.states()["nap"] is State.RUNNING)
    killed.kill()
    killed.wait()
    until(lambda: rows(project)[killed.pid].keeper == rows(project)[busy.pid].id)
    (project.folder / "go").touch()
    until(
        lambda: project.states()["nap"] is State.COMPLETED
    )  # ingested from the dead runner's journal while long jobs run
    assert project.states()["long[i=0]"] is State.RUNNING
    (project.folder / "end").touch()
    assert busy.wait(BOUND) == 0
    assert sorted(ran(project)) == ["after", "long", "long", "nap"]
    assert set(project.states().values()) == {State.COMPLETED}


def test_a_runner_with_nothing_to_do_keeps_its_lease(project, start):
    watching = start(lease=0.6, how="watch")
    first = until(lambda: rows(project).get(watching.pid))
    until(lambda: rows(project)[watching.pid].expires > first.expires + 1.2)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(BOUND) == 5


def test_a_lease_is_checked_by_each_transaction_and_renewed_when_that_is_due(project, monkeypatch):
    def expires() -> float:
        with project.session.store.read() as archive:
            return archive.runners.find(runner.id).expires

    with project.session.store.write() as archive:
        runner = archive.runners.register(this_process(), "local", 1, 0.0, 30.0)
    held = Lease(project.session, runner)
    with held.write(5.0):
        pass
    held.renew(5.0)
    assert expires() == pytest.approx(30.0, abs=1.0)
    monkeypatch.setattr("rekindle.engine.running.lease.RENEW_SECONDS", 0.0)
    held.renew(5.0)
    assert expires() == pytest.approx(35.0, abs=1.0)
    with held.write(9.0):
        pass
    assert expires() == pytest.approx(39.0, abs=1.0)


def test_a_runner_notifies_a_peer_when_it_learns_of_it(project, start):
    """Else it could have left jobs to a peer that it did not know, after that one had looked for some."""
    watching = start(how="watch")
    known = until(lambda: rows(project).get(watching.pid))
    with project.session.store.write() as archive:
        peer = archive.runners.register(this_process(), "local", 1, time.time(), 30.0)
    with closing(Notifier(project.session.store.folder, peer.id)) as own:
        notify(project.session.store, [known.id])
        assert wait_readable((own.fd,), BOUND)
    with project.session.store.write() as archive:
        archive.runners.end(peer.id, time.time())
    watching.send_signal(signal.SIGINT)
    assert watching.wait(BOUND) == 5


def test_an_idle_runner_is_notified_by_the_end_of_another_runners_job(project, start):
    """The second runner has a free slot when the first runner's job makes two others ready."""
    project.submit(
        """
        name: fan
        jobs:
          gate: {run: "sh -c 'until test -e go; do sleep 0.02; done'"}
          leaf: {needs: [gate], matrix: {i: {range: [0, 4]}}, run: "sh -c 'echo ${matrix.i} >> ran; until test -e end; do sleep 0.02; done'"}
        """  # noqa: E501
    )
    runners = [start(), start()]
    until(lambda: len(rows(project)) == 2 and project.states()["gate"] is State.RUNNING)
    (project.folder / "go").touch()
    until(lambda: len(ran(project)) == 4)
    (project.folder / "end").touch()
    assert [runner.wait(BOUND) for runner in runners] == [0, 0]
    assert sorted(ran(project)) == ["0", "1", "2", "3"]


class FullDisk:
    """A store whose disk is full from a given transaction on."""

    def __init__(self, store) -> None:
        self.identity, self.folder, self.read, self.data_version = (
            store.identity,
            store.folder,
            store.read,
            store.data_version,
        )
        self.notify, self.listen = store.notify, store.listen
        self._store, self.full = store, False

    def write(self):
        if self.full:
            raise StoreUnavailable("the store is on a disk that is full", hint="make room")
        return self._store.write()

    def turn(self, runner):
        assert runner
        return self.write()

    def close(self) -> None:
        """Do nothing: the store belongs to the test."""


def test_jobs_continue_when_the_store_fails_and_the_next_runner_ingests_them(project):
    project.submit(GATED)
    store = FullDisk(project.session.store)

    def fill(_: object) -> None:
        store.full = ran(project) == ["nap"]

    with pytest.raises(StoreUnavailable):
        work(Session(store), WorkOptions(slots=1), fill)
    with project.session.store.write() as archive:
        [left] = archive.runners.alive()
        [(_, _, pid, start, _)] = archive.runners.journals(left.id)
        assert start_of(pid) == start
        archive.runners.abandon(left.id, left.epoch)  # its process is alive: it is this process
    (project.folder / "go").touch()
    assert project.work(slots=1).exit_code == 0
    assert ran(project) == ["nap", "after"]
    assert len(project.attempts("nap")) == 1


def test_nothing_is_written_through_a_lease_that_is_lost(project):
    with project.session.store.write() as archive:
        runner = archive.runners.register(this_process(), "local", 1, 0.0, 30.0)
        assert archive.runners.take_over(runner.id, runner.epoch)
    with (
        pytest.raises(Superseded, match="another has taken over"),
        Lease(project.session, runner).write(1.0) as archive,
    ):
        archive.events.add(1.0, "never", None, {})
    assert "never" not in [event.kind for event in workflow_queries.events(project.session)]
    with project.session.store.read() as archive:
        assert archive.runners.find(runner.id).expires == 30.0


def test_status_names_dead_runners_and_who_resolves_their_orphans(project):
    project.submit(GATED)
    with project.session.store.write() as archive:
        gone, away, mine = (archive.runners.register(this_process(), "local", 1, 0.0, 30.0) for _ in range(3))
        archive.runners.abandon(gone.id, gone.epoch)
        archive.runners.take_over(gone.id, gone.epoch, mine.id)
        archive.runners._db.driver.execute("UPDATE runner SET pid_space = 1 WHERE id = :id", {"id": away.id})
    [status] = workflow_queries.status(project.session)
    assert [runner.id for runner in status.runners] == [mine.id]
    assert [(one.runner.id, one.why, one.keeper) for one in status.dead_runners] == [
        (gone.id, "gone", mine.id),
        (away.id, "expired", None),
    ]
