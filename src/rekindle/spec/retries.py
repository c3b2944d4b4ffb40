"""Read `retry:`, the rules by which a failed job runs again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from rekindle.domain.definition import Resources, RetryRule
from rekindle.domain.errors import BadSelection, BadValue
from rekindle.domain.overrides import Overrides
from rekindle.domain.states import Cause
from rekindle.domain.texts.patterns import compile_pattern
from rekindle.domain.texts.quantities import Amount, parse_duration, parse_size
from rekindle.spec.nodes import ListNode, MappingNode, Node, Problems, ScalarNode, describe
from rekindle.spec.values import check_keys, number, one_of, quantity, text, whole_number, yes_or_no

_KEYS = (
    *("max", "on", "exit_codes", "error", "delay", "backoff", "max_delay", "jitter"),
    *("memory", "time", "max_memory", "max_time", "other_host", "from"),
)
_FORM = "as in `retry: {max: 2, on: [lost, timeout], delay: 30s}`"
_CAUSES = tuple(cause.value for cause in Cause if cause is not Cause.CANCELED)
_STARTS = ("beginning", "failed-step")
_MAX_RETRIES = 10_000
_WITH_CODES = (Cause.EXIT,)
_DELAY = "as in `delay: 30s` or `max_delay: 10m`"
_CAP = "as in `max_memory: 64G` or `max_time: 8h`"

_Read = TypeVar("_Read")


def read_retry(
    node: Node | None, base: tuple[RetryRule, ...], takes: Resources | None, problems: Problems
) -> tuple[RetryRule, ...]:
    """Return the retry rules: a rule or a list of rules, or `base` if absent. The first matching rule applies.

    `takes` holds the job's resources if known: a factor needs an amount to multiply.
    """
    if node is None:
        return base
    rules = [_rule(item, takes, problems) for item in (node.items if isinstance(node, ListNode) else [node])]
    return tuple(rule for rule in rules if rule is not None)


def _rule(node: Node, takes: Resources | None, problems: Problems) -> RetryRule | None:
    if not isinstance(node, MappingNode):
        problems.add(node.place, f"`retry` must be a mapping or a list of mappings, and is {describe(node)}", _FORM)
        return None
    check_keys(node, _KEYS, "`retry`", problems)
    if "max" not in node.entries:
        problems.add(node.place, "`retry` has no `max`", _FORM)
    start = one_of(node.get("from"), _STARTS, "`from`", problems)
    given: dict[str, Any] = {
        "max": _read_max(node.get("max"), problems),
        "causes": _one_or_many(node.get("on"), _cause, problems),
        "exit_codes": _one_or_many(node.get("exit_codes"), _exit_code, problems),
        "error": _pattern(node.get("error"), problems),
        "delay": _delay(node.get("delay"), problems),
        "backoff": _backoff(node.get("backoff"), problems),
        "max_delay": quantity(node.get("max_delay"), "max_delay", parse_duration, problems, _DELAY),
        "jitter": _read_jitter(node.get("jitter"), problems),
        "memory": _read_amount(node, "memory", takes.memory if takes else None, problems),
        "time": _read_amount(node, "time", (takes.time or 0) if takes else None, problems),
        "max_memory": quantity(node.get("max_memory"), "max_memory", parse_size, problems, _CAP),
        "max_time": quantity(node.get("max_time"), "max_time", parse_duration, problems, _CAP),
        "other_host": yes_or_no(node.get("other_host"), "`other_host`", problems),
        "start": start,
    }
    rule = msgspec.structs.replace(
        RetryRule(max=0), **{key: value for key, value in given.items() if value is not None}
    )
    _check_alone(node, problems)
    _check_codes(node, rule, problems)
    return rule


def _read_max(node: Node | None, problems: Problems) -> int | None:
    found = whole_number(node, "`max`", problems, least=0)
    if node is not None and found is not None and found > _MAX_RETRIES:
        problems.add(node.place, f"`max` must be at most {_MAX_RETRIES}, and is {describe(node)}")
    return found


def _one_or_many(
    node: Node | None, read: Callable[[Node, Problems], _Read | None], problems: Problems
) -> tuple[_Read, ...] | None:
    """Read one value or a list of values."""
    if node is None:
        return None
    items = node.items if isinstance(node, ListNode) else [node]
    if not items:
        problems.add(node.place, "the list is empty: no failure would fit", "leave the key out to fit every failure")
    return tuple(one for one in (read(item, problems) for item in items) if one is not None)


def _cause(node: Node, problems: Problems) -> Cause | None:
    if isinstance(node, ScalarNode) and node.value == Cause.CANCELED.value:
        problems.add(node.place, "canceled jobs are never retried", "rerun it: rekindle rerun -s canceled")
        return None
    word = one_of(node, _CAUSES, "a cause", problems)
    return None if word is None else Cause(word)


def _exit_code(node: Node, problems: Problems) -> int | None:
    found = whole_number(node, "an exit code", problems, least=1)
    if found is not None and found > 255:
        problems.add(node.place, f"an exit code must be at most 255, and is {found}")
        return None
    return found


def _pattern(node: Node | None, problems: Problems) -> str | None:
    found = text(node, "`error`", problems)
    if node is None or found is None:
        return None
    try:
        compile_pattern(found)
    except BadSelection as error:
        problems.add(node.place, f"`error`: {error.message}", error.hint)
        return None
    return found


def _delay(node: Node | None, problems: Problems) -> float | None:
    """Read a delay, which may be zero: `0s`."""
    if isinstance(node, ScalarNode) and node.text.strip() in ("0s", "0m", "0h"):
        return 0.0
    return quantity(node, "delay", parse_duration, problems, _DELAY)


def _backoff(node: Node | None, problems: Problems) -> float | None:
    found = number(node, "`backoff`", problems)
    if node is not None and found is not None and not 1 <= found <= 1000:
        problems.add(node.place, f"`backoff` must be from 1 to 1000, and is {describe(node)}", "2 doubles each delay")
        return None
    return found


def _read_jitter(node: Node | None, problems: Problems) -> float | None:
    if node is None:
        return None
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1:
        return float(value)
    problems.add(node.place, f"`jitter` must be a share from 0 to 1, and is {describe(node)}", "0.1 varies by a tenth")
    return None


def _read_amount(rule: MappingNode, key: str, has: float | None, problems: Problems) -> Amount | None:
    """Read `x1.5`, a size or a duration. `has` is the job's amount: 0 if unset, None if unknown."""
    node = rule.get(key)
    if node is None:
        return None
    if not isinstance(node, ScalarNode) or node.value is None:
        problems.add(node.place, f"`{key}` cannot be {describe(node)}", f"as in `{key}: x1.5`")
        return None
    try:
        asked = Overrides(memory=node.text) if key == "memory" else Overrides(time=node.text)
    except BadValue as error:
        problems.add(node.place, error.message, error.hint)
        return None
    amount = asked.memory if key == "memory" else asked.time
    factor = None if amount is None else amount.factor
    if factor is not None and factor < 1:
        problems.add(node.place, f"`{key}` can only grow: x{factor:g} is less than before", f"as in `{key}: x1.5`")
    if factor is not None and has == 0:
        message = f"`{key}: {node.text}` multiplies the job's {key}, and the job sets none"
        problems.add(node.place, message, f"set `resources: {{{key}: …}}`, or name an amount")
    return amount


def _check_alone(rule: MappingNode, problems: Problems) -> None:
    """Report keys that have no effect without another key."""
    for key, need in (
        ("max_memory", "memory"),
        ("max_time", "time"),
        ("backoff", "delay"),
        ("max_delay", "delay"),
        ("jitter", "delay"),
    ):
        if key in rule.entries and need not in rule.entries:
            problems.add(rule.entries[key].place, f"`{key}` has no meaning without `{need}`", f"give `{need}` too")


def _check_codes(node: MappingNode, rule: RetryRule, problems: Problems) -> None:
    """Report a rule that combines exit codes with a cause that has none, because the rule would never match."""
    others = [cause.value for cause in rule.causes if cause not in _WITH_CODES]
    if rule.exit_codes and others:
        message = f"a job that ends by {' or '.join(others)} has no exit code, and all conditions of a rule must match"
        problems.add(node.entries["exit_codes"].place, message, "write a list of two rules: one with `on`, one without")
