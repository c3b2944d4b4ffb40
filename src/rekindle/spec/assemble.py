"""A tree becomes a Definition, or every problem in it is told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekindle.domain.definition import Definition
from rekindle.domain.errors import RekindleError
from rekindle.domain.graph import find_cycle
from rekindle.domain.texts import substitution
from rekindle.domain.texts.jobnames import composed
from rekindle.domain.texts.nearest import did_you_mean
from rekindle.spec.entries import Draft, read_defaults, read_job
from rekindle.spec.flows import Flows
from rekindle.spec.needs import Needs
from rekindle.spec.nodes import Node, Table, describe, from_python
from rekindle.spec.problems import Place, Problems
from rekindle.spec.roster import Edges, Roster
from rekindle.spec.scalars import typed_value
from rekindle.spec.values import JOB_NAME, VALUE_NAME, check_keys, data, named, plain_text, table, texts_within

_KEYS = ("name", "project", "params", "defaults", "workdir", "env", "stale_on", "implicit_inputs", "jobs")
_FREE = "x-"
_SHOWN_OF_CYCLE = 12
_OUTLINE = "a spec is `name: …` and `jobs: …`, with a `run` for each job"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a spec comes from: see Definition."""

    directory: str
    source: str | None = None
    digest: str | None = None


def assemble(root: Node | None, given: Mapping[str, str], origin: Origin, problems: Problems) -> Definition:
    """The definition that a tree describes, with `given` (`--param`) in place of parameters it declares.

    Raises SpecError with every problem found here and before."""
    if root is None:
        if not problems:
            problems.add(Place(), "the spec is empty", _OUTLINE)
        problems.raise_any()
    top = table(root, "the spec", problems)
    if top is None:
        problems.raise_any()
        raise AssertionError("a spec that is no mapping has been told")
    _check_keys(top, problems)
    name, project = _name(top, problems), plain_text(top.get("project"), "`project`", problems)
    params = _params(top, given, problems)
    drafts, unknown = _drafts(top, params, problems)
    roster = Roster(drafts, unknown, params, problems)
    edges = _edges(roster, origin.directory, problems)
    problems.raise_any()
    return Definition(
        name=name,
        directory=origin.directory,
        templates=tuple(draft.template for draft in drafts),
        jobs=roster.jobs,
        edges=edges,
        project=project,
        params=params,
        source=origin.source,
        source_digest=origin.digest,
    )


def _check_keys(top: Table, problems: Problems) -> None:
    """Report the keys that a spec does not have. One that begins with `x-` is free, for anchors: nothing reads it."""
    read = {key: entry for key, entry in top.entries.items() if not key.startswith(_FREE)}
    check_keys(Table(top.place, read), _KEYS, "a spec", problems)


def _name(top: Table, problems: Problems) -> str:
    if "name" not in top.entries:
        problems.add(top.place, "the spec has no `name`", "as in `name: sweep`; the workflow is known by it")
        return ""
    node = top.entries["name"].node
    name = composed(plain_text(node, "`name`", problems) or "")
    if name and (name.isdecimal() or name != name.strip() or not name.isprintable()):
        problems.add(
            node.place, f"{name!r:.60} cannot be a workflow's name", "not digits alone (those are ids), and one line"
        )
    return name


def _params(top: Table, given: Mapping[str, str], problems: Problems) -> dict[str, Any]:
    params = {}
    for name, entry in named(top.get("params"), "`params`", VALUE_NAME, problems).items():
        for written, place in texts_within(entry.node):
            _check_literal(written, place, problems)
        params[name] = data(entry.node, f"the parameter {name!r}", problems)
    for typed, written in given.items():
        name = composed(typed)
        place = Place(path=f"--param {name}")
        if name in params:
            params[name] = data(_given(written, place, problems), f"the parameter {name!r}", problems)
        else:
            problems.add(
                place, f"the spec declares no parameter {name!r}", did_you_mean(name, params) or "see `params:`"
            )
    return params


def _check_literal(written: str, place: Place, problems: Problems) -> None:
    """A parameter's value is taken as it stands: a `${…}` of ours in it would never be filled in."""
    try:
        found = substitution.references(written)
    except RekindleError:
        return
    if found:
        problems.add(place, f"{found[0].text} is not filled in within `params`", "put it where the parameter is used")


def _given(written: str, place: Place, problems: Problems) -> Node:
    """What `--param name=…` means: JSON where it looks like it, else as unquoted in YAML."""
    return from_python(typed_value(written), place, problems)


def _drafts(top: Table, params: Mapping[str, Any], problems: Problems) -> tuple[list[Draft], set[str]]:
    """The entries of `jobs:`, and the names of those whose jobs are not known, because something is wrong in them."""
    base = read_defaults(top, problems)
    if "jobs" not in top.entries:
        problems.add(top.place, "the spec has no `jobs`", _OUTLINE)
        return [], set()
    node = top.entries["jobs"].node
    jobs = table(node, "`jobs`", problems)
    if jobs is None:
        return [], set()
    if not jobs.entries:
        problems.add(node.place, "`jobs` is empty", _OUTLINE)
        return [], set()
    drafts = []
    unknown = set()
    seen: set[str] = set()
    for typed, entry in jobs.entries.items():
        name = composed(typed)
        if name in seen:
            problems.add(entry.place, f"the job {name!r} is there already", "the two differ only in how é is composed")
        seen.add(name)
        named_well = JOB_NAME.matches(name)
        if not named_well:
            problems.add(entry.place, f"{name!r:.60} cannot be the name of a job", JOB_NAME.rule)
        if not isinstance(entry.node, Table):
            problems.add(
                entry.node.place, f"the job {name!r:.60} must be a mapping, and is {describe(entry.node)}", _OUTLINE
            )
            unknown.add(name)
            continue
        draft = read_job(name, entry.place, entry.node, base, params, problems)
        if named_well and draft.expansion.sound:
            drafts.append(draft)
        else:
            unknown.add(name)
    return drafts, unknown


def _edges(roster: Roster, directory: str, problems: Problems) -> Sequence[tuple[int, int]]:
    """The edges that needs and files make; a circle among them is told job by job."""
    edges = Edges(roster, problems)
    Needs(roster, edges, problems).follow()
    Flows(roster, edges, directory, problems).follow()
    pairs = edges.pairs()
    cycle = find_cycle(len(roster.jobs), pairs)
    if cycle:
        place = edges.place(cycle[-1], cycle[0])
        problems.add(place, f"jobs need each other in a circle: {_told(cycle, roster)}", "take one of these needs out")
    return pairs


def _told(cycle: Sequence[int], roster: Roster) -> str:
    """`a needs b needs a`: against the direction of the edges, as one says it."""
    names = [roster.jobs[job].name for job in (cycle[0], *reversed(cycle))]
    if len(names) > _SHOWN_OF_CYCLE:
        left_out = len(names) - _SHOWN_OF_CYCLE
        names[_SHOWN_OF_CYCLE // 2 : -_SHOWN_OF_CYCLE // 2] = [f"… ({left_out} more) …"]
    return " needs ".join(names)
