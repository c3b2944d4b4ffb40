"""Several runners on one store: no job runs twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from soak_checks import ask
from soak_project import SoakProject

SPEC = """\
name: many
jobs:
  job: {{matrix: {{i: {{range: [0, {jobs}]}}}}, run: "echo ${{job.name}} >>ledger"}}
"""


def each_once(project: SoakProject, runners: int, jobs: int) -> None:
    (project.folder / "spec.yaml").write_text(SPEC.format(jobs=jobs))
    assert project.rekindle("submit", "spec.yaml", timeout=60).returncode == 0
    started = [project.start(("work", "-j", "1")) for _ in range(runners)]
    codes = [process.wait(timeout=600) for process, _ in started]
    assert codes == [0] * runners, [errors.read_text() for _, errors in started]
    ran = Counter(project.ledger.read_text().splitlines())
    assert set(ran) == {f"job[i={i}]" for i in range(jobs)}
    assert set(ran.values()) == {1}
    attempts = ask(project, "attempts")
    assert Counter(attempt["state"] for attempt in attempts) == {"completed": jobs}
    assert len({attempt["job"] for attempt in attempts}) == jobs


def test_of_two_runners_on_one_store_none_runs_twice_what_the_other_runs(
    prepare: Callable[[str], SoakProject],
) -> None:
    each_once(prepare("runners"), runners=2, jobs=1000)


@pytest.mark.soak
@pytest.mark.parametrize("runners", [2, 8])
def test_of_5000_short_jobs_none_runs_twice(prepare: Callable[[str], SoakProject], runners: int) -> None:
    each_once(prepare("runners"), runners, jobs=5000)
