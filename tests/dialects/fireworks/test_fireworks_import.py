"""`rekindle import fireworks`: a dump that FireWorks 2.1 made, exported as mongoexport does."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rekindle.cli.main import main
from rekindle.dialects.fireworks import LaunchPad
from rekindle.dialects.fireworks.fw_states import fw_state
from rekindle.domain.models import Attempt
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, workflow_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session

DUMP = Path(__file__).parent / "dump"

STATES = {
    1: "COMPLETED",
    2: "COMPLETED",
    3: "COMPLETED",
    4: "COMPLETED",
    5: "FIZZLED",
    6: "WAITING",
    7: "FIZZLED",
    8: "COMPLETED",
    9: "COMPLETED",
    10: "WAITING",
    11: "PAUSED",
    12: "DEFUSED",
    13: "ARCHIVED",
    14: "FIZZLED",  # it was running when the dump was made
    15: "READY",  # it was reserved
    16: "READY",
    17: "COMPLETED",
    18: "COMPLETED",
    19: "FIZZLED",
}


class Lab:
    """A folder with a dump, in which commands run."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.dump = folder / "dump"
        self._capture = capture
        shutil.copytree(DUMP, self.dump)
        self.change(lambda text: text.replace("/scratch/lab", str(folder)))

    def change(self, change: Callable[[str], str], *names: str) -> None:
        for path in self.dump.iterdir():
            if not names or path.stem in names:
                path.write_text(change(path.read_text()))

    def documents(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.dump / f"{name}.json").read_text().splitlines()]

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._capture.readouterr()
        code = main(list(words))
        return (code, *self._capture.readouterr())

    def session(self) -> Session:
        return open_session(str(self.folder / ".rekindle"), create=False)

    def states(self) -> dict[int, str]:
        with self.session() as session, session.store.read() as archive:
            assert archive.check() == []
            found = {}
            for workflow in archive.workflows.listing(archived=True):
                for job in archive.jobs.get(archive.jobs.select(Selection().where, workflow.id)):
                    found[job.id] = fw_state(job.state, job.held, archived=workflow.archived is not None)
        return found

    def attempts(self, fw: int) -> list[Attempt]:
        with self.session() as session:
            return job_queries.attempts(session, [fw])

    def spec(self, fw: int) -> dict[str, Any]:
        with self.session() as session:
            found: dict[str, Any] = json.loads(job_queries.jobs(session, [fw])[0].job.binding)
        return found["spec"]


@pytest.fixture
def lab(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main() replaces it
    return Lab(tmp_path, capsys)


def test_workflows_come_with_their_states_and_ids(lab: Lab) -> None:
    code, out, _ = lab("import", "fireworks", "dump")
    assert code == 0
    assert out == ("13 workflows, 19 fireworks, 17 launches (5 archived)\nfireworks and launches keep their ids\n")
    assert lab.states() == STATES
    with lab.session() as session:
        found = {
            one.id: workflow_queries.params(session, one)["fireworks"]
            for one in workflow_queries.workflows(session, archived=True)
        }
    assert found[1]["name"] == "diamond of iron"
    assert found[1]["metadata"] == {"project": "P1", "user": "ada"}


def test_archived_launches_are_archived_attempts(lab: Lab) -> None:
    lab("import", "fireworks", "dump")
    first, second = lab.attempts(5)
    assert [first.id, second.id] == [5, 11]
    assert (first.archived_by is not None, second.archived_by) == (True, None)
    assert second.state is State.FAILED
    assert second.failure is not None
    assert (second.failure.type, second.failure.message) == ("ValueError", "the lattice does not converge")
    assert "tasks_of_lab.py" in second.failure.traceback
    assert second.host == "node1"
    assert second.folder is not None
    assert second.folder.startswith(str(lab.folder))
    launch = next(one for one in lab.documents("launches") if one["launch_id"] == 11)
    assert second.ended is not None
    assert second.started is not None
    assert second.ended - second.started == pytest.approx(launch["runtime_secs"], abs=1e-5)
    assert [(step.name, step.state.label, step.kept_from) for step in second.steps] == [
        ("0-ScriptTask", "completed", 5),
        ("1-PyTask", "completed", 5),
        ("2-PyTask", "failed", None),
    ]
    assert (second.builds_on, second.start_step) == (5, 2)


def test_imported_launches_match_the_same_queries(lab: Lab) -> None:
    lab.change(lambda text: text.replace('"_details": null', '"_details": {"step": 7}'), "launches")
    lab("import", "fireworks", "dump")
    pad = LaunchPad()
    assert len(pad.get_fw_ids({"fworker.name": "lab worker"}, launches_mode=True)) == 12
    stack = {"action.stored_data._exception._stacktrace": {"$regex": "lattice does not converge"}}
    assert pad.get_fw_ids(stack, launches_mode=True) == [5, 7]
    assert pad.get_fw_ids({"archived_launches": 5}) == [5]
    assert pad.get_fw_dict_by_id(5)["archived_launches"][0]["state"] == "FIZZLED"
    said = pad.get_fw_dict_by_id(5)["launches"][0]["action"]["stored_data"]["_exception"]
    assert said["_details"] == {"step": 7}
    assert pad.get_wf_summary_dict(3)["states"]["prepare--4"] == "COMPLETED"


def test_what_a_launch_did_is_its_result(lab: Lab) -> None:
    lab("import", "fireworks", "dump")
    (only,) = lab.attempts(2)
    assert json.loads(only.result or "") == {"stored_data": {"seen": 4}, "update_spec": {"from_first": 8}}
    assert only.steps[-1].result == only.result


def test_imported_specs_hold_changes_and_no_recovery(lab: Lab) -> None:
    lab("import", "fireworks", "dump")
    assert lab.spec(1) == {
        "_tasks": [{"script": "echo join", "_fw_name": "ScriptTask"}],
        "from_first": 8,
        "totals": [3, 3],
    }
    assert "_recovery" not in lab.spec(5)


def test_differences_are_noted(lab: Lab) -> None:
    _, _, err = lab("import", "fireworks", "dump")
    notes = [line.removeprefix("note: ") for line in err.splitlines()]
    assert notes[:3] == [
        "firework 14 'running': launch 14 ran when the dump was made; here it is FIZZLED, as a lost run",
        "firework 15 'reserved': launch 15 was a reservation in a queue; here it is as if it had not been made",
        "firework 18 'same again': launch 16 is that of firework 17, a duplicate; it is given its own",
    ]
    assert notes[3].startswith("the spec changes that fireworks 2, 3, 8 made in others are part of these specs")


def test_second_import_is_refused_and_changes_nothing(lab: Lab) -> None:
    lab("import", "fireworks", "dump")
    code, _, err = lab("import", "fireworks", "dump")
    assert code == 1
    assert "nothing is imported: workflow 'diamond of iron'" in err
    assert "it has been imported already, as workflow 1" in err
    assert len(lab.states()) == 19


def test_second_import_takes_only_new_workflows(lab: Lab) -> None:
    whole = (lab.dump / "workflows.json").read_text()
    lab.change(lambda text: "".join(text.splitlines(keepends=True)[:2]), "workflows")
    lab("import", "fireworks", "dump")
    assert sorted(lab.states()) == [1, 2, 3, 4, 5]
    (lab.dump / "workflows.json").write_text(whole)
    code, out, err = lab("import", "fireworks", "dump", "--json")
    assert code == 0
    told = json.loads(out)
    assert [one["what"] for one in told["not_taken"]] == [
        "workflow 'diamond of iron' (fireworks 1–4)",  # noqa: RUF001
        "workflow 'four' (firework 5)",
    ]
    assert len(told["workflows"]) == 11
    assert err == ""


def test_store_with_jobs_gives_new_ids_and_prints_them(lab: Lab) -> None:
    (lab.folder / "spec.yaml").write_text("name: ours\njobs: {a: {run: 'true'}, b: {run: 'true'}}\n")
    lab("submit", "spec.yaml")
    code, out, _ = lab("import", "fireworks", "dump")
    assert code == 0
    assert "  diamond of iron: 1 is 3, 2 is 4, 3 is 5, 4 is 6\n" in out
    assert lab.states()[7] == "FIZZLED"
    with lab.session() as session:
        assert json.loads(job_queries.jobs(session, [7])[0].job.binding)["fw"] == 5


def _canonical(value: Any) -> Any:
    """Convert numbers and dates as `mongoexport --jsonFormat=canonical` does."""
    if isinstance(value, dict):
        if set(value) == {"$date"}:
            return {"$date": {"$numberLong": "1795289659162"}}
        return {key: _canonical(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_canonical(one) for one in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return {"$numberInt" if isinstance(value, int) else "$numberDouble": str(value)}


def test_canonical_extended_json_in_lists_is_read_too(lab: Lab) -> None:
    every = {name: _canonical(lab.documents(name)) for name in ("fireworks", "launches", "workflows")}
    paths = [lab.folder / f"of_{name}.txt" for name in every]
    for path, documents in zip(paths, every.values(), strict=True):
        path.write_text(json.dumps(documents, indent=1))
    assert lab("import", "fireworks", *map(str, paths))[0] == 0
    assert lab.states() == STATES
    assert lab.spec(1)["totals"] == [3, 3]


TASKS = """\
def first(x):
    raise AssertionError("it has completed before")

def second():
    return 2
"""


def test_imported_fizzled_firework_resumes_at_the_failed_task(lab: Lab) -> None:
    lab("import", "fireworks", "dump")
    (lab.folder / "tasks_of_lab.py").write_text(TASKS)
    before = lab.attempts(5)[-1]
    assert before.folder is not None
    Path(before.folder).mkdir(parents=True)
    Path(before.folder, "left.txt").write_text("of the first task")
    with lab.session() as session:
        proposal = rerun.plan(session, [([5], How(start="failed-step"))], {})
        rerun.apply(session, proposal)
        work(session, WorkOptions(slots=2, workflow="2"))
    assert lab.states()[5] == "COMPLETED"
    *_, last = lab.attempts(5)
    assert [step.kept_from for step in last.steps] == [5, 5, None, None]
    assert last.folder is not None
    assert Path(last.folder, "left.txt").read_text() == "of the first task"


def test_imported_firework_with_recovery_resumes(lab: Lab) -> None:
    def unrun(text: str) -> str:
        found = [json.loads(line) for line in text.splitlines()]
        for one in found:
            if one["fw_id"] == 5:
                one |= {"state": "READY", "launches": []}
        return "\n".join(json.dumps(one) for one in found)

    lab.change(unrun, "fireworks")
    (lab.folder / "tasks_of_lab.py").write_text(TASKS)
    lab("import", "fireworks", "dump")
    folder = lab.attempts(5)[0].folder
    assert folder is not None
    Path(folder).mkdir(parents=True)
    Path(folder, "left.txt").write_text("of the first task")
    with lab.session() as session:
        work(session, WorkOptions(workflow="2"))
    *_, last = lab.attempts(5)
    assert [step.kept_from for step in last.steps] == [5, 5, None, None]
    assert Path(last.folder or "", "left.txt").exists()


def test_workflow_with_missing_fireworks_is_skipped_by_name(lab: Lab) -> None:
    lab.change(lambda text: "".join(text.splitlines(keepends=True)[1:]), "fireworks")
    code, out, err = lab("import", "fireworks", "dump")
    assert code == 0
    assert out.startswith("12 workflows")
    assert "not taken: workflow 'diamond of iron' (fireworks 1–4): the dump lacks its fireworks 1\n" in err  # noqa: RUF001
    assert "fireworks of no workflow are left out: 2, 3, 4" not in err


def test_missing_launch_is_noted(lab: Lab) -> None:
    lab.change(lambda text: "".join(text.splitlines(keepends=True)[1:]), "launches")
    code, _, err = lab("import", "fireworks", "dump")
    assert code == 0
    assert "firework 4 'prepare': the dump lacks its launches 1" in err
    assert "firework 4 'prepare': it is COMPLETED, and it has no launch; it is given one without times" in err
    assert lab.states()[4] == "COMPLETED"


def test_inconsistent_states_are_noted_and_do_not_run(lab: Lab) -> None:
    lab.change(lambda text: text.replace('"state": "ARCHIVED"', '"state": "READY"'), "workflows")
    lab.change(lambda text: text.replace('"state": "READY"', '"state": "BEREIT"'), "fireworks")
    code, _, err = lab("import", "fireworks", "dump")
    assert code == 0
    assert "firework 13 'archived one': it is ARCHIVED, and its workflow is not; it is DEFUSED" in err
    assert "firework 16 'ready': its state 'BEREIT' is unknown to FireWorks; it follows from its launches" in err
    assert lab.states()[13] == "DEFUSED"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("fireworks.json", '{"fw_id": 1,\n', "fireworks.json:2:1: not JSON"),
        ("fireworks.json", "[1, 2]\n", "fireworks.json:1:1: an entry that is no object"),
        ("workflows.json", "", "there is no document of the collection workflows"),
        ("launches.json", '{"launch_id": {"$numberInt": "x"}}', "launches.json:1:1: "),
    ],
)
def test_unreadable_dump_is_named_and_nothing_is_imported(lab: Lab, name: str, content: str, said: str) -> None:
    (lab.dump / name).write_text(content)
    code, out, err = lab("import", "fireworks", "dump")
    assert code != 0
    assert out == ""
    assert said in err
    assert "mongoexport" in err
    assert not (lab.folder / ".rekindle").exists()


def test_a_dump_of_mongodump_gets_a_hint(lab: Lab) -> None:
    for path in lab.dump.iterdir():
        path.rename(path.with_suffix(".bson"))
    code, _, err = lab("import", "fireworks", "dump")
    assert code == 64
    assert "mongodump writes BSON" in err
    assert lab("import", "fireworks", "nowhere")[0] == 1


def test_rerun_of_archived_launches_can_be_shown(lab: Lab) -> None:
    lab("import", "fireworks", "dump")
    code, out, _ = lab("reruns", "show", "1")
    assert code == 0
    assert "archived before they were imported:\n  join: attempt 4\n  left: attempt 3\n" in out
    code, _, err = lab("undo", "1")
    assert (code, "before they were imported" in err) == (1, True)


def test_fireworks_that_shared_a_launch_are_rerun_together(lab: Lab) -> None:
    for first in (17, 36):  # with ids of the dump, and with others
        lab("import", "fireworks", "dump", "--json")
        code, out, err = lab("lpad", "rerun_fws", "-i", str(first + 1))
        assert code == 0, err
        assert out.splitlines() == [
            f"Also rerunning duplicate fw_id: {first}",
            "Finished setting 1 FWs to rerun",
        ]
        assert lab("undo")[0] == 0
        lab("lpad", "delete_wflows", "-q", "{}", "--password", date.today().isoformat())
