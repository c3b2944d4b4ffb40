"""`LaunchPad().fireworks`, `.launches` and `.workflows`, queried as with pymongo; and the LaunchPad's text forms."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from fireworks_store import Fireworks

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket
from rekindle.domain.errors import BadSelection, BadValue, Refused


@pytest.fixture
def pad(tmp_path: Path) -> LaunchPad:
    """Two workflows: 1 (COMPLETED) before 2 (FIZZLED), and 3 (READY)."""
    made = Fireworks(tmp_path / ".rekindle")
    first, second = made.add([{"a": 1, "_tasks": []}, {"a": 2, "b": {"c": [5, 6]}, "_tasks": []}], [(0, 1)])
    made.add([{"a": 3, "_tasks": []}], name="other", metadata={"user": "ada"})
    made.launch(first, {first: [{"stored_data": {"n": 7}}]})
    made.launch(first, {second: "Traceback: it broke"})
    return LaunchPad(store=tmp_path / ".rekindle")


def ids(documents: Any) -> list[int]:
    return [one["fw_id"] for one in documents]


def test_fireworks_are_found_sorted_skipped_and_limited(pad: LaunchPad) -> None:
    assert ids(pad.fireworks.find()) == [1, 2, 3]
    assert ids(pad.fireworks.find({"spec.a": {"$gte": 2}})) == [2, 3]
    assert ids(pad.fireworks.find().sort("spec.a", -1)) == [3, 2, 1]
    assert ids(pad.fireworks.find().sort([("spec.a", -1)]).skip(1).limit(1)) == [2]
    assert ids(pad.fireworks.find(sort=[("fw_id", -1)], limit=2)) == [3, 2]
    assert pad.fireworks.find()[1]["fw_id"] == 2
    assert ids(pad.fireworks.find({"name": re.compile("FW 1", re.I)})) == [2]


def test_a_firework_has_the_ids_of_its_launches(pad: LaunchPad) -> None:
    found = pad.fireworks.find_one({"fw_id": 2})
    assert found is not None
    assert (found["launches"], found["archived_launches"], found["state"]) == ([2], [], "FIZZLED")
    assert pad.fireworks.find_one({"fw_id": 99}) is None


@pytest.mark.parametrize(
    ("projection", "expected"),
    [
        ({"fw_id": 1, "_id": 0}, {"fw_id": 2}),
        (["fw_id", "spec.a"], {"fw_id": 2, "spec": {"a": 2}}),
        ({"spec.b.c": True}, {"spec": {"b": {"c": [5, 6]}}}),
        ({"spec.b": False, "launches": 0, "archived_launches": 0, "created_on": 0, "updated_on": 0, "name": 0},
         {"fw_id": 2, "state": "FIZZLED", "spec": {"a": 2, "_tasks": []}}),
    ],
)  # fmt: skip
def test_a_projection_keeps_or_leaves_out_fields(pad: LaunchPad, projection: Any, expected: dict[str, Any]) -> None:
    assert pad.fireworks.find_one({"fw_id": 2}, projection) == expected


def test_a_projection_that_keeps_and_leaves_out_is_refused(pad: LaunchPad) -> None:
    with pytest.raises(BadValue):
        pad.fireworks.find({}, {"fw_id": 1, "name": 0})


def test_launches_are_found_by_their_own_fields(pad: LaunchPad) -> None:
    assert [(one["launch_id"], one["fw_id"], one["state"]) for one in pad.launches.find()] == [
        (1, 1, "COMPLETED"),
        (2, 2, "FIZZLED"),
    ]
    assert pad.launches.count_documents({"state": "FIZZLED"}) == 1
    found = pad.launches.find_one({"launch_id": 1}, {"action.stored_data": 1})
    assert found == {"action": {"stored_data": {"n": 7}}}
    assert pad.launches.find_one({"fw_id": 2}, ["launch_id"]) == {"launch_id": 2}


def test_launches_include_archived_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pad = LaunchPad(store=tmp_path / ".rekindle")
    pad.add_wf({"spec": {"_tasks": [{"_fw_name": "PyTask", "func": "os.getpid"}]}})
    launch_rocket(pad)
    pad.rerun_fw(1)
    assert pad.launches.find_one({"state": "COMPLETED"}, ["fw_id", "launch_id"]) == {"fw_id": 1, "launch_id": 1}
    assert pad.launches.count_documents({"launch_id": 1}) == 1
    assert pad.fireworks.find_one({}, ["launches", "archived_launches"]) == {"launches": [], "archived_launches": [1]}


def test_workflows_are_found_by_their_fireworks(pad: LaunchPad) -> None:
    found = pad.workflows.find_one({"nodes": 1}, {"links": 1, "state": 1})
    assert found == {"state": "FIZZLED", "links": {"1": [2], "2": []}}
    assert [one["nodes"] for one in pad.workflows.find({"metadata.user": "ada"})] == [[3]]
    assert pad.workflows.count_documents({}) == 2


def test_distinct_and_counts(pad: LaunchPad) -> None:
    assert pad.fireworks.distinct("spec.a") == [1, 2, 3]
    assert pad.fireworks.distinct("spec.b.c", {"fw_id": 2}) == [5, 6]
    assert pad.fireworks.find({"spec.a": {"$lt": 3}}).distinct("state") == ["COMPLETED", "FIZZLED"]
    assert pad.fireworks.count_documents({"spec.a": {"$lt": 3}}, limit=1) == 1
    assert pad.fireworks.estimated_document_count() == 3


def test_an_unknown_field_is_an_error(pad: LaunchPad) -> None:
    with pytest.raises(BadSelection):
        list(pad.fireworks.find({"sate": "READY"}))
    with pytest.raises(BadSelection):
        list(pad.launches.find({"spec.a": 1}))


@pytest.mark.parametrize(
    ("collection", "method", "hint"),
    [
        ("fireworks", "update_one", "update_spec"),
        ("fireworks", "find_one_and_update", "update_spec"),
        ("launches", "delete_many", "mark_fizzled"),
        ("workflows", "insert_one", "add_wf"),
        ("workflows", "aggregate", "find"),
    ],
)
def test_writes_are_refused_with_the_method_to_use(pad: LaunchPad, collection: str, method: str, hint: str) -> None:
    with pytest.raises(Refused) as error:
        getattr(getattr(pad, collection), method)({}, {})
    assert hint in error.value.hint
    with pytest.raises(AttributeError):
        pad.fireworks.frobnicate()


def test_a_launchpad_is_written_as_text_and_read_again(pad: LaunchPad, tmp_path: Path) -> None:
    for name in ("my_launchpad.yaml", "my_launchpad.json"):
        pad.to_file(tmp_path / name)
        assert LaunchPad.from_file(tmp_path / name).to_dict() == pad.to_dict()
    for form in ("yaml", "json"):
        assert LaunchPad.from_format(pad.to_format(form), form).to_dict() == pad.to_dict()
    assert pad.as_dict() == pad.to_db_dict() == pad.to_dict()
    assert pad.fw_name == "fireworks::LaunchPad"
    for refused in (lambda: pad.to_format("xml"), lambda: pad.to_file("a.xml"), lambda: pad.from_format("", "xml")):
        with pytest.raises(ValueError, match="Unsupported format xml"):
            refused()


def test_what_the_store_does_by_itself_is_accepted_or_names_what_to_use(
    pad: LaunchPad, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rekindle.fireworks")
    pad.tuneup()
    pad.log_message(logging.WARNING, "packed")
    pad.maintain(infinite=False)
    pad.restore_backup_data(1, 1)
    assert "packed" in caplog.text
    assert "LaunchPad was MAINTAINED." in caplog.text
    for call, hint in (
        (lambda: pad.get_new_fw_id(), "add_wf"),
        (lambda: pad.get_new_launch_id(), "checkout_fw"),
        (lambda: pad.delete_fws([1]), "delete_wf"),
        (lambda: pad.change_launch_dir(1, "x"), "checkout_fw"),
    ):
        with pytest.raises(Refused) as error:
            call()
        assert hint in error.value.hint


def test_recoveries_are_those_of_the_checkpoints(pad: LaunchPad) -> None:
    found = pad.get_recovery(2)
    assert found is not None
    assert (found["_task_n"], found["_launch_id"], found["_prev_dir"]) == (0, 2, "/launches/2")
    with pytest.raises(ValueError, match="launch_id: 99 does not exist"):
        pad.get_recovery(99)


def test_trackers_have_the_ends_of_their_files(tmp_path: Path) -> None:
    pytest.importorskip("fireworks")
    made = Fireworks(tmp_path / ".rekindle")
    (only,) = made.add([{"_tasks": [], "_trackers": [{"filename": str(tmp_path / "log"), "nlines": 1}]}])
    made.launch(only, {only: [{}]})
    (tmp_path / "log").write_text("one\ntwo\n")
    pad = LaunchPad(store=tmp_path / ".rekindle")
    ((data),) = pad.get_tracker_data(only)
    assert data["launch_id"] == 1
    assert "two" in data["trackers"][0].content
    assert pad.get_tracker_data(99) == []
