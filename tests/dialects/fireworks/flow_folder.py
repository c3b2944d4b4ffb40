"""A folder with workflow files, functions that their tasks call, and a store in which all of it ran."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rekindle.cli.main import main
from rekindle.dialects.fireworks.adding import add_flow
from rekindle.dialects.fireworks.reading import read_document
from rekindle.dialects.fireworks.stored import binding_of, specs
from rekindle.dialects.fireworks.words import fw_state
from rekindle.domain.models import Attempt, Job
from rekindle.domain.selection import Selection
from rekindle.engine.looking import look
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
    """A PyTask."""
    task = {"_fw_name": "PyTask", "func": func, "args": list(args), "inputs": list(inputs), "outputs": list(outputs)}
    return {**task, "kwargs": kwargs}


def act(**action: Any) -> dict[str, Any]:
    """A task that asks for this FWAction."""
    return py("flow_functions.leave", **action)


def fw(number: int, *tasks: Mapping[str, Any], name: str = "", **spec: Any) -> dict[str, Any]:
    """A firework."""
    return {"fw_id": number, "name": name or f"fw{number}", "spec": {"_tasks": list(tasks), **spec}}


def wf(
    *fireworks: Mapping[str, Any], links: Mapping[int, Sequence[int]] | None = None, name: str = "w"
) -> dict[str, Any]:
    """A workflow."""
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
        """Of the store."""
        return str(self.folder / ".rekindle")

    def add(self, document: Mapping[str, Any]) -> dict[int, int]:
        """Add a workflow; the ids of its fireworks by their numbers."""
        with open_session(self.url) as session:
            return add_flow(session, read_document(document), str(self.folder))

    def __call__(self, *words: str) -> int:
        """A command of rekindle, on this store."""
        return main(["--store", self.url, *words])

    def run(self) -> int:
        """Run whatever can run."""
        return self("work", "-j", "4")

    def job(self, number: int) -> Job:
        """A firework."""
        with open_session(self.url) as session:
            return look.jobs(session, [number])[0].job

    def state(self, number: int) -> str:
        """In FireWorks' words."""
        job = self.job(number)
        return fw_state(job.state, job.held)

    def spec(self, number: int) -> dict[str, Any]:
        """As its next launch is to see it."""
        with open_session(self.url) as session:
            return specs(session, [look.jobs(session, [number])[0].job])[number]

    def launches(self, number: int) -> list[Attempt]:
        """Its attempts, archived ones too."""
        with open_session(self.url) as session:
            return look.attempts(session, [number])

    def kept(self, number: int) -> Any:
        """What `keep` was given in its last launch."""
        folder = self.launches(number)[-1].folder
        return json.loads(Path(folder or "", "kept.json").read_text())

    def named(self, workflow_of: int) -> dict[str, int]:
        """The fireworks of a workflow, added ones too, by FireWorks' name."""
        with open_session(self.url) as session:
            workflow = look.jobs(session, [workflow_of])[0].job.workflow
            ids = look.select(session, Selection(workflow=str(workflow)))
            return {binding_of(row.job)["name"]: row.job.id for row in look.jobs(session, ids)}

    def children(self, number: int) -> list[int]:
        """What needs a firework."""
        with open_session(self.url) as session:
            return sorted(look.children_of(session, [number])[number])


def results(attempt: Attempt) -> list[Any]:
    """What each task of a launch did."""
    return [None if step.result is None else json.loads(step.result) for step in attempt.steps]


def in_folder(folder: Path, monkeypatch: Any) -> None:
    """Work there, without what the environment says of stores."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    assert "REKINDLE_STORE" not in os.environ
