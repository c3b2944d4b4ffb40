"""The promises of ReSim's document on re-running partial batches."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from resim_batch import CONFIG, Lab, until

from rekindle.dialects.resim import rerun as resim_rerun

NATIVE = """\
name: native
project: car
params: {speed: 30}
jobs:
  test:
    matrix: {scene: [a, b]}
    steps:
      - {name: experience, run: "echo FIRST ${matrix.scene} ${params.speed} >> ran.txt"}
      - {name: metrics, run: "true"}
  summary: {needs: [test], aggregate: true, run: "echo batch-metrics >> ran.txt"}
"""


def ids(lab: Lab, batch: str, *experiences: str) -> str:
    tests = lab.tests(batch)
    return ",".join(tests[name]["jobID"] for name in experiences)


def test_r1_a_subset_of_the_tests_runs_again(lab: Lab) -> None:
    batch = lab.create()
    lab.wait(batch)
    lab.ran()
    result = lab.batches("rerun", f"--batch-id={batch}", f"--test-ids={ids(lab, batch, 'merge', 'turn')}")
    assert result.out == "Batch rerun successfully!\n"
    assert lab.get(batch)["status"] == "EXPERIENCES_RUNNING"
    lab.wait(batch)
    assert lab.ran() == ["batch-metrics", "experience merge", "experience turn", "metrics merge", "metrics turn"]
    assert [one["runCounter"] for one in lab.tests(batch).values()] == [2, 2, 1]


def test_r1_any_other_id_refuses_the_whole_command(lab: Lab) -> None:
    first, second = lab.create(), lab.create()
    own, other = ids(lab, first, "merge"), ids(lab, second, "merge")
    lab.wait(first)
    before = (lab.rekindle("reruns", "list", "--json").out, lab.tests(first))
    metrics = str(int(ids(lab, first, "stop")) + 1)
    for wrong in (other, "11-aa", "merge", "999", f"{own},", metrics):
        result = lab.batches("rerun", "--batch-id", first, "--test-ids", f"{own},{wrong}", expect=1)
        assert "hint:" in result.err
    assert (
        f"batch 1 {lab.get(first)['friendlyName']} has no such test: {other}"
        in lab.batches("rerun", "--batch-id", first, "--test-ids", f"{own},{other}", expect=1).err
    )
    assert "batch-metrics stage" in lab.batches("rerun", "--batch-id", first, "--test-ids", metrics, expect=1).err
    assert (lab.rekindle("reruns", "list", "--json").out, lab.tests(first)) == before


def test_r2_without_test_ids_only_batch_metrics_run_again(lab: Lab) -> None:
    batch = lab.create()
    lab.wait(batch)
    lab.ran()
    lab.batches("rerun", "--batch-id", batch)
    assert lab.get(batch)["status"] == "BATCH_METRICS_QUEUED"
    lab.wait(batch)
    assert lab.ran() == ["batch-metrics"]
    assert len(lab.reports()) == 2


def test_r2_is_refused_without_batch_metrics(lab: Lab) -> None:
    (lab.folder / "resim.yaml").write_text(CONFIG.replace(", metrics_build: scores-2", ""))
    batch = lab.create()
    assert "no batch-metrics stage" in lab.batches("rerun", "--batch-id", batch, expect=1).err


def test_r3_both_stages_run_again_and_metrics_see_only_new_output(lab: Lab) -> None:
    drive = lab.folder / "drive.sh"
    drive.write_text(drive.read_text().replace("exit 0", 'echo "$REKINDLE_ATTEMPT" > "only-$REKINDLE_ATTEMPT"'))
    batch = lab.create()
    lab.wait(batch)
    assert "metrics turn: only-1 track.txt " in lab.seen()
    lab.batches("rerun", "--batch-id", batch, "--test-ids", ids(lab, batch, "turn"))
    lab.wait(batch)
    assert lab.seen() == ["batch-metrics", "experience turn", "metrics turn: only-2 track.txt "]


def test_r4_batch_metrics_see_old_and_new_results(lab: Lab) -> None:
    batch = lab.create("--parameter", "fog=yes")
    lab.wait(batch)
    lab.batches("rerun", "--batch-id", batch, "--test-ids", ids(lab, batch, "turn"))
    lab.wait(batch)
    first, second = lab.reports()
    assert first == {
        "merge": f'merge attempt 1 at {lab.folder}/scenes/merge 30 {{"fog": "yes"}}\n',
        "turn": 'turn attempt 1 at s3://scenes/turn 30 {"fog": "yes"}\n',
        "stop": f'stop attempt 1 at {lab.folder}/scenes/stop 7 {{"fog": "yes"}}\n',
    }
    assert second == {**first, "turn": 'turn attempt 2 at s3://scenes/turn 30 {"fog": "yes"}\n'}


def test_r4_batch_metrics_run_again_after_a_failed_rerun(lab: Lab) -> None:
    batch = lab.create()
    lab.wait(batch)
    lab.order("broken-turn")
    lab.batches("rerun", "--batch-id", batch, "--test-ids", ids(lab, batch, "turn"))
    lab.wait(batch, expect=2)
    assert [one["turn"] is None for one in lab.reports()] == [False, True]
    lab.batches("rerun", "--batch-id", batch)
    assert lab.get(batch)["status"] == "BATCH_METRICS_QUEUED"


def test_r5_a_rerun_uses_the_latest_definition(lab: Lab) -> None:
    batch = lab.create("--parameter", "fog=yes")
    lab.wait(batch)
    changed = CONFIG.replace("scenes/stop", "scenes/stop-line").replace('SPEED: "30"', 'SPEED: "50"')
    (lab.folder / "resim.yaml").write_text(changed)
    lab.batches("rerun", "--batch-id", batch, "--test-ids", ids(lab, batch, "stop", "turn"))
    lab.wait(batch)
    report = lab.reports()[-1]
    assert "/scenes/stop-line 7" in str(report["stop"])
    assert report["turn"] == 'turn attempt 2 at s3://scenes/turn 50 {"fog": "yes"}\n', "its parameters stay the batch's"
    assert str(report["merge"]).startswith("merge attempt 1")
    assert lab.get(batch)["revision"] == 2


def test_r5_of_batches_with_one_name_only_the_selected_gets_the_revision(lab: Lab) -> None:
    older, newer = lab.create("--batch-name", "tonight"), lab.create("--batch-name", "tonight")
    lab.wait(older)
    (lab.folder / "resim.yaml").write_text(CONFIG.replace('"30"', '"50"'))
    lab.batches("rerun", "--batch-id", older, "--test-ids", ids(lab, older, "turn"))
    assert (lab.get(older)["revision"], lab.get(newer)["revision"]) == (2, 1)
    assert lab.batches("get", "--batch-name", "tonight").json["batchID"] == newer


def test_r5_a_spec_file_that_changed_is_submitted_first(lab: Lab) -> None:
    (lab.folder / "spec.yaml").write_text(NATIVE)
    lab.rekindle("run", "spec.yaml", "-j", "2", "--param", "speed=50")
    lab.ran()
    (lab.folder / "spec.yaml").write_text(NATIVE.replace("FIRST", "LATEST"))
    lab.batches("rerun", "--batch-id", "1", "--test-ids", "2")
    lab.wait("1")
    assert lab.ran() == ["LATEST b 50", "batch-metrics"]
    (lab.folder / "spec.yaml").write_text("name: [")
    before = lab.rekindle("reruns", "list", "--json").out
    assert "spec.yaml" in lab.batches("rerun", "--batch-id", "1", "--test-ids", "2", expect=1).err
    assert lab.rekindle("reruns", "list", "--json").out == before
    (lab.folder / "spec.yaml").unlink()
    lab.batches("rerun", "--batch-id", "1", "--test-ids", "2")


def test_r5_a_refused_rerun_submits_no_revision(lab: Lab) -> None:
    batch = lab.create()
    lab.wait(batch)
    lab.rekindle("cancel", "-w", batch)
    test = ids(lab, batch, "merge")
    lab.rekindle("hold", test)
    (lab.folder / "resim.yaml").write_text(CONFIG.replace('"30"', '"50"'))
    lab.batches("rerun", "--batch-id", batch, "--test-ids", test, "--from", "nothing", expect=1)
    assert lab.get(batch)["revision"] == 1
    (lab.folder / "resim.yaml").write_text(CONFIG.replace("name: turn", "name: bend"))
    result = lab.batches("rerun", "--batch-id", batch, "--test-ids", test, expect=1).err
    assert "turn" in result
    assert lab.get(batch)["revision"] == 1


def test_r5_new_experiences_of_the_suite_are_added_on_request(lab: Lab) -> None:
    batch = lab.create()
    lab.wait(batch)
    grown = CONFIG.replace("[merge, turn, stop]", "[merge, turn, stop, park]")
    grown = grown.replace("managed_test_suites", "  - {name: park, description: parks}\nmanaged_test_suites")
    (lab.folder / "resim.yaml").write_text(grown)
    lab.ran()
    lab.batches("rerun", "--batch-id", batch)
    assert "park" not in lab.tests(batch)
    lab.batches("rerun", "--batch-id", batch, "--sync-with-test-suite")
    lab.wait(batch)
    assert lab.ran() == ["batch-metrics", "experience park", "metrics park"]
    assert list(lab.reports()[-1]) == ["merge", "turn", "stop", "park"]


def test_r6_metrics_alone_run_again_on_existing_output(lab: Lab) -> None:
    """ReSim cannot rerun metrics alone."""
    lab.finds("turn", "BLOCKER too close")
    batch = lab.create()
    lab.wait(batch)
    assert lab.tests(batch)["turn"]["conflatedStatus"] == "BLOCKER"
    lab.seen()
    lab.finds("turn", "PASSED after all")
    lab.batches("rerun", "--batch-id", batch, "--test-ids", ids(lab, batch, "turn"), "--from", "metrics")
    assert lab.tests(batch)["turn"]["jobStatus"] == "METRICS_QUEUED"
    lab.wait(batch)
    assert lab.seen() == ["batch-metrics", "metrics turn: track.txt "]
    assert lab.tests(batch)["turn"]["jobMetricsStatus"] == "PASSED"
    assert str(lab.reports()[-1]["turn"]).startswith("turn attempt 1")
    lab.batches("rerun", "--batch-id", batch, "--from", "metrics", expect=1)


def test_r7_supervise_waits_and_runs_the_failed_subset_again(lab: Lab) -> None:
    lab.order("flaky-merge")
    batch = lab.create()
    result = lab.supervise(batch)
    assert "1 of 3 tests match (33.3 %)" in result.err
    assert "test[experience=merge]: passed after 2 attempts (flaky)" in result.err
    ran = lab.ran()
    assert ran.count("experience merge") == 2
    assert ran.count("experience turn") == 1
    assert lab.get(batch)["status"] == "SUCCEEDED"
    assert lab.supervise(batch, "--quiet").err == ""


def test_r7_supervise_reruns_by_the_latest_definition(lab: Lab) -> None:
    lab.order("broken-turn")
    batch = lab.create()
    lab.wait(batch, expect=2)
    lab.mend("broken-turn")
    (lab.folder / "resim.yaml").write_text(CONFIG.replace('"30"', '"50"'))
    assert "submitted revision 2" in lab.supervise(batch).err
    assert lab.reports()[-1]["turn"] == "turn attempt 2 at s3://scenes/turn 50 {}\n"


def test_r7_a_copied_batch_runs_again_in_the_copy(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.order("broken-turn")
    batch = lab.create()
    lab.wait(batch, expect=2)
    ran, orig = (lab.folder / "reports.jsonl").read_text(), lab.folder
    lab.folder = Path(shutil.copytree(orig, tmp_path_factory.mktemp("copied") / "lab"))
    monkeypatch.chdir(lab.folder)
    lab.mend("broken-turn")
    lab.supervise(batch)
    assert lab.reports()[-1]["turn"] == "turn attempt 2 at s3://scenes/turn 30 {}\n"
    assert (orig / "reports.jsonl").read_text() == ran


def test_r7_an_invalid_file_is_reported_and_the_stored_definition_runs(lab: Lab) -> None:
    lab.order("flaky-turn")
    batch = lab.create()
    (lab.folder / "resim.yaml").write_text("builds: [")
    assert "the latest definition was not submitted" in lab.supervise(batch).err
    assert lab.get(batch)["status"] == "SUCCEEDED"


def test_r8_the_documented_line_and_its_defaults(lab: Lab) -> None:
    lab.create("--batch-name", "my-batch-name")
    line = ["--project", "my-project", "--batch-name", "my-batch-name", "--max-rerun-attempts", "3"]
    line += ["--rerun-max-failure-percent", "30.0", "--rerun-on-states", "Error,Warning"]
    line += ["--poll-every", "1m", "--wait-timeout", "2h"]
    result = lab.batches("supervise", *line, expect=1)
    assert "the project my-project has no such batch" in result.err
    assert "the batch belongs to the project car" in result.err
    assert lab.ran() == []
    line[1] = "car"
    lab.batches("supervise", *line)
    lab.batches("supervise", "--batch-id", "1", "--rerun-on-states", "eRROr, warning ,BLOCKER")


def test_r9_the_exit_code_is_the_batchs_status(lab: Lab) -> None:
    batch = lab.create()
    assert lab.batches("get", "--batch-id", batch, "--exit-status", expect=3).out == ""
    lab.order("broken-merge")
    lab.supervise(batch, "--max-rerun-attempts", "0", expect=2)
    lab.batches("get", "--batch-id", batch, "--exit-status", expect=2)
    lab.mend("broken-merge")
    lab.batches("rerun", "--batch-id", batch, "--test-ids", ids(lab, batch, "merge"))
    lab.batches("get", "--batch-id", batch, "--exit-status", expect=4)
    lab.supervise(batch)
    lab.batches("get", "--batch-id", batch, "--exit-status", expect=0)


def test_a_rerun_of_a_running_batch_is_tried_three_times(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resim_rerun, "CONFLICT_SECONDS", 0.01)
    lab.order("stuck-merge")
    batch = lab.create()
    runner = lab.in_the_background("work", "-j", "3")
    try:
        until(lambda: lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING", "it runs")
        test = ids(lab, batch, "merge")
        result = lab.batches("rerun", "--batch-id", batch, "--test-ids", test, expect=1).err
        assert result.count("trying again") == 2
        assert "busy at each of 3 tries" in result
        lab.mend("stuck-merge")
        monkeypatch.setattr(resim_rerun, "TRIES", 6000)
        lab.batches("rerun", "--batch-id", batch, "--test-ids", test)
    finally:
        runner.kill()
        runner.wait()
    assert [one["kind"] for one in lab.rekindle("reruns", "list", "--json").json["reruns"]] == ["manual"]


def test_a_cancelled_batch_is_never_run_again(lab: Lab) -> None:
    lab.order("stuck-merge", "broken-turn")
    batch = lab.create()
    supervisor = lab.in_the_background(
        "resim",
        "batches",
        "supervise",
        "--batch-id",
        batch,
        "--rerun-on-states",
        "Error",
        "--poll-every",
        "100ms",
        "-j3",
    )
    try:
        until(lambda: lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING", "it runs")
        until(lambda: lab.tests(batch)["turn"]["jobStatus"] == "ERROR", "it has failed")
        lab.mend("broken-turn")
        assert lab.batches("cancel", "--batch-id", batch).out == "Batch cancelled successfully!\n"
        assert supervisor.wait(timeout=60) == 2, "what failed before is no less an error"
    finally:
        supervisor.kill()
        supervisor.wait()
    assert [one["runCounter"] for one in lab.tests(batch).values()][:2] == [1, 1]
    assert "nothing is cancelled" in lab.batches("cancel", "--batch-id", batch).out


def test_a_rerun_proceeds_once_the_test_of_a_dead_runner_has_ended(lab: Lab) -> None:
    lab.order("stuck-merge")
    batch = lab.create()
    runner = lab.in_the_background("work", "-j", "3")
    try:
        until(lambda: lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING", "it runs")
    finally:
        runner.kill()
        runner.wait()
    test = ids(lab, batch, "merge")
    rerun = lab.in_the_background("resim", "batches", "rerun", "--batch-id", batch, "--test-ids", test)
    lab.mend("stuck-merge")
    try:
        assert rerun.wait(timeout=20) == 0, "it does not wait for the next of three tries"
    finally:
        rerun.kill()
        rerun.wait()


def test_waiting_records_the_ends_of_tests_whose_runner_is_dead(lab: Lab) -> None:
    lab.order("stuck-merge")
    batch = lab.create()
    runner = lab.in_the_background("work", "-j", "3")
    try:
        until(lambda: lab.tests(batch)["merge"]["jobStatus"] == "EXPERIENCE_RUNNING", "it runs")
    finally:
        runner.kill()
        runner.wait()
    lab.rekindle("hold", "--all")
    wait = lab.in_the_background("resim", "batches", "wait", "--batch-id", batch, "--no-work")
    lab.mend("stuck-merge")
    try:
        wait.wait(timeout=20)
    finally:
        wait.kill()
        wait.wait()
    assert lab.tests(batch)["merge"]["jobStatus"] != "EXPERIENCE_RUNNING"
