"""Read what decides about failures: `on_unknown_failure` and `judge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.spec.nodes import ListNode, MappingNode, Problems, ScalarNode, describe
from rekindle.spec.values import one_of, plain_text

if TYPE_CHECKING:
    from rekindle.domain.definition import OnUnknownFailure

_HINT = "as in `judge: ./judge.py`, or `judge: [python, judge.py]`"


def read_on_unknown(found: MappingNode, base: OnUnknownFailure, problems: Problems) -> OnUnknownFailure:
    """Read what happens to a job that fails as no attempt has before."""
    word = one_of(found.get("on_unknown_failure"), ("hold", "continue"), "`on_unknown_failure`", problems)
    return base if word is None else "hold" if word == "hold" else "continue"


def read_judge(
    found: MappingNode, base: str | tuple[str, ...] | None, problems: Problems
) -> str | tuple[str, ...] | None:
    """Read the command of a judge; `false` lifts that of the defaults."""
    node = found.get("judge")
    if node is None:
        return base
    if isinstance(node, ListNode):
        words = [plain_text(one, "an argument of `judge`", problems) for one in node.items]
        if not words or not words[0]:
            problems.add(node.place, "`judge` names no program", _HINT)
            return base
        return tuple(word or "" for word in words)
    if isinstance(node, ScalarNode) and node.value is False:
        return None
    if isinstance(node, ScalarNode) and isinstance(node.value, str) and node.value.strip():
        return plain_text(node, "`judge`", problems)
    problems.add(node.place, f"`judge` must be a command, and is {describe(node)}", _HINT)
    return base
