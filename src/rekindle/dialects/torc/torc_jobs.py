"""Convert the jobs, failure handlers and actions of a torc spec to entries of rekindle's `jobs:`.

An action that runs commands becomes a job. Actions that schedule nodes are only checked: they need Slurm."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from rekindle.dialects.torc.spec_parts import (
    CAUSES_OF_ANY_CODE,
    PARAMETER_KEYS,
    Binding,
    FailureRule,
    NamedItems,
    check_known,
    list_entry,
    matching,
    substitute,
    tables,
    texts,
)
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.commandline import compile_command
from rekindle.spec.nodes import (
    ListNode,
    MappingEntry,
    MappingNode,
    PlacedText,
    Problems,
    ScalarNode,
    SourcePlace,
    from_python,
)
from rekindle.spec.values import check_keys, one_of, text, whole_number, yes_or_no

KINDS = ("files", "user_data")
JOB_KEYS = (
    *("name", "command", "invocation_script", "resource_requirements", "failure_handler", "scheduler", "priority"),
    *("depends_on", "depends_on_regexes", "cancel_on_blocking_job_failure", "supports_termination"),
    *(f"{way}_{kind}" for way in ("input", "output") for kind in KINDS),
    *(f"{way}_{kind}_regexes" for way in ("input", "output") for kind in ("file", "files", "user_data")),
    *PARAMETER_KEYS,
)
_REFERENCE = re.compile(r"\$\{(files|user_data)\.(input|output)\.([^{}]+)\}")
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")
_GRACE = "30s"
"""Time between SIGTERM and SIGKILL for jobs that support termination."""


class TorcJob(msgspec.Struct):
    """A job with the items that it reads and writes, by kind. `needs`: names of jobs."""

    name: str
    place: SourcePlace
    command: str
    source: MappingNode
    binding: Binding
    needs: list[PlacedText] = msgspec.field(default_factory=list)
    need_patterns: list[PlacedText] = msgspec.field(default_factory=list)
    reads: dict[str, dict[str, PlacedText]] = msgspec.field(default_factory=lambda: {kind: {} for kind in KINDS})
    writes: dict[str, dict[str, PlacedText]] = msgspec.field(default_factory=lambda: {kind: {} for kind in KINDS})

    def merge(self, other: TorcJob) -> bool:
        """Add what another job of the same entry, name and command reads, writes and needs. Return whether it is one.

        The parameters of such an entry only name the files, user data or jobs that it follows; if they name nothing,
        the other job is not merged."""
        if (other.name, other.command) != (self.name, self.command) or other.source is not self.source:
            return False
        needs = [one for one in other.needs if one not in self.needs]
        patterns = [one for one in other.need_patterns if one not in self.need_patterns]
        self.needs += needs
        self.need_patterns += patterns
        added = len(needs) + len(patterns)
        for mine, theirs in ((self.reads, other.reads), (self.writes, other.writes)):
            for kind in KINDS:
                added += len(theirs[kind].keys() - mine[kind].keys())
                mine[kind].update(theirs[kind])
        return added > 0


def read_torc_job(
    name: str, binding: Binding, job: MappingNode, named: NamedItems, problems: Problems
) -> TorcJob | None:
    """Read a job, except for `depends_on_regexes`. Returns None if it has no command."""
    check_keys(job, JOB_KEYS, "a job", problems)
    command = text(job.get("command"), "`command`", problems)
    if command is None:
        if "command" not in job.entries:
            problems.add(job.place, f"the job {name!r} has no `command`")
        return None
    script = text(job.get("invocation_script"), "`invocation_script`", problems)
    place = job.entries["command"].node.place
    full_command = substitute(f"{script} {command}" if script else command, binding, place, problems)
    found = TorcJob(name, place, full_command, job, binding)
    for way, items in (("input", found.reads), ("output", found.writes)):
        for kind in KINDS:
            there = named.files if kind == "files" else named.user_data
            key = f"{way}_{kind}"
            wanted = texts(job.get(key), f"`{key}`", binding, problems)
            for suffix in {f"{way}_{kind.removesuffix('s')}_regexes", f"{key}_regexes"}:
                wanted += matching(texts(job.get(suffix), f"`{suffix}`", binding, problems), there, problems)
            what = "file" if kind == "files" else "user data"
            items[kind].update({one.text: one for one in wanted if check_known(one, there, what, problems)})
    found.command = _resolve_references(found, named, problems)
    found.needs = texts(job.get("depends_on"), "`depends_on`", binding, problems)
    found.need_patterns = texts(job.get("depends_on_regexes"), "`depends_on_regexes`", binding, problems)
    return found


def resolve_regex_needs(jobs: Sequence[TorcJob], problems: Problems) -> None:
    """Add the jobs that match `depends_on_regexes`. Each list of expressions is matched once."""
    names = [job.name for job in jobs]
    seen: dict[tuple[PlacedText, ...], list[PlacedText]] = {}
    for job in jobs:
        wanted = tuple(job.need_patterns)
        if wanted:
            if wanted not in seen:
                seen[wanted] = matching(wanted, names, problems)
            job.needs += [one for one in seen[wanted] if one.text != job.name]


def job_entry(job: TorcJob, named: NamedItems, places: dict[str, str], problems: Problems) -> MappingNode:
    """Return the entry of a job. `places`: the files of user data."""
    source, place = job.source, job.place
    rules = named.handlers.get(
        _named_item(job, "failure_handler", named.handlers, "failure handler", problems) or "", ()
    )
    _named_item(job, "scheduler", named.schedulers, "scheduler", problems)
    command = escape(with_recovery_script(job.command, rules))
    made = MappingNode(source.place, {"run": MappingEntry(place, ScalarNode(command, command, place))})
    entries = made.entries
    if _needs_shell(command):
        entries["shell"] = MappingEntry(place, ScalarNode("bash", "bash", place))
    for key, items in (("inputs", job.reads), ("outputs", job.writes)):
        paths = {name: PlacedText(named.files[name].text, one.place) for name, one in items["files"].items()}
        paths |= {f"user_data_{name}": PlacedText(places[name], one.place) for name, one in items["user_data"].items()}
        if paths:
            entries[key] = MappingEntry(place, _file_entries(source.place, paths))
    if job.needs:
        entries["needs"] = list_entry(source.place, job.needs)
    if rules:
        entries["retry"] = MappingEntry(place, from_python(retry_rules(rules), source.place, problems))
    wanted = _named_item(job, "resource_requirements", named.resources, "entry of resource_requirements", problems)
    if wanted is not None:
        entries["resources"] = MappingEntry(place, named.resources[wanted])
    cancels = source.get("cancel_on_blocking_job_failure")
    if cancels is not None and not yes_or_no(cancels, "`cancel_on_blocking_job_failure`", problems):
        entries["when"] = MappingEntry(cancels.place, ScalarNode("finished", "finished", cancels.place))
    if yes_or_no(source.get("supports_termination"), "`supports_termination`", problems):
        entries["grace"] = MappingEntry(place, ScalarNode(_GRACE, _GRACE, place))
    if whole_number(source.get("priority"), "`priority`", problems) is not None:
        entries["priority"] = source.entries["priority"]
    return made


def escape(written: str) -> str:
    """Escape `${`, so that rekindle does not substitute it."""
    return written.replace("${", "$${")


def _resolve_references(job: TorcJob, named: NamedItems, problems: Problems) -> str:
    """Replace references to files and user data in the command, and record them as read or written."""

    def value(found: re.Match[str]) -> str:
        kind, way, name = found.groups()
        there = named.files if kind == "files" else named.user_data
        items = job.reads if way == "input" else job.writes
        if kind == "user_data" and "$" in name and (meant := _meant_by_shell(name, there)):
            items[kind].update({one: PlacedText(one, job.place) for one in meant})
            return _VARIABLE.sub(r"${\1}", name)
        if not check_known(PlacedText(name, job.place), there, "file" if kind == "files" else "user data", problems):
            return found[0]
        items[kind].setdefault(name, PlacedText(name, job.place))
        return named.files[name].text if kind == "files" else name

    return _REFERENCE.sub(value, job.command)


def _meant_by_shell(name: str, there: Collection[str]) -> list[str]:
    """Return the names that a name with shell variables, such as `result_$i`, can become."""
    fixed = _VARIABLE.split(name)[::2]
    pattern = re.compile(".+".join(map(re.escape, fixed)))
    return [one for one in there if pattern.fullmatch(one)]


def _file_entries(place: SourcePlace, paths: dict[str, PlacedText]) -> MappingNode:
    """Return files by unique names that `${…}` can contain."""
    found = MappingNode(place)
    for name, path in paths.items():
        key = base = re.sub(r"[^\w-]", "_", name)
        number = 1
        while key in found.entries:
            number += 1
            key = f"{base}_{number}"
        written = escape(path.text)
        found.entries[key] = MappingEntry(path.place, ScalarNode(written, written, path.place))
    return found


def _named_item(job: TorcJob, key: str, there: Collection[str], what: str, problems: Problems) -> str | None:
    for one in texts(job.source.get(key), f"`{key}`", job.binding, problems)[:1]:
        if check_known(one, there, what, problems):
            return one.text
    return None


def _needs_shell(command: str) -> bool:
    """Return whether the command needs a shell. False for an invalid one, which the check of the spec reports."""
    try:
        return compile_command(command, None).needs_shell
    except RekindleError:
        return False


_SIGNAL_BASE = 128
_OOM, _TIMEOUT = 137, 152
"""torc's exit codes for these causes (SIGKILL, SIGXCPU)."""


def retry_rules(rules: Sequence[FailureRule]) -> list[dict[str, Any]]:
    """Return the rules as entries of `retry:`. Rules with exit codes come first, as in torc. An exit code above 128
    also matches the signal, and the cause that torc means by it. A failed recovery script ends the retries."""
    found: list[dict[str, Any]] = []
    if any(_has_script(rule) for rule in rules):
        found.append({"max": 0, "error": rf"{_SCRIPT_FAILED} \d+: no more retries"})
    for rule in _specific_first(rules):
        if not rule.codes:
            found.append({"max": rule.retries, "on": list(CAUSES_OF_ANY_CODE)})
            continue
        found.append({"max": rule.retries, "exit_codes": list(rule.codes)})
        for code in rule.codes:
            if code - _SIGNAL_BASE in set(signal.Signals):
                name = signal.Signals(code - _SIGNAL_BASE).name
                found.append({"max": rule.retries, "on": ["signal"], "error": rf"\bkilled by {name}\b"})
        causes = [cause for code, cause in ((_OOM, "oom"), (_TIMEOUT, "timeout")) if code in rule.codes]
        if causes:
            found.append({"max": rule.retries, "on": causes})
    return found


_SCRIPT_FAILED = "torc: the recovery script failed with"


def with_recovery_script(command: str, rules: Sequence[FailureRule]) -> str:
    """Return the command, followed by the recovery script of the matching rule in a shell of its own. Both run in one
    attempt, so a retry starts after the script. The exit code is the command's."""
    if not any(_has_script(rule) for rule in rules):
        return command
    cases = ["  0) ;;"]
    for rule in _specific_first(rules):
        pattern = "|".join(map(str, rule.codes)) or "*"
        cases.append(f"  {pattern})\n    {_recovery(rule)}\n    ;;")
    lines = ["(", command, ")", "export TORC_RETURN_CODE=$?", 'case "$TORC_RETURN_CODE" in', *cases, "esac"]
    return "\n".join([*lines, 'exit "$TORC_RETURN_CODE"'])


def _has_script(rule: FailureRule) -> bool:
    return rule.script is not None and rule.retries > 0


def _recovery(rule: FailureRule) -> str:
    if rule.script is None or not _has_script(rule):
        return ":"
    return f'bash -c {shlex.quote(rule.script)} || echo "{_SCRIPT_FAILED} $?: no more retries" >&2'


def _specific_first(rules: Sequence[FailureRule]) -> list[FailureRule]:
    return sorted(rules, key=lambda rule: not rule.codes)


_TRIGGERS = ("on_workflow_start", "on_workflow_complete", "on_jobs_ready", "on_jobs_complete")
_ACTION_TYPES = ("run_commands", "schedule_nodes")
_ACTION_KEYS = (
    *("trigger_type", "action_type", "jobs", "job_names", "job_name_regexes", "commands", "persistent"),
    *("scheduler", "scheduler_type", "num_allocations", "start_one_worker_per_node", "max_parallel_jobs"),
)


def action_jobs(
    top: MappingNode, jobs: Sequence[TorcJob], named: NamedItems, problems: Problems
) -> dict[str, MappingEntry]:
    """Return the entries of actions by name. Jobs that an action precedes get it among their needs."""
    made: dict[str, MappingEntry] = {}
    for number, action in enumerate(tables(top.get("actions"), "`actions`", problems), 1):
        check_keys(action, _ACTION_KEYS, "an action", problems)
        trigger = one_of(action.get("trigger_type"), _TRIGGERS, "`trigger_type`", problems)
        kind = one_of(action.get("action_type"), _ACTION_TYPES, "`action_type`", problems)
        for key, found in (("trigger_type", trigger), ("action_type", kind)):
            if found is None and key not in action.entries:
                problems.add(action.place, f"an action has no `{key}`")
        for one in texts(action.get("scheduler"), "`scheduler`", {}, problems):
            check_known(one, named.schedulers, "scheduler", problems)
        targets = _action_targets(action, jobs, problems)
        if kind != "run_commands" or trigger is None:
            continue
        name = action_name(number, trigger)
        made[name] = MappingEntry(action.place, _action_entry(name, action, trigger, targets, jobs, problems))
    return made


def action_name(number: int, trigger: str) -> str:
    """Return the name of the job of an action."""
    return f"action_{number}_{trigger}"


def _action_targets(action: MappingNode, jobs: Sequence[TorcJob], problems: Problems) -> list[TorcJob]:
    """Return the jobs that an action names; all if it names none."""
    by_name = {job.name: job for job in jobs}
    wanted = [
        *texts(action.get("jobs"), "`jobs`", {}, problems),
        *texts(action.get("job_names"), "`job_names`", {}, problems),
    ]
    wanted = [one for one in wanted if check_known(one, by_name, "job", problems)]
    wanted += matching(texts(action.get("job_name_regexes"), "`job_name_regexes`", {}, problems), by_name, problems)
    return [by_name[name] for name in dict.fromkeys(one.text for one in wanted)] if wanted else list(jobs)


def _action_entry(
    name: str,
    action: MappingNode,
    trigger: str,
    targets: Sequence[TorcJob],
    jobs: Sequence[TorcJob],
    problems: Problems,
) -> MappingNode:
    place = action.place
    lines = texts(action.get("commands"), "`commands`", {}, problems)
    if not lines:
        problems.add(place, "the action runs no `commands`", "as in `commands: [./notify.sh]`")
    script = escape("\n".join(["set -e", *(line.text for line in lines)]))
    made = MappingNode(
        place, {"run": MappingEntry(place, ScalarNode(script, script, place)), "shell": _text_entry("bash", place)}
    )
    if trigger in ("on_workflow_complete", "on_jobs_complete"):
        followed = jobs if trigger == "on_workflow_complete" else targets
        made.entries["needs"] = list_entry(place, [PlacedText(job.name, place) for job in followed])
        made.entries["when"] = _text_entry("finished", place)
        return made
    before = jobs if trigger == "on_workflow_start" else targets
    own = {job.name for job in before}
    needs = {need.text for job in before for need in job.needs} | _writers(before, jobs)
    if trigger == "on_jobs_ready" and needs - own:
        made.entries["needs"] = MappingEntry(
            place, ListNode(place, [ScalarNode(one, one, place) for one in sorted(needs - own)])
        )
    for job in before:
        job.needs.append(PlacedText(name, place))
    return made


def _writers(readers: Sequence[TorcJob], jobs: Sequence[TorcJob]) -> set[str]:
    """Return the jobs that write what these jobs read."""
    read = {(kind, name) for job in readers for kind, names in job.reads.items() for name in names}
    return {
        job.name for job in jobs if any((kind, name) in read for kind, names in job.writes.items() for name in names)
    }


def _text_entry(text: str, place: SourcePlace) -> MappingEntry:
    return MappingEntry(place, ScalarNode(text, text, place))
