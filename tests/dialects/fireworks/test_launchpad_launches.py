"""Launches that a script reserves, begins and ends itself by its LaunchPad."""

from __future__ import annotations

import inspect
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.rocket import launch_rocket, rapidfire
from rekindle.domain.errors import BadValue
from rekindle.engine.session import open_session

pytest.importorskip("fireworks")

ECHO = {"_fw_name": "ScriptTask", "script": "echo hello", "use_shell": True}
TOTAL = {"_fw_name": "PyTask", "func": "builtins.sum", "args": [[1, 2]], "outputs": ["total"]}


@pytest.fixture
def pad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> LaunchPad:
    """A firework of two tasks before one, and one alone with the category `big`."""
    request.config.addinivalue_line("markers", "mongodb: FireWorks imports tests of its own, which have this marker")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    made = LaunchPad(store=tmp_path / ".rekindle")
    fws = [{"fw_id": 1, "spec": {"_tasks": [ECHO, TOTAL]}}, {"fw_id": 2, "spec": {"_tasks": [TOTAL]}}]
    made.add_wf({"fws": fws, "links": {"1": [2]}})
    made.add_wf({"spec": {"_tasks": [ECHO], "_category": "big"}})
    return made


def states(pad: LaunchPad) -> list[str]:
    return [pad.get_fw_dict_by_id(one)["state"] for one in (1, 2, 3)]


def action(**keys: Any) -> Any:
    from fireworks import FWAction

    return FWAction(**keys)


def sound(pad: LaunchPad) -> bool:
    with open_session(pad.store) as session, session.store.read() as archive:
        return archive.check() == [] and archive.runners.detached() == []


def test_a_script_checks_out_a_firework_and_completes_its_launch(pad: LaunchPad) -> None:
    fw, launch = pad.checkout_fw(None, os.curdir, fw_id=1)
    assert (fw.fw_id, fw.state, launch) == (1, "RUNNING", 1)
    assert states(pad) == ["RUNNING", "WAITING", "READY"]
    found = pad.complete_launch(launch, action(stored_data={"n": 7}, update_spec={"alpha": 2}))
    assert (found["state"], found["action"]["stored_data"]) == ("COMPLETED", {"n": 7})
    assert states(pad) == ["COMPLETED", "READY", "READY"]
    assert pad.get_fw_dict_by_id(2)["spec"]["alpha"] == 2
    assert pad.get_launchdir(1) == str(Path.cwd())
    assert sound(pad)


def test_a_completed_launch_adds_what_its_action_says(pad: LaunchPad) -> None:
    from fireworks import Firework, PyTask

    _, launch = pad.checkout_fw(None, os.curdir, fw_id=1)
    detour = Firework([PyTask(func="builtins.sum", args=[[1]])], name="detour")
    pad.complete_launch(launch, action(detours=[detour]))
    assert pad.get_fw_ids({"name": "detour"}) == [4]
    assert (states(pad)[1], pad.get_fw_dict_by_id(4)["state"]) == ("WAITING", "READY")


@pytest.mark.parametrize("ends", ["mark_fizzled", "complete_launch"])
def test_a_launch_of_a_script_can_fizzle(pad: LaunchPad, ends: str) -> None:
    _, launch = pad.checkout_fw(None, os.curdir, fw_id=1)
    if ends == "mark_fizzled":
        pad.mark_fizzled(launch)
    else:
        trace = "Traceback (most recent call last):\n  …\nValueError: it broke"
        pad.complete_launch(launch, {"stored_data": {"_exception": {"_stacktrace": trace}}}, "FIZZLED")
        assert pad.get_fw_ids({"action.stored_data._exception._stacktrace": {"$regex": "broke"}}, launches_mode=True)
    assert states(pad) == ["FIZZLED", "WAITING", "READY"]
    assert pad.rerun_fw(1) == [1]
    rapidfire(pad, strm_lvl="CRITICAL")
    assert states(pad) == ["COMPLETED"] * 3
    assert sound(pad)


def test_a_reserved_firework_becomes_the_launch_that_is_checked_out(pad: LaunchPad) -> None:
    fw, launch = pad.reserve_fw(None, os.curdir, fw_id=1)
    assert (fw.fw_id, fw.state) == (1, "RESERVED")
    assert pad.checkout_fw(None, os.curdir, fw_id=1)[1] == launch
    assert states(pad)[0] == "RUNNING"


def test_a_reserved_firework_is_launched_by_its_id_only(pad: LaunchPad) -> None:
    pad.reserve_fw(None, os.curdir, fw_id=1)
    rapidfire(pad, strm_lvl="CRITICAL")
    assert states(pad) == ["RESERVED", "WAITING", "COMPLETED"]
    assert launch_rocket(pad, fw_id=1, strm_lvl="CRITICAL")
    assert states(pad) == ["COMPLETED", "READY", "COMPLETED"]
    assert sound(pad)


def test_a_firework_that_is_not_ready_is_not_checked_out(pad: LaunchPad) -> None:
    assert pad.checkout_fw(None, os.curdir, fw_id=2) == (None, None)
    assert pad.checkout_fw(None, os.curdir, fw_id=99) == (None, None)
    with pytest.raises(BadValue):
        pad.checkout_fw(None, os.curdir, state="COMPLETED")


def test_an_fworker_reserves_what_it_selects(pad: LaunchPad) -> None:
    from fireworks import FWorker

    assert pad.reserve_fw(FWorker("far", category="big"), os.curdir)[0].fw_id == 3
    assert pad.reserve_fw(FWorker("far", category="big"), os.curdir) == (None, None)
    assert pad.launches.find_one({"fw_id": 3}, ["fworker.name"]) == {"fworker": {"name": "far"}}


def test_a_canceled_reservation_makes_the_firework_ready(pad: LaunchPad) -> None:
    _, launch = pad.reserve_fw(None, os.curdir, fw_id=1)
    pad.cancel_reservation(launch)
    assert states(pad)[0] == "READY"
    assert sound(pad)
    assert launch_rocket(pad, fw_id=1, strm_lvl="CRITICAL")


def test_reservations_are_found_by_the_ids_of_a_queue(pad: LaunchPad, caplog: pytest.LogCaptureFixture) -> None:
    _, launch = pad.reserve_fw(None, os.curdir, fw_id=1)
    assert pad.get_reservation_id_from_fw_id(1) is None
    pad.set_reservation_id(launch, 4711)
    assert pad.get_reservation_id_from_fw_id(1) == "4711"
    assert pad.get_fw_ids_from_reservation_id(4711) == [1]
    caplog.set_level(logging.INFO, "rekindle.fireworks")
    pad.cancel_reservation_by_reservation_id(5)
    assert "Can't find any reserved jobs with reservation id: 5" in caplog.text
    assert states(pad)[0] == "RESERVED"
    pad.cancel_reservation_by_reservation_id(4711)
    assert states(pad)[0] == "READY"


def test_old_reservations_are_detected_and_given_back(pad: LaunchPad) -> None:
    _, launch = pad.reserve_fw(None, os.curdir, fw_id=1)
    assert pad.detect_unreserved() == []
    assert pad.detect_unreserved(0) == [launch]
    assert pad.detect_unreserved(0, rerun=True) == [launch]
    assert states(pad)[0] == "READY"
    assert sound(pad)


def test_a_runner_neither_waits_for_nor_takes_over_a_launch_of_a_script(pad: LaunchPad) -> None:
    _, launch = pad.checkout_fw(None, os.curdir, fw_id=1)
    rapidfire(pad, strm_lvl="CRITICAL")
    assert states(pad) == ["RUNNING", "WAITING", "COMPLETED"]
    assert pad.detect_lostruns() == ([], [], [])
    pad.complete_launch(launch)
    rapidfire(pad, strm_lvl="CRITICAL")
    assert states(pad) == ["COMPLETED"] * 3


def test_pings_record_the_tasks_that_have_completed(pad: LaunchPad) -> None:
    _, launch = pad.checkout_fw(None, os.curdir, fw_id=1)
    pad.ping_launch(launch)
    checkpoint = {"_task_n": 1, "_all_stored_data": {"a": 1}, "_all_update_spec": {}, "_all_mod_spec": []}
    pad.ping_launch(launch, checkpoint=checkpoint)
    pad.mark_fizzled(launch)
    found = pad.get_recovery(launch)
    assert found is not None
    assert (found["_task_n"], found["_all_stored_data"]) == (1, {"a": 1})
    pad.rerun_fw(1, recover_launch="last")
    assert launch_rocket(pad, fw_id=1, strm_lvl="CRITICAL")
    assert pad.get_fw_dict_by_id(1)["launches"][0]["action"]["update_spec"] == {"total": 3}


def test_a_launch_that_a_script_does_not_have_is_not_ended_by_it(pad: LaunchPad) -> None:
    launch_rocket(pad, fw_id=1, strm_lvl="CRITICAL")
    with pytest.raises(ValueError, match="launch_id: 1 is COMPLETED"):
        pad.complete_launch(1)
    for call in (pad.complete_launch, pad.mark_fizzled, pad.ping_launch, pad.cancel_reservation, pad.recover_offline):
        with pytest.raises(ValueError, match="No Launch exists with launch_id=99"):
            call(99)


def parameters(member: object) -> list[str]:
    found = inspect.signature(member).parameters if callable(member) else ()
    return [one for one in found if one not in ("self", "cls")]


def test_every_public_name_of_fireworks_launchpad_is_here_with_its_parameters() -> None:
    from fireworks import LaunchPad as Original

    wanted = {name: parameters(one) for name, one in inspect.getmembers(Original) if not name.startswith("_")}
    assert {
        name: parameters(getattr(LaunchPad, name, "absent")) for name in wanted if hasattr(LaunchPad, name)
    } == wanted
