"""A FireWorks workflow as a value (Flow), its names in a store, and its definition: each firework is a job, each task
a step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from rekindle.dialects.fireworks.fw_states import WORKFLOW_PARAM
from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step

UNNAMED_FIREWORK, UNNAMED_WORKFLOW = "Unnamed FW", "unnamed WF"
"""FireWorks' names for nameless fireworks and workflows."""


class Firework(msgspec.Struct, frozen=True):
    """A firework: its number in the file (or fw_id, once stored) and its whole spec."""

    id: int
    name: str
    spec: Mapping[str, Any]
    created_on: str
    job: str | None = None  # its job's name; None: not stored yet
    number: int | None = None  # its number in the file that it was added from, if different

    @property
    def tasks(self) -> tuple[Mapping[str, Any], ...]:
        """Return its tasks in order."""
        return tuple(self.spec.get("_tasks", ()))


class Flow(msgspec.Struct, frozen=True):
    """A workflow: its fireworks, and the numbers of each one's children."""

    name: str
    created_on: str
    fireworks: tuple[Firework, ...]
    links: Mapping[int, tuple[int, ...]]
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def roots(self) -> set[int]:
        """Return the numbers of the fireworks without parents."""
        return {one.id for one in self.fireworks} - {child for children in self.links.values() for child in children}

    @property
    def leaves(self) -> set[int]:
        """Return the numbers of the fireworks without children."""
        return {one.id for one in self.fireworks if not self.links.get(one.id)}


def date_text(at: float) -> str:
    """Format seconds since the epoch as FireWorks does: ISO 8601 in UTC, without a zone."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()


def unique_job_names(names: Iterable[str], taken: Iterable[str] = ()) -> Iterator[str]:
    """Yield a valid, unique job name for each firework name: `prep`, `prep-2`."""
    used = set(taken)
    last: dict[str, int] = {}
    for name in names:
        plain = job_name(name)
        number = last.get(plain, 0) + 1
        while (found := plain if number == 1 else f"{plain}-{number}") in used:
            number += 1
        last[plain] = number
        used.add(found)
        yield found


def job_name(name: str) -> str:
    """Replace everything but letters, digits, `_` and `-`. Dots are reserved for the names of added jobs."""
    plain = re.sub(r"[^\w-]+", "-", name).strip("-")[:_MAX_NAME] or "firework"
    return f"fw-{plain}" if plain.isdecimal() else plain


def workflow_name(name: str) -> str:
    """Return a valid workflow name."""
    plain = "".join(one if one.isprintable() else " " for one in name).strip()[:_MAX_NAME] or UNNAMED_WORKFLOW
    return f"wf-{plain}" if plain.isdecimal() else plain


_MAX_NAME = 100


PERFORM = "rekindle.dialects.fireworks.perform:perform"
"""The callable of every step."""


def define_flow(flow: Flow, directory: str) -> Definition:
    """Return the definition of a workflow. Fireworks with the same tasks and priority share a template.

    `directory`: where functions and Firetasks are imported from, beside installed packages."""
    known = {one.job for one in flow.fireworks if one.job is not None}
    fresh = unique_job_names((one.name for one in flow.fireworks if one.job is None), known)
    names = [one.job or next(fresh) for one in flow.fireworks]
    templates: list[JobTemplate] = []
    shapes: dict[tuple[object, ...], int] = {}
    jobs = []
    for firework, name in zip(flow.fireworks, names, strict=True):
        template = job_template(firework.spec)
        shape = (tuple(step.name for step in template.steps), template.priority, template.when, template.leave_running)
        if shape not in shapes:
            shapes[shape] = len(templates)
            templates.append(template)
        jobs.append(JobNode(name, shapes[shape], firework_binding(firework)))
    at = {one.id: position for position, one in enumerate(flow.fireworks)}
    edges = sorted({(at[parent], at[child]) for parent, children in flow.links.items() for child in children})
    _add_parent_details(flow, jobs, edges)
    about = {"name": flow.name, "metadata": dict(flow.metadata), "created_on": flow.created_on}
    return Definition(
        name=workflow_name(flow.name),
        directory=directory,
        templates=tuple(templates),
        jobs=tuple(jobs),
        edges=tuple(edges),
        params={WORKFLOW_PARAM: about},
    )


def _add_parent_details(flow: Flow, jobs: list[JobNode], edges: Sequence[tuple[int, int]]) -> None:
    """Add the names and specs of parents to the bindings of fireworks with `_allow_fizzled_parents`."""
    known: dict[int, dict[str, Any]] = {}
    for parent, child in edges:
        if flow.fireworks[child].spec.get("_allow_fizzled_parents"):
            known.setdefault(child, {})[jobs[parent].name] = parent_details(flow.fireworks[parent])
    for child, parents in known.items():
        jobs[child] = replace(jobs[child], binding={**jobs[child].binding, "parents": parents})


def parent_details(firework: Firework) -> dict[str, Any]:
    """Return the name and spec of a firework, for a child that runs although this one fizzled."""
    return {"name": firework.name, "spec": dict(firework.spec)}


def job_template(spec: Mapping[str, Any]) -> JobTemplate:
    """Return the job template of a firework with this spec."""
    tasks = [str(task.get("_fw_name", "task")) for task in spec.get("_tasks", ())]
    shape = "+".join(short_name(task) for task in tasks[:_MAX_TASKS_NAMED]) + (
        "+…" if len(tasks) > _MAX_TASKS_NAMED else ""
    )
    return JobTemplate(
        name=shape or "nothing",
        steps=tuple(Step(name, call=PERFORM, args={"task": at}) for at, name in enumerate(step_names(tasks))),
        priority=priority_of(spec),
        workdir="attempt",
        when="finished" if spec.get("_allow_fizzled_parents") else "completed",
        leave_running=bool(spec.get("_background_tasks")),  # from one task to the next
    )


def step_names(tasks: list[str]) -> list[str]:
    """Return the step names for these tasks. Without tasks there is one step, which does nothing."""
    return [f"{at}-{short_name(task)}" for at, task in enumerate(tasks)] or ["0-nothing"]


def short_name(task: str) -> str:
    """Return `ScriptTask` for `{{fireworks.user_objects.firetasks.script_task.ScriptTask}}`."""
    return job_name(task.strip("{} ").replace(":", ".").rsplit(".", 1)[-1])


def priority_of(spec: Mapping[str, Any]) -> int:
    """Return `_priority`, or 0. Fireworks without a priority run last, as jobs of 0 or less do."""
    found = spec.get("_priority", 0)
    return int(found) if isinstance(found, int | float) else 0


def firework_binding(firework: Firework) -> dict[str, Any]:
    """Return the job binding that holds a firework."""
    return {
        "name": firework.name,
        "fw": firework.id if firework.number is None else firework.number,
        "created_on": firework.created_on,
        "spec": dict(firework.spec),
    }


UPDATES = "updates"
"""The key in the binding of a firework that another one added, with the changes that users made to its spec: entries of
`mod_spec`. They are made again where it is added again."""

_MAX_TASKS_NAMED = 4
