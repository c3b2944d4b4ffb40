"""What rows of squeue and sacct mean. The answers are recorded: of Slurm 22.05, and with the states that need cgroups,
a cloud or a federation written as its manual says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekindle.domain.errors import ExecutorError
from rekindle.domain.states import Cause
from rekindle.executors.placement import Phase, Seen
from rekindle.executors.slurm import SlurmPlacement
from rekindle.executors.slurm_states import _CAUSES, REST, describe, index_ranges, read_accounting, read_queue

NAME = "rk-abcdef01-0123456789abcdef"


def row(state: str, status: int = 0, reason: str = "None", restarts: int = 0, folder: str = "/none") -> Seen:
    """Return what a row of the queue means."""
    text = f"21|3|{state}|{status}|{reason}|{restarts}|n1|100M|{NAME}|{folder}|\n"
    [element] = read_queue(text)
    return describe("21:0123456789abcdef", element)


@pytest.mark.parametrize(
    ("state", "status", "reason", "cause", "node_down"),
    [
        ("COMPLETED", 0, "None", None, False),
        ("FAILED", 1792, "NonZeroExitCode", Cause.LOST, False),
        ("FAILED", 11, "JobLaunchFailure", Cause.LOST, False),
        ("FAILED", 1, "BadConstraints", Cause.START, False),
        ("OUT_OF_MEMORY", 125, "OutOfMemory", Cause.OOM, False),
        ("TIMEOUT", 15, "TimeLimit", Cause.TIMEOUT, False),
        ("DEADLINE", 1, "DeadLine", Cause.TIMEOUT, False),
        ("NODE_FAIL", 0, "NodeDown", Cause.LOST, True),
        ("PREEMPTED", 15, "None", Cause.LOST, False),
        ("BOOT_FAIL", 1, "None", Cause.LOST, False),
        ("CANCELLED", 15, "None", Cause.CANCELED, False),
        ("REVOKED", 0, "None", Cause.LOST, False),
    ],
)
def test_each_final_state_has_its_cause(
    state: str, status: int, reason: str, cause: Cause | None, node_down: bool
) -> None:
    seen = row(state, status, reason)
    assert (seen.phase, seen.cause, seen.node_down) == (Phase.ENDED, cause, node_down)
    assert seen.evidence["state"] == state
    assert (seen.evidence["exit_code"], seen.evidence["signal"]) == (status >> 8, status & 127)
    assert (seen.message == "") == (cause is None)
    assert cause is None or seen.message.startswith(f"Slurm job 21_3 ended as {state} on n1")


@pytest.mark.parametrize(
    "state", ["RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "of a later version"]
)
def test_what_is_neither_pending_nor_ended_runs(state: str) -> None:
    assert (row(state).phase, row(state).cause, row(state).waits_for) == (Phase.RUNNING, None, "")


@pytest.mark.parametrize("state", ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"])
def test_a_requeued_element_is_pending_again(state: str) -> None:
    seen = row(state, reason="BeginTime", restarts=2)
    assert (seen.phase, seen.restarts, seen.waits_for) == (Phase.PENDING, 2, "BeginTime")


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("Resources", False),
        ("Priority", False),
        ("JobHeldAdmin", False),
        ("ReqNodeNotAvail", False),
        ("Reserved_for_maintenance", False),
        ("AssocGrpCpuLimit", False),
        ("QOSMaxJobsPerUserLimit", False),
        ("QOSMaxCpuPerUserLimit", False),
        ("PartitionDown", False),
        ("PartitionConfig", True),
        ("PartitionTimeLimit", True),
        ("PartitionNodeLimit", True),
        ("BadConstraints", True),
        ("DependencyNeverSatisfied", True),
        ("InvalidAccount", True),
        ("InvalidQOS", True),
        ("AssocMaxCpuPerJobLimit", True),
        ("AssocMaxWallDurationPerJobLimit", True),
        ("QOSMaxMemoryPerJob", True),
        ("QOSMaxCpuPerNode", True),
        ("QOSMinCpuNotSatisfied", True),
    ],
)
def test_a_reason_says_whether_waiting_helps(reason: str, never: bool) -> None:
    assert (row("PENDING", reason=reason).waits_for, row("PENDING", reason=reason).never_starts) == (reason, never)


def test_a_kill_for_memory_is_known_by_the_jobs_stderr(tmp_path: Path) -> None:
    (tmp_path / "3.err").write_bytes(
        b"\xff a job's own text\nslurmstepd-n1: error: StepId=5.batch exceeded memory limit (315252736 > 104857600)\n"
    )
    assert row("FAILED", 9, folder=str(tmp_path)).cause is Cause.OOM
    assert row("CANCELLED", 9, folder=str(tmp_path)).cause is Cause.OOM
    assert row("FAILED", 1 << 8, folder=str(tmp_path)).cause is Cause.LOST
    (tmp_path / "3.err").write_bytes(b"killed\n")
    assert row("FAILED", 9, folder=str(tmp_path)).cause is Cause.LOST


ACCOUNTING = f"""\
1_0|COMPLETED|0:0|n1||100M|{NAME}|/spool/a|b
1_0.batch|COMPLETED|0:0|n1|3240K||batch|
1_1|NODE_FAIL|0:0|n1||100M|{NAME}|/spool
1_1.batch|CANCELLED|0:15|n1|||batch|
1_1|FAILED|0:9|n2||100M|{NAME}|/spool
1_1.batch|CANCELLED by 0|0:9|n2|107172K||batch|
1_1.0|CANCELLED by 0|0:9|n2|1.5G||step|
1_2|CANCELLED by 0|0:0|None assigned||100M|{NAME}|/spool
1_[3-4%2]|PENDING|0:0|None assigned||100M|{NAME}|/spool
1_5|OUT_OF_MEMORY|0:125|n1||4Gn|{NAME}|/spool
2|CANCELLED by 0|0:0|None assigned||100M|{NAME}|/spool
"""


def test_accounting_adds_memory_used_and_who_canceled() -> None:
    rows = {(one.job, one.index): one for one in read_accounting(ACCOUNTING)}
    assert set(rows) == {(1, 0), (1, 1), (1, 2), (1, REST), (1, 5), (2, REST)}
    assert rows[1, 0].folder == "/spool/a|b"
    last = describe("1:0123456789abcdef", rows[1, 1])
    assert (last.cause, last.restarts, last.evidence["node"]) == (Cause.OOM, 1, "n2")
    assert (last.evidence["max_rss"], last.evidence["memory"]) == (3 << 29, 100 << 20)
    canceled = describe("1:0123456789abcdef", rows[1, 2])
    assert (canceled.cause, canceled.evidence["canceled_by"]) == (Cause.CANCELED, "root")
    assert canceled.message == "Slurm job 1_2 ended as CANCELLED, canceled by root"
    assert rows[1, 5].memory == 4 << 30
    assert not rows[1, REST].ended


def test_a_row_for_the_rest_of_an_array_is_no_element() -> None:
    [element] = read_queue(f"34|N/A|CANCELLED|0|JobHeldUser|0||100M|{NAME}|/spool|\n")
    assert element.index == REST
    assert read_queue("slurm_load_jobs: a warning\n\n") == []


@pytest.mark.parametrize(
    ("indices", "text"), [([], ""), ([5], "5"), ([3, 1, 2, 0, 7], "0-3,7"), ([1, 3, 4, 9, 10, 11], "1,3-4,9-11")]
)
def test_indices_are_written_as_ranges(indices: list[int], text: str) -> None:
    assert ",".join(index_ranges(indices)) == text


def test_without_slurm_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ExecutorError, match="sbatch is not on PATH"):
        SlurmPlacement()


def test_the_page_names_every_state_in_which_an_element_ends() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "slurm.md").read_text()
    assert [state for state in _CAUSES if state not in page] == []
