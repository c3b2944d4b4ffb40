"""A folder with workflow files, the functions that their tasks call, and a store in which they run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rekindle.cli.main import main
from rekindle.dialects.fireworks.flow_file import read_flow
from rekindle.dialects.fireworks.fw_states import fw_state
from rekindle.dialects.fireworks.stored_fireworks import current_specs, stored_binding
from rekindle.dialects.fireworks.workflow_operations import add_flow
from rekindle.domain.models import Attempt, Job
from rekindle.domain.selection import Selection
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.session import open_session

FUNCTIONS = """\
import json, os
from pathlib import Path

def leave(**action):
    Path("FWAction.json").write_text(json.dumps(action))

def keep(*values):
    Path("kept.json").write_text(json.dumps(values))

def note(path, *_):
    with open(path, "a") as file:
        file.write("ran\\n")

class Told(Exception):
    def to_dict(self):
        return {"said": self.args[0]}

def tell(path):
    if not Path(path).exists():
        raise Told("too hot")

def need(path, *values):
    if not Path(path).exists():
        raise ValueError("not mended")
    keep(*values)
"""


def py(func: str, *args: Any, inputs: Sequence[str] = (), outputs: Sequence[str] = (), **kwargs: Any) -> dict[str, Any]:
    """Return a PyTask."""
    task = {"_fw_name": "PyTask", "func": func, "args": list(args), "inputs": list(inputs), "outputs": list(outputs)}
    return {**task, "kwargs": kwargs}


def act(**action: Any) -> dict[str, Any]:
    """Return a task that returns this FWAction."""
    return py("flow_functions.leave", **action)


def fw(number: int, *tasks: Mapping[str, Any], name: str = "", **spec: Any) -> dict[str, Any]:
    """Return a firework."""
    return {"fw_id": number, "name": name or f"fw{number}", "spec": {"_tasks": list(tasks), **spec}}


def wf(
    *fireworks: Mapping[str, Any], links: Mapping[int, Sequence[int]] | None = None, name: str = "w"
) -> dict[str, Any]:
    """Return a workflow."""
    linked = {str(parent): list(children) for parent, children in (links or {}).items()}
    return {"name": name, "fws": list(fireworks), "links": linked, "metadata": {}}


@dataclass
class Flows:
    """Workflows in a store of their own."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "flow_functions.py").write_text(FUNCTIONS)

    @property
    def url(self) -> str:
        """Return an open session of the store."""
        return str(self.folder / ".rekindle")

    def add(self, document: Mapping[str, Any]) -> dict[int, int]:
        """Add a workflow. Returns the fw_ids by number."""
        with open_session(self.url) as session:
            return add_flow(session, read_flow(document), str(self.folder))

    def __call__(self, *words: str) -> int:
        """Run a rekindle command on this store."""
        return main(["--store", self.url, *words])

    def run(self) -> int:
        """Run everything that is ready."""
        return self("work", "-j", "4")

    def job(self, number: int) -> Job:
        """Return a firework."""
        with open_session(self.url) as session:
            return job_queries.jobs(session, [number])[0].job

    def state(self, number: int) -> str:
        """Return the state in FireWorks' terms."""
        job = self.job(number)
        return fw_state(job.state, job.held)

    def spec(self, number: int) -> dict[str, Any]:
        """Return the spec that its next launch gets."""
        with open_session(self.url) as session:
            return current_specs(session, [job_queries.jobs(session, [number])[0].job])[number]

    def launches(self, number: int) -> list[Attempt]:
        """Return its attempts, including archived ones."""
        with open_session(self.url) as session:
            return job_queries.attempts(session, [number])

    def kept(self, number: int) -> Any:
        """Return the arguments of `keep` in its last launch."""
        folder = self.launches(number)[-1].folder
        return json.loads(Path(folder or "", "kept.json").read_text())

    def named(self, workflow_of: int) -> dict[str, int]:
        """Return the fireworks of a workflow by name, including added ones."""
        with open_session(self.url) as session:
            workflow = job_queries.jobs(session, [workflow_of])[0].job.workflow
            ids = selections.select(session, Selection(workflow=str(workflow)))
            return {stored_binding(row.job)["name"]: row.job.id for row in job_queries.jobs(session, ids)}

    def children(self, number: int) -> list[int]:
        """Return the children of a firework."""
        with open_session(self.url) as session:
            return sorted(job_queries.child_ids(session, [number])[number])


def results(attempt: Attempt) -> list[Any]:
    """Return the results of a launch's tasks."""
    return [None if step.result is None else json.loads(step.result) for step in attempt.steps]


def in_folder(folder: Path, monkeypatch: Any) -> None:
    """Change to the folder, and ignore stores named by the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    assert "REKINDLE_STORE" not in os.environ
