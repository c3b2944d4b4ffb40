"""What torc's failure handlers become: rules of retrying, and a command that runs the recovery script as it fails."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

from rekindle.dialects.torc.named import MATCHED_BY_ALL, Rule

_SHELLS_SIGNAL = 128
_OOM, _TIMEOUT = 137, 152
"""Exit codes by which torc knows them (SIGKILL, SIGXCPU)."""


def retry_rules(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """As `retry:` has them. Those that name exit codes come first, as torc asks them first. A code above 128 is met by
    the signal too, and by what torc takes it for."""
    found: list[dict[str, Any]] = []
    for rule in _in_order(rules):
        if not rule.codes:
            found.append({"max": rule.retries, "on": list(MATCHED_BY_ALL)})
            continue
        found.append({"max": rule.retries, "exit_codes": list(rule.codes)})
        for code in rule.codes:
            if code - _SHELLS_SIGNAL in set(signal.Signals):
                name = signal.Signals(code - _SHELLS_SIGNAL).name
                found.append({"max": rule.retries, "on": ["signal"], "error": rf"\bkilled by {name}\b"})
        causes = [cause for code, cause in ((_OOM, "oom"), (_TIMEOUT, "timeout")) if code in rule.codes]
        if causes:
            found.append({"max": rule.retries, "on": causes})
    return found


def recovering(command: str, rules: Sequence[Rule]) -> str:
    """The command, after which the recovery script of the rule that fits runs within the same attempt: no retry starts
    before it has ended. The exit code stays the command's."""
    if not any(rule.script for rule in rules):
        return command
    cases = ["  0) ;;"]
    for rule in _in_order(rules):
        pattern = "|".join(map(str, rule.codes)) or "*"
        cases.append(f"  {pattern})\n    {rule.script or ':'}\n    ;;")
    lines = ["(", command, ")", "export TORC_RETURN_CODE=$?", 'case "$TORC_RETURN_CODE" in', *cases, "esac"]
    return "\n".join([*lines, 'exit "$TORC_RETURN_CODE"'])


def _in_order(rules: Sequence[Rule]) -> list[Rule]:
    return sorted(rules, key=lambda rule: not rule.codes)
