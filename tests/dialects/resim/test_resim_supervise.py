"""Statuses, limits, guards, exit codes and durations, as pinned by the tests of ReSim's supervise."""

from __future__ import annotations

import signal
import time

import pytest
from resim_batch import CONFIG, Lab, until

from rekindle.dialects.resim.options import parse_go_duration
from rekindle.domain.errors import BadValue


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("1h1m1s1ms1us1ns", 3661.001001001),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("0", 0),
        ("-0s", 0),
        ("+5s", 5),
        ("30m1h", 5400),
    ],
)
def test_durations_are_parsed_like_go(text: str, seconds: float) -> None:
    assert parse_go_duration("--wait-timeout", text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "3", "1d", "1h 30m", " 1s", "s", ".", ".s", "1x", "-5s", "1e3s", "h1", "1S", "--1s", "9999999h", "٣s"]
)
def test_an_invalid_duration_is_refused(lab: Lab, text: str) -> None:
    """In ReSim, an invalid duration is silently zero."""
    with pytest.raises(BadValue, match="--wait-timeout"):
        parse_go_duration("--wait-timeout", text)


REFUSED = (
    ("--max-rerun-attempts", "-1", "at least 0"),
    ("--max-rerun-attempts", "x", "x"),
    ("--rerun-max-failure-percent", "0", "greater than 0"),
    ("--rerun-max-failure-percent", "101", "at most 100"),
    ("--rerun-max-failure-percent", "-3", "greater than 0"),
    ("--rerun-max-failure-percent", "nan", "greater than 0"),
    ("--rerun-on-states", "Passed", "unsupported state 'Passed'"),
    ("--rerun-on-states", "Error,,Warning", "unsupported state ''"),
    ("--fail-on-states", "Eror", "Error"),
    ("--poll-every", "soon", "not a duration"),
    ("--poll-every", "0s", "must be above 0"),
    ("--wait-timeout", "1d", "not a duration"),
    ("--wait-timeout", "-1s", "negative"),
    ("--batch-name", "x", "--batch-id and --batch-name cannot be combined"),
    ("--batch-id", "x", "unable to parse"),
    ("--batch-id", "", "neither"),
    ("--batch-id", "77", "no such batch"),
    ("--project", "plane", "no such batch"),
    ("--nonsense", "x", "--nonsense"),
)


def test_an_invalid_value_exits_with_1_and_changes_nothing(lab: Lab) -> None:
    batch = lab.create()
    for option, value, result in REFUSED:
        known = {"--batch-id": batch, "--rerun-on-states": "Error", option: value}
        words = [word for pair in known.items() for word in pair]
        assert result in lab.batches("supervise", *words, expect=1).err, (option, value)
    assert "--rerun-on-states" in lab.batches("supervise", "--batch-id", batch, expect=1).err
    assert "did you mean" in lab.batches("supervize", "--batch-id", batch, expect=1).err
    assert lab.get(batch)["status"] == "SUBMITTED"
    assert lab.ran() == []


def test_values_at_the_bounds_are_accepted(lab: Lab) -> None:
    batch = lab.create()
    lab.wait(batch)
    for percent in ("1", "50", "100", "0.5"):
        lab.supervise(batch, "--rerun-max-failure-percent", percent, "--max-rerun-attempts", "0")


def two(lab: Lab) -> str:
    """A batch of two tests."""
    given = ("--project", "car", "--build-id", "planner-7", "--experience-tags", "nightly", "--github")
    return lab.batches("create", *given).out.strip().removeprefix("batch_id=")


def test_half_failed_at_a_limit_of_50_percent_reruns(lab: Lab) -> None:
    lab.order("flaky-merge")
    assert "50.0 %" in lab.supervise(two(lab), "--rerun-max-failure-percent", "50").err
    assert lab.ran().count("experience merge") == 2


def test_two_thirds_failed_at_a_limit_of_34_percent_do_not_rerun(lab: Lab) -> None:
    lab.order("broken-merge", "broken-turn")
    batch = lab.create()
    result = lab.supervise(batch, "--rerun-max-failure-percent", "34", expect=2)
    assert "66.7 % fail, more than 34 %" in result.err
    assert [one["runCounter"] for one in lab.tests(batch).values()] == [1, 1, 1]


def test_supervise_reruns_until_the_batch_succeeds(lab: Lab) -> None:
    drive = lab.folder / "drive.sh"
    drive.write_text(
        'echo "experience" >> "$RESIM_CONFIG_DIR/ran.txt"; touch track.txt; test "$REKINDLE_ATTEMPT" = 3\n'
    )
    lab.supervise(two(lab), "--max-rerun-attempts", "5", "--rerun-max-failure-percent", "100")
    assert lab.ran() == ["experience"] * 6


def test_one_rerun_that_fails_again_is_an_error(lab: Lab) -> None:
    lab.order("broken-turn")
    batch = lab.create()
    result = lab.supervise(batch, expect=2)
    assert "the limit of 1 rerun is reached" in result.err
    assert lab.tests(batch)["turn"]["runCounter"] == 2


def test_zero_rerun_attempts_rerun_nothing(lab: Lab) -> None:
    lab.order("flaky-turn")
    batch = lab.create()
    lab.supervise(batch, "--max-rerun-attempts", "0", expect=2)
    assert lab.tests(batch)["turn"]["runCounter"] == 1
    lab.supervise(batch, states="", expect=2)
    assert lab.tests(batch)["turn"]["runCounter"] == 1


def test_only_the_given_states_run_again(lab: Lab) -> None:
    lab.order("broken-turn")
    lab.finds("merge", "WARNING drifts")
    lab.finds("stop", "BLOCKER ran over it")
    batch = lab.create()
    lab.supervise(batch, states="warning", expect=2)
    assert [one["runCounter"] for one in lab.tests(batch).values()] == [2, 1, 1]
    lab.supervise(batch, "--rerun-max-failure-percent", "100", states="Blocker,ERROR", expect=2)
    assert [one["runCounter"] for one in lab.tests(batch).values()] == [2, 2, 2]


def test_the_worst_remaining_state_decides_the_exit_code(lab: Lab) -> None:
    lab.finds("merge", "WARNING drifts")
    lab.finds("stop", "BLOCKER ran over it")
    lab.order("broken-turn")
    batch = lab.create("--allowable-failure-percent", "34")
    never = ("--max-rerun-attempts", "0")
    result = lab.supervise(batch, *never, states="Error,Blocker,Warning", expect=2)
    assert [line.split()[-1] for line in result.err.splitlines()[-3:]] == ["WARNING", "ERROR", "BLOCKER"]
    assert lab.get(batch)["status"] == "SUCCEEDED", "so many errors are allowed"
    assert lab.get(batch)["conflatedStatus"] == "BLOCKER"
    assert lab.reports()[-1]["turn"] is None
    lab.supervise(batch, *never, states="Blocker,Warning", expect=7)
    lab.supervise(batch, *never, states="Warning", expect=8)
    lab.supervise(batch, *never, "--fail-on-states", "Warning", states="Error", expect=8)
    assert lab.supervise(batch, *never, "--quiet", "--fail-on-states", "Error", states="Warning", expect=2).err == ""
    lab.wait(batch)


def test_waiting_ends_with_success_error_cancelled_or_timed_out(lab: Lab) -> None:
    first = lab.create()
    timed_out = lab.batches(
        "wait", "--batch-id", first, "--no-work", "--wait-timeout", "200ms", "--poll-every", "50ms", expect=6
    )
    assert "3 to run; no runner is alive" in timed_out.err
    assert "timed out after 0.2 s, last state SUBMITTED" in timed_out.err
    assert "SUCCEEDED" in lab.wait(first).err
    lab.order("broken-stop")
    assert "ERROR" in lab.wait(lab.create(), expect=2).err
    cancelled = lab.create()
    lab.batches("cancel", "--batch-id", cancelled)
    assert "CANCELLED" in lab.wait(cancelled, expect=5).err
    lab.supervise(cancelled, expect=5)
    assert lab.tests(cancelled)["stop"]["conflatedStatus"] == "CANCELLED"


def test_waiting_for_a_held_batch_is_refused(lab: Lab) -> None:
    """The batch stopped in a status that is not final."""
    batch = lab.create()
    lab.rekindle("hold", "-w", batch)
    result = lab.wait(batch, expect=1).err
    assert "stopped in the state SUBMITTED" in result
    assert f"rekindle release -w {batch}" in result
    lab.supervise(batch, expect=1)


def test_a_killed_supervise_continues(lab: Lab) -> None:
    """ReSim cannot continue a supervision."""
    lab.order("broken-turn")
    batch = lab.create()
    supervisor = lab.in_the_background(
        *("resim", "batches", "supervise", "--batch-id", batch, "--rerun-on-states", "Error", "-j", "1"),
        *("--max-rerun-attempts", "2"),
    )
    try:
        until(lambda: lab.tests(batch)["turn"]["runCounter"] >= 2, "it has run again")
    finally:
        supervisor.kill()
        supervisor.wait()
    lab.supervise(batch, "--max-rerun-attempts", "2", expect=2)
    reruns = lab.rekindle("reruns", "list", "--json").json["reruns"]
    assert sum(one["kind"] == "supervise" for one in reruns) == 2


def test_earlier_attempts_can_be_inspected(lab: Lab) -> None:
    """In ReSim, earlier attempts are not accessible."""
    lab.order("flaky-merge")
    batch = lab.create()
    lab.supervise(batch)
    test = lab.tests(batch)["merge"]["jobID"]
    (log,) = lab.batches("logs", "--batch-id", batch, "--test-ids", test).json
    assert (log["attempt"], log["superseded"], log["executionStep"]) == (1, True, "EXPERIENCE")
    with open(log["location"]) as file:
        assert file.read() == "lost the lane\n"
    assert lab.batches("logs", "--batch-id", batch, "--attempt", "2").json == []


def test_a_container_timeout_ends_a_test(lab: Lab) -> None:
    quick = CONFIG.replace("container_timeout_seconds: 600", "container_timeout_seconds: 1")
    (lab.folder / "resim.yaml").write_text(quick)
    lab.order("stuck-stop")
    batch = lab.create()
    lab.wait(batch, expect=2)
    assert lab.tests(batch)["stop"]["executionError"]["errorCode"] == "timeout"


@pytest.mark.parametrize("command", [("wait",), ("supervise", "--rerun-on-states", "Error")])
def test_at_the_time_out_a_running_test_continues_and_the_next_command_adopts_it(
    lab: Lab, command: tuple[str, ...]
) -> None:
    lab.order("stuck-merge")
    batch = lab.create()
    began = time.monotonic()
    words = (*command, "--batch-id", batch, "-j", "1", "--wait-timeout", "1500ms", "--poll-every", "1h")
    lab.batches(*words, expect=6)
    assert time.monotonic() - began < 20
    assert lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING"
    lab.mend("stuck-merge")
    lab.wait(batch)
    assert lab.seen().count("experience merge") == 1, "it was adopted, and ran once"
    assert [one["runCounter"] for one in lab.tests(batch).values()] == [1, 1, 1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [("wait",), ("supervise", "--rerun-on-states", "Error")])
def test_an_interrupt_ends_the_command_and_no_test(lab: Lab, command: tuple[str, ...], number: signal.Signals) -> None:
    lab.order("stuck-merge", "broken-turn")
    batch = lab.create()
    waiting = lab.in_the_background("resim", "batches", *command, "--batch-id", batch, "-j", "1")
    try:
        until(lambda: lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING", "it runs")
        waiting.send_signal(number)
        assert waiting.wait(timeout=20) not in (0, 2, 5)
    finally:
        waiting.kill()
        waiting.wait()
    assert lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING"
    lab.mend("stuck-merge")
    result = lab.batches(*command, "--batch-id", batch, "-j", "1", "--poll-every", "100ms", expect=2)
    assert command[0] == "wait" or "supervision 1 continues" in result.err
    assert lab.seen().count("experience merge") == 1
    assert lab.tests(batch)["merge"]["jobStatus"] == "SUCCEEDED"


def test_cancel_on_interrupt_cancels_the_running_test(lab: Lab) -> None:
    lab.order("stuck-merge")
    batch = lab.create()
    words = ("supervise", "--batch-id", batch, "--rerun-on-states", "Error", "-j", "1", "--cancel-on-interrupt")
    supervisor = lab.in_the_background("resim", "batches", *words)
    try:
        until(lambda: lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING", "it runs")
        supervisor.terminate()
        assert supervisor.wait(timeout=20) == 5
    finally:
        supervisor.kill()
        supervisor.wait()
    assert lab.tests(batch)["merge"]["jobStatus"] == "CANCELLED"
    refused = lab.batches("wait", "--batch-id", batch, "--no-work", "--cancel-on-interrupt", expect=1).err
    assert "--cancel-on-interrupt and --no-work cannot be combined" in refused


def test_cancel_ends_the_test_of_a_dead_runner(lab: Lab) -> None:
    lab.order("stuck-merge")
    batch = lab.create()
    runner = lab.in_the_background("work", "-j", "1")
    try:
        until(lambda: lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING", "it runs")
    finally:
        runner.kill()
        runner.wait()
    lab.batches("cancel", "--batch-id", batch)
    assert {one["jobStatus"] for one in lab.tests(batch).values()} == {"CANCELLED"}
    lab.mend("stuck-merge")
    lab.wait(batch, expect=5)
    assert "metrics merge" not in " ".join(lab.seen())


def test_failing_batch_metrics_are_counted_beside_the_tests(lab: Lab) -> None:
    (lab.folder / "report.py").write_text("raise SystemExit(3)\n")
    batch = lab.create()
    result = lab.supervise(batch, expect=2)
    assert "attempt 1: 0 of 3 tests match (0.0 %), and the batch metrics: rerun 1" in result.err
    assert "batch-metrics: ERROR" in result.err
    summary = lab.batches("get", "--batch-id", batch, "--markdown").out.splitlines()
    assert summary[2:] == ["- 3 total tests", "- 3 **Passed**", "- 0 **Blocking**", "- batch metrics: **Erroring**"]


def test_wait_and_get_exit_with_the_states_that_remain(lab: Lab) -> None:
    lab.finds("merge", "WARNING drifts")
    lab.finds("stop", "BLOCKER ran over it")
    batch = lab.create()
    lab.wait(batch)
    for states, code in (("Warning", 8), ("blocker,warning", 7), ("Error", 0)):
        quiet = lab.batches("wait", "--batch-id", batch, "--quiet", "--fail-on-states", states, expect=code)
        assert quiet.err == ""
        got = lab.batches("get", "--batch-id", batch, "--fail-on-states", states, expect=code)
        assert got.json["status"] == "SUCCEEDED"
        assert (
            lab.batches("get", "--batch-id", batch, "--exit-status", "--fail-on-states", states, expect=code).out == ""
        )
    for command in ("wait", "get"):
        assert "Eror" in lab.batches(command, "--batch-id", batch, "--fail-on-states", "Eror", expect=1).err


def test_all_tests_and_metrics_only_rerun_the_metrics_stage_of_every_test(lab: Lab) -> None:
    batch = lab.create()
    lab.wait(batch)
    lab.seen()
    lab.batches("rerun", "--batch-id", batch, "--all-tests", "--rerun-metrics-only")
    lab.wait(batch)
    assert lab.ran() == ["batch-metrics", "metrics merge", "metrics stop", "metrics turn"]
    lab.batches("rerun", "--batch-id", batch, "--all-tests")
    lab.wait(batch)
    assert [line for line in lab.ran() if line.startswith("experience")] == [
        "experience merge",
        "experience stop",
        "experience turn",
    ]
    for words in (("--rerun-metrics-only",), ("--from", "metrics"), ("--all-tests", "--test-ids", "1")):
        lab.batches("rerun", "--batch-id", batch, *words, expect=1)
    assert lab.ran() == []


def test_waiting_is_woken_by_another_runner(lab: Lab) -> None:
    lab.order("slow-turn")
    batch = lab.create()
    runner = lab.in_the_background("work", "-j", "1")
    try:
        lab.batches("wait", "--batch-id", batch, "--no-work", "--poll-every", "1h", "--wait-timeout", "2m")
    finally:
        runner.kill()
        runner.wait()
    assert lab.get(batch)["status"] == "SUCCEEDED"
