"""Batches on a real Slurm: how elements run and end, what is refused, what waits, and what is adopted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elements import all_are, batch, states, wait, wait_for_end

from rekindle.domain.states import Cause
from rekindle.executors.placement import Phase, PlacementBusy, PlacementRefused
from rekindle.executors.slurm import SlurmPlacement
from slurm_cluster import Slurm, until

FOR_EVER = "exec sleep 600"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name Slurm would change if it were not escaped."""
    made = tmp_path / "100%a and spaces"
    made.mkdir()
    return made


@pytest.fixture
def placement(slurm: Slurm) -> Iterator[SlurmPlacement]:
    """A placement on the shared cluster; what it has submitted is canceled at the end."""
    made, handles = SlurmPlacement(slurm.conf), []
    submit = made.submit

    def submit_and_note(one: Any) -> str:
        handles.append(submit(one))
        return handles[-1]

    made.submit = submit_and_note  # type: ignore[method-assign]
    yield made
    made.cancel({handle: range(1001) for handle in handles})


def test_each_element_runs_with_its_index_resources_and_the_callers_variables(
    placement: SlurmPlacement, slurm: Slurm, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "REKINDLE_TOKEN": "enclosing",
        "SBATCH_JOB_NAME": "other",
        "SLURM_NTASKS": "5",
        "OWN": "é",
    }.items():
        monkeypatch.setenv(name, value)
    made = SlurmPlacement(slurm.conf)
    one = batch(
        folder, 'env | grep -a = >"env.$1"; echo out; echo err >&2', 3, cpus=2, memory=(100 << 20) + 1, seconds=61
    )
    seen = wait_for_end(made, made.submit(one), 3)

    assert [seen[index].cause for index in range(3)] == [None] * 3
    for index in range(3):
        lines = Path(one.folder, f"env.{index}").read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        assert "REKINDLE_TOKEN" not in variables
        expected = {"OWN": "é", "SLURM_CPUS_PER_TASK": "2", "SLURM_MEM_PER_NODE": "101", "SLURM_NTASKS": "1"}
        assert expected.items() <= variables.items()
        assert variables["SLURM_JOB_NAME"] == one.name
        assert Path(one.folder, f"{index}.out").read_text() == "out\n"
        assert Path(one.folder, f"{index}.err").read_text() == "err\n"
    job = seen[0].evidence["slurm_job"].partition("_")[0]
    assert "TimeLimit=00:02:00" in slurm.call("scontrol", "show", "job", job)
    assert "Requeue=0" in slurm.call("scontrol", "show", "job", job)


ENDS = """
case $1 in
0) exit 0 ;;
1) exit 7 ;;
2) kill -SEGV $$ ;;
3) kill -KILL $$ ;;
4) exec python3 -c 'import time; taken = b"x" * 300_000_000; time.sleep(60)' ;;
5) exec sleep 600 ;;
esac
"""


def test_every_bad_end_has_its_cause_and_evidence(placement: SlurmPlacement, slurm: Slurm, folder: Path) -> None:
    handle = placement.submit(batch(folder, ENDS, 6, memory=100 << 20))
    wait(placement, handle, lambda seen: len(seen) == 6 and seen[5].phase is Phase.RUNNING)
    slurm.call("scancel", f"{handle.partition(':')[0]}_5")
    seen = wait_for_end(placement, handle, 6)

    causes = [seen[index].cause for index in range(6)]
    assert causes == [None, Cause.LOST, Cause.LOST, Cause.LOST, Cause.OOM, Cause.CANCELED]
    assert [seen[index].evidence["exit_code"] for index in range(4)] == [0, 7, 0, 0]
    assert [seen[index].evidence["signal"] for index in range(4)] == [0, 0, signal.SIGSEGV, signal.SIGKILL]
    assert all(one.evidence["node"].startswith("n") for one in seen.values())
    assert seen[0].message == ""
    assert "ended as FAILED on n" in seen[1].message
    assert "with exit code 7" in seen[1].message
    assert "by signal 11" in seen[2].message
    assert "over its memory of 100.0 MiB" in seen[4].message
    assert seen[4].evidence["memory"] == 100 << 20
    # Accounting may come later.
    after = wait(placement, handle, lambda seen: "canceled_by" in seen[5].evidence and "max_rss" in seen[4].evidence)
    assert after[5].evidence["canceled_by"] == "root"
    assert "canceled by root" in after[5].message
    assert after[4].evidence["max_rss"] > 100 << 20
    json.dumps(dict(after[4].evidence))


def test_an_element_over_its_time_has_timed_out(placement: SlurmPlacement, slurm: Slurm, folder: Path) -> None:
    handle = placement.submit(batch(folder, FOR_EVER))
    wait(placement, handle, all_are(Phase.RUNNING))
    # Slurm looks at limits each 30 seconds; the least that a job can ask for is a minute.
    slurm.call("scontrol", "update", f"jobid={handle.partition(':')[0]}_0", "EndTime=now")
    [seen] = wait_for_end(placement, handle).values()
    assert (seen.cause, seen.evidence["state"], seen.evidence["reason"]) == (Cause.TIMEOUT, "TIMEOUT", "TimeLimit")


def test_running_and_pending_elements_are_canceled_singly(placement: SlurmPlacement, folder: Path) -> None:
    handle = placement.submit(batch(folder, FOR_EVER, 8, at_once=2))
    seen = wait(placement, handle, lambda seen: [one.phase for one in seen.values()].count(Phase.RUNNING) == 2)
    assert len(seen) == 8
    assert {one.waits_for for one in seen.values() if one.phase is Phase.PENDING} == {"JobArrayTaskLimit"}
    assert not any(one.never_starts for one in seen.values())
    placement.cancel({handle: [0, 3, 4, 6, 99], "99999:0123456789abcdef": [0]})
    seen = wait(placement, handle, lambda seen: [one.phase for one in seen.values()].count(Phase.ENDED) == 4)
    assert {index for index, one in seen.items() if one.phase is Phase.ENDED} == {0, 3, 4, 6}
    assert {seen[index].cause for index in (0, 3, 4, 6)} == {Cause.CANCELED}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory": 10**15}, "Memory specification can not be satisfied; Batch job submission failed: Requested node"),
        ({"options": ("--partition=nowhere",)}, "invalid partition specified: nowhere; Batch job submission failed"),
        ({"gpus": 1}, r"Invalid generic resource \(gres\) specification"),
        ({"options": ("-C", "fast")}, "Invalid feature specification"),
        ({"options": ("-A", "nobody")}, "Invalid account"),
        ({"options": ("--qos=best",)}, "Invalid qos specification"),
        ({"elements": 1002}, "Invalid job array specification"),
        ({"options": ("--no-such-option",)}, "unrecognized option"),
        ({"options": ("--array=0-5",)}, "--array=0-5 cannot be given"),
        ({"options": ("-Mother",)}, "-Mother cannot be given"),
        ({"options": ("--wra=true",)}, "--wra=true cannot be given"),
        ({"options": ("-A", "everyone", "script.sh")}, "'script.sh' is not an option"),
    ],
)
def test_what_can_never_run_is_refused_in_slurms_words(
    placement: SlurmPlacement, folder: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(PlacementRefused, match=words):
        placement.submit(batch(folder, "exit 0", **changes))


def test_arrays_are_as_large_as_the_cluster_takes(placement: SlurmPlacement, folder: Path) -> None:
    assert placement.max_elements() == 1001
    handle = placement.submit(batch(folder, "exit 0", 1001, options=("--hold",)))
    seen = states(placement, handle)
    assert len(seen) == 1001
    assert {(one.waits_for, one.never_starts) for one in seen.values()} == {("JobHeldUser", False)}
    placement.cancel({handle: range(1001)})
    seen = wait(placement, handle, lambda seen: all("canceled_by" in one.evidence for one in seen.values()))
    assert {one.cause for one in seen.values()} == {Cause.CANCELED}
    assert seen.keys() == set(range(1001))


@pytest.fixture
def limits(slurm: Slurm) -> None:
    """An account that may submit 2 jobs, and a QOS with jobs of a minute at most, 3 for each user."""
    manager = ("sacctmgr", "--immediate", "--quiet")
    slurm.call(*manager, "add", "account", "few", "MaxSubmitJobs=2")
    slurm.call(*manager, "add", "user", "root", "account=few")
    slurm.call(*manager, "add", "qos", "tight", "MaxWall=1", "MaxSubmitJobsPerUser=3")
    slurm.call(*manager, "modify", "user", "root", "set", "qos+=tight")


@pytest.mark.skipif(os.getuid() != 0, reason="the limits are those of root")
def test_limits_on_submitted_jobs_are_no_refusal(placement: SlurmPlacement, folder: Path, limits: None) -> None:
    with pytest.raises(PlacementBusy, match="AssocMaxSubmitJobLimit"):
        placement.submit(batch(folder, "exit 0", 3, options=("--account=few",)))
    with pytest.raises(PlacementBusy, match="QOSMaxSubmitJobPerUserLimit"):
        placement.submit(batch(folder, "exit 0", 4, options=("--qos=tight",)))
    placement.submit(batch(folder, "exit 0", 2, options=("--account=few",)))
    handle = placement.submit(batch(folder, "exit 0", options=("--qos=tight",), seconds=300))
    [seen] = wait(placement, handle, lambda seen: seen[0].waits_for not in ("", "None", "Priority")).values()
    assert (seen.phase, seen.waits_for, seen.never_starts) == (Phase.PENDING, "QOSMaxWallDurationPerJobLimit", True)


@pytest.mark.parametrize(
    ("changes", "reason", "never"),
    [
        ({"seconds": 3601}, "PartitionTimeLimit", True),
        ({"cpus": 64}, "PartitionConfig", True),
        ({"options": ("--begin=now+1hour",)}, "BeginTime", False),
        ({"options": ("-H",)}, "JobHeldUser", False),
    ],
)
def test_the_reason_why_an_element_waits_is_reported(
    placement: SlurmPlacement, folder: Path, changes: dict[str, Any], reason: str, never: bool
) -> None:
    handle = placement.submit(batch(folder, "exit 0", **changes))
    [seen] = wait(placement, handle, lambda seen: seen[0].waits_for == reason).values()
    assert (seen.phase, seen.waits_for, seen.never_starts) == (Phase.PENDING, reason, never)


def test_another_process_adopts_batches_by_their_tokens(placement: SlurmPlacement, slurm: Slurm, folder: Path) -> None:
    running, ended = batch(folder, FOR_EVER, 2), batch(folder, "exit 3")
    handles = [placement.submit(running), placement.submit(ended)]
    wait(placement, handles[1], all_are(Phase.ENDED))
    placement.close()
    other = SlurmPlacement(slurm.conf)
    tokens = [running.token, ended.token, "0123456789abcdef"]
    assert other.adopt(tokens) == {running.token: handles[0], ended.token: handles[1]}
    assert {one.handle for one in other.poll(handles)} == set(handles)


def test_a_job_with_the_id_of_a_handle_and_another_name_is_left_alone(placement: SlurmPlacement, folder: Path) -> None:
    handle = placement.submit(batch(folder, FOR_EVER))
    wait(placement, handle, all_are(Phase.RUNNING))
    other = f"{handle.partition(':')[0]}:0123456789abcdef"
    placement.cancel({other: [0]})
    assert placement.poll([other]) == []
    assert {one.phase for one in placement.poll([handle, other])} == {Phase.RUNNING}


def test_a_batch_that_was_submitted_twice_ends_with_the_last_of_its_elements(
    placement: SlurmPlacement, slurm: Slurm, folder: Path
) -> None:
    one = batch(folder, "mkdir began || exit 0; exec sleep 600")
    first = placement.submit(one)
    wait(placement, first, all_are(Phase.RUNNING))
    until(lambda: Path(one.folder, "began").exists())
    second = placement.submit(one)
    until(lambda: "COMPLETED" in slurm.call("squeue", "-h", "-t", "all", "-j", second.partition(":")[0], "-o", "%T"))
    for handle in (first, second):
        [seen] = states(placement, handle).values()
        assert (seen.phase, seen.evidence["slurm_job"]) == (Phase.RUNNING, f"{first.partition(':')[0]}_0")
    assert {seen.handle for seen in placement.poll([first, second])} == {first, second}
    assert placement.adopt([one.token]) == {one.token: second}
    placement.cancel({second: [0], first: []})
    assert {one.cause for one in wait_for_end(placement, second).values()} in ({Cause.CANCELED}, {None})
    assert "RUNNING" not in slurm.call("squeue", "-h", "-t", "all", "-n", one.name, "-o", "%T")
