"""Typed reasons as text: one line each, or with values and diffs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.texts.display import NOT_SET, format_value
from rekindle.domain.texts.quantities import format_size
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.presentation import attempts, words

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import EnvironmentPart
    from rekindle.domain.changes.staleness import ComparedPart

_SHORT = 10  # digits of a digest
_COMMAND = lazy_regex(r"steps\.(?P<step>.+)\.(?P<items>each\.)?run")
_NAMED = 3  # files of each kind
_LONG = 30  # characters of a value that fit beside the other one

_SIMPLE = {
    ReasonKind.NEVER_RAN: "has not run yet",
    ReasonKind.UNKNOWN: "unknown: there is nothing to compare",
    ReasonKind.RELEASED: "released",
    ReasonKind.TEMPORARY: "its temporary output is gone",
}

_OF_JOBS = {
    ReasonKind.UPSTREAM: "{name} runs again",
    ReasonKind.DUPLICATE: "shares the result of {name}",
    ReasonKind.RESULT: "the result of {name} changed",
    ReasonKind.OPAQUE: "{name} ran again, without a result to compare",
    ReasonKind.NEEDS: "needs {name}, which is not done",
    ReasonKind.AGGREGATE: "runs again whenever {name} does, and that ran again",
    ReasonKind.STAYS: "stays as it is, though {name} runs again",
}

_PARTS = {  # text for one name; nouns for one and several
    ReasonKind.DEFINITION: ("{}", "command", "commands"),
    ReasonKind.PARAMETER: ("parameter {}", "parameter", "parameters"),
    ReasonKind.CODE: ("function {}", "function", "functions"),
    ReasonKind.ENVIRONMENT: ("variable {}", "variable", "variables"),
    ReasonKind.INPUT: ("input {}", "input", "inputs"),
    ReasonKind.OUTPUT: ("output {}", "output", "outputs"),
    ReasonKind.RESULT: ("result of {}", "result", "results"),
}
_LINES = 3  # of compared parts, before numbers replace the names
_IMPLICIT = ("{}", "file named in the command", "files named in the command")


_PARAMETER = {"after": "is left out", "before": "is new"}


def short(reason: Reason) -> str:
    """Return a reason in one line."""
    kept_from = reason.detail.get("kept_from")
    return _short(reason) if kept_from is None else f"{_short(reason)} since attempt {kept_from}, whose steps it keeps"


def _short(reason: Reason) -> str:
    detail, kind = reason.detail, reason.kind
    name = words.one_line(str(detail.get("name", "")))
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind is ReasonKind.RESULT and (detail.get("before") is None or detail.get("after") is None):
        return f"needs {name} now" if detail.get("before") is None else f"does not need {name} any more"
    if kind in _OF_JOBS:
        return _OF_JOBS[kind].format(name=name or detail.get("job"))
    if "pattern" in detail:
        return f"{'items' if detail.get('items') else kind.value} {_matching(detail)}".removeprefix(
            "input " if detail.get("implicit") else ""
        )
    if detail.get("implicit"):
        return f"{named_file(name)}: {_happened(detail, 'missing', 'new')}"
    if kind in (ReasonKind.INPUT, ReasonKind.OUTPUT):
        return f"{kind.value} {name} {_happened(detail, 'is missing', 'is there now')}"
    if kind is ReasonKind.UNSTABLE:
        return f"input {name} changed while it ran"
    if kind is ReasonKind.DEFINITION:
        return f"{_field(str(detail.get('field', '')))} {_happened(detail, 'is left out', 'is new')}"
    if kind is ReasonKind.PARAMETER:
        return f"parameter {name} {_PARAMETER.get(str(detail.get('not_set')), 'changed')}"
    if kind is ReasonKind.ENVIRONMENT and detail.get("part", "variable") != "variable":
        return _of_environment(detail)
    if kind is ReasonKind.ENVIRONMENT:
        return f"variable {name} {_happened(detail, 'is not set any more', 'is set now')}"
    if kind is ReasonKind.CODE:
        return _of_code(detail)
    if kind is ReasonKind.RETRY:
        return f"{attempts.retry_text(reason)}: {detail.get('cause')}{_delayed(detail)}{_elsewhere(detail)}"
    if kind is ReasonKind.JUDGE:
        why = f": {words.one_line(str(detail['reason']))}" if detail.get("reason") else ""
        return f"its judge says {detail.get('answer')}{why}"
    if kind is ReasonKind.CANCELS:
        return f"{detail.get('state')}: canceled first"
    if kind is ReasonKind.FORBIDDEN:
        return f"must not run twice: {words.one_line(str(detail.get('reason', '')))}"
    if kind is ReasonKind.REPEAT:
        return f"repeated, {detail['left']:,} more to come" if detail.get("left") else "repeated for the last time"
    if kind is ReasonKind.FAILED:
        cause = detail.get("cause")
        return f"{detail.get('state', 'failed')}{f' ({cause})' if cause else ''}"
    return kind.value.replace("_", " ")


def full(reason: Reason) -> Iterator[str]:
    """Yield a reason with its values: the line of `short`, then indented lines: paths, or lines of a diff."""
    detail, kind = reason.detail, reason.kind
    head = short(reason)
    if kind in (ReasonKind.INPUT, ReasonKind.OUTPUT, ReasonKind.UNSTABLE):
        yield head
        if "counts" not in detail:
            yield f"  {words.one_line(str(detail.get('path', '')))}{_digests(detail)}"
    elif kind is ReasonKind.DEFINITION and _COMMAND.fullmatch(str(detail.get("field"))):
        yield head
        yield from (f"  {line}" for line in command_diff(detail.get("before"), detail.get("after")))
    elif kind in (ReasonKind.DEFINITION, ReasonKind.PARAMETER):
        before, after = (_side(reason, side) for side in ("before", "after"))
        if max(len(before), len(after)) <= _LONG:
            yield f"{head}: {before} -> {after}"
        else:
            yield head
            yield f"  - {before}"
            yield f"  + {after}"
    else:
        yield head


def part_text(part: EnvironmentPart, value: str) -> str:
    """Return part of an environment: `CPython 3.11.7 (/usr/bin/python3.11)`, `numpy 2.0.1`, or a program's path."""
    if part.kind == "interpreter":
        return words.one_line(value)
    return words.one_line(f"{part.name} {value}" if part.kind == "distribution" else value.rpartition(" ")[0])


def _of_environment(detail: Mapping[str, Any]) -> str:
    """Return how a part of the environment changed: `numpy 1.26.4 -> 2.0.1`. A program may change at the same path."""
    name = words.one_line(str(detail["name"]))
    before, after = (str(detail[side] or "") for side in ("before", "after"))
    if detail["part"] == "interpreter":
        return f"{before} -> {after}"
    if detail["part"] == "distribution":
        return f"{name} {before} -> {after or 'not installed'}"
    paths = before.rpartition(" ")[0], after.rpartition(" ")[0]
    if paths[0] == paths[1]:
        return f"program {name} changed ({paths[0]})"
    return f"program {name}: {paths[0]} -> {paths[1] or 'not found'}"


def _of_code(detail: Mapping[str, Any]) -> str:
    from rekindle.domain.changes.differences import ON_IMPORT

    module, name = words.one_line(str(detail.get("module"))), detail.get("name")
    happened = _happened(detail, "is gone", "is new")
    if name is None:
        because = detail.get("because")
        return f"module {module} {happened}" + (f" (compared whole: {words.one_line(str(because))})" if because else "")
    if name == ON_IMPORT:
        return f"what module {module} does on import {happened}"
    return f"{module}:{words.one_line(str(name))} {happened}"


def named_file(name: str) -> str:
    """Return the name of a file that a command names and no job declares."""
    return f"{words.one_line(name)} (named in the command)"


def compared_lines(parts: Sequence[ComparedPart], width: int, most: int | None = _LINES) -> list[str]:
    """Return what an attempt was compared by, in lines of `width` columns: the names, or their numbers by kind if the
    names take more than `most` lines."""
    lines = _wrapped([named_file(one.name) if one.implicit else _of_kind(one) for one in parts], width)
    if most is None or len(lines) <= most:
        return lines
    counts = Counter(_IMPLICIT if one.implicit else _PARTS[one.kind] for one in parts)
    return _wrapped(
        [
            single if single == "command" else f"{number:,} {single if number == 1 else several}"
            for (_, single, several), number in counts.items()
        ],
        width,
    )


def _wrapped(texts: Sequence[str], width: int) -> list[str]:
    """Join texts with commas and break lines only after commas. A text that is too long is shortened."""
    lines = [""]
    for at, text in enumerate(texts):
        piece = words.cut(text, width - 1, "middle") + ("," if at + 1 < len(texts) else "")
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > width:
            lines.append("")
        lines[-1] += f" {piece}" if lines[-1] else piece
    return lines


def _of_kind(one: ComparedPart) -> str:
    return _PARTS[one.kind][0].format(words.one_line(one.name))


def _delayed(detail: Any) -> str:
    delay = detail.get("delay")
    return f", {words.duration(delay)} later" if delay else ""


def _elsewhere(detail: Any) -> str:
    host = detail.get("avoids")
    if host is None:
        return ""
    host = words.one_line(str(host))
    return f", on {host} again: no other host works" if detail.get("alone") else f", not on {host}"


def _happened(detail: Any, gone: str, fresh: str) -> str:
    if detail.get("after") is None:
        return gone
    return fresh if detail.get("before") is None else "changed"


def _matching(detail: Any) -> str:
    """Return how the matches of a pattern changed: `in/*.txt: 1 new (in/c.txt)`."""
    pattern = words.one_line(str(detail["pattern"]))
    if detail.get("implicit"):
        pattern = named_file(str(detail["name"]))
    if "counts" not in detail:
        return f"{pattern} {_happened(detail, 'is missing', 'is there now')}"
    parts = []
    for sort, count in detail["counts"].items():
        if count:
            named = [words.one_line(name) for name in detail[sort][:_NAMED]]
            parts.append(f"{count:,} {sort} ({', '.join(named)}{', …' if count > len(named) else ''})")
    return f"{pattern}: {', '.join(parts)}"


def _field(field: str) -> str:
    """Return the name of a field of the definition; `steps.fit.run` is `the command of step fit`."""
    found = _COMMAND.fullmatch(field)
    if found is None:
        return words.one_line(field)
    what = "command that finds the items" if found["items"] else "command"
    return f"the {what}" if found["step"] == "run" else f"the {what} of step {words.one_line(found['step'])}"


def _digests(detail: Any) -> str:
    before, after = detail.get("before"), detail.get("after")
    if not (before and after):
        return ""
    return f" ({short_digest(before)} -> {short_digest(after)})"


def short_digest(digest: str) -> str:
    """Return the beginning of a digest. For a file compared by modification time: its size and that time."""
    if digest.startswith("mtime:"):
        _, size, *modified = digest.split(":")
        if not (modified and size.isdecimal() and modified[0].isdecimal()):
            return digest[6 : 6 + _SHORT]
        return f"{format_size(int(size))} of {words.short_time(int(modified[0]) / 1e9)}"
    return digest[:_SHORT]


def _side(reason: Reason, side: str) -> str:
    """Return the value of a parameter or field of the definition before or after the change."""
    value = reason.detail.get(side)
    absent = value is None and reason.kind is ReasonKind.DEFINITION
    return NOT_SET if absent or reason.detail.get("not_set") == side else words.one_line(format_value(value))


def command_diff(before: Any, after: Any) -> Iterator[str]:
    """Yield a unified diff of two commands: by lines of a shell command, or by words of a list."""
    import difflib

    lines = difflib.unified_diff(_lines(before), _lines(after), n=1, lineterm="")
    for line in list(lines)[2:]:
        if line.startswith("@@"):
            continue
        yield f"{line[:1]} {line[1:]}"


def _lines(command: Any) -> Sequence[str]:
    if command is None:
        return []
    if isinstance(command, str):
        return [words.one_line(line) for line in command.splitlines()]
    return [words.one_line(str(word)) for word in command]
