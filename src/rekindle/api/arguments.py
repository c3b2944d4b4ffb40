"""Arguments of the Python API, checked where a user gives them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from rekindle.domain.definition import Definition
from rekindle.domain.errors import BadValue, PlanRefused, UsageError
from rekindle.domain.selection import Selection
from rekindle.domain.texts.display import did_you_mean
from rekindle.domain.texts.quantities import MOST_INTEGER, parse_duration, parse_size
from rekindle.engine.queries import selections
from rekindle.engine.results import PlannedRerun, PlannedRestart
from rekindle.query.selections import SelectionFlags, parse_selection
from rekindle.spec.builder import Workflow as Builder

if TYPE_CHECKING:
    from rekindle.engine.session import Session

StorePath = str | os.PathLike[str]
"""A store: a folder, or a URL such as `sqlite:///path` or `postgresql://host/database`."""

Jobs = Selection | Sequence[int] | int
"""Jobs: a selection, ids, or one id."""

Spec = Builder | Definition | str | os.PathLike[str]
"""A workflow: one made in Python, its definition, or the path of a spec file."""


class SelectFlags(TypedDict, total=False):
    """The flags of `Client.select`, as on the command line. Flags of different kinds narrow each other."""

    workflow: str | int | None
    id: str | int | Sequence[str | int]
    name: str | Sequence[str]
    state: str | Sequence[str]
    filter: str | Sequence[str]
    query: str | Sequence[str]
    error: str | None
    archived: bool
    signature: str | None
    changed: bool | Literal["all"]
    from_file: str | Sequence[str]
    tainted_by: int | Sequence[int]
    all: bool


_FIELDS = {
    "state": "states",
    "filter": "filters",
    "query": "queries",
    "id": "ids",
    "name": "names",
    "all": "everything",
    "from_file": "from_files",
}
"""Flags whose field of SelectionFlags has another name."""

_ALSO = ("states", "filters", "queries", "ids", "names", "everything", "from_files")
"""Fields that are taken as flags, too."""


def selection_flags(jobs: Sequence[int | str], flags: Mapping[str, Any]) -> SelectionFlags:
    """Return the flags of a selection. Raise UsageError for an unknown one, with the most similar."""
    given: dict[str, Any] = {"jobs": tuple(str(job) for job in jobs)}
    known = [*SelectFlags.__annotations__]
    for flag, value in flags.items():
        if flag not in (*known, *_ALSO):
            raise UsageError(f"select() knows no flag {flag!r}", hint=did_you_mean(flag, known))
        name = _FIELDS.get(flag, flag)
        if name == "workflow":
            given[name] = None if value is None else str(value)
        elif name in ("error", "signature", "archived", "changed", "everything"):
            given[name] = value
        elif name == "tainted_by":
            given[name] = (value,) if isinstance(value, int) else tuple(value)
        else:
            several = (value,) if isinstance(value, str | int) else tuple(value)
            given[name] = tuple(str(one) for one in several)
    return SelectionFlags(**given)


def job_ids(session: Session, jobs: Jobs) -> list[int]:
    """Return the ids of jobs. BadValue for anything else than a selection and whole numbers."""
    if isinstance(jobs, Selection):
        return selections.select(session, jobs)
    return [*checked_jobs(jobs)]  # type: ignore[misc]  # a sequence, for it is no Selection


def checked_jobs(jobs: Jobs) -> Selection | Sequence[int]:
    """Return a selection as it is, else ids. BadValue for anything else."""
    if isinstance(jobs, Selection):
        return jobs
    alone = hasattr(jobs, "__index__") and not hasattr(jobs, "__len__")
    if isinstance(jobs, str | bytes | Mapping) or not (alone or hasattr(jobs, "__iter__")):
        raise BadValue(f"{jobs!r:.60} is neither a selection nor ids", hint=f"client.selection({jobs!r:.60})")
    ids: list[Any] = [jobs] if alone else list(jobs)  # type: ignore[arg-type]  # a sequence, for it is no number
    for one in ids:
        if isinstance(one, bool) or not hasattr(one, "__index__"):
            raise BadValue(f"{one!r:.60} is no job's id", hint="client.selection(name=…), or ids of client.select(…)")
    return [int(one) for one in ids]


def check_plan(plan: object) -> None:
    """Raise BadValue for anything else than the plan of a rerun."""
    if isinstance(plan, PlannedRerun):
        return
    if isinstance(plan, str | os.PathLike):
        hint = f"client.plans.load({os.fspath(plan)!r}) reads a saved plan"
    elif isinstance(plan, PlannedRestart):
        hint = "client.restart(workflow), or client.apply(planned.proposal)"
    else:
        hint = "client.plan_rerun(jobs) makes one"
    raise BadValue(f"{plan!r:.60} is not the plan of a rerun", hint=hint)


def no_job(jobs: Jobs) -> PlanRefused:
    """Return the error of an operation on no job at all."""
    what = "the selection matches no job" if isinstance(jobs, Selection) else f"no job is given: {jobs!r:.60}"
    return PlanRefused(f"nothing can be rerun: {what}", hint="`rekindle status` shows how many jobs are in which state")


def seconds(name: str, given: float | str | None) -> float | None:
    """Return a duration in seconds, from a number or a text such as "1h30m". BadValue names the argument."""
    if isinstance(given, str):
        try:
            return parse_duration(given)
        except BadValue as bad:
            raise BadValue(f"{name}={given!r}: {bad.message}", hint=bad.hint) from None
    if given is None or (type(given) in (int, float) and 0 <= given <= _MOST_SECONDS):
        return given
    raise BadValue(
        f"{name}={given!r} is neither a number of seconds nor a duration", hint=f'{name}=90 or {name}="1h30m"'
    )


def size(name: str, given: int | str | None) -> int | None:
    """Return a size in bytes, from a number or a text such as "20G". BadValue names the argument."""
    if isinstance(given, str):
        try:
            return parse_size(given)
        except BadValue as bad:
            raise BadValue(f"{name}={given!r}: {bad.message}", hint=bad.hint) from None
    if given is None or (type(given) is int and given >= 0):
        return given
    raise BadValue(f"{name}={given!r} is neither a number of bytes nor a size", hint=f'{name}=1 << 30 or {name}="20G"')


_MOST_SECONDS = 1e12


def count(name: str, given: int | None) -> int | None:
    """Return a whole number that is at least 1. Raise BadValue with the argument's name for others."""
    if given is None or (type(given) is int and 1 <= given <= MOST_INTEGER):
        return given
    raise BadValue(f"{name}={given!r} is not a whole number of at least 1", hint=f"{name}=2")


def store_url(given: StorePath | None) -> str | None:
    """Return a store's path or URL as a text."""
    return None if given is None else os.fspath(given)


def workflow_key(given: str | int | None) -> str | None:
    """Return a workflow's name or id as a text."""
    return None if given is None else str(given)


def definition(given: Spec, params: Mapping[str, Any]) -> Definition:
    """Return the definition of a workflow. `params` are for a spec file only."""
    if isinstance(given, Builder | Definition):
        if params:
            raise UsageError(
                f"parameters are set for spec files only: {', '.join(params)}", hint="Workflow(…, params={…})"
            )
        return given if isinstance(given, Definition) else given.definition()
    from rekindle.spec import load

    return load(Path(given), params=param_texts(params))


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of parameters as they are typed on the command line."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}


def selection(session: Session, jobs: Sequence[int | str], flags: Mapping[str, Any]) -> Selection:
    """Return the selection of flags; an empty one without any, and with an empty list of ids, names or states."""
    given = [value for flag, value in flags.items() if _FIELDS.get(flag, flag) in ("ids", "names", "states")]
    if any(not isinstance(value, str | int) and not tuple(value) for value in given):
        return Selection()
    return parse_selection(selection_flags(jobs, flags), session.clock)
