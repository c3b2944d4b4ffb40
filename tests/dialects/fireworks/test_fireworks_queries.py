"""FireWorks' filters over fireworks, launches and workflows, on real and on written history."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fireworks_store import Fireworks
from flow_folder import Flows, act, fw, py, wf

from rekindle.dialects.fireworks.fw_documents import firework_documents
from rekindle.dialects.fireworks.queries import (
    FIREWORK,
    IS_FIREWORK,
    LAUNCH_FIELDS,
    WITHIN_LAUNCHES,
    document_of,
    select_fireworks,
    select_workflows,
)
from rekindle.domain.errors import BadSelection
from rekindle.engine.queries.job_queries import job_documents
from rekindle.engine.rerun.control import hold
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import archive_workflow


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flows, dict[int, int]]:
    """A workflow that ran: prep changes the spec of use, broken fails, and again failed twice."""
    flows = Flows(tmp_path_factory.mktemp("flows"))
    (flows.folder / "rekindle.yaml").write_text("name: native\njobs: {one: {run: 'true'}}\n")
    assert flows("submit", str(flows.folder / "rekindle.yaml")) == 0
    ids = flows.add(
        wf(
            fw(1, py("builtins.sum", [1, 2, 3], outputs=["total"]), act(stored_data={"energy": -1.5}), name="prep"),
            fw(2, py("builtins.print", inputs=["total"]), name="use", total=0, x=1),
            fw(3, py("builtins.print"), py("builtins.int", "My custom error message"), name="broken"),
            fw(4, py("builtins.int", "another"), name="again"),
            fw(5, py("builtins.print"), name="after"),
            links={1: [2], 3: [5]},
        )
    )
    flows.run()
    assert flows("rerun", str(ids[4]), "--yes", "--work") == 2
    return flows, ids


@pytest.fixture
def session(ran: tuple[Flows, dict[int, int]]) -> Iterator[Session]:
    with open_session(ran[0].url) as opened:
        yield opened


def numbers(found: list[int], ids: Mapping[int, int]) -> list[int]:
    back = {job: number for number, job in ids.items()}
    return [back[one] for one in found]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"state": "FIZZLED"}, [3, 4]),
        ({"state": {"$in": ["COMPLETED", "WAITING"]}}, [1, 2, 5]),
        ({"state": {"$regex": "^W"}}, [5]),
        ({"state": "fizzled"}, []),
        ({"name": {"$in": ["prep", "after"]}}, [1, 5]),
        ({"spec.total": 6}, [2]),
        ({"spec.total": {"$exists": True}}, [2]),
        ({"spec.total": 0}, []),
        ({"spec.x": 1, "state": "COMPLETED"}, [2]),
        ({"spec._tasks._fw_name": "PyTask"}, [1, 2, 3, 4, 5]),
        ({"spec._tasks": {"$size": 2}}, [1, 3]),
        ({"spec._tasks.1.func": "builtins.int"}, [3]),
        ({"$or": [{"spec.x": 1}, {"$and": [{"state": "FIZZLED"}, {"name": {"$ne": "broken"}}]}]}, [2, 4]),
        ({"$nor": [{"state": "FIZZLED"}, {"spec.x": 1}]}, [1, 5]),
        ({"launches": {"$size": 0}}, [5]),
        ({"launches": {"$ne": []}}, [1, 2, 3, 4]),
        ({"archived_launches": {"$size": 1}}, [4]),
        ({"launches.state": "FIZZLED"}, [3, 4]),
        ({"launches.action.stored_data.energy": {"$lt": 0}}, [1]),
        ({"archived_launches.action.stored_data._exception._stacktrace": {"$regex": "another"}}, [4]),
        ({"launches": {"$elemMatch": {"state": "COMPLETED", "runtime_secs": {"$gte": 0}}}}, [1, 2]),
        ({"created_on": {"$gt": "2020"}, "updated_on": {"$gt": "2020"}}, [1, 2, 3, 4, 5]),
    ],
)
def test_filters_of_fireworks(session, ran, query, wanted):
    assert numbers(select_fireworks(session, query), ran[1]) == wanted


STACKTRACE = "action.stored_data._exception._stacktrace"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, [1, 2, 3, 4]),
        ({STACKTRACE: {"$regex": "My custom error message"}}, [3]),
        ({STACKTRACE: {"$regex": "my CUSTOM", "$options": "i"}}, [3]),
        ({STACKTRACE: {"$exists": True}}, [3, 4]),
        ({"action.stored_data._task.func": "builtins.int"}, [3, 4]),
        ({"action.stored_data.energy": -1.5}, [1]),
        ({"action.update_spec.total": 6}, [1]),
        ({"action.exit": True}, [3, 4]),
        ({"action.mod_spec": []}, [1, 2, 3, 4]),
        ({"state": "COMPLETED", "state_history.state": "RUNNING"}, [1, 2]),
        ({"state_history": {"$elemMatch": {"state": "FIZZLED", "created_on": {"$gt": "2020"}}}}, [3, 4]),
        ({"host": {"$exists": True}, "fworker.name": {"$type": "string"}}, [1, 2, 3, 4]),
        ({"launch_dir": {"$regex": "^/"}, "time_end": {"$gt": "2020"}}, [1, 2, 3, 4]),
        ({"runtime_secs": {"$gt": 3600}}, []),
        (
            {"$or": [{"state": "FIZZLED", STACKTRACE: {"$regex": "another"}}, {"action.stored_data.energy": -1.5}]},
            [1, 4],
        ),
    ],
)
def test_filters_of_launches_look_at_live_ones(session, ran, query, wanted):
    assert numbers(select_fireworks(session, query, launches=True), ran[1]) == wanted


def test_one_launch_has_to_match_the_whole_filter(session, ran):
    ids = select_fireworks(session, {}, launches=True)
    live = [one["launches"][0]["launch_id"] for one in firework_documents(session, ids)]
    assert select_fireworks(session, {"launch_id": live[2]}, launches=True) == [ids[2]]
    assert select_fireworks(session, {"launches": live[2]}) == [ids[2]]
    assert select_fireworks(session, {"launches.0": live[2]}) == [ids[2]]
    archived = firework_documents(session, [ran[1][4]])[0]["archived_launches"][0]["launch_id"]
    assert select_fireworks(session, {"launch_id": archived}, launches=True) == []
    assert select_fireworks(session, {"archived_launches": archived}) == [ran[1][4]]


def test_queried_launches_equal_shown_launches(session, ran):
    whole = document_of({**FIREWORK, **WITHIN_LAUNCHES})
    ids = select_fireworks(session, {})
    shown = firework_documents(session, ids, times=True)
    for (number, document), one in zip(job_documents(session, whole, IS_FIREWORK, ids), shown, strict=True):
        assert number == one["fw_id"]
        for key in ("launches", "archived_launches"):
            asked = [_plain(launch) for launch in document.pop(key)]
            assert asked == [_plain({name: launch[name] for name in LAUNCH_FIELDS}) for launch in one.pop(key, [])]
        assert document == one


def _plain(launch: dict[str, Any]) -> dict[str, Any]:
    """Remove the checkpoints, which queries cannot see."""
    history = [{key: one[key] for key in ("state", "created_on")} for one in launch["state_history"]]
    return {**launch, "state_history": history, "fworker": launch["fworker"]["name"]}


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        ([("name", 1)], [5, 4, 3, 1, 2]),
        ([("name", -1)], [2, 1, 3, 4, 5]),
        ([("state", 1), ("name", -1)], [2, 1, 3, 4, 5]),
        ([("spec.x", -1), ("fw_id", -1)], [2, 5, 4, 3, 1]),
        ([("archived_launches", -1), ("fw_id", 1)], [4, 1, 2, 3, 5]),
    ],
)
def test_fireworks_are_sorted_by_any_field(session, ran, sort, wanted):
    assert numbers(select_fireworks(session, {}, sort=sort), ran[1]) == wanted
    assert numbers(select_fireworks(session, {}, sort=sort, limit=2), ran[1]) == wanted[:2]


def test_launches_are_sorted_by_their_fields(session, ran):
    found = numbers(select_fireworks(session, {}, launches=True, sort=[("time_start", -1)]), ran[1])
    assert found[0] == 4
    assert set(found) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("query", "launches", "said", "hint"),
    [
        ({"stat": 1}, False, "fireworks have no field 'stat'", "state"),
        ({"$or": [{"spec.x": 1}, {"Spec.x": 1}]}, False, "fireworks have no field 'Spec.x'", "spec"),
        ({"action.stored_data.x": 1}, False, "fireworks have no field 'action.stored_data.x'", "-lm"),
        ({"spec.x": 1}, True, "launches have no field 'spec.x'", "known: fw_id"),
        ({"spec.x": {"$foo": 1}}, False, "query at spec.x.$foo: unknown operator", "$"),
        ({"spec.x": {1, 2}}, False, "the query cannot be written as JSON", ""),
        ([], False, "the query must be an object", ""),
    ],
)
def test_invalid_queries_are_refused(session, query, launches, said, hint):
    with pytest.raises(BadSelection) as raised:
        select_fireworks(session, query, launches=launches)
    assert said in raised.value.message
    assert hint in (raised.value.hint or "")


def test_an_unknown_field_to_sort_by_is_refused(session):
    with pytest.raises(BadSelection, match="fireworks have no field 'colour'"):
        select_fireworks(session, {}, sort=[("colour", 1)])


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Fireworks]:
    made = Fireworks(tmp_path / "s")
    yield made
    made.session.close()


def test_each_state_selects_its_fireworks(written):
    first = written.add([{}, {}, {}, {}, {}, {}, {}], [(0, 6)])
    written.launch(first[0], {first[1]: "Traceback", first[2]: [{}, {}]})
    second = written.add([{}, {}, {}], name="aside")
    later = written.add([{}])
    hold(written.session, [first[6]], "paused")
    hold(written.session, [first[2], second[0]], "defused")
    hold(written.session, [second[1]], "for another reason")
    archive_workflow(written.session, 3)
    states = {
        "COMPLETED": [first[2]],  # a hold has no effect on it
        "FIZZLED": [first[1]],
        "RESERVED": [first[0], *first[3:6]],
        "PAUSED": [first[6]],
        "DEFUSED": second[:2],
        "READY": [second[2]],
        "ARCHIVED": later,
        "WAITING": [],
        "RUNNING": [],
    }
    for word, wanted in states.items():
        assert select_fireworks(written.session, {"state": word}) == wanted
        others = [one for one in (*first, *second, *later) if one not in wanted]
        assert select_fireworks(written.session, {"state": {"$ne": word}}) == others
    assert select_fireworks(written.session, {}) == [*first, *second, *later]


def test_ids_are_compared_as_all_values_are(written):
    written.add([{}, {}, {}])
    cases: list[tuple[object, list[int]]] = [
        (2, [2]),
        (2.0, [2]),
        ("2", []),
        ([2], []),
        ({"$eq": 2}, [2]),
        ({"$eq": [2]}, []),
        ({"$in": [3, 1, 2**70]}, [1, 3]),
        ({"$in": []}, []),
        ({"$gt": 1, "$in": [1, 2]}, [2]),
        ({"$ne": 2}, [1, 3]),
        (None, []),
    ]
    for asked, wanted in cases:
        assert select_fireworks(written.session, {"fw_id": asked}) == wanted


def test_a_filter_may_be_nested_deeply(written):
    ids = written.add([{"x": 1}, {"x": 2}])
    query: dict[str, Any] = {"$or": [{"spec.x": 2}, {"state": "RUNNING"}]}
    for _ in range(30):
        query = {"$and": [{"$nor": [{"$nor": [query]}]}, {"state": "READY"}]}
    assert select_fireworks(written.session, query) == ids[1:]
    for _ in range(10_000):
        query = {"$and": [query]}
    with pytest.raises(BadSelection, match="nested too deeply"):
        select_fireworks(written.session, query)


def test_filters_of_workflows(written):
    one = written.add([{}, {}, {}], [(0, 1)], name="one", metadata={"project": "alloys", "n": 3})
    two = written.add([{}], name="two", metadata={"project": "glass"})
    written.launch(one[0], {one[0]: "Traceback"})
    written.launch(two[0], {two[0]: [{}, {}]})
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [1, 2]),
        ({"name": "two"}, [2]),
        ({"metadata.project": {"$in": ["alloys"]}, "metadata.n": {"$gte": 3}}, [1]),
        ({"state": "COMPLETED"}, [2]),
        ({"state": "FIZZLED"}, [1]),
        ({"nodes": one[1]}, [1]),
        ({"nodes": {"$size": 1}}, [2]),
        ({f"fw_states.{one[1]}": "WAITING"}, [1]),
        ({f"links.{one[0]}": one[1]}, [1]),
        ({f"parent_links.{one[1]}": {"$exists": True}}, [1]),
        ({"created_on": {"$regex": "^2024-05-01"}, "updated_on": {"$gt": "2020"}}, [1, 2]),
        ({"$nor": [{"name": "two"}]}, [1]),
    ]
    for query, wanted in cases:
        assert select_workflows(written.session, query) == wanted
    assert select_workflows(written.session, {}, sort=[("name", -1)], limit=1) == [2]
    archive_workflow(written.session, 2)
    assert select_workflows(written.session, {"state": "ARCHIVED"}) == [2]
    with pytest.raises(BadSelection, match=r"workflows have no field 'spec\.x'"):
        select_workflows(written.session, {"spec.x": 1})


def test_ten_thousand_fireworks_are_searched_at_once(written):
    written.add([{"x": at, "pad": "-" * 500, "_tasks": [{"_fw_name": "A"}] * 3} for at in range(10_000)])
    began = time.process_time()
    assert len(select_fireworks(written.session, {"spec.x": {"$gte": 9_990}})) == 10
    assert len(select_fireworks(written.session, {"state": "READY"})) == 10_000
    assert time.process_time() - began < 5  # about 0.1 s; one query for each job would take a minute
