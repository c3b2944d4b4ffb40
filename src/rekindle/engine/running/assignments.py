"""Assignments: the orders for new attempts, and the task templates that attempts share."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.domain.actions import ParameterChange, effective_params
from rekindle.domain.changes.identities import TemplateIdentity
from rekindle.domain.errors import RekindleError
from rekindle.domain.next_attempt import DEFAULT_NEXT_ATTEMPT
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.states import State
from rekindle.domain.subtasks import known_subtasks
from rekindle.domain.texts.substitution import render_text
from rekindle.domain.verdicts import worst_verdict
from rekindle.engine.dynamic_actions import (
    assignment_parameters,
    changed_parameters,
    kept_step_changes,
    parameter_changes,
)
from rekindle.engine.fan_outs import fan_out_result, kept_step_outcomes
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.orders import Assignment, FanOut, TaskTemplate
from rekindle.store.templates import encode_template

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileFingerprints
    from rekindle.domain.definition import JobTemplate
    from rekindle.domain.models import Attempt, NewAttempt, PartialOutput, ReadyJob, StepOutcome, UpstreamJob, Workflow
    from rekindle.store.archive import Snapshot, Transaction


class TaskTemplates:
    """The task templates of a run: one for each job template and revision, made when it is first needed."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._known: dict[tuple[int, int, int], TaskTemplate] = {}
        self._templates: dict[int, JobTemplate] = {}
        self._workflows: dict[int, Workflow] = {}
        self._by_number: dict[int, TaskTemplate] = {}
        self._params: dict[tuple[int, int], dict[str, Any]] = {}
        self._kinds: dict[int, int] = {}
        self._identities: dict[tuple[int, int], TemplateIdentity] = {}
        self._first: dict[str, int] = {}

    def __getitem__(self, number: int) -> TaskTemplate:
        """Return a task template by its number."""
        return self._by_number[number]

    def template(self, archive: Snapshot, template: int) -> JobTemplate:
        """Return a job template. It is read from the store once."""
        found = self._templates.get(template)
        if found is None:
            found = self._templates[template] = archive.workflows.template(template)
        return found

    def kinds(self, archive: Snapshot, templates: Set[int]) -> Mapping[int, int]:
        """Return, for at least these job templates, the first that was seen with the same content, whatever their
        names: workflows that are submitted again and again, and jobs that one job adds, have such templates. Those that
        are not known yet are read with one query."""
        missing = [number for number in templates if number not in self._kinds]
        if missing:
            for number, (body, template) in archive.workflows.templates_by_id(missing).items():
                first = self._first.setdefault(body, number)
                self._templates[number] = self._templates.get(first, template)
                if first == number:
                    first = self._first.setdefault(encode_template(replace(template, name="")), number)
                self._kinds[number] = self._kinds.get(first, number)
        return self._kinds

    def identity(self, archive: Snapshot, job: ReadyJob) -> int | None:
        """Return the identity of a job's next attempt; None: it may complete no other."""
        if job.next.resume_attempt is not None or job.next.pinned_to is not None:
            return None
        key = job.template, job.revision
        found = self._identities.get(key)
        if found is None:
            params = self._params_of(archive, job.workflow, job.revision)
            found = self._identities[key] = TemplateIdentity(self.template(archive, job.template), params)
        return found.of(job.id, job.binding, job.next.overrides)

    def workflow(self, archive: Snapshot, workflow: int) -> Workflow:
        """Return a workflow. It is read from the store once, because its name and folder do not change."""
        found = self._workflows.get(workflow)
        if found is None:
            stored = archive.workflows.find(workflow)
            if stored is None:
                raise KeyError(workflow)
            found = self._workflows[workflow] = stored
        return found

    def of(
        self, archive: Snapshot, workflow: int, template: int, revision: int, latest: int | None = None
    ) -> TaskTemplate:
        """Return the task template of a job template with the parameters of a revision.

        Its resources, grace period and similar settings are those of the `latest` job template."""
        key = (template, revision, latest or template)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._make(archive, workflow, *key)
            self._by_number[found.id] = found
        return found

    def _params_of(self, archive: Snapshot, workflow: int, revision: int) -> dict[str, Any]:
        found = self._params.get((workflow, revision))
        if found is None:
            found = self._params[workflow, revision] = archive.workflows.params(workflow, revision)
        return found

    def _make(self, archive: Snapshot, workflow: int, template: int, revision: int, latest: int) -> TaskTemplate:
        body, owner = self.template(archive, template), self.workflow(archive, workflow)
        now = self.template(archive, latest)
        return TaskTemplate(
            id=len(self._known) + 1,
            workflow=owner.name,
            directory=owner.directory,
            steps=body.steps,
            inputs=dict(body.inputs),
            outputs=dict(body.outputs),
            env=dict(body.env),
            params=self._params_of(archive, workflow, revision),
            workdir=body.workdir,
            time=now.resources.time,
            store=self._store,
            cpus=now.resources.cpus,
            by_mtime=dict(body.by_mtime),
            memory=now.resources.memory,
            grace=now.grace,
            workflow_id=owner.id,
            implicit_inputs=now.implicit_inputs,
            optional=body.optional,
            leave_running=now.leave_running,
            partial=now.partial,
            gpus=now.resources.gpus,
            options=now.resources.options,
            cache=now.cache,
        )


def assignments(
    archive: Transaction,
    tasks: TaskTemplates,
    attempts: Sequence[NewAttempt],
    kept: Mapping[int, Sequence[StepOutcome]],
    fan_outs: Mapping[int, tuple[FanOut, ...]] | None = None,
) -> list[Assignment]:
    """Return the assignments of new attempts. `kept`: by attempt, the steps that are not run again; `fan_outs`: by
    attempt, the fan-outs of earlier attempts. Also store the needs and changed parameters of each attempt."""
    upstream = archive.jobs.upstream([attempt.job.id for attempt in attempts])
    inputs = _upstream_documents(archive, tasks, upstream, _jobs_with_need_ends(archive, tasks, attempts))
    changes = parameter_changes(archive, [attempt.job.id for attempt in attempts])
    earlier = _earlier_ends(archive, [attempt.job.id for attempt in attempts if attempt.job.attempts])
    sources = [one.job.next.resume_attempt for one in attempts if one.job.next.resume_attempt is not None]
    start_fingerprints = _start_fingerprints(archive, sources)
    aside = _outputs_aside(archive, attempts)
    _store_inputs(archive, tasks, attempts, upstream, changes)
    made = []
    for attempt in attempts:
        job = attempt.job
        task = tasks.of(archive, job.workflow, job.template, job.revision, job.latest)
        if not job.attempts and job.next is DEFAULT_NEXT_ATTEMPT and job.id not in changes:
            made.append(_first_assignment(attempt, task, inputs.get(job.id, "")))
            continue
        steps = kept.get(attempt.id, ())
        modified = decode_overrides(job.next.overrides)
        params, unset = assignment_parameters(
            task.params, [*changes.get(job.id, ()), *kept_step_changes(steps)], modified.params
        )
        made.append(
            Assignment(
                attempt=attempt.id,
                token=attempt.token,
                job=job.id,
                name=job.name,
                number=job.attempts + 1,
                template=task.id,
                folder=attempt.folder,
                binding=_binding(job),
                start_step=job.next.resume_step,
                kept=_results_by_step(steps),
                inputs=inputs.get(job.id, ""),
                params=params,
                env=dict(modified.env) or None,
                time=modified.time,
                unset=unset,
                own=attempt.own,
                before=earlier.get(job.id, ""),
                given=attempt.given,
                copy_from=_copy_source(attempt),
                cpus=modified.cpus,
                fan_outs=(fan_outs or {}).get(attempt.id, ()),
                began=start_fingerprints.get(job.next.resume_attempt or 0),
                memory=modified.memory,
                verdict=worst_verdict(step.verdict for step in steps),
                aside=aside.get(attempt.id, ()),
            )
        )
    return _with_known_inputs(archive, tasks, made)


def _first_assignment(attempt: NewAttempt, task: TaskTemplate, inputs: str) -> Assignment:
    """Return the assignment of a job's first attempt, in which nothing was changed: most attempts are such."""
    job = attempt.job
    values = (attempt.id, attempt.token, job.id, job.name, 1, task.id, attempt.folder, _binding(job))
    return Assignment(*values, inputs=inputs, own=attempt.own, given=attempt.given)


def _binding(job: ReadyJob) -> dict[str, Any]:
    binding: dict[str, Any] = from_json(job.binding) if job.binding != "{}" else {}
    return binding


def _store_inputs(
    archive: Transaction,
    tasks: TaskTemplates,
    attempts: Sequence[NewAttempt],
    upstream: Mapping[int, Sequence[UpstreamJob]],
    changes: Mapping[int, Sequence[ParameterChange]],
) -> None:
    """Store the needs and the changed parameters of attempts."""
    needed = [(one.id, upstream[one.job.id]) for one in attempts if one.job.id in upstream]
    archive.fingerprints.put_needed({one: {need.job: need.attempt or 0 for need in needs} for one, needs in needed})
    archive.fingerprints.put_patched(_patched_params(archive, tasks, attempts, changes))


def _earlier_ends(archive: Snapshot, jobs: Sequence[int]) -> dict[int, str]:
    """Return, by job, the end of its previous attempt as JSON, for jobs that have one."""
    return {
        job: to_json(
            {
                "attempt": one.number,
                "state": one.state.label,
                "cause": one.cause,
                "error": msgspec.structs.asdict(one.failure) if one.failure else None,
            }
        ).decode()
        for job, one in (archive.attempts.previous(jobs) if jobs else {}).items()
    }


def _copy_source(attempt: NewAttempt) -> str:
    """Return the folder that is copied to the attempt's folder, or "" for none."""
    folder = attempt.job.next.folder or ""
    return folder if attempt.job.next.take == "copy" and folder != attempt.folder else ""


def _start_fingerprints(archive: Snapshot, attempts: Sequence[int]) -> dict[int, FileFingerprints]:
    """Return the fingerprints of attempts that others resume from: as accepted last, else as they began."""
    if not attempts:
        return {}
    accepted = archive.fingerprints.accepted(attempts)
    return archive.fingerprints.files(attempts) | {one: basis.prints for one, (_, basis) in accepted.items()}


def _outputs_aside(archive: Snapshot, attempts: Sequence[NewAttempt]) -> dict[int, tuple[PartialOutput, ...]]:
    """Return, by attempt, the outputs set aside by the attempt that it resumes from."""
    resumed = [one for one in attempts if one.job.next.resume_step or one.job.next.subtasks is not None]
    sources = {one.id: one.job.next.resume_attempt for one in resumed if one.job.next.resume_attempt is not None}
    found = archive.fingerprints.aside(list(sources.values()))
    return {attempt: found[source] for attempt, source in sources.items() if source in found}


def _patched_params(
    archive: Snapshot,
    tasks: TaskTemplates,
    attempts: Sequence[NewAttempt],
    changes: Mapping[int, Sequence[ParameterChange]],
) -> dict[int, dict[str, Any]]:
    """Return, by attempt, the parameters that dynamic actions have changed."""
    found = {}
    for attempt in attempts:
        job = attempt.job
        if job.id in changes:
            params = tasks.of(archive, job.workflow, job.template, job.revision).params
            found[attempt.id] = changed_parameters(params, changes[job.id])
    return {attempt: differing for attempt, differing in found.items() if differing}


def kept_steps(archive: Snapshot, tasks: TaskTemplates, attempts: Sequence[NewAttempt]) -> dict[int, list[StepOutcome]]:
    """Return, by resumed attempt, the steps that it keeps; each names the attempt that ran it."""
    kept: dict[int, list[StepOutcome]] = {}
    for attempt in attempts:
        if attempt.job.next.resume_attempt is None or not attempt.job.next.resume_step:
            continue
        source = archive.attempts.get(attempt.job.next.resume_attempt)
        if source is None:
            continue
        template = tasks.template(archive, attempt.job.template)
        kept[attempt.id] = kept_step_outcomes(source, template, attempt.job.next.resume_step)
    return kept


def _results_by_step(steps: Sequence[StepOutcome]) -> dict[str, Any]:
    return {step.name: None if step.result is None else from_json(step.result) for step in steps}


def _jobs_with_need_ends(archive: Snapshot, tasks: TaskTemplates, attempts: Sequence[NewAttempt]) -> set[int]:
    """Return the jobs whose inputs document also holds the ends of the jobs they need."""
    found = ((one.job.id, one.job.latest or one.job.template) for one in attempts)
    return {job for job, template in found if tasks.template(archive, template).runs_whenever}


def _upstream_documents(
    archive: Snapshot, tasks: TaskTemplates, upstream: Mapping[int, Sequence[UpstreamJob]], with_ends: Collection[int]
) -> dict[int, str]:
    """Return REKINDLE_INPUTS for each job that needs others: JSON `{job name: {"result": …, "outputs": {name: path}}}`
    of the live attempts of the jobs it needs, both empty for a job that did not complete. Paths are absolute. For jobs
    in `with_ends`, the fields of `end_document` are added."""
    if not upstream:
        return {}
    every = [need for needed in upstream.values() for need in needed]
    parents = sorted({need.job for need in every if need.state is State.COMPLETED})
    partial = archive.subtasks.partial(parents) if with_ends else set()
    live = archive.jobs.live(sorted({need.job for need in every if _leaves_more(archive, tasks, need)}))
    outputs = _outputs(archive, tasks, live)
    fanned_out = _fan_out_results(archive, tasks, live)
    documents = {}
    for job, needed in upstream.items():
        document = {
            need.name: {
                "result": _raw(need.result) if need.result is not None else fanned_out.get(need.job),
                "outputs": outputs.get(need.job, {}),
                **(end_document(need, partial) if job in with_ends else {}),
            }
            for need in needed
        }
        documents[job] = to_json(document).decode()
    return documents


def _leaves_more(archive: Snapshot, tasks: TaskTemplates, need: UpstreamJob) -> bool:
    """Return whether a job has completed with more than its result: outputs, or the results of subtasks."""
    if need.state is not State.COMPLETED or need.template is None:
        return False
    template = tasks.template(archive, need.template)
    return bool(template.outputs or template.steps[-1].each is not None)


def end_document(need: UpstreamJob, partial: Collection[int]) -> dict[str, Any]:
    """Return the end of a needed job, for an aggregate or a job that needs others only finished.

    It has the job's id, state (`waiting`: it cannot run), verdict, whether it used only some subtasks of a fan-out,
    attempt number, and error."""
    return {
        "job": need.job,
        "state": need.state.label,
        "verdict": need.verdict.word.value if need.verdict else None,
        "verdict_message": need.verdict.message if need.verdict else None,
        "partial": need.job in partial,
        "attempt": need.number,
        "error": msgspec.structs.asdict(need.failure) if need.failure else None,
    }


def _raw(result: str | None) -> msgspec.Raw | None:
    return None if result is None else msgspec.Raw(result.encode())


def _fan_out_results(archive: Snapshot, tasks: TaskTemplates, live: Mapping[int, Attempt]) -> dict[int, msgspec.Raw]:
    """Return, for those of these jobs whose last step is a fan-out, the results of its completed subtasks."""
    found = {}
    for job, attempt in live.items():
        last = len(tasks.template(archive, attempt.template).steps) - 1
        if tasks.template(archive, attempt.template).steps[last].each is not None:
            found[job] = fan_out_result(known_subtasks(archive.subtasks.of(attempt.id, last)))
    return found


def _outputs(archive: Snapshot, tasks: TaskTemplates, live: Mapping[int, Attempt]) -> dict[int, dict[str, str]]:
    writing = [job for job, attempt in live.items() if tasks.template(archive, attempt.template).outputs]
    changes = parameter_changes(archive, writing)
    found = {}
    for job in archive.jobs.get(writing):
        attempt = live[job.id]
        template = tasks.template(archive, attempt.template)
        params = tasks.of(archive, job.workflow, attempt.template, attempt.revision).params
        modified = decode_overrides(attempt.overrides).params
        base = tasks.workflow(archive, job.workflow).directory
        if template.workdir == "attempt" and attempt.folder:
            base = attempt.folder
        scope: Mapping[str, Mapping[str, Any]] = {
            "params": {**effective_params(params, changes.get(job.id, ())), **modified},
            "matrix": from_json(attempt.binding or job.binding),
            "job": {"name": job.name, "id": job.id},
        }
        found[job.id] = {name: str(Path(base, render_text(path, scope))) for name, path in template.outputs.items()}
    return found


KNOWN_INPUT_BYTES = 1024 * 1024
"""Size from which the stored digest of an input is sent to the worker, so that it need not read the file."""


def _with_known_inputs(archive: Snapshot, tasks: TaskTemplates, work: Sequence[Assignment]) -> list[Assignment]:
    """Add to the assignments the stored digests of their larger input files."""
    paths = {one.attempt: _input_paths(tasks[one.template], one) for one in work if tasks[one.template].inputs}
    wanted = {path for found in paths.values() for path in found}
    if not wanted:
        return list(work)
    files = archive.fingerprints.known_files(wanted).values()
    known = {one.path: one for one in files if one.size >= KNOWN_INPUT_BYTES}
    return [
        msgspec.structs.replace(one, seen=tuple(known[path] for path in paths[one.attempt] if path in known))
        if known and one.attempt in paths
        else one
        for one in work
    ]


def _input_paths(task: TaskTemplate, one: Assignment) -> list[str]:
    """Return the paths of the inputs as the worker resolves them, or none if a path has no value: the worker reports
    that."""
    params = {**task.params, **(one.params or {})}
    scope = {"params": params, "matrix": one.binding, "job": {"name": one.name, "id": one.job}}
    try:
        found = [render_text(text, scope) for text in task.inputs.values()]
    except RekindleError:
        return []
    return [os.path.normpath(Path(task.directory, path)) for path in found]
