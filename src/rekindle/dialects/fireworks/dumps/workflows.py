"""A workflow of a dump becomes one that is brought in with its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rekindle.dialects.fireworks.defining import define
from rekindle.dialects.fireworks.dumps.documents import Document, Dump, listed, moment
from rekindle.dialects.fireworks.dumps.launches import Recovery, past_attempt
from rekindle.dialects.fireworks.flows import Flow
from rekindle.dialects.fireworks.reading import read_document
from rekindle.dialects.fireworks.words import DEFUSED, PAUSED, STATES, WORKFLOW
from rekindle.domain.causes import Cause
from rekindle.domain.errors import RekindleError, SpecError
from rekindle.domain.histories import PastAttempt, PastJob, PastWorkflow
from rekindle.domain.models import Failure
from rekindle.domain.rerunning.rerun import Take

IMPORTED = "imported"
"""Beside a workflow's other parameters of this dialect: what tells it from all others that were ever dumped."""


@dataclass(slots=True)
class Taken:
    """A workflow of a dump, ready to be brought in, and what is to be said of it."""

    past: PastWorkflow
    name: str
    fireworks: tuple[int, ...]  # their ids in the dump, as the jobs
    notes: list[str] = field(default_factory=list)


class Untaken(Exception):
    """Why a workflow of a dump is not taken."""


def identity(workflow: Document) -> str:
    """What tells a workflow from all others: the id that MongoDB gave it, else when it was made, and of what."""
    found = workflow.get("_id")
    if isinstance(found, str):
        return found
    return f"{workflow.get('created_on')} {sorted(listed(workflow.get('nodes')))}"


def take(workflow: Document, dump: Dump, directory: str, fresh: Callable[[], int]) -> Taken:
    """The workflow with its fireworks and their launches. `fresh` gives an id that no launch has: two fireworks may
    share one launch, of which each is given its own. Untaken, with the reason."""
    nodes = sorted(listed(workflow.get("nodes")))
    name = str(workflow.get("name") or "")
    missing = [one for one in nodes if one not in dump.fireworks]
    if missing or not nodes:
        told = ", ".join(str(one) for one in missing[:10]) + (" …" if len(missing) > 10 else "")
        raise Untaken(f"of its fireworks the dump lacks {told}" if missing else "it has no fireworks")
    notes: list[str] = []
    histories = {one: _History(dump.fireworks[one], dump, notes, fresh) for one in nodes}
    flow = _flow(workflow, [histories[one] for one in nodes])
    definition = define(flow, directory)
    about = {**definition.params[WORKFLOW], IMPORTED: identity(workflow)}
    definition = replace(definition, params={**definition.params, WORKFLOW: about})
    archived = workflow.get("state") == "ARCHIVED"
    jobs = []
    for firework, node in zip(flow.fireworks, definition.jobs, strict=True):
        steps = [step.name for step in definition.templates[node.template].steps]
        jobs.append(histories[firework.id].job(steps, archived=archived))
    submitted = moment(workflow.get("created_on")) or min(
        (at for one in flow.fireworks if (at := moment(one.created_on)) is not None), default=0.0
    )
    ended = moment(workflow.get("updated_on")) or submitted
    past = PastWorkflow(definition, tuple(jobs), submitted, ended if archived else None, tuple(nodes))
    return Taken(past, name, tuple(nodes), notes)


def _flow(workflow: Document, histories: list[_History]) -> Flow:
    fws = [
        {"fw_id": one.id, "name": one.name, "spec": one.spec, "created_on": one.document.get("created_on")}
        for one in histories
    ]
    known = {one.id for one in histories}
    links = workflow.get("links")
    children = {
        str(parent): [one for one in listed(found if isinstance(found, list) else [found]) if one in known]
        for parent, found in (links.items() if isinstance(links, Mapping) else ())
    }
    document = {"fws": fws, "links": children} | {
        key: workflow[key] for key in ("name", "metadata", "created_on") if workflow.get(key) is not None
    }
    try:
        return read_document(document, "the workflow")
    except SpecError as error:
        raise Untaken("; ".join(problem.message for problem in error.problems)) from None
    except RekindleError as error:
        raise Untaken(error.message) from None


class _History:
    """A firework of a dump, and its launches."""

    def __init__(self, document: Document, dump: Dump, notes: list[str], fresh: Callable[[], int]) -> None:
        self.document = document
        self.id: int = document["fw_id"]
        self.name = str(document.get("name") or "")
        self.state = str(document.get("state"))
        self.spec: dict[str, Any] = dict(document["spec"])
        self._notes, self._fresh = notes, fresh
        self._asked = self.spec.pop("_recovery", None)
        if isinstance(self._asked, Mapping) and self.spec.get("_launch_dir") == self._asked.get("_prev_dir"):
            self.spec.pop("_launch_dir", None)
        self._live = listed(document.get("launches"))
        self._launches = self._in_order(dump)

    def _note(self, text: str) -> None:
        self._notes.append(f"firework {self.id} {self.name!r}: {text}")

    def _in_order(self, dump: Dump) -> list[tuple[int, Document]]:
        """(id, launch), archived ones first, as they were made; the live one last."""
        if self.state in ("READY", "WAITING"):
            self._live = []  # what it runs from now on has nothing to do with them
        every = {*listed(self.document.get("archived_launches")), *listed(self.document.get("launches"))}
        gone = sorted(one for one in every if one not in dump.launches)
        if gone:
            self._note(f"the dump lacks its launches {', '.join(str(one) for one in gone)}")
        known = sorted(every - set(gone))
        live = [one for one in known if one in self._live and dump.launches[one].get("state") != "RESERVED"]
        best = max(live, key=lambda one: (dump.launches[one].get("state") == self.state, one), default=None)
        found = []
        for one in [*(each for each in known if each != best), *([best] if best is not None else [])]:
            launch = dump.launches[one]
            if launch.get("state") == "RESERVED":
                if one in self._live:
                    self._note(f"launch {one} was a reservation in a queue; here it is as if it had not been made")
                continue
            found.append((one, launch))
        self._best = best
        return found

    def job(self, steps: list[str], *, archived: bool) -> PastJob:
        """The job, of which these are the names of the steps; its workflow may be archived."""
        ids = [one for one, _ in self._launches]
        recovery, take = self._recovery(ids, len(steps))
        attempts = []
        for number, launch in self._launches:
            attempts.append(self._attempt(number, launch, steps, recovery))
        if self._best is None and self.state in ("COMPLETED", "FIZZLED"):
            attempts.append(self._unlaunched())
        held = {"PAUSED": PAUSED, "DEFUSED": DEFUSED}.get(self.state)
        if self.state == "ARCHIVED" and not archived:
            held = DEFUSED
            self._note("it is ARCHIVED, and its workflow is not; it is DEFUSED, for what is archived does not run")
        if self.state not in STATES:
            self._note(f"its state {self.state!r} is none of FireWorks'; it follows from its launches")
        if recovery is not None and self._best is None and self.state != "COMPLETED":
            return PastJob(tuple(attempts), held, recovery.launch, recovery.task, take)
        return PastJob(tuple(attempts), held)

    def _attempt(self, number: int, launch: Document, steps: list[str], recovery: Recovery | None) -> PastAttempt:
        live = number == self._best
        shared = launch.get("fw_id") != self.id
        if live and launch.get("state") == "RUNNING":
            self._note(f"launch {number} ran when the dump was made; here it is FIZZLED, as a lost run")
        if shared:
            self._note(f"launch {number} is that of firework {launch.get('fw_id')}, a duplicate; it is given its own")
        action = launch.get("action")
        if isinstance(action, Mapping) and "gridfs_id" in action:
            self._note(f"what launch {number} did is in GridFS, which is no part of the dump")
            launch = {**launch, "action": None if launch.get("state") != "COMPLETED" else {}}
        return past_attempt(
            launch,
            steps,
            archived=not live,
            number=self._fresh() if shared else number,
            recovery=recovery if live else None,
        )

    def _recovery(self, ids: list[int], steps: int) -> tuple[Recovery | None, Take | None]:
        """From where the live launch went on, or the next one is to."""
        asked = self._asked
        if not isinstance(asked, Mapping):
            return None, None
        launch, task = asked.get("_launch_id"), asked.get("_task_n")
        if not isinstance(launch, int) or not isinstance(task, int) or task == 0:
            return None, None
        if launch not in ids or launch == self._best or task >= steps:
            self._note("from where it was to go on is not known any more: it starts from the beginning")
            return None, None
        take: Take | None = {"prev_dir": "same", "cp": "copy"}.get(str(asked.get("_mode")))  # type: ignore[assignment]
        return Recovery(ids.index(launch), task), take

    def _unlaunched(self) -> PastAttempt:
        """It ended, and no launch tells how."""
        self._note(f"it is {self.state}, and no launch tells of it; it is given one without times")
        at = moment(self.document.get("updated_on")) or moment(self.document.get("created_on")) or 0.0
        if self.state == "COMPLETED":
            return PastAttempt(at, archived=False, id=self._fresh())
        said = Failure(message="FIZZLED before it was imported; nothing tells why")
        return PastAttempt(at, Cause.EXCEPTION, archived=False, failure=said, id=self._fresh())
