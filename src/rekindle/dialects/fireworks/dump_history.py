"""Convert the workflows of a dump, with their fireworks and launches, into workflows with ended attempts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.dialects.fireworks.dump_files import Document, Dump, int_list, timestamp
from rekindle.dialects.fireworks.duplicates import SHARED_LAUNCH
from rekindle.dialects.fireworks.flow import Flow, define_flow
from rekindle.dialects.fireworks.flow_file import read_flow
from rekindle.dialects.fireworks.fw_states import DEFUSED, PAUSED, STATES, WORKFLOW_PARAM
from rekindle.dialects.fireworks.tasks.fwaction import append_details
from rekindle.domain.errors import RekindleError, SpecError
from rekindle.domain.histories import PastAttempt, PastJob, PastWorkflow
from rekindle.domain.models import Failure, StepOutcome
from rekindle.domain.states import Cause, State

if TYPE_CHECKING:
    from rekindle.domain.next_attempt import FolderReuse

IMPORTED_PARAM = "imported"
"""The key in the workflow parameter that identifies the dumped workflow."""


class DumpedWorkflow(msgspec.Struct):
    """A workflow of a dump, ready to be stored, with notes for the user."""

    past: PastWorkflow
    name: str
    fireworks: tuple[int, ...]  # their ids in the dump, in the order of the jobs
    notes: list[str] = msgspec.field(default_factory=list)


def _launch_identity(launch: Document, number: int) -> str:
    """Return MongoDB's id of a launch, else its number and start."""
    found = launch.get("_id")
    return found if isinstance(found, str) else f"{number} {launch.get('time_start')}"


class NotImportable(Exception):
    """A workflow of a dump cannot be imported; the text is the reason."""


def workflow_identity(workflow: Document) -> str:
    """Return MongoDB's id of a workflow, else its creation date and fireworks."""
    found = workflow.get("_id")
    if isinstance(found, str):
        return found
    return f"{workflow.get('created_on')} {sorted(int_list(workflow.get('nodes')))}"


def read_dumped_workflow(workflow: Document, dump: Dump, directory: str, new_id: Callable[[], int]) -> DumpedWorkflow:
    """Read a workflow with its fireworks and launches.

    `new_id` returns an id that no launch has: where fireworks share a launch, each gets its own. Raises NotImportable
    with the reason."""
    nodes = sorted(int_list(workflow.get("nodes")))
    name = str(workflow.get("name") or "")
    missing = [one for one in nodes if one not in dump.fireworks]
    if missing or not nodes:
        listed_ids = ", ".join(str(one) for one in missing[:10]) + (" …" if len(missing) > 10 else "")
        raise NotImportable(f"the dump lacks its fireworks {listed_ids}" if missing else "it has no fireworks")
    notes: list[str] = []
    histories = {one: _FireworkHistory(dump.fireworks[one], dump, notes, new_id) for one in nodes}
    flow = _flow(workflow, [histories[one] for one in nodes])
    definition = define_flow(flow, directory)
    about = {**definition.params[WORKFLOW_PARAM], IMPORTED_PARAM: workflow_identity(workflow)}
    definition = replace(definition, params={**definition.params, WORKFLOW_PARAM: about})
    archived = workflow.get("state") == "ARCHIVED"
    jobs = []
    for firework, node in zip(flow.fireworks, definition.jobs, strict=True):
        steps = [step.name for step in definition.templates[node.template].steps]
        jobs.append(histories[firework.id].job(steps, archived=archived))
    submitted = timestamp(workflow.get("created_on")) or min(
        (at for one in flow.fireworks if (at := timestamp(one.created_on)) is not None), default=0.0
    )
    ended = timestamp(workflow.get("updated_on")) or submitted
    past = PastWorkflow(definition, tuple(jobs), submitted, ended if archived else None, tuple(nodes))
    return DumpedWorkflow(past, name, tuple(nodes), notes)


def _flow(workflow: Document, histories: list[_FireworkHistory]) -> Flow:
    fws = [
        {"fw_id": one.id, "name": one.name, "spec": one.spec, "created_on": one.document.get("created_on")}
        for one in histories
    ]
    known = {one.id for one in histories}
    links = workflow.get("links")
    children = {
        str(parent): [one for one in int_list(found if isinstance(found, list) else [found]) if one in known]
        for parent, found in (links.items() if isinstance(links, Mapping) else ())
    }
    document = {"fws": fws, "links": children} | {
        key: workflow[key] for key in ("name", "metadata", "created_on") if workflow.get(key) is not None
    }
    try:
        return read_flow(document, "the workflow")
    except SpecError as error:
        raise NotImportable("; ".join(problem.message for problem in error.problems)) from None
    except RekindleError as error:
        raise NotImportable(error.message) from None


class _FireworkHistory:
    """A firework of a dump with its launches."""

    def __init__(self, document: Document, dump: Dump, notes: list[str], new_id: Callable[[], int]) -> None:
        self.document = document
        self.id: int = document["fw_id"]
        self.name = str(document.get("name") or "")
        self.state = str(document.get("state"))
        self.spec: dict[str, Any] = dict(document["spec"])
        self._notes, self._new_id = notes, new_id
        self._recovery_spec = self.spec.pop("_recovery", None)
        if isinstance(self._recovery_spec, Mapping) and self.spec.get("_launch_dir") == self._recovery_spec.get(
            "_prev_dir"
        ):
            self.spec.pop("_launch_dir", None)
        self._live = int_list(document.get("launches"))
        self._launches = self._in_order(dump)

    def _note(self, text: str) -> None:
        self._notes.append(f"firework {self.id} {self.name!r}: {text}")

    def _in_order(self, dump: Dump) -> list[tuple[int, Document]]:
        """Return (id, launch) in the order of their creation, archived launches first and the live one last."""
        if self.state in ("READY", "WAITING"):
            self._live = []  # a reset firework has no live launch
        every = {*int_list(self.document.get("archived_launches")), *int_list(self.document.get("launches"))}
        missing = sorted(one for one in every if one not in dump.launches)
        if missing:
            self._note(f"the dump lacks its launches {', '.join(str(one) for one in missing)}")
        known = sorted(every - set(missing))
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
        self._current = best
        return found

    def job(self, steps: list[str], *, archived: bool) -> PastJob:
        """Return the job, whose steps have these names."""
        ids = [one for one, _ in self._launches]
        resume, read_dumped_workflow = self._resume_point(ids, len(steps))
        attempts = []
        for number, launch in self._launches:
            attempts.append(self._attempt(number, launch, steps, resume))
        if self._current is None and self.state in ("COMPLETED", "FIZZLED"):
            attempts.append(self._unlaunched())
        held = {"PAUSED": PAUSED, "DEFUSED": DEFUSED}.get(self.state)
        if self.state == "ARCHIVED" and not archived:
            held = DEFUSED
            self._note("it is ARCHIVED, and its workflow is not; it is DEFUSED, because archived fireworks do not run")
        if self.state not in STATES:
            self._note(f"its state {self.state!r} is unknown to FireWorks; it follows from its launches")
        if resume is not None and self._current is None and self.state != "COMPLETED":
            return PastJob(tuple(attempts), held, resume.launch, resume.task, read_dumped_workflow)
        return PastJob(tuple(attempts), held)

    def _attempt(self, number: int, launch: Document, steps: list[str], resume: ResumePoint | None) -> PastAttempt:
        live = number == self._current
        shared = launch.get("fw_id") != self.id
        if live and launch.get("state") == "RUNNING":
            self._note(f"launch {number} ran when the dump was made; here it is FIZZLED, as a lost run")
        if shared:
            self._note(f"launch {number} is that of firework {launch.get('fw_id')}, a duplicate; it is given its own")
        action = launch.get("action")
        if isinstance(action, Mapping) and "gridfs_id" in action:
            self._note(f"what launch {number} did is in GridFS, which is no part of the dump")
            launch = {**launch, "action": None if launch.get("state") != "COMPLETED" else {}}
        if live and isinstance(launch.get("action"), Mapping) and (shared or self.spec.get("_dupefinder")):
            launch = {**launch, "action": {**launch["action"], SHARED_LAUNCH: _launch_identity(launch, number)}}
        return past_attempt(
            launch,
            steps,
            archived=not live,
            number=self._new_id() if shared else number,
            resume=resume if live else None,
        )

    def _resume_point(self, ids: list[int], steps: int) -> tuple[ResumePoint | None, FolderReuse | None]:
        """Return where the live launch resumed, or where the next one has to."""
        recovery_spec = self._recovery_spec
        if not isinstance(recovery_spec, Mapping):
            return None, None
        launch, task = recovery_spec.get("_launch_id"), recovery_spec.get("_task_n")
        if not isinstance(launch, int) or not isinstance(task, int) or task == 0:
            return None, None
        if launch not in ids or launch == self._current or task >= steps:
            self._note("its resume point is unknown: it starts from the beginning")
            return None, None
        read_dumped_workflow: FolderReuse | None = {"prev_dir": "same", "cp": "copy"}.get(
            str(recovery_spec.get("_mode"))
        )  # type: ignore[assignment]
        return ResumePoint(ids.index(launch), task), read_dumped_workflow

    def _unlaunched(self) -> PastAttempt:
        """Return an attempt for a firework that ended and has no launch."""
        self._note(f"it is {self.state}, and it has no launch; it is given one without times")
        at = timestamp(self.document.get("updated_on")) or timestamp(self.document.get("created_on")) or 0.0
        if self.state == "COMPLETED":
            return PastAttempt(at, archived=False, id=self._new_id())
        said = Failure(message="FIZZLED before it was imported; the reason is unknown")
        return PastAttempt(at, Cause.EXCEPTION, archived=False, failure=said, id=self._new_id())


_RAISED = re.compile(r"(?P<type>[^\W\d][\w.]*)(?::\s*(?P<message>.*))?")

_MAX_TRACE = 64_000
"""Keep this many characters of a stack trace, from its end."""


class ResumePoint(msgspec.Struct, frozen=True):
    """Where a launch resumes: the position of the earlier launch among the job's, and of the task."""

    launch: int
    task: int


def past_attempt(
    launch: Document, steps: Sequence[str], *, archived: bool, number: int, resume: ResumePoint | None = None
) -> PastAttempt:
    """Return the attempt of a launch. `steps`: the job's step names. `number`: the attempt's id."""
    state = launch.get("state")
    history = [one for one in launch.get("state_history") or () if isinstance(one, Mapping)]
    times = {one.get("state"): timestamp(one.get("created_on")) for one in reversed(history)}
    started = times.get("RUNNING") or timestamp(launch.get("time_start"))
    ended = times.get(state) if state in ("COMPLETED", "FIZZLED") else None
    ended = ended or timestamp(launch.get("time_end")) or _last_seen(history) or started or 0.0
    action = launch.get("action") if isinstance(launch.get("action"), Mapping) else None
    cause, failure = _cause_and_failure(state, action)
    checkpoint = next((one["checkpoint"] for one in reversed(history) if one.get("checkpoint")), None)
    action_data = {key: value for key, value in (action or {}).items() if value and key in _ACTION_KEYS}
    outcomes = _step_outcomes(steps, cause, checkpoint, action_data, resume)
    return PastAttempt(
        ended=max(ended, started or ended),
        cause=cause,
        archived=archived,
        queued=times.get("RESERVED") or started,
        started=started,
        failure=failure,
        host=_text(launch.get("host")),
        runner=str((launch.get("fworker") or {}).get("name") or ""),
        folder=_text(launch.get("launch_dir")),
        result=json.dumps(action_data) if cause is None and action_data else None,
        steps=outcomes,
        builds_on=resume.launch if resume else None,
        start_step=resume.task if resume else 0,
        id=number,
    )


_ACTION_KEYS = (
    SHARED_LAUNCH,
    "stored_data",
    "update_spec",
    "mod_spec",
    "propagate",
    "exit",
    "defuse_children",
    "defuse_workflow",
    "additions",
    "detours",
    "append_wfs",
)


def _cause_and_failure(state: Any, action: Mapping[str, Any] | None) -> tuple[Cause | None, Failure | None]:
    """Return why a launch ended. A launch that had not ended, or left no reason, is lost."""
    if state == "COMPLETED":
        return None, None
    stored_value = (action or {}).get("stored_data")
    stored_data = stored_value if isinstance(stored_value, Mapping) else {}
    exception = stored_data.get("_exception")
    trace = exception.get("_stacktrace") if isinstance(exception, Mapping) else None
    if state != "FIZZLED" or (action is None and not trace):
        return Cause.LOST, None
    trace = str(trace or "")[-_MAX_TRACE:]
    last = next((line for line in reversed(trace.splitlines()) if _RAISED.fullmatch(line)), "")
    raised = _RAISED.fullmatch(last)
    message = (raised["message"] if raised else None) or str(stored_data.get("_message") or "")
    details = exception.get("_details") if isinstance(exception, Mapping) else None
    return Cause.EXCEPTION, Failure(raised["type"] if raised else "", message, append_details(trace, details))


def _step_outcomes(
    names: Sequence[str], cause: Cause | None, checkpoint: Any, action_data: Document, resume: ResumePoint | None
) -> tuple[StepOutcome, ...]:
    """Return the known outcomes of steps. FireWorks writes a checkpoint before each task, with the actions of earlier
    tasks. The launch's action belongs to the last completed step."""
    reached = checkpoint.get("_task_n") if isinstance(checkpoint, Mapping) else None
    if reached is None and cause is not None:
        return ()
    last = len(names) - 1 if reached is None else min(int(reached), len(names) - 1)
    before = action_data if cause is None else _checkpoint_action(checkpoint)
    completed = last + 1 if cause is None else last
    kept = resume.task if resume else 0
    outcomes = [
        StepOutcome(
            at,
            names[at],
            State.COMPLETED,
            result=json.dumps(before) if at == completed - 1 and before else None,
            kept_from=resume.launch if resume and at < kept else None,
        )
        for at in range(completed)
    ]
    if cause is not None:
        outcomes.append(StepOutcome(last, names[last], State.FAILED, cause))
    return tuple(outcomes)


def _checkpoint_action(checkpoint: Mapping[str, Any]) -> Document:
    found = {key: checkpoint.get(f"_all_{key}") for key in ("stored_data", "update_spec", "mod_spec")}
    return {key: value for key, value in found.items() if value}


def _last_seen(history: Sequence[Document]) -> float | None:
    seen = (timestamp(one.get(key)) for one in history for key in ("created_on", "updated_on"))
    return max((one for one in seen if one is not None), default=None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
