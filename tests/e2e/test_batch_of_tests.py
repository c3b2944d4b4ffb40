"""A batch of 200 tests of real projects, one per job: the flaky and the broken one are reported as such, and the report
uses the final results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from project_folder import Project

PROJECTS = ("toolz==0.12.1", "mpmath==1.3.0")
SUITES = ("toolz/tests", "mpmath/tests/test_basic_ops.py")
TESTS = 200

FLAKY = """
from pathlib import Path


def test_flaky():
    seen = Path("seen")
    if not seen.exists():
        seen.touch()
        raise ConnectionError("the fixture's server was not there yet")
"""

BROKEN = """
def test_broken():
    assert sorted([3, 1, 2]) == [3, 2, 1]
"""

RUN = """
import pytest


class Failures:
    def __init__(self):
        self.said = []

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.said.append(report.longrepr.reprcrash.message)


def run(test):
    failures = Failures()
    if pytest.main(["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", test], [failures]):
        raise AssertionError(failures.said[0])
"""

REPORT = """
import json, os

seen = json.loads(os.environ["REKINDLE_INPUTS"])
if set(seen) == {"file"}:
    with open(seen["file"]) as file:
        seen = json.load(file)
with open("reports.jsonl", "a") as file:
    file.write(json.dumps(seen) + "\\n")
"""


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the projects with their tests."""
    site = tmp_path_factory.mktemp("site")
    words = ["install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target", str(site), *PROJECTS]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the projects cannot be had from the package index: {done.stderr.strip()[-200:]}")
    return site


def collected(site: Path) -> list[str]:
    """Return the ids of 198 tests, so that there are 200 with the two injected ones."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, "--collect-only", *SUITES], cwd=site, env=env, capture_output=True, text=True, check=True
    )
    found = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(found) >= TESTS - 2
    return found[: TESTS - 2]


@pytest.fixture
def batch(project: Project, suites: Path) -> Project:
    tests = [*collected(suites), "injected/test_flaky.py::test_flaky", "injected/test_broken.py::test_broken"]
    for top in suites.iterdir():
        (project.folder / top.name).symlink_to(top)
    (project.folder / "injected").mkdir()
    for name, text in {
        "injected/test_flaky.py": FLAKY,
        "injected/test_broken.py": BROKEN,
        "batchtests.py": RUN,
        "report.py": REPORT,
    }.items():
        project.write(name, text)
    spec = {
        "name": "suite",
        "env": {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        "jobs": {
            "test": {"matrix": {"id": tests}, "call": "batchtests:run", "args": {"test": "${matrix.id}"}},
            "report": {"needs": ["test*"], "when": "finished", "aggregate": True, "run": "python3 report.py"},
        },
    }
    project.write("spec.json", json.dumps(spec))
    project.rekindle("submit", "spec.json")
    return project


IN_QUESTION, OTHERS = 0, 1


def how_it_went(report: dict[str, Any]) -> tuple[dict[str, tuple[str, int]], Counter[tuple[str, int]]]:
    """Return the inputs of a report: (state, attempt) of the two injected tests, and the number of others."""
    told = {name: (one["state"], one["attempt"]) for name, one in report.items()}
    two = {name.rpartition("_")[2].rstrip("]"): said for name, said in told.items() if "injected" in name}
    return two, Counter(said for name, said in told.items() if "injected" not in name)


def reports(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in project.ran("reports.jsonl")]


def test_the_flaky_is_named_flaky_the_broken_broken_and_the_report_is_of_what_stands(batch: Project) -> None:
    told = batch.ask("supervise", "suite", "-j", "2", expect=2)
    assert told["rounds"][0]["total"] == TESTS
    assert [(one["name"], one["passed"], one["attempts"]) for one in told["fixed"]] == [
        ("test[id=injected/test_flaky.py::test_flaky]", "flaky", 2)
    ]
    assert [(one["name"]) for one in told["left"]] == ["test[id=injected/test_broken.py::test_broken]"]
    assert [(one["type"], one["count"]) for one in told["failing"]] == [("AssertionError", 1)]
    assert told["statuses"] == {"passed": TESTS, "error": 1}
    assert [one["matching"] for one in told["rounds"]] == [2, 1]
    first, last = reports(batch)
    assert [how_it_went(one)[IN_QUESTION] for one in (first, last)] == [
        {"flaky": ("failed", 1), "broken": ("failed", 1)},
        {"flaky": ("completed", 2), "broken": ("failed", 2)},
    ]
    assert how_it_went(last)[OTHERS] == {("completed", 1): TESTS - 2}
