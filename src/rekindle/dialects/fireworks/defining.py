"""A FireWorks workflow becomes a Definition: a job for each firework, a step for each of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rekindle.dialects.fireworks.flows import Firework, Flow, job_names, plain_name, workflow_name
from rekindle.dialects.fireworks.words import WORKFLOW
from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step

PERFORM = "rekindle.dialects.fireworks.bench:perform"
"""What each step calls."""


def define(flow: Flow, directory: str) -> Definition:
    """The definition; `directory` is where the functions that its tasks name are looked for, beside what is
    installed. Fireworks of like shape share a template."""
    known = {one.job for one in flow.fireworks if one.job is not None}
    fresh = job_names((one.name for one in flow.fireworks if one.job is None), known)
    names = [one.job or next(fresh) for one in flow.fireworks]
    templates: list[JobTemplate] = []
    shapes: dict[tuple[object, ...], int] = {}
    jobs = []
    for firework, name in zip(flow.fireworks, names, strict=True):
        template = template_of(firework.spec)
        shape = (tuple(step.name for step in template.steps), template.priority, template.when)
        if shape not in shapes:
            shapes[shape] = len(templates)
            templates.append(template)
        jobs.append(JobNode(name, shapes[shape], binding_of(firework)))
    at = {one.id: position for position, one in enumerate(flow.fireworks)}
    edges = sorted({(at[parent], at[child]) for parent, children in flow.links.items() for child in children})
    _tell_parents(flow, jobs, edges)
    about = {"name": flow.name, "metadata": dict(flow.metadata), "created_on": flow.created_on}
    return Definition(
        name=workflow_name(flow.name),
        directory=directory,
        templates=tuple(templates),
        jobs=tuple(jobs),
        edges=tuple(edges),
        params={WORKFLOW: about},
    )


def _tell_parents(flow: Flow, jobs: list[JobNode], edges: Sequence[tuple[int, int]]) -> None:
    """Tell the fireworks that run when others fizzled what these are, by the names of their jobs."""
    known: dict[int, dict[str, Any]] = {}
    for parent, child in edges:
        if flow.fireworks[child].spec.get("_allow_fizzled_parents"):
            known.setdefault(child, {})[jobs[parent].name] = about_parent(flow.fireworks[parent])
    for child, parents in known.items():
        jobs[child] = replace(jobs[child], binding={**jobs[child].binding, "parents": parents})


def about_parent(firework: Firework) -> dict[str, Any]:
    """What a firework that runs when this one fizzled is told of it beforehand."""
    return {"name": firework.name, "spec": dict(firework.spec)}


def template_of(spec: Mapping[str, Any]) -> JobTemplate:
    """The template of a firework with this spec: which tasks, how urgent, and what it waits for."""
    tasks = [str(task.get("_fw_name", "task")) for task in spec.get("_tasks", ())]
    shape = "+".join(short_name(task) for task in tasks[:_TOLD]) + ("+…" if len(tasks) > _TOLD else "")
    return JobTemplate(
        name=shape or "nothing",
        steps=tuple(Step(name, call=PERFORM, args={"task": at}) for at, name in enumerate(step_names(tasks))),
        priority=priority_of(spec),
        workdir="attempt",
        when="finished" if spec.get("_allow_fizzled_parents") else "completed",
    )


def step_names(tasks: list[str]) -> list[str]:
    """The names of the steps that these tasks become; of none, that of the one step that does nothing."""
    return [f"{at}-{short_name(task)}" for at, task in enumerate(tasks)] or ["0-nothing"]


def short_name(task: str) -> str:
    """`ScriptTask` of `{{fireworks.user_objects.firetasks.script_task.ScriptTask}}`."""
    return plain_name(task.strip("{} ").replace(":", ".").rsplit(".", 1)[-1])


def priority_of(spec: Mapping[str, Any]) -> int:
    """`_priority`; FireWorks runs what has none last, as we do what has 0 or less."""
    found = spec.get("_priority", 0)
    return int(found) if isinstance(found, int | float) else 0


def binding_of(firework: Firework) -> dict[str, Any]:
    """What makes a job this firework."""
    return {
        "name": firework.name,
        "fw": firework.id if firework.number is None else firework.number,
        "created_on": firework.created_on,
        "spec": dict(firework.spec),
    }


_TOLD = 4
