"""Early cut-off while runners are killed: exactly the changed jobs run, once each."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

import pytest

from project_folder import Project, until

CHAINS = 30

SPEC = f"""
name: chains
jobs:
  first:
    matrix: {{i: {{range: [0, {CHAINS}]}}}}
    run: "echo ${{job.name}} >> ran.txt; cp raw ${{outputs.out}}"
    inputs: {{raw: raw}}
    outputs: {{out: "first.${{matrix.i}}"}}
  second:
    matrix: {{i: {{range: [0, {CHAINS}]}}}}
    run: "echo ${{job.name}} >> ran.txt; head -n 1 ${{inputs.in}} > ${{outputs.out}}"
    inputs: {{in: "first.${{matrix.i}}"}}
    outputs: {{out: "second.${{matrix.i}}"}}
  third:
    matrix: {{i: {{range: [0, {CHAINS}]}}}}
    run: "echo ${{job.name}} >> ran.txt; cp ${{inputs.in}} ${{outputs.out}}"
    inputs: {{in: "second.${{matrix.i}}"}}
    outputs: {{out: "third.${{matrix.i}}"}}
"""


def named(*kinds: str) -> set[str]:
    return {f"{kind}[i={i}]" for kind in kinds for i in range(CHAINS)}


def kill_once(project: Project, ran: int) -> None:
    """Start a runner, and SIGKILL it when `ran` jobs have run."""
    runner = project.start("work")
    until(lambda: len(project.ran()) >= ran or runner.poll() is not None, f"{ran} jobs have run")
    if runner.poll() is None:
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait(timeout=60)


def one_round(project: Project, line: str, moments: list[int]) -> None:
    with (project.folder / "raw").open("a") as raw:
        raw.write(f"{line}\n")
    lost = f"third.{len(line)}"
    (project.folder / lost).unlink()
    project.write("ran.txt", "")
    rerun = project.ask("rerun", "--changed", "--downstream", "changed", "--yes")["rerun"]
    for ran in moments:
        kill_once(project, ran)
    project.rekindle("work")
    assert Counter(project.ran()) == Counter({*named("first", "second"), f"third[i={len(line)}]"})
    assert (project.folder / lost).read_text() == "as ever\n"
    assert set(project.states().values()) == {"completed"}
    assert not any(job["stale"] for job in project.ask("why", "-w", "chains")["jobs"])
    checked = project.ask("reruns", "show", str(rerun))["checked"]
    assert Counter(one["result"] for one in checked) == {"runs": CHAINS + 1, "reinstated": CHAINS - 1}


@pytest.fixture
def chains(project: Project) -> Project:
    project.spec(SPEC)
    project.write("raw", "as ever\n")
    project.rekindle("run", "spec.yaml")
    assert Counter(project.ran()) == Counter(named("first", "second", "third"))
    return project


def test_a_runner_killed_amid_a_cut_off_strands_nothing(chains: Project) -> None:
    one_round(chains, "more", [1, CHAINS, 2 * CHAINS])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_runners_killed_again_and_again_amid_a_cut_off_strand_nothing(chains: Project, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(1, 4):
        one_round(chains, "x" * number, sorted(dice.sample(range(2 * CHAINS + 1), 6)))
