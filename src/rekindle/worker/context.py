"""`ctx`: what a called function may ask about the attempt that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rekindle.journal.orders import Assignment, Recipe


class Context:
    """Handed to a function that has a parameter named `ctx`.

    workflow, job_name, step: names · job: the job's id · attempt: the attempt's number within the job, from 1 ·
    params: the workflow's parameters · matrix: the job's matrix values · steps: results of this attempt's earlier
    steps, by name · item: of a fan-out step, the item that this call is for.
    """

    def __init__(
        self, recipe: Recipe, assignment: Assignment, step: str, params: Mapping[str, Any], item: Any = None
    ) -> None:
        self.workflow = recipe.workflow
        self.job_name = assignment.name
        self.job = assignment.job
        self.attempt = assignment.number
        self.step = step
        self.item = item
        self.params = params
        self.matrix: Mapping[str, Any] = assignment.binding
        self.steps: Mapping[str, Any] = assignment.kept
        self._folder = assignment.folder
        self._inputs = assignment.inputs

    @property
    def dir(self) -> Path:
        """This attempt's own folder (of a fan-out step, the subtask's own); it is there."""
        folder = Path(self._folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def inputs(self) -> dict[str, Any]:
        """The jobs that this one needs, by name: `{"result": …, "outputs": {name: absolute path}}`."""
        found: dict[str, Any] = json.loads(self._inputs) if self._inputs else {}
        return found
