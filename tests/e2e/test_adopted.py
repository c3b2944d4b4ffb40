"""A runner dies alone: its workers finish their jobs, and the next runner adopts them one by one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil

from project_folder import Project, until
from rekindle.engine.running.ingest import ingest
from rekindle.engine.running.orphan_tracker import OrphanTracker
from rekindle.engine.session import open_session
from rekindle.journal.processes import session_members, start_of
from rekindle.journal.records import Returned

NAP = "echo ${job.name} >> ran.txt; echo $$ > pid-${job.name}; while ! test -e go-${job.name}; do sleep 0.02; done"

TWO = f"""
name: adopted
jobs:
  a: {{run: "{NAP}"}}
  b: {{run: "{NAP}"}}
  after: {{needs: [a, b], run: echo after >> ran.txt}}
"""


def running(project: Project, *names: str) -> None:
    """Wait until these jobs are recorded as running."""
    until(lambda: all((project.folder / f"pid-{name}").exists() for name in names), f"{names} run")
    until(lambda: all(project.states()[name] == "running" for name in names), f"{names} are known to run")


def vanish(runner: subprocess.Popen[bytes]) -> None:
    """SIGKILL a runner, but not its workers."""
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait(timeout=60)


def workers(project: Project) -> dict[str, int]:
    """Return the worker process of each running job."""
    found = project.rows(
        "SELECT job.name, journal.pid FROM job JOIN attempt ON attempt.id = job.attempt"
        " JOIN journal ON journal.worker = attempt.worker WHERE job.state = 3"
    )
    return dict(found)


def let(project: Project, *names: str) -> None:
    for name in names:
        project.write(f"go-{name}", "")


def test_what_runs_is_adopted_and_runs_once(project: Project) -> None:
    project.spec(TWO)
    runner = project.start("run", "spec.yaml", "-j", "2")
    running(project, "a", "b")
    vanish(runner)
    let(project, "b")
    until(lambda: workers(project)["b"] not in psutil.pids(), "b has finished, and nobody has seen it")
    with (project.folder / "said").open("wb") as errors:
        following = project.start("work", "-j", "1", stderr=errors)
    until(lambda: project.states()["b"] == "completed", "b is taken in")
    assert project.states()["a"] == "running"
    let(project, "a")
    assert following.wait(timeout=60) == 0
    said = (project.folder / "said").read_text()
    assert "2 jobs of a runner that vanished: 1 adopted, 1 finished meanwhile" in said
    assert "ran: 3 completed" in said
    assert sorted(project.ran()) == ["a", "after", "b"]
    assert [len(project.attempts(name)) for name in ("a", "b")] == [1, 1]


NEIGHBOURS = f"""
name: neighbours
jobs:
  a: {{run: "{NAP}", priority: 9}}
  short: {{matrix: {{i: {{range: [0, 300]}}}}, run: "echo ${{job.name}} >> ran.txt"}}
"""


def lose_runner_of_neighbours(project: Project) -> None:
    """Kill the runner when both workers have short jobs queued, and one of them runs a long one."""
    project.spec(NEIGHBOURS)
    runner = project.start("run", "spec.yaml", "-j", "2")
    running(project, "a")
    until(lambda: len(project.ran()) > 20, "short ones run")
    vanish(runner)


def test_what_a_worker_gives_back_does_not_wait_for_its_neighbour(project: Project) -> None:
    lose_runner_of_neighbours(project)
    following = project.start("work", "-j", "1")
    until(lambda: project.ask("status")["workflows"][0]["counts"].get("completed") == 300, "all short ones are done")
    assert project.states("a")["a"] == "running"
    let(project, "a")
    assert following.wait(timeout=60) == 0
    ran = project.ran()
    assert len(ran) == len(set(ran)) == 301


def read_journals_only(folder: Path) -> None:
    """Do as a command that commits what the journals of a dead runner say, and dies before it gives anything back."""
    with open_session(str(folder), create=False) as session:
        tracker, now = OrphanTracker(session), session.clock()
        with session.store.write() as archive:
            tracker.take_over(archive, archive.runners.alive(), None)
        batches = tracker.read_journals()
        assert any(isinstance(record, Returned) for batch in batches for record in batch.records)
        with session.store.write() as archive:
            ingest(archive, batches, now, lambda _: True)
        tracker.committed(batches)
        tracker.close()


def test_what_a_worker_gave_back_is_free_if_another_process_has_read_its_journal(project: Project) -> None:
    """The worker of the long job runs on, and that its neighbour's jobs are free stands in what is read already."""
    lose_runner_of_neighbours(project)
    journals = project.folder / ".rekindle" / "journal"
    until(lambda: all("leaving" in path.read_text() for path in journals.iterdir()), "both workers leave")
    until(lambda: any("closed" in path.read_text() for path in journals.iterdir()), "one has ended")
    read_journals_only(project.folder / ".rekindle")
    following = project.start("work", "-j", "1")
    until(lambda: len(project.ran()) == 301, "all short ones run")
    assert project.states()["a"] == "running"
    let(project, "a")
    assert following.wait(timeout=60) == 0
    assert len(project.ran()) == len(set(project.ran())) == 301


def test_a_job_of_which_the_worker_died_too_is_claimed_when_nothing_of_it_is_left(project: Project) -> None:
    """One of its processes has left the worker's session, another has cleared its environment."""
    project.spec(
        """
name: strays
jobs:
  a:
    run: >-
      for one in $(cat pids); do grep -qs '^State:.[^ZX]' /proc/$one/status && echo overlap >> ran.txt; done;
      echo a >> ran.txt; test -e again && exit 0; touch again;
      setsid sleep 600 & env -i /bin/sleep 600 & echo $! >> pids; sleep 0.2;
      pgrep -f 'sleep 600' -s 0 >> pids; echo $$ > pid-a; sleep 600
"""
    )
    runner = project.start("run", "spec.yaml", "-j", "1")
    running(project, "a")
    worker = workers(project)["a"]
    vanish(runner)
    os.kill(worker, signal.SIGKILL)
    until(lambda: start_of(worker) is None, "the worker is gone")
    assert session_members(worker)
    project.rekindle("work", "-j", "1")
    assert session_members(worker) == []
    assert project.ran() == ["a", "a"]
    assert [one["cause"] for one in project.attempts("a")] == ["lost", None]


def test_an_adopted_job_can_be_canceled(project: Project) -> None:
    project.spec(TWO)
    runner = project.start("run", "spec.yaml", "-j", "2")
    running(project, "a", "b")
    vanish(runner)
    following = project.start("work", "-j", "1")
    until(lambda: project.ask("status")["workflows"][0]["runners"], "another runner works")
    project.rekindle("cancel", "a")
    until(lambda: project.states()["a"] == "canceled", "it is canceled")
    assert project.states()["b"] == "running"
    let(project, "b")
    assert following.wait(timeout=60) == 5
    (attempt,) = project.attempts("a")
    assert (attempt["state"], attempt["cause"]) == ("canceled", "canceled")
    assert project.ran() in (["a", "b"], ["b", "a"])


def test_a_worker_that_hangs_before_it_begins_delays_nobody_and_starts_nothing(project: Project) -> None:
    """The worker's interpreter is stopped before it creates its journal, and continued after the run."""
    project.write(
        "sitecustomize.py",
        "import os, signal, sys\n"
        "if 'rekindle.worker' in ' '.join(sys.orig_argv) and not os.path.exists('hung'):\n"
        "    open('hung', 'w').write(str(os.getpid()))\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n",
    )
    project.spec("{name: hangs, jobs: {a: {run: echo a >> ran.txt}}}")
    project.env["PYTHONPATH"] = f"{project.folder}:{project.env.get('PYTHONPATH', '')}"
    runner = project.start("run", "spec.yaml", "-j", "1")
    until(lambda: project.ran("hung"), "the worker hangs")
    hung = psutil.Process(int(project.ran("hung")[0]))
    until(lambda: project.states()["a"] == "queued", "it has been given the job")
    vanish(runner)
    done = project.rekindle("work", "-j", "1")
    assert "1 job of a runner that vanished: 1 not started yet" in done.stderr
    assert project.states() == {"a": "completed"}
    assert hung.status() == psutil.STATUS_STOPPED
    hung.resume()
    until(lambda: start_of(hung.pid) is None, "it goes")
    assert project.ran() == ["a"]
    assert len(project.attempts("a")) == 1


def test_reattaching_says_what_it_finds_and_takes_it_in(project: Project) -> None:
    """One attempt has ended, one still runs, and one was lost with its worker."""
    jobs = "".join(f'  {name}: {{run: "{NAP}"}}\n' for name in "abc")
    project.spec(f"name: reattached\njobs:\n{jobs}  d: {{needs: [c], run: echo d >> ran.txt}}\n")
    runner = project.start("run", "spec.yaml", "-j", "3")
    running(project, "a", "b", "c")
    (attended,) = project.ask("rerun", "a", "--reattach", "--dry-run", expect=1)["reattached"]
    assert attended["found"] == "attended"
    assert f"pid {runner.pid}" in attended["why"]
    pids = workers(project)
    vanish(runner)
    let(project, "a")
    os.kill(pids["c"], signal.SIGKILL)
    until(lambda: start_of(pids["a"]) is None and start_of(pids["c"]) is None, "two workers are gone")

    planned_submission = project.ask("rerun", "-w", "reattached", "--reattach", "--dry-run")
    assert [one["found"] for one in planned_submission["reattached"]] == ["finished", "running", "gone", "none"]
    assert set(project.states().values()) == {"running", "waiting"}
    assert session_members(pids["c"])

    told = project.ask("rerun", "-w", "reattached", "--reattach", "--yes")
    a, b, c, d = told["reattached"]
    assert (a["found"], a["state"], a["cause"]) == ("finished", "completed", None)
    assert (b["found"], b["state"], b["pid"]) == ("running", "running", pids["b"])
    assert b["since"] is not None
    assert (c["found"], c["state"], c["cause"]) == ("gone", "ready", "lost")
    assert (d["found"], d["state"]) == ("none", "waiting")
    assert project.ask("reruns", "show", str(told["rerun"]))["jobs"][0]["name"] == "c"
    assert session_members(pids["c"]) == []
    assert project.states() == {"a": "completed", "b": "running", "c": "ready", "d": "waiting"}

    again = project.rekindle("rerun", "b", "--reattach", "--yes")
    assert "1 runs on: `rekindle work` records its end" in again.stdout
    let(project, "b", "c")
    done = project.rekindle("rerun", "b", "--reattach", "--yes", "--work", "-j", "1")
    assert "ran: " in done.stderr
    assert set(project.states().values()) == {"completed"}
    assert sorted(project.ran()) == ["a", "b", "c", "c", "d"]
    refused = project.rekindle("rerun", "b", "--reattach", "--yes", expect=1)
    assert "nothing to reattach" in refused.stderr
    wrong = project.rekindle("rerun", "b", "--reattach", "--memory", "x2", expect=64)
    assert "--reattach reruns nothing" in wrong.stderr


def test_what_is_adopted_outlives_whoever_adopted_it(project: Project) -> None:
    """Three runners die in turn; the last one ingests the failure, which sets its exit code."""
    project.spec(f'name: outlives\njobs:\n  a: {{run: "{NAP}; exit 3"}}\n  b: {{needs: [a], run: echo b >> ran.txt}}\n')
    runner = project.start("run", "spec.yaml", "-j", "1")
    running(project, "a")
    for _ in range(2):
        vanish(runner)
        runner = project.start("work", "-j", "1")
        until(lambda: project.ask("status")["workflows"][0]["runners"], "the next one works")
    vanish(runner)
    let(project, "a")
    project.rekindle("work", "-j", "1", expect=2)
    (attempt,) = project.attempts("a")
    assert (attempt["state"], attempt["cause"], attempt["exit_code"]) == ("failed", "exit", 3)
    assert project.ran() == ["a"]
    assert project.states() == {"a": "failed", "b": "waiting"}
