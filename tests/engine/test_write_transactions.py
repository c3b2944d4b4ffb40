"""Nothing slow happens while a write transaction locks the store: no file is looked at, opened, moved or removed, no
process is looked at, started or signaled, and no regular expression of a user is searched."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import rekindle.engine
import rekindle.store
from rekindle.domain.errors import SubmitRefused
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.domain.texts.patterns import Pattern
from rekindle.engine.presence import this_process
from rekindle.engine.queries.selections import before_write
from rekindle.engine.rerun import accept, control, rerun, resubmit
from rekindle.engine.results import SuperviseOptions
from rekindle.engine.running import reconcile
from rekindle.engine.supervising.supervise import supervise
from rekindle.journal.processes import start_of
from rekindle.query.selections import SelectionFlags, parse_selection
from rekindle.spec import load
from rekindle.store.archive import Store, Transaction
from rekindle.store.queries import Queries

WATCHED = ("open", "os.", "shutil.", "subprocess.", "signal.", "socket.")
"""The beginnings of the names of the interpreter's audit events. SQLite's own reads and writes raise none."""

UNAUDITED = ((os, "stat"), (os, "lstat"), (os, "pidfd_open"), (signal, "pidfd_send_signal"), (Pattern, "found_in"))
"""Functions that raise no audit event."""

_seen: list[str] = []
_thread = 0
"""The thread that is within a write transaction; 0: none is. Other threads may read files meanwhile."""


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _thread and event.startswith(WATCHED) and threading.get_ident() == _thread:
        _seen.append(f"{event} {args[:2]}")


def _watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        if threading.get_ident() == _thread:
            _seen.append(f"{name} {args[:2]}")
        return function(*args, **more)

    return call


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what happens within write transactions. Modules and queries are loaded before, as they are in a process
    that has done the same before."""
    _load_everything()
    _add_hook()
    _seen.clear()
    original = Store.write

    @contextmanager
    def write(self: Store) -> Iterator[Transaction]:
        global _thread
        with original(self) as archive:
            _thread = threading.get_ident()
            try:
                yield archive
            finally:
                _thread = 0

    monkeypatch.setattr(Store, "write", write)
    for owner, name in UNAUDITED:
        monkeypatch.setattr(owner, name, _watched(name, getattr(owner, name)))
    return _seen


@cache
def _load_everything() -> None:
    for package in (rekindle.engine, rekindle.store):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for module in [one for name, one in sys.modules.items() if name.startswith("rekindle.")]:
        for queries in [one for one in vars(module).values() if isinstance(one, Queries)]:
            for name in queries:
                assert queries[name].text


@cache
def _add_hook() -> None:
    """Add the hook once: an audit hook cannot be removed."""
    sys.addaudithook(_hook)


RUNNER = """
import sys
from rekindle.engine.running.work import work
from rekindle.engine.results import WorkOptions
from rekindle.engine.session import open_session
with open_session(sys.argv[1]) as session:
    work(session, WorkOptions(slots=2, watch=True))
"""


@pytest.fixture
def runner(project) -> Iterator[subprocess.Popen[bytes]]:
    """A runner in another process, which waits for jobs."""
    started = subprocess.Popen([sys.executable, "-c", RUNNER, str(project.folder / ".rekindle")])
    until(lambda: _registered(project))
    yield started
    started.send_signal(signal.SIGINT)
    started.wait(30)


def _registered(project) -> bool:
    with project.session.store.read() as archive:
        return bool(archive.runners.alive())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_all(project, runner: subprocess.Popen[bytes]) -> None:
    """Kill the runner and its workers; what the jobs have started lives."""
    with project.session.store.read() as archive:
        [registered] = archive.runners.alive()
        pids = [pid for _, _, pid, _, _ in archive.runners.journals(registered.id)]
    for pid in (runner.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    until(lambda: not any(start_of(pid) for pid in pids))


SPEC = """
name: all
jobs:
  a: {run: "cp in.txt a.txt", inputs: {i: in.txt}, outputs: {o: a.txt}}
  b: {run: "test -e go && cp a.txt b.txt", inputs: {i: a.txt}, outputs: {o: b.txt}, retry: {max: 1}}
  c: {needs: [b], run: "true", when: finished}
"""


def test_a_write_transaction_opens_no_file_and_starts_no_process(project, seen: list[str]) -> None:
    (project.folder / "in.txt").write_text("1")
    assert project.run(SPEC).exit_code == 2
    (project.folder / "go").touch()
    project.rerun("a", how=How(downstream="changed"))
    rerun.undo(project.session)
    project.rerun("a", "b", how=How(downstream="changed"))
    assert project.work().exit_code == 0
    project.submit(SPEC.replace("true", "echo"))
    (project.folder / "in.txt").write_text("2")
    accept.accept(project.session, [project.job("a")], {})
    assert seen == []


def test_nor_while_a_dead_worker_is_replaced(project, seen: list[str]) -> None:
    dies = "test -e once || { touch once; kill -9 $PPID; sleep 9; }"
    spec = {"name": "dies", "jobs": {"a": {"run": dies, "retry": {"max": 1, "on": ["lost"]}}, "b": {"run": "true"}}}
    assert project.run(str(spec)).exit_code == 0
    assert len(project.attempts("a")) == 2
    assert seen == []


def test_nor_while_the_orphans_of_a_dead_runner_are_resolved(project, runner, seen: list[str]) -> None:
    spec = """
        name: orphans
        jobs:
          a: {run: "echo 1 > a.txt; test -e go || sleep 600", outputs: {o: a.txt}, partial: aside}
          b: {run: "true", needs: [a]}
    """
    project.submit(spec)
    until(lambda: project.states()["a"] is State.RUNNING and (project.folder / "a.txt").exists())
    kill_all(project, runner)
    (project.folder / "go").touch()
    assert project.work().exit_code == 0
    first, _ = project.attempts("a")
    assert first.cause == "lost"
    assert [one for one in Path(project.folder / ".rekindle").rglob("*") if one.name == "a.txt"]
    assert seen == []


@pytest.mark.parametrize("resolve", ["reconcile", "cancel", "reattach"])
def test_nor_while_a_command_resolves_them(project, runner, seen: list[str], resolve: str) -> None:
    project.submit("{name: orphans, jobs: {a: {run: sleep 600}, b: {run: 'true', needs: [a]}}}")
    until(lambda: project.states()["a"] is State.RUNNING)
    kill_all(project, runner)
    job = project.job("a")
    if resolve == "reconcile":
        assert reconcile.reconcile(project.session).again == ("a",)
    elif resolve == "cancel":
        assert reconcile.cancel(project.session, [job]).now == (job,)
    else:
        assert reconcile.plan_reattach(project.session, [job]).jobs[0].found == "gone"
        assert reconcile.reattach(project.session, [job]).jobs[0].found == "gone"
    assert seen == []


def test_nor_while_commands_change_jobs_beside_a_runner(project, runner, seen: list[str]) -> None:
    path = project.folder / "spec.yaml"
    project.submit("{name: all, jobs: {a: {run: 'echo oops >&2; exit 3'}, b: {run: sleep 600}}}")
    until(lambda: [project.states()[name] for name in "ab"] == [State.FAILED, State.RUNNING])
    job, selection = [project.job("a")], parse_selection(SelectionFlags(error="o+ps"))
    control.hold(project.session, job)
    control.release(project.session, job)
    proposal, _ = rerun.plan_and_apply(project.session, [(selection, How(hold="wait"))], {})
    assert [one.id for one in proposal.plan.jobs] == job
    rerun.undo(project.session)
    path.write_text("{name: all, jobs: {a: {run: 'echo oops >&2; exit 4'}, b: {run: sleep 600}}}")
    pick = resubmit.requests_for_selection(project.session, load(path), selection, How(hold="wait"))
    resubmit.apply(project.session, resubmit.plan_resubmit(project.session, load(path), pick, {}))
    control.cancel(project.session, before_write(project.session, Selection(everything=True)))
    until(lambda: project.states()["b"] is State.CANCELED)
    assert seen == []


def test_nor_while_a_canary_releases_the_jobs_that_wait_for_it(project, seen: list[str]) -> None:
    spec = """
        name: group
        jobs:
          t: {matrix: {k: [1, 2, 3]}, run: "test -e go && echo > ${matrix.k}.txt", outputs: {o: "${matrix.k}.txt"}}
    """
    assert project.run(spec).exit_code == 2
    (project.folder / "go").touch()
    jobs = [project.job(name) for name in project.states()]
    rerun.apply(project.session, rerun.plan(project.session, [(jobs, How())], {}, canary=1))
    assert project.work().exit_code == 0
    assert seen == []


GROUP = """
name: group
jobs:
  up: {matrix: {k: [%s]}, run: "echo > up${matrix.k}", outputs: {o: "up${matrix.k}"}}
  t:
    needs: ['up[k=${matrix.k}]']
    matrix: {k: [%s]}
    run: "test -e go && echo > ${matrix.k}.txt"
    inputs: {i: in.txt}
    outputs: {o: "${matrix.k}.txt"}
"""


def begin_group(project) -> None:
    """Rerun jobs with two canaries, of which the first, `t[k=1]`, is held and the other has passed."""
    (project.folder / "in.txt").touch()
    assert project.run(GROUP % ("1, 2, 3, 4", "1, 2, 3, 4")).exit_code == 2
    (project.folder / "go").touch()
    jobs = [project.job(f"t[k={number}]") for number in range(1, 5)]
    rerun.apply(project.session, rerun.plan(project.session, [(jobs, How())], {}, canary=2))
    control.hold(project.session, [project.job("t[k=1]")])
    project.work()
    assert project.states()["t[k=2]"] is State.COMPLETED


def released(project) -> bool:
    with project.session.store.read() as archive:
        return not archive.canaries.open()


def test_nor_while_a_revision_releases_the_jobs_that_wait_for_a_canary(project, seen: list[str]) -> None:
    begin_group(project)
    project.submit(GROUP % ("1, 2, 3, 4", "2, 3, 4"))
    assert released(project)
    assert project.states()["t[k=4]"] is State.READY
    assert seen == []


def test_nor_while_an_undo_releases_them(project, seen: list[str]) -> None:
    begin_group(project)
    again = project.rerun("t[k=2]")
    control.hold(project.session, [project.job("t[k=2]")])
    control.release(project.session, [project.job("t[k=1]")])
    project.work()
    assert not released(project)
    rerun.undo(project.session, again.rerun)
    assert released(project)
    assert project.states()["t[k=4]"] is State.READY
    assert seen == []


def test_nor_while_a_reused_canary_releases_them(project, seen: list[str]) -> None:
    begin_group(project)
    control.release(project.session, [project.job("t[k=1]")])
    project.rerun("up[k=2]", how=How(downstream="changed"))
    assert project.work().reinstated == 1
    assert released(project)
    assert set(project.states().values()) == {State.COMPLETED}
    assert seen == []


def test_nor_while_a_rerun_is_submitted_with_a_revision(project, seen: list[str]) -> None:
    path = project.folder / "spec.yaml"
    project.run("{name: one, jobs: {a: {run: 'echo > a.txt; exit 3', outputs: {o: a.txt}}}}")
    path.write_text("{name: one, jobs: {a: {run: 'echo > a.txt', outputs: {o: a.txt}}}}")
    pick = resubmit.requests_for_jobs([project.job("a")], How())
    resubmit.apply(project.session, resubmit.plan_resubmit(project.session, load(path), pick, {}))
    assert project.states()["a"] is State.READY
    assert seen == []


def test_nor_while_a_revision_from_another_folder_is_refused(project, seen: list[str]) -> None:
    for name in ("first", "second"):
        (project.folder / name).mkdir()
    project.submit("{name: one, jobs: {a: {run: 'true'}}}", "first/spec.yaml")
    shutil.rmtree(project.folder / "first")
    with pytest.raises(SubmitRefused, match=r"from another folder, .*/first, which is missing"):
        project.submit("{name: one, jobs: {a: {run: 'true'}}}", "second/spec.yaml")
    assert seen == []


def test_nor_while_a_supervision_of_a_dead_process_is_resumed(project, seen: list[str]) -> None:
    project.run("{name: one, jobs: {a: {run: 'true'}}}")
    dead, started = replace(this_process(), pid_start=1), []
    with project.session.store.write() as archive:
        archive.supervisions.begin(1, "{}", dead, 1.0)
    seen.clear()  # the files with the statements of that
    supervise(project.session, SuperviseOptions("one"), None, listen=started.append)
    assert started[0].given_up == 1
    assert seen == []
