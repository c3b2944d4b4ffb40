"""Commands: what they see, how they end, and what is kept of them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from harness import WorkerHarness, alive, only_files_in, pid_in, write_pid

from rekindle.domain.definition import Step
from rekindle.domain.states import Cause, State
from rekindle.journal.paths import live_log, scratch_path
from rekindle.journal.records import Ended, RecordedCode, Started, StepEnded, StepStarted


def test_a_command_that_succeeds_is_completed_and_accounted(harness: WorkerHarness) -> None:
    end = harness.command("echo hello")
    assert (end.state, end.cause, end.exit_code) == (State.COMPLETED, None, 0)
    assert end.started is not None
    assert end.started <= end.ended
    assert end.cpu_seconds is not None
    assert end.max_rss_bytes is not None
    assert end.max_rss_bytes > 100_000
    assert [(step.position, step.name, step.state) for step in end.steps] == [(0, "main", State.COMPLETED)]
    assert Path(f"{harness.store}/attempts/00/1.0.out").read_text() == "hello\n"


def test_an_attempt_that_leaves_nothing_leaves_no_file_and_no_folder(harness: WorkerHarness) -> None:
    harness.command("/bin/true")
    harness.command("/bin/true")
    assert only_files_in(harness.store / "attempts") == []
    assert not (harness.store / "attempts" / "00" / "1").exists()


def test_starts_are_journalled_before_ends(harness: WorkerHarness) -> None:
    harness.command("/bin/true")
    kinds = [type(record) for record in harness.records[harness.workers[0].name]]
    assert kinds[1:] == [RecordedCode, Started, Ended]


@pytest.mark.parametrize("code", [1, 3, 127, 255])
def test_a_return_code_that_is_not_zero_is_cause_exit(harness: WorkerHarness, code: int) -> None:
    end = harness.command(("sh", "-c", f"echo told >&2; exit {code}"))
    assert (end.state, end.cause, end.exit_code, end.signal) == (State.FAILED, Cause.EXIT, code, None)
    assert end.failure is not None
    assert end.failure.stderr == "told\n"
    assert end.steps[0].exit_code == code


def test_a_command_killed_by_a_signal_names_it(harness: WorkerHarness) -> None:
    end = harness.command(("sh", "-c", "kill -SEGV $$"))
    assert (end.cause, end.signal, end.exit_code) == (Cause.SIGNAL, signal.SIGSEGV, None)
    assert end.failure is not None
    assert "SIGSEGV" in end.failure.message


def test_a_shells_128_and_n_is_a_signal(harness: WorkerHarness) -> None:
    end = harness.command("sh -c 'kill -9 $$'; exit $?")
    assert (end.cause, end.signal, end.exit_code) == (Cause.SIGNAL, 9, 137)


def test_128_and_n_without_a_shell_is_a_return_code(harness: WorkerHarness) -> None:
    end = harness.command(("python3", "-c", "raise SystemExit(137)"))
    assert (end.cause, end.signal, end.exit_code) == (Cause.EXIT, None, 137)


def test_a_timeout_kills_the_whole_group(harness: WorkerHarness, tmp_path: Path) -> None:
    child = tmp_path / "child"
    inner = f"{write_pid(child)}; exec sleep 600"
    end = harness.run(Step("main", run=f"sh -c '{inner}' & sleep 600"), time=0.5)
    assert (end.state, end.cause) == (State.FAILED, Cause.TIMEOUT)
    assert end.failure is not None
    assert "0.5 s" in end.failure.message
    evidence = json.loads(end.evidence or "")
    assert evidence["limit_seconds"] == 0.5
    assert evidence["elapsed_seconds"] >= 0.5
    pid = pid_in(child)
    assert pid is not None
    assert not alive(pid)


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(harness: WorkerHarness) -> None:
    end = harness.command("trap '' TERM; while :; do sleep 0.1; done", time=0.2)
    assert (end.cause, end.signal) == (Cause.TIMEOUT, 9)


def test_the_limit_of_an_assignment_stands_over_the_recipes(harness: WorkerHarness) -> None:
    work = harness.make(harness.recipe(Step("main", run="sleep 600"), time=500.0), time=0.2)
    harness.give(work)
    assert harness.end_of(work).cause == Cause.TIMEOUT


def test_a_missing_program_is_named(harness: WorkerHarness) -> None:
    end = harness.command("no-such-program --x")
    assert (end.state, end.cause) == (State.FAILED, Cause.START)
    assert end.failure is not None
    assert "no-such-program" in end.failure.message
    assert end.steps[0].cause == Cause.START


def test_a_file_that_is_not_executable_is_told_from_one_that_is_missing(harness: WorkerHarness) -> None:
    (harness.project / "tool").write_text("#!/bin/sh\n")
    (harness.project / "broken").write_text("#!/no/such/interpreter\n")
    (harness.project / "broken").chmod(0o755)
    messages = [harness.command(name).failure.message for name in ("./tool", "./absent", "./broken")]  # type: ignore[union-attr]
    assert "not executable" in messages[0]
    assert "no such file" in messages[1]
    assert "interpreter" in messages[2]


def test_a_script_without_a_first_line_is_the_shells(harness: WorkerHarness) -> None:
    (harness.project / "tool").write_text("echo from $0 $1\n")
    (harness.project / "tool").chmod(0o755)
    assert harness.command("./tool x").state == State.COMPLETED


def test_arguments_that_are_too_long_are_told_as_such(harness: WorkerHarness) -> None:
    end = harness.command(("/bin/true", "x" * 200_000))
    assert end.cause == Cause.START
    assert end.failure is not None
    assert "too long" in end.failure.message


def test_a_project_folder_that_is_gone_is_cause_start(harness: WorkerHarness, tmp_path: Path) -> None:
    end = harness.command("/bin/true", directory=str(tmp_path / "nowhere"))
    assert end.cause == Cause.START
    assert end.failure is not None
    assert "nowhere" in end.failure.message


def test_a_value_that_is_not_there_is_cause_start_and_the_worker_goes_on(harness: WorkerHarness) -> None:
    end = harness.command("echo ${params.nope}")
    assert end.cause == Cause.START
    assert end.failure is not None
    assert "${params.nope}" in end.failure.message
    assert harness.command("/bin/true").state == State.COMPLETED


def test_a_declared_output_that_is_not_there_fails_the_attempt(harness: WorkerHarness) -> None:
    end = harness.command("touch made", outputs={"one": "made", "two": "build/${params.x}"}, params={"x": "never"})
    assert (end.state, end.cause, end.exit_code) == (State.FAILED, Cause.MISSING_OUTPUT, 0)
    assert end.failure is not None
    assert "two (build/never)" in end.failure.message
    assert "made" not in end.failure.message
    assert end.steps[0].state == State.FAILED


def test_a_missing_input_keeps_the_attempt_from_starting(harness: WorkerHarness) -> None:
    end = harness.command("touch ran", inputs={"raw": "data/raw.csv"})
    assert (end.state, end.cause, end.started, end.steps) == (State.FAILED, Cause.MISSING_INPUT, None, ())
    assert end.failure is not None
    assert "raw (data/raw.csv)" in end.failure.message
    assert not (harness.project / "ran").exists()
    assert harness.all(Started) == []


def test_the_environment_is_what_the_contract_says(harness: WorkerHarness) -> None:
    recipe = harness.recipe(
        Step("look", run="env > seen; ls -d $REKINDLE_DIR > dir"),
        env={"GREETING": "hello ${matrix.who}", "HOME": "/nowhere"},
    )
    work = harness.make(recipe, binding={"who": "you"}, number=3, inputs='{"a": {"result": 1}}', env={"MORE": "x"})
    harness.give(work)
    assert harness.end_of(work).state == State.COMPLETED
    seen = dict(line.partition("=")[::2] for line in (harness.project / "seen").read_text().splitlines())
    expected = {
        "REKINDLE_WORKFLOW": "wf",
        "REKINDLE_JOB": str(work.job),
        "REKINDLE_JOB_NAME": work.name,
        "REKINDLE_ATTEMPT": "3",
        "REKINDLE_STEP": "look",
        "REKINDLE_DIR": work.folder,
        "REKINDLE_INPUTS": '{"a": {"result": 1}}',
        "GREETING": "hello you",
        "HOME": "/nowhere",
        "MORE": "x",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert (harness.project / "dir").read_text().strip() == work.folder


def test_long_inputs_come_in_a_file_that_goes_with_the_attempt(harness: WorkerHarness) -> None:
    document = json.dumps({"a": {"result": "x" * 100_000}})
    script = "import json,os; print(len(open(json.loads(os.environ['REKINDLE_INPUTS'])['file']).read()))"
    work = harness.make(harness.recipe(Step("main", run=("python3", "-c", script))), inputs=document)
    harness.give(work)
    assert harness.end_of(work).state == State.COMPLETED
    assert harness.log(work) == f"{len(document)}\n"
    assert not Path(f"{work.folder}.inputs.json").exists()


def test_a_job_may_run_in_its_attempts_folder(harness: WorkerHarness) -> None:
    end = harness.command("pwd > here; echo x > out.txt", workdir="attempt", outputs={"o": "out.txt"})
    assert end.state == State.COMPLETED
    folder = harness.store / "attempts" / "00" / "1"
    assert (folder / "here").read_text().strip() == str(folder)


def test_signals_that_rekindle_ignores_are_not_ignored_by_jobs(harness: WorkerHarness) -> None:
    end = harness.command(("sh", "-c", "grep -E 'SigIgn|SigBlk' /proc/self/status; cat"))
    assert end.state == State.COMPLETED
    log = Path(f"{harness.store}/attempts/00/1.0.out").read_text().split()
    threads_own = 0x3 << 31  # signals 32 and 33 are glibc's: no program can set them
    assert [int(log[1], 16) & ~threads_own, int(log[3], 16) & ~threads_own] == [0, 0]


def test_a_result_is_kept_and_its_file_removed(harness: WorkerHarness) -> None:
    work = harness.make(harness.recipe(Step("main", run="""printf '{"score": 0.5}\\n' > $REKINDLE_RESULT""")))
    harness.give(work)
    end = harness.end_of(work)
    assert end.result == '{"score": 0.5}'
    assert end.steps[0].result == end.result
    assert not Path(work.folder).exists()


def test_a_result_that_is_not_json_fails_the_attempt(harness: WorkerHarness) -> None:
    end = harness.command("echo nonsense > $REKINDLE_RESULT")
    assert (end.state, end.cause) == (State.FAILED, Cause.EXCEPTION)
    assert end.failure is not None
    assert end.failure.type == "BadResult"


def test_steps_run_in_order_and_see_earlier_results(harness: WorkerHarness) -> None:
    end = harness.run(
        Step("first", run="""echo one; echo '{"x": [10, 20]}' > $REKINDLE_RESULT"""),
        Step("second", run="echo got ${steps.first.result.x.1} in $REKINDLE_STEP"),
    )
    assert end.state == State.COMPLETED
    assert [step.name for step in end.steps] == ["second"]
    assert [type(record) for record in harness.records[harness.workers[0].name]][1:] == [
        RecordedCode,
        Started,
        StepEnded,
        StepStarted,
        Ended,
    ]
    assert Path(f"{harness.store}/attempts/00/1.0.out").read_text() == "one\n"
    assert Path(f"{harness.store}/attempts/00/1.1.out").read_text() == "got 20 in second\n"


def test_a_step_that_fails_is_the_last(harness: WorkerHarness) -> None:
    end = harness.run(Step("a", run="/bin/true"), Step("b", run="exit 4"), Step("c", run="touch ran"))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 4)
    assert [(step.position, step.name) for step in end.steps] == [(1, "b")]
    assert not (harness.project / "ran").exists()


def test_an_attempt_may_start_at_a_later_step_with_kept_results(harness: WorkerHarness) -> None:
    recipe = harness.recipe(Step("a", run="touch ran"), Step("b", run="echo ${steps.a.result.n}"))
    work = harness.make(recipe, start_step=1, kept={"a": {"n": 7}})
    harness.give(work)
    assert harness.end_of(work).state == State.COMPLETED
    assert harness.log(work, position=1) == "7\n"
    assert not (harness.project / "ran").exists()


def test_only_the_tail_of_a_large_stderr_is_kept_with_the_failure(harness: WorkerHarness) -> None:
    script = "import sys; sys.stderr.write('x' * 300000 + 'the end\\n'); sys.exit(1)"
    work = harness.make(harness.recipe(Step("main", run=("python3", "-c", script))))
    harness.give(work)
    end = harness.end_of(work)
    assert end.failure is not None
    assert len(end.failure.stderr) == 8192
    assert end.failure.stderr.endswith("xthe end\n")
    log = harness.log(work, "err")
    assert log is not None
    assert len(log) == 300_008


def test_what_a_command_leaves_running_is_killed_with_it(harness: WorkerHarness, tmp_path: Path) -> None:
    child, daemon = tmp_path / "child", tmp_path / "daemon"
    harness.command(
        f"(sh -c '{write_pid(child)}; sleep 600; echo late') & "
        f"setsid -f sh -c '{write_pid(daemon)}; sleep 600; echo late'; "
        f"while ! [ -e {child} -a -e {daemon} ]; do sleep 0.02; done"
    )
    for path in (child, daemon):
        pid = pid_in(path)
        assert pid is not None
        assert not alive(pid)


def test_logs_of_attempts_are_not_mixed(harness: WorkerHarness) -> None:
    recipe = harness.recipe(Step("main", run="echo out ${job.name}; echo err ${job.name} >&2"))
    silent = harness.recipe(Step("main", run="/bin/true"))
    work = [harness.make(silent if n % 3 == 0 else recipe) for n in range(30)]
    harness.give(*work)
    harness.until(lambda: len(harness.ends()) == 30)
    for n, one in enumerate(work):
        assert harness.log(one) == (None if n % 3 == 0 else f"out {one.name}\n")
        assert harness.log(one, "err") == (None if n % 3 == 0 else f"err {one.name}\n")


def test_a_folder_with_something_in_it_stays_and_the_next_attempt_gets_an_empty_one(harness: WorkerHarness) -> None:
    recipe = harness.recipe(Step("main", run="ls -A $REKINDLE_DIR; touch $REKINDLE_DIR/${job.name}"))
    work = [harness.make(recipe) for _ in range(3)]
    harness.give(*work)
    harness.until(lambda: len(harness.ends()) == 3)
    for one in work:
        assert harness.log(one) is None
        assert [path.name for path in Path(one.folder).iterdir()] == [one.name]


def test_a_zero_byte_in_an_argument_is_cause_start(harness: WorkerHarness) -> None:
    assert harness.command(("echo", "a\0b")).cause == Cause.START


def test_what_a_step_printed_is_kept_although_it_removed_its_folders(harness: WorkerHarness) -> None:
    end = harness.command("echo told; rm -r $(dirname $REKINDLE_DIR)")
    assert end.state == State.COMPLETED
    assert Path(f"{harness.store}/attempts/00/1.0.out").read_text() == "told\n"


@pytest.mark.parametrize("kind", ["command", "call"])
def test_what_runs_can_be_read_while_it_runs(harness: WorkerHarness, kind: str) -> None:
    harness.module("m", "import time\ndef f(): print('so far', flush=True); time.sleep(600)\n")
    step = Step("main", run="echo so far; sleep 600") if kind == "command" else Step("main", call="m:f")
    work = harness.make(harness.recipe(step))
    harness.give(work)
    harness.until(lambda: harness.started(work))
    scratch = scratch_path(str(harness.store), harness.workers[0].name)
    harness.until(lambda: Path(live_log(scratch, "out")).read_text() == "so far\n")
    harness.executor.cancel(harness.workers[0].name, [work.token])
    harness.end_of(work)
    assert harness.log(work) == "so far\n"
    assert Path(live_log(scratch, "out")).read_text() == ""
