"""FireWorks files: reading, errors, names, adding, reading back and removing."""

from __future__ import annotations

import io
import json
import sys
from datetime import date
from pathlib import Path

import msgspec
import pytest
from flow_folder import Flows, fw, in_folder, py, wf

from rekindle.dialects.fireworks.flow import Flow, define_flow, unique_job_names, workflow_name
from rekindle.dialects.fireworks.flow_file import read_flow, read_flow_file
from rekindle.dialects.fireworks.stored_fireworks import fireworks_workflows, stored_flow
from rekindle.domain.errors import Refused, SpecError
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.session import open_session
from rekindle.engine.submit.submit import submit
from rekindle.spec.values import JOB_NAME

DEMO = """\
name: demo
metadata: {project: P1}
fws:
- fw_id: -1
  name: prep
  spec:
    _priority: 10
    _category: small
    _files_out: {a: a.txt}
    _tasks:
    - {_fw_name: ScriptTask, script: ["echo hi > a.txt"], use_shell: true, store_stdout: true}
    - {_fw_name: PyTask, func: builtins.sum, args: [[1,2,3]], outputs: [total]}
- fw_id: -2
  name: use
  spec:
    _files_in: {a: in.txt}
    _tasks:
    - {_fw_name: PyTask, func: builtins.print, inputs: [total]}
links: {-1: [-2]}
"""

SINGLE = '{"spec": {"_tasks": [{"_fw_name": "ScriptTask", "script": "echo hello"}]}}'


def write(folder: Path, text: str, name: str = "w.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_workflow_file_becomes_jobs_steps_and_edges(tmp_path):
    flow = read_flow_file(write(tmp_path, DEMO))
    assert (flow.name, flow.metadata, flow.links) == ("demo", {"project": "P1"}, {-2: (), -1: (-2,)})
    made = define_flow(flow, str(tmp_path))
    # Fireworks are ordered by `fw_id`.
    assert [job.name for job in made.jobs] == ["use", "prep"]
    assert made.edges == ((1, 0),)
    assert made.jobs[1].binding["spec"]["_category"] == "small"
    prep = made.templates[made.jobs[1].template]
    assert [step.name for step in prep.steps] == ["0-ScriptTask", "1-PyTask"]
    assert (prep.priority, prep.workdir, prep.when) == (10, "attempt", "completed")
    assert made.params["fireworks"]["metadata"] == {"project": "P1"}


def test_single_firework_file_with_single_task_is_read(tmp_path):
    flow = read_flow_file(write(tmp_path, SINGLE, "fw.json"))
    assert (flow.name, [one.name for one in flow.fireworks]) == ("Unnamed FW", ["Unnamed FW"])
    alone = read_flow_file(write(tmp_path, "name: a\nspec:\n  _tasks: {_fw_name: ScriptTask, script: echo}\n"))
    assert alone.fireworks[0].tasks == ({"_fw_name": "ScriptTask", "script": "echo"},)


def test_fireworks_with_the_same_tasks_share_a_template(tmp_path):
    flow = read_flow(wf(*(fw(number, py("builtins.print", number)) for number in range(1, 51)), fw(51)))
    made = define_flow(flow, str(tmp_path))
    assert (len(made.jobs), len(made.templates)) == (51, 2)


def test_firework_names_become_unique_job_names():
    names = list(unique_job_names(["prep", "prep", "a b/c", "12", "", "prep-2", "été.x"]))
    assert names == ["prep", "prep-2", "a-b-c", "fw-12", "firework", "prep-2-2", "été-x"]
    assert all(JOB_NAME.matches(name) for name in names)
    assert [workflow_name(name) for name in ("12", " a\nb ", "")] == ["wf-12", "a b", "unnamed WF"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("a: 1\n", "neither `fws` nor a `spec`"),
        ("fws: []\n", "has no firework"),
        ("fws: 3\n", "`fws` must be a list"),
        ("fws: [{name: a}]\n", "a firework has no `spec`"),
        ("fws: [{spec: {a: 1}}]\n", "a spec has no `_tasks`"),
        ("fws: [{spec: {_tasks: 3}}]\n", "`_tasks` must be a list"),
        ("fws: [{spec: {_tasks: [{script: x}]}}]\n", "a task has no `_fw_name`"),
        ("fws: [{fw_id: x, spec: {_tasks: []}}]\n", "`fw_id` must be a whole number"),
        ("fws: [{fw_id: 1, spec: {_tasks: []}}, {fw_id: 1, spec: {_tasks: []}}]\n", "a firework 1 already"),
        ("fws: [{fw_id: 1, spec: {_tasks: []}}]\nlinks: {1: [2]}\n", "`links` names 2, and there is no such firework"),
        ("fws: [{fw_id: 1, spec: {_tasks: []}}]\nlinks: {a: [1]}\n", "`links` names 'a'"),
        ("fws: [{fw_id: 1, name: a, spec: {_tasks: []}}]\nlinks: {1: 1}\n", "cycle: 1 (a) before 1 (a)"),
        ("fws: [{spec: {_tasks: [], x: .nan}}]\n", "must be finite"),
        ("spec: {_tasks: []}\ncreated_on: soon\n", "`created_on` must be a date"),
    ],
)
def test_invalid_workflow_files_are_refused_with_a_reason(tmp_path, text, told):
    with pytest.raises(SpecError) as refusal:
        read_flow_file(write(tmp_path, text))
    assert told in str(refusal.value)


def test_files_written_by_fireworks_are_read(tmp_path):
    firework = pytest.importorskip("fireworks")
    one = firework.Firework(firework.ScriptTask.from_str("echo a"), name="one", spec={"_priority": 3})
    two = firework.Firework([firework.PyTask(func="builtins.print")], name="two", parents=[one])
    made = firework.Workflow([one, two], name="real", metadata={"a": 1})
    flow = read_flow(made.to_dict())
    for name in ("w.yaml", "w.json"):
        made.to_file(str(tmp_path / name))
        assert read_flow_file(tmp_path / name) == flow
    assert flow.links == {one.fw_id: (two.fw_id,), two.fw_id: ()}
    assert flow.fireworks[0].created_on == two.created_on.replace(tzinfo=None).isoformat()


def test_lpad_add_adds_files_and_folders_all_or_none(tmp_path, monkeypatch, capsys):
    in_folder(tmp_path, monkeypatch)
    flows = Flows(tmp_path)
    folder = tmp_path / "many"
    folder.mkdir()
    write(folder, DEMO, "a.yaml")
    write(folder, SINGLE, "b.json")
    assert flows("lpad", "add", str(folder)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Added a workflow. id_map: {-2: 1, -1: 2}",
        "Added a workflow. id_map: {-1: 3}",
    ]
    wrong = write(tmp_path, "fws: []\n", "wrong.yaml")
    assert flows("lpad", "add", str(folder / "a.yaml"), str(wrong)) == 1
    assert "wrong.yaml" in capsys.readouterr().err
    assert flows("lpad", "add", "-d", str(wrong)) == 1
    assert flows("lpad", "add", str(tmp_path / "absent.yaml")) == 1
    dupe = SINGLE.replace('{"_tasks"', '{"_dupefinder": {"_fw_name": "Mine"}, "_tasks"')
    assert flows("lpad", "add", str(write(tmp_path, dupe, "d.json"))) == 1
    assert "has the `_dupefinder` 'Mine'" in capsys.readouterr().err
    with open_session(flows.url) as session:
        assert [one.name for one in workflow_queries.workflows(session)] == ["demo", "Unnamed FW"]
    assert (flows.state(1), flows.state(2)) == ("WAITING", "READY")


def test_lpad_reset_removes_fireworks_workflows_only(tmp_path, monkeypatch, capsys):
    in_folder(tmp_path, monkeypatch)
    flows = Flows(tmp_path)
    write(tmp_path, "name: own\njobs: {a: {run: 'true'}}\n", "own.yaml")
    assert flows("submit", "own.yaml") == 0
    flows.add(wf(fw(1, py("builtins.print")), name="theirs"))
    assert flows("lpad", "reset", "--password", "2012-02-25") == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert flows("lpad", "reset") == 1
    assert len(names_of(flows)) == 2
    assert flows("lpad", "reset", "--password", date.today().isoformat()) == 0
    out = capsys.readouterr().out
    assert "1 workflows with 1 fireworks were removed" in out
    assert "removed: 2 theirs" in out
    assert names_of(flows) == ["own"]


def names_of(flows: Flows) -> list[str]:
    with open_session(flows.url) as session:
        return [one.name for one in workflow_queries.workflows(session, archived=True)]


def test_stored_flow_round_trips_and_a_change_is_a_revision(tmp_path):
    flows = Flows(tmp_path)
    document = wf(fw(1, py("builtins.print")), fw(2, py("builtins.print"), x=1), fw(3, _allow_fizzled_parents=True))
    document["links"] = {"1": [2, 3]}
    ids = flows.add(document)
    flows.add(document)  # a second one with the same name
    with open_session(flows.url) as session:
        workflow = fireworks_workflows(session)[0]
        flow = stored_flow(session, workflow)
        assert flow.links == {ids[1]: (ids[2], ids[3]), ids[2]: (), ids[3]: ()}
        same = define_flow(flow, workflow.directory)
        assert submit(session, same, revision_of=workflow.id).unchanged
        changed = define_flow(with_x(flow, ids[2]), workflow.directory)
        done = submit(session, changed, revision_of=workflow.id)
        assert (done.workflow, done.revision, done.changed) == (workflow.id, 2, ("fw2",))
        assert stored_flow(session, fireworks_workflows(session)[0]) == with_x(flow, ids[2])
    assert flows.spec(ids[2])["x"] == 2


def with_x(flow: Flow, number: int) -> Flow:
    """Return the flow with another x in one firework's spec."""

    fireworks = (
        msgspec.structs.replace(one, spec={**one.spec, "x": 2}) if one.id == number else one for one in flow.fireworks
    )
    return msgspec.structs.replace(flow, fireworks=tuple(fireworks))


def test_other_workflows_are_not_read_back(tmp_path, monkeypatch):
    in_folder(tmp_path, monkeypatch)
    flows = Flows(tmp_path)
    write(tmp_path, json.dumps({"name": "own", "jobs": {"a": {"run": "true"}}}), "own.json")
    assert flows("submit", "own.json") == 0
    with open_session(flows.url) as session:
        assert fireworks_workflows(session) == []
        with pytest.raises(Refused, match="did not come through FireWorks"):
            stored_flow(session, selections.find_workflow(session, "own"))
