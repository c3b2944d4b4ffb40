"""What launches and reruns leave in the documents of fireworks: `_recovery`, `_exception_details`, changes of other
fireworks and the lines that trackers follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flow_folder import Flows, act, fw, in_folder, py, wf
from lpad_folder import AFTER, ODD, PREP, RELAX, Lpad

from rekindle.dialects.fireworks import LaunchPad


def found(lpad: Lpad, query: dict[str, Any]) -> list[int]:
    """Return the fireworks that match a query."""
    ids: list[int] = lpad.each("get_fws", "-q", json.dumps(query), "-d", "ids")
    return ids


@pytest.mark.parametrize(("words", "mode"), [((), None), (("--copy-data",), "cp"), (("--previous-dir",), "prev_dir")])
def test_a_recovery_is_in_the_spec_until_it_is_cleared(chain: Lpad, words: tuple[str, ...], mode: str | None) -> None:
    (launch,) = chain.of(RELAX)["launches"]
    chain.ok("rerun_fws", "-i", RELAX, "--task-level", *words)
    recovery = chain.of(RELAX)["spec"]["_recovery"]
    assert (recovery["_task_n"], recovery["_mode"]) == (2, mode)
    assert (recovery["_prev_dir"], recovery["_launch_id"]) == (launch["launch_dir"], launch["launch_id"])
    assert {"_all_stored_data", "_all_update_spec", "_all_mod_spec"} <= recovery.keys()
    assert chain.of(RELAX)["spec"].get("_launch_dir") == (launch["launch_dir"] if mode == "prev_dir" else None)
    assert found(chain, {"spec._recovery": {"$exists": True}}) == [RELAX]
    assert found(chain, {"spec._recovery._task_n": 2, "spec.alpha": 1.5}) == [RELAX]
    assert found(chain, {"spec._recovery._mode": mode, "spec._recovery": {"$exists": True}}) == [RELAX]
    chain.work()
    assert chain.of(RELAX)["spec"]["_recovery"] == recovery
    chain.ok("rerun_fws", "-i", RELAX, "--clear-recovery")
    assert "_recovery" not in chain.of(RELAX)["spec"]
    assert found(chain, {"spec._recovery": {"$exists": True}}) == []


def test_a_descendant_that_is_reset_has_no_recovery(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-i", RELAX, "--task-level")
    chain.ok("rerun_fws", "-i", PREP)
    assert [key for number in (PREP, RELAX, AFTER, ODD) for key in chain.of(number)["spec"] if "_rec" in key] == []


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flows:
    """An empty store."""
    in_folder(tmp_path, monkeypatch)
    return Flows(tmp_path)


def test_details_of_an_exception_are_in_the_spec_once_it_is_rerun(flows: Flows, lpad: Lpad) -> None:
    ids = flows.add(wf(fw(1, py("flow_functions.tell", str(flows.folder / "mended"))), fw(2, py("builtins.print"))))
    flows.run()
    query = {"spec._exception_details.said": "too hot"}
    pad = LaunchPad(store=flows.url)
    assert pad.get_fw_ids(query) == []
    pad.rerun_fw(ids[1])
    assert pad.get_fw_ids(query) == [ids[1]]
    assert pad.get_fw_dict_by_id(ids[1])["spec"]["_exception_details"] == {"said": "too hot"}
    assert lpad.of(ids[1])["spec"]["_exception_details"] == {"said": "too hot"}
    (flows.folder / "mended").touch()
    flows.run()
    assert pad.get_fw_ids(query) == [ids[1]]
    pad.rerun_fw(ids[1])  # it has completed now
    assert pad.get_fw_ids({"spec._exception_details": {"$exists": True}}) == []


def test_changes_by_other_fireworks_are_in_documents_and_found_by_queries(flows: Flows, lpad: Lpad) -> None:
    changes = [
        {"_push": {"list": 3}, "_set": {"deep->er": "x"}},
        {"_rename": {"old": "new"}},
        {"_inc": {"word": 1}},
        {"_unset": ["gone"]},
    ]
    child = fw(2, py("builtins.print"), list=[1], old=7, word="text", gone=True)
    ids = flows.add(wf(fw(1, act(update_spec={"up": 1}, mod_spec=changes)), child, links={1: [2]}))
    assert lpad.ok("pause_fws", "-i", ids[2]).code == 0
    flows.run()
    spec = lpad.of(ids[2])["spec"]
    assert {key: spec[key] for key in spec if key != "_tasks"} == {
        "list": [1, 3],
        "deep": {"er": "x"},
        "new": 7,
        "up": 1,
        "word": "text",  # the launch will fail with the change that does not fit
    }
    for query in (
        {"spec.list": 3},
        {"spec.deep.er": "x"},
        {"spec.new": 7},
        {"spec.up": 1},
        {"spec.gone": {"$exists": False}, "spec.word": "text", "spec.up": 1},
    ):
        assert found(lpad, query) == [ids[2]], query
    assert found(lpad, {"spec.old": 7}) == []
    assert found(lpad, {"spec": spec}) == [ids[2]]


def test_trackers_have_the_last_lines_of_their_files(flows: Flows, lpad: Lpad) -> None:
    script = "printf 'a\\nb\\nc\\n' > out; printf 'z\\n' | gzip > log.gz"
    trackers = [{"filename": "out", "nlines": 2}, {"filename": "log", "allow_zipped": True}, {"filename": "none"}]
    ids = flows.add(wf(fw(1, {"_fw_name": "ScriptTask", "script": script, "use_shell": True}, _trackers=trackers)))
    assert flows.run() == 0
    (launch,) = LaunchPad(store=flows.url).get_fw_dict_by_id(ids[1])["launches"]
    assert launch["trackers"] == [
        {"filename": "out", "nlines": 2, "content": "b\nc"},
        {"filename": "log", "nlines": 25, "allow_zipped": True, "content": "z"},
        {"filename": "none", "nlines": 25},
    ]
    assert lpad.of(ids[1])["launches"] == [
        {key: value for key, value in launch.items() if key not in ("time_start", "time_end", "runtime_secs")}
    ]


def test_a_checkpoint_has_the_data_from_before_its_task(flows: Flows) -> None:
    ids = flows.add(wf(fw(1, act(stored_data={"first": 1}), act(stored_data={"second": 2}))))
    assert flows.run() == 0
    (launch,) = LaunchPad(store=flows.url).get_fw_dict_by_id(ids[1])["launches"]
    checkpoints = [one["checkpoint"] for one in launch["state_history"]]
    assert [(one["_task_n"], one["_all_stored_data"]) for one in checkpoints] == [(1, {"first": 1})] * 2
    assert launch["action"]["stored_data"] == {"first": 1, "second": 2}
