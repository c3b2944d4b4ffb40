"""Workflows with local workers, real processes and a real store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import logs, workflow_queries
from rekindle.engine.rerun import control, rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
from rekindle.journal.processes import processes_with

CHAIN = """
    name: chain
    jobs:
      a: {run: "sh -c 'echo a >> done'"}
      b: {run: "sh -c 'echo b >> done'", needs: [a]}
      c: {run: "sh -c 'echo c >> done'", needs: [b]}
"""


def until(condition, seconds: float = 20.0) -> None:
    """Wait for a condition, with a bound."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_a_chain_runs_in_its_order(project):
    report = project.run(CHAIN)
    assert (report.exit_code, report.completed) == (0, 3)
    assert (project.folder / "done").read_text().split() == ["a", "b", "c"]
    assert set(project.states().values()) == {State.COMPLETED}


def test_what_needs_a_failed_job_waits_and_the_rest_runs(project):
    report = project.run(
        """
        name: diamond
        jobs:
          top: {run: "true"}
          left: {run: "false", needs: [top]}
          right: {run: "true", needs: [top]}
          bottom: {run: "true", needs: [left, right]}
        """
    )
    assert report.exit_code == 2
    assert project.states() == {
        "top": State.COMPLETED,
        "left": State.FAILED,
        "right": State.COMPLETED,
        "bottom": State.WAITING,
    }


def test_a_rerun_runs_the_failed_job_and_what_follows_and_nothing_else(project):
    project.run(
        """
        name: diamond
        jobs:
          top: {run: "sh -c 'echo top >> log'"}
          left: {run: "sh -c 'echo left >> log; test -e fixed'", needs: [top]}
          right: {run: "sh -c 'echo right >> log'", needs: [top]}
          bottom: {run: "sh -c 'echo bottom >> log'", needs: [left, right]}
        """
    )
    (project.folder / "fixed").touch()
    applied = project.rerun("left")
    assert applied.ready == 1
    assert project.work().exit_code == 0
    ran = (project.folder / "log").read_text().split()
    assert {name: ran.count(name) for name in set(ran)} == {"top": 1, "left": 2, "right": 1, "bottom": 1}
    first, second = project.attempts("left")
    assert (first.state, first.archived_by) == (State.FAILED, applied.rerun)
    assert (second.state, second.archived_by) == (State.COMPLETED, None)


def test_undo_restores_every_state_of_a_rerun_that_has_not_started(project):
    project.run(CHAIN)
    before = project.states()
    applied = project.rerun("a")
    assert project.states() == {"a": State.READY, "b": State.WAITING, "c": State.WAITING}
    undone = rerun.undo(project.session)
    assert undone.rerun == applied.rerun
    assert project.states() == before
    assert all(attempt.archived_by is None for name in "abc" for attempt in project.attempts(name))


def test_undo_derives_states_from_what_happened_meanwhile(project):
    """b is rerun while x runs; x completes; after undo, c is ready because it needs both."""
    project.submit(
        """
        name: meanwhile
        jobs:
          b: {run: "true", priority: 1}
          x: {run: "sh -c 'touch started; while [ ! -e go ]; do sleep 0.01; done'"}
          c: {run: "true", needs: [b, x]}
        """
    )
    runner = threading.Thread(target=_work_elsewhere, args=(project.folder,))
    runner.start()
    until(lambda: (project.folder / "started").exists())
    until(lambda: (project.states()["b"], project.states()["x"]) == (State.COMPLETED, State.RUNNING))
    project.rerun("b")
    control.hold(project.session, [project.job("b")])
    assert project.states()["c"] is State.WAITING
    (project.folder / "go").touch()
    runner.join(20)
    assert project.states() == {"b": State.READY, "x": State.COMPLETED, "c": State.WAITING}
    rerun.undo(project.session)
    assert project.states() == {"b": State.COMPLETED, "x": State.COMPLETED, "c": State.READY}


def _work_elsewhere(folder: Path) -> None:
    with open_session(str(folder / ".rekindle")) as session:
        work(session, WorkOptions(slots=1))


def test_a_job_that_is_held_is_not_claimed_until_it_is_released(project):
    project.submit(CHAIN)
    control.hold(project.session, [project.job("b")], "look first")
    project.work()
    assert project.states() == {"a": State.COMPLETED, "b": State.READY, "c": State.WAITING}
    control.release(project.session, [project.job("b")])
    project.work()
    assert set(project.states().values()) == {State.COMPLETED}


def test_a_running_job_is_canceled_by_another_process(project):
    project.submit("{name: long, jobs: {nap: {run: sleep 60}, after: {run: 'true', needs: [nap]}}}")
    runner = threading.Thread(target=_work_elsewhere, args=(project.folder,))
    runner.start()
    until(lambda: project.states()["nap"] is State.RUNNING)
    answer = control.cancel(project.session, [project.job("nap"), project.job("after")])
    assert (answer.asked, answer.now) == ((project.job("nap"),), (project.job("after"),))
    runner.join(20)
    assert not runner.is_alive()
    assert project.states() == {"nap": State.CANCELED, "after": State.CANCELED}
    [attempt] = project.attempts("nap")
    assert attempt.cause is Cause.CANCELED


def test_canceled_jobs_run_again_when_they_are_rerun(project):
    project.submit(CHAIN)
    control.cancel(project.session, [project.job(name) for name in "abc"])
    project.check()
    assert set(project.states().values()) == {State.CANCELED}
    project.rerun("a", "b", "c")
    assert project.work().exit_code == 0
    assert set(project.states().values()) == {State.COMPLETED}


def test_a_resumed_attempt_keeps_the_steps_that_completed(project):
    project.run(
        """
        name: steps
        jobs:
          five:
            steps:
              - {name: one, run: "sh -c 'echo one >> log; echo 41 > $REKINDLE_RESULT'"}
              - {name: two, run: "sh -c 'echo two >> log'"}
              - {name: three, run: "sh -c 'echo three >> log; test -e fixed'"}
              - {name: four, run: "sh -c 'echo four ${steps.one.result} >> log'"}
        """
    )
    assert [step.state for step in project.attempts("five")[0].steps] == [
        State.COMPLETED,
        State.COMPLETED,
        State.FAILED,
    ]
    (project.folder / "fixed").touch()
    project.rerun("five", how=How(start="failed-step"))
    assert project.work().exit_code == 0
    assert (project.folder / "log").read_text().split() == ["one", "two", "three", "three", "four", "41"]
    first, second = project.attempts("five")
    assert (second.builds_on, second.start_step) == (first.id, 2)
    assert [(step.name, step.kept_from) for step in second.steps] == [
        ("one", first.id),
        ("two", first.id),
        ("three", None),
        ("four", None),
    ]


def test_upstream_results_and_outputs_reach_a_job(project):
    project.run(
        """
        name: upstream
        jobs:
          make:
            run: sh -c 'echo 7 > out.txt; echo "{\\"n\\":7}" > $REKINDLE_RESULT'
            outputs: {data: out.txt}
          use: {run: sh -c 'echo "$REKINDLE_INPUTS" > seen.json', needs: [make]}
        """
    )
    seen = json.loads((project.folder / "seen.json").read_text())
    assert seen == {"make": {"result": {"n": 7}, "outputs": {"data": str(project.folder / "out.txt")}}}


def test_a_job_that_can_never_fit_is_named(project):
    report = project.run("{name: big, jobs: {huge: {run: 'true', resources: {cpus: 4096}}, small: {run: 'true'}}}")
    assert report.exit_code == 1
    [(name, why)] = report.never_fit
    assert name == "huge"
    assert "4096" in why
    assert project.states()["small"] is State.COMPLETED


def test_priorities_are_respected(project):
    project.run(
        """
        name: order
        jobs:
          low: {run: "sh -c 'echo low >> log'", priority: -1}
          plain: {run: "sh -c 'echo plain >> log'"}
          high: {run: "sh -c 'echo high >> log'", priority: 9, resources: {time: 1m}}
        """,
        slots=1,
    )
    assert (project.folder / "log").read_text().split() == ["high", "plain", "low"]


def test_licences_bound_how_many_run_at_once(project):
    project.submit(
        """
        name: licensed
        jobs:
          use:
            matrix: {k: {range: [0, 4]}}
            run: sh -c 'mkdir lock || exit 9; sleep 0.05; rmdir lock'
            resources: {licences: {solver: 1}}
        """
    )
    assert project.work(slots=4, licences={"solver": 1}).exit_code == 0


def test_short_jobs_do_not_wait_behind_a_long_one(project):
    """Jobs assigned ahead to a worker are recalled if the job before them turns out to be long."""
    project.run(
        """
        name: uneven
        jobs:
          job:
            matrix: {k: {range: [0, 300]}}
            shell: sh
            run: |
              if [ ${matrix.k} = 150 ]; then while ! [ -e done299 ]; do sleep 0.01; done; fi
              touch done${matrix.k}
            resources: {time: 30s}
        """
    )
    assert set(project.states().values()) == {State.COMPLETED}


def test_jobs_that_were_assumed_to_be_short_are_given_back_behind_a_long_one(project):
    others = "".join(f"  x{number}: {{run: 'true {number}'}}\n" for number in range(5))
    project.submit(
        "name: uneven\njobs:\n  first: {run: 'true', priority: 9}\n"
        "  long: {run: 'while ! test -e go; do sleep 0.01; done', priority: 5}\n" + others
    )
    runner = threading.Thread(target=_work_elsewhere, args=(project.folder,))
    runner.start()
    until(lambda: project.states()["long"] is State.RUNNING)
    until(lambda: all(project.states()[f"x{number}"] is State.READY for number in range(5)))
    control.hold(project.session, [project.job("x4")])
    (project.folder / "go").touch()
    runner.join(20)
    assert project.states().pop("x4") is State.READY
    assert list(project.states().values()).count(State.COMPLETED) == 6


def test_a_worker_that_is_killed_loses_its_attempt_only(project):
    project.submit(
        """
        name: hurt
        jobs:
          victim: {run: "sh -c 'echo $PPID > worker; sleep 60'", priority: 5}
          other: {matrix: {k: {range: [0, 20]}}, run: "true"}
        """
    )
    runner = threading.Thread(target=_work_elsewhere, args=(project.folder,))
    runner.start()
    until(lambda: (project.folder / "worker").exists() and (project.folder / "worker").read_text().strip())
    until(lambda: project.states()["victim"] is State.RUNNING)
    os.kill(int((project.folder / "worker").read_text()), signal.SIGKILL)
    runner.join(30)
    assert not runner.is_alive()
    [attempt] = project.attempts("victim")
    assert (attempt.state, attempt.cause) == (State.FAILED, Cause.LOST)
    assert sum(state is State.COMPLETED for state in project.states().values()) == 20


RUNNER = """
import sys
from rekindle.engine.running.work import work
from rekindle.engine.results import WorkOptions
from rekindle.engine.session import open_session
from rekindle.journal.processes import processes_with
with open_session(sys.argv[1]) as session:
    sys.exit(work(session, WorkOptions(slots=2)).exit_code)
"""


def start_runner(project) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUNNER, str(project.folder / ".rekindle")])


def test_runners_beside_each_other_run_no_job_twice(project):
    project.submit(
        """
        name: many
        jobs:
          job: {matrix: {k: {range: [0, 400]}}, run: "sh -c 'echo ${matrix.k} >> log'"}
        """
    )
    runners = [start_runner(project) for _ in range(3)]
    assert [runner.wait(60) for runner in runners] == [0, 0, 0]
    ran = (project.folder / "log").read_text().split()
    assert sorted(ran, key=int) == [str(k) for k in range(400)]


def test_a_runner_that_is_killed_is_taken_over_and_its_work_is_not_done_twice(project):
    project.submit(
        """
        name: killed
        jobs:
          nap: {matrix: {k: {range: [0, 2]}}, run: "sh -c 'echo ${matrix.k} >> log; sleep 1.5'"}
        """
    )
    runner = start_runner(project)
    log = project.folder / "log"
    until(lambda: log.exists() and len(log.read_text().split()) == 2)
    runner.kill()
    runner.wait()
    report = project.work()
    assert report.exit_code == 0
    assert sorted((project.folder / "log").read_text().split()) == ["0", "1"]
    assert all(len(project.attempts(f"nap[k={k}]")) == 1 for k in range(2))


def test_what_was_lost_with_its_runner_runs_again(project):
    project.submit("{name: lost, jobs: {nap: {run: sh -c 'echo x >> log; test -e go || sleep 60'}}}")
    runner = start_runner(project)
    until(lambda: project.states()["nap"] is State.RUNNING)
    [attempt] = project.attempts("nap")
    with project.session.store.read() as archive:
        workers = [pid for _, _, pid, _, _ in archive.runners.journals(attempt.runner)]
    own = f"REKINDLE_DIR={attempt.folder}"
    until(lambda: len(processes_with({own.encode(): own})) == 2)  # the shell and its child
    (project.folder / "go").touch()
    for pid in (runner.pid, *workers, *(pid for pid, _ in processes_with({own.encode(): own}))):
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    report = project.work()
    assert (report.exit_code, report.recovered) == (0, 1)
    first, second = project.attempts("nap")
    assert (first.cause, second.state) == (Cause.LOST, State.COMPLETED)
    assert first.archived_by is not None
    [(record, _)] = workflow_queries.reruns(project.session)
    assert record.kind == "recovery"


def test_an_interrupted_run_leaves_nothing_running(project):
    project.submit("{name: naps, jobs: {nap: {matrix: {k: {range: [0, 20]}}, run: sleep 60}}}")
    runner = start_runner(project)
    until(lambda: list(project.states().values()).count(State.RUNNING) == 2)
    runner.send_signal(signal.SIGINT)
    assert runner.wait(20) == 5
    counts = list(project.states().values())
    assert (counts.count(State.CANCELED), counts.count(State.READY)) == (2, 18)
    project.check()


def test_a_timed_out_run_starts_nothing_new(project):
    project.submit("{name: slow, jobs: {nap: {matrix: {k: {range: [0, 20]}}, run: sleep 0.3}}}")

    def completed():
        assert project.work(slots=1, claim_for=0.5).exit_code == 6
        states = list(project.states().values())
        assert set(states) <= {State.COMPLETED, State.READY}
        return State.COMPLETED in states

    until(completed, 120)  # a busy machine may take half a second to start anything


def test_logs_are_found_while_a_job_runs_and_after(project):
    project.submit(
        """
        name: noisy
        jobs:
          talk: {run: "sh -c 'echo one; while [ ! -e go ]; do sleep 0.01; done; echo two'"}
        """
    )
    runner = threading.Thread(target=_work_elsewhere, args=(project.folder,))
    runner.start()
    job = project.job("talk")
    until(lambda: project.states()["talk"] is State.RUNNING)
    pieces: list[bytes] = []
    for piece in logs.follow(project.session, job, None, None, "stdout"):
        pieces.append(piece)
        if b"one" in b"".join(pieces):
            (project.folder / "go").touch()
    runner.join(20)
    assert b"".join(pieces) == b"one\ntwo\n"
    stdout, _ = logs.log_files(project.session, job)
    assert Path(stdout.path).read_bytes() == b"one\ntwo\n"


def test_a_python_callable_runs_and_its_result_is_kept(project):
    (project.folder / "calc.py").write_text("def double(n):\n    return {'n': 2 * n}\n")
    project.run("{name: calls, jobs: {f: {matrix: {n: [1, 2]}, call: 'calc:double', args: {n: '${matrix.n}'}}}}")
    assert {project.attempts(f"f[n={n}]")[0].result for n in (1, 2)} == {'{"n":2}', '{"n":4}'}


@pytest.mark.parametrize("archived", [False, True])
def test_an_outcome_is_taken_in_once_and_never_moves_a_job_whose_attempt_is_archived(project, archived):
    from rekindle.engine.running.ingest import JournalBatch, ingest
    from rekindle.journal.records import Ended, Started

    project.run("{name: one, jobs: {a: {run: 'true'}, b: {run: 'true', needs: [a]}}}")
    [attempt] = project.attempts("a")
    if archived:
        project.rerun("a")
    before = project.states()
    records = [
        Started(attempt.id, attempt.token, 1.0),
        Ended(attempt.id, State.FAILED, 2.0, token=attempt.token, cause="exit"),
    ]
    with project.session.store.write() as archive:
        told = ingest(archive, [JournalBatch(attempt.worker, records, 10**6)], 3.0, os.path.exists)
    assert told.ended == []
    assert project.states() == before


def test_inputs_are_the_projects_wherever_a_job_runs_and_env_builds_on_the_surroundings(project):
    (project.folder / "data.txt").write_text("content\n")
    project.run(
        """
        name: own
        env: {PATH: "${job.name}-bin:${env.PATH}"}
        jobs:
          read:
            workdir: attempt
            inputs: {data: data.txt}
            outputs: {copy: copy.txt}
            run: cp ${inputs.data} ${outputs.copy}
          path: {run: "sh -c 'echo $PATH > path'"}
        """
    )
    [attempt] = project.attempts("read")
    assert attempt.state is State.COMPLETED
    assert Path(attempt.folder, "copy.txt").read_text() == "content\n"
    assert (project.folder / "path").read_text().startswith("path-bin:/")


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_ends_what_does_not_want_to_end(project, times):
    project.submit(
        """
        name: stubborn
        jobs:
          never: {shell: bash, run: "trap '' TERM; echo on > on; while true; do sleep 0.1; done"}
        """
    )
    runner = start_runner(project)
    until(lambda: (project.folder / "on").exists())
    for _ in range(times):
        runner.send_signal(signal.SIGINT)
    assert runner.wait(20) == 5
    [attempt] = project.attempts("never")
    assert (attempt.state, attempt.cause) == (State.CANCELED, Cause.CANCELED)
    own = f"REKINDLE_DIR={attempt.folder}"
    assert processes_with({own.encode(): own}) == []
