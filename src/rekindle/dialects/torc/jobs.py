"""One job of a torc spec as an entry of our `jobs:`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rekindle.dialects.torc.handlers import recovering, retry_rules
from rekindle.dialects.torc.named import SWEPT, Named, known, listed, matching, texts
from rekindle.dialects.torc.sweeps import Binding, fill
from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.commandline import compile_command
from rekindle.spec.nodes import Entry, Scalar, Table, from_python
from rekindle.spec.problems import Place, Placed, Problems
from rekindle.spec.values import check_keys, text, whole_number, yes_or_no

KINDS = ("files", "user_data")
JOB_KEYS = (
    *("name", "command", "invocation_script", "resource_requirements", "failure_handler", "scheduler", "priority"),
    *("depends_on", "depends_on_regexes", "cancel_on_blocking_job_failure", "supports_termination"),
    *(f"{way}_{kind}" for way in ("input", "output") for kind in KINDS),
    *(f"{way}_{kind}_regexes" for way in ("input", "output") for kind in ("file", "files", "user_data")),
    *SWEPT,
)
_REFERENCE = re.compile(r"\$\{(files|user_data)\.(input|output)\.([^{}]+)\}")
_GRACE = "30s"
"""For what supports termination: between SIGTERM and SIGKILL."""


@dataclass(slots=True)
class Torc:
    """One job, with what it reads and writes by kind. `needs` are names of jobs."""

    name: str
    place: Place
    command: str
    source: Table
    binding: Binding
    needs: list[Placed] = field(default_factory=list)
    reads: dict[str, dict[str, Placed]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    writes: dict[str, dict[str, Placed]] = field(default_factory=lambda: {kind: {} for kind in KINDS})


def read_torc_job(name: str, binding: Binding, job: Table, named: Named, problems: Problems) -> Torc | None:
    """What a job is, but for the jobs that it needs by expressions; None: it has no command."""
    check_keys(job, JOB_KEYS, "a job", problems)
    command = text(job.get("command"), "`command`", problems)
    if command is None:
        if "command" not in job.entries:
            problems.add(job.place, f"the job {name!r} has no `command`")
        return None
    script = text(job.get("invocation_script"), "`invocation_script`", problems)
    place = job.entries["command"].node.place
    whole = fill(f"{script} {command}" if script else command, binding, place, problems)
    found = Torc(name, place, whole, job, binding)
    for way, kept in (("input", found.reads), ("output", found.writes)):
        for kind in KINDS:
            there = named.files if kind == "files" else named.user_data
            key = f"{way}_{kind}"
            asked = texts(job.get(key), f"`{key}`", binding, problems)
            for suffix in {f"{way}_{kind.removesuffix('s')}_regexes", f"{key}_regexes"}:
                asked += matching(texts(job.get(suffix), f"`{suffix}`", binding, problems), there, problems)
            what = "file" if kind == "files" else "user data"
            kept[kind].update({one.text: one for one in asked if known(one, there, what, problems)})
    found.command = _written(found, named, problems)
    found.needs = texts(job.get("depends_on"), "`depends_on`", binding, problems)
    return found


def follow_patterns(jobs: Sequence[Torc], problems: Problems) -> None:
    """The jobs that each needs by `depends_on_regexes`; looked up once for each list of expressions."""
    names = [job.name for job in jobs]
    seen: dict[tuple[Placed, ...], list[Placed]] = {}
    for job in jobs:
        asked = tuple(texts(job.source.get("depends_on_regexes"), "`depends_on_regexes`", job.binding, problems))
        if asked:
            if asked not in seen:
                seen[asked] = matching(asked, names, problems)
            job.needs += [one for one in seen[asked] if one.text != job.name]


def entry_of(job: Torc, named: Named, places: dict[str, str], problems: Problems) -> Table:
    """The entry of ours. `places`: where the files of user data are."""
    source, place = job.source, job.place
    rules = named.handlers.get(_asked(job, "failure_handler", named.handlers, "failure handler", problems) or "", ())
    _asked(job, "scheduler", named.schedulers, "scheduler", problems)
    command = escaped(recovering(job.command, rules))
    made = Table(source.place, {"run": Entry(place, Scalar(command, command, place))})
    entries = made.entries
    if _needs_shell(command):
        entries["shell"] = Entry(place, Scalar("bash", "bash", place))
    for key, kept in (("inputs", job.reads), ("outputs", job.writes)):
        paths = {name: Placed(named.files[name].text, one.place) for name, one in kept["files"].items()}
        paths |= {f"user_data_{name}": Placed(places[name], one.place) for name, one in kept["user_data"].items()}
        if paths:
            entries[key] = Entry(place, _files(source.place, paths))
    if job.needs:
        entries["needs"] = listed(source.place, job.needs)
    if rules:
        entries["retry"] = Entry(place, from_python(retry_rules(rules), source.place, problems))
    asked = _asked(job, "resource_requirements", named.resources, "entry of resource_requirements", problems)
    if asked is not None:
        entries["resources"] = Entry(place, named.resources[asked])
    cancels = source.get("cancel_on_blocking_job_failure")
    if cancels is not None and not yes_or_no(cancels, "`cancel_on_blocking_job_failure`", problems):
        entries["when"] = Entry(cancels.place, Scalar("finished", "finished", cancels.place))
    if yes_or_no(source.get("supports_termination"), "`supports_termination`", problems):
        entries["grace"] = Entry(place, Scalar(_GRACE, _GRACE, place))
    if whole_number(source.get("priority"), "`priority`", problems) is not None:
        entries["priority"] = source.entries["priority"]
    return made


def escaped(written: str) -> str:
    """A text in which nothing is ours to fill in."""
    return written.replace("${", "$${")


def _written(job: Torc, named: Named, problems: Problems) -> str:
    """The command with paths, and names of user data, written out; what it names so it reads and writes."""

    def value(found: re.Match[str]) -> str:
        kind, way, name = found.groups()
        there = named.files if kind == "files" else named.user_data
        if not known(Placed(name, job.place), there, "file" if kind == "files" else "user data", problems):
            return found[0]
        kept = job.reads if way == "input" else job.writes
        kept[kind].setdefault(name, Placed(name, job.place))
        return named.files[name].text if kind == "files" else name

    return _REFERENCE.sub(value, job.command)


def _files(place: Place, paths: dict[str, Placed]) -> Table:
    """Names that a `${…}` could name, each once."""
    found = Table(place)
    for name, path in paths.items():
        key = base = re.sub(r"[^\w-]", "_", name)
        number = 1
        while key in found.entries:
            number += 1
            key = f"{base}_{number}"
        written = escaped(path.text)
        found.entries[key] = Entry(path.place, Scalar(written, written, path.place))
    return found


def _asked(job: Torc, key: str, there: Collection[str], what: str, problems: Problems) -> str | None:
    for one in texts(job.source.get(key), f"`{key}`", job.binding, problems)[:1]:
        if known(one, there, what, problems):
            return one.text
    return None


def _needs_shell(command: str) -> bool:
    """Whether it is more than a program and its words. What cannot be read is told when it is checked."""
    try:
        return compile_command(command, None).needs_shell
    except RekindleError:
        return False
