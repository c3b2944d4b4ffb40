"""Pages of sorted lists of jobs: put together they are the whole list, sorted, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from store_driving import claim_in, completed_ending, definition, end_in, failure_ending, template

from rekindle.domain.models import Attempt, Job, StateChange
from rekindle.domain.selection import SORT_FIELDS, AllOf, Compare, JobFilter, JobPage, Op
from rekindle.domain.states import State
from rekindle.store.archive import Store
from rekindle.store.opening import open_store
from stores import new_store_url


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of each kind for all examples."""
    folder = tmp_path_factory.mktemp("pages") / "s"
    sqlite = request.param == "sqlite"
    url = str(folder) if sqlite else new_store_url(request.getfixturevalue("postgres_server"), folder)
    with closing(open_store(url, create=True)) as store:
        yield store


NAMES = st.lists(
    st.text(alphabet="aAzZ_é😀-[]=,0129", min_size=1, max_size=4).map(lambda text: f"j{text}"),
    min_size=1,
    max_size=12,
    unique=True,
)
FEW = st.none() | st.sampled_from([0.0, 0.1, 1.5, 1e9 + 0.123456789])
ENDS = st.sampled_from(["ready", "queued", "completed", "failed"])
SIZES = st.none() | st.sampled_from([0, 4096, 2**40])
JOBS = st.lists(st.tuples(ENDS, FEW, FEW, SIZES, st.integers(-1, 1)), min_size=12, max_size=12)


def add_jobs(store: Store, names: list[str], jobs: list[tuple[Any, ...]]) -> int:
    """Add a workflow with jobs in these states; return its id."""
    known = dict(zip(names, jobs, strict=False))
    with store.write() as archive:
        templates = {name: template(f"t{one[4]}", "one", priority=one[4]) for name, one in known.items()}
        workflow = archive.workflows.add(definition({name: [] for name in names}, template=templates), 1.0)
        attempts = claim_in(archive, workflow)
        back = [one for one in attempts if known[one.job.name][0] == "ready"]
        archive.queue.release({one.id: one.job.id for one in back})
        archive.queue.move(
            [StateChange(one.job.id, workflow, one.job.resource_class, State.QUEUED, State.READY) for one in back]
        )
        endings = []
        for one in attempts:
            state, started, cpu, size, _ = known[one.job.name]
            if state in ("completed", "failed"):
                ending = completed_ending(one.id) if state == "completed" else failure_ending(one.id)
                endings.append(replace(ending, started=started, cpu_seconds=cpu, max_rss_bytes=size))
        end_in(archive, endings)
    return workflow


def value_of(field: str, job: Job, live: Attempt | None) -> Any:
    """Return a field's value, from the job and its live attempt."""
    if field in ("id", "name", "state", "attempts", "priority"):
        return getattr(job, field)
    if live is None:
        return None
    if field == "seconds":
        return None if live.started is None or live.ended is None else live.ended - live.started
    return getattr(live, field)


def order(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def expected(store: Store, workflow: int, field: str, *, descending: bool) -> list[int]:
    with store.read() as archive:
        jobs = archive.jobs.get(archive.jobs.select(AllOf(), workflow))
        live = archive.jobs.live([job.id for job in jobs])
    values = [(value_of(field, job, live.get(job.id)), job.id) for job in jobs]
    known = sorted((pair for pair in values if pair[0] is not None), key=lambda pair: pair[1])
    known.sort(key=lambda pair: order(pair[0]), reverse=descending)
    return [number for _, number in [*known, *sorted(pair for pair in values if pair[0] is None)]]


def pages(store: Store, chosen: JobFilter, page: JobPage) -> list[list[int]]:
    """Return the ids of all pages, from the first on, or with `backwards` from the last on."""
    found = []
    with store.read() as archive:
        while rows := archive.job_pages.page(chosen, page):
            found.append([number for _, number in rows])
            page = replace(page, position=rows[0 if page.backwards else -1])
    return found


@pytest.mark.parametrize("field", SORT_FIELDS)
@given(names=NAMES, jobs=JOBS, descending=st.booleans(), limit=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_pages_together_are_the_sorted_list(
    shared: Store, field: str, names: list[str], jobs: list[Any], descending: bool, limit: int
) -> None:
    workflow = add_jobs(shared, names, jobs)
    whole = expected(shared, workflow, field, descending=descending)
    for chosen in (JobFilter(workflow=workflow), JobFilter(ids=whole)):
        forward = pages(shared, chosen, JobPage(field, descending, limit=limit))
        assert [job for page in forward for job in page] == whole
        backward = pages(shared, chosen, JobPage(field, descending, backwards=True, limit=limit))
        assert [job for page in reversed(backward) for job in page] == whole


def test_a_filter_holds_on_every_page(shared: Store) -> None:
    jobs: list[Any] = [("completed", 1.0, None, at, 0) for at in range(9)] + [("ready", None, None, None, 0)]
    workflow = add_jobs(shared, [f"j{at}" for at in range(10)], jobs)
    chosen = JobFilter(Compare("max_rss_bytes", Op.LT, 7), workflow)
    found = pages(shared, chosen, JobPage("max_rss_bytes", descending=True, limit=3))
    first = found[-1][-1]
    assert found == [[first + 6, first + 5, first + 4], [first + 3, first + 2, first + 1], [first]]
