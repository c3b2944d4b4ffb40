"""Apply the dynamic actions of completing attempts to the graph, and query the actions in force.

Actions are applied once, in the transaction that completes the attempt. If any part of an action is invalid, the
attempt fails and no part is applied.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.actions import (
    BAD_ACTION,
    SET,
    Action,
    ActionContext,
    ActionSet,
    AddedJob,
    BadAction,
    ChildChange,
    ParameterChange,
    Patch,
    check_changes,
    decide_effects,
    effective_params,
    merge_actions,
    pushed_paths,
    read_action,
)
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import AttemptEnd, AttemptJobState, Failure, StepOutcome, Workflow
from rekindle.domain.rerun.planner import plan_rerun
from rekindle.domain.rerun.request import How, Requests
from rekindle.domain.selection import AllOf, Compare, Op
from rekindle.domain.signatures import failure_signature
from rekindle.domain.states import ACTIVE, Cause, State
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.notify import notify
from rekindle.engine.presence import live_runners
from rekindle.journal.encoding import from_json

if TYPE_CHECKING:
    from rekindle.domain.definition import JobNode, JobTemplate
    from rekindle.engine.session import Session
    from rekindle.store.archive import Snapshot, Transaction
    from rekindle.store.dynamic_actions import AddedBy


def adders(session: Session, jobs: Sequence[int]) -> dict[int, AddedBy]:
    """Return, by job, the attempt that added the job. Jobs of the spec are absent."""
    with session.store.read() as archive:
        return archive.dynamic_actions.adders(jobs)


def patches(session: Session, jobs: Sequence[int]) -> dict[int, list[tuple[Patch, int]]]:
    """Return, by job, the actions in force on the job in order, each with the attempt it belongs to."""
    with session.store.read() as archive:
        return archive.dynamic_actions.patches(jobs)


def in_force(session: Session, jobs: Sequence[int]) -> dict[int, ActionSet]:
    """Return, by job, the set of changes that the job's own actions have in force."""
    with session.store.read() as archive:
        return archive.dynamic_actions.in_force(jobs)


def added_by(session: Session, job: int) -> dict[str, int]:
    """Return every job that a job's attempts have added, retired ones included, by name."""
    with session.store.read() as archive:
        return archive.dynamic_actions.added_by_job(job)


def redefine_added(session: Session, changed: Mapping[int, tuple[JobTemplate, Mapping[str, Any]]]) -> None:
    """Give jobs that actions have added other templates and matrix values. They last until the action adds them
    again."""
    now = session.clock()
    with session.store.write() as archive:
        by_workflow: dict[int, dict[int, tuple[JobTemplate, Mapping[str, Any]]]] = {}
        for job in archive.jobs.get(sorted(changed)):
            by_workflow.setdefault(job.workflow, {})[job.id] = changed[job.id]
        for number, mine in by_workflow.items():
            workflow = archive.workflows.find(number)
            assert workflow is not None
            archive.dynamic_actions.redefine(number, workflow.revision, mine)
            archive.events.add(now, "redefined", number, {"jobs": len(mine), "first": min(mine)})
        registered = archive.runners.alive()
    notify(session.store, live_runners(registered, now))


def apply_dynamic_actions(
    archive: Transaction,
    endings: Sequence[AttemptEnd],
    standing: Mapping[int, AttemptJobState],
    staged_since: Collection[int],
) -> list[AttemptEnd]:
    """Apply the actions of the attempts that complete, and end the sets of changes that they replace. Return the
    endings; an attempt whose actions are invalid becomes a failure. Must be called before any of these endings is
    written. `staged_since`: attempts whose steps have been written since `standing` was read."""
    acting = {
        ending.attempt: [step.action for step in ending.steps if step.action is not None]
        for ending in endings
        if ending.state is State.COMPLETED
        and (known := standing[ending.attempt]).job_attempt == ending.attempt
        and (known.acts or ending.attempt in staged_since or any(step.action is not None for step in ending.steps))
    }
    if not acting:
        return list(endings)
    staged = archive.dynamic_actions.staged(acting)
    in_force = archive.dynamic_actions.in_force([standing[attempt].job for attempt in acting])
    done = []
    for ending in endings:
        if ending.attempt in acting:
            known = standing[ending.attempt]
            texts = [action for _, _, action in staged.get(ending.attempt, ())] + acting[ending.attempt]
            if texts or known.job in in_force:
                archive.require_alone()
                ending = _apply_actions(archive, ending, known, texts)
        done.append(ending)
    return done


def _apply_actions(
    archive: Transaction, ending: AttemptEnd, known: AttemptJobState, texts: Sequence[str]
) -> AttemptEnd:
    try:
        action, changes = merge_actions(read_action(from_json(text)) for text in texts)
        _ActionApplier(archive, known).perform(action, changes, ending.ended)
    except RekindleError as error:
        return _failed_ending(ending, str(error))
    return ending


def _failed_ending(ending: AttemptEnd, message: str) -> AttemptEnd:
    failure = Failure(BAD_ACTION, message)
    found = failure_signature(Cause.EXCEPTION, failure)
    return msgspec.structs.replace(ending, state=State.FAILED, cause=Cause.EXCEPTION, failure=failure, signature=found)


class _ActionApplier:
    """Applies the actions of one completing attempt to its workflow."""

    def __init__(self, archive: Transaction, known: AttemptJobState) -> None:
        self._archive, self._known = archive, known
        self._job = archive.jobs.get([known.job])[0]
        workflow = archive.workflows.find(known.workflow)
        if workflow is None:
            raise KeyError(known.workflow)
        self._workflow: Workflow = workflow
        self._own = archive.dynamic_actions.added_by_job(known.job)

    def perform(self, action: Action, changes: Sequence[ChildChange], now: float) -> None:
        """Check and apply an action. All errors are raised before anything is written."""
        params = self._archive.workflows.params(self._workflow.id, self._workflow.revision)
        templates, nodes, additions = self._read(action, effective_params(params, [one.change for one in changes]))
        scene = self._scene(action, changes, additions)
        self._check(scene, params, changes, additions)
        effects = decide_effects(scene, action, changes, additions)
        self._archive.dynamic_actions.put(
            self._workflow.id, self._workflow.revision, self._known.attempt, effects, templates, nodes
        )
        self._run_again(effects.redefined, now)

    def _read(
        self, action: Action, params: Mapping[str, Any]
    ) -> tuple[Sequence[JobTemplate], Mapping[str, JobNode], list[AddedJob]]:
        """Parse the jobs to add, in the same way as the jobs of a spec."""
        entries = [*action.add, *action.detour]
        if not entries:
            return (), {}, []
        from rekindle.spec.additions import ExistingJobs, read_additions

        base = self._archive.workflows.template(self._job.template)
        outside = ExistingJobs(self._named, lambda: self._outputs(params), self._workflow.directory)
        read = read_additions(entries, base, params, outside, "the action")
        siblings: dict[int, list[str]] = {}
        for parent, child in read.edges:
            siblings.setdefault(child, []).append(read.jobs[parent].name)
        first_detour = len(action.add)
        additions = [
            AddedJob(
                node.name,
                node.template >= first_detour,
                tuple(sorted(set(read.needs.get(at, ())) - {self._job.id})),
                tuple(siblings.get(at, ())),
                entries[node.template].get("takes_changes") is not False,
            )
            for at, node in enumerate(read.jobs)
        ]
        return _named_templates(read.templates, entries), {node.name: node for node in read.jobs}, additions

    def _scene(self, action: Action, changes: Sequence[ChildChange], additions: Sequence[AddedJob]) -> ActionContext:
        archive, known = self._archive, self._known
        own = set(self._own.values())
        children = [
            job
            for job in archive.jobs.get(archive.jobs.children([known.job])[known.job])
            if not job.retired and job.id not in own
        ]
        names = [one.name for one in additions if one.name not in self._own]
        taken = {name: jobs[0] for name, jobs in archive.jobs.named(names, self._workflow.id).items()}
        in_force = archive.dynamic_actions.in_force([known.job]).get(known.job)
        if action.stop_workflow or action.hold_workflow:
            idle = archive.dynamic_actions.unstarted(self._workflow.id)
        else:
            idle = [job.id for job in children if job.attempt is None and not job.canceled]
        needs = {job for one in additions for job in one.needs}
        after = archive.dynamic_actions.descendants([*own, known.job]) if needs else set()
        deep = any(one.deep for one in changes)
        return ActionContext(
            job=known.job,
            name=known.name,
            attempt=known.attempt,
            in_force=in_force,
            own=self._own,
            taken={str(name): self._whose(job) for name, job in taken.items()},
            sets=self._sets_that_may_end(in_force, {one.name for one in additions}),
            children=tuple(job.id for job in children),
            descendants=self._after([job.id for job in children], own) if deep else (),
            held=self._held([*idle, *(job.id for job in children)])
            if action.hold_children or action.hold_workflow
            else (),
            idle=idle,
            next_job=archive.dynamic_actions.next_job() if additions else 1,
            edges=archive.workflows.edges(self._workflow.id) if needs & after else (),
        )

    def _held(self, jobs: Sequence[int]) -> list[int]:
        return [job.id for job in self._archive.jobs.get(sorted(set(jobs))) if job.held is not None]

    def _after(self, children: Sequence[int], own: Collection[int]) -> tuple[int, ...]:
        """Return the descendants of these jobs that are neither retired nor added by this job."""
        found = sorted(self._archive.dynamic_actions.descendants(children) - set(own))
        return tuple(job.id for job in self._archive.jobs.get(found) if not job.retired)

    def _sets_that_may_end(self, one: ActionSet | None, again: Collection[str]) -> dict[int, ActionSet]:
        """Return the sets of the jobs that a set added and that are not added `again`, recursively."""
        gone = {job: name for job, name in one.added.items() if name not in again} if one else {}
        return sets_below(self._archive, [msgspec.structs.replace(one, added=gone)]) if one else {}

    def _whose(self, number: int) -> str:
        job = self._archive.jobs.get([number])[0]
        adder = self._archive.dynamic_actions.adders([number]).get(number)
        if adder is not None:
            return f"a job that `{adder.name}` added"
        return "a job of an earlier revision" if job.retired else "a job of the spec"

    def _named(self, name: str) -> list[int]:
        """Return the jobs of the spec that a name, an entry's name or a glob matches."""
        if name.isdecimal():  # an id: no job's name is digits alone
            found = self._archive.jobs.named([int(name)], self._workflow.id).get(int(name), [])
            return [job.id for job in self._archive.jobs.get(found) if not job.retired and job.added_by is None]
        exact = self._archive.jobs.named([name], self._workflow.id).get(name, [])
        pattern = name if "*" in name or "?" in name else f"{name}[*]"
        found = exact or self._archive.jobs.select(Compare("name", Op.GLOB, pattern), self._workflow.id)
        return [job.id for job in self._archive.jobs.get(found) if not job.retired and job.added_by is None]

    def _check(
        self,
        scene: ActionContext,
        params: Mapping[str, Any],
        changes: Sequence[ChildChange],
        additions: Sequence[AddedJob],
    ) -> None:
        """Check an action against the graph: its changes must fit the children, and a job that it redefines must not be
        running."""
        for deep, jobs in ((False, scene.children), (True, scene.descendants)):
            if changes and (jobs or not deep):
                self._check_changes(scene, jobs, params, [one.change for one in changes if one.deep or not deep])
        again = [self._own[one.name] for one in additions if one.name in self._own]
        for job in self._archive.jobs.get(again):
            if job.state in ACTIVE:
                raise BadAction(f"{job.name!r:.80}, which it adds again, is {job.state.label}")

    def _check_changes(
        self, scene: ActionContext, jobs: Sequence[int], params: Mapping[str, Any], changes: Sequence[ParameterChange]
    ) -> None:
        old = scene.in_force.attempt if scene.in_force else None
        before: dict[str, list[ParameterChange]] = {}
        paths = pushed_paths(changes)
        last = self._archive.dynamic_actions.last_patches(jobs, old) if paths else {}
        # A list that another job has pushed to takes more: what many jobs push to one need not be read each time.
        lists = {job for job, one in last.items() if one.kind == SET and paths <= pushed_paths([one.content])}
        others = [job for job in jobs if job not in lists]
        found = self._archive.dynamic_actions.patches(others)
        for job in others:
            kept = [one.content for one, by in found.get(job, ()) if one.kind == SET and by != old]
            before[repr(kept)] = kept
        check_changes([effective_params(params, kept) for kept in before.values()] or [params], changes)

    def _outputs(self, params: Mapping[str, Any]) -> dict[str, int]:
        """Return the declared outputs of the spec's jobs: absolute path to job id."""
        from rekindle.spec.file_edges import absolute

        templates = {
            number: template
            for number, template in self._archive.workflows.templates(self._workflow.id)
            if template.outputs
        }
        if not templates:
            return {}
        found: dict[str, int] = {}
        for job in self._archive.jobs.get(self._archive.jobs.select(AllOf(), self._workflow.id)):
            if job.template not in templates or job.added_by is not None:
                continue
            template = templates[job.template]
            scope = {"params": params, "matrix": from_json(job.binding), "job": {"name": job.name}}
            for text in template.outputs.values():
                path = render_text(text, scope)
                if template.workdir == "project" or path.startswith("/"):
                    found[absolute(self._workflow.directory, path)] = job.id
        return found

    def _run_again(self, redefined: Sequence[int], now: float) -> None:
        """Reset, as a recorded rerun, redefined jobs that have an attempt. A job has one if its adding job had left the
        workflow."""
        live = [job.id for job in self._archive.jobs.get(redefined) if job.attempt is not None]
        if not live:
            return
        views, graph = self._archive.plan_views.of(live)
        plan = plan_rerun(views, graph, Requests(dict.fromkeys(live, How())))
        if plan.jobs:
            request = {"jobs": live, "added_again_by": self._known.attempt}
            self._archive.reruns.apply(plan, "action", request, f"added again by {self._known.name}", now)


def _named_templates(templates: Sequence[JobTemplate], entries: Sequence[Mapping[str, Any]]) -> list[JobTemplate]:
    """Return the templates of entries with the names that their entries give them: equal templates are stored once."""
    pairs = zip(templates, entries, strict=True)
    return [msgspec.structs.replace(one, name=str(entry.get("template", one.name))) for one, entry in pairs]


def sets_below(archive: Snapshot, sets: Sequence[ActionSet]) -> dict[int, ActionSet]:
    """Return, by job, the sets in force of the jobs that these sets added, recursively."""
    found: dict[int, ActionSet] = {}
    level = [job for one in sets for job in one.added]
    while level:
        fresh = archive.dynamic_actions.in_force(level)
        found |= fresh
        level = [job for one in fresh.values() for job in one.added if job not in found]
    return found


def parameter_changes(archive: Snapshot, jobs: Sequence[int]) -> dict[int, list[ParameterChange]]:
    """Return, by job, the changes that actions in force make to the job's parameters. Jobs without changes are
    absent."""
    found: dict[int, list[ParameterChange]] = {}
    for job, patches in (archive.dynamic_actions.patches(jobs) if jobs else {}).items():
        changes = [one.content for one, _ in patches if one.kind == SET]
        if changes:
            found[job] = changes
    return found


def changed_parameters(params: Mapping[str, Any], changes: Sequence[ParameterChange]) -> dict[str, Any]:
    """Return the parameters that differ because of changes in force; a removed parameter is None."""
    differing, gone = assignment_parameters(params, changes, {})
    return {**dict.fromkeys(gone), **(differing or {})}


def kept_step_changes(steps: Sequence[StepOutcome]) -> list[ParameterChange]:
    """Return the parameter changes that kept steps staged for later steps."""
    actions = [read_action(from_json(step.action)) for step in steps if step.action is not None]
    return [action.set for action in actions if action.set]


def assignment_parameters(
    params: Mapping[str, Any], changes: Sequence[ParameterChange], modified: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Return (differing parameters, names of removed parameters) for an assignment. Parameters that a rerun has
    `modified` take precedence over changes by actions."""
    if not changes and not modified:
        return None, ()
    now = {**effective_params(params, changes), **modified}
    differing = {name: value for name, value in now.items() if name not in params or params[name] != value}
    return differing or None, tuple(name for name in params if name not in now)
