"""Why jobs do not run now, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rekindle.cli.showing import drawing, shapes
from rekindle.domain.packing import Lack
from rekindle.domain.rerunning.rerun import RESET_HOLD
from rekindle.engine.looking.waits import Wait
from rekindle.engine.results import Unfit

IDS = "\0"
"""Stands for the ids of the jobs that a line is about, in the order of `-i`."""

_NAMED = 3


def shape(one: Wait) -> dict[str, Any]:
    """A reason as JSON."""
    detail = {key: shapes.iso(value) if key in ("since", "until") else value for key, value in one.detail.items()}
    return {"kind": one.kind, **detail}


def unfit_lines(found: Iterable[Unfit], this: str = "this machine") -> Iterator[str]:
    """`waiting: 3 jobs ask more than this machine has: 64 cpus of 2`, and the command that offers more."""
    for one in found:
        asks = "asks" if one.jobs == 1 else "ask"
        jobs = f"{drawing.many(one.jobs, 'job')} {asks} more than {_owner(one.runner, this)} has"
        yield f"waiting: {jobs}: {', '.join(map(str, one.lacks))}"
        yield f"  {_way_out(one.lacks, one.workflow)}"


def lines(found: Sequence[Wait], workflow: int) -> Iterator[str]:
    """Each reason in a sentence, with the command that changes it."""
    needs = [one for one in found if one.kind == "needs"]
    for one in needs[:_NAMED]:
        yield from _need(one.detail, workflow)
    if needs and (more := needs[0].detail["unmet"] - min(len(needs), _NAMED)) > 0:
        yield f"  … and {drawing.many(more, 'more need')}"
    for one in found:
        if one.kind != "needs":
            yield from _told(one.kind, one.detail, workflow)


def _told(kind: str, detail: Mapping[str, Any], workflow: int) -> Iterator[str]:
    match kind:
        case "resources":
            yield from _resources(detail, workflow)
        case "runner":
            yield from _runner(detail, workflow)
        case "held":
            since = f" since {drawing.when(detail['since'])}" if detail["since"] is not None else ""
            reason = f": {drawing.flat(detail['reason'])}" if detail["reason"] != "held" else ""
            yield f"held{since}{reason}    let go: {_release(IDS, detail['reason'], workflow)}"
        case "archived":
            back = f"rekindle workflows archive --undo {workflow}"
            yield f"its workflow is archived since {drawing.when(detail['since'])}    bring back: {back}"
        case "folder":
            yield f"its workflow's folder is missing: {detail['directory']}"
        case "delay":
            retry = detail["retry"]
            which = f" {retry['retry']} of {retry['of']}" if retry else ""
            failed = f"failed ({_cause(detail)}); " if detail.get("cause") else ""
            yield f"{failed}its retry{which} starts at {drawing.when(detail['until'])}"
        case "attempts":
            named = [
                f"attempt {one['attempt']} of {one['job']} {drawing.flat(one['name'])}" for one in detail["attempts"]
            ]
            yield f"waits for the end of {', '.join(named)}"
        case "check":
            yield f"a runner compares whether attempt {detail['reserve']} still holds"
        case "host":
            yield f"waits for a runner on another host than {detail['avoids']}, where it failed"
        case "turn":
            yield f"starts in its turn: runner {', '.join(map(str, detail['runners']))} is alive"
        case "queued":
            yield from _at_work(detail, "claimed", ", not started yet")
        case "running":
            yield from _at_work(detail, "running", f": attempt {detail['attempt']}")
        case "failed" | "canceled":
            yield f"again: rekindle rerun {IDS} --work"


def _need(detail: Mapping[str, Any], workflow: int) -> Iterator[str]:
    until = "the end of " if detail["when"] == "finished" else ""
    yield f"waits for {until}{_job(detail)}{_hint(detail, workflow)}"
    roots = detail["roots"]
    for root in roots[:_NAMED]:
        yield f"  which waits for {_job(root)}{_hint(root, workflow)}"


def _job(detail: Mapping[str, Any]) -> str:
    cause = f": {_cause(detail)}" if detail["cause"] not in (None, detail["state"]) else ""
    held = f", held: {drawing.flat(detail['held'])}" if detail["held"] else ""
    return f"{detail['job']} {drawing.flat(detail['name'])} ({drawing.coloured(detail['state'])}{cause}{held})"


def _cause(detail: Mapping[str, Any]) -> str:
    """`exit 3`, `timeout`."""
    return f"exit {detail['exit_code']}" if detail["cause"] == "exit" else str(detail["cause"])


def _hint(detail: Mapping[str, Any], workflow: int) -> str:
    if detail["state"] in ("failed", "canceled"):
        return f"    again: rekindle rerun {detail['job']} --work"
    return f"    let go: {_release(detail['job'], detail['held'], workflow)}" if detail["held"] else ""


def _release(jobs: object, reason: str, workflow: int) -> str:
    return f"rekindle restart -w {workflow}" if reason == RESET_HOLD else f"rekindle release {jobs}"


def _owner(runner: int | None, this: str = "this machine") -> str:
    return this if runner is None else f"runner {runner}"


def _way_out(lacks: Sequence[Lack], workflow: int) -> str:
    """The command that starts a runner with enough, or to ask for less: no option gives a machine more processors."""
    words = [f"rekindle work -w {workflow}"]
    for one in lacks:
        if one.licence:
            words.append(f"--licence {one.what}={one.asked:g}")
        elif one.what == "memory":
            unit, size = ("G", 2**30) if one.asked % 2**30 == 0 else ("M", 2**20)
            words.append(f"--memory {-(-one.asked // size):.0f}{unit}")
        elif one.what == "gpus":
            words.append(f"--gpus {one.asked:g}")
        else:
            return f"ask for less {one.what} in `resources`, or: {words[0]} on a larger machine"
    return f"offer more: {' '.join(words)}"


def _taken_by(jobs: Sequence[Mapping[str, Any]]) -> str:
    named = ", ".join(f"{one['job']} {drawing.flat(one['name'])}" for one in jobs[:_NAMED])
    return f"{named}, …" if len(jobs) > _NAMED else named


def _resources(detail: Mapping[str, Any], workflow: int) -> Iterator[str]:
    if not detail["never"]:
        taken = f", taken by {_taken_by(detail['taken_by'])}" if detail["taken_by"] else ""
        yield f"waits for room on runner {detail['runner']}: {detail['text']} free{taken}"
        return
    yield f"can never start: it asks more than {_owner(detail['runner'])} has: {detail['text']}"
    yield f"  {_way_out([Lack(**one) for one in detail['lacks']], workflow)}"


def _runner(detail: Mapping[str, Any], workflow: int) -> Iterator[str]:
    numbers = ", ".join(str(one["id"]) for one in detail["runners"])
    which = f"runner{'s' if len(detail['runners']) > 1 else ''} {numbers}"
    if detail["problem"] == "none":
        yield f"no runner is alive: rekindle work -w {workflow}"
    elif detail["problem"] == "limited":
        flows = ", ".join(sorted({str(one["workflow"]) for one in detail["runners"]}))
        yield f"no runner works on this workflow ({which}: only on workflow {flows}): rekindle work -w {workflow}"
    elif detail["problem"] == "chosen":
        yield f"{which} may take other jobs only: rekindle work -w {workflow}"
    else:
        taken = f": {_taken_by(detail['running'])}" if detail["running"] else ""
        yield f"waits for a slot: {which} runs {drawing.many(detail['slots'], 'job')} at once{taken}"


def _at_work(detail: Mapping[str, Any], began: str, ended: str) -> Iterator[str]:
    where = f"{detail['host']}, pid {detail['pid']}" if detail["host"] else ""
    yield f"{began} since {drawing.when(detail['since'])} by runner {detail['runner']} ({where}){ended}"
    if not detail["runner_alive"]:
        yield f"  runner {detail['runner']} is not alive: `rekindle work` sees what became of it"
