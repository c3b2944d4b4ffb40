"""How attempts failed, and how often, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.domain.batches.flakiness import PassHistory
from rekindle.presentation import attempts, words

if TYPE_CHECKING:
    from rekindle.domain.batches.flakiness import FailureKind
    from rekindle.domain.models import FailureGroup

PASSED_WORDS = {
    PassHistory.PLAIN: "passed",
    PassHistory.FLAKY: "flaky",
    PassHistory.MODIFIED: "passed modified",
    PassHistory.MIXED: "failed, has passed",
    PassHistory.FAILING: "failing",
}


def times(group: FailureGroup) -> str:
    """Return when attempts failed so: `first 12:01:07, last 12:03:11`."""
    if group.first is None or group.last is None:
        return "when is not known"
    first, last = words.short_time(group.first), words.short_time(group.last)
    return f"at {first}" if first == last else f"first {first}, last {last}"


def hosts(group: FailureGroup, most: int | None = None) -> str:
    """Return where attempts failed so, `most` hosts by name: `n1 (3), n2 (1) and 4 more hosts`; "" if unknown."""
    shown = group.hosts[:most]
    named = ", ".join(
        f"{words.one_line(host)} ({count:,})" if len(group.hosts) > 1 else words.one_line(host) for host, count in shown
    )
    more = len(group.hosts) - len(shown)
    return named + (f" and {words.plural(more, 'more host')}" if more else "")


def kind_error(way: FailureKind) -> str:
    """Return an error of a kind of failure in one line, or its cause without an error."""
    return attempts.example_error(way.type, way.message, way.newest_message, way.count) or way.cause


def percent(share: float) -> str:
    """Return a share in percent, with a decimal below 10: `0.3 %`, `4.2 %`, `38 %`."""
    found = 100 * share
    return f"{found:.1f} %" if 0 < found < 9.95 else f"{found:.0f} %"
