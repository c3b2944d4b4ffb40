"""Prunes and temporary outputs in the store, in both databases."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from store_driving import apply, claim, completed_ending, end, ids, plan, run, states, submit

from rekindle.domain.definition import JobTemplate, Step
from rekindle.domain.rerun.request import How
from rekindle.domain.retention import RetentionRules, choose_pruned
from rekindle.domain.states import State
from rekindle.store.archive import Store
from rekindle.store.copying import copy_store
from rekindle.store.opening import open_store

TEMPORARY = JobTemplate("work", (Step("one", run="true"), Step("two", run="true")), temporary=("out",))


def attempts_of(store: Store, job: int) -> list[int]:
    with store.read() as archive:
        return [one.id for one in archive.attempts.listing([job], None)]


def history(store: Store) -> tuple[int, dict[str, int]]:
    """Return (workflow, jobs by name): `top` failed twice, completed, and ran again; `child` needs it."""
    workflow = submit(store, {"top": [], "child": ["top"]})
    jobs = ids(store, workflow)
    for failing in ({"top"}, {"top"}, set[str]()):
        run(store, workflow, failing=failing)
        apply(store, plan(store, [jobs["top"]]))
    run(store, workflow)
    return workflow, jobs


def choose(store: Store, jobs: dict[str, int], keep: int = 0) -> list[int]:
    with store.read() as archive:
        archived = archive.retention.archived_attempts(list(jobs.values()))
        all_ids = [one.id for one in archived]
        held, links = archive.retention.held(all_ids), archive.retention.links(all_ids)
    return [one.id for one in choose_pruned(archived, RetentionRules(keep_last=keep), 1e9, held, links).chosen]


def test_archived_attempts_are_chosen_and_live_ones_are_not(store):
    _, jobs = history(store)
    tops = attempts_of(store, jobs["top"])
    assert [one for one in choose(store, jobs) if one in tops] == tops[:-1]
    assert [one for one in choose(store, jobs, keep=3) if one in tops] == tops[:-3]


def test_what_a_resumed_attempt_keeps_is_held(store):
    workflow = submit(store, {"top": []})
    jobs = ids(store, workflow)
    run(store, workflow, failing={"top"})
    apply(store, plan(store, [jobs["top"]], How("failed-step")))
    assert choose(store, jobs) == []  # the next attempt resumes it
    run(store, workflow)
    assert choose(store, jobs) == []  # the live one builds on it
    apply(store, plan(store, [jobs["top"]]))
    run(store, workflow)
    assert choose(store, jobs) == attempts_of(store, jobs["top"])[:2]


def test_results_that_a_live_attempt_used_are_held(store):
    workflow, jobs = history(store)
    tops = attempts_of(store, jobs["top"])
    with store.write() as archive:
        child = archive.jobs.get([jobs["child"]])[0].attempt
        archive.fingerprints.put_needed({child: {jobs["top"]: tops[2]}})
    assert tops[2] not in choose(store, jobs)
    assert states(store, workflow)["child"] is State.COMPLETED


def test_a_pruned_attempt_keeps_its_row_and_outdates_plans(store):
    _, jobs = history(store)
    going = choose(store, jobs)
    with store.read() as archive:
        before = {one.id: one for one in archive.attempts.by_id(going)}
    decided = plan(store, [jobs["top"]])
    with store.write() as archive:
        number = archive.retention.add({}, None, "removed", 10, 5.0)
        archive.retention.mark(number, going)
    with store.read() as archive:
        assert archive.reruns.is_outdated(decided)
        for one in archive.attempts.by_id(going):
            was = before[one.id]
            assert one.pruned_by == number
            assert (one.number, one.state, one.cause, one.started, one.ended, one.signature) == (
                was.number,
                was.state,
                was.cause,
                was.started,
                was.ended,
                was.signature,
            )
            assert one.result is None
            assert not one.failure or one.failure.message == was.failure.message
            assert not one.failure or one.failure.stderr == ""
        assert [one.attempt for one in archive.retention.pruned(going)] == going
        assert set(archive.retention.removals(99)) == set(going)
    with store.write() as archive:
        archive.retention.removed(going[:1])
    with store.read() as archive:
        assert set(archive.retention.removals(99)) == set(going[1:])
    assert choose(store, jobs) == []


def test_a_deleted_workflow_leaves_its_files_to_be_removed(store):
    workflow, jobs = history(store)
    every = [attempt for job in jobs.values() for attempt in attempts_of(store, job)]
    with store.write() as archive:
        archive.workflows.archive(workflow, 2.0)
        assert [one.id for one in archive.retention.archived_workflows(3.0)] == [workflow]
        assert archive.retention.archived_workflows(3.0, workflow + 1) == []
        assert archive.retention.archived_workflows(2.0) == []
        number = archive.retention.add({}, None, "removed", 0, 5.0)
        archive.retention.remove_files(number, archive.retention.attempts_of([workflow]))
        archive.workflows.delete(workflow)
    with store.read() as archive:
        assert set(archive.retention.removals(99)) == set(every)


def test_events_are_removed_by_age_and_workflow(store):
    workflow, _ = history(store)
    with store.write() as archive:
        archive.events.add(1.0, "submitted", workflow, {})
        archive.events.add(1.0, "submitted", None, {})
        assert archive.retention.count_events(1.5, workflow) == 1
        assert archive.retention.delete_events(1.5, workflow) == 1
        assert archive.retention.delete_events(1.5) == 1


def test_temporary_outputs_are_unneeded_when_all_that_need_them_are_done(store):
    workflow = submit(store, {"top": [], "one": ["top"], "two": ["top"]}, template={"top": TEMPORARY})
    jobs = ids(store, workflow)
    end(store, [completed_ending(one.id) for one in claim(store, workflow)])
    [first, second] = claim(store, workflow)
    end(store, [completed_ending(first.id)])
    with store.read() as archive:
        assert archive.temporary_outputs.declared_above(0)
        assert archive.temporary_outputs.unneeded() == []
    end(store, [completed_ending(second.id)])
    with store.write() as archive:
        [(job, attempt, _)] = archive.temporary_outputs.unneeded()
        assert job == jobs["top"]
        assert archive.temporary_outputs.unneeded([jobs["one"]]) == archive.temporary_outputs.unneeded()
        assert archive.temporary_outputs.unneeded([jobs["top"]]) == []
        assert not archive.statistics.has_removed_outputs()
        path = str(Path(store.folder).parent / "out")
        archive.temporary_outputs.decide([(attempt, "out", path)], 7.0)
        assert archive.temporary_outputs.pending() == [(attempt, "out", path, True)]
        assert archive.temporary_outputs.unneeded() == []
        archive.temporary_outputs.mark_removed([(attempt, "out")], 8.0)
        assert archive.temporary_outputs.pending() == []
        assert [one.path for one in archive.temporary_outputs.removed_of([attempt])] == [path]
        found = archive.temporary_outputs.removed_for([jobs["one"], jobs["two"]])
        assert [(one.job, one.producer) for one in found] == [(jobs["one"], jobs["top"]), (jobs["two"], jobs["top"])]
        assert archive.temporary_outputs.needed_by_waiting(workflow) == []
    apply(store, plan(store, [jobs["one"]]))
    with store.write() as archive:
        assert [one.job for one in archive.temporary_outputs.needed_by_waiting(workflow)] == [jobs["one"]]
        archive.workflows.delete(workflow)
        assert not archive.statistics.has_removed_outputs()


def test_compacting_keeps_every_row_and_shrinks_the_database(store):
    for number in range(20):
        submit(store, {f"job{at}": [] for at in range(300)}, name=f"flow{number}")
    with store.write() as archive:
        for one in archive.workflows.listing()[1:]:
            archive.workflows.delete(one.id)
    before, after = store.compact()
    assert after < before
    with store.read() as archive:
        assert [one.name for one in archive.workflows.listing()] == ["flow0"]
    submit(store, {"more": []}, name="more")


def test_a_copy_has_prunes_and_removed_outputs(store, tmp_path):
    _, jobs = history(store)
    going = choose(store, jobs)
    with store.write() as archive:
        archive.retention.mark(archive.retention.add({}, "old", "compressed", 1, 5.0), going)
        archive.temporary_outputs.decide([(going[0], "out", "/elsewhere/out")], 7.0)
    with closing(open_store(str(tmp_path / "copy"), create=True)) as target:
        copy_store(store, target, lambda _: None)
        with target.read() as archive:
            assert [one.attempt for one in archive.retention.pruned(going)] == going
            assert archive.statistics.has_removed_outputs()
