"""Automatic retries: whether a failed job runs again, when, and with which resources.

A policy is a list of rules; the first rule that matches the failure decides. A rule may require a cause, an exit code
and an error text. A rule without requirements matches every failure, except causes that a retry cannot fix: a command
that could not start, or a missing input. Such causes must be named. Canceled jobs are never retried."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.definition import Resources, RetryRule
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.plan import Reason, ReasonKind
from rekindle.domain.states import Cause
from rekindle.domain.texts.quantities import Amount

if TYPE_CHECKING:
    from rekindle.domain.models import Failure

NOT_RETRIED = frozenset({Cause.START, Cause.MISSING_INPUT})
"""Causes that a retry is unlikely to fix. Only rules that name them match."""


MAX_DELAY = 366 * 86_400.0
"""Seconds: the upper bound of a growing delay without `max_delay`."""


_LARGEST = 2.0**62


class FailedAttempt(msgspec.Struct, frozen=True):
    """A failed attempt, as a policy sees it, with the number of retries so far."""

    token: str
    cause: Cause
    exit_code: int | None = None
    retries: int = 0  # since a user last reset the job
    had: Resources = msgspec.field(default_factory=Resources)  # the resources it was given
    memory: int | None = None  # peak memory in bytes
    seconds: float | None = None  # running time
    host: str | None = None


class Retry(msgspec.Struct, frozen=True):
    """A decision to retry a job."""

    rule: RetryRule
    number: int  # from 1, among `rule.max`
    cause: Cause
    delay: float  # seconds
    overrides: Overrides | None  # the increased resources; None: unchanged
    avoids: str | None  # the host of the failure, if another one is wanted

    def reason(self, *, alone: bool) -> Reason:
        """Return the reason for the rerun record. `alone`: no other host works, so the job runs on the same host."""
        detail = {"retry": self.number, "of": self.rule.max, "cause": self.cause.value, "delay": self.delay}
        detail |= {"avoids": self.avoids, "alone": alone} if self.avoids is not None else {}
        return Reason(ReasonKind.RETRY, detail)

    @property
    def note(self) -> str:
        """The retry in words: `retry 2 of 3: timeout`."""
        return f"retry {self.number} of {self.rule.max}: {self.cause.value}"


def match_errors(
    policy: Sequence[RetryRule], failure: Failure, found: Callable[[str, str], bool]
) -> tuple[RetryRule, ...]:
    """Return the rules without those whose `error` the failure does not contain. `found` takes a pattern and a text."""
    texts = (failure.message, failure.type, failure.traceback, failure.stderr)
    asked = {rule.error for rule in policy if rule.error is not None}
    there = {pattern for pattern in asked if any(found(pattern, text) for text in texts)}
    return tuple(rule for rule in policy if rule.error is None or rule.error in there)


def decide_retry(policy: Sequence[RetryRule], failed: FailedAttempt) -> Retry | None:
    """Return the retry that a policy orders for a failure, or None. A rule's `error` counts as found: filter the rules
    with `match_errors` first."""
    rule = next((rule for rule in policy if _matches(rule, failed)), None)
    if rule is None or failed.retries >= rule.max:
        return None
    number = failed.retries + 1
    return Retry(
        rule=rule,
        number=number,
        cause=failed.cause,
        delay=retry_delay(rule, number, failed.token),
        overrides=_increase_resources(rule, failed),
        avoids=failed.host if rule.other_host else None,
    )


def retries_lost(policy: Sequence[RetryRule]) -> bool:
    """Return whether the policy names the cause `lost`. If so, it alone decides on attempts lost with their runner."""
    return any(Cause.LOST in rule.causes for rule in policy)


def retry_delay(rule: RetryRule, number: int, token: str) -> float:
    """Return the seconds before retry `number`: the delay with backoff and jitter, at most `max_delay`."""
    most = MAX_DELAY if rule.max_delay is None else min(rule.max_delay, MAX_DELAY)
    if rule.delay <= 0:
        return 0.0
    size = (number - 1) * math.log(rule.backoff) + math.log(rule.delay)  # logarithms do not overflow
    long = 2 * MAX_DELAY
    delay = rule.delay * rule.backoff ** (number - 1) if size < math.log(long) else long
    return min(delay * (1 + rule.jitter * _jitter(token)), most)


def grow_resource(amount: Amount, had: float, used: float, most: float | None) -> float:
    """Return the increased amount: never less than `had`, and not less than `used` unless `most` is."""
    wanted = max(had, used) * amount.factor if amount.factor is not None else max(amount.value or 0.0, used)
    return max(had, min(wanted, _LARGEST if most is None else most))


def rule_to_json(rule: RetryRule) -> dict[str, Any]:
    """Return a rule with the keys of a spec, without its defaults. Bytes and seconds are numbers."""
    found: dict[str, Any] = {"max": rule.max}
    default = RetryRule(max=rule.max)
    for name in rule.__struct_fields__:
        value = getattr(rule, name)
        if value == getattr(default, name):
            continue
        if isinstance(value, Amount):
            value = value.value if value.factor is None else f"x{value.factor:g}"
        found[_KEYS.get(name, name)] = [*value] if isinstance(value, tuple) else value
    return found


_KEYS = {"causes": "on", "start": "from"}


def _matches(rule: RetryRule, failed: FailedAttempt) -> bool:
    if failed.cause is Cause.CANCELED:
        return False
    if rule.causes and failed.cause not in rule.causes:
        return False
    if rule.exit_codes and failed.exit_code not in rule.exit_codes:
        return False
    return bool(rule.causes or rule.exit_codes or rule.error is not None) or failed.cause not in NOT_RETRIED


def _increase_resources(rule: RetryRule, failed: FailedAttempt) -> Overrides | None:
    """Return the increased resources. Without a limit there is nothing to multiply by a factor."""
    memory = time = None
    had, used = failed.had.memory, failed.memory or 0
    if rule.memory is not None and (had or rule.memory.factor is None):
        memory = math.ceil(grow_resource(rule.memory, had, used, rule.max_memory))
    limit, ran = failed.had.time or 0.0, failed.seconds or 0.0
    if rule.time is not None and (limit or rule.time.factor is None):
        time = grow_resource(rule.time, limit, ran, rule.max_time)
    more = memory if memory is not None and memory > had else None
    longer = time if time is not None and time > limit else None
    if more is None and longer is None:
        return None
    return Overrides(memory=Amount(more) if more else None, time=Amount(longer) if longer else None)


def _jitter(token: str) -> float:
    """Return a number from -1 to 1 that depends only on the token."""
    from hashlib import blake2b  # loads OpenSSL

    digest = blake2b(token.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**63 - 1.0
