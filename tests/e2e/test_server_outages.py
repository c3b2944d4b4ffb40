"""The PostgreSQL server of a store stops and crashes again and again, under runners that work on many jobs."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from project_folder import Project, until
from rekindle.store.opening import open_store
from stores import SCRIPT, missing_postgres, new_store_url, running_postgres

pytestmark = pytest.mark.soak

JOBS = 2_000

SPEC = f"""
name: many
jobs:
  job: {{matrix: {{i: {{range: [0, {JOBS}]}}}}, run: "echo ${{matrix.i}} >> ran.txt; sleep 0.0${{matrix.i}}"}}
  last: {{needs: ["job*"], run: "echo last >> ran.txt"}}
"""


@pytest.mark.parametrize("seed", range(3))
def test_no_job_is_lost_or_runs_twice_whenever_the_server_stops(tmp_path: Path, seed: int) -> None:
    if reason := missing_postgres():
        pytest.skip(reason)
    chance = random.Random(seed)
    project = Project(tmp_path)
    project.spec(SPEC)
    with TemporaryDirectory(prefix="rekindle-pg-") as server, running_postgres(Path(server)) as url:
        open_store(new_store_url(url, tmp_path / ".rekindle"), create=True).close()
        project.rekindle("submit", "spec.yaml")
        with (tmp_path / "said.txt").open("wb") as said:
            runners = [project.start("work", "-j", "2", stderr=said) for _ in range(2)]
        until(project.ran, "they work: a command that finds no server ends")
        stops = 0
        while any(runner.poll() is None for runner in runners):
            time.sleep(chance.uniform(0.5, 8))
            mode = chance.choice(["fast", "immediate"])
            subprocess.run([SCRIPT, "stop", server, mode], check=True, capture_output=True, timeout=60)
            time.sleep(chance.uniform(0, 3))
            subprocess.run([SCRIPT, "start", server, "durable"], check=True, capture_output=True, timeout=60)
            stops += 1
        assert [runner.returncode for runner in runners] == [0, 0], (tmp_path / "said.txt").read_text()
        assert stops > 2
        counts = Counter(project.ran())
        assert len(counts) == JOBS + 1
        assert {line: count for line, count in counts.items() if count > 1} == {}
        assert project.ask("store", "check", "--deep")["sound"]
    project.close()
