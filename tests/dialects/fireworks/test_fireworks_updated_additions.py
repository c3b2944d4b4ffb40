"""Users change the specs of fireworks that another firework added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flow_folder import Flows, act, fw, in_folder, py, wf
from lpad_folder import Lpad

from rekindle.dialects.fireworks import LaunchPad


def keeps(number: int, *, priority: int = 0, **spec: Any) -> dict[str, Any]:
    """A firework that keeps its `x`."""
    return fw(number, py("flow_functions.keep", inputs=["x"]), name=f"k{number}", _priority=priority, **spec)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Flows, dict[str, int]]:
    """A firework that has added two others in a detour: one of them fizzled, and the other waits for it."""
    in_folder(tmp_path, monkeypatch)
    flows = Flows(tmp_path)
    detour = wf(fw(1, py("flow_functions.need", "/nowhere"), name="need"), keeps(2, x=0), links={1: [2]})
    ids = flows.add(wf(fw(1, act(detours=[detour]), name="root"), fw(2, py("builtins.print")), links={1: [2]}))
    assert flows.run() == 2
    named = flows.named(ids[1])
    assert [flows.state(named[one]) for one in ("root", "need", "k2")] == ["COMPLETED", "FIZZLED", "WAITING"]
    return flows, named


def mend(lpad: Lpad, ids: dict[str, int], path: Path) -> None:
    """Let `need` complete."""
    lpad.ok("update_fws", "-i", ids["need"], "-u", json.dumps({"_tasks.0.args": [str(path)]}))


def test_a_change_of_an_added_firework_lasts_through_reruns(added: tuple[Flows, dict[str, int]], lpad: Lpad) -> None:
    flows, ids = added
    mend(lpad, ids, flows.folder)
    done = lpad.ok("update_fws", "-i", ids["k2"], "-u", '{"x": 5, "deep.er": 1}')
    assert done.out == "Finished updating 1 FWs\n"
    assert (lpad.of(ids["k2"])["spec"]["x"], lpad.of(ids["k2"])["spec"]["deep"]) == (5, {"er": 1})
    assert lpad.json("get_fws", "-q", '{"spec.x": 5}', "-d", "ids") == ids["k2"]
    lpad.ok("rerun_fws", "-i", ids["need"])
    for rerun in ("k2", "need", "root"):
        assert flows.run() == 0
        assert flows.kept(ids["k2"]) == [5]
        assert flows.named(ids["root"]) == ids
        lpad.ok("rerun_fws", "-i", ids[rerun])
    assert flows.run() == 0
    assert flows.kept(ids["k2"]) == [5]
    assert len(flows.launches(ids["k2"])) == 4


def test_earlier_launches_keep_the_spec_that_they_had(added: tuple[Flows, dict[str, int]], lpad: Lpad) -> None:
    flows, ids = added
    mend(lpad, ids, flows.folder)
    (launch,) = lpad.of(ids["need"])["launches"]
    assert launch["action"]["stored_data"]["_task"]["args"] == ["/nowhere"]
    assert lpad.of(ids["need"])["spec"]["_tasks"][0]["args"] == [str(flows.folder)]


def test_changes_add_up_and_may_add_tasks(added: tuple[Flows, dict[str, int]]) -> None:
    flows, ids = added
    pad = LaunchPad(store=flows.url)
    pad.update_spec([ids["need"]], {"_tasks.0.args": [str(flows.folder)]})
    pad.update_spec(
        [ids["k2"]], {"$inc": {"spec.x": 2}, "$push": {"spec._tasks": py("flow_functions.note", "ran")}}, True
    )
    pad.update_spec([ids["k2"]], {"$inc": {"spec.x": 2}}, True)
    assert pad.rerun_fw(ids["root"]) == [ids["root"]]
    assert flows.run() == 0
    assert flows.kept(ids["k2"]) == [4]
    (launch,) = flows.launches(ids["k2"])
    assert [step.name for step in launch.steps] == ["0-PyTask", "1-PyTask"]
    assert Path(launch.folder or "", "ran").exists()


def test_priority_of_an_added_firework_lasts(added: tuple[Flows, dict[str, int]], lpad: Lpad) -> None:
    flows, ids = added
    done = lpad.ok("set_priority", 7, "-i", ids["k2"], ids["root"])
    assert done.out == "Finished setting priorities of 2 FWs\n"
    assert (flows.job(ids["k2"]).priority, flows.job(ids["root"]).priority) == (7, 7)
    mend(lpad, ids, flows.folder)
    lpad.ok("rerun_fws", "-i", ids["root"])
    assert flows.run() == 0
    assert (flows.job(ids["k2"]).priority, lpad.of(ids["k2"])["spec"]["_priority"]) == (7, 7)
    assert lpad.rekindle("store", "check").code == 0


def test_a_change_is_dropped_with_the_addition(added: tuple[Flows, dict[str, int]], lpad: Lpad) -> None:
    flows, ids = added
    lpad.ok("update_fws", "-i", ids["k2"], "-u", '{"x": 5}')
    lpad.ok("rerun_fws", "-i", ids["root"], "--undo-dynamic")
    flows.run()
    assert flows.spec(ids["k2"])["x"] == 0


def test_completed_and_invalid_changes_are_refused(added: tuple[Flows, dict[str, int]], lpad: Lpad) -> None:
    flows, ids = added
    mend(lpad, ids, flows.folder)
    assert lpad("update_fws", "-i", ids["need"], ids["k2"], "-u", '{"_tasks": 5}').code == 1
    assert "updates" not in json.loads(flows.job(ids["k2"]).binding)
    lpad.ok("rerun_fws", "-i", ids["need"])
    assert flows.run() == 0
    done = lpad.ok("update_fws", "-i", ids["k2"], "-u", '{"x": 5}')
    assert f"Cannot update spec of fw_id: {ids['k2']} with state: COMPLETED" in done.err
    assert flows.spec(ids["k2"])["x"] == 0


def test_a_recovery_survives_a_change_that_keeps_the_tasks(added: tuple[Flows, dict[str, int]], lpad: Lpad) -> None:
    flows, _ = added
    two = wf(fw(1, py("flow_functions.note", "ran"), py("flow_functions.need", str(flows.folder / "fixed"))))
    root = flows.add(wf(fw(1, act(additions=[two]))))
    flows.run()
    (child,) = set(flows.named(root[1]).values()) - {root[1]}
    lpad.ok("rerun_fws", "-i", child, "--task-level", "--copy-data")
    lpad.ok("set_priority", 3, "-i", child)
    (flows.folder / "fixed").touch()
    flows.run()
    first, second = flows.launches(child)
    assert second.steps[0].kept_from == first.id
    assert flows.state(child) == "COMPLETED"
