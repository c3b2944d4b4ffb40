"""What calls and launches cost as stores grow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import rapidfire
from rekindle.engine.session import Session

STEPS = 10
"""The database reports each time that it has executed this many instructions."""


class CountingLaunchPad(LaunchPad):
    """Counts the instructions that the database executes."""

    count = 0

    def opened(self) -> Session:
        session = super().opened()
        session.store._driver.connection.set_progress_handler(self._report, STEPS)
        return session

    def _report(self) -> int:
        self.count += STEPS
        return 0

    def cost(self, call: Callable[[LaunchPad], Any]) -> int:
        """Return the number of instructions of a call."""
        before = self.count
        call(self)
        return self.count - before


CALLS: dict[str, Callable[[LaunchPad], Any]] = {
    "get_fw_dict_by_id": lambda pad: pad.get_fw_dict_by_id(5),
    "get_wf_summary_dict": lambda pad: pad.get_wf_summary_dict(5),
    "get_launchdir": lambda pad: pad.get_launchdir(5),
    "get_fw_ids": lambda pad: pad.get_fw_ids({"fw_id": 5}),
    "add_wf": lambda pad: pad.add_wf(ONE),
    "append_wf": lambda pad: pad.append_wf(ONE, [5]),
    "update_spec": lambda pad: pad.update_spec([5], {"size": 3}),
    "pause_fw": lambda pad: pad.pause_fw(5),
    "resume_fw": lambda pad: pad.resume_fw(5),
    "defuse_fw": lambda pad: pad.defuse_fw(6),
    "rerun_fw": lambda pad: pad.rerun_fw(7),
}
ONE = {"fw_id": 1, "spec": {"_tasks": [{"_fw_name": "PyTask", "func": "builtins.abs", "args": [1]}]}}


def test_a_call_on_one_firework_costs_the_same_in_a_store_of_many(tmp_path: Path) -> None:
    few, many = (CountingLaunchPad(store=tmp_path / name) for name in ("few", "many"))
    few.bulk_add_wfs([ONE] * 10)
    many.bulk_add_wfs([ONE] * 200)
    for call in (CALLS["get_fw_dict_by_id"], CALLS["add_wf"]):  # the first calls also prepare a store
        few.cost(call), many.cost(call)
    costs = {name: (few.cost(call), many.cost(call)) for name, call in CALLS.items()}
    assert {name: cost for name, cost in costs.items() if cost[1] > 1.3 * cost[0]} == {}


def test_what_a_detour_gets_of_the_firework_that_adds_it_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"_fw_name": "ScriptTask", "script": 'printf %s "$REKINDLE_INPUTS" > ../inputs', "use_shell": True}
    detours = [{"name": f"detour{number}", "spec": {"_tasks": []}} for number in range(20)]
    write = f"echo '{json.dumps({'detours': detours})}' > FWAction.json"
    root = {"_tasks": [{"_fw_name": "ScriptTask", "script": write, "use_shell": True}]}
    monkeypatch.chdir(tmp_path)
    pad = LaunchPad()
    pad.add_wf({"fws": [{"fw_id": 1, "spec": root}, {"fw_id": 2, "spec": {"_tasks": [seen]}}], "links": {"1": [2]}})
    rapidfire(pad, strm_lvl="CRITICAL")
    (launch,) = pad.get_fw_dict_by_id(1)["launches"]
    assert [one["name"] for one in launch["action"]["detours"]] == [one["name"] for one in detours]
    inputs = json.loads((tmp_path / "inputs").read_text())
    assert inputs["Unnamed-FW"] == {"result": {}, "outputs": {}}


ADDS = """\
import json
import os
from pathlib import Path

def firework(func, *args):
    return {"spec": {"_tasks": [{"_fw_name": "PyTask", "func": func, "args": args}]}}

def detours(count):
    Path("FWAction.json").write_text(json.dumps({"detours": [firework("builtins.abs", at) for at in range(count)]}))

def chain(count):
    added = [firework("adds.chain", count - 1)] if count > 1 else []
    Path("FWAction.json").write_text(json.dumps({"additions": added}))
"""


@pytest.mark.parametrize("func", ["detours", "chain"])
def test_each_firework_that_others_add_costs_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, func: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "adds.py").write_text(ADDS)
    costs = []
    for count in (15, 75):
        pad = CountingLaunchPad(store=tmp_path / str(count))
        task = {"_fw_name": "PyTask", "func": f"adds.{func}", "args": [count]}
        pad.add_wf({"fw_id": 1, "spec": {"_tasks": [task]}})
        first = pad.cost(lambda pad: rapidfire(pad, strm_lvl="CRITICAL"))
        again = pad.cost(lambda pad: (pad.rerun_fw(1), rapidfire(pad, strm_lvl="CRITICAL")))
        assert pad.get_fw_ids({"state": {"$ne": "COMPLETED"}}) == []
        costs.append((first / count, again / count))
    (few, few_again), (many, many_again) = costs
    assert (many < 1.3 * few, many_again < 1.3 * few_again) == (True, True), costs
