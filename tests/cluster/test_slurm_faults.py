"""Batches on a Slurm whose nodes and controller fail, on clusters of their own."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from elements import all_are, batch, states, wait, wait_for_end

from rekindle.domain.states import Cause
from rekindle.executors.placement import Phase, PlacementBusy, PlacementUnreachable, Seen
from rekindle.executors.slurm import SlurmPlacement
from slurm_cluster import Slurm, running_slurm, until

FOR_EVER = "exec sleep 600"


@pytest.fixture
def own() -> Iterator[Slurm]:
    """A cluster of two nodes of two cpus."""
    with running_slurm("2", "2") as slurm:
        yield slurm


@pytest.fixture
def placement(own: Slurm) -> SlurmPlacement:
    return SlurmPlacement(own.conf)


def job_of(handle: str) -> str:
    return handle.partition(":")[0]


def kill_controller(slurm: Slurm) -> None:
    """Kill the controller and wait until it is gone."""
    process = psutil.Process(slurm.process("slurmctld"))
    process.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_nodes_that_fail_preemption_deadlines_and_requeues(
    own: Slurm, placement: SlurmPlacement, tmp_path: Path
) -> None:
    handle = placement.submit(batch(tmp_path, FOR_EVER, cpus=2, options=("--nodelist=n1",)))
    wait(placement, handle, all_are(Phase.RUNNING))
    own.call("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    [seen] = wait_for_end(placement, handle).values()
    assert (seen.cause, seen.node_down, seen.evidence["state"]) == (Cause.LOST, True, "NODE_FAIL")
    assert (seen.evidence["node"], seen.restarts) == ("n1", 0)

    preempted = placement.submit(batch(tmp_path, FOR_EVER, cpus=2, options=("--nodelist=n2",)))
    wait(placement, preempted, all_are(Phase.RUNNING))
    urgent = placement.submit(batch(tmp_path, "exit 0", cpus=2, options=("--partition=urgent", "--nodelist=n2")))
    [seen] = wait_for_end(placement, preempted).values()
    assert (seen.cause, seen.node_down, seen.evidence["state"]) == (Cause.LOST, False, "PREEMPTED")
    assert [one.cause for one in wait_for_end(placement, urgent).values()] == [None]

    late = placement.submit(batch(tmp_path, "exit 0", seconds=60, options=("--deadline=now+10",)))
    [seen] = wait_for_end(placement, late).values()
    assert (seen.cause, seen.evidence["state"]) == (Cause.TIMEOUT, "DEADLINE")

    again = placement.submit(batch(tmp_path, FOR_EVER, options=("--requeue",)))
    wait(placement, again, all_are(Phase.RUNNING))
    own.call("scontrol", "requeue", f"{job_of(again)}_0")
    [seen] = wait(placement, again, lambda seen: seen[0].restarts == 1).values()
    [seen] = wait(placement, again, all_are(Phase.RUNNING)).values()
    assert seen.restarts == 1


CALLS: dict[str, Callable[[SlurmPlacement, str, Path], object]] = {
    "submit": lambda placement, handle, folder: placement.submit(batch(folder, "exit 0")),
    "poll": lambda placement, handle, folder: placement.poll([handle]),
    "cancel": lambda placement, handle, folder: placement.cancel({handle: [0]}),
    "adopt": lambda placement, handle, folder: placement.adopt([handle.partition(":")[2], "0123456789abcdef"]),
    "max_elements": lambda placement, handle, folder: placement.max_elements(),
}


def test_every_call_ends_in_time_while_the_controller_is_dead(own: Slurm, tmp_path: Path) -> None:
    placement = SlurmPlacement(own.conf, seconds=1)
    handle = placement.submit(batch(tmp_path, FOR_EVER))
    wait(placement, handle, all_are(Phase.RUNNING))
    token, saved = handle.partition(":")[2].encode(), own.folder / "state" / "job_state"
    until(lambda: saved.exists() and token in saved.read_bytes())
    kill_controller(own)
    for name, call in CALLS.items():
        start = time.monotonic()
        with pytest.raises(PlacementUnreachable, match="Slurm does not answer"):
            call(placement, handle, tmp_path)
        assert time.monotonic() - start < 2, name
    commands = ("sbatch", "squeue", "scontrol", "scancel")
    assert not [one for one in psutil.process_iter(["name"]) if one.info["name"] in commands and is_ours(one, own)]
    own.start_controller()
    later = SlurmPlacement(own.conf)
    assert {one.phase for one in wait(later, handle, all_are(Phase.RUNNING)).values()} == {Phase.RUNNING}


def is_ours(process: psutil.Process, slurm: Slurm) -> bool:
    """Return whether a process uses this cluster and is no zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("SLURM_CONF") == slurm.conf
    except psutil.Error:
        return False


def test_a_submission_that_the_controller_forgot_is_never_taken_for_another_job(own: Slurm, tmp_path: Path) -> None:
    placement = SlurmPlacement(own.conf)
    lost = []
    for _ in range(3):
        forgotten = batch(tmp_path, 'echo "$1" >> ran; exec sleep 600')
        handle = placement.submit(forgotten)
        kill_controller(own)  # before it has saved its state
        own.start_controller()
        adopted = placement.adopt([forgotten.token])
        assert adopted in ({}, {forgotten.token: handle})
        following = batch(tmp_path, FOR_EVER)
        other = placement.submit(following)
        if not adopted and job_of(other) == job_of(handle):
            lost.append(handle)
            assert placement.poll([handle]) == []
            placement.cancel({handle: [0]})
            assert [one.handle for one in wait(placement, other, all_are(Phase.RUNNING)).values()] == [other]
        assert placement.adopt([forgotten.token, following.token]) == {**adopted, following.token: other}
        placement.cancel({other: [0], **{one: [0] for one in adopted.values()}})
    assert lost, "Slurm forgot none of three jobs"


def test_a_controller_that_takes_no_more_jobs_is_busy(own: Slurm, tmp_path: Path) -> None:
    text = Path(own.conf).read_text()
    Path(own.conf).write_text(re.sub(r"MaxJobCount=\d+", "MaxJobCount=3", text))
    kill_controller(own)
    own.start_controller()
    placement = SlurmPlacement(own.conf, seconds=2)
    handle = placement.submit(batch(tmp_path, FOR_EVER, 2))
    with pytest.raises(PlacementBusy, match="temporarily unable to accept job"):
        placement.submit(batch(tmp_path, FOR_EVER, 2))
    wait(placement, handle, all_are(Phase.RUNNING, 2))


def test_what_left_the_queue_is_completed_from_accounting(tmp_path: Path) -> None:
    with running_slurm("1", "2", "accounting") as slurm:
        placement = SlurmPlacement(slurm.conf)
        one = batch(tmp_path, 'exit "$1"', 3)
        handle = placement.submit(one)
        wait(placement, handle, all_are(Phase.ENDED, 3))
        until(lambda: slurm.call("sacct", "-n", "-X", "-j", job_of(handle)).count("FAILED") == 2)
        kill_controller(slurm)
        for file in Path(slurm.folder, "state").glob("job_state*"):
            file.unlink()
        slurm.start_controller()  # it has forgotten all jobs, and counts from 1 again
        assert slurm.call("squeue", "-h", "--states=all") == ""

        seen = states(SlurmPlacement(slurm.conf), handle)
        assert [causes(seen)[index] for index in range(3)] == [(None, 0), (Cause.LOST, 1), (Cause.LOST, 2)]
        assert SlurmPlacement(slurm.conf).adopt([one.token]) == {one.token: handle}

        other = placement.submit(batch(tmp_path, FOR_EVER))
        assert job_of(other) == job_of(handle)
        later = SlurmPlacement(slurm.conf)
        assert causes(states(later, handle)) == causes(seen)
        wait(later, other, all_are(Phase.RUNNING))


def causes(seen: dict[int, Seen]) -> dict[int, tuple[Cause | None, int]]:
    """Return causes and exit codes by element."""
    return {index: (one.cause, one.evidence["exit_code"]) for index, one in seen.items()}
