"""`forecast`: when unfinished jobs will be done, and what decided the end of a run."""

from __future__ import annotations

from typing import Any

import pytest
from cli_shell import Shell

from rekindle import Client
from rekindle.domain.errors import UsageError

SPEC = """\
name: sweep
jobs:
  prepare: {run: "true"}
  train: {needs: [prepare], matrix: {k: {range: [0, 4]}}, run: "sleep 0.2"}
  report: {needs: ["train*"], run: "true"}
"""


@pytest.fixture
def project(shell: Shell) -> Shell:
    shell.write(SPEC)
    return shell


def forecast(shell: Shell, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = shell("forecast", "--json", *options).json
    return found


def test_without_a_history_the_end_is_unknown_unless_assumed(project: Shell) -> None:
    project("submit", "spec.yaml")
    found = forecast(project)
    assert (found["end"], found["estimates"], found["path"]) == (None, {"unknown": 6}, [])
    assert "is unknown: no attempt of a job like these has completed" in project("forecast").out
    assumed = forecast(project, "--assume", "10m", "-j", "2")
    assert assumed["seconds"]["expected"] == 40 * 60.0
    assert (assumed["least_by_needs"], assumed["least_by_capacity"]) == (1800.0, 1800.0)
    assert assumed["slots"] == 2
    assert [one["name"].partition("[")[0] for one in assumed["path"]] == ["prepare", "train", "train", "report"]
    assert [one["waits"] for one in assumed["path"]] == ["nothing", "needs", "slot", "needs"]
    # While the first `train` takes an hour more, the others run in the other slot.
    assert [one["hour_costs"] for one in assumed["path"]] == [3600.0, 3000.0, 3600.0, 3600.0]
    four = forecast(project, "--assume", "10m", "-j", "4")
    assert four["seconds"]["expected"] == 30 * 60.0


def test_after_a_run_the_durations_are_those_of_its_attempts(project: Shell) -> None:
    project("run", "spec.yaml", "-j", "4")
    assert project("forecast").out == "no job is left that can run\n"
    project("rerun", "-n", "train*", "--yes")
    found = forecast(project, "-j", "1")
    assert (found["jobs"], found["estimates"]) == (5, {"own": 5})
    assert found["seconds"]["p10"] >= found["least_by_capacity"] >= 0.8
    assert found["seconds"]["expected"] == pytest.approx(found["work_seconds"], abs=0.01)
    assert [one["state"] for one in found["path"]] == ["ready"] * 4 + ["waiting"]
    assert found["past"] is None
    shown = project("forecast", "-w", "sweep", "-j", "1")
    assert "by capacity: the capacity decides" in shown.out
    assert all(len(line) <= 80 for line in shown.out.splitlines())


def test_of_a_run_that_has_ended_the_path_is_shown_with_what_it_waited_for(project: Shell) -> None:
    project("run", "spec.yaml", "-j", "1")
    past = forecast(project, "-w", "sweep")["past"]
    assert [one["name"] for one in past["path"]] == ["prepare", "train[k=3]", "report"]
    assert past["path"][1]["waited_seconds"] >= 0.55  # three others ran before it
    assert past["path"][1]["repeated_seconds"] == 0.0
    assert past["ran_seconds"] >= 0.2
    shown = project("forecast", "-w", "sweep").out
    assert shown.startswith("sweep: these jobs decided its end: ")
    assert "waiting while others ran" in " ".join(shown.split())


def test_failed_and_held_jobs_and_those_below_are_named(shell: Shell) -> None:
    shell.write(
        """
        name: mixed
        jobs:
          bad: {run: "false"}
          below: {needs: [bad], run: "true"}
          good: {run: "true"}
          late: {needs: [good], run: "true"}
        """
    )
    shell("submit", "spec.yaml")
    shell("hold", "late")
    shell("work")
    found = forecast(shell)
    assert found["left_out"] == {"failed": 2, "held": 1, "unfit": 0}
    said = shell("forecast").out
    assert "not counted: 2 jobs failed, or below a failed one" in said
    assert "not counted: 1 job held, or below a held one" in said


def test_jobs_of_other_workflows_are_counted_only_without_a_workflow(project: Shell) -> None:
    project.write("name: other\njobs: {one: {run: 'true'}}\n", "other.yaml")
    project("submit", "spec.yaml")
    project("submit", "other.yaml")
    assert forecast(project)["jobs"] == 7
    found = forecast(project, "-w", "other")
    assert (found["jobs"], found["other_workflows"]) == (1, 6)
    both = forecast(project, "--assume", "1m", "-j", "1")
    assert [one["name"] for one in both["workflows"]] == ["sweep", "other"]
    assert both["workflows"][0]["end"]["expected"] < both["workflows"][1]["end"]["expected"]


def test_a_retried_template_is_expected_to_be_retried(shell: Shell) -> None:
    shell.write(
        """
        name: flaky
        jobs:
          try:
            matrix: {k: [1, 2]}
            retry: {max: 3, delay: 100ms}
            run: "test -e seen-${matrix.k} || { touch seen-${matrix.k}; sleep 0.2; exit 3; }"
        """
    )
    assert shell("run", "spec.yaml").code == 0
    shell("rerun", "--all", "--yes")
    found = forecast(shell, "-j", "1")
    # Half of the attempts failed: each job waits for a half, a quarter and an eighth of a retry.
    assert found["seconds"]["expected"] >= 2 * 0.875 * 0.3
    assert found["seconds"]["p90"] > found["seconds"]["p10"]


def test_the_python_api_returns_the_same(project: Shell) -> None:
    project("submit", "spec.yaml")
    with Client(project.folder / ".rekindle") as client:
        found = client.forecast("sweep", slots=2, assume=600.0)
        assert found.end is not None
        assert (found.end.expected - found.at).total_seconds() == pytest.approx(2400.0, abs=0.01)
        assert found.path[0].name == "prepare"
        with pytest.raises(UsageError, match="slots=0 is less than 1"):
            client.forecast(slots=0)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-w", "nope"), 1, "no such workflow: nope"),
        (("-j", "0"), 64, "0 is not between 1 and"),
        (("--assume", "5"), 64, "hint: 5s for seconds or 5m for minutes"),
        (("--assume", "100000000d", "-j", "1"), 0, ""),
    ],
)
def test_wrong_words_are_one_error_and_huge_ones_none(
    project: Shell, words: tuple[str, ...], code: int, said: str
) -> None:
    project("submit", "spec.yaml")
    done = project("forecast", *words)
    assert done.code == code
    assert said in done.err
