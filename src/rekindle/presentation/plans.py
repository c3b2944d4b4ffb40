"""A rerun's plan as text: its jobs as a tree, reasons, a summary and the expected cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.rerun.plan import PlannedJob, PlannedJobs, ReasonKind
from rekindle.domain.rerun.request import FROM_BEGINNING, RESET_HOLD
from rekindle.domain.rerun.views import OWN
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.presentation import attempts, reasons, words

if TYPE_CHECKING:
    from rekindle.domain.models import ReuseSource
    from rekindle.domain.rerun.plan import ExpectedCost, Reason, RerunPlan
    from rekindle.domain.texts.name_sets import NameIndex
    from rekindle.engine.results import AppliedRerun

FOLDED = 3
"""Number of similar jobs under one parent that are printed as one line."""

_DEEPEST = 24
"""Columns of branches before a name; the branches of deeper jobs are shortened with an ellipsis."""

_DIGITS = lazy_regex(r"\d+")
_FOLDERS = {"copy": "in a copy", "same": "same folder"}


def summary(plan: RerunPlan) -> str:
    """Return `12 jobs run again: 10 selected, 2 downstream; 3 refused`. Jobs upstream make temporary outputs again."""
    retired = {job for one in plan.dynamic for job in one.retires}
    kinds: Counter[str] = Counter()
    for one in plan.jobs.sets:
        if _runs(one.change) and one.change.next.reuse_candidate is None:
            kinds[_kind(one.change)] += len(one) - sum(job in retired for job in one.ids if retired)
    number = kinds.total()
    parts = [f"{kinds[kind]:,} {kind}" for kind in ("selected", "upstream", "let go", "downstream") if kinds[kind]]
    runs = f"{words.plural(number, 'job')} run{'s' if number == 1 else ''} again: {', '.join(parts)}"
    runs += f"; {len(retired):,} retired" if retired else ""
    reusable = plan.jobs.total(lambda job: job.next.reuse_candidate is not None and not job.stays)
    runs += f"; {reusable:,} more unless unchanged" if reusable else ""
    held = plan.jobs.total(lambda job: job.holds is not None)
    runs += f"; {held:,} held until a restart" if held else ""
    left = plan.jobs.total(_is_left)
    runs += f"; {left:,} left as {'it is' if left == 1 else 'they are'}" if left else ""
    freed = plan.jobs.total(lambda job: not _runs(job) and not _is_left(job))
    runs += f"; {freed:,} rolled back" if freed else ""
    return runs + (f"; {len(plan.refused):,} refused" if plan.refused else "")


def reuse_lines(plan: RerunPlan, sources: Mapping[int, ReuseSource], workflows: Collection[str]) -> Iterator[str]:
    """Yield which jobs of a plan earlier attempts may complete, a line for each workflow that made them: `train: reused
    from attempt 17 of sweep, if its inputs and outputs are equal`. `workflows`: those of the plan, which go unnamed."""
    by_workflow: dict[str, list[int]] = {}
    for job, source in sources.items():
        by_workflow.setdefault("" if source.workflow in workflows else source.workflow, []).append(job)
    for workflow, jobs in by_workflow.items():
        numbers = sorted({sources[job].id for job in jobs})
        which = attempts.id_ranges(numbers) if len(numbers) > 1 else str(numbers[0])
        listed = f"attempt{'s' if len(numbers) > 1 else ''} {words.cut(which, 30)}"
        of = f" of {words.one_line(workflow)}" if workflow else ""
        if len(jobs) == 1:
            name = next((job.name for job in plan.jobs if job.id == jobs[0]), str(jobs[0]))
            yield f"{words.one_line(name)}: reused from {listed}{of}, unless an input or output differs"
        else:
            yield f"{len(jobs):,} jobs: reused from {listed}{of}, unless an input or output differs"


def _is_left(job: PlannedJob) -> bool:
    """Return whether the job keeps its state although a job that it needs runs again."""
    return job.stays and not job.releases


def _runs(job: PlannedJob) -> bool:
    """Return whether the job runs again; false if a dynamic action on it is only rolled back."""
    return not _is_left(job) and any(reason.kind is not ReasonKind.DYNAMIC for reason in job.reasons)


def _kind(job: PlannedJob) -> str:
    kinds = {reason.kind for reason in job.reasons}
    if ReasonKind.SELECTED in kinds:
        return "selected"
    if ReasonKind.TEMPORARY in kinds:
        return "upstream"
    return "let go" if ReasonKind.RELEASED in kinds else "downstream"


def job_cells(job: PlannedJob, retired: bool, lead: str = "…") -> tuple[str, ...]:
    """Return the cells of a job after its name. Below another job (with a `lead`), the need for that job and a start at
    the beginning are left out. A job that a revision changes has no start."""
    changed = any(reason.kind in _REVISED for reason in job.reasons)
    start = "" if changed or (lead and job.start == FROM_BEGINNING) else job.start
    start += f", {_FOLDERS[job.next.take]}" if job.next.take else ""
    listed = [reason for reason in job.reasons if not (lead and reason.kind is ReasonKind.UPSTREAM)]
    texts = [reason_text(reason) for reason in _shown_reasons(listed)]
    return (
        job.before.label,
        "retired" if retired else "held" if job.holds else job.after.label,
        "" if retired or _is_left(job) else start,
        "; ".join(texts),
    )


def _shown_reasons(reasons: Sequence[Reason]) -> Sequence[Reason]:
    """Leave SELECTED out beside other reasons if it has no cause, and for a job that is retried or repeated: no user
    selected the job."""
    by_itself = any(reason.kind in (ReasonKind.RETRY, ReasonKind.REPEAT, ReasonKind.JUDGE) for reason in reasons)
    others = [reason for reason in reasons if reason.kind is not ReasonKind.SELECTED]
    return [
        reason
        for reason in reasons
        if reason.kind is not ReasonKind.SELECTED or not (by_itself or (others and not reason.detail.get("cause")))
    ]


_REVISED = (ReasonKind.ADDED, ReasonKind.RETIRED, ReasonKind.REDEFINED, ReasonKind.REWIRED)

_WORDS = {
    ReasonKind.ADDED: "added",
    ReasonKind.RETIRED: "left out",
}


def reason_text(reason: Reason) -> str:
    """Return a reason as text."""
    detail = reason.detail
    who = detail.get("name") or detail.get("job")
    if reason.kind in _WORDS:
        return _WORDS[reason.kind]
    if reason.kind is ReasonKind.SELECTED:
        cause = detail.get("cause")
        return f"selected ({cause})" if cause else "selected"
    if reason.kind is ReasonKind.UPSTREAM:
        return f"needs {who}"
    if reason.kind is ReasonKind.RECOVERY:
        return f"recovery kept by rerun {detail.get('rerun')}"
    if reason.kind is ReasonKind.DYNAMIC:
        return f"rolled back from {who}"
    if reason.kind is ReasonKind.SUBTASKS:
        kept = f", {detail['keep']:,} kept" if detail.get("keep") else ""
        return f"{words.plural(detail.get('run', 0), 'subtask')}{kept}"
    if reason.kind is ReasonKind.REUSE:
        return "unless unchanged"
    if reason.kind is ReasonKind.STAYS:
        return f"stays, stale if {detail.get('name') or detail.get('job')} comes out changed"
    if reason.kind is ReasonKind.RELEASED:
        return f"let go: it was held ({detail.get('held')})"
    if reason.kind is ReasonKind.PARTIAL:
        return f"accepts {detail.get('completed'):,} subtasks, gives up {detail.get('given_up'):,}"
    if reason.kind is ReasonKind.BY_HAND:
        return str(detail.get("state")) + (f" ({detail['cause']})" if detail.get("cause") else "")
    if reason.kind is ReasonKind.REDEFINED:
        return f"{', '.join(detail['fields'])} changed" if detail.get("fields") else "redefined"
    if reason.kind is ReasonKind.REWIRED:
        return _rewired(detail.get("gained", 0), detail.get("lost", 0))
    return reasons.short(reason)


def _rewired(gained: int, lost: int) -> str:
    parts = [f"{gained:,} more"] if gained else []
    parts += [f"{lost:,} less"] if lost else []
    return f"needs {' and '.join(parts)}"


def cost(plan: RerunPlan) -> str:
    """Return `expected: about 3h 20m on 4 cores (12 attempts: 2 from similar jobs)`."""
    one = plan.expected
    if not one.attempts:
        return _at_most(one)
    attempts = words.plural(one.attempts, "attempt")
    more = f"\n{_at_most(one)}" if one.reserved else ""
    if one.unknown == one.attempts:
        return f"expected: {attempts}; how long is not known{more}"
    notes = [f"{one.guessed:,} from similar jobs"] if one.guessed else []
    notes += [f"{one.unknown:,} unknown"] if one.unknown else []
    cores = "1 core" if one.cores == 1 else f"{one.cores:g} cores"
    detail = f"{attempts}: {', '.join(notes)}" if notes else attempts
    return f"expected: about {words.duration(one.wall_seconds)} on {cores} ({detail}){more}"


def kept_lines(jobs: PlannedJobs) -> list[str]:
    """Return the steps of earlier attempts that are kept: `from fit, on prepare of attempts 3-8 (6 jobs)`."""
    kept: dict[str, list[PlannedJob]] = {}
    for job in jobs.having(lambda job: bool(job.keeps)):
        kept.setdefault(f"from {job.start}, on {', '.join(job.keeps)}", []).append(job)
    return [f"{words.one_line(text)} of {_resumed(alike)} ({_whose(alike)})" for text, alike in kept.items()]


def _resumed(jobs: Sequence[PlannedJob]) -> str:
    ids = attempts.id_ranges([job.next.resume_attempt for job in jobs if job.next.resume_attempt is not None])
    return f"attempt{'s' if len(jobs) > 1 else ''} {ids}"


def _whose(jobs: Sequence[PlannedJob]) -> str:
    return words.one_line(jobs[0].name) if len(jobs) == 1 else words.plural(len(jobs), "job")


def change_lines(jobs: PlannedJobs) -> list[str]:
    """Return the modified parameters and resources, each once for all its jobs: `alpha 0.1 -> 0.2 (3 jobs)`."""
    changed: dict[str, list[PlannedJob]] = {}
    for job in jobs.having(lambda job: bool(job.changes)):
        for change in job.changes:
            changed.setdefault(attempts.change_text(change), []).append(job)
    return [f"{text} ({_whose(alike)})" for text, alike in changed.items()]


def repeat_lines(jobs: PlannedJobs) -> list[str]:
    """Return how often repeated jobs run: `1 job runs 20 times; the last one counts`."""
    counts: Counter[int] = Counter()
    for one in jobs.sets:
        counts[1 + one.change.next.repeats] += len(one)
    return [
        f"{words.plural(number, 'job')} {'runs' if number == 1 else 'run'} {runs:,} times; the last one counts"
        for runs, number in sorted(counts.items())
        if runs > 1
    ]


def applied_text(applied: AppliedRerun, *, and_work: bool = False) -> str:
    """Return `rerun 3 is applied: 12 ready; no runner is alive: rekindle work`. `and_work`: a runner starts now."""
    held = f", {applied.held:,} held until `rekindle restart`" if applied.held else ""
    text = f"rerun {applied.rerun} is applied: {applied.ready:,} ready{held}"
    if ending := applied.plan.jobs.total(lambda job: any(reason.kind is ReasonKind.CANCELS for reason in job.reasons)):
        text += f" once {words.plural(ending, 'running job')} {'has' if ending == 1 else 'have'} ended"
    if waiting := sum(len(one.waits) for one in applied.canaries):
        text += f", {waiting:,} wait{'s' if waiting == 1 else ''} for canaries"
    if applied.ready and not applied.runner_alive and not and_work:
        text += "; no runner is alive: rekindle work"
    return text


def request_text(request: object) -> str:
    """Return a short request: `states failed, from failed-step`; `revision 3 of sweep`."""
    if not isinstance(request, dict):
        return ""
    if "import" in request:
        return f"import of {request['import']}"
    if "revision" in request:
        return f"revision {request['revision']} of {request.get('name')}"
    selection, how = request.get("selection"), request.get("how")
    parts = [_worded(key, value) for key, value in selection.items()] if isinstance(selection, dict) else []
    if isinstance(how, dict):
        parts += [_worded(key.replace("_", " "), value) for key, value in how.items() if _PLAIN.get(key) != value]
    return ", ".join(parts)


_PLAIN = {"from": "beginning", "downstream": "all", "definition": "latest", "hold": RESET_HOLD}


def _worded(key: str, value: object) -> str:
    if value is True:
        return "all" if key == "everything" else key
    if isinstance(value, dict):
        return f"{key} {' '.join(f'{name}={one}' for name, one in value.items())}"
    text = " ".join(str(one) for one in value) if isinstance(value, list) else str(value)
    return f"{key} {text}"


def _at_most(one: ExpectedCost) -> str:
    """Return the additional cost if no attempt can be reused."""
    if not one.reserved:
        return ""
    time = f", about {words.duration(one.reserved_seconds)} of running time" if one.reserved_seconds else ""
    return f"at most: {words.plural(one.reserved, 'attempt')} more{time}, if a result changes"


class TreeLine(msgspec.Struct, frozen=True):
    """A line of the tree: one job, or several similar ones. `again`: the jobs are printed above already. `more`: the
    number of further similar jobs, of a large plan, for which only an example is listed; `ids` is then their text, and
    `why` says what they need."""

    lead: str  # the branches in front of the name
    jobs: tuple[PlannedJob, ...]
    again: bool = False
    more: int = 0
    ids: str = ""
    why: str = ""

    @property
    def number(self) -> int:
        """The number of jobs."""
        return len(self.jobs) + self.more

    @property
    def name(self) -> str:
        """The name of the job; for several, their pattern and number."""
        first = self.jobs[0].name
        if self.more:
            return f"{_pattern(first)} ×{self.number:,}, such as {first}"
        shown = first if len(self.jobs) == 1 else f"{_pattern(first)} ×{len(self.jobs):,}"
        return f"{self.lead}{shown}"

    def cells(self, retired: Container[int]) -> tuple[str, ...]:
        """Return the cells after the name."""
        *cells, why = job_cells(self.jobs[0], self.jobs[0].id in retired, self.lead or self.why)
        return (*cells, "; ".join(text for text in (why, self.why) if text))


MOST_IN_TREE = 5_000
"""Jobs up to which a plan is printed as a tree; larger ones are printed as sets of similar jobs."""


_IDS = 8
"""Columns of the ids beside a line of several jobs."""


def line_cells(line: TreeLine, width: int, index: Callable[[], NameIndex | None]) -> tuple[str, str]:
    """Return the name of a line in about `width` columns, and its ids. Similar jobs are shown by what their names have
    in common, and by ids if these are short; else by a pattern and the first ids."""
    ids = line.ids or attempts.id_ranges([job.id for job in line.jobs])
    if line.number == 1 or line.more:
        return line.name, ids
    from rekindle.presentation.jobs import common_names

    count = f" ×{len(line.jobs):,}"
    common = common_names([job.name for job in line.jobs], width - len(line.lead) - len(count), index())
    if common is None:
        return line.name.replace("[*]", "[…]"), words.cut(ids, _IDS)  # not all jobs of the matrix
    return f"{line.lead}{common}{count}", ids if len(ids) <= _IDS else ""


FoldKey = Callable[[PlannedJob], object]
"""Returns the cells of a job: jobs under one parent with equal cells may be printed as one line."""


def tree_lines(
    jobs: PlannedJobs, children: Mapping[int, Sequence[int]], fold_key: FoldKey | None
) -> Iterator[TreeLine]:
    """Yield every job once, parents first. Below its other parents a job has a line with `again`. Without a `fold_key`
    every job has a line of its own; with one, a large plan has a line for each set of similar jobs."""
    if fold_key is not None and len(jobs) > MOST_IN_TREE:
        yield from _set_lines(jobs)
        return
    planned = {job.id: job for job in jobs}
    below = {child for job in planned for child in children.get(job, ()) if child in planned}
    shown: set[int] = set()
    pending = [TreeLine("", group) for group in _groups([job for job in jobs if job.id not in below], fold_key)][::-1]
    while pending:
        at = pending.pop()
        fresh = tuple(job for job in at.jobs if job.id not in shown)
        again = tuple(job for job in at.jobs if job.id in shown)
        if again:
            yield TreeLine(at.lead, again, again=True)
        if not fresh:
            continue
        yield TreeLine(at.lead, fresh)
        shown.update(job.id for job in fresh)
        under = dict.fromkeys(child for job in fresh for child in children.get(job.id, ()) if child in planned)
        groups = _groups([planned[child] for child in under if child not in shown], fold_key)
        groups += _groups([planned[child] for child in under if child in shown], _no_cells)
        trunk = _trunk(at.lead)
        branches = [*["├─ "] * (len(groups) - 1), "└─ "]
        pending += [TreeLine(trunk + branch, group) for branch, group in zip(branches, groups, strict=False)][::-1]


def _set_lines(jobs: PlannedJobs) -> Iterator[TreeLine]:
    """Yield a line for the jobs of each set with similar names, those with the lowest id first."""
    lines: list[tuple[int, TreeLine]] = []
    for one in jobs.sets:
        alike: dict[str, list[int]] = {}
        for at, name in enumerate(one.names):
            alike.setdefault(name.partition("[")[0], []).append(at)
        for group in alike.values() if len(alike) <= FOLDED * len(one) // 10 + 1 else (range(len(one)),):
            first, last = one.ids[group[0]], one.ids[group[-1]]
            ids = f"{first}-{last}" if last - first + 1 == len(group) > 1 else f"{first}" + ",…" * (len(group) > 1)
            needs = len({one.near[at] for at in group} - {OWN})
            why = f"needs {'one of ' * (needs > 1)}{words.plural(needs, 'selected job')}" if needs else ""
            lines.append((first, TreeLine("", (one.job(group[0]),), more=len(group) - 1, ids=ids, why=why)))
    yield from (line for _, line in sorted(lines, key=itemgetter(0)))


def _no_cells(_: PlannedJob) -> object:
    """Return one key for all jobs that are printed above already."""
    return None


def _trunk(lead: str) -> str:
    """Return the text before the branches below a line."""
    trunk = lead.replace("├─ ", "│  ").replace("└─ ", "   ")
    return trunk if len(trunk) < _DEEPEST else f"…  {trunk[6:]}"


def _groups(jobs: Iterable[PlannedJob], fold_key: FoldKey | None) -> list[tuple[PlannedJob, ...]]:
    """Group similar jobs, in the order of their first job."""
    alike: dict[object, list[PlannedJob]] = {}
    for job in jobs:
        alike.setdefault(job.id if fold_key is None else (_pattern(job.name), fold_key(job)), []).append(job)
    found: list[tuple[PlannedJob, ...]] = []
    for group in alike.values():
        found += [tuple(group)] if len(group) >= FOLDED else [(job,) for job in group]
    return found


def _pattern(name: str) -> str:
    """Return `train[*]` for a job of a matrix, and `part-*` for a numbered one."""
    base, bracket, _ = name.partition("[")
    return f"{base}[*]" if bracket else _DIGITS.sub("*", name)
