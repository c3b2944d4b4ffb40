"""Effects of fireworks on each other: specs, files, added workflows and defused fireworks. Most of them run in one
store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_folder import Flows, act, fw, py, results, wf

from rekindle.dialects.fireworks.fw_documents import launch_document
from rekindle.dialects.fireworks.tasks.launch_environment import FWORKER_VARIABLE

DUPES = {"_fw_name": "DupeFinderExact"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flows, dict[str, dict[int, int]]]:
    """All workflows below, run by one runner."""
    flows = Flows(tmp_path_factory.mktemp("flows"))
    show = py("flow_functions.keep", inputs=["x"])
    workflows = {
        "near": wf(
            fw(
                1,
                act(update_spec={"x": 1}, mod_spec=[{"_push": {"l": 2}}]),
                py("flow_functions.keep", inputs=["x", "l"]),
            ),
            fw(2, show, l=[1]),
            fw(3, py("builtins.print"), x=0),
            links={1: [2], 2: [3]},
        ),
        "far": wf(
            fw(1, act(update_spec={"x": 1}, propagate=True)),
            fw(2, py("builtins.print")),
            fw(3, py("builtins.print")),
            fw(4, show),
            links={1: [2, 3], 2: [4], 3: [4]},
        ),
        "adds": wf(
            fw(
                1,
                act(
                    update_spec={"x": 1},
                    additions=[fw(-1, py("builtins.print"), name="extra")],
                    detours=[
                        wf(fw(-1, act(update_spec={"y": 2})), fw(-2, show, x="own", name="last"), links={-1: [-2]})
                    ],
                ),
                py("flow_functions.note", "behind"),
            ),
            fw(2, show),
            links={1: [2]},
        ),
        "appends": wf(
            fw(
                1,
                act(
                    mod_spec={"_set": {"x": 5}},
                    append_wfs=[{"workflow": fw(-9, show), "parents": [], "detour": True}],
                ),
            ),
            fw(2, show),
            links={1: [2]},
        ),
        "defuses": wf(
            fw(1, act(defuse_children=True)),
            fw(2, show),
            fw(3, py("builtins.print")),
            fw(4, show),
            links={1: [2], 3: [4]},
        ),
        "defuses all": wf(
            fw(1, py("builtins.print")), fw(2, act(defuse_workflow=True)), fw(3, show), links={1: [2], 2: [3]}
        ),
        "exits": wf(fw(1, act(exit=True, stored_data={"a": 1}), py("flow_functions.note", "behind"))),
        "files": wf(
            fw(
                1,
                {"_fw_name": "ScriptTask", "script": "echo one > a1.txt; echo two > a2.txt"},
                _files_out={"a": "a*.txt"},
                _pass_job_info=True,
                name="makes",
            ),
            fw(2, py("builtins.print"), name="passes on", _pass_job_info=True),
            fw(3, py("flow_functions.keep", inputs=["_job_info"]), _files_in={"a": "in/here.txt"}),
            links={1: [2], 2: [3]},
        ),
        "fizzles": wf(
            fw(1, py("flow_functions.need", "/nowhere/at/all"), name="bad one"),
            fw(2, py("builtins.print"), name="good one"),
            fw(3, py("flow_functions.keep", inputs=["_fizzled_parents"]), _allow_fizzled_parents=True),
            fw(4, show),
            links={1: [3, 4], 2: [3]},
        ),
        "adds what fizzles": wf(
            fw(
                1,
                act(
                    additions=wf(
                        fw(-1, py("flow_functions.need", "/nowhere/at/all"), name="bad one"),
                        fw(
                            -2,
                            py("flow_functions.keep", inputs=["_fizzled_parents"]),
                            name="told",
                            _allow_fizzled_parents=True,
                        ),
                        links={-1: [-2]},
                    )
                ),
            )
        ),
        "nothing": wf(fw(1)),
        "acts": wf(
            fw(1, act(mod_spec=[{"_push": {"l": 1}}], detours=[fw(-1, py("builtins.print"), name="added")])),
            fw(2, py("flow_functions.keep", inputs=["l"])),
            links={1: [2]},
        ),
        "resumes": wf(
            fw(
                1,
                py("builtins.sum", [1, 2, 3], outputs=["total"]),
                py("flow_functions.need", str(flows.folder / "mended"), inputs=["total"]),
            ),
            fw(2, py("flow_functions.keep", inputs=["total"])),
            links={1: [2]},
        ),
        "tells": wf(
            fw(
                1,
                py("flow_functions.tell", str(flows.folder / "mended")),
                py("flow_functions.keep", inputs=["_exception_details", "_fw_env"]),
                _preserve_fworker=True,
            ),
            fw(2, py("flow_functions.keep", inputs=["_fworker"])),
            links={1: [2]},
        ),
        "twin": twin(flows.folder, 1),
        "alike": wf(
            fw(1, *(known := (py("flow_functions.note", str(flows.folder / "once")),)), _dupefinder=DUPES),
            fw(2, py("builtins.print")),
            fw(3, *known, _dupefinder=DUPES),
            links={1: [2], 2: [3]},
        ),
    }
    ids = {name: flows.add({**document, "name": name}) for name, document in workflows.items()}
    assert flows.run() == 2
    return flows, ids


def test_spec_change_reaches_later_tasks_and_children_only(ran):
    flows, every = ran
    ids = every["near"]
    assert flows.kept(ids[1]) == [1, [2]]
    assert (flows.spec(ids[2])["x"], flows.spec(ids[2])["l"]) == (1, [1, 2])
    assert flows.kept(ids[2]) == [1]
    assert flows.spec(ids[3])["x"] == 0


def test_propagated_change_reaches_each_descendant_once(ran):
    flows, every = ran
    ids = every["far"]
    assert [flows.spec(ids[number]).get("x") for number in (2, 3, 4)] == [1, 1, 1]
    assert flows.kept(ids[4]) == [1]


def test_additions_and_detours_run_and_children_wait_for_detours(ran):
    flows, every = ran
    ids = every["adds"]
    names = flows.named(ids[1])
    assert set(names) == {"fw1", "fw2", "extra", "fw-1", "last"}
    assert [flows.state(number) for number in names.values()] == ["COMPLETED"] * 5
    assert flows.children(names["last"]) == [ids[2]]
    assert flows.children(names["extra"]) == []
    assert names["last"] in flows.children(names["fw-1"])
    assert not any(Path(one.folder, "behind").exists() for one in flows.launches(ids[1]))
    # Spec changes are for the children, not for added fireworks.
    assert flows.kept(ids[2]) == [1]
    assert flows.kept(names["last"]) == ["own"]
    assert flows.spec(names["last"])["y"] == 2
    assert "x" not in flows.spec(names["extra"])


def test_appended_workflow_gets_spec_changes(ran):
    flows, every = ran
    ids = every["appends"]
    appended = flows.named(ids[1])["fw-9"]
    assert flows.kept(appended) == [5]
    assert flows.children(appended) == [ids[2]]


def test_defused_children_and_a_defused_workflow_do_not_run(ran):
    flows, every = ran
    ids = every["defuses"]
    assert [flows.state(ids[number]) for number in (1, 2, 3)] == ["COMPLETED", "DEFUSED", "COMPLETED"]
    assert flows.state(ids[4]) == "FIZZLED"  # its spec has no `x`: it ran
    ids = every["defuses all"]
    assert [flows.state(ids[number]) for number in (1, 2, 3)] == ["COMPLETED", "COMPLETED", "DEFUSED"]


def test_exit_skips_later_tasks(ran):
    flows, every = ran
    (launch,) = flows.launches(every["exits"][1])
    assert results(launch)[0] == {"exit": True, "stored_data": {"a": 1}}
    assert not Path(launch.folder, "behind").exists()


def test_files_and_launch_folders_are_passed_on(ran):
    flows, every = ran
    ids = every["files"]
    folders = [flows.launches(ids[number])[-1].folder for number in (1, 2, 3)]
    assert Path(folders[2], "in", "here.txt").read_text() == "two\n"
    assert flows.kept(ids[3]) == [
        [
            {"fw_id": ids[1], "name": "makes", "launch_dir": folders[0]},
            {"fw_id": ids[2], "name": "passes on", "launch_dir": folders[1]},
        ]
    ]
    (result,) = results(flows.launches(ids[1])[-1])
    assert result["mod_spec"][0] == {"_set": {"_files_prev->a": f"{folders[0]}/a2.txt"}}


def test_allow_fizzled_parents_gives_the_fizzled_parents(ran):
    flows, every = ran
    ids = every["fizzles"]
    ((told,),) = flows.kept(ids[3])
    assert (told["fw_id"], told["name"], told["state"]) == (ids[1], "bad one", "FIZZLED")
    assert told["spec"]["_tasks"][0]["func"] == "flow_functions.need"
    assert "ValueError: not mended" in told["launches"][-1]["action"]["stored_data"]["_exception"]["_stacktrace"]
    assert [flows.state(ids[number]) for number in (1, 3, 4)] == ["FIZZLED", "COMPLETED", "WAITING"]
    ((added,),) = flows.kept(flows.named(every["adds what fizzles"][1])["told"])
    assert (added["name"], added["spec"]["_tasks"][0]["args"]) == ("bad one", ["/nowhere/at/all"])


def test_a_firework_without_tasks_completes(ran):
    flows, every = ran
    assert flows.state(every["nothing"][1]) == "COMPLETED"


@pytest.fixture(scope="module")
def fworker() -> Iterator[None]:
    """Set an fworker for launches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FWORKER_VARIABLE, json.dumps({"name": "big", "env": {"scratch": "/s"}}))
        yield


@pytest.fixture(scope="module")
def again(ran, fworker) -> tuple[Flows, dict[str, dict[int, int]], dict[str, int]]:
    """Rerun two of the fireworks, add one workflow again, and run all."""
    flows, every = ran
    before = flows.named(every["acts"][1])
    (flows.folder / "mended").touch()
    assert flows("lpad", "rerun_fws", "-i", str(every["acts"][1])) == 0
    assert [flows.state(number) for number in before.values()] == ["READY", "WAITING", "WAITING"]
    assert flows("lpad", "rerun_fws", "-i", str(every["resumes"][1]), "--task-level") == 0
    assert (flows.folder / "once").read_text() == "ran\n"
    assert flows("lpad", "rerun_fws", "-i", f"{every['alike'][3]},{every['tells'][1]}") == 0
    found = {name: flows.add(twin(flows.folder, x)) for name, x in (("same", 1), ("other", 2))}
    flows.run()
    return flows, {**every, **found}, before


def twin(folder: Path, x: int) -> dict[str, object]:
    """Two fireworks with a dupefinder; the second one gets the result of the first."""
    note = py("flow_functions.note", str(folder / "ran"))
    return wf(
        fw(1, note, py("builtins.sum", [x], outputs=["x"]), _dupefinder=DUPES),
        fw(2, note, py("flow_functions.keep", inputs=["x"]), _dupefinder=DUPES),
        links={1: [2]},
    )


def test_rerun_does_not_repeat_dynamic_changes(again):
    flows, every, before = again
    assert flows.named(every["acts"][1]) == before
    assert flows.kept(every["acts"][2]) == [[1]]
    assert [len(flows.launches(number)) for number in before.values()] == [2, 2, 2]
    assert [flows.state(number) for number in before.values()] == ["COMPLETED"] * 3


def test_resumed_task_sees_spec_changes_of_earlier_tasks(again):
    flows, every, _ = again
    ids = every["resumes"]
    first, second = flows.launches(ids[1])
    assert first.failure is not None
    assert (first.failure.message, second.steps[0].kept_from) == ("not mended", first.id)
    assert (flows.kept(ids[1]), flows.kept(ids[2])) == ([6], [6])


def test_duplicate_with_the_same_spec_does_not_run(again):
    flows, every, _ = again
    # With the same x neither ran; with another x both ran, because the second one got another x.
    assert len((flows.folder / "ran").read_text().splitlines()) == 4
    first, same, other = (
        [flows.launches(every[name][number])[-1] for number in (1, 2)] for name in ("twin", "same", "other")
    )
    assert results(same[0])[0] == {"update_spec": {"x": 1}, "exit": True, "_duplicate_of": first[0].id}
    assert results(first[0]) == [None, {"update_spec": {"x": 1}}]
    assert not Path(same[1].folder or "", "kept.json").exists()
    assert json.loads(Path(other[1].folder or "", "kept.json").read_text()) == [2]
    assert flows.spec(every["same"][2])["x"] == 1
    assert {flows.state(number) for name in ("same", "other") for number in every[name].values()} == {"COMPLETED"}


def test_exception_details_reach_the_rerun(again):
    flows, every, _ = again
    ids = every["tells"]
    first = flows.launches(ids[1])[0]
    action = launch_document(first, flows.spec(ids[1]))["action"]
    assert action["stored_data"]["_exception"]["_details"] == {"said": "too hot"}
    assert flows.kept(ids[1]) == [{"said": "too hot"}, {"scratch": "/s"}]


def test_launches_know_their_fworker_and_preserve_it(again):
    flows, every, _ = again
    assert flows.kept(every["tells"][2]) == ["big"]


def test_later_duplicate_in_a_workflow_runs_only_on_rerun(again):
    flows, every, _ = again
    ids = every["alike"]
    assert [flows.state(ids[number]) for number in (1, 2, 3)] == ["COMPLETED"] * 3
    assert [len(flows.launches(ids[number])) for number in (1, 3)] == [2, 2]  # they share a launch
    assert (flows.folder / "once").read_text() == "ran\nran\n"


def test_fireworks_that_an_earlier_version_stored_still_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rekindle.dialects.fireworks.flow.PERFORM", "rekindle.dialects.fireworks.bench:perform")
    flows = Flows(tmp_path)
    ids = flows.add(wf(fw(1, py("builtins.print"))))
    assert flows.run() == 0
    assert flows.state(ids[1]) == "COMPLETED"


def test_code_of_rekindle_is_not_part_of_a_firework(ran):
    flows, every = ran
    assert {one.code for one in flows.launches(every["near"][1])} == {None}
