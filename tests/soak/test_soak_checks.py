"""Each check of the soak tests finds the contradictions that it is made for."""

from __future__ import annotations

from typing import Any

from soak_checks import Found, Line, durations, missing, overlapping, unrecorded

BEGUN, ENDED = Line("begin", 1, 1, 7, "run", "-"), Line("end", 1, 1, 7, "run", "-")


def attempt(number: int, state: str = "completed", cause: str | None = None, **changed: Any) -> dict[str, Any]:
    step = {"name": "run", "state": state, "cause": cause, "kept_from": None}
    times = {"started": "2026-01-01T00:00:01Z", "ended": "2026-01-01T00:00:02Z"}
    return {
        "id": 6 + number,
        "job": 1,
        "number": number,
        "state": state,
        "cause": cause,
        "steps": [step],
        **times,
    } | changed


def found(lines: list[Line], *attempts: dict[str, Any]) -> Found:
    return Found([], list(attempts), lines, elapsed=5.0)


def wrong(one: Found) -> list[str]:
    return [line for check in (unrecorded, missing, overlapping, durations) for line in check(one)]


def test_a_run_as_recorded_has_no_contradictions() -> None:
    assert wrong(found([BEGUN, ENDED], attempt(1))) == []
    assert wrong(found([BEGUN], attempt(1, "failed", "exit"))) == []
    for lines in ([], [BEGUN], [BEGUN, ENDED]):
        assert wrong(found(lines, attempt(1, "failed", "lost"))) == []


def test_a_step_that_ran_twice_or_without_a_record_is_found() -> None:
    assert wrong(found([BEGUN, BEGUN, ENDED], attempt(1)))
    assert wrong(found([BEGUN, ENDED]))
    assert wrong(found([BEGUN, ENDED], attempt(1, started=None)))


def test_a_recorded_step_that_did_not_run_is_found() -> None:
    assert wrong(found([], attempt(1)))
    assert wrong(found([BEGUN], attempt(1)))
    assert wrong(found([], attempt(1, "failed", "exit")))
    assert wrong(found([BEGUN, ENDED], attempt(1, "failed", "exit")))


def test_overlapping_attempts_are_found() -> None:
    second = [line._replace(number=2, attempt=8) for line in (BEGUN, ENDED)]
    lost = attempt(1, "failed", "lost")
    assert wrong(found([BEGUN, *second], lost, attempt(2))) == []
    assert wrong(found([BEGUN, second[0], ENDED, second[1]], lost, attempt(2)))


def test_impossible_times_are_found() -> None:
    for ended in ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"):
        assert wrong(found([BEGUN, ENDED], attempt(1, ended=ended)))
