"""The content store of jobs with `cache: true`: what is kept, its bound, prunes, poisoned contents."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from engine_project import Project

from rekindle.domain.changes.fingerprints import FileFingerprints
from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.retention import RetentionRules
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries.selections import find_workflow
from rekindle.engine.retention import cache, cleanup
from rekindle.engine.retention.prune import PruneRequest, plan_prune
from rekindle.engine.retention.prune import prune as prune_attempts
from rekindle.engine.submit.submit import delete_workflow
from rekindle.journal.content_store import ContentStore
from rekindle.journal.kept_outputs import documents
from rekindle.journal.restored_outputs import RestoreProblem, RestoreTarget, restore
from rekindle.store.inspection import inspect, inspect_opened

SWEEP = """
    name: sweep
    defaults: {cache: true}
    jobs:
      make:
        matrix: {i: [0, 1, 2]}
        outputs: {o: "o${matrix.i}"}
        run: "head -c 1000000 /dev/zero | tr '\\\\0' ${matrix.i} > o${matrix.i}"
"""


def folder_of(project: Project) -> str:
    return project.session.store.folder


def kept(project: Project) -> list[int]:
    return [one.attempt for one in cache.look(project.session).attempts]


def on_disk(project: Project) -> int:
    return len(list(ContentStore(folder_of(project)).contents()))


def targets(project: Project, attempt: int) -> list[RestoreTarget]:
    with project.session.store.read() as archive:
        prints = archive.fingerprints.files([attempt]).get(attempt, FileFingerprints())
    return [RestoreTarget(one.name, one.path, one.digest, str(project.folder)) for one in prints.outputs]


def put_back(project: Project, attempt: int) -> RestoreProblem | None:
    found = restore(folder_of(project), attempt, targets(project, attempt))
    with project.session.store.write() as archive:
        cache.record_restores(archive, {attempt: found}, project.session.clock())
    return found


def events(project: Project, kind: str) -> list[dict[str, object]]:
    with project.session.store.read() as archive:
        return [dict(one.detail) for one in archive.events.of_kind(kind)]


def poison(project: Project, digest: str) -> None:
    path = Path(ContentStore(folder_of(project)).path(digest))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def problems(project: Project) -> list[str]:
    folder = Path(project.session.store.folder)
    if (folder / "store.db").exists():
        found = inspect(folder, deep=True, progress=lambda _: None)
    else:
        found = inspect_opened(project.session.store, deep=True, progress=lambda _: None)
    return [one.text for one in found.problems]


def test_outputs_are_kept_and_put_back(project):
    project.run(SWEEP)
    assert len(kept(project)) == on_disk(project) == 3
    (project.folder / "o1").unlink()
    for attempt in kept(project):
        assert put_back(project, attempt) is None
    assert (project.folder / "o1").read_bytes() == b"1" * 1_000_000
    assert problems(project) == []


def test_outputs_of_other_jobs_are_not_kept(project):
    project.run("""
        name: some
        defaults: {cache: true}
        jobs:
          no: {run: "echo no > no", outputs: {o: no}, cache: false}
          none: {run: "true"}
          failed: {run: "echo x > failed; exit 1", outputs: {o: failed}}
          step: {steps: [{name: a, run: "echo a > a"}, {name: b, run: "echo b > b"}], outputs: {a: a, b: b}}
    """)
    [attempt] = kept(project)
    assert [target.name for target in targets(project, attempt)] == ["a", "b"]
    assert on_disk(project) == 2


def test_a_call_keeps_its_outputs(project):
    (project.folder / "functions.py").write_text("def make():\n    open('out', 'w').write('made')\n")
    project.run("{name: called, jobs: {make: {call: 'functions:make', outputs: {o: out}, cache: true}}}")
    [attempt] = kept(project)
    (project.folder / "out").unlink()
    assert put_back(project, attempt) is None
    assert (project.folder / "out").read_text() == "made"


def test_large_outputs_are_kept_beside_the_workers_loop(project, monkeypatch):
    size = 70_000_000  # above `LARGE_READ`
    project.run(f"{{name: large, jobs: {{make: {{run: 'truncate -s {size} out', outputs: {{o: out}}, cache: true}}}}}}")
    [attempt] = kept(project)
    (project.folder / "out").unlink()
    assert put_back(project, attempt) is None
    assert (project.folder / "out").stat().st_size == size


def test_the_jobs_definition_does_not_depend_on_it(project):
    project.run(SWEEP)
    again = project.submit(SWEEP.replace("cache: true", "cache: false"))
    assert project.work().completed == 0
    assert again.revision == 2
    assert set(project.states().values()) == {State.COMPLETED}


@pytest.mark.parametrize("why", ["disk", "size", "bound"])
def test_a_failure_to_keep_is_a_warning_and_never_fails_the_job(project, monkeypatch, why):
    if why == "disk":
        Path(folder_of(project), "cache").write_text("in the way of the folder")
        text = "Not a directory"
    elif why == "size":
        monkeypatch.setenv("REKINDLE_CACHE_SIZE", "1K")
        text = "the outputs are larger than the cache may be"
    else:
        text = "out is a FIFO"
    make = "mkdir d; mkfifo d/out" if why == "bound" else "mkdir d; head -c 2000 /dev/zero > d/out"
    report = project.run(f"{{name: w, jobs: {{make: {{run: '{make}', outputs: {{o: d}}, cache: true}}}}}}")
    assert project.states() == {"make": State.COMPLETED}
    [event] = events(project, "not_cached")
    assert str(event["why"]).endswith(text)
    assert report.warnings == (f"make: its outputs are not in the cache: {event['why']}",)
    assert kept(project) == []


def test_a_bound_that_is_no_size_is_refused_before_anything_runs(project, monkeypatch):
    project.submit(SWEEP)
    monkeypatch.setenv("REKINDLE_CACHE_SIZE", "lots")
    with pytest.raises(BadValue, match="REKINDLE_CACHE_SIZE is 'lots'"):
        project.work()
    monkeypatch.delenv("REKINDLE_CACHE_SIZE")
    assert set(project.states().values()) == {State.READY}
    project.work()


def test_a_runner_keeps_the_cache_below_its_bound(project, monkeypatch):
    monkeypatch.setattr(cleanup, "TRIM_SECONDS", 0.0)
    monkeypatch.setenv("REKINDLE_CACHE_SIZE", "2500000B")
    project.submit(SWEEP)
    project.work(slots=1)
    assert len(kept(project)) == on_disk(project) == 2
    assert cache.look(project.session).bytes <= 2_500_000


def test_contents_that_attempts_share_count_once_for_the_bound(project, monkeypatch):
    monkeypatch.setenv("REKINDLE_CACHE_SIZE", "2500000B")
    project.run(SWEEP.replace("tr '\\\\0' ${matrix.i}", "cat"))
    assert (len(kept(project)), on_disk(project)) == (3, 1)


def test_the_least_recently_used_outputs_go_first(project):
    project.submit(SWEEP)
    project.work(slots=1)
    first, second, third = kept(project)
    put_back(project, first)
    assert kept(project) == [second, third, first]
    plan = cache.plan_prune(project.session, max_size=1_500_000)
    assert [one.attempt for one in plan.attempts] == [second, third]
    assert (plan.bytes, plan.left) == (2_000_000, 1_000_000)
    done = cache.prune(project.session, plan)
    assert (done.bytes, done.contents, on_disk(project), kept(project)) == (2_000_000, 2, 1, [first])
    gone = put_back(project, second)
    assert gone is not None
    assert gone.kind == "absent"


def test_outputs_that_were_used_since_the_plan_stay(project):
    project.run(SWEEP)
    plan = cache.plan_prune(project.session, max_size=0)
    put_back(project, kept(project)[0])
    done = cache.prune(project.session, plan)
    assert len(done.attempts) == 2
    assert len(kept(project)) == on_disk(project) == 1


def test_a_content_stays_as_long_as_another_attempt_has_left_it(project):
    project.run(SWEEP)
    other = SWEEP.replace("name: sweep", "name: other").replace("o${matrix.i}", "p${matrix.i}")
    project.submit(other, "other.yaml")
    project.work()
    assert (len(kept(project)), on_disk(project)) == (6, 3)
    only = find_workflow(project.session, "sweep").id
    plan = cache.plan_prune(project.session, only=only, max_size=0)
    assert (len(plan.attempts), plan.contents) == (3, 0)
    cache.prune(project.session, plan)
    assert (len(kept(project)), on_disk(project)) == (3, 3)
    assert all(put_back(project, attempt) is None for attempt in kept(project))


def test_a_prune_without_a_rule_is_refused(project):
    with pytest.raises(UsageError, match="say what to remove from the cache"):
        cache.plan_prune(project.session)


def test_outputs_go_with_pruned_attempts_and_deleted_workflows(project):
    project.run(SWEEP)
    names = [f"make[i={i}]" for i in range(3)]
    project.submit(SWEEP.replace("1000000", "500000"))
    project.rerun(*names)
    project.work()
    assert (len(kept(project)), on_disk(project)) == (6, 6)
    rules = RetentionRules(keep_last=0)
    done = prune_attempts(
        project.session, plan_prune(project.session, Selection(everything=True), PruneRequest(rules)), {}
    )
    assert len(done.attempts) == 3
    assert (len(kept(project)), on_disk(project)) == (3, 3)
    delete_workflow(project.session, find_workflow(project.session, "sweep").id)
    assert (kept(project), on_disk(project)) == ([], 0)
    assert list(documents(ContentStore(folder_of(project)))) == []


def test_a_poisoned_content_is_found_by_verify_and_by_store_check(project):
    project.run(SWEEP)
    [first, *others] = kept(project)
    [target] = targets(project, first)
    poison(project, target.digest)
    assert any(target.digest in line for line in problems(project))
    found = cache.verify(project.session, lambda _: None)
    assert [(one.digest, one.attempts) for one in found.poisoned] == [(target.digest, (first,))]
    assert (found.sound, found.incomplete, kept(project)) == (False, (first,), others)
    assert problems(project) == []
    assert cache.verify(project.session, lambda _: None).sound
    [event] = events(project, "cache_poisoned")
    assert (event["contents"], event["attempts"]) == (1, [first])


def test_a_poisoned_content_is_forgotten_when_a_restore_finds_it(project):
    project.run(SWEEP)
    [first, *others] = kept(project)
    [target] = targets(project, first)
    poison(project, target.digest)
    Path(target.path).unlink()
    found = put_back(project, first)
    assert found is not None
    assert found.kind == "poisoned"
    assert not Path(target.path).exists()
    assert kept(project) == others
    [event] = events(project, "cache_poisoned")
    assert event["digest"] == target.digest


def test_a_document_without_a_row_goes_and_one_of_a_running_attempt_stays(project):
    project.run(SWEEP)
    store = ContentStore(folder_of(project))
    first = kept(project)[0]
    with project.session.store.write() as archive:
        archive.cached_outputs.forget([first])
    contents, size, held = cache.sweep(project.session)
    assert (contents, size, held, on_disk(project)) == (1, 1_000_000, set(), 2)
    unnamed = store.add_small(str(project.folder / "spec.yaml"))
    cache.sweep(project.session)
    assert store.touch(unnamed)  # an attempt may be about to name it
    os.utime(store.path(unnamed), (1, 1))
    cache.sweep(project.session)
    assert not store.touch(unnamed)


def test_prunes_and_restores_at_once_restore_all_or_nothing(project):
    project.run(SWEEP)
    first = kept(project)[0]
    wanted, found, stopped = targets(project, first), [], threading.Event()
    content = Path(wanted[0].path).read_bytes()

    def restore_again() -> None:
        while not stopped.is_set():
            Path(wanted[0].path).unlink(missing_ok=True)
            problem = restore(folder_of(project), first, wanted)
            found.append(None if problem is None else problem.kind)
            there = Path(wanted[0].path)
            found.append("broken" if (problem is None) != there.exists() else None)
            if there.exists() and there.read_bytes() != content:
                found.append("broken")

    worker = threading.Thread(target=restore_again)
    worker.start()
    for _ in range(20):
        cache.prune(project.session, cache.plan_prune(project.session, max_size=0))
        cache.sweep(project.session)
    stopped.set()
    worker.join(60)
    cache.sweep(project.session)
    assert set(found) <= {None, "absent"}
    assert on_disk(project) == 0
    Path(wanted[0].path).unlink(missing_ok=True)
    problem = restore(folder_of(project), first, wanted)
    assert problem is not None
    assert problem.kind == "absent"
