"""The rules of a Snakefile with their paths evaluated, and one run of a rule for given wildcards."""

from __future__ import annotations

import ast
import re
import shlex
import string
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rekindle.dialects.snakemake.expressions import (
    FlaggedPath,
    Function,
    Names,
    NotStatic,
    Unknown,
    call,
    evaluate,
    flat,
)
from rekindle.dialects.snakemake.snakefile import Section, SnakeRule, compile_path, fill_path, wildcard_names


class PathRule(msgspec.Struct):
    """A rule whose outputs are known. `file`: the included file that it is in; "" for the Snakefile."""

    rule: SnakeRule
    scope: dict[str, Any]
    outputs: Names
    patterns: list[re.Pattern[str]]
    wildcards: list[str]
    file: str = ""

    def match(self, path: str) -> dict[str, str] | None:
        """Return the wildcards with which the rule makes a path; None if it does not."""
        for pattern in self.patterns:
            found = pattern.fullmatch(path)
            if found is not None and set(self.wildcards) <= found.groupdict().keys():
                return {name: found[name] for name in self.wildcards}
        return None


Fixed = Mapping[tuple[str, str | int], str]
"""Values in place of functions, by section (`input`, `params`) and by name or position."""


class RuleRun(msgspec.Struct):
    """One job of a rule. `command` is None for a rule without `shell`. `unknown`: why resources are not known."""

    inputs: Names
    outputs: Names
    log: Names
    params: Names = msgspec.field(default_factory=Names)
    command: str | None = None
    threads: int = 1
    resources: dict[str, Any] = msgspec.field(default_factory=dict)
    unknown: dict[str, str] = msgspec.field(default_factory=dict)


def arguments(section: Section) -> tuple[list[ast.expr], dict[str, ast.expr]]:
    """Return the positional and named arguments of a section."""
    try:
        parsed = ast.parse(f"f(\n{section.text}\n)", mode="eval").body
    except SyntaxError as error:
        raise NotStatic(f"not understood: {error.msg}") from None
    if not isinstance(parsed, ast.Call):
        raise NotStatic("not understood")
    return parsed.args, {one.arg: one.value for one in parsed.keywords if one.arg is not None}


def only_argument(section: Section) -> ast.expr:
    """Return the first positional argument of a section. Raise NotStatic if there is none."""
    positional, _ = arguments(section)
    if not positional:
        raise NotStatic("not understood")
    return positional[0]


def read_rule(rule: SnakeRule, scope: dict[str, Any], constraints: Mapping[str, str], file: str) -> PathRule:
    """Evaluate the outputs of a rule. Raise NotStatic."""
    outputs = Names()
    if "output" in rule.sections:
        positional, named = arguments(rule.sections["output"])
        outputs = Names(
            [evaluate(one, scope) for one in positional], {key: evaluate(one, scope) for key, one in named.items()}
        )
    own = dict(constraints)
    if "wildcard_constraints" in rule.sections:
        own |= {
            key: str(evaluate(one, scope)) for key, one in arguments(rule.sections["wildcard_constraints"])[1].items()
        }
    texts = [str(one) for one in outputs.items]
    names = list(dict.fromkeys(name for text in texts for name in wildcard_names(text)))
    try:
        patterns = [compile_path(one, own) for one in texts]
    except re.error as error:
        raise NotStatic(f"the regular expression of a wildcard is wrong: {error}") from None
    return PathRule(rule, scope, outputs, patterns, names, file)


def functions(found: PathRule) -> list[tuple[str, str | int]]:
    """Return the inputs and parameters that are functions of the wildcards, by section and by name or position."""
    every: list[tuple[str, str | int]] = []
    for name in ("input", "params"):
        section = found.rule.sections.get(name)
        positional, named = arguments(section) if section is not None else ([], {})
        keyed: list[tuple[str | int, ast.expr]] = [*enumerate(positional), *named.items()]
        for key, node in keyed:
            is_call = isinstance(node, ast.Starred) or (
                isinstance(node, ast.Call) and ast.unparse(node.func) == "unpack"
            )
            if not is_call and isinstance(evaluate(node, found.scope), Function):
                every.append((name, key))
    return every


def run_rule(found: PathRule, wildcards: Mapping[str, str], fixed: Fixed | None = None) -> RuleRun:
    """Return the job of a rule for these wildcards. Raise NotStatic."""
    fixed = fixed or {}
    values = Names(named=wildcards)
    outputs = _fill_all(found.outputs, wildcards)
    made = RuleRun(_section("input", found, values, {"output": outputs}, fixed), outputs, Names())
    made.log = _section("log", found, values, {}, fixed)
    try:
        made.threads = _threads(found, values, made)
    except NotStatic as why:
        made.unknown["threads"] = str(why)
    _read_resources(found, values, made)
    shell = found.rule.sections.get("shell")
    if shell is not None:
        made.params = _section("params", found, values, {**_given(made), "output": outputs}, fixed)
        written = str(evaluate(only_argument(shell), found.scope))
        scope = {
            **found.scope,
            **_given(made),
            "output": outputs,
            "params": made.params,
            "wildcards": values,
            "log": made.log,
            "rule": found.rule.name,
        }
        made.command = _format(_dedent(written), scope)
    return made


def _given(made: RuleRun) -> dict[str, Any]:
    return {
        "input": made.inputs,
        "threads": Unknown(made.unknown["threads"]) if "threads" in made.unknown else made.threads,
        "resources": Names(named={"tmpdir": "/tmp", **made.resources}),
        "attempt": 1,
    }


def _dedent(text: str) -> str:
    return text.strip("\n") if "<<" in text else textwrap.dedent(text.strip("\n")).strip()


def _section(name: str, found: PathRule, wildcards: Names, given: Mapping[str, Any], fixed: Fixed) -> Names:
    """Evaluate a section whose texts can contain wildcards, and whose values can be functions of them."""
    section = found.rule.sections.get(name)
    if section is None:
        return Names()
    positional, named = arguments(section)
    made = Names()
    for at, node in enumerate(positional):
        if (name, at) in fixed:
            made.positional.append(fixed[name, at])
        elif isinstance(node, ast.Starred):
            made.positional += [_fill(one, wildcards) for one in flat(evaluate(node.value, found.scope))]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "unpack":
            values = _value(node.args[0], found, wildcards, given)
            for key, one in values.items() if isinstance(values, Mapping) else ():
                made.named[key] = one
        else:
            made.positional.append(_value(node, found, wildcards, given))
    for key, node in named.items():
        made.named[key] = fixed[name, key] if (name, key) in fixed else _value(node, found, wildcards, given)
    return made


def _value(node: ast.expr, found: PathRule, wildcards: Names, given: Mapping[str, Any]) -> Any:
    value = evaluate(node, found.scope)
    if isinstance(value, Function):
        return call(value, [wildcards], given)
    return _fill(value, wildcards)


def _fill(value: Any, wildcards: Names) -> Any:
    """Replace the wildcards in a text, or in the texts of a list. A flagged path keeps its flags."""
    if isinstance(value, Names):
        return [_fill(one, wildcards) for one in value.items]
    if isinstance(value, list | tuple):
        return [_fill(one, wildcards) for one in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    try:
        filled = fill_path(value, wildcards.named)
    except KeyError as error:
        raise NotStatic(f"the wildcard {error.args[0]} of {value:.60} has no value") from None
    return FlaggedPath(filled, value.flags) if isinstance(value, FlaggedPath) else filled


def _fill_all(names: Names, wildcards: Mapping[str, str]) -> Names:
    values = Names(named=wildcards)
    return Names(
        [_fill(one, values) for one in names.positional], {key: _fill(one, values) for key, one in names.named.items()}
    )


def _threads(found: PathRule, wildcards: Names, made: RuleRun) -> int:
    section = found.rule.sections.get("threads")
    if section is None:
        return 1
    value = evaluate(only_argument(section), found.scope)
    value = call(value, [wildcards], {"input": made.inputs, "attempt": 1}) if isinstance(value, Function) else value
    if not isinstance(value, int | float):
        raise NotStatic(f"threads: {value!r:.40} is not a number")
    return int(value)


def _read_resources(found: PathRule, wildcards: Names, made: RuleRun) -> None:
    section = found.rule.sections.get("resources")
    for key, node in arguments(section)[1].items() if section is not None else ():
        try:
            value = evaluate(node, found.scope)
            if isinstance(value, Function):
                if "attempt" in value.parameters:
                    made.unknown[key] = "it grows with the attempt; here it is that of the first: see `retry`"
                value = call(value, [wildcards], {"input": made.inputs, "threads": made.threads, "attempt": 1})
            made.resources[key] = value
        except NotStatic as why:
            made.unknown[key] = str(why)


_FIELD = re.compile(r"(\w+)((?:\.\w+|\[[^\]]+\])*)")


def _format(text: str, scope: Mapping[str, Any]) -> str:
    """Fill the fields of a command, as Snakemake does: lists become words."""
    return "".join(_formatted(text, scope))


def _formatted(text: str, scope: Mapping[str, Any]) -> Iterator[str]:
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as error:
        raise NotStatic(f"the command has a wrong field: {error}") from None
    for literal, field, spec, _ in fields:
        yield literal
        if field is None:
            continue
        found = _FIELD.fullmatch(field)
        if found is None or found[1] not in scope:
            raise NotStatic(f"the command has the field {{{field}}}, which is not known")
        value = scope[found[1]]
        for attribute, key in re.findall(r"\.(\w+)|\[([^\]]+)\]", found[2]):
            value = _inner(value, attribute, key, field)
        if isinstance(value, Unknown):
            raise NotStatic(value.why)
        if isinstance(value, Function):
            raise NotStatic(f"the command has the field {{{field}}}, which is not known")
        words = [str(one) for one in flat(value)]
        yield " ".join(shlex.quote(one) for one in words) if spec == "q" else " ".join(words)


def _inner(value: Any, attribute: str, key: str, field: str) -> Any:
    try:
        if isinstance(value, Names):
            return value.get(attribute or key) if not key.isdecimal() else value.items[int(key)]
        if key:
            return value[int(key) if key.isdecimal() and isinstance(value, list | tuple) else key]
    except (KeyError, IndexError, TypeError):
        pass
    raise NotStatic(f"the command has the field {{{field}}}, which is not known")
