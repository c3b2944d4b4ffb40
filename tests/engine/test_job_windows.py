"""Parts of a long list of jobs, near an id."""

from __future__ import annotations

import pytest
from engine_project import Project

from rekindle.domain.selection import AllOf, Compare, JobFilter, Op, Selection
from rekindle.engine.queries import selections
from rekindle.engine.queries.job_table import job_window

SPEC = """\
name: list
jobs:
  one: {matrix: {i: {range: [0, 60]}}, run: "true"}
"""


@pytest.mark.parametrize(
    "where",
    [AllOf(), Compare("name", Op.GLOB, "*1*"), Compare("matrix.i", Op.GT, 40), Compare("id", Op.LT, 0)],
    ids=["all", "by SQL", "by Python", "none"],
)
def test_a_window_is_a_part_of_the_list_with_its_place(project: Project, where: object) -> None:
    project.submit(SPEC)
    selection = Selection(where=where)  # type: ignore[arg-type]
    chosen: JobFilter = selections.resolve_selection(project.session, selection)
    every = selections.select(project.session, selection)
    for near in (0, 1, 7, 30, 60, 61, 99, None):
        found = job_window(project.session, chosen, near, 5, 10)
        ids = [row.job.id for row in found.rows]
        at = len(every) if near is None else sum(job < near for job in every)
        assert ids == every[max(0, at - 5) : at + (0 if near is None else 10)]
        assert found.total == len(every)
        assert not ids or every[found.before] == ids[0]
