"""`ctx`: what a called function may ask about the attempt that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rekindle.domain.verdicts import Verdict, give_verdict, worst
from rekindle.files.modes import make_folder
from rekindle.journal.orders import Assignment, Recipe


class Context:
    """Handed to a function that has a parameter named `ctx`.

    workflow, job_name, step: names · job: the job's id · attempt: the attempt's number within the job, from 1 ·
    params: the workflow's parameters · matrix: the job's matrix values · steps: results of this attempt's earlier
    steps, by name · item: of a fan-out step, the item that this call is for · given: the verdict so far.
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
        self._before = assignment.before
        self.given: Verdict | None = None

    @property
    def dir(self) -> Path:
        """This attempt's own folder (of a fan-out step, the subtask's own); it is there."""
        folder = Path(self._folder)
        if not folder.is_dir():  # a subtask's, in the store
            make_folder(folder)
        return folder

    def verdict(self, word: str, message: str = "") -> None:
        """Say what was found: `passed`, `warning` or `blocker`, and why. Of several the worst counts, and of those as
        bad the first. BadVerdict (a ValueError) for another word."""
        self.given = worst((self.given, give_verdict(word, message)))

    @property
    def before(self) -> dict[str, Any] | None:
        """How this job's attempt before this one ended: `attempt` (its number), `state`, `cause` and `error` (of one
        that failed: `type`, `message`, `traceback`, `stderr`). None: there was none."""
        found: dict[str, Any] | None = json.loads(self._before) if self._before else None
        return found

    @property
    def inputs(self) -> dict[str, Any]:
        """The jobs that this one needs, by name: `{"result": …, "outputs": {name: absolute path}}`; for an aggregate,
        or with `when: finished`, `job` (its id), `state`, `verdict`, `verdict_message`, `partial`, `attempt` (its
        number) and `error` (of one that failed: `type`, `message`, `traceback`, `stderr`) too."""
        found: dict[str, Any] = json.loads(self._inputs) if self._inputs else {}
        return found
