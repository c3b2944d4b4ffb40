"""Why jobs do not run now: needs, resources, runners, holds, retries and canaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.domain.batches.canaries import SIGNATURE_DIGITS, Canary, CanaryChoice, CanaryGroup, GroupOutcome
from rekindle.domain.judging import undecided_text
from rekindle.domain.packing import Shortage
from rekindle.domain.rerun.request import RESET_HOLD
from rekindle.domain.states import ENDED, State
from rekindle.domain.texts.display import list_names
from rekindle.presentation import documents, words

if TYPE_CHECKING:
    from rekindle.engine.queries.waits import WaitReason
    from rekindle.engine.results import UnfitJobs
    from rekindle.presentation.words import Paint

IDS = "\0"
"""Placeholder for the ids of the jobs of a line, as -i takes them."""

_ERROR_WIDTH = 60
"""Columns of an error beside a group."""

_NAMED = 3


def wait_json(one: WaitReason) -> dict[str, Any]:
    """Return a reason as JSON."""
    detail = {key: documents.iso(value) if key in ("since", "until") else value for key, value in one.detail.items()}
    return {"kind": one.kind, **detail}


def unfit_lines(found: Iterable[UnfitJobs], this: str = "this machine") -> Iterator[str]:
    """Yield `waiting: 3 jobs ask more than this machine has: 64 cpus of 2`, and the command that offers more."""
    for one in found:
        asks = "asks" if one.jobs == 1 else "ask"
        jobs = f"{words.plural(one.jobs, 'job')} {asks} more than {_owner(one.runner, this)} has"
        yield f"waiting: {jobs}: {', '.join(map(str, one.lacks))}"
        yield f"  {_offer_hint(one.lacks, one.workflow)}"


def wait_lines(found: Sequence[WaitReason], workflow: int, paint: Paint = str) -> Iterator[str]:
    """Yield each reason in a sentence, with the command that changes it."""
    needs = [one for one in found if one.kind == "needs"]
    for one in needs[:_NAMED]:
        yield from _need_lines(one.detail, workflow, paint)
    if needs and (more := needs[0].detail["unmet"] - min(len(needs), _NAMED)) > 0:
        yield f"  … and {words.plural(more, 'more need')}"
    for one in found:
        if one.kind != "needs":
            yield from _wait_lines(one.kind, one.detail, workflow)


def _wait_lines(kind: str, detail: Mapping[str, Any], workflow: int) -> Iterator[str]:
    match kind:
        case "resources":
            yield from _resource_lines(detail, workflow)
        case "runner":
            yield from _runner_lines(detail, workflow)
        case "held":
            since = f" since {words.short_time(detail['since'])}" if detail["since"] is not None else ""
            reason = f": {words.one_line(detail['reason'])}" if detail["reason"] != "held" else ""
            yield f"held{since}{reason}    let go: {_release(IDS, detail['reason'], workflow)}"
        case "archived":
            back = f"rekindle workflows archive --undo {workflow}"
            yield f"its workflow is archived since {words.short_time(detail['since'])}    bring back: {back}"
        case "folder":
            yield f"its workflow's folder is missing: {detail['directory']}"
        case "delay":
            retry = detail["retry"]
            which = f" {retry['retry']} of {retry['of']}" if retry else ""
            failed = f"failed ({_cause(detail)}); " if detail.get("cause") else ""
            yield f"{failed}its retry{which} starts at {words.short_time(detail['until'])}"
        case "attempts":
            names = [
                f"attempt {one['attempt']} of {one['job']} {words.one_line(one['name'])}" for one in detail["attempts"]
            ]
            yield f"waits for the end of {', '.join(names)}"
        case "check":
            which = "an earlier attempt" if detail["reserve"] is None else f"attempt {detail['reserve']}"
            yield f"a runner checks whether {which} can be reused"
        case "host":
            yield f"waits for a runner on another host than {detail['avoids']}, where it failed"
        case "turn":
            yield f"starts in its turn: runner {', '.join(map(str, detail['runners']))} is alive"
        case "queued":
            yield from _claimed_lines(detail, "claimed", ", not started yet")
        case "running":
            yield from _claimed_lines(detail, "running", f": attempt {detail['attempt']}")
        case "failed" | "canceled":
            if "undecided" in detail:
                yield words.one_line(undecided_text(detail["undecided"]))
                yield f"let go: rekindle release {IDS}    {_again(detail, IDS)}"
            else:
                yield _again(detail, IDS)


def _need_lines(detail: Mapping[str, Any], workflow: int, paint: Paint) -> Iterator[str]:
    until = "the end of " if detail["when"] == "finished" else ""
    yield f"waits for {until}{_job(detail, paint)}{_hint(detail, workflow)}"
    roots = detail["roots"]
    for root in roots[:_NAMED]:
        yield f"  which waits for {_job(root, paint)}{_hint(root, workflow)}"


def _job(detail: Mapping[str, Any], paint: Paint) -> str:
    cause = f": {_cause(detail)}" if detail["cause"] not in (None, detail["state"]) else ""
    held = f", held: {words.one_line(detail['held'])}" if detail["held"] else ""
    return f"{detail['job']} {words.one_line(detail['name'])} ({paint(detail['state'])}{cause}{held})"


def _cause(detail: Mapping[str, Any]) -> str:
    """Return the cause of a failure: `exit 3`, `timeout`."""
    return f"exit {detail['exit_code']}" if detail["cause"] == "exit" else str(detail["cause"])


def _hint(detail: Mapping[str, Any], workflow: int) -> str:
    if detail["state"] in ("failed", "canceled"):
        return f"    {_again(detail, detail['job'])}"
    return f"    let go: {_release(detail['job'], detail['held'], workflow)}" if detail["held"] else ""


def _again(detail: Mapping[str, Any], jobs: object) -> str:
    """Return the command that runs a failed or canceled job again, or what to do if it must not run twice."""
    return run_twice(detail["spec"]) if "forbidden" in detail else f"again: rekindle rerun {jobs} --work"


def run_twice(spec: str | None) -> str:
    """Return how to run a job again that must not run twice: `to run it again, take `manual` out of sweep.yaml`."""
    return f"to run it again, take `manual` out of {words.one_line(Path(spec).name) if spec else 'its definition'}"


def _release(jobs: object, reason: str, workflow: int) -> str:
    return f"rekindle restart -w {workflow}" if reason == RESET_HOLD else f"rekindle release {jobs}"


def _owner(runner: int | None, this: str = "this machine") -> str:
    return this if runner is None else f"runner {runner}"


def _offer_hint(lacks: Sequence[Shortage], workflow: int) -> str:
    """Return the command that starts a runner with enough resources. No option adds processors: then the hint is to ask
    for less."""
    command = [f"rekindle work -w {workflow}"]
    for one in lacks:
        if one.licence:
            command.append(f"--licence {one.what}={one.asked:g}")
        elif one.what == "memory":
            unit, size = ("G", 2**30) if one.asked % 2**30 == 0 else ("M", 2**20)
            command.append(f"--memory {-(-one.asked // size):.0f}{unit}")
        elif one.what == "gpus":
            command.append(f"--gpus {one.asked:g}")
        else:
            return f"ask for less {one.what} in `resources`, or: {command[0]} on a larger machine"
    return f"offer more: {' '.join(command)}"


def _taken_by(jobs: Sequence[Mapping[str, Any]]) -> str:
    list_names = ", ".join(f"{one['job']} {words.one_line(one['name'])}" for one in jobs[:_NAMED])
    return f"{list_names}, …" if len(jobs) > _NAMED else list_names


def _resource_lines(detail: Mapping[str, Any], workflow: int) -> Iterator[str]:
    if not detail["never"]:
        taken = f", taken by {_taken_by(detail['taken_by'])}" if detail["taken_by"] else ""
        yield f"waits for room on runner {detail['runner']}: {detail['text']} free{taken}"
        return
    yield f"can never start: it asks more than {_owner(detail['runner'])} has: {detail['text']}"
    yield f"  {_offer_hint([Shortage(**one) for one in detail['lacks']], workflow)}"


def _runner_lines(detail: Mapping[str, Any], workflow: int) -> Iterator[str]:
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
        yield f"waits for a slot: {which} runs {words.plural(detail['slots'], 'job')} at once{taken}"


def _claimed_lines(detail: Mapping[str, Any], began: str, ended: str) -> Iterator[str]:
    pid = f", pid {detail['pid']}" if detail["pid"] else ""
    where = f"{detail['host']}{pid}" if detail["host"] else ""
    yield f"{began} since {words.short_time(detail['since'])} by runner {detail['runner']} ({where}){ended}"
    if "reason" in detail:
        cannot = ": it cannot start without a change" if detail["never"] else ""
        yield f"  its element waits in {detail['engine']}: {detail['reason']}{cannot}"
    if not detail["runner_alive"]:
        yield f"  runner {detail['runner']} is not alive: `rekindle work` finds out how it ended"


def canary_choice_line(one: CanaryChoice) -> str:
    """Return which jobs of a plan are canaries, and how many jobs wait for them."""
    names = list_names(name for _, name in one.canaries)
    return f"{words.one_line(names)} {'runs' if len(one.canaries) == 1 else 'run'} first, and {_rest(one)}"


def _rest(one: CanaryChoice) -> str:
    passes = "canary passes" if len(one.canaries) == 1 else f"{len(one.canaries)} canaries pass"
    return f"{len(one.waits):,} more of {_group(one)} when {'the ' if len(one.canaries) == 1 else ''}{passes}"


def _group(one: CanaryChoice | CanaryGroup) -> str:
    """Return the signature and error of a group: `3f9a0c12ab (ValueError: too cold)`."""
    error = ": ".join(part for part in (one.type, words.one_line(one.message)) if part)
    return one.signature[:SIGNATURE_DIGITS] + (f" ({words.cut(error, _ERROR_WIDTH)})" if error else "")


def canary_line(one: CanaryGroup) -> str:
    """Return the state of a group in one line."""
    if one.outcome is None:
        return f"{one.waiting:,} of {_group(one)} wait{'s' if one.waiting == 1 else ''} for {_awaited(one)}"
    if one.outcome is GroupOutcome.STOPPED:
        left = f"; {one.waiting:,} left as {'it is' if one.waiting == 1 else 'they are'}" if one.waiting else ""
        return f"group {_group(one)} stopped: {words.one_line(one.why)}{left}"
    if one.outcome is GroupOutcome.DROPPED:
        return f"group {_group(one)}: the rerun of its canaries was undone"
    rest = f"the rest runs again (rerun {one.released})" if one.released is not None else "no job waits any more"
    return f"group {_group(one)} released: {words.one_line(one.why)}; {rest}"


def _awaited(one: CanaryGroup) -> str:
    """Return the canaries that have not passed yet: `its canary train[3], which is held` or the like."""
    left = [canary for canary in one.canaries if canary.state is not State.COMPLETED and not canary.retired]
    stuck = [canary for canary in left if canary.state not in ENDED and canary.held is not None]
    held = f", of which {list_names(canary.name for canary in stuck)} {_is(stuck)} held" if stuck else ""
    which = "its canary" if len(left) == 1 else "its canaries"
    return words.one_line(f"{which} {list_names(canary.name for canary in left)}{held}")


def _is(jobs: Sequence[Canary]) -> str:
    return "is" if len(jobs) == 1 else "are"


def canary_reason(one: CanaryGroup) -> str:
    """Return why a job of a group does not run: it waits for canaries, or the group was stopped."""
    if one.outcome is None:
        return f"waits for {_awaited(one)} (rerun {one.rerun}), and runs again once {_they(one)} passed"
    return f"left as it is by rerun {one.rerun}: {words.one_line(one.why)}"


def _they(one: CanaryGroup) -> str:
    return "that has" if len(one.canaries) == 1 else "all have"


def decided_canaries(groups: Sequence[CanaryGroup]) -> Iterator[str]:
    """Yield a line for each group that was released or stopped."""
    yield from (canary_line(one) for one in groups if one.outcome in (GroupOutcome.RELEASED, GroupOutcome.STOPPED))
