"""Jobs that a running job adds: read by the code that reads `jobs:`, with the same checks.

What an entry does not say, it has from the job that adds it: resources, environment, working directory, priority,
retry. An entry may have `values`: matrix values, of any JSON, for its one job, which keeps the entry's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rekindle.domain.definition import JobNode, JobTemplate
from rekindle.domain.graph import find_cycle
from rekindle.domain.texts.jobnames import composed
from rekindle.domain.texts.substitution import references, render
from rekindle.spec.declared import Telling
from rekindle.spec.entries import Defaults, Draft, read_job
from rekindle.spec.flows import Flows, PathIndex, absolute
from rekindle.spec.nodes import Table, from_python
from rekindle.spec.problems import Place, Placed, Problems
from rekindle.spec.roster import Edges, Roster
from rekindle.spec.values import JOB_NAME


@dataclass(frozen=True, slots=True)
class Outside:
    """What added jobs can see of the workflow that they join."""

    named: Callable[[str], Sequence[int]]  # the jobs that a name, an entry's name or a glob means
    outputs: Callable[[], Mapping[str, int]]  # the jobs that declare outputs, by absolute path
    directory: str  # the project's folder


@dataclass(frozen=True, slots=True)
class Additions:
    """Jobs to add, checked. Positions are those in `jobs`."""

    templates: Sequence[JobTemplate]
    jobs: Sequence[JobNode]
    edges: Sequence[tuple[int, int]]  # among themselves
    needs: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # position -> ids of jobs outside


def read_additions(
    entries: Sequence[Mapping[str, Any]], base: JobTemplate, params: Mapping[str, Any], outside: Outside, where: str
) -> Additions:
    """The jobs that the entries describe. Raises SpecError with every problem; `where` stands for the file."""
    problems = Problems(where)
    drafts, unknown = _drafts(entries, base, params, problems)
    roster = Roster(drafts, unknown, params, problems)
    edges = Edges(roster, problems)
    needs: dict[int, dict[int, None]] = {}
    for entry, draft in enumerate(drafts):
        for need in draft.needs:
            _follow(roster, entry, need, edges, needs, outside, problems)
    Flows(roster, edges, outside.directory, problems).follow()
    _flow_outside(roster, needs, outside, problems)
    pairs = edges.pairs()
    cycle = find_cycle(len(roster.jobs), pairs)
    if cycle:
        names = " needs ".join(roster.jobs[job].name for job in (cycle[0], *reversed(cycle)))
        problems.add(Place(), f"jobs need each other in a circle: {names}", "take one of these needs out")
    problems.raise_any()
    templates = [draft.template for draft in drafts]
    return Additions(templates, roster.jobs, pairs, {job: tuple(found) for job, found in needs.items()})


def _drafts(
    entries: Sequence[Mapping[str, Any]], base: JobTemplate, params: Mapping[str, Any], problems: Problems
) -> tuple[list[Draft], set[str]]:
    env = {name: Placed(text, Place(path="env").at(name)) for name, text in base.env.items()}
    defaults = Defaults(
        *(base.resources, base.workdir, env, None, base.priority, Telling(), base.retry, base.grace, base.stale_on),
        leave_running=base.leave_running,
        partial=base.partial,
    )
    drafts, unknown = [], set()
    for entry in entries:
        name = composed(str(entry["name"]))
        place = Place(path=name)
        values = entry.get("values")
        if values is not None and not isinstance(values, Mapping):
            problems.add(place, f"`values` must be a mapping, and is {values!r:.60}", "as in {alpha: 0.1}")
            values = None
        node = from_python({key: one for key, one in entry.items() if key not in ("name", "values")}, place, problems)
        if not JOB_NAME.matches(name):
            problems.add(Place(), f"{name!r:.60} cannot be the name of a job", JOB_NAME.rule)
        if not isinstance(node, Table):
            continue
        draft = read_job(name, place, node, defaults, params, problems, values)
        if draft.expansion.sound:
            drafts.append(draft)
        else:
            unknown.add(name)
    return drafts, unknown


def _follow(
    roster: Roster,
    entry: int,
    need: Placed,
    edges: Edges,
    needs: dict[int, dict[int, None]],
    outside: Outside,
    problems: Problems,
) -> None:
    """What each job of an entry needs: jobs that are added with it, else jobs that are there."""
    varies = bool(references(need.text))
    found: dict[str, tuple[list[int], Sequence[int]]] = {}
    for job in roster.spans[entry]:
        name = roster.need(need.text, job) if varies else need.text
        if name not in found:
            found[name] = _meant(roster, entry, name, outside)
        own, others = found[name]
        if job in own:
            problems.add(need.place, f"the job {roster.jobs[job].name!r} needs itself", "take it out")
        elif not own and not others and not roster.may_be(name):
            hint = roster.nearest(name) or "a job of the spec, or of the same action"
            problems.add(need.place, f"there is no job {name!r:.80}", hint)
        edges.add(own, (job,), need.place)
        needs.setdefault(job, {}).update(dict.fromkeys(others))


def _meant(roster: Roster, entry: int, name: str, outside: Outside) -> tuple[list[int], Sequence[int]]:
    if "*" in name or "?" in name:
        span = roster.spans[entry]
        return [job for job in roster.matching(name) if job not in span], outside.named(name)
    own = list(roster.named(name) or ())
    return own, () if own else outside.named(name)


def _flow_outside(roster: Roster, needs: dict[int, dict[int, None]], outside: Outside, problems: Problems) -> None:
    """Files: a job outside is needed if it writes what one of these reads; no file or directory has two writers."""
    if not any(draft.inputs or draft.outputs for draft in roster.drafts):
        return
    written = PathIndex(outside.outputs())
    for entry, draft in enumerate(roster.drafts):
        for job in roster.spans[entry]:
            for path in draft.inputs.values():
                for writer in written.of(_absolute(roster, job, path, outside)):
                    needs.setdefault(job, {})[writer] = None
            for path in draft.outputs.values():
                own_folder = draft.template.workdir == "attempt" and not path.text.startswith("/")
                if not own_folder and written.of(_absolute(roster, job, path, outside)):
                    message = f"{roster.jobs[job].name} and a job of the workflow both write {path.text}"
                    problems.add(path.place, message, "every output has one writer")


def _absolute(roster: Roster, job: int, path: Placed, outside: Outside) -> str:
    return absolute(outside.directory, render(path.text, roster.scope(job)))
