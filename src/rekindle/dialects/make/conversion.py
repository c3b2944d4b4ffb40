"""Convert the rules of a Makefile that its default goal needs: each target with a recipe becomes a job."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from rekindle.dialects.make.makefile import Makefile, Rule, read_makefile
from rekindle.dialects.make.variables import NotStatic, match_pattern
from rekindle.spec.conversion import Conversion, ConvertedJob, Omission, literal, named_paths, unique_name
from rekindle.spec.starting import workflow_name

_MOST_CHAINED = 8
"""Pattern rules that are applied one after the other."""

_SPECIAL = {
    ".NOTPARALLEL": "one job at a time: rekindle run -j 1",
    ".INTERMEDIATE": "make removes these files; rekindle keeps them",
    ".IGNORE": "errors are not ignored: add `|| true` to the commands",
    ".DEFAULT": "a rule for all other targets",
    ".EXPORT_ALL_VARIABLES": "variables are not exported to commands: add them to `env:`",
    ".SECONDEXPANSION": "prerequisites are expanded once",
}


def convert(path: Path, *, target: str | None = None) -> Conversion:
    """Return the jobs of a Makefile for a target, by default its default goal."""
    made = read_makefile(path, os.environ)
    found = Conversion("make", path.name, workflow_name(Path.cwd()), omissions=made.omissions)
    if path.parent.resolve() != Path.cwd():
        found.omissions.append(Omission(0, "paths are taken relative to this folder, as by `make -f`"))
    plan = _Plan(made, found)
    goal = target or plan.default_goal()
    if goal is not None and (why := plan.unknown_goal(goal)):
        reason = f"{goal}: the target is not known: {why}; --target NAME converts another one"
        found.omissions.append(Omission(0, reason))
    if goal is not None:
        plan.visit(goal)
        plan.add_jobs(goal)
    return found


class _Target(msgspec.Struct):
    """A target with a recipe, and what it needs. `made`: all files that one run of the recipe makes."""

    rule: Rule
    made: list[str]
    needs: list[str]
    order_only: list[str]
    stem: str
    commands: list[str] = msgspec.field(default_factory=list)
    job: str = ""


class _Plan:
    def __init__(self, made: Makefile, found: Conversion) -> None:
        self._made = made
        self._found = found
        self._phony = set(made.special.get(".PHONY", ()))
        self._rules: dict[str, list[Rule]] = {}
        for rule in made.rules:
            for target in rule.targets if not rule.pattern else ():
                self._rules.setdefault(_normal(target), []).append(rule)
        self._patterns = [rule for rule in made.rules if rule.pattern and rule.lines]
        self._targets: dict[str, _Target | None] = {}  # None: without a recipe
        self._groups: dict[str, list[str]] = {}  # of a target without a recipe: what it needs
        self._missing: set[str] = set()

    def default_goal(self) -> str | None:
        goal = self._made.variables.known.get(".DEFAULT_GOAL")
        if goal is not None and goal.value:
            return goal.value.strip()
        return self._made.first

    def unknown_goal(self, goal: str) -> str:
        """Return why nothing is known of a target, or an empty text."""
        return "" if _normal(goal) in self._rules else self._made.unknown.get(goal, "")

    def visit(self, name: str) -> None:
        """Find how a target is made, and visit what it needs. Cycles end at the second visit, as in make."""
        pending = [_normal(name)]
        while pending:
            target = pending.pop()
            if target in self._targets:
                continue
            self._targets[target] = None
            needs = self._resolve(target)
            pending += reversed([_normal(one) for one in needs])

    def _resolve(self, target: str) -> list[str]:
        rules = self._rules.get(target, [])
        with_recipe = next((rule for rule in reversed(rules) if rule.lines), None)
        # $< is the first prerequisite of the rule with the recipe.
        ordered = [*([with_recipe] if with_recipe else []), *(rule for rule in rules if rule is not with_recipe)]
        needs = list(dict.fromkeys(_normal(one) for rule in ordered for one in rule.needs))
        order_only = list(dict.fromkeys(_normal(one) for rule in rules for one in rule.order_only))
        if with_recipe is None and target not in self._phony:
            chosen = self._pattern_for(target)
            if chosen is not None:
                rule, stem, made, filled = chosen
                needs = list(dict.fromkeys([*filled, *needs]))
                order_only += [_fill(one, stem) for one in rule.order_only]
                return self._add(_Target(rule, made, needs, order_only, stem))
        if with_recipe is not None:
            made = [_normal(one) for one in with_recipe.targets] if with_recipe.grouped else [target]
            return self._add(_Target(with_recipe, made, needs, order_only, with_recipe.stem))
        self._groups[target] = [*needs, *order_only]
        return self._groups[target]

    def _add(self, target: _Target) -> list[str]:
        for one in target.made:
            self._targets[one] = target
        return [*target.needs, *target.order_only]

    def _pattern_for(self, target: str) -> tuple[Rule, str, list[str], list[str]] | None:
        """Return the pattern rule that makes a target: one whose needs are there is preferred to a chain of rules."""
        for depth in (0, _MOST_CHAINED):
            fitting = []
            for rule in self._patterns:
                for pattern in rule.targets:
                    base = "" if "/" in pattern else target[: target.rfind("/") + 1]
                    stem = match_pattern(pattern, target[len(base) :])
                    if stem:
                        fitting.append((len(stem), rule, base, stem))
            for _, rule, base, stem in sorted(fitting, key=lambda one: one[0]):
                filled = [
                    _normal(base + _fill(one, stem) if "%" in one and "/" not in one else _fill(one, stem))
                    for one in rule.needs
                ]
                if all(self._can_be_made(one, depth) for one in filled) and target not in filled:
                    made = [_normal((base if "/" not in one else "") + _fill(one, stem)) for one in rule.targets]
                    return rule, base + stem, made, filled
        return None

    def _can_be_made(self, path: str, depth: int) -> bool:
        if path in self._rules or (self._made.variables.folder / path).exists():
            return True
        if not depth:
            return False
        for rule in self._patterns:
            for pattern in rule.targets:
                if pattern == "%":
                    continue  # make's rules for programs do not chain here
                base = "" if "/" in pattern else path[: path.rfind("/") + 1]
                stem = match_pattern(pattern, path[len(base) :])
                if stem and all(self._can_be_made(_normal(base + _fill(one, stem)), depth - 1) for one in rule.needs):
                    return True
        return False

    def add_jobs(self, goal: str) -> None:
        """Add the job of each visited target with a recipe, and list what was left out."""
        targets = {id(one): one for one in self._targets.values() if one is not None}
        kept = [one for one in targets.values() if self._expand_commands(one)]
        names: set[str] = set()
        for target in kept:
            target.job = unique_name(target.made[0], names)
            names.add(target.job)
        needed = {need for target in targets.values() for need in (*target.needs, *target.order_only)}
        outputs = {path: one for one in kept for path in one.made if self._is_file(path, one, needed)}
        folders = {path for path in outputs if any(other.startswith(f"{path}/") for other in outputs)}
        files = {path: one for path, one in outputs.items() if path not in folders}
        self._found.jobs += [self._job(target, files) for target in kept]
        self._list_omissions(goal)
        shell = self._made.variables.expand("$(SHELL)")
        if shell not in ("/bin/sh", "sh"):
            self._found.top["defaults"] = {"shell": shell}
        exported = {name: self._made.variables.expand(f"$({name})") for name in self._made.exported}
        if exported:
            self._found.top["env"] = {name: literal(value) for name, value in exported.items()}

    def _expand_commands(self, target: _Target) -> bool:
        """Expand the recipe. Return whether it has a command; list a recipe that cannot be expanded."""
        name = target.made[0]
        why = next((self._made.unknown[one] for one in target.made if one in self._made.unknown), "")
        scope = {
            "@": name,
            "<": target.needs[0] if target.needs else "",
            "^": " ".join(target.needs),
            "+": " ".join(target.needs),
            "?": " ".join(target.needs),
            "|": " ".join(target.order_only),
            "*": target.stem or _stem_of(name),
            "%": "",
        }
        try:
            if why:
                raise NotStatic(why)
            text = [self._made.variables.expand(line, scope) for line in target.rule.lines]
        except NotStatic as reason:
            self._omit(target.rule, f"{name}: {reason}")
            return False
        lines = [line for one in text for line in re.split(r"(?<!\\)\n", one)]
        target.commands = list(_commands(lines, one_shell=".ONESHELL" in self._made.special))
        return bool(target.commands)

    def _omit(self, rule: Rule, reason: str) -> None:
        self._found.omissions.append(Omission(rule.line if rule.in_file else 0, reason))

    def _is_file(self, path: str, target: _Target, needed: set[str]) -> bool:
        """Return whether a target is a file that its recipe makes, not only a name."""
        if path in self._phony:
            return False
        written = any(path in command or Path(path).name in command for command in target.commands)
        if written or path in needed or len(target.made) > 1 or (self._made.variables.folder / path).exists():
            return True
        self._omit(
            target.rule, f"{path}: taken as a name, not a file: its recipe does not write it (declare it .PHONY)"
        )
        return False

    def _job(self, target: _Target, files: dict[str, _Target]) -> ConvertedJob:
        entry: dict[str, Any] = {}
        inputs = [path for path in target.needs if path in files or self._is_source(path, target.rule)]
        needs = [
            job for path in (*target.needs, *target.order_only) if path not in inputs for job in self._jobs_of(path)
        ]
        outputs = [path for path in target.made if files.get(path) is target]
        if needs:
            entry["needs"] = list(dict.fromkeys(job for job in needs if job != target.job))
        for kind, paths in (("inputs", inputs), ("outputs", outputs)):
            if paths:
                entry[kind] = {name: literal(path) for name, path in named_paths(paths).items()}
        if len(target.commands) == 1:
            entry["run"] = literal(target.commands[0])
        else:
            steps = enumerate(target.commands, 1)
            entry["steps"] = [{"name": f"line-{number}", "run": literal(command)} for number, command in steps]
        return ConvertedJob(target.job, entry, target.rule.line if target.rule.in_file else 0)

    def _is_source(self, path: str, rule: Rule) -> bool:
        """Return whether a path is a file that no recipe makes. List one that is not there."""
        if path in self._phony or self._targets.get(path) is not None or self._groups.get(path):
            return False
        if (self._made.variables.folder / path).exists():
            return True
        if path in self._rules:  # an empty rule, such as FORCE
            self._omit(rule, f"{rule.targets[0]}: {path} makes it run each time; here it runs when something changed")
            return False
        if path in self._missing:
            return True
        self._missing.add(path)
        reason = self._made.unknown.get(path)
        self._omit(
            rule,
            f"{rule.targets[0]}: " + (f"{path}: {reason}" if reason else f"no rule makes {path}, and it is not there"),
        )
        return True

    def _jobs_of(self, path: str) -> Iterator[str]:
        """Yield the job that makes a target, or the jobs below a target without a recipe."""
        pending, seen = [path], set()
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            target = self._targets.get(name)
            if target is not None and target.job:
                yield target.job
            else:
                pending += [*(target.needs if target else ()), *self._groups.get(name, ())]

    def _list_omissions(self, goal: str) -> None:
        reached = {id(rule) for name in self._targets for rule in self._rules.get(name, ())}
        reached |= {id(target.rule) for target in self._targets.values() if target is not None}
        is_known = self._made.unread.isdisjoint(self._targets)
        why = f"the target {goal} does not need it" if is_known else f"whether the target {goal} needs it is not known"
        for rule in self._made.rules:
            if rule.in_file and rule.lines and id(rule) not in reached:
                self._omit(rule, f"{' '.join(rule.targets)}: {why}")
        for name, why in _SPECIAL.items():
            if name in self._made.special:
                self._found.omissions.append(Omission(0, f"{name}: {why}"))
        for name, value in self._made.variables.from_environment.items():
            self._found.omissions.append(Omission(0, f"$({name}) comes from the environment: {value:.40}"))


def _normal(path: str) -> str:
    """Return a path as make compares it: without a leading `./`."""
    return re.sub(r"^(\./+)+(?=.)", "", path)


def _fill(pattern: str, stem: str) -> str:
    return pattern.replace("%", stem, 1)


def _stem_of(name: str) -> str:
    return name.removesuffix(Path(name).suffix) if Path(name).suffix else ""


def _commands(lines: list[str], *, one_shell: bool) -> Iterator[str]:
    """Yield the commands of a recipe, without make's prefixes. A command whose failure make ignores cannot fail."""
    found = []
    for line in lines:
        prefix = re.match(r"[@+\-\s]*", line)
        command = line[prefix.end() :] if prefix else line
        if command.strip():
            found.append((command.rstrip(), bool(prefix and "-" in prefix[0])))
    if one_shell and found:
        yield "\n".join(command for command, _ in found)
        return
    for command, ignored in found:
        if ignored:
            yield f"{command} || true" if not set(command) & set(";&|#\n") else f"(\n{command}\n) || true"
        else:
            yield command
