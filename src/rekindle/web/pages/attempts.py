"""One attempt in full, within the page of its job; and what differs between two."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from starlette.responses import RedirectResponse, Response

from rekindle.domain.definition import Each, JobTemplate, Step
from rekindle.domain.errors import NotFound, Refused
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.states import ENDED, State
from rekindle.domain.subtasks import counts
from rekindle.domain.texts.display import mask_env, mask_field, mask_json_text, mask_matrix
from rekindle.domain.texts.quantities import format_size
from rekindle.engine.queries import job_queries
from rekindle.engine.queries.attempt_comparison import attempt_context, compare_attempts
from rekindle.engine.queries.details import attempt_summary
from rekindle.presentation import attempts as attempt_texts
from rekindle.presentation import differences, documents, facts, reasons, words
from rekindle.web.console import Page, Part, query_of
from rekindle.web.forms import id_of, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from rekindle.domain.changes.differences import AttemptContext
    from rekindle.domain.changes.fingerprints import FileContent
    from rekindle.domain.definition import Resources
    from rekindle.domain.models import Attempt, Job, StepOutcome
    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.queries.attempt_comparison import OutputDiff
    from rekindle.engine.queries.details import AttemptDetails
    from rekindle.engine.results import JobRow
    from rekindle.engine.session import Session
    from rekindle.web.access import Principal
    from rekindle.web.console import Console, Query, Values

ITEMS = 200
"""Subtasks of one page."""

MOST_FILES = 500
"""Files of an attempt that are listed."""

COMPARE_SECONDS = 10.0
"""How long outputs are read to compare two attempts."""

_LONGEST_TEXT = 20_000  # characters of a result
_MOST_DIFFERENCES = 1_000
_MOST_LINES = 400  # of an output's diff
_WIDTH = 60  # columns of a value beside another
_ELSEWHERE = frozenset({"attempt", "state", "cause", "result", "cpu", "memory", "modified", "time"})

FileStates = Mapping[tuple[str, str], tuple[str, str]]
"""(class, text) of files, by (input or output, name): whether they changed since."""


def add(console: Console) -> None:
    """Add the live parts about an attempt, and the page that compares two."""
    console.add_part(Part("job-attempt", "parts/job_attempt.html", _attempt))
    console.add_page(Page("/attempts/{a}/diff/{b}", "attempt_diff.html", _diff, slow=True))

    async def show(request: Request, _: Principal) -> Response:
        number = id_of(query_of(request))
        found = await console.readers.run(lambda session: job_queries.attempt(session, number))
        return RedirectResponse(f"/jobs/{found.job}?attempt={found.id}", 303)

    console.add_action("/attempts/{id}", "read", show, "GET")


def row_of(session: Session, query: Query, name: str = "id") -> JobRow:
    """Return the job of an address; `name`: of the parameter. Raise NotFound."""
    number = id_of(query, name)
    found = job_queries.jobs(session, [number])
    if not found:
        raise NotFound(f"no such job: {number}", hint="the page of its workflow lists its jobs")
    return found[0]


def chosen_attempt(session: Session, job: Job, query: Query) -> Attempt | None:
    """Return the attempt that the page of a job shows: the one that its address names by id, else the newest; None if
    the job has not run. Raise NotFound for an attempt of another job."""
    wanted = number_of(query, "attempt")
    if wanted is None:
        wanted = job.attempt or max((one.id for one in _history(session, job)), default=None)
    if wanted is None:
        return None
    found = job_queries.attempt(session, wanted)
    if found.job != job.id:
        raise NotFound(f"attempt {wanted} is not one of {words.one_line(job.name)}")
    return found


def decisive_step(one: Attempt) -> int:
    """Return the position of the step whose log says most: the one that failed, else the last one."""
    failed = [step.position for step in one.steps if step.cause is not None and step.kept_from is None]
    return failed[-1] if failed else max((step.position for step in one.steps), default=one.start_step)


def _history(session: Session, job: Job) -> Sequence[Attempt]:
    return job_queries.attempts(session, [job.id]) if job.attempts else ()


def definition(template: JobTemplate) -> str:
    """Return a template as YAML, without what it leaves at its default."""
    shown = _given(msgspec.to_builtins(documents.template(template)), documents.template(_DEFAULT))
    asked = shown.get("resources", {})
    asked |= {"memory": format_size(asked["memory"])} if "memory" in asked else {}
    asked |= {"time": words.duration(asked["time"])} if "time" in asked else {}
    return words.printable(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100))


_DEFAULT = JobTemplate("", (Step("", each=Each()),))


def _given(value: Any, default: Any = None) -> Any:
    """Return a document without empty values, and without those of the default document."""
    if isinstance(value, dict):
        other = default if isinstance(default, dict) else {}
        inner = {name: _given(each, other.get(name)) for name, each in value.items() if each != other.get(name)}
        return {name: each for name, each in inner.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return [_given(each, default[0] if isinstance(default, list) and default else None) for each in value]
    return value


def files_of(
    session: Session,
    job: Job,
    attempt: Attempt | None,
    template: JobTemplate,
    states: FileStates | None = None,
) -> dict[str, Any]:
    """Return the inputs and outputs of an attempt as it recorded them; of a job that has not run as it declares them.
    `states`: whether they changed since."""
    if attempt is None:
        declared = [("input", *each) for each in template.inputs.items()]
        declared += [("output", *each) for each in template.outputs.items()]
        return {
            "rows": [
                {"kind": kind, "name": name, "path": path, "digest": "", "state": None} for kind, name, path in declared
            ],
            "recorded": False,
            "more": 0,
            "partial": [],
            "saved": None,
            "compared": False,
        }
    details = attempt_summary(session, attempt.id)
    project = job_queries.project_folder(session, job.workflow)
    every = [("input", one) for one in details.files.inputs] + [("output", one) for one in details.files.outputs]
    return {
        "rows": [_file(kind, one, project, (states or {}).get((kind, one.name))) for kind, one in every[:MOST_FILES]],
        "recorded": bool(every),
        "more": max(0, len(every) - MOST_FILES),
        "partial": [attempt_texts.partial_output(one, project, full=True) for one in details.partial_outputs],
        "saved": details.saved_outputs,
        "compared": states is not None,
    }


def _file(kind: str, one: FileContent, project: str, state: tuple[str, str] | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": reasons.named_file(one.name) if one.implicit else words.one_line(one.name),
        "key": one.name,
        "path": shown_path(one.path, project),
        "digest": reasons.short_digest(one.digest) if one.digest else "was not there",
        "state": state if one.compared else ("", "written by the attempt"),
    }


def shown_path(path: str, project: str) -> str:
    """Return a path as people read it: relative to the project's folder."""
    return words.one_line(path.removeprefix(f"{project.rstrip('/')}/"))


def _attempt(session: Session, query: Query) -> Values:
    """Return one attempt: its steps and subtasks, parameters, resources, environment, result and actions."""
    job = row_of(session, query).job
    chosen = chosen_attempt(session, job, query)
    if chosen is None:
        template = job_queries.templates_of(session, [job])[job.id]
        return {"attempt": None, "names": [step.name for step in template.steps]}
    details = attempt_summary(session, chosen.id)
    one = details.attempt
    with session.store.read() as archive:
        context = attempt_context(archive, one)
        original = archive.workflows.params(one.workflow, one.revision)
    template = job_queries.template_of(session, one)
    modified = decode_overrides(one.overrides)
    return {
        "attempt": one,
        "job": job,
        "fan_out": _items(session, one, query),
        "facts": [(name, text) for name, text in facts.attempt_facts(details) if text and name not in _ELSEWHERE],
        "steps": _steps(details, [step.name for step in template.steps]),
        "params": _params(context, original, set(modified.params)),
        "resources": _resources(context.resources or template.resources, template.resources, one),
        "environment": [reasons.part_text(*each) for each in details.environment.items()],
        "env": {**mask_env(template.env), **mask_env(modified.env)},
        "modified_env": set(modified.env),
        "result": _text(one.result),
        "actions": [(step.name, mask_json_text(step.action)) for step in one.steps if step.action],
        "in_force": details.in_force,
    }


def _steps(details: AttemptDetails, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the steps of an attempt: those that have ended, the one that runs, and those to come."""
    one = details.attempt
    ended: dict[int, StepOutcome] = {step.position: step for step in one.steps if step.state in ENDED}
    running = max([one.start_step, *(position + 1 for position in ended)]) if one.state is State.RUNNING else None
    found = []
    for position, name in enumerate(names):
        step, by_state = ended.get(position), details.counts.get((one.id, position))
        found.append(
            {
                "position": position,
                "name": name,
                "state": step.state.label if step else "running" if position == running else None,
                "cause": attempt_texts.full_cause(step) if step else "",
                "verdict": attempt_texts.verdict(step.verdict) if step else "",
                "seconds": words.seconds(step.started, step.ended) if step else None,
                "kept_from": step.kept_from if step else None,
                "items": by_state,
                "done": by_state and (by_state.get(State.COMPLETED, 0), sum(by_state.values())),
                "log": f"/attempts/{one.id}/log?step={position}&stream=",
            }
        )
    return found


def _params(context: AttemptContext, original: Mapping[str, Any], modified: set[str]) -> list[dict[str, Any]]:
    """Return the parameters that an attempt ran with; those that a rerun or an action changed with the first value."""
    rows = [
        {
            "name": name,
            "value": mask_field(f"params.{name}", value),
            "was": mask_field(f"params.{name}", original.get(name)) if value != original.get(name) else None,
            "modified": name in modified,
            "changed": value != original.get(name) or name not in original,
        }
        for name, value in context.params.items()
    ]
    matrix = mask_matrix(context.matrix)
    return [{"name": f"matrix.{name}", "value": value, "changed": False} for name, value in matrix.items()] + rows


def _resources(asked: Resources, template: Resources, one: Attempt) -> list[tuple[str, str, str, str]]:
    """Return (name, what the attempt asked, what the definition asks if that differs, what it used)."""
    wall = words.seconds(one.started, one.ended)
    cpus = f"{one.cpu_seconds / wall:.2f}" if wall and one.cpu_seconds is not None else ""
    cpu_seconds = f"{cpus} on average ({words.duration(one.cpu_seconds)} of processor time)" if cpus else ""
    size, duration = _memory, words.duration
    rows = [
        ("processors", f"{asked.cpus:g}", f"{template.cpus:g}", cpu_seconds),
        (
            "memory",
            size(asked.memory),
            size(template.memory),
            f"{size(one.max_rss_bytes)} at most" if one.max_rss_bytes else "",
        ),
        ("time", duration(asked.time) or "no limit", duration(template.time) or "no limit", duration(wall)),
        ("gpus", str(asked.gpus), str(template.gpus), ""),
        *((name, str(number), str(number), "") for name, number in asked.licences),
        *(("option", text, text, "") for text in asked.options),
    ]
    return [
        (name, given, before if before != given else "", used)
        for name, given, before, used in rows
        if name != "gpus" or given != "0" or before != "0"
    ]


def _memory(size: int | None) -> str:
    return format_size(size) if size else "not said"


def _text(result: str | None) -> str:
    if result is None:
        return ""
    text = json.dumps(json.loads(mask_json_text(result)), indent=1, ensure_ascii=False)
    return words.printable(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}\n…")


def _items(session: Session, attempt: Attempt, query: Query) -> dict[str, Any] | None:
    """Return a page of the subtasks of one fan-out step of an attempt, failed ones first; None if it has none."""
    first = number_of(query, "items") or 0
    fan_outs = sorted(position for _, position in job_queries.subtask_counts(session, [attempt]))
    if not fan_outs:
        return None
    failed = [step.position for step in attempt.steps if step.cause is not None and step.position in fan_outs]
    wanted = number_of(query, "step")
    position = wanted if wanted in fan_outs else (failed or fan_outs)[0]
    every = job_queries.subtasks_of_step(session, attempt.id, position or 0)
    every.sort(key=lambda one: (one.cause is None, one.state is State.COMPLETED, one.index))
    names = job_queries.step_names(session, attempt)
    return {
        "step": position,
        "name": names[position or 0],
        "steps": [(one, names[one]) for one in fan_outs],
        "counts": counts(every),
        "total": len(every),
        "rows": [_item(attempt, position or 0, one) for one in every[first : first + ITEMS]],
        "first": first,
        "next": first + ITEMS if first + ITEMS < len(every) else None,
        "previous": max(0, first - ITEMS) if first else None,
        "page": ITEMS,
    }


def _item(attempt: Attempt, position: int, one: Subtask) -> dict[str, Any]:
    return {
        "one": one,
        "item": json.loads(one.item),
        "cause": attempt_texts.cause(one),
        "seconds": words.seconds(one.started, one.ended),
        "elsewhere": one.attempt if one.attempt != attempt.id else None,
        "log": f"/attempts/{attempt.id}/log?step={position}&item={one.index}&stream=",
    }


def _diff(session: Session, query: Query) -> Values:
    """Return what differs between two attempts. Outputs are read for a limited time."""
    deadline = time.monotonic() + COMPARE_SECONDS

    def progress(_: int, __: int) -> None:
        if time.monotonic() > deadline:
            hint = f"rekindle attempts diff {a} {b}"
            raise Refused(
                f"the outputs are too large to compare in {COMPARE_SECONDS:.0f} s", hint=f"compare them by `{hint}`"
            )

    a, b = id_of(query, "a"), id_of(query, "b")
    found = compare_attempts(session, a, b, progress)
    jobs = {row.job.id: row.job for row in job_queries.jobs(session, sorted({found.a.job, found.b.job}))}
    blocks = [each for each in found.fields if differences.is_block(each)]
    defined = {each.field for each in found.fields}
    rows = [each for each in found.fields if each not in blocks and f"template.{each.field}" not in defined]
    sides = [{"one": one, "job": jobs[one.job], "cause": attempt_texts.cause(one)} for one in (found.a, found.b)]
    return {
        "title": f"Attempts {a} and {b}",
        "sides": sides,
        "rows": [
            (differences.field_name(each.field), *differences.values(each, _WIDTH)) for each in rows[:_MOST_DIFFERENCES]
        ],
        "more": max(0, len(rows) - _MOST_DIFFERENCES),
        "blocks": [(each.field, [*reasons.command_diff(each.a, each.b)][:_MOST_LINES]) for each in blocks],
        "outputs": [_output(one, (a, b)) for one in found.outputs],
        "logs": found.logs,
        "same": not (found.fields or found.outputs or found.logs),
        "steps": {one.id: job_queries.step_names(session, one) for one in (found.a, found.b)},
    }


def _output(one: OutputDiff, ids: tuple[int, int]) -> dict[str, Any]:
    lost = [f"that of attempt {number} is {why}" for number, why in zip(ids, one.lost, strict=True) if why is not None]
    note = ", ".join(lost) or one.why or ("" if one.lines else "the ends of lines differ")
    return {
        "name": one.name,
        "note": note,
        "lines": one.lines[:_MOST_LINES],
        "more": max(0, len(one.lines) - _MOST_LINES),
    }
