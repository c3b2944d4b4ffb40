"""Overrides that a new revision outdates: what a rerun had modified, of which the spec now says something else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekindle.domain.definition import JobTemplate
from rekindle.domain.errors import RekindleError
from rekindle.domain.overrides import Modified
from rekindle.domain.texts.quantities import format_duration, format_size
from rekindle.domain.texts.secrets import masked_field
from rekindle.domain.texts.substitution import render
from rekindle.domain.texts.values import NOT_SET, value_text

_MISSING = object()
_NAMED = 5  # jobs that a warning names


@dataclass(frozen=True, slots=True)
class Spec:
    """What a revision says of a job, as far as a rerun can modify it."""

    template: JobTemplate
    params: Mapping[str, Any]

    def says(self, name: str) -> Any:
        """The value under a name that `Modified.named` has; _MISSING where there is none."""
        kind, _, rest = name.partition(".")
        if kind == "params":
            return self.params.get(rest, _MISSING)
        if kind == "env":
            return self._variable(rest)
        return getattr(self.template.resources, kind)

    def _variable(self, name: str) -> Any:
        text = self.template.env.get(name, _MISSING)
        if not isinstance(text, str) or "${" not in text:
            return text
        try:
            return render(text, {"params": self.params})
        except RekindleError:  # it also uses values of the matrix, or of the job
            used = {key: value for key, value in self.params.items() if f"params.{key}" in text}
            return text if not used else f"{text} with {json.dumps(used, sort_keys=True)}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """An override that was dropped, with what the spec said and says."""

    job: str
    name: str  # as Modified.named has it
    value: Any
    before: Any
    after: Any


def outdated(modified: Modified, before: Spec, after: Spec) -> dict[str, tuple[Any, Any]]:
    """By name: the two values, of the overrides under which the spec has changed."""
    found = {}
    for name in modified.named():
        one, other = before.says(name), after.says(name)
        if (one is _MISSING) != (other is _MISSING) or (one is not _MISSING and _text(one) != _text(other)):
            found[name] = (one, other)
    return found


def dropped_of(job: str, modified: Modified, found: Mapping[str, tuple[Any, Any]]) -> Iterator[Dropped]:
    """The overrides that `outdated` has found, as they are reported."""
    values = modified.named()
    for name, sides in found.items():
        value, before, after = (one if one is _MISSING else masked_field(name, one) for one in (values[name], *sides))
        yield Dropped(job, name, value, before, after)


def warnings_of(dropped: Sequence[Dropped]) -> tuple[str, ...]:
    """`j: the override a=3 is dropped: the spec now says a = 7 (was 1)`, once for all jobs of which it is true."""
    alike: dict[str, list[str]] = {}
    for one in dropped:
        kind, _, rest = one.name.partition(".")
        name = rest or kind
        value, before, after = (_shown(kind, each) for each in (one.value, one.before, one.after))
        now = f"no longer sets {name}" if one.after is _MISSING else f"now says {name} = {after}"
        text = f"the override {name}={value} is dropped: the spec {now} (was {before})"
        alike.setdefault(text, []).append(one.job)
    return tuple(f"{_jobs(jobs)}: {text}" for text, jobs in alike.items())


def _jobs(jobs: Sequence[str]) -> str:
    more = f" and {len(jobs) - _NAMED:,} more" if len(jobs) > _NAMED else ""
    return ", ".join(jobs[:_NAMED]) + more


def _shown(kind: str, value: Any) -> str:
    if value is _MISSING or (value is None and kind == "time") or (value == 0 and kind == "memory"):
        return NOT_SET
    if kind == "memory":
        return format_size(int(value))
    if kind == "time":
        return format_duration(value)
    return f"{value:g}" if kind == "cpus" else value_text(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
