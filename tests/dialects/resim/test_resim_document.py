"""ReSim's document on re-running partial batches, from top to bottom, with its lines beside the commands."""

from __future__ import annotations

import os
import subprocess

import pytest
from resim_batch import CONFIG, CommandResult, Lab

SUPERVISE = """\
resim batches supervise \\
    --project "my-project" \\
    --batch-name "my-batch-name" \\
    --max-rerun-attempts 3 \\
    --rerun-max-failure-percent 30.0 \\
    --rerun-on-states "Error,Warning" \\
    --poll-every "1m" \\
    --wait-timeout "2h"
"""
CREATE = (
    'resim batches create --project "my-project" --batch-name "my-batch-name" --build-id planner-7 '
    '--test-suite "all of them"'
)
TESTS = 4
BOTH_STAGES = ["experience merge", "metrics merge"]


class Document:
    """The lab, and the lines of the document in a shell with `resim` installed."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        assert lab.rekindle("dialects", "install", "bin").code == 0
        self._env = {**os.environ, "PATH": f"{lab.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def __call__(self, line: str, expect: int = 0) -> CommandResult:
        """Run a line of the document and check its exit code."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.lab.folder, env=self._env, capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, (line, done.stdout, done.stderr)
        return CommandResult(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def document(lab: Lab) -> Document:
    """The lab with four experiences, so that one failure is 25 %."""
    config = CONFIG.replace("experiences:\n", "experiences:\n  - {name: park, locations: [scenes/park]}\n", 1)
    (lab.folder / "resim.yaml").write_text(config.replace("[merge, turn, stop]", "[merge, turn, stop, park]"))
    return Document(lab)


def test_the_document_from_top_to_bottom(document: Document) -> None:
    lab = document.lab
    # "Maybe one experience encountered a transient error."
    lab.order("flaky-merge")
    document(CREATE)
    document('resim batches wait --project "my-project" --batch-name "my-batch-name"', expect=2)
    tests = lab.tests("1")
    assert [name for name, one in tests.items() if one["conflatedStatus"] == "ERROR"] == ["merge"]
    assert (len(tests), lab.ran().count("batch-metrics")) == (TESTS, 1)
    (before,) = lab.reports()
    assert before["merge"] is None

    # "if you have updated any of the dependencies [...] the test will run with the latest definitions of that data"
    path = lab.folder / "resim.yaml"
    path.write_text(path.read_text().replace('SPEED: "30"', 'SPEED: "50"'))
    merge = tests["merge"]["jobID"]
    # "To re-run one or more tests: resim batches rerun --batch-id={batch id} --test-ids={test id 1, test id 2, ...}"
    document(f"resim batches rerun --batch-id=1 --test-ids={merge}")
    lab.wait("1")
    # "both the experience and metrics stages for that test will be re-run", "Batch Metrics [...] always"
    assert lab.ran() == ["batch-metrics", *BOTH_STAGES]
    # "It will reuse the output from any test that did not need to be re-run, combining it with the fresh output"
    (after,) = lab.reports()
    assert after == {**before, "merge": after["merge"]}
    assert (after["merge"] or "").startswith("merge attempt 2 at ")
    assert "scenes/merge 50" in (after["merge"] or "")
    # "Do not use (eg) experience IDs."
    assert "11-aa" in document("resim batches rerun --batch-id=1 --test-ids=11-aa", expect=1).err
    # "To re-run just the Batch Metrics stage, simply specify no test IDs"
    document("resim batches rerun --batch-id=1")
    lab.wait("1")
    assert lab.ran() == ["batch-metrics"]
    assert lab.reports() == [after]
    # "It is not currently possible to only re-run the metrics stage for a test": here it is
    document(f"resim batches rerun --batch-id=1 --test-ids={merge} --rerun-metrics-only")
    lab.wait("1")
    assert lab.ran() == ["batch-metrics", "metrics merge"]


def test_the_supervise_command_of_the_document(document: Document) -> None:
    lab = document.lab
    # "To see full documentation of each, please refer to `resim batches supervise --help`."
    page = document("resim batches supervise --help").out
    for name in (
        *("--project", "--max-rerun-attempts", "--rerun-max-failure-percent", "--rerun-on-states", "--batch-id"),
        *("--batch-name", "--poll-every", "--wait-timeout"),
    ):
        assert name in page
    # "re-runs the subset of failed tests automatically for a set number of times", "0: Success"
    lab.order("flaky-merge")
    document(CREATE)
    document(SUPERVISE)
    assert lab.ran().count("experience merge") == 2
    assert lab.tests("1")["turn"]["runCounter"] == 1

    # "if more than 50% of tests fail, it is more likely that the code under test is failing", "2: Error"
    lab.order("broken-merge", "broken-turn")
    document(CREATE)  # the newest batch of the name
    assert "50.0 %" in document(SUPERVISE, expect=2).err
    assert lab.ran().count("experience merge") == 1
    # "max-rerun-attempts: maximum number of rerun attempts for failed tests"
    lab.mend("broken-turn")
    document(f"resim batches rerun --batch-id=2 --test-ids={lab.tests('2')['turn']['jobID']}")
    document(SUPERVISE, expect=2)
    assert lab.ran().count("experience merge") == 3

    # "1: Internal error"
    document('resim batches supervise --project "my-project" --batch-name "another" --rerun-on-states Error', expect=1)
    # "6: Timed out"
    lab.mend("broken-merge")
    lab.order("stuck-turn")
    document(CREATE)
    document(SUPERVISE.replace("2h", "1s"), expect=6)
    # "5: Cancelled"
    document('resim batches cancel --project "my-project" --batch-name "my-batch-name"')
    document(SUPERVISE, expect=5)
