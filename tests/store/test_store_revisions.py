"""Every earlier revision can be restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_driving import definition, ids, revise, run, submit

from rekindle.domain.changes.revisions import RevisionOutline
from rekindle.domain.definition import Definition, JobTemplate, Step
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.store.archive import Store
from rekindle.store.opening import open_store

NAMES = "abcdef"
TEMPLATES = [JobTemplate(f"t{n}", (Step("one", run=f"echo {n}"),)) for n in range(3)]


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, object]:
    jobs = [name for name in NAMES if draw(st.booleans())]
    needs = {job: [other for other in jobs[:at] if draw(st.booleans())] for at, job in enumerate(jobs)}
    return {
        "jobs": needs,
        "template": {job: draw(st.sampled_from(TEMPLATES)) for job in jobs},
        "bindings": {job: {"k": draw(st.integers(0, 2))} for job in jobs},
        "params": {"p": draw(st.integers(0, 2))},
    }


def plain(one: RevisionOutline) -> tuple[object, ...]:
    jobs = {job: (one.templates[template], binding) for job, (template, binding) in one.jobs.items()}
    return dict(one.params), jobs, set(one.edges)


def as_given(one: Definition) -> tuple[object, ...]:
    names = [job.name for job in one.jobs]
    jobs = {job.name: (one.templates[job.template], f'{{"k":{job.binding["k"]}}}') for job in one.jobs}
    return dict(one.params), jobs, {(names[parent], names[child]) for parent, child in one.edges}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for every example, each with a workflow of its own."""
    with closing(open_store(str(tmp_path_factory.mktemp("shared") / "s"), create=True)) as store:
        yield store


@settings(max_examples=60, deadline=None)
@given(history=st.lists(definitions(), min_size=1, max_size=6))
def test_every_revision_is_as_it_was_submitted(shared: Store, history: list[dict[str, object]]) -> None:
    workflow = submit(shared, **history[0])  # type: ignore[arg-type]
    for one in history[1:]:
        revise(shared, workflow, **one)  # type: ignore[arg-type]
    with shared.read() as archive:
        for number, one in enumerate(history, start=1):
            assert plain(archive.workflows.outline(workflow, number)) == as_given(definition(**one))  # type: ignore[arg-type]
        assert [each.number for each in archive.workflows.revisions(workflow)] == list(range(1, len(history) + 1))
        assert archive.check() == []


def test_a_revision_lists_every_job_that_it_touched_with_reasons(store):
    workflow = submit(store, {"a": [], "b": ["a"], "c": ["b"], "d": []})
    run(store, workflow, failing=["a"])
    number = ids(store, workflow)
    other = JobTemplate("work", (Step("one", run="false"), Step("two", run="true")))
    revised = revise(store, workflow, {"a": [], "b": [], "c": ["b"], "e": ["a"]}, template={"a": other})
    told = {job.name: [(reason.kind, dict(reason.detail)) for reason in job.reasons] for job in revised.jobs}
    assert told == {
        "a": [(ReasonKind.REDEFINED, {"revision": 2, "fields": ["steps.one.run"]})],
        "b": [(ReasonKind.REWIRED, {"revision": 2, "gained": 0, "lost": 1})],
        "d": [(ReasonKind.RETIRED, {"revision": 2})],
        "e": [(ReasonKind.ADDED, {"revision": 2})],
    }
    assert [job.id for job in revised.jobs] == [number["a"], number["b"], number["d"], max(number.values()) + 1]


def test_jobs_that_come_back_are_added_and_keep_their_history(store):
    workflow = submit(store, {"a": [], "b": ["a"]}, bindings={"b": {"k": 1}})
    revise(store, workflow, {"a": []})
    again = revise(store, workflow, {"a": [], "b": []}, bindings={"b": {"k": 2}})
    assert [(job.name, [reason.kind for reason in job.reasons]) for job in again.jobs] == [("b", [ReasonKind.ADDED])]
    with store.read() as archive:
        bound = [archive.workflows.outline(workflow, number).jobs.get("b") for number in (1, 2, 3)]
    assert [one and one[1] for one in bound] == ['{"k":1}', None, '{"k":2}']
