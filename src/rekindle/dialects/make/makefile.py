"""Read a Makefile into its rules and variables. Conditionals are evaluated, and included files are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from rekindle.dialects.make.variables import NotStatic, Variables, match_pattern, split_arguments
from rekindle.spec.conversion import Omission
from rekindle.spec.loading import read_bytes


class Rule(msgspec.Struct):
    """A rule: targets, needs and the lines of the recipe, not expanded. `pattern`: its targets contain `%`. `grouped`:
    one run of the recipe makes all targets. `stem`: of a static pattern rule."""

    line: int
    targets: list[str]
    needs: list[str] = msgspec.field(default_factory=list)
    order_only: list[str] = msgspec.field(default_factory=list)
    lines: list[str] = msgspec.field(default_factory=list)
    pattern: bool = False
    grouped: bool = False
    stem: str = ""
    in_file: bool = True  # False: one of make's own rules, or of an included file


class Makefile(msgspec.Struct):
    """What a Makefile defines. `special`: prerequisites of `.PHONY` and other special targets. `unknown`: targets with
    a rule that could not be read. `first`: the first target, which make makes by default.
    `unread`: targets whose needs could not be expanded."""

    variables: Variables
    rules: list[Rule] = msgspec.field(default_factory=list)
    special: dict[str, list[str]] = msgspec.field(default_factory=dict)
    exported: list[str] = msgspec.field(default_factory=list)
    omissions: list[Omission] = msgspec.field(default_factory=list)
    unknown: dict[str, str] = msgspec.field(default_factory=dict)
    first: str | None = None
    unread: set[str] = msgspec.field(default_factory=set)


def read_makefile(path: Path, environment: Mapping[str, str]) -> Makefile:
    """Read a Makefile, and add make's own rules for C and C++. Paths are relative to the working directory."""
    found = Makefile(Variables(Path.cwd(), environment))
    text = read_bytes(path).decode(errors="replace")
    _Reader(found, 0).read(text)
    _Reader(found, 1).read(_OWN_RULES)
    return found


_OWN_RULES = """\
%.o: %.c
\t$(CC) $(CFLAGS) $(CPPFLAGS) $(TARGET_ARCH) -c -o $@ $<
%.o: %.cc
\t$(CXX) $(CXXFLAGS) $(CPPFLAGS) $(TARGET_ARCH) -c -o $@ $<
%.o: %.cpp
\t$(CXX) $(CXXFLAGS) $(CPPFLAGS) $(TARGET_ARCH) -c -o $@ $<
%: %.o
\t$(CC) $(LDFLAGS) $(TARGET_ARCH) $^ $(LOADLIBES) $(LDLIBS) -o $@
%: %.c
\t$(CC) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS) $(TARGET_ARCH) $^ $(LOADLIBES) $(LDLIBS) -o $@
"""

_ASSIGNMENT = re.compile(
    r"((?:(?:override|export|private)\s+)*)([^\s:#=?!+]+)\s*(:::=|::=|:=|\?=|\+=|!=|=)\s*(.*)", re.DOTALL
)
_CONDITION = re.compile(r"(ifeq|ifneq|ifdef|ifndef|else|endif)\b\s*(.*)", re.DOTALL)
_INCLUDE = re.compile(r"(-include|sinclude|include)\s+(.+)")
_SUFFIX_RULE = re.compile(r"\.(\w+)\.(\w+)")
_MOST_INCLUDES = 20


class _Reader:
    """Reads the lines of one file. `depth`: 0 for the Makefile itself."""

    def __init__(self, found: Makefile, depth: int) -> None:
        self._found = found
        self._depth = depth
        self._rules: list[Rule] = []  # those that recipe lines belong to
        self._branches: list[tuple[bool, bool]] = []  # of each open conditional: taken now, taken before
        self._definition: tuple[str, str, list[str]] | None = None

    def read(self, text: str) -> None:
        for line, written in _logical_lines(text):
            try:
                self._read_line(line, written)
            except NotStatic as why:
                self._omit(line, f"{written.strip():.60}: {why}")
                self._rules = []

    def _omit(self, line: int, reason: str) -> None:
        self._found.omissions.append(Omission(0 if self._depth else line, reason))

    def _read_line(self, line: int, written: str) -> None:
        if self._definition is not None:
            self._read_definition(written)
            return
        is_recipe = written.startswith("\t") and bool(self._rules)
        text = "" if is_recipe else _without_comment(written).strip()
        if not is_recipe and (condition := _CONDITION.fullmatch(text)):
            self._read_condition(condition[1], condition[2].strip())
            return
        if not all(taken for taken, _ in self._branches):
            return
        if is_recipe:
            for rule in self._rules:
                rule.lines.append(written[1:])
        elif text:
            self._read_statement(line, text)

    def _read_definition(self, written: str) -> None:
        assert self._definition is not None
        name, operator, lines = self._definition
        if written.strip() == "endef":
            self._found.variables.assign(name, operator, "\n".join(lines))
            self._definition = None
        else:
            lines.append(written)

    def _read_condition(self, word: str, rest: str) -> None:
        if word == "endif":
            self._branches = self._branches[:-1]
        elif word == "else":
            _, before = self._branches.pop() if self._branches else (True, True)
            inner = _CONDITION.fullmatch(rest)
            if before or inner is None:
                self._branches.append((not before, True))
            else:
                self._open_branch(inner[1], inner[2].strip())
        else:
            self._open_branch(word, rest)

    def _open_branch(self, word: str, rest: str) -> None:
        """Begin a conditional. Neither branch of one that is not understood is taken."""
        self._branches.append((False, True))
        self._branches[-1] = (self._is_true(word, rest),) * 2

    def _is_true(self, word: str, rest: str) -> bool:
        variables = self._found.variables
        if word in ("ifdef", "ifndef"):
            name = variables.expand(rest).strip()
            defined = name in variables.known or name in variables.environment
            return defined is (word == "ifdef")
        if rest.startswith("(") and rest.endswith(")"):
            left, *others = split_arguments(rest[1:-1])
            right = ",".join(others)
        elif quoted := re.fullmatch(r"[\"'](.*)[\"']\s+[\"'](.*)[\"']", rest):
            left, right = quoted.groups()
        else:
            raise NotStatic("a condition that is not understood")
        return (variables.expand(left).strip() == variables.expand(right).strip()) is (word == "ifeq")

    def _read_statement(self, line: int, text: str) -> None:
        found, variables = self._found, self._found.variables
        if include := _INCLUDE.fullmatch(text):
            self._include(line, include[1], variables.expand(include[2]).split())
        elif definition := re.fullmatch(r"(?:override\s+|export\s+)*define\s+(\S+)\s*(=|:=|\+=|\?=)?", text):
            self._definition = (definition[1], definition[2] or "=", [])
        elif assignment := _ASSIGNMENT.fullmatch(text):
            name = variables.expand(assignment[2])
            variables.assign(name, assignment[3], assignment[4])
            if "export" in assignment[1]:
                found.exported.append(name)
        elif text.split()[0] == "export" and len(text.split()) > 1:
            found.exported += variables.expand(text).split()[1:]
        elif text.split()[0] in ("export", "unexport", "vpath", "undefine", "load"):
            self._omit(line, f"`{text:.60}`: this directive is not followed")
        elif ":" in text:
            self._rules = []
            self._read_rule(line, text)
        elif variables.expand(text).strip():
            self._omit(line, f"`{text:.60}`: not understood")

    def _include(self, line: int, word: str, names: list[str]) -> None:
        for name in names:
            path = self._found.variables.folder / name
            if not path.is_file():
                if word == "include":
                    self._omit(line, f"include {name}: there is no such file")
            elif self._depth < _MOST_INCLUDES:
                _Reader(self._found, self._depth + 1).read(path.read_text(errors="replace"))

    def _note_first(self, targets: list[str]) -> None:
        names = (name for name in targets if "%" not in name and (not name.startswith(".") or "/" in name))
        self._found.first = self._found.first or next(names, None)

    def _read_rule(self, line: int, text: str) -> None:
        found, variables = self._found, self._found.variables
        head, colon, tail = _partition(text, ":")
        if not colon:
            raise NotStatic("a rule without a colon")
        grouped = head.endswith("&")
        targets = variables.expand(head.removesuffix("&")).split()
        if not targets:
            return
        if tail.startswith(":"):
            self._note_first(targets)
            self._omit(line, f"{' '.join(targets)}: rules with two colons are not converted")
            found.unknown |= dict.fromkeys(targets, "a rule with two colons")
            return
        if _ASSIGNMENT.fullmatch(tail.strip()) and not tail.strip().startswith(("$", ";")):
            self._omit(line, f"{' '.join(targets)}: `{tail.strip():.40}`: variables of one target are not converted")
            found.unknown |= dict.fromkeys(targets, "a variable of its own")
            return
        self._note_first(targets)
        needs, semicolon, recipe = _partition(tail, ";")
        stems, colon, rest = _partition(needs, ":")
        parts = [stems, rest] if "%" in needs and colon else [needs]
        normal, _, order_only = _partition(parts[-1], "|")
        try:
            first_needs, later = (variables.expand(part).split() for part in (normal, order_only))
        except NotStatic as why:
            found.unknown |= dict.fromkeys(targets, str(why))
            found.unread |= set(targets)
            raise
        first = [recipe.strip()] if semicolon and recipe.strip() else []
        if targets[0].startswith(".") and targets[0][1:].isupper():
            found.special.setdefault(targets[0], []).extend(first_needs)
            return
        if len(parts) == 2:
            stem_pattern = variables.expand(parts[0]).strip()
            for target in targets:
                stem = match_pattern(stem_pattern, target)
                if stem is None:
                    self._omit(line, f"{target} does not match the pattern {stem_pattern}")
                    continue
                filled, ordered = ([one.replace("%", stem, 1) for one in words] for words in (first_needs, later))
                self._rules.append(Rule(line, [target], filled, ordered, list(first), stem=stem))
        elif len(targets) == 1 and not first_needs and (suffixes := _SUFFIX_RULE.fullmatch(targets[0])):
            self._rules.append(Rule(line, [f"%.{suffixes[2]}"], [f"%.{suffixes[1]}"], [], first, pattern=True))
        elif "%" in targets[0]:
            self._rules.append(Rule(line, targets, first_needs, later, first, pattern=True, grouped=True))
        elif grouped:
            self._rules.append(Rule(line, targets, first_needs, later, first, grouped=True))
        else:
            self._rules += [Rule(line, [target], first_needs, later, list(first)) for target in targets]
        for rule in self._rules:
            rule.in_file = not self._depth
        found.rules += self._rules


def _partition(text: str, separator: str) -> tuple[str, str, str]:
    """Partition a text at the first separator that is not within a reference."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "({") - (character in ")}")
        if character == separator and not depth:
            return text[:at], separator, text[at + 1 :]
    return text, "", ""


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number. Lines that end with a backslash are joined: in a recipe, with the line break."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        start, written = at + 1, lines[at]
        while written.endswith("\\") and at + 1 < len(lines):
            at += 1
            following = lines[at].removeprefix("\t")
            written = (
                f"{written}\n{following}"
                if written.startswith("\t")
                else f"{written[:-1].rstrip()} {following.strip()}"
            )
        yield start, written
        at += 1


def _without_comment(text: str) -> str:
    found = re.search(r"(?<!\\)#", text)
    return (text[: found.start()] if found else text).replace("\\#", "#")
