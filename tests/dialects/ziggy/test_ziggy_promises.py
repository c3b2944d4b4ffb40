"""The promises of Ziggy's document on restarting tasks, on its permuter sample: subtask 0 of each task failed."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil
import pytest
from ziggy_sample import IMAGES, SPEC, Pipeline

PERMUTED = [f"permuter set-1 st-{number}" for number in range(IMAGES)]
MENDED = ("--set", "throw_exception_subtask_0=false")
GOOD = ["image-1", "image-2", "image-3"]


def until(condition, what):
    deadline = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(0.01)
    return value


def test_the_sample_fails_as_documented(failed: Pipeline) -> None:
    """3 of 4 subtasks ran, and the task stopped at the end of the algorithm."""
    shown = failed.console("display", "--instance", "1", "--displayType", "full").out
    assert "ERRORS_STALLED" in shown
    assert shown.count("ERROR - WAITING_TO_STORE  3/4 (1)") == 2
    assert failed.stored("permuter", "set-1") == []


def test_z1_restart_from_beginning_marshals_and_runs_every_subtask_again(failed: Pipeline) -> None:
    before = failed.live(1)
    result = failed.console("restart", "--restartMode", "RESTART_FROM_BEGINNING", "--task", "1", *MENDED, "--work").out
    assert "Restarting task(s) 1 in instance 1 with restart mode Restart from beginning" in result
    ran = failed.ran()
    assert [line for line in ran if line.startswith("permuter")] == [
        "permuter set-1 marshal",
        *PERMUTED,
        "permuter set-1 store",
    ]
    assert failed.stored("permuter", "set-1") == ["image-0", *GOOD]
    # Earlier attempts are kept as history.
    attempts = failed.ask("attempts", "list", "1")["attempts"]
    assert (attempts[0]["id"], attempts[0]["archived"]) == (before["id"], True)
    assert failed.ask("attempts", "show", str(before["id"]))["subtasks"][0]["state"] == "failed"


def test_z2_resubmit_runs_the_failed_subtasks_alone(failed: Pipeline) -> None:
    result = failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", *MENDED, "--work").out
    assert "1 permuter[set-1]: starts at process: 1 of its subtasks to run, 3 left alone" in result
    ran = failed.ran()
    assert [line for line in ran if line.startswith("permuter")] == ["permuter set-1 st-0", "permuter set-1 store"]
    assert failed.stored("permuter", "set-1") == ["image-0", *GOOD]
    assert failed.live(1)["steps"][1]["subtasks"] == {"completed": 4}


def test_z2_a_failed_subtask_that_fails_again_is_in_error_again(failed: Pipeline) -> None:
    failed.console("restart", "--restartMode", "resubmit", "--task", "1", "--work", expect=2)
    assert failed.ran() == ["permuter set-1 st-0"]
    assert "ERROR - WAITING_TO_STORE  3/4 (1)" in failed.console("display", "--task", "1").out


def test_z2_resubmit_is_refused_if_every_subtask_is_complete(failed: Pipeline) -> None:
    """In Ziggy, the task would be neither failed nor running afterwards."""
    (failed.folder / "no-disk").touch()
    failed.console("restart", "--restartMode", "resubmit", "--task", "1", *MENDED, "--work", expect=2)
    assert "ERROR - STORING" in failed.console("display", "--task", "1").out
    before = failed.jobs()
    result = failed.console("restart", "--restartMode", "resubmit", "--task", "1", expect=1)
    assert "every subtask is complete" in result.err
    assert "resume-current-step, restart-from-beginning" in result.err
    assert failed.jobs() == before
    (failed.folder / "no-disk").unlink()
    failed.ran()
    failed.console("restart", "--task", "1", "--work")  # the default mode resumes at the step where the task stopped
    assert [line for line in failed.ran() if line.startswith("permuter")] == ["permuter set-1 store"]


def test_z3_resume_current_step_stores_good_subtasks_and_gives_up_failed(failed: Pipeline) -> None:
    result = failed.console("restart", "--restartMode", "RESUME_CURRENT_STEP", "--task", "1", "--work").out
    assert "starts at store with 3 of 4 subtasks: 1 given up" in result
    assert failed.ran() == [
        "flip set-1 marshal",
        *(f"flip set-1 st-{number}" for number in (1, 2, 3)),
        "flip set-1 store",
        "permuter set-1 store",
    ]
    assert failed.stored("permuter", "set-1") == GOOD  # no half-written output is stored
    jobs = failed.jobs()
    assert (jobs["permuter[unit=set-1]"]["state"], jobs["permuter[unit=set-1]"]["partial"]) == ("completed", True)
    assert jobs["flip[unit=set-1]"]["partial"]  # a job that depends on a partial result is marked
    assert "  COMPLETE  3/4 (1)" in failed.console("display", "--task", "1").out


def test_z3_a_complete_task_can_be_resubmitted_but_not_resumed(failed: Pipeline) -> None:
    """Ziggy's resume loops for ever in this case."""
    failed.console("restart", "--restartMode", "RESUME_CURRENT_STEP", "--task", "1", "--work")
    result = failed.console("restart", "--restartMode", "RESUME_CURRENT_STEP", "--task", "1", expect=1)
    assert "it is complete" in result.err
    failed.ran()
    failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", *MENDED, "--work")
    ran = failed.ran()
    assert [line for line in ran if line.startswith("permuter")] == ["permuter set-1 st-0", "permuter set-1 store"]
    assert [line for line in ran if line.startswith("flip set-1 st-")] == [
        f"flip set-1 st-{number}" for number in range(4)
    ], "dependent tasks run again"
    assert not failed.jobs()["flip[unit=set-1]"]["partial"]


def test_z3_a_total_failure_is_never_stored(pipeline: Pipeline) -> None:
    (pipeline.folder / "sample.yaml").write_text(SPEC.replace("python3 steps.py permuter", "false"))
    pipeline.console("start", "sample", "total", "--work", expect=2)
    result = pipeline.console("restart", "--restartMode", "RESUME_CURRENT_STEP", "--task", "1", expect=1)
    assert "no subtask of step `process` succeeded" in result.err


def test_z4_resume_monitoring_adopts_running_and_finished_tasks(pipeline: Pipeline) -> None:
    spec = SPEC.replace('"python3 steps.py permuter ', '"sh wait.sh ${matrix.unit} && python3 steps.py permuter ')
    (pipeline.folder / "sample.yaml").write_text(spec.replace("subtask_0: true", "subtask_0: false"))
    (pipeline.folder / "wait.sh").write_text("touch at-$1; while ! test -e go-$1; do sleep 0.02; done\n")
    pipeline.console("start", "sample", "monitored")
    runner = pipeline.in_the_background("work", "-j", "2")
    try:
        for unit in ("set-1", "set-2"):
            until(lambda unit=unit: (pipeline.folder / f"at-{unit}").exists(), f"{unit} runs")

        def executing() -> int:
            shown = pipeline.console("display", "--instance", "1", "--displayType", "full")
            return shown.out.count("  EXECUTING")

        until(lambda: executing() == 2, "both are known to be amid their fan-outs")
        attended = pipeline.console("restart", "--restartMode", "RESUME_MONITORING", "--instance", "1", expect=1)
        assert "is alive and attends it" in attended.err
        workers = psutil.Process(runner.pid).children()
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
        shown = pipeline.console("display", "--instance", "1", "--displayType", "full")
        assert shown.out.count("  EXECUTING") == 2
        assert "nobody monitors the running tasks" in shown.err
        for mode in ("resubmit", "resume-current-step", "restart-from-beginning"):
            refused = pipeline.console("restart", "--restartMode", mode, "--task", "1", expect=1)
            assert "it is EXECUTING" in refused.err
            assert "there is: resume-monitoring" in refused.err
        (pipeline.folder / "go-set-1").touch()
        until(lambda: "permuter set-1 store" in ran_so_far(pipeline), "it finishes, and nobody sees it")
        until(lambda: sum(one.is_running() and one.status() != "zombie" for one in workers) <= 1, "its worker has gone")
        result = pipeline.console("restart", "--restartMode", "RESUME_MONITORING", "--instance", "1", "--detach").out
        assert "Restarting task(s) 1, 2 in instance 1 with restart mode Resume monitoring" in result
        assert "1 permuter[set-1]: has finished meanwhile: completed" in result
        assert "2 permuter[set-2]: runs on" in result
        (pipeline.folder / "go-set-2").touch()
    finally:
        for unit in ("set-1", "set-2"):
            (pipeline.folder / f"go-{unit}").touch()
        with contextlib.suppress(ProcessLookupError):
            runner.kill()
        runner.wait()
    assert pipeline.rekindle("work", "-j", "2").code == 0
    assert set(pipeline.states().values()) == {"completed"}
    ran = pipeline.ran()
    assert len(ran) == len(set(ran)), "nothing ran twice"


def test_z4_resume_monitoring_stays_until_the_adopted_tasks_have_ended(pipeline: Pipeline) -> None:
    spec = SPEC.replace('"python3 steps.py permuter ', '"sh wait.sh ${matrix.unit} && python3 steps.py permuter ')
    (pipeline.folder / "sample.yaml").write_text(spec.replace("subtask_0: true", "subtask_0: false"))
    (pipeline.folder / "wait.sh").write_text("touch at-$1; while ! test -e go-$1; do sleep 0.02; done\n")
    pipeline.console("start", "sample", "monitored")
    runner = pipeline.in_the_background("work", "-j", "1")
    until(lambda: (pipeline.folder / "at-set-1").exists(), "set 1 runs")
    runner.kill()
    runner.wait()
    words = ("ziggy", "console", "restart", "--restartMode", "resume-monitoring", "--instance", "1")
    interrupted = pipeline.in_the_background(*words)
    monitor = None
    try:
        until(lambda: "nobody" not in pipeline.console("display", "--instance", "1").err, "it is monitored")
        interrupted.terminate()
        assert interrupted.wait(timeout=20) != 0
        monitor = pipeline.in_the_background(*words)
        until(lambda: "nobody" not in pipeline.console("display", "--instance", "1").err, "it is monitored again")
        assert monitor.poll() is None, "it stays"
        (pipeline.folder / "go-set-1").touch()
        assert monitor.wait(timeout=30) == 0
    finally:
        (pipeline.folder / "go-set-1").touch()
        for one in (interrupted, monitor):
            if one is not None:
                one.kill()
                one.wait()
    states = pipeline.states()
    assert states["permuter[unit=set-1]"] == "completed"
    assert states["permuter[unit=set-2]"] == "ready", "it starts nothing"
    shown = pipeline.console("display", "--instance", "1", "--displayType", "full")
    assert "nobody" not in shown.err
    assert "EXECUTING" not in shown.out


def ran_so_far(pipeline: Pipeline) -> str:
    path = pipeline.folder / "ran.txt"
    return path.read_text() if path.exists() else ""


def test_z4_resume_monitoring_is_refused_for_tasks_that_do_not_run(failed: Pipeline) -> None:
    result = failed.console("restart", "--restartMode", "RESUME_MONITORING", "--task", "1", expect=1)
    assert "nothing runs" in result.err
    nothing = failed.console("restart", "--restartMode", "RESUME_MONITORING", "--instance", "1")
    assert "has no task to restart" in nothing.out


def test_z6_failed_tasks_of_an_instance_restart_as_one_rerun(failed: Pipeline) -> None:
    result = failed.console("restart", "--restartMode", "RESUBMIT", "--instance", "1", *MENDED).out
    assert "Restarting task(s) 1, 2 in instance 1 with restart mode Resubmit" in result
    assert "rerun 1: 2 ready" in result
    assert failed.rekindle("undo").code == 0, "one undo takes all of it back"
    assert [failed.jobs()[f"permuter[unit=set-{unit}]"]["state"] for unit in (1, 2)] == ["failed", "failed"]
    failed.console("restart", "--restartMode", "RESUBMIT", "--instance", "1", *MENDED, "--work", "-j", "2")
    assert set(failed.states().values()) == {"completed"}
    assert "COMPLETED" in failed.console("display", "--instance", "1").out
    assert (failed.folder / "datastore" / "average.ppm").exists()
    assert "has no task to restart" in failed.console("restart", "--instance", "1").out


def test_z6_tasks_restart_each_in_its_own_mode_as_one_rerun(failed: Pipeline) -> None:
    """The default is the mode that keeps most. In Ziggy's dialog, all rows get the mode of the last one."""
    (failed.folder / "no-disk").touch()
    failed.console("restart", "--restartMode", "resubmit", "--task", "1", *MENDED, "--work", expect=2)
    (failed.folder / "no-disk").unlink()
    result = failed.console("restart", "--instance", "1").out
    assert "Restarting task(s) 1 in instance 1 with restart mode Resume current step" in result
    assert "Restarting task(s) 2 in instance 1 with restart mode Resubmit" in result
    assert "rerun 2: 2 ready" in result
    assert failed.rekindle("undo").code == 0


def test_z6_each_task_takes_the_mode_before_it_in_one_rerun(failed: Pipeline) -> None:
    """In Ziggy's dialog, all rows get the mode of the last one."""
    modes = ("--restartMode", "resubmit", "--task", "1", "--restartMode", "resume-current-step", "--task", "2")
    result = failed.console("restart", *modes).out
    assert "Restarting task(s) 1 in instance 1 with restart mode Resubmit" in result
    assert "1 permuter[set-1]: starts at process: 1 of its subtasks to run, 3 left alone" in result
    assert "Restarting task(s) 2 in instance 1 with restart mode Resume current step" in result
    assert "2 permuter[set-2]: starts at store with 3 of 4 subtasks: 1 given up" in result
    assert "rerun 1: 2 ready" in result
    assert failed.rekindle("undo").code == 0, "one undo takes all of it back"
    assert [failed.jobs()[f"permuter[unit=set-{unit}]"]["state"] for unit in (1, 2)] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("-t 1 -r resubmit -t 2 -r resume-current-step", "--task 1 has no --restartMode before it"),
        ("-r resubmit -t 1 -r resume-current-step", "no --task is behind --restartMode resume-current-step"),
        ("-r resubmit -r resume-current-step -t 1", "no --task is behind --restartMode resubmit"),
        ("-r resubmit -t 1,2 -r resume-current-step -t 2", "task 2 has two modes"),
        ("-r resubmit -r resume-current-step -i 1", "no --task is behind --restartMode resubmit"),
    ],
)
def test_a_mode_without_tasks_or_a_task_without_a_mode_is_refused(failed: Pipeline, words: str, why: str) -> None:
    before = failed.jobs()
    assert why in failed.console("restart", *words.split(), expect=64).err
    assert failed.jobs() == before


def test_z6_a_task_below_a_restarted_task_starts_from_the_beginning(failed: Pipeline) -> None:
    """Its marshaled inputs come from the other task. In Ziggy, it would continue with the old inputs."""
    failed.console("restart", "--restartMode", "RESUME_CURRENT_STEP", "--task", "1")
    (failed.folder / "datastore" / "flip").write_text("in the way: nothing can be stored")
    failed.rekindle("work")
    result = failed.console("restart", "--instance", "1", *MENDED)
    assert "3 flip[set-1]: starts from the beginning: permuter[unit=set-1], which it needs, runs again" in result.out
    (failed.folder / "datastore" / "flip").unlink()
    failed.rekindle("work", "-j", "2")
    assert set(failed.states().values()) == {"completed"}
    assert failed.stored("flip", "set-1") == ["image-0", *GOOD]


def test_z7_parameters_keep_their_values_until_set(failed: Pipeline) -> None:
    failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", "--work", expect=2)
    assert not failed.live(1)["modified"]
    (failed.folder / "no-disk").touch()
    failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", *MENDED, "--work", expect=2)
    assert failed.live(1)["modified"], "the change is recorded"
    assert not failed.live(2)["modified"], "the others keep theirs"
    (failed.folder / "no-disk").unlink()
    failed.console("restart", "--restartMode", "RESTART_FROM_BEGINNING", "--task", "1", "--work")
    assert failed.states()["permuter[unit=set-1]"] == "completed", "a later restart has the values of before"
    assert failed.live(1)["modified"]


def test_a_task_halted_before_it_resumed_resumes_at_the_same_step(failed: Pipeline) -> None:
    failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", *MENDED)
    assert "Halting task(s) 1 in instance 1" in failed.console("halt", "--task", "1").out
    assert "HALTED - WAITING_TO_RUN" in failed.console("display", "--task", "1").out
    refused = failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", "--set", "alpha=2", expect=1)
    assert "only restart-from-beginning accepts changes" in refused.err
    failed.console("restart", "--task", "1", "--work")
    ran = failed.ran()
    assert [line for line in ran if line.startswith("permuter")] == ["permuter set-1 st-0", "permuter set-1 store"]
    assert failed.states()["flip[unit=set-1]"] == "completed"


def test_z7_execution_parameters_may_change(failed: Pipeline) -> None:
    failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", "--memory", "64M", "--time", "1h", *MENDED)
    shown = failed.rekindle("jobs", "show", "1").out
    assert "memory=64.0 MiB" in shown
    assert failed.rekindle("ziggy", "console", "restart", "--task", "1", "--memory", "lots").code == 64


def test_z7_other_values_make_a_new_instance(failed: Pipeline) -> None:
    failed.console("start", "sample", "Test 2", "--param", "throw_exception_subtask_0=false", "--work", "-j", "2")
    shown = failed.console("display").out
    assert "sample: Test 1" in shown
    assert "sample: Test 2" in shown
    assert [line.split()[-2] for line in shown.splitlines() if "sample: " in line] == ["ERRORS_STALLED", "COMPLETED"]


def test_an_unknown_parameter_is_refused(failed: Pipeline) -> None:
    before = failed.jobs()
    result = failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1", "--set", "throw=1", expect=1)
    assert "no parameter `throw`" in result.err
    assert failed.jobs() == before


@pytest.mark.parametrize("words", [["--task", "1,99"], ["--instance", "7"], ["--task", "98-99"]])
def test_an_unknown_task_or_instance_is_refused(failed: Pipeline, words: list[str]) -> None:
    before = failed.jobs()
    result = failed.console("restart", "--restartMode", "RESUBMIT", *words, expect=1)
    assert words[1].rpartition(",")[2].partition("-")[0] in result.err
    assert failed.jobs() == before


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--task", "x"],
        ["--instance", "x"],
        ["--task", "1", "--instance", "1"],
        ["--task", "1", "--restartMode", "re"],
    ],
    ids=" ".join,
)
def test_an_invalid_command_line_changes_nothing(failed: Pipeline, words: list[str]) -> None:
    before = failed.jobs()
    failed.console("restart", *words, expect=64)
    assert failed.jobs() == before


def test_refused_tasks_are_named_and_the_others_restart(failed: Pipeline) -> None:
    result = failed.console("restart", "--restartMode", "RESUBMIT", "--task", "1,3")
    assert "Restarting task(s) 1 in instance 1" in result.out
    assert "not restarted: task 3 flip[set-1]: it is INITIALIZING" in result.err


def test_a_dry_run_changes_nothing(failed: Pipeline) -> None:
    before = failed.jobs()
    result = failed.console("restart", "--instance", "1", "--dry-run").out
    assert "1 of its subtasks to run, 3 left alone" in result
    assert failed.jobs() == before


def test_a_halted_instance_restarts_with_its_incomplete_subtasks(pipeline: Pipeline) -> None:
    spec = SPEC.replace('"python3 steps.py permuter ', '"sh wait.sh ${item} && python3 steps.py permuter ')
    (pipeline.folder / "sample.yaml").write_text(spec.replace("subtask_0: true", "subtask_0: false"))
    # Subtask 3 of set 1 waits. With one slot, every later task waits too.
    (pipeline.folder / "wait.sh").write_text(
        "case $1 in */set-1/image-3/*) touch waits; while ! test -e go; do sleep 0.02; done;; esac\n"
    )
    pipeline.console("start", "sample", "halted")
    runner = pipeline.in_the_background("work", "-j", "1")
    try:
        until(lambda: (pipeline.folder / "waits").exists(), "subtask 3 runs")
        until(lambda: ran_so_far(pipeline).count("permuter set-1 st-") == 3, "the others have run")
        until(lambda: "3/4" in pipeline.console("display", "--task", "1").out, "that is known")
        result = pipeline.console("halt", "--instance", "1").out
        assert "Halting task(s) 1, 2, 3, 4, 5 in instance 1" in result
        assert runner.wait(timeout=60) == 5
    finally:
        (pipeline.folder / "go").touch()
        runner.kill()
        runner.wait()
    shown = pipeline.console("display", "--instance", "1", "--displayType", "full").out
    assert "HALTED - EXECUTING       3/4" in shown
    assert "HALTED" in pipeline.console("display", "--instance", "1", "--displayType", "alerts").out
    pipeline.ran()
    result = pipeline.console("restart", "--instance", "1").out
    assert "Restarting task(s) 1 in instance 1 with restart mode Resubmit" in result
    assert "Restarting task(s) 2 in instance 1 with restart mode Restart from beginning" in result
    assert pipeline.rekindle("work", "-j", "2").code == 0
    ran = pipeline.ran()
    assert [line for line in ran if line.startswith("permuter set-1")] == [
        "permuter set-1 st-3",
        "permuter set-1 store",
    ]
    assert set(pipeline.states().values()) == {"completed"}


def test_halt_ends_the_task_of_a_dead_runner_and_no_subtask_starts_after_it(pipeline: Pipeline) -> None:
    spec = SPEC.replace('"python3 steps.py permuter ', '"sh wait.sh ${item} && python3 steps.py permuter ')
    (pipeline.folder / "sample.yaml").write_text(spec.replace("subtask_0: true", "subtask_0: false"))
    (pipeline.folder / "wait.sh").write_text(
        "case $1 in */image-1/*) touch waits; while ! test -e go; do sleep 0.02; done;; esac\n"
    )
    pipeline.console("start", "sample", "halted")
    runner = pipeline.in_the_background("work", "-j", "1")
    try:
        until(lambda: (pipeline.folder / "waits").exists(), "subtask 1 runs")
        runner.kill()
        runner.wait()
        pipeline.console("halt", "--instance", "1")
    finally:
        (pipeline.folder / "go").touch()
        runner.kill()
        runner.wait()
    assert set(pipeline.states().values()) == {"canceled"}
    assert not [one for one in pipeline.ran() if one.endswith(("st-1", "st-2", "st-3", "store"))]
    assert pipeline.rekindle("work", "-j", "1").code == 0
    assert pipeline.ran() == [], "nothing starts after it"
    shown = pipeline.console("display", "--instance", "1", "--displayType", "alerts").out.splitlines()
    assert sorted(line.split()[2] for line in shown if "HALTED" in line) == ["1", "2", "3", "4", "5"]


def test_alerts_are_acknowledged_and_new_ones_are_not(failed: Pipeline) -> None:
    def shown() -> list[tuple[str, bool]]:
        table = failed.console("display", "--instance", "1", "--displayType", "alerts").out.splitlines()
        rows = [line for line in table if " ERROR " in line or " HALTED " in line]
        return sorted((line.split()[2], not line.endswith("-")) for line in rows)

    assert shown() == [("1", False), ("2", False)]
    assert "1 alert(s) acknowledged" in failed.console("acknowledge", "--task", "1").out
    assert shown() == [("1", True), ("2", False)]
    failed.console("restart", "--restartMode", "resubmit", "--task", "1", "--work", expect=2)
    assert shown() == [("1", False), ("1", True), ("2", False)]
    assert "2 alert(s) acknowledged" in failed.console("acknowledge", "--instance", "1").out
    assert all(known for _, known in shown())
    assert "no alert is left" in failed.console("acknowledge", "--instance", "1").out
    failed.console("acknowledge", "--instance", "9", expect=1)


def test_statistics_have_the_cost_by_node(failed: Pipeline) -> None:
    shown = failed.console("display", "--instance", "1", "--displayType", "statistics").out
    costs = shown.partition("Cost Estimate")[2].splitlines()
    assert [line.split()[0] for line in costs[4:7]] == ["permuter", "flip", "averaging"]
    permuter = costs[4].split()
    assert (permuter[1], permuter[3]) == ("2", "2")
    assert float(permuter[4]) == pytest.approx(float(permuter[2]), abs=0.0002), "two tasks remain, at the mean"
    assert costs[5].split()[-1] == "unknown"


def test_halting_an_ended_task_is_refused(failed: Pipeline) -> None:
    result = failed.console("halt", "--task", "1", expect=1)
    assert "not halted: task 1 permuter[set-1]: it is ERROR - WAITING_TO_STORE" in result.err
    assert "Halting task(s) 3, 4, 5" in failed.console("halt", "--instance", "1").out
    assert "no incomplete task" in failed.console("halt", "--instance", "1").out


def test_a_task_that_stopped_while_marshaling_marshals_again(pipeline: Pipeline) -> None:
    spec = SPEC.replace("marshal permuter raw", "marshal permuter raw --no-such-flag")
    (pipeline.folder / "sample.yaml").write_text(spec)
    pipeline.console("start", "sample", "marshaling", "--work", expect=2)
    assert "ERROR - MARSHALING" in pipeline.console("display", "--task", "1").out
    refused = pipeline.console("restart", "--restartMode", "RESUBMIT", "--task", "1", expect=1)
    assert "it stopped while MARSHALING, and RESUBMIT starts after that step" in refused.err
    result = pipeline.console("restart", "--task", "1", "--dry-run").out
    assert "with restart mode Resume current step" in result
    assert "1 permuter[set-1]: starts from the beginning" in result
