"""The law of staleness: what an attempt depended on, beside what its job depends on now.

Each part is compared by itself, and what differs becomes typed reasons. Fields of a definition that do not matter to
the result (names, resources, priority, retries, how files are told apart) do not count, and parameters, matrix values
and outer variables count only where the definition uses them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rekindle.domain.changes.outside import functions_called, outer_variables, texts_of
from rekindle.domain.changes.prints import ABSENT, Content, Matched
from rekindle.domain.definition import Each, JobTemplate
from rekindle.domain.errors import UnknownWord
from rekindle.domain.overrides import NOTHING, Modified
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.texts.secrets import masked_field
from rekindle.domain.texts.substitution import Reference, references

OPAQUE = "attempt:"
"""What a job came to begins so where it left nothing that could be compared: it is only ever equal to itself."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What became of measuring an attempt. No reasons and `comparable`: it is current; no reasons and not comparable:
    it is unknown."""

    job: int
    attempt: int
    reasons: tuple[Reason, ...]
    comparable: bool  # beside its definition there was something to compare: files, code, or what a needed job left
    warnings: tuple[Reason, ...] = ()  # what differs and does not make it stale
    recorded: bool = True  # its worker recorded what it depended on

    def strict(self) -> Assessment:
        """Return the assessment for which all that differs makes an attempt stale."""
        return replace(self, reasons=(*self.reasons, *self.warnings), warnings=()) if self.warnings else self

    @property
    def stale(self) -> bool | None:
        """None: it is unknown."""
        return True if self.reasons else False if self.comparable else None


@dataclass(frozen=True, slots=True)
class ComparedPart:
    """Something that an attempt was compared by, or would be if no job wrote it. Kinds are those of the reasons that a
    change of it would give; a command and a function are DEFINITION."""

    kind: ReasonKind
    name: str
    path: str | None = None  # of a file
    implicit: bool = False  # it is a file that is not declared, but named in a command


@dataclass(frozen=True, slots=True)
class Defined:
    """What an attempt runs: a template, and the values that fill it in."""

    template: JobTemplate
    params: Mapping[str, Any]  # without what a rerun modified
    matrix: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Used:
    """The values that a template's texts name, as paths into parameters and matrix values. `everything`: it calls a
    function, which may look at any of them."""

    params: frozenset[tuple[str, ...]]
    matrix: frozenset[tuple[str, ...]]
    outer: tuple[str, ...]  # variables that it takes from around it
    everything: bool


def used_by(template: JobTemplate, env: Mapping[str, str] | None = None) -> Used:
    """What a template uses, with `env` set on top of its own variables."""
    variables = {**template.env, **(env or {})}
    params: set[tuple[str, ...]] = set()
    matrix: set[tuple[str, ...]] = set()
    texts = [*variables.values(), *template.inputs.values(), *template.outputs.values()]
    texts += [text for step in template.steps for text in texts_of(step)]
    for text in texts:
        for reference in _references(text):
            if reference.scope == "params":
                params.add(reference.path)
            elif reference.scope == "matrix":
                matrix.add(reference.path)
    return Used(
        frozenset(params),
        frozenset(matrix),
        outer_variables(template.steps, variables),
        bool(functions_called(template.steps)),
    )


def redefined(
    then: Defined, now: Defined, modified: Modified = NOTHING, modified_now: Modified | None = None
) -> tuple[Reason, ...]:
    """DEFINITION and PARAMETER reasons. `modified` is what a rerun had modified for the attempt, `modified_now` what
    it has modified for the job's next attempt; None: the same."""
    following = modified if modified_now is None else modified_now
    same = modified == following and _text(modified.params) == _text(following.params)
    if same and then == now and _text(then.params) == _text(now.params) and _text(then.matrix) == _text(now.matrix):
        return ()
    reasons: list[Reason] = []
    if then.template is not now.template or modified.env != following.env:
        fields, before = fields_of(now.template, following.env), fields_of(then.template, modified.env)
        reasons += [
            Reason(
                ReasonKind.DEFINITION,
                {
                    "field": field,
                    "before": masked_field(field, before.get(field)),
                    "after": masked_field(field, fields.get(field)),
                },
            )
            for field in dict.fromkeys((*fields, *before))
            if _text(before.get(field)) != _text(fields.get(field))
        ]
    used = used_by(now.template, following.env)
    params = ({**then.params, **modified.params}, {**now.params, **following.params})
    reasons += _values(*params, None if used.everything else used.params, "")
    reasons += _values(then.matrix, now.matrix, None if used.everything else used.matrix, "matrix.")
    return tuple(reasons)


def uses_changed(template: JobTemplate, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a template uses a parameter that has another value after than before."""
    used = used_by(template)
    return any(True for _ in _values(before, after, None if used.everything else used.params, ""))


def essence(one: Defined, modified: Modified = NOTHING) -> str:
    """All of a definition, filled in, that matters to the result, as one text: what differs in nothing has the same."""
    used = used_by(one.template, modified.env)
    params = {**one.params, **modified.params}
    values = [
        values
        if used.everything
        else {".".join(path): value for path in paths if (value := _at(values, path)) is not _NOT_SET}
        for values, paths in ((params, used.params), (one.matrix, used.matrix))
    ]
    return _text([fields_of(one.template, modified.env), *values])


def fields_of(template: JobTemplate, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The fields that matter to the result, by dotted name, as JSON values. Steps go by their names, since one that
    is put in moves those behind it."""
    found: dict[str, Any] = {"steps": [step.name for step in template.steps]}
    for step in template.steps:
        parts: dict[str, Any] = {"run": step.run, "shell": step.shell, "call": step.call, "args": step.args or None}
        parts |= {f"each.{name}": value for name, value in _items_of(step.each).items()}
        found |= {f"steps.{step.name}.{name}": value for name, value in parts.items() if value is not None}
    for kind, texts in (("inputs", template.inputs), ("outputs", template.outputs)):
        found |= {f"{kind}.{name}": text for name, text in texts.items()}
    found |= {f"env.{name}": text for name, text in {**template.env, **(env or {})}.items()}
    return {**found, "workdir": template.workdir}


def _items_of(each: Each | None) -> dict[str, Any]:
    if each is None:
        return {}
    return {"glob": each.glob, "items": each.items, "run": each.run, "shell": each.shell, "call": each.call} | {
        "args": each.args or None
    }


def _values(
    before: Mapping[str, Any], after: Mapping[str, Any], used: Iterable[tuple[str, ...]] | None, prefix: str
) -> Iterator[Reason]:
    """PARAMETER reasons; `used` None: every value counts."""
    if before == after and _text(before) == _text(after):
        return
    paths = sorted(used if used is not None else {(name,) for name in (*before, *after)})
    for path in paths:
        one, other = _at(before, path), _at(after, path)
        if _text(one) != _text(other):
            name = prefix + ".".join(path)
            detail: dict[str, Any] = {"name": name, "before": one, "after": other}
            for side in ("before", "after"):
                if detail[side] is _NOT_SET:
                    detail |= {side: None, "not_set": side}
                else:
                    detail[side] = masked_field(name if prefix else f"params.{name}", detail[side])
            yield Reason(ReasonKind.PARAMETER, detail)


_NOT_SET = object()


def _at(values: Any, path: tuple[str, ...]) -> Any:
    """The value at a path; _NOT_SET where there is none."""
    for name in path:
        if isinstance(values, Mapping):
            values = values.get(name, _NOT_SET)
        elif isinstance(values, list | tuple) and name.isdecimal() and int(name) < len(values):
            values = values[int(name)]
        else:
            return _NOT_SET
    return values


def other_environment(then: Mapping[str, str], now: Mapping[str, str]) -> list[Reason]:
    """ENVIRONMENT reasons, from the digests of outer variables; a variable that was not recorded does not count."""
    return [
        Reason(
            ReasonKind.ENVIRONMENT,
            {"part": "variable", "name": name, "before": before or None, "after": now.get(name) or None},
        )
        for name, before in then.items()
        if before != now.get(name, ABSENT)
    ]


def other_file(
    kind: ReasonKind, then: Content, path: str, digest: str, matched: Matched | None = None
) -> Reason | None:
    """The INPUT or OUTPUT reason for a file that is not what it was; `path`, `digest` and, for the files of a pattern,
    `matched` are what it is now."""
    if then.digest == digest:
        return None
    detail: dict[str, Any] = {"name": then.name, "path": path}
    detail |= {"before": then.digest or None, "after": digest or None}
    if then.implicit:
        detail["implicit"] = True
    pattern = matched or then.matched
    if pattern is not None:
        detail["pattern"] = pattern.pattern
    if matched is not None and then.matched is not None and None not in (matched.files, then.matched.files):
        detail |= other_files(then.matched.files or {}, matched.files or {})
    return Reason(kind, detail)


NAMED_FILES = 20
"""Paths of each sort that a reason names."""


def other_files(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    """Compare the files that a pattern matched (digests by path) with those that it matches: the detail of a reason."""
    sorts = {
        "new": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in before.keys() & after.keys() if before[name] != after[name]),
    }
    counts = {sort: len(names) for sort, names in sorts.items()}
    return {**{sort: names[:NAMED_FILES] for sort, names in sorts.items()}, "counts": counts}


def other_result(job: int, name: str, before: str | None, after: str | None) -> Reason | None:
    """What a job that is needed came to, then and now (None: it was, or is, not needed): see `came_to`."""
    if before == after:
        return None
    if after is not None and after.startswith(OPAQUE) and before is not None:
        return Reason(ReasonKind.OPAQUE, {"job": job, "name": name})
    return Reason(ReasonKind.RESULT, {"job": job, "name": name, "before": before, "after": after})


def came_to(attempt: int, result: str | None, outputs: Iterable[Content]) -> str:
    """What a completed attempt came to, for the jobs that need it: 32 hexadecimal digits over its result (JSON text)
    and what its outputs hold. With neither it cannot be compared with another attempt."""
    made = sorted((one.name, one.digest) for one in outputs)
    if result is None and not made:
        return f"{OPAQUE}{attempt}"
    return hashlib.blake2b(json.dumps([result, made]).encode(), digest_size=16).hexdigest()


def _references(text: str) -> tuple[Reference, ...]:
    try:
        return references(text) if "${" in text else ()
    except UnknownWord:  # it cannot run: it names nothing
        return ()


def _text(value: Any) -> str:
    """As JSON, because Python takes true, 1 and 1.0 for the same value. Null is not the same as no value."""
    if value is _NOT_SET:
        return ""
    return json.dumps(value, sort_keys=True, default=str)
