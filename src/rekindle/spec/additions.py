"""Read the jobs that a running job adds, with the checks that `jobs:` of a spec file gets.

An added job inherits resources, environment, working directory, priority and retry rules from the job that adds it.
An entry may have `values`: the matrix values (any JSON) of its single job, which keeps the entry's name; `template`: a
name for its template, so that entries that differ in name and values only share one; and `takes_changes: false`: the
parameter changes that the same action makes are not for its jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from rekindle.domain.definition import JobNode, JobTemplate, normalize_name
from rekindle.domain.graph import find_cycle
from rekindle.domain.texts.substitution import find_references, render_text
from rekindle.spec.file_edges import FileEdges, PathIndex, absolute
from rekindle.spec.job_entries import Defaults, FileComparison, JobDraft, read_job_entry
from rekindle.spec.job_index import EdgeSet, JobIndex
from rekindle.spec.nodes import MappingNode, PlacedText, Problems, SourcePlace, from_python
from rekindle.spec.values import JOB_NAME


class ExistingJobs(msgspec.Struct, frozen=True):
    """The jobs of the workflow that added jobs join."""

    find: Callable[[str], Sequence[int]]  # the ids of the jobs that a name, entry name or glob matches
    outputs: Callable[[], Mapping[str, int]]  # the id of the job that writes each absolute path
    directory: str  # the project's folder


class Additions(msgspec.Struct, frozen=True):
    """Checked jobs to add. Positions are indexes into `jobs`."""

    templates: Sequence[JobTemplate]
    jobs: Sequence[JobNode]
    edges: Sequence[tuple[int, int]]  # (parent, child) among the added jobs
    needs: Mapping[int, tuple[int, ...]] = msgspec.field(default_factory=dict)  # position -> ids of existing jobs


def read_additions(
    entries: Sequence[Mapping[str, Any]],
    base: JobTemplate,
    params: Mapping[str, Any],
    existing: ExistingJobs,
    where: str,
) -> Additions:
    """Return the jobs that the entries describe.

    Raise SpecError with every problem, with `where` in place of a file name.
    """
    problems = Problems(where)
    drafts, unknown = _read_entries(entries, base, params, problems)
    job_index = JobIndex(drafts, unknown, params, problems)
    edges = EdgeSet(job_index, problems)
    needs: dict[int, dict[int, None]] = {}
    for entry, draft in enumerate(drafts):
        for need in draft.needs:
            _add_needs(job_index, entry, need, edges, needs, existing, problems)
    FileEdges(job_index, edges, existing.directory, problems).add_edges()
    _add_file_needs(job_index, needs, existing, problems)
    pairs = edges.pairs()
    cycle = find_cycle(len(job_index.jobs), pairs)
    if cycle:
        names = " needs ".join(job_index.jobs[job].name for job in (cycle[0], *reversed(cycle)))
        problems.add(SourcePlace(), f"jobs need each other in a cycle: {names}", "take one of these needs out")
    problems.raise_any()
    templates = [draft.template for draft in drafts]
    return Additions(templates, job_index.jobs, pairs, {job: tuple(found) for job, found in needs.items()})


_OWN_KEYS = ("name", "values", "template", "takes_changes")


def _read_entries(
    entries: Sequence[Mapping[str, Any]], base: JobTemplate, params: Mapping[str, Any], problems: Problems
) -> tuple[list[JobDraft], set[str]]:
    env = {name: PlacedText(text, SourcePlace(path="env").at(name)) for name, text in base.env.items()}
    defaults = Defaults(
        resources=base.resources,
        workdir=base.workdir,
        env=env,
        shell=None,
        priority=base.priority,
        files=FileComparison(),
        retry=base.retry,
        grace=base.grace,
        stale_on=base.stale_on,
        leave_running=base.leave_running,
        definition=base.definition,
        partial=base.partial,
        labels=base.labels,
        rerun_forbidden=base.rerun_forbidden,
        on_unknown_failure=base.on_unknown_failure,
        judge=base.judge,
        cache=base.cache,
        pure=base.pure,
    )
    drafts, unknown = [], set()
    for entry in entries:
        name = normalize_name(str(entry["name"]))
        place = SourcePlace(path=name)
        values = entry.get("values")
        if values is not None and not isinstance(values, Mapping):
            problems.add(place, f"`values` must be a mapping, and is {values!r:.60}", "as in {alpha: 0.1}")
            values = None
        if not isinstance(entry.get("takes_changes", True), bool):
            problems.add(place, f"`takes_changes` is true or false, not {entry['takes_changes']!r:.60}")
        node = from_python({key: one for key, one in entry.items() if key not in _OWN_KEYS}, place, problems)
        if not JOB_NAME.matches(name):
            problems.add(SourcePlace(), f"{name!r:.60} cannot be the name of a job", JOB_NAME.rule)
        if not isinstance(node, MappingNode):
            continue
        draft = read_job_entry(name, place, node, defaults, params, problems, values)
        if draft.expansion.valid:
            drafts.append(draft)
        else:
            unknown.add(name)
    return drafts, unknown


def _add_needs(
    job_index: JobIndex,
    entry: int,
    need: PlacedText,
    edges: EdgeSet,
    needs: dict[int, dict[int, None]],
    existing: ExistingJobs,
    problems: Problems,
) -> None:
    """Add what each job of an entry needs: jobs added with it first, else existing jobs."""
    varies = bool(find_references(need.text))
    found: dict[str, tuple[list[int], Sequence[int]]] = {}
    for job, node in job_index.of_entry(entry):
        name = job_index.need(need.text, node) if varies else need.text
        if name not in found:
            found[name] = _resolve(job_index, entry, name, existing)
        own, others = found[name]
        if job in own:
            problems.add(need.place, f"the job {node.name!r} needs itself", "take it out")
        elif not own and not others and not job_index.may_mean_unknown_job(name):
            hint = job_index.nearest(name) or "a job of the spec, or of the same action"
            problems.add(need.place, f"there is no job {name!r:.80}", hint)
        edges.add(own, (job,), need.place)
        needs.setdefault(job, {}).update(dict.fromkeys(others))


def _resolve(job_index: JobIndex, entry: int, name: str, existing: ExistingJobs) -> tuple[list[int], Sequence[int]]:
    if "*" in name or "?" in name:
        span = job_index.spans[entry]
        return [job for job in job_index.matching(name) if job not in span], existing.find(name)
    own = list(job_index.named(name) or ())
    return own, () if own else existing.find(name)


def _add_file_needs(
    job_index: JobIndex, needs: dict[int, dict[int, None]], existing: ExistingJobs, problems: Problems
) -> None:
    """Add needs on existing jobs that write an input. Report outputs that an existing job writes too."""
    if not any(draft.inputs or draft.outputs for draft in job_index.drafts):
        return
    written = PathIndex(existing.outputs())
    for entry, draft in enumerate(job_index.drafts):
        for job, node in job_index.of_entry(entry):
            for path in draft.inputs.values():
                for writer in written.writers_of(_absolute_path(job_index, node, path, existing)):
                    needs.setdefault(job, {})[writer] = None
            for path in draft.outputs.values():
                own_folder = draft.template.workdir == "attempt" and not path.text.startswith("/")
                if not own_folder and written.writers_of(_absolute_path(job_index, node, path, existing)):
                    message = f"{node.name} and a job of the workflow both write {path.text}"
                    problems.add(path.place, message, "every output has one writer")


def _absolute_path(job_index: JobIndex, node: JobNode, path: PlacedText, existing: ExistingJobs) -> str:
    return absolute(existing.directory, render_text(path.text, job_index.scope(node)))
