"""Promises of FireWorks' documentation, one test each."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from lpad_folder import FINE, ODD, PREP, RELAX, Lpad

QUERY = """{"action.stored_data._exception._stacktrace": {"$regex": "My custom error message"}}"""

DOCUMENT = [
    # the sentence in the document, and its command line
    ("rerun a firework", "lpad rerun_fws -i {ids}"),
    ("by ids, a name, a state or a query", "lpad rerun_fws -i {ids} -n relax -s FIZZLED -q '{{\"fw_id\": 2}}'"),
    ("by a name", "lpad rerun_fws -n relax"),
    ("by a query", 'lpad rerun_fws -q \'{{"state": "FIZZLED"}}\''),
    ("refer to the documentation", "lpad rerun_fws -h"),
    ("rerun all that fizzled", "lpad rerun_fws -s FIZZLED"),
    ("only from the tasks that failed", "lpad rerun_fws -s FIZZLED  --task-level"),
    ("in a copy of the previous run", "lpad rerun_fws -s FIZZLED --task-level --copy-data"),
    ("in the same directory", "lpad rerun_fws -s FIZZLED --task-level --previous-dir"),
    ("clear the recovery", "lpad rerun_fws -i {ids} --clear-recovery"),
    ("rerun by the error message", f"lpad rerun_fws -q '{QUERY.replace('{', '{{').replace('}', '}}')}' -lm"),
    ("preview that", f"lpad get_fws -q '{QUERY.replace('{', '{{').replace('}', '}}')}' -lm"),
]


@pytest.mark.parametrize(("said", "line"), DOCUMENT, ids=[said for said, _ in DOCUMENT])
def test_each_command_line_of_the_document_runs_as_it_stands(chain: Lpad, said: str, line: str) -> None:
    words = shlex.split(line.format(ids=RELAX))
    done = chain.rekindle(*words)
    assert done.code == 0, done.err
    if "rerun_fws" in line and "-h" not in words:
        assert "Finished setting" in done.out
        assert "Finished setting 0" not in done.out


def test_the_document_works_with_lpad_installed(chain: Lpad, lpad_bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(lpad_bin), prepend=":")
    preview, act = DOCUMENT[-1][1].format(), DOCUMENT[-2][1].format()
    done = chain.shell(f"set -e; {preview}; {act}; lpad rerun_fws -i 2 4 5; lpad -o yaml get_fws -i 4")
    assert done.code == 0, done.err
    assert '"name": "odd"' in done.out
    assert "Finished setting 1 FWs to rerun" in done.out
    assert "state: READY" in done.out


def test_f1_a_rerun_archives_the_launches_of_the_firework_and_of_its_children_and_not_of_its_parents(
    chain: Lpad,
) -> None:
    before = {number: chain.of(number)["launches"] for number in (PREP, RELAX)}
    chain.ok("rerun_fws", "-i", RELAX)
    relax, prep = chain.of(RELAX), chain.of(PREP)
    assert "launches" not in relax
    assert relax["archived_launches"] == before[RELAX]
    assert (prep["launches"], prep.get("archived_launches")) == (before[PREP], None)
    chain.ok("rerun_fws", "-i", PREP)
    assert chain.of(PREP)["archived_launches"] == before[PREP]


def test_f2_archived_launches_are_read_and_affect_nothing(chain: Lpad) -> None:
    folder = chain.ok("get_launchdir", ODD).out.strip()
    chain.ok("rerun_fws", "-i", ODD)
    (launch,) = chain.of(ODD)["archived_launches"]
    assert launch["launch_dir"] == folder
    assert "My custom error message" in launch["action"]["stored_data"]["_exception"]["_stacktrace"]
    assert chain.ok("get_launchdir", ODD).out == "None\n"
    assert chain.each("get_fws", "-q", QUERY, "-lm") == []
    assert chain.each("get_fws", "-q", f'{{"archived_launches.launch_id": {launch["launch_id"]}}}', "-d", "ids") == [
        ODD
    ]


def test_f3_the_firework_is_ready_and_its_children_wait(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-i", PREP)
    assert chain.states() == {
        "prep": "READY",
        "relax": "WAITING",
        "after": "WAITING",
        "odd": "FIZZLED",
        "fine": "COMPLETED",
    }


def test_f3_a_whole_workflow_is_rerun(chain: Lpad) -> None:
    assert "Finished setting 4 FWs to rerun" in chain.ok("rerun_wflows", "-i", FINE).out
    assert list(chain.states().values()) == ["READY", "WAITING", "WAITING", "READY", "READY"]


def test_f4_dynamic_changes_stay_and_are_reported(chain: Lpad) -> None:
    assert chain.of(RELAX)["spec"]["total"] == 6
    done = chain.ok("rerun_fws", "-i", PREP)
    assert "`prep`" in done.err
    assert "--undo-dynamic" in done.err
    assert chain.of(RELAX)["spec"]["total"] == 6
    chain.rekindle("undo")
    chain.ok("rerun_fws", "-i", PREP, "--undo-dynamic")
    assert "total" not in chain.of(RELAX)["spec"]


@pytest.mark.parametrize(
    "words", [["-i", "2", "4", "5"], ["-i", "2,4,5"], ["-i", "2,", "4-5"], ["--fw_id", "2", "4,5"]], ids=" ".join
)
def test_f5_f6_ids_are_separated_by_spaces_or_commas(chain: Lpad, words: list[str]) -> None:
    assert "Finished setting 3 FWs to rerun" in chain.ok("rerun_fws", *words).out
    assert chain.each("get_fws", "-s", "READY", "-d", "ids") == [RELAX, ODD, FINE]


def test_f7_a_name(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-n", "fine")
    assert chain.states()["fine"] == "READY"


def test_f8_a_state(chain: Lpad) -> None:
    assert "Finished setting 2 FWs to rerun" in chain.ok("rerun_fws", "-s", "FIZZLED").out
    assert "FIZZLED" not in chain.states().values()
    assert chain.states()["fine"] == "COMPLETED"


def test_f9_a_query(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-q", '{"spec.alpha": {"$gt": 1}}')
    assert chain.states()["relax"] == "READY"
    assert chain.states()["prep"] == "COMPLETED"


def test_f9_a_query_as_python_writes_it(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-q", "{'name': 'odd', 'spec.alpha': None}")
    assert chain.states()["odd"] == "READY"


def test_f10_help_documents_every_option(chain: Lpad) -> None:
    out = chain.ok("rerun_fws", "-h").out
    words = (
        "-i --fw_id -n --name -s --state -q --query -lm --launches_mode --password --task-level -lid --launch_id -cp"
    )
    for option in [*words.split(), "--copy-data", "-pd", "--previous-dir", "--clear-recovery"]:
        assert option in out, option


def test_f11_f12_only_what_failed_runs_again_in_a_copy_of_the_folder(chain: Lpad) -> None:
    (first,) = chain.of(RELAX)["launches"]
    chain.ok("rerun_fws", "-s", "FIZZLED", "--task-level", "--copy-data")
    (chain.folder / "mended").touch()
    chain.work()
    assert chain.log() == ["three"]
    assert chain.states()["relax"] == "COMPLETED"
    assert (chain.folder / "result").read_text() == "one\ntwo\n"
    (again,) = chain.of(RELAX)["launches"]
    assert again["launch_dir"] != first["launch_dir"]
    Path(again["launch_dir"], "trace").write_text("altered")
    assert Path(first["launch_dir"], "trace").read_text() == "one\ntwo\n", "a true copy"


def test_f13_f14_the_same_folder_and_a_recovery_that_lasts(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-i", RELAX, "--task-level", "--copy-data")
    assert chain.work() == 2
    folder = chain.ok("get_launchdir", RELAX).out
    chain.ok("rerun_fws", "-i", RELAX, "--task-level", "--previous-dir")
    assert chain.work() == 2
    assert chain.ok("get_launchdir", RELAX).out == folder
    assert chain.log() == ["three", "three"]
    chain.ok("rerun_fws", "-i", RELAX)
    (chain.folder / "mended").touch()
    assert chain.work() == 0
    assert chain.log() == ["three"], "a plain rerun keeps the recovery"
    assert (chain.folder / "result").read_text() == "one\ntwo\n"


def test_f14_a_recovery_is_cleared_before_it_has_run(chain: Lpad) -> None:
    chain.ok("rerun_fws", "-i", RELAX, "--task-level", "--copy-data")
    twice = chain.ok("rerun_fws", "-i", RELAX, "--task-level")
    assert "it is READY already" in twice.err
    assert "Finished setting 1 FWs" in chain.ok("rerun_fws", "-i", RELAX, "--clear-recovery").out
    (chain.folder / "mended").touch()
    assert chain.work() == 0
    assert chain.log() == ["one", "two", "three"]


def test_f15_the_stack_trace_is_searched_through_the_launches(chain: Lpad) -> None:
    assert chain.each("get_fws", "-q", QUERY, "-lm", "-d", "ids") == [ODD]
    for flag in ("--launches_mode", "--launch_mode"):
        assert chain.each("get_fws", flag, "-q", QUERY, "-d", "ids") == [ODD]
    assert "Finished setting 1 FWs to rerun" in chain.ok("rerun_fws", "-q", QUERY, "-lm").out
    assert chain.states()["odd"] == "READY"
    assert chain.states()["relax"] == "FIZZLED"


def test_rerun_resumes_a_chosen_earlier_launch(chain: Lpad) -> None:
    (first,) = chain.of(RELAX)["launches"]
    chain.ok("rerun_fws", "-i", RELAX, "--clear-recovery")
    assert chain.work() == 2
    Path(chain.ok("get_launchdir", RELAX).out.strip(), "trace").write_text("of the second\n")
    chain.ok("rerun_fws", "-i", RELAX, "--task-level", "--copy-data", "--launch_id", first["launch_id"])
    (chain.folder / "mended").touch()
    chain.log()
    assert chain.work() == 0
    assert chain.log() == ["three"]
    assert (chain.folder / "result").read_text() == "one\ntwo\n"


def test_a_launch_of_another_firework_is_refused(chain: Lpad) -> None:
    (other,) = chain.of(ODD)["launches"]
    done = chain("rerun_fws", "-i", RELAX, "--task-level", "-lid", other["launch_id"])
    assert done.code == 1
    assert f"it has no attempt {other['launch_id']} to go on from" in done.err
    assert chain.states()["relax"] == "FIZZLED"


def test_the_warning_names_only_fireworks_whose_specs_have_changed(lpad: Lpad) -> None:
    kid = {"name": "kid", "spec": {"_tasks": []}}
    action = {"mod_spec": [{"_push": {"seen": 1}}], "detours": [{**kid, "name": "detour"}]}
    write = f"echo '{json.dumps(action)}' > FWAction.json"
    root = {"_tasks": [{"_fw_name": "ScriptTask", "script": write, "use_shell": True}]}
    flow = {"fws": [{"fw_id": 1, "name": "root", "spec": root}, {**kid, "fw_id": 2}], "links": {"1": [2]}}
    (lpad.folder / "detours.json").write_text(json.dumps(flow))
    lpad.ok("add", "detours.json")
    assert lpad.rekindle("rlaunch", "-s", "rapidfire").code == 0
    states = json.loads(lpad.ok("get_fws", "-d", "all").out)
    assert {one["name"]: one["spec"].get("seen") for one in states} == {"root": None, "kid": [1], "detour": None}
    done = lpad.ok("rerun_fws", "-i", 1, "--dry-run")
    assert "had added `detour.1-0-1`; changed the parameters of `kid`:" in done.err + done.out
