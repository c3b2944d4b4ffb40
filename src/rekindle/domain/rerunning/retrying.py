"""Whether a job that failed runs again by itself, when, and with what more.

A policy is a list of rules, of which the first that fits a failure decides. A rule fits a cause that it names, an exit
code that it names and what the attempt said, as far as it asks for these. One that asks for nothing fits every failure
but those that trying again cannot mend: a command that could not be started, an input that is not there. Whoever means
these names them. What was canceled is never retried.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from rekindle.domain.causes import Cause
from rekindle.domain.definition import Resources, RetryRule
from rekindle.domain.models import Failure
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerunning.rerun import Reason, ReasonKind
from rekindle.domain.texts.quantities import Amount

HOPELESS = frozenset({Cause.START, Cause.MISSING_INPUT})
"""Causes that are there again, most likely, however often it is tried."""

LONGEST_DELAY = 366 * 86_400.0
"""Seconds; growing delays without a `max_delay` stop here."""

_MOST = 2.0**62


@dataclass(frozen=True, slots=True)
class Failed:
    """What a policy looks at: an attempt that failed, and how often its job has been retried."""

    token: str
    cause: Cause
    exit_code: int | None = None
    retries: int = 0  # since a person last reset the job
    had: Resources = field(default_factory=Resources)  # what it was given
    memory: int | None = None  # bytes that it used at the most
    seconds: float | None = None  # that it ran
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The decision to run a job again by itself."""

    rule: RetryRule
    number: int  # from 1, among `rule.max`
    cause: Cause
    delay: float  # seconds
    overrides: Overrides | None  # what grows; None: nothing
    avoids: str | None  # the host where it failed, where another is wished

    def reason(self, *, alone: bool) -> Reason:
        """For the record. `alone`: no other host works, so that it runs where it failed."""
        detail = {"retry": self.number, "of": self.rule.max, "cause": self.cause.value, "delay": self.delay}
        detail |= {"avoids": self.avoids, "alone": alone} if self.avoids is not None else {}
        return Reason(ReasonKind.RETRY, detail)

    @property
    def note(self) -> str:
        """In words: `retry 2 of 3: timeout`."""
        return f"retry {self.number} of {self.rule.max}: {self.cause.value}"


def with_errors_found(
    policy: Sequence[RetryRule], failure: Failure, found: Callable[[str, str], bool]
) -> tuple[RetryRule, ...]:
    """Return the rules without those whose `error` the failure does not contain. `found` takes a pattern and a text."""
    texts = (failure.message, failure.type, failure.traceback, failure.stderr)
    asked = {rule.error for rule in policy if rule.error is not None}
    there = {pattern for pattern in asked if any(found(pattern, text) for text in texts)}
    return tuple(rule for rule in policy if rule.error is None or rule.error in there)


def decide_retry(policy: Sequence[RetryRule], failed: Failed) -> Retry | None:
    """Return what a policy does about a failure; None: nothing. An `error` that a rule asks for counts as found: see
    `with_errors_found`."""
    rule = next((rule for rule in policy if _fits(rule, failed)), None)
    if rule is None or failed.retries >= rule.max:
        return None
    number = failed.retries + 1
    return Retry(
        rule=rule,
        number=number,
        cause=failed.cause,
        delay=delay_of(rule, number, failed.token),
        overrides=_growth(rule, failed),
        avoids=failed.host if rule.other_host else None,
    )


def bounds_lost(policy: Sequence[RetryRule]) -> bool:
    """The policy says by name what becomes of attempts that are lost with their runner: it alone decides on them."""
    return any(Cause.LOST in rule.causes for rule in policy)


def delay_of(rule: RetryRule, number: int, token: str) -> float:
    """Seconds before the `number`th retry: the delay, grown and varied, never above `max_delay`."""
    most = LONGEST_DELAY if rule.max_delay is None else min(rule.max_delay, LONGEST_DELAY)
    if rule.delay <= 0:
        return 0.0
    size = (number - 1) * math.log(rule.backoff) + math.log(rule.delay)  # as logarithms nothing overflows
    long = 2 * LONGEST_DELAY
    delay = rule.delay * rule.backoff ** (number - 1) if size < math.log(long) else long
    return min(delay * (1 + rule.jitter * _luck(token)), most)


def grown(amount: Amount, had: float, used: float, most: float | None) -> float:
    """So much of a resource after so much: never less than it had, and not less than it used unless `most` is."""
    wanted = max(had, used) * amount.factor if amount.factor is not None else max(amount.value or 0.0, used)
    return max(had, min(wanted, _MOST if most is None else most))


def rule_to_json(rule: RetryRule) -> dict[str, Any]:
    """A rule by the keys of a spec, those left out that it leaves out. Bytes and seconds are numbers."""
    found: dict[str, Any] = {"max": rule.max}
    for one in fields(rule):
        value = getattr(rule, one.name)
        if one.name == "max" or value == one.default:
            continue
        if isinstance(value, Amount):
            value = value.value if value.factor is None else f"x{value.factor:g}"
        found[_KEYS.get(one.name, one.name)] = [*value] if isinstance(value, tuple) else value
    return found


_KEYS = {"causes": "on", "start": "from"}


def _fits(rule: RetryRule, failed: Failed) -> bool:
    if failed.cause is Cause.CANCELED:
        return False
    if rule.causes and failed.cause not in rule.causes:
        return False
    if rule.exit_codes and failed.exit_code not in rule.exit_codes:
        return False
    return bool(rule.causes or rule.exit_codes or rule.error is not None) or failed.cause not in HOPELESS


def _growth(rule: RetryRule, failed: Failed) -> Overrides | None:
    """What the next attempt gets more of. What the job has no limit for has nothing to grow by a factor."""
    memory = time = None
    had, used = failed.had.memory, failed.memory or 0
    if rule.memory is not None and (had or rule.memory.factor is None):
        memory = math.ceil(grown(rule.memory, had, used, rule.max_memory))
    limit, ran = failed.had.time or 0.0, failed.seconds or 0.0
    if rule.time is not None and (limit or rule.time.factor is None):
        time = grown(rule.time, limit, ran, rule.max_time)
    more = memory if memory is not None and memory > had else None
    longer = time if time is not None and time > limit else None
    if more is None and longer is None:
        return None
    return Overrides(memory=Amount(more) if more else None, time=Amount(longer) if longer else None)


def _luck(token: str) -> float:
    """From -1 to 1, the same for the same attempt."""
    digest = hashlib.blake2b(token.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**63 - 1.0
