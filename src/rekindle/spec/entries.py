"""One entry of `jobs:`: its template, the jobs it makes, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from rekindle.domain.definition import GRACE, STALE_ON, JobTemplate, Resources, RetryRule, When
from rekindle.domain.texts.jobnames import composed
from rekindle.domain.texts.quantities import parse_duration
from rekindle.spec.declared import Telling, by_mtime, read_declared, read_telling
from rekindle.spec.fan_outs import FAN_OUT_KEYS
from rekindle.spec.matrix import Expansion, read_expansion
from rekindle.spec.nodes import Items, Node, Scalar, Table, describe
from rekindle.spec.problems import Place, Placed, Problems
from rekindle.spec.references import Known, check_text
from rekindle.spec.resources import quantity, read_resources
from rekindle.spec.retries import read_retry
from rekindle.spec.steps import read_steps
from rekindle.spec.values import (
    VARIABLE_NAME,
    check_keys,
    named,
    one_of,
    plain_text,
    table,
    text,
    whole_number,
    yes_or_no,
)

Workdir = Literal["project", "attempt"]
Partial = Literal["keep", "aside"]
_Key = TypeVar("_Key")

JOB_KEYS = (
    "run",
    "call",
    "args",
    "steps",
    "shell",
    *FAN_OUT_KEYS,
    "inputs",
    "outputs",
    "matrix",
    "zip",
    "needs",
    "priority",
    "resources",
    "workdir",
    "env",
    "aggregate",
    "when",
    "retry",
    "grace",
    "stale_on",
    "implicit_inputs",
    "leave_running",
    "partial",
)
_DEFAULTS_KEYS = (
    *("resources", "workdir", "env", "shell", "priority", "files", "retry", "grace"),
    *("stale_on", "implicit_inputs", "leave_running", "partial"),
)
_OURS = re.compile(r"REKINDLE_(WORKFLOW|JOB|JOB_NAME|ATTEMPT|STEP|ITEM|DIR|INPUTS|RESULT|VERDICT|ACTION)")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a job has that does not say otherwise."""

    resources: Resources
    workdir: Workdir
    env: Mapping[str, Placed]
    shell: str | None
    priority: int
    files: Telling
    retry: tuple[RetryRule, ...] = ()
    grace: float = GRACE
    stale_on: tuple[str, ...] = ()
    implicit_inputs: bool = True
    leave_running: bool = False
    partial: Partial = "keep"


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that has been read. Texts in which something is wrong are left out, and have been told."""

    template: JobTemplate
    place: Place
    expansion: Expansion
    needs: tuple[Placed, ...]
    inputs: Mapping[str, Placed]
    outputs: Mapping[str, Placed]


def read_defaults(root: Table, problems: Problems) -> Defaults:
    """`defaults:`, with the workflow's own `workdir`, `env` and `implicit_inputs` under it."""
    found = table(root.get("defaults"), "`defaults`", problems) or Table(root.place)
    check_keys(found, _DEFAULTS_KEYS, "`defaults`", problems)
    return Defaults(
        resources=read_resources(found.get("resources"), Resources(), problems),
        workdir=_workdir(found, _workdir(root, "project", problems), problems),
        env={**read_env(root.get("env"), problems), **read_env(found.get("env"), problems)},
        shell=plain_text(found.get("shell"), "`shell`", problems),
        priority=whole_number(found.get("priority"), "`priority`", problems) or 0,
        files=read_telling(found.get("files"), problems),
        retry=read_retry(found.get("retry"), (), None, problems),
        grace=_grace(found, GRACE, problems),
        stale_on=_stale_on(found, _stale_on(root, (), problems), problems),
        implicit_inputs=_switch("implicit_inputs", found, _switch("implicit_inputs", root, True, problems), problems),
        leave_running=_switch("leave_running", found, False, problems),
        partial=_partial(found, "keep", problems),
    )


def read_job(
    name: str,
    place: Place,
    job: Table,
    base: Defaults,
    params: Mapping[str, Any],
    problems: Problems,
    values: Mapping[str, Any] | None = None,
) -> Draft:
    """One entry of `jobs:`; with `values` it is one job with these matrix values."""
    check_keys(job, JOB_KEYS, "a job", problems)
    expansion = read_expansion(job, params, problems, values)
    early = Known(params, matrix=expansion.keys)
    for_env = Known(params, matrix=expansion.keys, env=True)
    inputs, outputs = (read_declared(job.get(kind), kind, base.files, problems) for kind in ("inputs", "outputs"))
    at_work = Known(params, matrix=expansion.keys, inputs=inputs.paths, outputs=outputs.paths, env=True)
    env = {**base.env, **read_env(job.get("env"), problems)}
    priority = whole_number(job.get("priority"), "`priority`", problems)
    resources = read_resources(job.get("resources"), base.resources, problems)
    template = JobTemplate(
        name=name,
        steps=read_steps(name, place, job, base.shell, at_work, problems),
        inputs={key: path.text for key, path in inputs.paths.items()},
        outputs={key: path.text for key, path in outputs.paths.items()},
        env={key: value.text for key, value in _sound(env, for_env, problems).items()},
        resources=resources,
        priority=base.priority if priority is None else priority,
        workdir=_workdir(job, base.workdir, problems),
        by_mtime=by_mtime(inputs, outputs, problems),
        aggregate=yes_or_no(job.get("aggregate"), "`aggregate`", problems),
        when=_when(job, problems),
        retry=read_retry(job.get("retry"), base.retry, resources, problems),
        grace=_grace(job, base.grace, problems),
        stale_on=_stale_on(job, base.stale_on, problems),
        implicit_inputs=_switch("implicit_inputs", job, base.implicit_inputs, problems),
        optional=inputs.optional,
        leave_running=_switch("leave_running", job, base.leave_running, problems),
        partial=_partial(job, base.partial, problems),
    )
    needs = dict(enumerate(_needs(job.get("needs"), problems)))
    return Draft(
        template,
        place,
        expansion,
        needs=tuple(_sound(needs, early, problems).values()),
        inputs=_sound(inputs.paths, early, problems),
        outputs=_sound(outputs.paths, early, problems),
    )


def _sound(texts: Mapping[_Key, Placed], known: Known, problems: Problems) -> dict[_Key, Placed]:
    """Those whose references all name something; of the others, it is told what is wrong."""
    good = {}
    for key, found in texts.items():
        before = len(problems)
        check_text(found.text, found.place, known, problems)
        if len(problems) == before:
            good[key] = found
    return good


def _grace(found: Table, base: float, problems: Problems) -> float:
    given = quantity(found.get("grace"), "grace", parse_duration, problems, _GRACE, none=True)
    return base if given is None else given


_GRACE = "as in `grace: 30s`: how long after SIGTERM before SIGKILL"


def _stale_on(found: Table, base: tuple[str, ...], problems: Problems) -> tuple[str, ...]:
    node = found.get("stale_on")
    if node is None:
        return base
    each = node.items if isinstance(node, Items) else [node]
    words = (one_of(one, STALE_ON, "what `stale_on` lists", problems) for one in each)
    return tuple(dict.fromkeys(word for word in words if word is not None))


def _switch(key: str, found: Table, base: bool, problems: Problems) -> bool:
    return yes_or_no(found.get(key), f"`{key}`", problems) if key in found.entries else base


def _workdir(found: Table, base: Workdir, problems: Problems) -> Workdir:
    word = one_of(found.get("workdir"), ("project", "attempt"), "`workdir`", problems)
    return base if word is None else "attempt" if word == "attempt" else "project"


def _partial(found: Table, base: Partial, problems: Problems) -> Partial:
    word = one_of(found.get("partial"), ("keep", "aside"), "`partial`", problems)
    return base if word is None else "aside" if word == "aside" else "keep"


def read_env(node: Node | None, problems: Problems) -> dict[str, Placed]:
    """Variables: any scalar is its text, as it is written."""
    env = {}
    for name, entry in named(node, "`env`", VARIABLE_NAME, problems).items():
        value = entry.node
        if _OURS.fullmatch(name):
            problems.add(entry.place, f"{name} is set by rekindle for each step", "name the variable otherwise")
        elif not isinstance(value, Scalar) or value.value is None:
            problems.add(value.place, f"the variable {name} must be a text, and is {describe(value)}", 'as in `X: ""`')
        elif "\0" in value.text:
            problems.add(value.place, f"the variable {name} holds a NUL character")
        else:
            env[name] = Placed(value.text, value.place)
    return env


def _when(job: Table, problems: Problems) -> When:
    word = one_of(job.get("when"), ("completed", "finished"), "`when`", problems)
    return "finished" if word == "finished" else "completed"


def _needs(node: Node | None, problems: Problems) -> list[Placed]:
    if node is None:
        return []
    found = []
    for item in node.items if isinstance(node, Items) else [node]:
        name = text(item, "what a job needs", problems)
        if name is not None:
            found.append(Placed(composed(name), item.place))
    return found
