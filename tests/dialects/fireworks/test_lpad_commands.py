"""Output and effects of lpad's commands."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import pytest
import yaml
from lpad_folder import AFTER, FINE, ODD, PREP, RELAX, Lpad

from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.fw_states import wf_state

MANY = "name: many\nfws:\n" + "".join(
    f'- {{fw_id: {at}, name: one, spec: {{_tasks: [{{_fw_name: ScriptTask, script: "true"}}]}}}}\n'
    for at in range(1, 12)
)


# --- output


def test_fireworks_are_shown_in_the_shape_of_fireworks(chain: Lpad) -> None:
    every = chain.json("get_fws")
    assert [list(one) for one in every] == [["fw_id", "created_on", "updated_on", "state", "name"]] * 5
    more = chain.json("get_fws", "-i", ODD, "-d", "more")
    assert list(more) == ["fw_id", "created_on", "updated_on", "launches", "state", "name"]
    (launch,) = more["launches"]
    assert list(launch) == [
        *("fworker", "fw_id", "launch_dir", "host", "ip", "trackers", "action", "state", "state_history", "launch_id"),
    ]
    data = launch["action"]["stored_data"]
    assert data["_task"] == {"_fw_name": "PyTask", "func": "builtins.int", "args": ["My custom error message"]}
    assert data["_exception"]["_stacktrace"].startswith("Traceback")
    assert [one["state"] for one in launch["state_history"]] == ["RUNNING", "FIZZLED"]
    assert chain.of(PREP)["spec"]["_tasks"][0]["_fw_name"] == "PyTask"
    assert chain.of(PREP)["launches"][0]["action"]["update_spec"] == {"total": 6}


def test_one_firework_is_printed_without_a_list(chain: Lpad) -> None:
    assert chain.json("get_fws", "-s", "WAITING", "-d", "ids") == AFTER
    assert chain.json("get_fws", "-d", "count") == 5
    assert chain.json("get_fws", "-n", "nothing") == []
    assert chain.json("get_fws", "-i", 99) == []


def test_yaml_is_printed_where_it_is_asked_for(chain: Lpad) -> None:
    found = yaml.safe_load(chain.ok("-o", "yaml", "get_fws", "-i", ODD).out)
    assert (found["fw_id"], found["state"]) == (ODD, "FIZZLED")


def test_workflows_are_shown_in_the_shape_of_fireworks(chain: Lpad) -> None:
    less = chain.json("get_wflows", "-i", RELAX)
    assert list(less) == ["state", "name", "created_on", "states_list"]
    assert (less["state"], less["name"], less["states_list"]) == ("FIZZLED", "chain--1", "C-F-W-F-C")
    more = chain.json("get_wflows", "-n", "chain", "-d", "more")
    assert more["states"]["relax--2"] == "FIZZLED"
    assert more["launch_dirs"]["relax--2"] == [chain.ok("get_launchdir", RELAX).out.strip()]
    everything = chain.json("get_wflows", "-q", '{"metadata.project": "alloys"}', "-d", "all")
    assert everything["links"]["prep--1"] == ["relax--2"]
    assert everything["parent_links"] == {"relax--2": ["prep--1"], "after--3": ["relax--2"]}
    assert everything["metadata"] == {"project": "alloys"}
    assert chain.json("get_wflows", "-d", "count") == 1
    assert chain.json("get_wfs", "-s", "FIZZLED", "-d", "ids") == 1
    assert "| FIZZLED | chain--1 |" in chain.ok("get_wflows", "-t").out


@pytest.mark.parametrize(
    ("states", "lenient", "word"),
    [
        ({1: "COMPLETED", 2: "COMPLETED", 3: "COMPLETED"}, (), "COMPLETED"),
        ({1: "FIZZLED", 2: "COMPLETED", 3: "COMPLETED"}, (2,), "COMPLETED"),
        ({1: "FIZZLED", 2: "WAITING", 3: "WAITING"}, (), "FIZZLED"),
        ({1: "FIZZLED", 2: "READY", 3: "WAITING"}, (2,), "RUNNING"),
        ({1: "COMPLETED", 2: "COMPLETED", 3: "FIZZLED"}, (3,), "FIZZLED"),
        ({1: "FIZZLED", 2: "PAUSED", 3: "WAITING"}, (), "PAUSED"),
        ({1: "PAUSED", 2: "DEFUSED", 3: "WAITING"}, (), "DEFUSED"),
        ({1: "COMPLETED", 2: "READY", 3: "WAITING"}, (), "RUNNING"),
        ({1: "RESERVED", 2: "WAITING", 3: "WAITING"}, (), "RESERVED"),
        ({1: "READY", 2: "WAITING", 3: "WAITING"}, (), "READY"),
        ({1: "ARCHIVED", 2: "ARCHIVED", 3: "ARCHIVED"}, (), "ARCHIVED"),
    ],
    ids=lambda found: found if isinstance(found, str) else "",
)
def test_the_state_of_a_workflow_follows_from_its_fireworks(
    states: dict[int, str], lenient: tuple[int, ...], word: str
) -> None:
    assert wf_state(states, {1: [2], 2: [3]}, lenient) == word


def test_fireworks_of_workflows_are_shown(chain: Lpad) -> None:
    chain.add(MANY, "many.yaml")
    assert chain.each("get_fws_in_wflows", "-wfn", "chain", "-fws", "FIZZLED", "-d", "ids") == [RELAX, ODD]
    assert chain.json("get_fws_in_wfs", "-wfn", "many", "-d", "count") == 11


def test_shown_fireworks_are_sorted_and_limited(chain: Lpad) -> None:
    newest = [one["updated_on"][:23] for one in chain.json("get_fws", "--rsort", "updated_on")]
    oldest = [one["updated_on"][:23] for one in chain.json("get_fws", "--sort", "updated_on")]
    assert newest == sorted(newest, reverse=True)
    assert oldest == sorted(newest)
    assert len(chain.json("get_fws", "--rsort", "updated_on", "-m", "2")) == 2


# --- errors


@pytest.mark.parametrize(
    "command",
    [
        *("rerun_fws", "defuse_fws", "pause_fws", "resume_fws", "reignite_fws", "delete_wflows", "archive_wflows"),
        *("defuse_wflows", "pause_wflows", "rerun_wflows"),
    ],
)
def test_a_command_without_any_selection_is_refused_and_a_wrong_one_changes_nothing(chain: Lpad, command: str) -> None:
    before = chain.states()
    done = chain(command)
    assert done.code == 64
    assert "nothing says which" in done.err
    for words in (("-n", "does_not_exist"), ("-i", "1", "99")):
        done = chain(command, *words)
        assert done.code == 1
        assert words[-1] in done.err
    assert chain.states() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get_fws", "-q", "{"], "-q is not a filter"),
        (["get_fws", "-q", "[1]"], "-q is an object"),
        (["get_fws", "-q", '{"nonsense": 1}'], "nonsense"),
        (["get_fws", "-s", "BROKEN"], "BROKEN"),
        (["rerun_fws", "-i", "two"], "two"),
        (["rerun_fws", "-i", "2", "-cp", "-pd"], "--previous-dir"),
        (["rerun_fws", "-i", "2", "-lid", "1"], "--task-level"),
        (["get_launchdir", "99"], "No Firework exists with id: 99"),
        (["frobnicate"], "no command 'frobnicate'"),
        (["rerun_fw", "-i", "2"], "rerun_fws"),
        (["-l", "nowhere.yaml", "get_fws"], "nowhere.yaml"),
        (["update_fws", "-i", "2", "-u", "x"], "-u is not JSON"),
        (["update_fws", "-i", "2", "--mongo", "-u", '{"$set": {"state": 1}}'], "only the spec"),
        (["update_fws", "-i", "2", "-u", '{"_tasks": 5}'], "_tasks"),
        (["webgui", "--host", "203.0.113.9"], "cannot listen on 203.0.113.9"),
    ],
    ids=lambda found: " ".join(found) if isinstance(found, list) else "",
)
def test_impossible_commands_give_one_clear_error(chain: Lpad, words: list[str], said: str) -> None:
    before = chain.states()
    done = chain(*words)
    assert done.code in (1, 64)
    assert said in done.err
    assert chain.states() == before


def test_more_than_ten_need_todays_date_or_a_y(lpad: Lpad, monkeypatch: pytest.MonkeyPatch) -> None:
    lpad.add(MANY)
    lpad.ok("pause_fws", "-i", "1-10")
    lpad.ok("resume_fws", "-i", "1-10")
    for answer, password in (("", None), ("n\n", None), ("Y\n", "2012-02-25")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        done = lpad("pause_fws", "-s", "READY", *(["--password", password] if password else []))
        assert done.code == 1
        assert date.today().isoformat() in done.err
        assert set(lpad.states().values()) == {"READY"}
    monkeypatch.setattr(sys, "stdin", io.StringIO("Y\n"))
    lpad.ok("pause_fws", "-s", "READY")
    lpad.ok("resume_fws", "-s", "PAUSED", "--password", date.today().isoformat())
    assert lpad.json("get_fws", "-s", "READY", "-d", "count") == 11


# --- holds


def test_paused_firework_and_descendants_run_after_resume(chain: Lpad) -> None:
    (chain.folder / "mended").touch()
    chain.ok("rerun_fws", "-s", "FIZZLED")
    chain.ok("pause_fws", "-i", RELAX)
    chain.work()
    assert chain.states() == {**chain.states(), "relax": "PAUSED", "after": "WAITING", "odd": "FIZZLED"}
    assert chain.json("get_wflows")["state"] == "PAUSED"
    assert chain("pause_fws", "-i", FINE).code == 1, "it has completed"
    assert "it is paused: `lpad resume_fws -i 2` first" in chain("rerun_fws", "-i", RELAX).err
    chain.ok("resume_fws", "-i", RELAX)
    assert chain.work() == 0
    assert chain.states()["after"] == "COMPLETED"


def test_reignite_keeps_fizzled_fireworks_fizzled(chain: Lpad) -> None:
    chain.ok("defuse_fws", "-s", "FIZZLED")
    assert {chain.states()[name] for name in ("relax", "odd")} == {"DEFUSED"}
    assert "it is defused: `lpad reignite_fws -i 2` first" in chain.ok("rerun_fws", "-i", RELAX).err
    assert chain.json("get_wflows")["state"] == "DEFUSED"
    chain.ok("reignite_fws", "-s", "DEFUSED")
    assert {chain.states()[name] for name in ("relax", "odd")} == {"FIZZLED"}


def test_defusing_a_completed_firework_resets_descendants(chain: Lpad) -> None:
    chain.ok("defuse_fws", "-i", PREP)
    assert chain.states() == {**chain.states(), "prep": "DEFUSED", "relax": "WAITING", "after": "WAITING"}
    assert len(chain.of(RELAX)["archived_launches"]) == 1
    chain.ok("reignite_fws", "-i", PREP)
    assert chain.states()["prep"] == "READY"


def test_paused_firework_can_be_defused(chain: Lpad) -> None:
    chain.ok("pause_fws", "-i", AFTER)
    chain.ok("defuse_fws", "-i", AFTER)
    assert chain.states()["after"] == "DEFUSED"
    assert chain("resume_fws", "-i", AFTER).code == 1
    assert chain.states()["after"] == "DEFUSED"


@pytest.mark.parametrize(("hold", "word"), [("pause_fws", "PAUSED"), ("defuse_fws", "DEFUSED")])
def test_held_fireworks_stay_held_when_a_parent_is_rerun(chain: Lpad, hold: str, word: str) -> None:
    chain.ok(hold, "-i", AFTER)
    done = chain.ok("rerun_fws", "-i", PREP)
    assert chain.states()["after"] == word
    assert "`after`" in done.err
    assert "held" in done.err


def test_defusing_a_workflow_defuses_it(chain: Lpad) -> None:
    chain.ok("defuse_wflows", "-i", RELAX)
    assert list(chain.states().values()) == ["COMPLETED", "FIZZLED", "DEFUSED", "FIZZLED", "COMPLETED"]
    chain.ok("reignite_wflows", "-n", "chain")
    assert chain.states()["after"] == "WAITING"
    chain.ok("defuse_wflows", "-n", "chain", "--defuse_all_states")
    assert set(chain.states().values()) == {"DEFUSED"}
    chain.ok("reignite_wflows", "-i", AFTER)
    assert "DEFUSED" not in chain.states().values()


def test_pausing_a_workflow_pauses_unstarted_fireworks(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-i", ODD)
    chain.ok("pause_wflows", "-n", "chain")
    assert list(chain.states().values()) == ["COMPLETED", "FIZZLED", "PAUSED", "PAUSED", "COMPLETED"]


def test_refused_reruns_are_named_and_others_applied(chain: Lpad) -> None:
    chain.ok("defuse_fws", "-i", ODD)
    done = chain.ok("rerun_fws", "-i", RELAX, AFTER, ODD, FINE)
    assert "Finished setting 2 FWs to rerun" in done.out
    assert "left as it is: 4 odd: it is defused" in done.err
    assert "left as it is: 3 after: it is WAITING already" in done.err
    assert chain.states() == {**chain.states(), "relax": "READY", "odd": "DEFUSED", "fine": "READY"}


def test_other_jobs_of_the_store_are_left_alone(chain: Lpad) -> None:
    (chain.folder / "own.yaml").write_text("name: own\njobs: {plain: {run: 'true'}}\n")
    assert chain.rekindle("submit", "own.yaml").code == 0
    assert chain.json("get_fws", "-d", "count") == 5
    done = chain("pause_fws", "-i", ODD, 6)
    assert done.code == 1
    assert "Firework exists with fw_id=6" in done.err
    chain.ok("pause_fws", "-q", "{}", "--password", date.today().isoformat())
    assert '"held": false' in chain.rekindle("jobs", "show", "plain", "--json").out


def test_launches_are_named_in_the_order_of_fireworks(chain: Lpad) -> None:
    launches = {number: chain.of(number)["launches"][0]["launch_id"] for number in (RELAX, ODD)}
    words = ("--task-level", "-lid", launches[ODD], launches[RELAX])
    assert chain("rerun_fws", "-i", RELAX, ODD, *words).code == 1
    chain.ok("rerun_fws", "-i", ODD, RELAX, *words)
    assert chain("rerun_fws", "-i", ODD, RELAX, "--task-level", "-lid", 1).code == 64


def test_a_dry_run_changes_nothing(chain: Lpad) -> None:
    before = chain.states()
    done = chain.ok("rerun_fws", "-s", "FIZZLED", "--dry-run")
    assert "Would set 2 FWs to rerun" in done.out
    assert chain.states() == before


# --- workflows


def test_archived_fireworks_can_be_queried_and_do_not_run(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-i", ODD)
    chain.ok("archive_wflows", "-i", ODD)
    assert chain.json("get_fws", "-s", "ARCHIVED", "-d", "count") == 5
    assert chain.json("get_wflows", "-s", "ARCHIVED")["states_list"] == "A-A-A-A-A"
    assert chain.work() == 0
    assert "archived_launches" in chain.of(ODD)
    assert "launches" not in chain.of(ODD)
    done = chain.ok("rerun_fws", "-i", RELAX)
    assert done.out == "Finished setting 1 FWs to rerun\n", "FireWorks counts what it was asked for"
    assert "left as it is: 2 relax: its workflow is archived" in done.err
    assert "Would set 0 FWs" in chain.ok("rerun_fws", "-i", RELAX, "--dry-run").out
    assert set(chain.states().values()) == {"ARCHIVED"}


def test_deleting_a_workflow_keeps_the_folders_unless_they_are_named(lpad: Lpad) -> None:
    for name in ("kept", "gone"):
        task = {"_fw_name": "ScriptTask", "script": "echo x > x", "use_shell": True}
        lpad.add(json.dumps({"name": name, "spec": {"_tasks": [task]}}), f"{name}.json")
    assert lpad.work() == 0
    kept, gone = (Path(lpad.ok("get_launchdir", number).out.strip(), "x") for number in (1, 2))
    assert kept.exists()
    assert gone.exists()
    lpad.ok("delete_wflows", "-n", "kept")
    lpad.ok("delete_wflows", "-i", 2, "--ldirs")
    assert kept.exists()
    assert not gone.exists()
    assert lpad.json("get_wflows") == []


def test_a_workflow_is_dumped_and_added_again(chain: Lpad) -> None:
    for name in ("saved.yaml", "saved.json"):
        chain.ok("dump_wflow", "-i", RELAX, "-f", name)
        chain.ok("add", name)
    assert chain.json("get_fws", "-n", "relax", "-d", "ids") == [RELAX, RELAX + 5, RELAX + 10]
    assert chain.json("get_wflows", "-i", RELAX + 5, "-d", "all")["metadata"] == {"project": "alloys"}
    chain.ok("check_wflow", "-i", RELAX + 5)


def test_scripts_are_added_in_sequence(lpad: Lpad) -> None:
    lpad.ok("add_scripts", "echo one", "echo two", "-n", "first", "second", "-w", "both")
    assert lpad.states() == {"first": "READY", "second": "WAITING"}
    assert lpad.json("get_wflows", "-n", "both")["states_list"] == "REA-W"


def test_detour_is_appended_between_fireworks_and_children(chain: Lpad) -> None:
    (chain.folder / "more.yaml").write_text(
        "fws:\n- {fw_id: 1, name: extra, spec: {_tasks: [{_fw_name: PyTask, func: builtins.dict}]}}\n"
        "- {fw_id: 2, name: last, spec: {_tasks: [{_fw_name: ScriptTask, script: 'true'}]}}\nlinks: {1: [2]}\n"
    )
    assert "id_map: {1: 6, 2: 7}" in chain.ok("append_wflow", "-i", PREP, "-f", "more.yaml").out
    assert chain.of(6)["spec"]["total"] == 6, "what its parent has changed"
    assert "id_map: {1: 8, 2: 9}" in chain.ok("append_wflow", "-i", RELAX, "-f", "more.yaml", "--detour").out
    links = chain.json("get_wflows", "-i", PREP, "-d", "all")["links"]
    assert links["prep--1"] == ["relax--2", "extra--6"]
    assert (links["relax--2"], links["last--9"]) == (["after--3", "extra--8"], ["after--3"])
    (chain.folder / "mended").touch()
    chain.ok("rerun_fws", "-i", RELAX)
    assert chain.work() == 0
    assert {one["fw_id"]: one["state"] for one in chain.json("get_fws")} == {
        **dict.fromkeys((1, 2, 3, 5, 6, 7, 8, 9), "COMPLETED"),
        ODD: "FIZZLED",
    }
    for words, said in ((["-i", "99"], "with fw_id=99"), (["-i", "1", "-f", "nowhere.yaml"], "nowhere.yaml")):
        done = chain("append_wflow", "-f", "more.yaml", *words)
        assert done.code == 1
        assert said in done.err


# --- specs


def test_changed_spec_runs(chain: Lpad) -> None:
    chain.ok("update_fws", "-i", ODD, "-u", '{"_tasks.0.args": ["7"], "note": {"by": "me"}}')
    assert chain.of(ODD)["spec"]["note"] == {"by": "me"}
    assert chain.of(RELAX)["spec"]["total"] == 6, "what others have changed stands"
    (launch,) = chain.of(ODD)["launches"]
    assert launch["action"]["stored_data"]["_task"]["args"] == ["My custom error message"]
    chain.ok("rerun_fws", "-i", ODD)
    assert chain.rekindle("work").code == 0
    assert chain.states()["odd"] == "COMPLETED"
    done = chain.ok("update_fws", "-i", ODD, "-u", '{"note": 1}')
    assert "Cannot update spec of fw_id: 4 with state: COMPLETED. Try rerunning first." in done.err
    assert done.out == "Finished updating 0 FWs\n"
    assert chain.of(ODD)["spec"]["note"] == {"by": "me"}


def test_a_spec_is_changed_by_operators(chain: Lpad) -> None:
    operators = {"$inc": {"spec.alpha": 1}, "$unset": {"spec._tasks.0.use_shell": ""}, "$push": {"spec.tags": "new"}}
    chain.ok("update_fws", "-n", "relax", "--mongo", "-u", json.dumps(operators))
    spec = chain.of(RELAX)["spec"]
    assert (spec["alpha"], spec["tags"]) == (2.5, ["new"])
    assert "use_shell" not in spec["_tasks"][0]


def test_priorities_decide_who_runs_first(lpad: Lpad) -> None:
    script = '{{_fw_name: ScriptTask, script: "echo {0} >> $LPAD_PLACE/log", use_shell: true}}'
    fireworks = [
        f"- {{fw_id: {at}, name: {name}, spec: {{_tasks: [{script.format(name)}]}}}}"
        for at, name in enumerate(("a", "b", "c"), 1)
    ]
    lpad.add("fws:\n" + "\n".join(fireworks))
    lpad.ok("set_priority", 5, "-i", 2, 3)
    lpad.ok("set_priority", 9, "-n", "c")
    assert lpad.of(3)["spec"]["_priority"] == 9
    assert lpad.rekindle("work", "-j", "1").code == 0
    assert lpad.log() == ["c", "b", "a"]


# --- lost runs


LONG = (
    "name: cut\nfws:\n- {fw_id: 1, name: long, spec: {_tasks: [{_fw_name: ScriptTask, use_shell: true, "
    'script: "test -e $LPAD_PLACE/go || { touch $LPAD_PLACE/began; sleep 600; }"}]}}'
)
"""Runs until it is killed; the second time it ends at once."""


@contextmanager
def running(lpad: Lpad) -> Iterator[subprocess.Popen[bytes]]:
    """A runner that runs a long firework."""
    lpad.add(LONG)
    runner = subprocess.Popen([sys.executable, "-m", "rekindle", "work"], cwd=lpad.folder, start_new_session=True)
    try:
        wait_until((lpad.folder / "began").exists)
        wait_until(lambda: lpad.states() == {"long": "RUNNING"})
        (lpad.folder / "go").touch()
        yield runner
    finally:
        if runner.poll() is None:
            for pid in [runner.pid, *descendants(runner.pid)]:  # the runner first: it would record how the others end
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        runner.wait()


@pytest.fixture
def lost(lpad: Lpad) -> Lpad:
    """A firework whose runner was killed with all its processes."""
    with running(lpad):
        pass
    wait_until(lambda: "Lost FireWorks: 1" in lpad.ok("detect_lostruns").out)
    return lpad


def test_a_running_firework_that_is_rerun_is_ended_first(lpad: Lpad) -> None:
    with running(lpad) as runner:
        assert "cannot be deleted" in lpad("delete_wflows", "-i", 1).err
        assert lpad("pause_fws", "-i", 1).code == 1
        assert "Finished setting 1 FWs to rerun" in lpad.ok("rerun_fws", "-i", 1).out
        runner.wait(timeout=60)
    assert lpad.states() == {"long": "COMPLETED"}
    assert [one["state"] for one in lpad.of(1)["archived_launches"]] == ["FIZZLED"]


def test_a_lost_run_is_found_at_once_and_runs_again(lost: Lpad) -> None:
    done = lost.ok("detect_lostruns", "-d", "ids")
    assert "Lost FireWorks: 1" in done.out
    assert "--rerun or --fizzle" in done.out
    assert lost.states() == {"long": "RUNNING"}, "nothing is changed"
    assert "Lost FireWorks: 0" in lost.ok("detect_lostruns", "--time", 3600, "--rerun").out
    assert "Lost FireWorks: 1" in lost.ok("detect_lostruns", "--rerun").out
    assert lost.states() == {"long": "READY"}


def test_lost_run_fizzles_on_request(lost: Lpad) -> None:
    assert LaunchPad().detect_lostruns(query={"name": "long"}) == ([1], [1], [])
    assert LaunchPad().detect_lostruns(expiration_secs=3600, fizzle=True) == ([], [], [])
    lost.ok("detect_lostruns", "--fizzle", "-q", '{"name": "long"}')
    assert lost.states() == {"long": "FIZZLED"}
    (launch,) = lost.of(1)["launches"]
    assert "died" in launch["action"]["stored_data"]["_exception"]["_stacktrace"]


# --- other commands


@pytest.mark.parametrize(
    "words",
    [
        *(["admin", "unlock", "-i", "1"], ["unlock", "-i", "1"], ["admin", "refresh", "-n", "chain"]),
        *(["admin", "maintain"], ["admin", "tuneup"], ["admin", "orphaned"], ["recover_offline"], ["introspect"]),
        *(["forget_offline", "-i", "1"], ["get_qids", "-i", "1", "2"], ["detect_unreserved"], ["track_fws", "-i", "1"]),
        *(["version"], ["-v"], ["init"], ["report"], ["report", "-c", "launches", "-i", "hours"]),
        ["report", "-c", "wflows", "-q", '{"name": "chain"}'],
    ],
    ids=" ".join,
)
def test_maintenance_commands_answer(chain: Lpad, words: list[str]) -> None:
    assert chain(*words).code == 0


def test_introspect_has_a_report_of_nothing(lpad: Lpad) -> None:
    lpad.ok("init")
    assert lpad.ok("introspect").out.splitlines()[1:] == [
        "Introspection report for launches.actions.stored_data._exception._stacktrace",
        "=" * 76,
        "no launch has fizzled",
    ]


def test_report_counts_states(chain: Lpad) -> None:
    out = chain.ok("report").out
    assert "FIZZLED : 2\n" in out
    assert "COMPLETED : 2\n" in out
    assert "C/(C+F) : 50.0%" in out


def test_messages_are_silenced(chain: Lpad) -> None:
    assert chain.ok("-s", "rerun_fws", "-i", ODD).out == ""
    assert chain.ok("--loglvl", "ERROR", "rerun_fws", "-i", RELAX).out == ""


def test_options_may_be_abbreviated_and_case_is_ignored(chain: Lpad) -> None:
    assert "Finished setting 1 FWs" in chain.ok("rerun_fws", "--task", "--copy", "--st", "fizzled", "-n", "relax").out


def test_trackers_are_printed(lpad: Lpad) -> None:
    lpad.add(
        "name: t\nspec:\n  _trackers: [{filename: out, nlines: 2}, {filename: other}]\n"
        "  _tasks: [{_fw_name: ScriptTask, use_shell: true, script: \"printf 'a\\\\nb\\\\nc\\\\n' > out\"}]\n"
    )
    assert lpad.work() == 0
    out = lpad.ok("track_fws", "-i", 1, "-c", "out").out
    assert out == "# FW id: 1, FW name='t'\n## Launch id: 1\n### Filename: out\nb\nc\n"


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, at most a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Return the descendants of a process, nearest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *descendants(child))]
