"""`lpad reset`: ids begin again, and nothing of the time before is taken for anything new."""

from __future__ import annotations

import io
import sys
from datetime import date
from pathlib import Path

import pytest
from flow_folder import Flows, fw, in_folder, py, wf
from lpad_folder import Lpad

from rekindle.dialects.fireworks import LaunchPad
from rekindle.domain.states import State
from rekindle.engine.presence import this_process
from rekindle.engine.session import open_session

TODAY = date.today().isoformat()


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flows:
    """A store in which two fireworks have run, one of them twice."""
    in_folder(tmp_path, monkeypatch)
    flows = Flows(tmp_path)
    flows.add(document("old"))
    assert flows("rlaunch", "-s", "rapidfire") == 0
    assert flows("lpad", "rerun_fws", "-i", "2") == 0
    assert flows("rlaunch", "-s", "rapidfire") == 0
    assert [one.id for number in (1, 2) for one in flows.launches(number)] == [1, 2, 3]
    return flows


def document(word: str) -> dict[str, object]:
    """Two fireworks, of which one prints a word."""
    return wf(fw(1, {"_fw_name": "ScriptTask", "script": f"echo {word}"}), fw(2, py("builtins.abs", 1)))


def test_a_tutorial_finds_its_firework_after_a_reset(flows: Flows, lpad: Lpad) -> None:
    told = lpad.ok("reset", "--password", TODAY)
    assert "begin again" not in told.err
    assert flows.add(document("new")) == {1: 1, 2: 2}
    assert flows("rlaunch", "-s", "rapidfire") == 0
    assert [one.id for number in (1, 2) for one in flows.launches(number)] == [1, 2]
    assert lpad.rekindle("logs", "1").out.splitlines()[-1].endswith("new")
    assert lpad.ok("rerun_fws", "-i", 1).out == "Finished setting 1 FWs to rerun\n"
    assert lpad.rekindle("undo").code == 0
    assert flows.state(1) == "COMPLETED"
    assert lpad.rekindle("store", "check", "--deep").code == 0


def test_a_script_finds_its_firework_after_a_reset(flows: Flows) -> None:
    pad = LaunchPad(store=flows.url)
    pad.reset(TODAY)
    assert flows.add(document("new")) == {1: 1, 2: 2}


def test_a_plan_saved_before_a_reset_is_refused_after_it(flows: Flows, lpad: Lpad) -> None:
    assert lpad.rekindle("rerun", "1", "--save-plan", "plan.json").code == 0
    saved = flows.job(1).version
    lpad.ok("reset", "--password", TODAY)
    flows.add(document("new"))
    assert flows("rlaunch", "-s", "rapidfire") == 0
    assert flows.job(1).version > saved
    done = lpad.rekindle("apply", "plan.json")
    assert done.code != 0
    assert flows.job(1).state is State.COMPLETED


def test_an_appended_firework_has_a_version_of_its_own_too(flows: Flows, lpad: Lpad) -> None:
    lpad.ok("reset", "--password", TODAY)
    flows.add(document("new"))
    (flows.folder / "more.yaml").write_text("spec: {_tasks: []}\n")
    lpad.ok("append_wflow", "-i", 1, "-f", "more.yaml")
    with open_session(flows.url) as session, session.store.read() as archive:
        versions = {job.id: job.version for job in archive.jobs.get([1, 2, 3])}
    assert min(versions.values()) > 4
    assert flows("rlaunch", "-s", "rapidfire") == 0
    assert flows.state(3) == "COMPLETED"
    assert lpad.rekindle("store", "check").code == 0


def test_ids_follow_those_of_other_workflows(flows: Flows, lpad: Lpad) -> None:
    (flows.folder / "own.yaml").write_text("name: own\njobs: {a: {run: 'true'}}\n")
    assert flows("run", "own.yaml") == 0
    flows.add(document("more"))
    told = lpad.ok("reset", "--password", TODAY)
    assert "1 workflows that did not come through FireWorks' commands stay: ids follow theirs" in told.err
    assert flows.add(document("new")) == {1: 4, 2: 5}
    assert flows("rlaunch", "-s", "rapidfire") == 0
    assert [flows.launches(number)[0].id for number in (4, 5)] == [5, 6]


def test_folders_of_launches_in_the_store_stay_and_ids_of_launches_follow_them(flows: Flows, lpad: Lpad) -> None:
    flows.add(document("kept"))
    assert flows("work", "-j", "1") == 0
    folder = Path(flows.launches(3)[0].folder or "")
    assert folder.is_relative_to(flows.url)
    (folder / "result").write_text("4.2")
    lpad.ok("reset", "--password", TODAY)
    assert (folder / "result").read_text() == "4.2"
    assert flows.add(document("new")) == {1: 1, 2: 2}
    assert flows("work", "-j", "1") == 0
    assert {one.folder for number in (1, 2) for one in flows.launches(number)}.isdisjoint({str(folder)})
    assert not [one for one in Path(flows.url, "attempts").rglob("*.out") if "kept" in one.read_text()]


def test_ids_go_on_while_a_runner_is_at_work(flows: Flows, lpad: Lpad) -> None:
    with open_session(flows.url) as session, session.store.write() as archive:
        archive.runners.register(this_process(), "local", 1, session.clock(), 3600)
    told = lpad.ok("reset", "--password", TODAY)
    assert "ids do not begin again: a runner is at work in this store" in told.err
    assert flows.add(document("new")) == {1: 3, 2: 4}


@pytest.mark.parametrize(("answer", "code"), [("fireworks\n", 0), ("y\n", 0), ("n\n", 1), ("", 1)])
def test_reset_asks_as_the_original_does(
    flows: Flows, lpad: Lpad, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    done = lpad("reset")
    assert done.code == code
    assert "Are you sure? This will RESET 1 workflows and all data." in done.err
    assert "please type the name of this database (fireworks)" in done.err
    assert (LaunchPad(store=flows.url).get_fw_ids() == []) == (code == 0)
