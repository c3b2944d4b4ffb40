"""`make cluster-demo`: what it starts, it stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from project_folder import until
from slurm_cluster import require_slurm
from stores import missing_postgres

DEMO = Path(__file__).parents[2] / "demo" / "cluster.py"


@pytest.fixture(autouse=True)
def servers() -> None:
    """Skip the test where a server is missing."""
    require_slurm()
    if reason := missing_postgres():
        pytest.skip(reason)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The demo, started in a session of its own. It prints into output.txt."""
    with open(tmp_path / "output.txt", "wb") as output:
        process = subprocess.Popen([sys.executable, DEMO], stdout=output, stderr=output, start_new_session=True)
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(60)


def left_behind(shown: str) -> list[str]:
    """Return the folders of servers that still exist, and the processes that name one."""
    folders = set(re.findall(r"scripts/\S+ start (\S+)", shown))
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    found = [folder for folder in folders if Path(folder).exists()]
    return found + [command for command in commands if any(folder in command for folder in folders)]


def test_ctrl_c_stops_what_the_cluster_demo_has_started(demo: subprocess.Popen[bytes], tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    until(lambda: "$ rekindle run" in output.read_text(), "the sweep runs")
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(60) == 130
    shown = output.read_text()
    assert "demo: interrupted" in shown
    assert "Traceback" not in shown
    assert left_behind(shown) == []


@pytest.mark.soak
def test_the_cluster_demo_proves_both_ways_and_stops_its_servers(demo: subprocess.Popen[bytes], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    assert demo.wait(900) == 0
    shown = (tmp_path / "output.txt").read_text()
    assert shown.count("== Proof, from the store") == 2
    assert left_behind(shown) == []
