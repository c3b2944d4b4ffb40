"""scripts/slurm-cluster: whole clusters, which leave nothing when they are stopped."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from slurm_cluster import SCRIPT, require_slurm, running_slurm, until


def processes_of(folder: Path) -> list[str]:
    """Return the processes that have one of a cluster's files open or its variables, but for the caller."""
    found = []
    for process in psutil.process_iter():
        try:
            files = [file.path for file in process.open_files()]
            named = str(folder) in " ".join([*files, *process.cmdline(), *process.environ().values()])
        except psutil.Error:
            continue
        if named and process.pid != os.getpid():
            found.append(process.name())
    return found


def test_a_cluster_runs_jobs_and_is_gone_when_stopped(tmp_path: Path) -> None:
    with running_slurm("1", "2") as slurm:
        slurm.call("sbatch", "--output=/dev/null", "--wrap=setsid sleep 600 & sleep 600")
        slurm.call("sbatch", f"--output={tmp_path}/cpus", "--wrap=echo $SLURM_CPUS_ON_NODE cpu")
        until(lambda: (tmp_path / "cpus").exists() and (tmp_path / "cpus").read_text() == "1 cpu\n")
        until(lambda: {"slurmctld", "slurmstepd", "sleep"} <= set(processes_of(slurm.folder)))
    assert processes_of(slurm.folder) == []


def test_a_cluster_whose_controller_was_killed_is_gone_when_stopped() -> None:
    with running_slurm("1", "2") as slurm:
        slurm.call("sbatch", "--output=/dev/null", "--wrap=trap '' TERM; sleep 600")
        os.kill(slurm.process("slurmctld"), signal.SIGKILL)
    assert processes_of(slurm.folder) == []


def test_clusters_are_independent_and_one_is_started_once() -> None:
    with running_slurm("1") as one, running_slurm("2") as other:
        assert one.call("sinfo", "-h", "-o", "%D", "-p", "main").strip() == "1"
        assert other.call("sinfo", "-h", "-o", "%D", "-p", "main").strip() == "2"
        again = subprocess.run([SCRIPT, "start", one.folder], capture_output=True, text=True)
        assert again.returncode == 1
        subprocess.run([SCRIPT, "stop", one.folder], env=one.environment, check=True)
        assert processes_of(one.folder) == []
        assert "n1" in other.call("sinfo", "-h", "-N")
        assert "a cluster is running" in again.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_an_ordinary_user_has_a_cluster_with_accounting(tmp_path: Path) -> None:
    require_slurm()
    user = pwd.getpwnam("nobody")
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/rekindle-slurm-XXXXXX"], text=True).strip())
    os.chown(folder, user.pw_uid, user.pw_gid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/", "timeout": 90}
    script = SCRIPT.read_text()  # the working copy may be out of reach for this user
    try:
        for command in ["start", "stop"]:
            subprocess.run(
                ["bash", "-s", command, folder, "1", "accounting"], input=script.encode(), check=True, **as_user
            )
            running = processes_of(folder)
            assert ("slurmdbd" in running) == (command == "start"), running
        assert running == []
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
