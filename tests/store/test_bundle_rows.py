"""The rows of bundles: every table and column, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from store_driving import DIAMOND, apply, claim, ids, plan, revise, run, start, states, submit

from rekindle.domain.rerun.request import How
from rekindle.domain.states import Cause, State
from rekindle.engine.bundles.exporting import ExportOptions, ExportReport, export_workflow
from rekindle.engine.bundles.importing import Bundle, ImportReport, import_bundle
from rekindle.engine.session import Session
from rekindle.store.archive import Store
from rekindle.store.bundle_columns import COLUMNS, LEFT_OUT
from rekindle.store.bundles import IdRuns
from rekindle.store.integrity import table_columns
from rekindle.store.opening import open_store
from rekindle.store.queries import Query
from rekindle.testing import FakeClock
from stores import new_store_url

ROWS = """\
INSERT INTO patch (id, attempt, job, change) VALUES (7, {attempt}, {job}, '{{"set": {{"a": 1}}}}')
INSERT INTO canary_group (id, rerun, workflow, signature, how) SELECT 4, {rerun}, {workflow}, max(id), '{{}}' \
FROM signature
INSERT INTO canary (canary_group, role, job, attempt) VALUES (4, 'waits', {job}, {attempt})
INSERT INTO supervision (id, workflow, asked, began, host, boot_id, pid, pid_start, pid_space) VALUES (3, \
{workflow}, '{{}}', 1.5, 'h', 'b', 1, 2, 3)
INSERT INTO hook_delivery (id, workflow, attempt, event, token, hook, document, added) VALUES (9, {workflow}, \
{attempt}, 'failed', 't', '{{"event":"failed","target":"true"}}', '{{}}', 1.0)
INSERT INTO accepted (rerun, attempt, document) SELECT {rerun}, {attempt}, '{{"template":' || max(id) || \
',"revision":1,"binding":"{{}}","needed":{{"{job}":"d"}},"prints":{{"inputs":[{{"name":"i","path":"./in.csv",\
"digest":"e"}}]}}}}' FROM template
INSERT INTO temporary_output (attempt, name, path, decided) VALUES ({attempt}, 'o', './o.txt', 2.0)
INSERT INTO prune (id, at, request, logs, attempts, bytes) VALUES (5, 1.0, '{{}}', 'removed', 1, 10)
UPDATE attempt SET pruned_by = 5, code = 'c1', folder = '@/attempts/0000/00/{attempt}' WHERE id = {attempt}
INSERT INTO source (digest, modules) VALUES ('c1', '{{"m":"d"}}')
INSERT INTO fan_out (attempt, step, total, gone) VALUES ({attempt}, 1, 1, '[]')
INSERT INTO subtask (attempt, step, idx, item, state) VALUES ({attempt}, 1, 0, '"x"', 3)
INSERT INTO event (id, at, kind, workflow, detail) VALUES (90, 8.5, 'held', {workflow}, '{{"jobs": 1, "first": \
[{job}]}}')
INSERT INTO fingerprint (attempt, part, document) VALUES ({attempt}, 'needed', '{{"{job}":{attempt}}}')
INSERT INTO fingerprint (attempt, part, document) VALUES ({attempt}, 'files', \
'{{"outputs":[{{"name":"o","path":"@/attempts/0000/00/{attempt}/o","digest":"e"}}]}}')
INSERT INTO file (path, size, mtime_ns, inode, taken_ns, digest) VALUES ('./a', 1, 1, 1, 1, 'd')
INSERT INTO api_token (digest, scopes, created) VALUES ('secret-digest', '[]', 1.0)
"""
"""Rows of the tables that `lived` does not write otherwise."""

EVERYTHING = ExportOptions(inputs=True, outputs=True)


def execute(store: Store, statement: str) -> None:
    with store.write() as archive:
        archive.database.change(Query("any", "Any.", statement))


@pytest.fixture
def lived(store: Store) -> tuple[Store, int]:
    """A store with rows in every table. The bundled workflow's ids are not the first ones, and one job of it runs."""
    other = submit(store, {"x": ["y"], "y": []}, name="other")
    run(store, other)
    workflow = submit(store, {**DIAMOND, "more": ["bottom"]}, name="bündle\nline", bindings={"top": {"k": [1, "é"]}})
    run(store, workflow, failing=["left"])
    jobs = ids(store, workflow)
    rerun = apply(store, plan(store, [jobs["left"], *ids(store, other).values()], How(start="failed-step")))
    run(store, workflow, failing=["right"])
    revise(store, workflow, {**DIAMOND, "new": ["bottom"]}, name="bündle\nline", params={"p": 2})
    start(store, claim(store, workflow))
    with store.read() as archive:
        attempt = archive.attempts.listing([jobs["left"]], None)[0].id
    parts = {"workflow": workflow, "job": jobs["left"], "rerun": rerun, "attempt": attempt}
    from rekindle.engine.presence import this_process

    with store.write() as archive:
        runner = archive.runners.register(this_process(), "local", 1, 2.0, 9.0)
    for statement in ROWS.splitlines():
        execute(store, statement.format(**parts))
    execute(store, f"UPDATE attempt SET runner = {runner.id} WHERE workflow = {workflow}")
    return store, workflow


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "place" / "target"
    postgres = request.param == "postgres"
    url = new_store_url(request.getfixturevalue("postgres_server"), folder) if postgres else str(folder)
    with closing(open_store(url, create=True)) as made:
        yield made


def export(store: Store, workflow: int | str, path: Path) -> ExportReport:
    return export_workflow(Session(store, FakeClock()), str(workflow), path, EVERYTHING)


def bring(session: Session, path: Path, **more: Any) -> ImportReport:
    with Bundle(path) as bundle:
        return import_bundle(session, bundle, **more)


def test_every_table_and_column_is_in_a_bundle_or_left_out_for_a_reason() -> None:
    tables = table_columns()
    assert {*COLUMNS, *LEFT_OUT} == set(tables)
    for table, columns in COLUMNS.items():
        assert set(columns) == {column[0] for column in tables[table]}, table


def test_there_and_back_is_the_same_bundle(lived: tuple[Store, int], target: Store, tmp_path: Path) -> None:
    store, workflow = lived
    report = export(store, workflow, tmp_path / "first")
    assert [table for table, count in report.rows.items() if not count] == []
    submit(target, {"a": []}, name="taken ids")
    imported = bring(Session(target, FakeClock()), tmp_path / "first")
    export(target, imported.workflow or 0, tmp_path / "second")
    assert (tmp_path / "second").read_bytes() == (tmp_path / "first").read_bytes()
    with closing(open_store(str(tmp_path / "third" / "s"), create=True)) as third:
        again = bring(Session(third, FakeClock()), tmp_path / "second")
        export(third, again.workflow or 0, tmp_path / "fourth")
    assert (tmp_path / "fourth").read_bytes() == (tmp_path / "first").read_bytes()


def test_nothing_of_an_imported_workflow_goes_on(lived: tuple[Store, int], target: Store, tmp_path: Path) -> None:
    store, workflow = lived
    export(store, workflow, tmp_path / "first")
    session = Session(target, FakeClock())
    number = bring(session, tmp_path / "first").workflow
    assert number is not None
    running = [name for name, state in states(store, workflow).items() if state is State.RUNNING]
    assert running
    own = list(ids(target, number).values())
    with target.read() as archive:
        assert archive.check() == []
        assert archive.queue.ready(None, 10) == []
        assert archive.runners.alive() == []
        assert archive.supervisions.active(number) is None
        assert archive.hooks.pending(None) == []
        jobs = {job.name: job.attempt for job in archive.jobs.get(own)}
        ended = archive.attempts.get(jobs[running[0]] or 0)
        assert ended is not None
        assert (ended.state, ended.cause, ended.ended) == (State.CANCELED, Cause.CANCELED, 9.0)  # the newest time
        found = archive.workflows.find(number)
        assert found is not None
        assert found.archived is not None
        assert sum(found.counts.values()) == 5
    before, now = states(store, workflow), states(target, number)
    assert now == {**before, **dict.fromkeys(running, State.CANCELED)}


def test_ids_and_paths_are_those_of_the_store(lived: tuple[Store, int], target: Store, tmp_path: Path) -> None:
    store, workflow = lived
    export(store, workflow, tmp_path / "first")
    submit(target, {"a": [], "b": []}, name="taken ids")
    imported = bring(Session(target, FakeClock()), tmp_path / "first", into=tmp_path / "place" / "into")
    number = imported.workflow or 0
    jobs = ids(target, number)
    with target.read() as archive:
        first = archive.attempts.listing([jobs["left"]], None)[0]
        assert archive.fingerprints.needed([first.id])[first.id] == {jobs["left"]: first.id}
        [output] = archive.fingerprints.files([first.id])[first.id].outputs
        assert output.path == f"{first.folder}/o" == f"{target.folder}/attempts/0000/00/{first.id}/o"
        outline = archive.workflows.outline(number, 1)
        assert sorted(outline.jobs) == ["bottom", "left", "more", "right", "top"]
        found = archive.workflows.find(number)
        assert found is not None
        assert found.directory == str(tmp_path / "place" / "into")


def test_tokens_and_other_workflows_are_not_in_a_bundle(lived: tuple[Store, int], tmp_path: Path) -> None:
    import zipfile

    store, workflow = lived
    export(store, workflow, tmp_path / "first")
    with zipfile.ZipFile(tmp_path / "first") as bundle:
        text = b"".join(bundle.read(name) for name in bundle.namelist())
    assert b"secret-digest" not in text
    assert b'"other"' not in text


def test_ids_are_numbered_in_order_without_those_between() -> None:
    runs = IdRuns([3, 4, 5, 9, 20, 21])
    assert [runs.number(one) for one in (2, 3, 5, 6, 9, 10, 20, 21, 22)] == [None, 1, 3, None, 4, None, 5, 6, None]
    assert list(runs) == [3, 4, 5, 9, 20, 21]
    assert runs.count == 6
    assert IdRuns([]).number(1) is None
