"""What torc's actions become: a job for each that runs commands, between the jobs that it follows and precedes.

Actions that schedule nodes come with Slurm; they are checked, and wait for it."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.dialects.torc.jobs import Torc, escaped
from rekindle.dialects.torc.named import Named, known, listed, matching, tables, texts
from rekindle.spec.nodes import Entry, Items, Scalar, Table
from rekindle.spec.problems import Place, Placed, Problems
from rekindle.spec.values import check_keys, one_of

_TRIGGERS = ("on_workflow_start", "on_workflow_complete", "on_jobs_ready", "on_jobs_complete")
_KINDS = ("run_commands", "schedule_nodes")
_KEYS = (
    *("trigger_type", "action_type", "jobs", "job_names", "job_name_regexes", "commands", "persistent"),
    *("scheduler", "scheduler_type", "num_allocations", "start_one_worker_per_node", "max_parallel_jobs"),
)


def action_jobs(top: Table, jobs: Sequence[Torc], named: Named, problems: Problems) -> dict[str, Entry]:
    """Entries of ours, by name. Jobs that an action precedes get it among what they need."""
    made: dict[str, Entry] = {}
    for number, action in enumerate(tables(top.get("actions"), "`actions`", problems), 1):
        check_keys(action, _KEYS, "an action", problems)
        trigger = one_of(action.get("trigger_type"), _TRIGGERS, "`trigger_type`", problems)
        kind = one_of(action.get("action_type"), _KINDS, "`action_type`", problems)
        for key, found in (("trigger_type", trigger), ("action_type", kind)):
            if found is None and key not in action.entries:
                problems.add(action.place, f"an action has no `{key}`")
        for one in texts(action.get("scheduler"), "`scheduler`", {}, problems):
            known(one, named.schedulers, "scheduler", problems)
        chosen = _chosen(action, jobs, problems)
        if kind != "run_commands" or trigger is None:
            continue
        name = f"action_{number}_{trigger}"
        made[name] = Entry(action.place, _entry(name, action, trigger, chosen, jobs, problems))
    return made


def _chosen(action: Table, jobs: Sequence[Torc], problems: Problems) -> list[Torc]:
    """The jobs that an action names; all where it names none."""
    by_name = {job.name: job for job in jobs}
    asked = [
        *texts(action.get("jobs"), "`jobs`", {}, problems),
        *texts(action.get("job_names"), "`job_names`", {}, problems),
    ]
    asked = [one for one in asked if known(one, by_name, "job", problems)]
    asked += matching(texts(action.get("job_name_regexes"), "`job_name_regexes`", {}, problems), by_name, problems)
    return [by_name[name] for name in dict.fromkeys(one.text for one in asked)] if asked else list(jobs)


def _entry(
    name: str, action: Table, trigger: str, chosen: Sequence[Torc], jobs: Sequence[Torc], problems: Problems
) -> Table:
    place = action.place
    lines = texts(action.get("commands"), "`commands`", {}, problems)
    if not lines:
        problems.add(place, "the action runs no `commands`", "as in `commands: [./notify.sh]`")
    script = escaped("\n".join(["set -e", *(line.text for line in lines)]))
    made = Table(place, {"run": Entry(place, Scalar(script, script, place)), "shell": _word("bash", place)})
    if trigger in ("on_workflow_complete", "on_jobs_complete"):
        followed = jobs if trigger == "on_workflow_complete" else chosen
        made.entries["needs"] = listed(place, [Placed(job.name, place) for job in followed])
        made.entries["when"] = _word("finished", place)
        return made
    before = jobs if trigger == "on_workflow_start" else chosen
    own = {job.name for job in before}
    needs = {need.text for job in before for need in job.needs} | _writers(before, jobs)
    if trigger == "on_jobs_ready" and needs - own:
        made.entries["needs"] = Entry(place, Items(place, [Scalar(one, one, place) for one in sorted(needs - own)]))
    for job in before:
        job.needs.append(Placed(name, place))
    return made


def _writers(readers: Sequence[Torc], jobs: Sequence[Torc]) -> set[str]:
    """The jobs that write what these read."""
    read = {(kind, name) for job in readers for kind, names in job.reads.items() for name in names}
    return {
        job.name for job in jobs if any((kind, name) in read for kind, names in job.writes.items() for name in names)
    }


def _word(text: str, place: Place) -> Entry:
    return Entry(place, Scalar(text, text, place))
