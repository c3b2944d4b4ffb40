"""Convert the rules of a Snakefile that its first rule needs: each rule becomes an entry, its wildcards a matrix."""

from __future__ import annotations

import ast
import os.path
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rekindle.dialects.snakemake.expressions import (
    FUNCTION_NAMES,
    Names,
    NotStatic,
    Unknown,
    assigned_names,
    evaluate,
    execute,
    flat,
)
from rekindle.dialects.snakemake.rules import (
    PathRule,
    RuleRun,
    arguments,
    functions,
    only_argument,
    read_rule,
    run_rule,
)
from rekindle.dialects.snakemake.snakefile import Directive, PythonCode, SnakeRule, read_snakefile
from rekindle.domain.errors import RekindleError, SpecError
from rekindle.domain.texts.commandline import compile_command
from rekindle.spec.conversion import Conversion, ConvertedJob, Omission, literal, unique_name
from rekindle.spec.loading import read_bytes, read_tree
from rekindle.spec.nodes import Problems
from rekindle.spec.starting import workflow_name
from rekindle.spec.values import data

Wildcards = dict[str, str]

_NOT_RUN = {
    "run": "Python code in `run:`; put it into a script, and call that in `run`",
    "script": "a script with Snakemake's object `snakemake`; give it arguments instead",
    "notebook": "a notebook",
    "wrapper": "a wrapper of Snakemake; write its command",
    "cwl": "a CWL tool",
    "template_engine": "a template",
}
_NOT_KEPT = {
    "conda": "the environment is not made: activate it in the command, or around `rekindle run`",
    "container": "the container is not started: write it into the command",
    "singularity": "the container is not started: write it into the command",
    "envmodules": "modules are not loaded: write `module load` into the command",
    "benchmark": "rekindle records time and memory of each attempt: rekindle attempts show",
    "group": "jobs are not grouped",
    "shadow": "jobs run in the project's folder; `workdir: attempt` gives each attempt a folder",
    "cache": "rekindle reuses results of unchanged jobs by itself",
}
_DIRECTIVES = {
    "localrules": "",
    "ruleorder": "the first rule that fits is taken",
    "workdir": "paths are taken relative to the spec",
    "container": _NOT_KEPT["container"],
    "singularity": _NOT_KEPT["container"],
    "containerized": _NOT_KEPT["container"],
    "conda": _NOT_KEPT["conda"],
    "onsuccess": "see `on:` of a spec",
    "onerror": "see `on:` of a spec",
    "onstart": "make it a job that the others need",
    "module": "modules are not followed",
    "use rule": "rules that use other rules are not converted",
}
_FLAGS = {
    "temp": "the file is kept; Snakemake removes it",
    "temporary": "the file is kept; Snakemake removes it",
    "protected": "the file stays writable",
    "ancient": "the job runs again when this input changes",
    "pipe": "a pipe becomes a file",
    "service": "a service becomes a job that must end",
}


def convert(path: Path, *, target: str | None = None) -> Conversion:
    """Return the entries of a Snakefile for a target, the name of a rule or a path; by default, for its first rule."""
    found = Conversion("snakemake", path.name, workflow_name(Path.cwd()))
    reader = _Reader(found)
    reader.read(path, "")
    plan = _Plan(reader, found)
    plan.resolve_target(target)
    plan.add_entries()
    if found.jobs:
        found.top["defaults"] = {"shell": "bash"}
    return found


class _Reader:
    """Reads statements into a scope and rules."""

    def __init__(self, found: Conversion) -> None:
        self.folder = Path.cwd()  # as in Snakemake: paths are relative to it, and those of `include` to the file
        self.found = found
        self.rules: list[PathRule] = []
        self.first = ""  # the first rule of the file itself, which is Snakemake's default target
        self.unread: set[str] = set()  # rules that could not be read
        self.constraints: dict[str, str] = {}
        self.scope: dict[str, Any] = {"config": {}, "__folder__": str(self.folder), "rules": Names(), **FUNCTION_NAMES}

    def omit(self, line: int, reason: str, file: str = "") -> None:
        """List something that is not converted, once."""
        one = Omission(line, reason, file)
        if one not in self.found.omissions:
            self.found.omissions.append(one)

    def read(self, path: Path, file: str) -> None:
        """Read a file and the files that it includes."""
        text = read_bytes(path).decode(errors="replace")
        for statement in read_snakefile(text, path):
            match statement:
                case SnakeRule():
                    self._add_rule(statement, file)
                case Directive():
                    try:
                        self._follow(statement, path, file)
                    except NotStatic as why:
                        self.omit(statement.section.line, f"{statement.name}: {why}", file)
                case PythonCode():
                    self._run(statement, file)

    def _add_rule(self, rule: SnakeRule, file: str) -> None:
        self.first = self.first or (rule.name if not file else "")
        try:
            made = read_rule(rule, self.scope, self.constraints, file)
        except NotStatic as why:
            self.omit(rule.line, f"rule {rule.name}: {why}", file)
            self.unread.add(rule.name)
            return
        self.rules.append(made)
        self.scope["rules"].named[rule.name] = Names(named={"output": made.outputs})
        if rule.checkpoint:
            self.omit(rule.line, f"checkpoint {rule.name}: the workflow does not change after it", file)

    def _follow(self, directive: Directive, path: Path, file: str) -> None:
        name, line = directive.name, directive.section.line
        if name in ("configfile", "include"):
            value = str(evaluate(only_argument(directive.section), self.scope))
            there = (path.parent if name == "include" else self.folder) / value
            if not there.is_file():
                raise NotStatic(f"there is no file {value}")
            if name == "include":
                self.read(there, value)
            else:
                self.scope["config"].update(_read_config(there))
        elif name == "wildcard_constraints":
            named = arguments(directive.section)[1]
            self.constraints |= {key: str(evaluate(one, self.scope)) for key, one in named.items()}
        elif reason := _DIRECTIVES.get(name, "this directive is not followed"):
            self.omit(line, f"{name}: {reason}", file)

    def _run(self, code: PythonCode, file: str) -> None:
        """Evaluate simple statements; the names that others set have no value."""
        try:
            body = ast.parse(code.text).body
        except SyntaxError:
            self.omit(code.line, f"Python code around rules is not run: {code.text.splitlines()[0]:.50}", file)
            return
        for statement in body:
            try:
                execute([statement], self.scope)
            except NotStatic as why:
                names = dict.fromkeys(assigned_names(statement))
                self.omit(code.line, f"{', '.join(names)}: {why}" if names else str(why), file)
                self.scope.update({name: Unknown(f"the value of {name} is not known: {why}") for name in names})


def _read_config(path: Path) -> dict[str, Any]:
    problems = Problems(str(path))
    tree = read_tree(path.read_bytes(), path.suffix, problems)
    try:
        problems.raise_any()
    except SpecError as error:
        raise NotStatic(f"the config file is not valid: {error.problems[0].message}") from None
    found = data(tree, "the config", problems) if tree is not None else {}
    return found if isinstance(found, dict) else {}


class _Job(msgspec.Struct):
    """One run of a rule, as the workflow needs it."""

    wildcards: Wildcards
    run: RuleRun


class _Plan:
    """Finds the jobs that a target needs."""

    def __init__(self, reader: _Reader, found: Conversion) -> None:
        self._reader = reader
        self._found = found
        self._jobs: dict[str, list[_Job]] = {}
        self._seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        self._made: set[str] = set()
        self._left_out: set[str] = set()
        self._target = ""
        self._unknown = bool(reader.unread)  # whether a rule's needs are not known

    def resolve_target(self, target: str | None) -> None:
        """Resolve the inputs of the first rule, or of the one with `default_target`; or a rule or path by name."""
        rules = self._reader.rules
        default = next((one.rule.name for one in rules if "default_target" in one.rule.sections), self._reader.first)
        chosen = next((one for one in rules if one.rule.name == (target or default)), None)
        if (target or default) in self._reader.unread:
            self._target = target or default
            self._reader.omit(0, f"rule {self._target}: the target is not known; --target NAME converts another one")
            return
        if chosen is None:
            maker = next((one for one in rules if target is not None and one.match(target) is not None), None)
            if maker is not None and target is not None:
                self._target = target
                self._provide(target, maker)
            return
        self._target = chosen.rule.name
        if chosen.wildcards:
            self._omit(chosen, f"rule {chosen.rule.name}: a rule with wildcards is no target")
            return
        self._need(chosen, {})

    def _omit(self, rule: PathRule, reason: str) -> None:
        self._reader.omit(rule.rule.line, reason, rule.file)

    def _need(self, rule: PathRule, wildcards: Wildcards) -> bool:
        """Add the job of a rule after the jobs that it needs. Return whether it can be run."""
        key = (rule.rule.name, tuple(wildcards.items()))
        if key in self._seen:
            return rule.rule.name not in self._left_out
        self._seen.add(key)
        try:
            run = run_rule(rule, wildcards)
        except NotStatic as why:
            self._unknown = True
            self._left_out.add(rule.rule.name)
            self._omit(rule, f"rule {rule.rule.name}: {why}")
            return False
        for path in run.inputs.items:
            self._provide(str(path), rule)
        why_not = next((why for name, why in _NOT_RUN.items() if name in rule.rule.sections), "")
        if why_not:
            self._left_out.add(rule.rule.name)
            self._omit(rule, f"rule {rule.rule.name}: {why_not}")
            return False
        if run.command is not None or run.outputs.items:
            self._jobs.setdefault(rule.rule.name, []).append(_Job(wildcards, run))
        return True

    def _provide(self, path: str, needer: PathRule) -> None:
        """Find the rule that makes a path, and need it."""
        if path in self._made:
            return
        self._made.add(path)
        fitting = [(rule, found) for rule in self._reader.rules if (found := rule.match(path)) is not None]
        if not fitting:
            if not (self._reader.folder / path).exists():
                self._omit(needer, f"rule {needer.rule.name}: no rule makes {path}, and it is not there")
            return
        fixed = [one for one in fitting if not one[0].wildcards]
        rule, wildcards = (fixed or fitting)[0]
        if len(fitting) > 1 and not fixed:
            others = ", ".join(one.rule.name for one, _ in fitting[1:])
            self._omit(rule, f"rule {rule.rule.name}: makes {path}, and so could {others}")
        self._need(rule, wildcards)

    def add_entries(self) -> None:
        """Add an entry for each rule that has jobs, and list what was left out of it."""
        names: set[str] = set()
        for rule in self._reader.rules:
            jobs = [] if rule.rule.name in self._left_out else self._jobs.get(rule.rule.name, [])
            if not jobs:
                reached = {name for name, _ in self._seen}
                if rule.rule.name not in reached and rule.outputs.items:
                    needs = f"whether the target {self._target} needs it is not known"
                    why = needs if self._unknown else f"the target {self._target} does not need it"
                    self._omit(rule, f"rule {rule.rule.name}: {why}")
                continue
            self._list_omissions(rule, jobs)
            try:
                entries = list(_entries(rule, jobs))
            except NotStatic as why:
                self._omit(rule, f"rule {rule.rule.name}: {why}")
                continue
            for name, entry in entries:
                made = unique_name(name, names)
                names.add(made)
                note = f"{rule.file}:{rule.rule.line}" if rule.file else ""
                self._found.jobs.append(ConvertedJob(made, entry, 0 if rule.file else rule.rule.line, note))

    def _list_omissions(self, rule: PathRule, jobs: Sequence[_Job]) -> None:
        for name in rule.rule.sections:
            if _NOT_KEPT.get(name):
                self._omit(rule, f"rule {rule.rule.name}: `{name}`: {_NOT_KEPT[name]}")
        for job in jobs[:1]:
            every = (*job.run.inputs.items, *job.run.outputs.items)
            for flag in dict.fromkeys(flag for path in every for flag in getattr(path, "flags", ())):
                if flag in _FLAGS:
                    self._omit(rule, f"rule {rule.rule.name}: `{flag}`: {_FLAGS[flag]}")
            for name, why in job.run.unknown.items():
                self._omit(rule, f"rule {rule.rule.name}: {'' if name == 'threads' else 'the resource '}{name}: {why}")
            for name in job.run.resources:
                if name not in _RESOURCES and name != "tmpdir":
                    self._omit(rule, f"rule {rule.rule.name}: the resource {name} has no counterpart; see `licences`")


_MARKS = ("\ue000", "\ue001")
"""Around the name of a wildcard, while an entry is made for all its values."""


def _entries(rule: PathRule, jobs: Sequence[_Job]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield one entry with a matrix, or, if the jobs differ in more than their wildcards, one for each job."""
    single = [_entry(rule, job.run) for job in jobs]
    if not rule.wildcards:
        yield rule.rule.name, _finished(single[0])
        return
    rows = [job.wildcards for job in jobs]
    shared = _shared_entry(rule, rows, single, {}) or _shared_with_functions(rule, jobs, single)
    if shared is not None:
        yield rule.rule.name, shared
        return
    for job, entry in zip(jobs, single, strict=True):
        yield f"{rule.rule.name}-{'-'.join(job.wildcards.values())}", _finished(entry)


def _shared_with_functions(
    rule: PathRule, jobs: Sequence[_Job], single: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the entry that makes all jobs by a matrix in which the values of functions are columns."""
    columns: dict[tuple[str, str | int], str] = {}
    for section, key in functions(rule):
        name = key if isinstance(key, str) and key not in rule.wildcards else f"{section}_{key}"
        if name in columns.values():
            return None
        columns[section, key] = name
    rows = []
    for job in jobs:
        row: dict[str, Any] = dict(job.wildcards)
        for (section, key), name in columns.items():
            names = job.run.inputs if section == "input" else job.run.params
            value = names.named[key] if isinstance(key, str) else names.positional[key]
            if not isinstance(value, str | int | float):
                return None
            row[name] = value
        rows.append(row)
    return _shared_entry(rule, rows, single, columns)


def _shared_entry(
    rule: PathRule,
    rows: Sequence[Mapping[str, Any]],
    single: Sequence[dict[str, Any]],
    columns: Mapping[tuple[str, str | int], str],
) -> dict[str, Any] | None:
    """Return the entry that makes all jobs by a matrix; None if there is none. `columns`: the names of functions."""
    marked = {name: f"{_MARKS[0]}{name}{_MARKS[1]}" for name in rows[0]}
    try:
        run = run_rule(
            rule, {name: marked[name] for name in rule.wildcards}, {key: marked[columns[key]] for key in columns}
        )
    except NotStatic:
        return None
    template = _entry(rule, run)
    for row, entry in zip(rows, single, strict=True):
        if _replaced(template, {marked[name]: str(value) for name, value in row.items()}) != entry:
            return None
    if any("${" in str(value) or "\0" in str(value) for row in rows for value in row.values()):
        return None
    references = {mark: f"${{matrix.{name}}}" for name, mark in marked.items()}
    made: dict[str, Any] = _replaced(_finished(template), references)
    try:
        compile_command(made["run"], "bash")
    except RekindleError:
        return None
    return {**_matrix(rows), **made}


def _matrix(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `matrix` if the rows are all combinations of their values, else `zip`."""
    columns = {name: list(dict.fromkeys(row[name] for row in rows)) for name in rows[0]}
    size = 1
    for values in columns.values():
        size *= len(values)
    if size == len(rows):
        return {"matrix": columns}
    return {"zip": {name: [row[name] for row in rows] for name in rows[0]}}


def _replaced(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, texts) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, texts) for one in value]
    if isinstance(value, str):
        for old, new in texts.items():
            value = value.replace(old, new)
    return value


def _finished(entry: dict[str, Any]) -> dict[str, Any]:
    """Escape the texts of an entry in which rekindle would substitute something."""
    if "run" not in entry:
        return entry
    made = {**entry, "run": literal(entry["run"])}
    for kind in ("inputs", "outputs"):
        if kind in entry:
            made[kind] = {key: literal(path) for key, path in entry[kind].items()}
    return made


_RESOURCES = ("mem_mb", "mem", "mem_gb", "runtime", "gpu", "gpus", "nvidia_gpu")


def _entry(rule: PathRule, run: RuleRun) -> dict[str, Any]:
    """Return the entry of one job, not escaped."""
    entry: dict[str, Any] = {}
    for kind, names in (("inputs", run.inputs), ("outputs", run.outputs)):
        paths = dict(_named(names, kind.removesuffix("s")))
        if paths:
            entry[kind] = paths
    folders = [os.path.dirname(str(path)) for path in (*run.outputs.items, *run.log.items)]  # noqa: PTH120 a text
    parents = list(dict.fromkeys(one for one in folders if one))
    touched = [str(one) for one in run.outputs.items if "touch" in getattr(one, "flags", ())]
    lines = ["set -euo pipefail"]
    if parents:
        lines.append(f"mkdir -p {' '.join(parents)}")
    lines += [run.command] if run.command else []
    lines += [f"touch {' '.join(touched)}"] if touched else []
    entry["run"] = "\n".join(lines)
    resources = _resources(run)
    if resources:
        entry["resources"] = resources
    for key, name in (("retries", "retry"), ("priority", "priority")):
        section = rule.rule.sections.get(key)
        if section is not None:
            value = evaluate(only_argument(section), rule.scope)
            if isinstance(value, int):
                entry[name] = {"max": value} if name == "retry" else value
    return entry


def _named(names: Names, kind: str) -> Iterator[tuple[str, str]]:
    """Yield the paths with names: those of the Snakefile, else `input`, or `input_1` and so on."""
    unnamed = list(flat(names.positional))
    for at, path in enumerate(unnamed, 1):
        yield (kind if len(unnamed) == 1 else f"{kind}_{at}"), str(path)
    for key, value in names.named.items():
        several = list(flat(value))
        for at, path in enumerate(several, 1):
            yield (key if len(several) == 1 else f"{key}_{at}"), str(path)


def _resources(run: RuleRun) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = run.resources
    if run.threads > 1:
        found["cpus"] = run.threads
    for key, unit in (("mem_mb", "MB"), ("mem_gb", "GB")):
        if isinstance(given.get(key), int | float):
            found["memory"] = f"{given[key]}{unit}"
    if isinstance(given.get("mem"), str):
        found["memory"] = given["mem"].replace(" ", "")
    if isinstance(given.get("runtime"), int | float):
        found["time"] = f"{given['runtime']}m"
    elif isinstance(given.get("runtime"), str):
        found["time"] = given["runtime"]
    gpus = next((given[key] for key in ("gpu", "gpus", "nvidia_gpu") if isinstance(given.get(key), int)), 0)
    if gpus:
        found["gpus"] = gpus
    return found
