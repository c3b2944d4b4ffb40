"""Store to worker: what an attempt needs to know, rendered once where many share it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rekindle.domain.actions import Change, effective
from rekindle.domain.changes.prints import Prints
from rekindle.domain.definition import JobTemplate
from rekindle.domain.models import Needed, NewAttempt, PartialOutput, StepOutcome, Workflow
from rekindle.domain.overrides import modified_of
from rekindle.domain.states import State
from rekindle.domain.subtasks import known_of
from rekindle.domain.texts.substitution import render
from rekindle.domain.verdicts import worst
from rekindle.engine.fan_outs import complete_document, kept_whole
from rekindle.engine.params import changes_in_force, patched, staged_changes, told
from rekindle.engine.running.known_inputs import with_known_inputs
from rekindle.journal.encoding import from_json, to_json
from rekindle.journal.orders import Assignment, FanOut, Recipe
from rekindle.store.port import Archive


class Recipes:
    """The recipes of one run: one for each template and revision that it meets."""

    def __init__(self, store_identity: str) -> None:
        self._identity = store_identity
        self._known: dict[tuple[int, int, int], Recipe] = {}
        self._templates: dict[int, JobTemplate] = {}
        self._workflows: dict[int, Workflow] = {}
        self._by_number: dict[int, Recipe] = {}

    def __getitem__(self, number: int) -> Recipe:
        """A recipe by its number."""
        return self._by_number[number]

    def template(self, archive: Archive, template: int) -> JobTemplate:
        """A template, read from the store once."""
        found = self._templates.get(template)
        if found is None:
            found = self._templates[template] = archive.workflows.template(template)
        return found

    def workflow(self, archive: Archive, workflow: int) -> Workflow:
        """A workflow, read from the store once: its name and folder do not change."""
        found = self._workflows.get(workflow)
        if found is None:
            stored = archive.workflows.find(workflow)
            if stored is None:
                raise KeyError(workflow)
            found = self._workflows[workflow] = stored
        return found

    def of(self, archive: Archive, workflow: int, template: int, revision: int, latest: int | None = None) -> Recipe:
        """The recipe of a template under a revision's parameters, which takes what the `latest` template says, and has
        its grace."""
        key = (template, revision, latest or template)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._make(archive, workflow, *key)
            self._by_number[found.id] = found
        return found

    def _make(self, archive: Archive, workflow: int, template: int, revision: int, latest: int) -> Recipe:
        body, owner = self.template(archive, template), self.workflow(archive, workflow)
        now = self.template(archive, latest)
        return Recipe(
            id=len(self._known) + 1,
            workflow=owner.name,
            directory=owner.directory,
            steps=body.steps,
            inputs=dict(body.inputs),
            outputs=dict(body.outputs),
            env=dict(body.env),
            params=archive.workflows.params(workflow, revision),
            workdir=body.workdir,
            time=now.resources.time,
            store=self._identity,
            cpus=now.resources.cpus,
            by_mtime=dict(body.by_mtime),
            memory=now.resources.memory,
            grace=now.grace,
            workflow_id=owner.id,
            implicit_inputs=now.implicit_inputs,
            optional=body.optional,
            leave_running=now.leave_running,
            partial=now.partial,
        )


def assignments(
    archive: Archive,
    recipes: Recipes,
    attempts: Sequence[NewAttempt],
    kept: Mapping[int, Sequence[StepOutcome]],
    fan_outs: Mapping[int, tuple[FanOut, ...]] | None = None,
) -> list[Assignment]:
    """What to tell a worker about these attempts, `kept` being the steps that they need not do, and `fan_outs` what
    earlier attempts did of theirs. What each of them depends on by then is recorded."""
    upstream = archive.jobs.upstream([attempt.job.id for attempt in attempts])
    inputs = _upstream_documents(archive, recipes, upstream, _telling(archive, recipes, attempts))
    changes = changes_in_force(archive, [attempt.job.id for attempt in attempts])
    earlier = _earlier(archive, [attempt.job.id for attempt in attempts if attempt.job.attempts])
    began = _began(archive, [one.job.resume_attempt for one in attempts if one.job.resume_attempt is not None])
    aside = _aside(archive, attempts)
    needed = [(one.id, upstream[one.job.id]) for one in attempts if one.job.id in upstream]
    archive.fingerprints.put_needed({one: {need.job: need.attempt or 0 for need in needs} for one, needs in needed})
    archive.fingerprints.put_patched(_patched(archive, recipes, attempts, changes))
    made = []
    for attempt in attempts:
        job = attempt.job
        recipe = recipes.of(archive, job.workflow, job.template, job.revision, job.latest)
        steps = kept.get(attempt.id, ())
        modified = modified_of(job.overrides)
        params, unset = told(recipe.params, [*changes.get(job.id, ()), *staged_changes(steps)], modified.params)
        made.append(
            Assignment(
                attempt=attempt.id,
                token=attempt.token,
                job=job.id,
                name=job.name,
                number=job.attempts + 1,
                recipe=recipe.id,
                folder=attempt.folder,
                binding=from_json(job.binding) if job.binding != "{}" else {},
                start_step=job.resume_step,
                kept=_results(steps),
                inputs=inputs.get(job.id, ""),
                params=params,
                env=dict(modified.env) or None,
                time=modified.time,
                unset=unset,
                own=attempt.own,
                before=earlier.get(job.id, ""),
                given=attempt.given,
                copy_from=_copied(attempt),
                cpus=modified.cpus,
                fan_outs=(fan_outs or {}).get(attempt.id, ()),
                began=began.get(job.resume_attempt or 0),
                memory=modified.memory,
                verdict=worst(step.verdict for step in steps),
                aside=aside.get(attempt.id, ()),
            )
        )
    return with_known_inputs(archive, recipes.__getitem__, made)


def _earlier(archive: Archive, jobs: Sequence[int]) -> dict[int, str]:
    """By job, how its attempt before the new one ended, as JSON; most jobs have none."""
    return {
        job: to_json(
            {
                "attempt": one.number,
                "state": one.state.label,
                "cause": one.cause,
                "error": dataclasses.asdict(one.failure) if one.failure else None,
            }
        ).decode()
        for job, one in (archive.attempts.earlier(jobs) if jobs else {}).items()
    }


def _copied(attempt: NewAttempt) -> str:
    """The folder that the attempt's becomes a copy of; "": it begins as it is."""
    folder = attempt.job.take_folder or ""
    return folder if attempt.job.take == "copy" and folder != attempt.folder else ""


def _began(archive: Archive, attempts: Sequence[int]) -> dict[int, Prints]:
    """What attempts that others go on from depended on, or were measured by since."""
    if not attempts:
        return {}
    accepted = archive.fingerprints.accepted(attempts)
    return archive.fingerprints.files(attempts) | {one: basis.prints for one, (_, basis) in accepted.items()}


def _aside(archive: Archive, attempts: Sequence[NewAttempt]) -> dict[int, tuple[PartialOutput, ...]]:
    """By attempt, the outputs that the attempts which it goes on from have set aside."""
    resumed = [one for one in attempts if one.job.resume_step or one.job.subtasks is not None]
    sources = {one.id: one.job.resume_attempt for one in resumed if one.job.resume_attempt is not None}
    found = archive.fingerprints.aside(list(sources.values()))
    return {attempt: found[source] for attempt, source in sources.items() if source in found}


def _patched(
    archive: Archive, recipes: Recipes, attempts: Sequence[NewAttempt], changes: Mapping[int, Sequence[Change]]
) -> dict[int, dict[str, Any]]:
    """By attempt, the parameters that actions have changed."""
    found = {}
    for attempt in attempts:
        job = attempt.job
        if job.id in changes:
            params = recipes.of(archive, job.workflow, job.template, job.revision).params
            found[attempt.id] = patched(params, changes[job.id])
    return {attempt: differing for attempt, differing in found.items() if differing}


def kept_steps(archive: Archive, recipes: Recipes, attempts: Sequence[NewAttempt]) -> dict[int, list[StepOutcome]]:
    """The steps that each resumed attempt keeps from the one it builds on; each says which attempt did it."""
    kept: dict[int, list[StepOutcome]] = {}
    for attempt in attempts:
        if attempt.job.resume_attempt is None or not attempt.job.resume_step:
            continue
        source = archive.attempts.get(attempt.job.resume_attempt)
        if source is None:
            continue
        template = recipes.template(archive, attempt.job.template)
        kept[attempt.id] = kept_whole(source, template, attempt.job.resume_step)
    return kept


def _results(steps: Sequence[StepOutcome]) -> dict[str, Any]:
    return {step.name: None if step.result is None else from_json(step.result) for step in steps}


def _telling(archive: Archive, recipes: Recipes, attempts: Sequence[NewAttempt]) -> set[int]:
    """The jobs that are told how what they need has ended."""
    found = ((one.job.id, one.job.latest or one.job.template) for one in attempts)
    return {job for job, template in found if recipes.template(archive, template).runs_whenever}


def _upstream_documents(
    archive: Archive, recipes: Recipes, upstream: Mapping[int, Sequence[Needed]], telling: Collection[int]
) -> dict[int, str]:
    """REKINDLE_INPUTS for each job that needs others: JSON `{job name: {"result": …, "outputs": {name: path}}}`
    of the live attempts of what it needs, both empty for one that did not complete; paths are absolute. Those among
    `telling` are told more: see `_how_it_ended`."""
    if not upstream:
        return {}
    every = [need for needed in upstream.values() for need in needed]
    parents = sorted({need.job for need in every if need.state is State.COMPLETED})
    partial = archive.subtasks.partial(parents) if telling else set()
    outputs = _outputs(archive, recipes, parents)
    fanned_out = _fanned_out(archive, recipes, parents)
    documents = {}
    for job, needed in upstream.items():
        document = {
            need.name: {
                "result": _raw(need.result) if need.result is not None else fanned_out.get(need.job),
                "outputs": outputs.get(need.job, {}),
                **(_how_it_ended(need, partial) if job in telling else {}),
            }
            for need in needed
        }
        documents[job] = to_json(document).decode()
    return documents


def _how_it_ended(need: Needed, partial: Collection[int]) -> dict[str, Any]:
    """What an aggregate, or a job that needs others only finished, is told of each: its state (`waiting`: it cannot be
    reached), its verdict, whether it rests on a part of a fan-out's subtasks, the number of its attempt, its own id,
    and the error of one that failed."""
    return {
        "job": need.job,
        "state": need.state.label,
        "verdict": need.verdict.word.value if need.verdict else None,
        "verdict_message": need.verdict.message if need.verdict else None,
        "partial": need.job in partial,
        "attempt": need.number,
        "error": dataclasses.asdict(need.failure) if need.failure else None,
    }


def _raw(result: str | None) -> msgspec.Raw | None:
    return None if result is None else msgspec.Raw(result.encode())


def _fanned_out(archive: Archive, recipes: Recipes, jobs: Sequence[int]) -> dict[int, msgspec.Raw]:
    """The results of those jobs that end with a fan-out: its complete subtasks."""
    found = {}
    for job, attempt in archive.jobs.live(jobs).items():
        last = len(recipes.template(archive, attempt.template).steps) - 1
        if recipes.template(archive, attempt.template).steps[last].each is not None:
            found[job] = complete_document(known_of(archive.subtasks.of(attempt.id, last)))
    return found


def _outputs(archive: Archive, recipes: Recipes, jobs: Sequence[int]) -> dict[int, dict[str, str]]:
    live = archive.jobs.live(jobs)
    writing = [job for job, attempt in live.items() if recipes.template(archive, attempt.template).outputs]
    changes = changes_in_force(archive, writing)
    found = {}
    for job in archive.jobs.get(writing):
        attempt = live[job.id]
        template = recipes.template(archive, attempt.template)
        params = recipes.of(archive, job.workflow, attempt.template, attempt.revision).params
        modified = modified_of(attempt.overrides).params
        base = recipes.workflow(archive, job.workflow).directory
        if template.workdir == "attempt" and attempt.folder:
            base = attempt.folder
        scope: Mapping[str, Mapping[str, Any]] = {
            "params": {**effective(params, changes.get(job.id, ())), **modified},
            "matrix": from_json(attempt.binding or job.binding),
            "job": {"name": job.name, "id": job.id},
        }
        found[job.id] = {name: str(Path(base, render(path, scope))) for name, path in template.outputs.items()}
    return found
