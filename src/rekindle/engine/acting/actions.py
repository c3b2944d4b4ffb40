"""Dynamic actions, from what steps staged to the graph: in the transaction that completes the attempt, once.

What cannot be done fails the attempt, and then nothing of it is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rekindle.domain.acting import SET, ActingSet, Addition, Scene, check_changes, decide_effects
from rekindle.domain.actions import BAD_ACTION, Action, BadAction, Change, Told, effective, merge, read_action
from rekindle.domain.causes import Cause
from rekindle.domain.definition import JobNode, JobTemplate
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Ending, Failure, Standing, Workflow
from rekindle.domain.rerunning.planning import plan_rerun
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.selection import Compare, Every, Op
from rekindle.domain.signatures import signature
from rekindle.domain.states import ACTIVE, State
from rekindle.domain.texts.substitution import render
from rekindle.journal.encoding import from_json
from rekindle.store.port import Archive


def act(archive: Archive, endings: Sequence[Ending], standing: Mapping[int, Standing]) -> list[Ending]:
    """Put the actions of the attempts that complete in force, and end the sets that they replace. Returns the ends,
    those whose actions cannot be taken as failures. It comes before any of these ends is written."""
    completing = [
        ending.attempt
        for ending in endings
        if ending.state is State.COMPLETED and standing[ending.attempt].job_attempt == ending.attempt
    ]
    if not completing:
        return list(endings)
    staged = archive.acts.staged(completing)
    in_force = archive.acts.in_force([standing[attempt].job for attempt in completing])
    done = []
    for ending in endings:
        known = standing[ending.attempt]
        told = [step.action for step in ending.steps if step.action is not None]
        texts = [action for _, _, action in staged.get(ending.attempt, ())] + told
        if ending.attempt in completing and (texts or known.job in in_force):
            ending = _take_effect(archive, ending, known, texts)
        done.append(ending)
    return done


def _take_effect(archive: Archive, ending: Ending, known: Standing, texts: Sequence[str]) -> Ending:
    try:
        action, changes = merge(read_action(from_json(text)) for text in texts)
        _Stage(archive, known).perform(action, changes, ending.ended)
    except RekindleError as error:
        return _refused(ending, str(error))
    return ending


def _refused(ending: Ending, message: str) -> Ending:
    found = signature(Cause.EXCEPTION, BAD_ACTION, message, "", "")
    return dataclasses.replace(
        ending,
        state=State.FAILED,
        cause=Cause.EXCEPTION,
        failure=Failure(BAD_ACTION, message),
        signature=(found.digest, found.type, found.message),
    )


class _Stage:
    """One attempt that completes, and the workflow around it."""

    def __init__(self, archive: Archive, known: Standing) -> None:
        self._archive, self._known = archive, known
        self._job = archive.jobs.get([known.job])[0]
        workflow = archive.workflows.find(known.workflow)
        if workflow is None:
            raise KeyError(known.workflow)
        self._workflow: Workflow = workflow
        self._own = archive.acts.own(known.job)

    def perform(self, action: Action, changes: Sequence[Told], now: float) -> None:
        """Decide, then write. Whatever is wrong is raised before anything is written."""
        params = self._archive.workflows.params(self._workflow.id, self._workflow.revision)
        templates, nodes, additions = self._read(action, effective(params, [one.change for one in changes]))
        scene = self._scene(action, changes, additions)
        self._check(scene, params, changes, additions)
        effects = decide_effects(scene, action, changes, additions)
        self._archive.acts.put(
            self._workflow.id, self._workflow.revision, self._known.attempt, effects, templates, nodes
        )
        self._run_again(effects.redefined, now)

    def _read(
        self, action: Action, params: Mapping[str, Any]
    ) -> tuple[Sequence[JobTemplate], Mapping[str, JobNode], list[Addition]]:
        """The jobs to add, read as a spec's are."""
        entries = [*action.add, *action.detour]
        if not entries:
            return (), {}, []
        from rekindle.spec.additions import Outside, read_additions

        base = self._archive.workflows.template(self._job.template)
        outside = Outside(self._named, lambda: self._outputs(params), self._workflow.directory)
        read = read_additions(entries, base, params, outside, "the action")
        siblings: dict[int, list[str]] = {}
        for parent, child in read.edges:
            siblings.setdefault(child, []).append(read.jobs[parent].name)
        first_detour = len(action.add)
        additions = [
            Addition(
                node.name,
                node.template >= first_detour,
                tuple(sorted(set(read.needs.get(at, ())) - {self._job.id})),
                tuple(siblings.get(at, ())),
            )
            for at, node in enumerate(read.jobs)
        ]
        return read.templates, {node.name: node for node in read.jobs}, additions

    def _scene(self, action: Action, changes: Sequence[Told], additions: Sequence[Addition]) -> Scene:
        archive, known = self._archive, self._known
        own = set(self._own.values())
        children = [
            job
            for job in archive.jobs.get(archive.jobs.children([known.job])[known.job])
            if not job.retired and job.id not in own
        ]
        names = [one.name for one in additions if one.name not in self._own]
        taken = {name: jobs[0] for name, jobs in archive.jobs.named(names, self._workflow.id).items()}
        in_force = archive.acts.in_force([known.job]).get(known.job)
        if action.stop_workflow or action.hold_workflow:
            idle = archive.acts.idle(self._workflow.id)
        else:
            idle = [job.id for job in children if job.attempt is None and not job.canceled]
        needs = {job for one in additions for job in one.needs}
        after = archive.acts.below([*own, known.job]) if needs else set()
        deep = any(one.deep for one in changes)
        return Scene(
            job=known.job,
            name=known.name,
            attempt=known.attempt,
            in_force=in_force,
            own=self._own,
            taken={str(name): self._whose(job) for name, job in taken.items()},
            sets=self._sets_below(in_force),
            children=tuple(job.id for job in children),
            descendants=self._after([job.id for job in children], own) if deep else (),
            held=self._held([*idle, *(job.id for job in children)])
            if action.hold_children or action.hold_workflow
            else (),
            idle=idle,
            next_job=archive.acts.next_job() if additions else 1,
            edges=archive.workflows.edges(self._workflow.id) if needs & after else (),
        )

    def _held(self, jobs: Sequence[int]) -> list[int]:
        return [job.id for job in self._archive.jobs.get(sorted(set(jobs))) if job.held is not None]

    def _after(self, children: Sequence[int], own: Collection[int]) -> tuple[int, ...]:
        """What comes after these, none of them retired or added by this job."""
        found = sorted(self._archive.acts.below(children) - set(own))
        return tuple(job.id for job in self._archive.jobs.get(found) if not job.retired)

    def _sets_below(self, one: ActingSet | None) -> dict[int, ActingSet]:
        return sets_below(self._archive, [one] if one else [])

    def _whose(self, number: int) -> str:
        job = self._archive.jobs.get([number])[0]
        adder = self._archive.acts.adders([number]).get(number)
        if adder is not None:
            return f"a job that `{adder.name}` added"
        return "a job of an earlier revision" if job.retired else "a job of the spec"

    def _named(self, name: str) -> list[int]:
        """The jobs of the spec that a name, the name of an entry or a glob means."""
        if name.isdecimal():  # an id: no job's name is digits alone
            found = self._archive.jobs.named([int(name)], self._workflow.id).get(int(name), [])
            return [job.id for job in self._archive.jobs.get(found) if not job.retired and job.added_by is None]
        exact = self._archive.jobs.named([name], self._workflow.id).get(name, [])
        pattern = name if "*" in name or "?" in name else f"{name}[*]"
        found = exact or self._archive.jobs.select(Compare("name", Op.GLOB, pattern), self._workflow.id)
        return [job.id for job in self._archive.jobs.get(found) if not job.retired and job.added_by is None]

    def _check(
        self, scene: Scene, params: Mapping[str, Any], changes: Sequence[Told], additions: Sequence[Addition]
    ) -> None:
        """What cannot be told from the action alone: changes must fit the children, and nothing is redefined while
        it runs."""
        for deep, jobs in ((False, scene.children), (True, scene.descendants)):
            if changes and (jobs or not deep):
                self._check_changes(scene, jobs, params, [one.change for one in changes if one.deep or not deep])
        again = [self._own[one.name] for one in additions if one.name in self._own]
        for job in self._archive.jobs.get(again):
            if job.state in ACTIVE:
                raise BadAction(f"{job.name!r:.80}, which it adds again, is {job.state.label}")

    def _check_changes(
        self, scene: Scene, jobs: Sequence[int], params: Mapping[str, Any], changes: Sequence[Change]
    ) -> None:
        old = scene.in_force.attempt if scene.in_force else None
        before: dict[str, list[Change]] = {}
        found = self._archive.acts.patches(jobs)
        for job in jobs:
            kept = [one.content for one, by in found.get(job, ()) if one.kind == SET and by != old]
            before[repr(kept)] = kept
        check_changes([effective(params, kept) for kept in before.values()] or [params], changes)

    def _outputs(self, params: Mapping[str, Any]) -> dict[str, int]:
        """The declared outputs of the spec's jobs, by absolute path."""
        from rekindle.spec.flows import absolute

        templates = {
            number: template
            for number, template in self._archive.workflows.templates(self._workflow.id)
            if template.outputs
        }
        if not templates:
            return {}
        found: dict[str, int] = {}
        for job in self._archive.jobs.get(self._archive.jobs.select(Every(), self._workflow.id)):
            if job.template not in templates or job.added_by is not None:
                continue
            template = templates[job.template]
            scope = {"params": params, "matrix": from_json(job.binding), "job": {"name": job.name}}
            for text in template.outputs.values():
                path = render(text, scope)
                if template.workdir == "project" or path.startswith("/"):
                    found[absolute(self._workflow.directory, path)] = job.id
        return found

    def _run_again(self, redefined: Sequence[int], now: float) -> None:
        """What is added again and has an attempt (the adding job had been out of the workflow) is reset by a rerun."""
        live = [job.id for job in self._archive.jobs.get(redefined) if job.attempt is not None]
        if not live:
            return
        views, graph = self._archive.reruns.views(live)
        plan = plan_rerun(views, graph, [(live, How())])
        if plan.jobs:
            request = {"jobs": live, "added_again_by": self._known.attempt}
            self._archive.reruns.apply(plan, "action", request, f"added again by {self._known.name}", now)


def sets_below(archive: Archive, sets: Sequence[ActingSet]) -> dict[int, ActingSet]:
    """The sets in force of what these sets added, and of what those added, and so on, by job."""
    found: dict[int, ActingSet] = {}
    level = [job for one in sets for job in one.added]
    while level:
        fresh = archive.acts.in_force(level)
        found |= fresh
        level = [job for one in fresh.values() for job in one.added if job not in found]
    return found
