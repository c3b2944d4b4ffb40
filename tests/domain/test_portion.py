"""Portions of a definition."""

from __future__ import annotations

import pytest

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step, select_portion
from rekindle.domain.errors import NotFound, Refused

NAMES = ("cut", "permute", "flip", "count", "average")
# cut -> permute[1,2] -> flip -> average, and cut -> count -> average
JOBS = ("cut", "permute[1]", "permute[2]", "flip", "count", "average")
EDGES = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 4), (3, 5), (4, 5)]


@pytest.fixture
def whole() -> Definition:
    templates = [JobTemplate(name, (Step("run", "true"),)) for name in NAMES]
    jobs = [JobNode(name, NAMES.index(name.partition("[")[0])) for name in JOBS]
    return Definition("sample", "/project", templates, jobs, EDGES)


def names(definition: Definition) -> list[str]:
    return [job.name for job in definition.jobs]


def needs(definition: Definition) -> set[tuple[str, str]]:
    return {(definition.jobs[child].name, definition.jobs[parent].name) for parent, child in definition.edges}


def test_without_ends_it_is_the_whole(whole: Definition) -> None:
    assert select_portion(whole) == whole


def test_first_keeps_its_jobs_and_their_descendants(whole: Definition) -> None:
    part = select_portion(whole, "permute")
    assert names(part) == ["permute[1]", "permute[2]", "flip", "average"]
    assert needs(part) == {("flip", "permute[1]"), ("flip", "permute[2]"), ("average", "flip")}
    assert [part.templates[job.template].name for job in part.jobs] == ["permute", "permute", "flip", "average"]


def test_last_keeps_its_jobs_and_their_ancestors(whole: Definition) -> None:
    assert names(select_portion(whole, None, "flip")) == ["cut", "permute[1]", "permute[2]", "flip"]
    assert names(select_portion(whole, "permute", "flip")) == ["permute[1]", "permute[2]", "flip"]
    assert names(select_portion(whole, "count", "count")) == ["count"]


def test_an_entry_that_is_not_there_is_named(whole: Definition) -> None:
    with pytest.raises(NotFound, match="no job 'permut'") as missing:
        select_portion(whole, "permut")
    assert "permute" in missing.value.hint


def test_entries_without_a_path_are_refused(whole: Definition) -> None:
    with pytest.raises(Refused, match="from flip to permute"):
        select_portion(whole, "flip", "permute")
