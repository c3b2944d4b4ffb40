"""How supervising ended, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from rekindle.cli.showing import drawing, explaining
from rekindle.cli.showing.drawing import Column
from rekindle.domain.batches.flakiness import Passed
from rekindle.domain.batches.supervised import Fixed, Report, Round

_MOST = 20
"""Rows of a table; JSON has all."""

_HOW = {Passed.FLAKY: "flaky", Passed.MODIFIED: "passed modified"}


def report_document(report: Report, code: int) -> dict[str, Any]:
    """The report in JSON."""
    return {
        "supervision": report.supervision,
        "workflow": report.workflow,
        "name": report.name,
        "end": report.end.value,
        "why": report.why,
        "exit_code": code,
        "reruns": report.reruns,
        "rounds": [_round(one) for one in report.rounds],
        "statuses": {status.value: number for status, number in report.statuses.items()},
        "fixed": [
            {
                "id": one.id,
                "name": one.name,
                "attempts": one.attempts,
                "status": one.status.value,
                "passed": one.passed.value if one.passed else None,
            }
            for one in report.fixed
        ],
        "failing": [
            {
                "signature": one.signature,
                "cause": one.cause,
                "type": one.type,
                "message": one.message,
                "count": len(one.jobs),
                "jobs": list(one.jobs),
            }
            for one in report.failing
        ],
        "left": [{"id": one.id, "name": one.name, "why": one.why} for one in report.left],
        "never_fit": [{"name": name, "asks": asks} for name, asks in report.never_fit],
        "held": report.held,
        "attempts": report.attempts,
        "core_seconds": report.core_seconds,
        "seconds": report.seconds,
    }


def _round(one: Round) -> dict[str, Any]:
    return {
        "round": one.number,
        "percent": one.percent,
        "matching": one.matching,
        "total": one.total,
        "rerun": one.rerun,
        "jobs": one.jobs,
        "stopped": dict(one.stopped),
    }


def draw_report(report: Report) -> None:
    """The report on stdout."""
    for part in _parts(report):
        click.echo(part)


def _parts(report: Report) -> Iterator[str]:
    again = drawing.many(report.reruns, "rerun") if report.reruns else "no rerun"
    yield f"{drawing.flat(report.name)}: {again}; it ended because {drawing.flat(_because(report))}"
    counts = ", ".join(f"{number:,} {drawing.coloured(status.value)}" for status, number in report.statuses.items())
    yield f"jobs now: {counts or 'none'}"
    if report.held:
        yield f"held: {drawing.many(report.held, 'job')}    let go: rekindle release -w {report.workflow} -f held=true"
    for name, asks in report.never_fit:
        yield f"{drawing.flat(name)} can never start here: {asks}"
    if len(report.rounds) > 1 or report.reruns:
        yield "\n" + _rounds(report)
    if report.fixed:
        yield f"\nfixed by running again ({len(report.fixed):,}):\n" + _fixed(report.fixed)
    if report.failing:
        yield f"\nfailing still ({sum(len(one.jobs) for one in report.failing):,}):\n" + _failing(report)
    if report.left:
        yield f"\nnot run again ({len(report.left):,}):\n" + _left(report)
    if report.reruns:
        core = drawing.lasting(report.core_seconds)
        yield f"\nthe reruns took {drawing.many(report.attempts, 'attempt')}, {core} of a core"
    if report.failing:
        yield f"look: rekindle failures -w {report.workflow}"


def _because(report: Report) -> str:
    return report.why or report.end.value


def _rounds(report: Report) -> str:
    columns = [
        Column("ROUND", right=True),
        Column("MATCH", right=True),
        Column("OF", right=True),
        Column("PERCENT", right=True),
        Column("RERUN", right=True),
        Column("LEFT ALONE", cut="end", drop=True),
    ]
    rows = [
        (
            str(one.number),
            f"{one.matching:,}",
            f"{one.total:,}",
            f"{one.percent:.1f}",
            "" if one.rerun is None else str(one.rerun),
            ", ".join(f"{group or '(none)'} {percent:.1f} %" for group, percent in one.stopped.items()),
        )
        for one in report.rounds
    ]
    return drawing.table(columns, rows)


def _fixed(fixed: tuple[Fixed, ...]) -> str:
    columns = [
        Column("ID", right=True),
        Column("NAME", cut="middle", keep=True),
        Column("ATTEMPTS", right=True),
        Column("STATUS"),
        Column("HOW", drop=True),
    ]
    rows = [
        (str(one.id), one.name, str(one.attempts), one.status.value, _HOW.get(one.passed or Passed.PLAIN, ""))
        for one in fixed[:_MOST]
    ]
    return drawing.table(columns, rows) + _more(len(fixed))


def _failing(report: Report) -> str:
    columns = [
        Column("COUNT", right=True),
        Column("SIGNATURE"),
        Column("CAUSE"),
        Column("ERROR", cut="end"),
        Column("JOBS", cut="end"),
    ]
    rows = [
        (
            f"{len(one.jobs):,}",
            one.signature[:10],
            one.cause,
            ": ".join(part for part in (one.type, drawing.flat(one.message)) if part) or one.cause,
            explaining.ids(one.jobs),
        )
        for one in report.failing[:_MOST]
    ]
    return drawing.table(columns, rows) + _more(len(report.failing))


def _left(report: Report) -> str:
    columns = [Column("ID", right=True), Column("NAME", cut="middle", keep=True), Column("WHY", cut="end")]
    rows = [(str(one.id), one.name, one.why) for one in report.left[:_MOST]]
    return drawing.table(columns, rows) + _more(len(report.left))


def _more(number: int) -> str:
    return f"\n… and {number - _MOST:,} more: --json has all" if number > _MOST else ""
