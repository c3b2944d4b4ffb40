"""`rekindle supervise --simulate`: what guards would have done, on the history of a workflow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec.structs import replace

from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.terminal import Column
from rekindle.cli.sessions import opened
from rekindle.domain.errors import UsageError
from rekindle.engine.results import WorkOptions
from rekindle.engine.supervising.simulation import SimulationOptions, simulate
from rekindle.presentation import words
from rekindle.presentation.batch_documents import SOURCES, simulated_supervision

if TYPE_CHECKING:
    from rekindle.domain.batches.supervision import Guards
    from rekindle.domain.verdicts import Status
    from rekindle.engine.supervising.simulation import SimulatedSupervision

Command = TypeVar("Command", bound=Callable[..., Any])


def simulation_options(command: Command) -> Command:
    """Add `--simulate` and `--seed` to `supervise`. With `--simulate`, the command itself is not called."""

    @functools.wraps(command)
    def with_simulation(*args: Any, is_simulated: bool, seed: int | None, **kwargs: Any) -> Any:
        if is_simulated:
            return _simulate(seed or 0, **kwargs)
        if seed is not None:
            raise UsageError("--seed is for --simulate", hint=f"rekindle supervise WORKFLOW --simulate --seed {seed}")
        return command(*args, **kwargs)

    decorated: Any = with_simulation
    for decorate in (
        click.option(
            "--seed",
            type=int,
            metavar="N",
            help="With --simulate: the seed for attempts without a record. [default: 0]",
        ),
        click.option(
            "--simulate",
            "is_simulated",
            is_flag=True,
            help="Run and write nothing: replay the history of WORKFLOW, and print what these guards would have done. "
            "Attempts without a record are drawn from similar ones, and counted.",
        ),
    ):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def _simulate(
    seed: int,
    *,
    target: str,
    guards: Guards,
    wait_timeout: float | None,
    capacity: WorkOptions,
    as_json: bool,
    **others: Any,
) -> int:
    """Simulate, and print the result. Refuse options that only a run has."""
    reports = others.pop("reports")
    given = [_option(name) for name, value in others.items() if value and name != "poll"]
    given += ["--junit or --ci"] if reports.is_asked_for else []
    if replace(capacity, slots=None, retries_at_most=None) != WorkOptions():
        given.append("an option of a runner other than -j and --retries-at-most")
    if given:
        raise UsageError(
            f"--simulate runs nothing, so it does not go with {given[0]}",
            hint=f"rekindle supervise {target} --simulate",
        )
    options = SimulationOptions(target, guards, capacity.slots, capacity.retries_at_most, wait_timeout, seed)
    with opened() as session:
        found = simulate(session, options)
    if as_json:
        json_output.emit(simulated_supervision(found))
    else:
        for line in _parts(found):
            click.echo(line)
    return 0


def _option(name: str) -> str:
    return "--as" if name == "name" else "--" + name.replace("_", "-")


def _parts(one: SimulatedSupervision) -> Iterator[str]:
    found = one.found
    why = words.one_line(found.why or found.end.value)
    yield f"{words.one_line(one.name)}, simulated: it would have ended because {why}"
    slots = words.plural(one.policy.slots, "job")
    yield f"after {words.duration(found.seconds)}, with {slots} at once"
    yield f"jobs then: {_statuses(found.statuses)}; in fact: {_statuses(one.statuses)}"
    more = _more(found.attempts - one.attempts, words.plural(abs(found.attempts - one.attempts), "attempt"))
    longer = _more(found.core_seconds - one.core_seconds, words.duration(abs(found.core_seconds - one.core_seconds)))
    core = words.duration(found.core_seconds)
    yield f"cost: {words.plural(found.attempts, 'attempt')} ({more}), {core} of a core ({longer})"
    if found.rounds:
        yield "\n" + _rounds(one)
    drawn = sum(found.drawn.values())
    if drawn:
        of, seed = words.plural(found.attempts, "attempt"), one.seed
        yield f"\n{drawn:,} of {of} have no record, and are drawn with seed {seed}:"
        for source, number in found.drawn.items():
            yield f"  {number:,} from {SOURCES[source]}"
    else:
        yield "\neach attempt has a record"
    if one.canceled:
        yield f"left out: {words.plural(one.canceled, 'canceled attempt')}"


def _statuses(statuses: Mapping[Status, int]) -> str:
    return ", ".join(f"{number:,} {terminal.coloured(status.value)}" for status, number in statuses.items()) or "none"


def _more(difference: float, amount: str) -> str:
    """Return how a cost differs from that of what happened."""
    return "as in fact" if not difference else f"{amount} {'more' if difference > 0 else 'less'} than in fact"


def _rounds(one: SimulatedSupervision) -> str:
    columns = [
        Column("ROUND", right=True),
        Column("AT", right=True),
        Column("ATTEMPTS", right=True),
        Column("MATCH", right=True),
        Column("OF", right=True),
        Column("PERCENT", right=True),
        Column("RUN AGAIN", right=True),
        Column("LEFT ALONE", cut="end", drop=True),
    ]
    rows = [
        (
            str(each.number),
            words.duration(each.at),
            f"{each.attempts:,}",
            f"{each.matching:,}",
            f"{each.total:,}",
            f"{each.percent:.1f}",
            f"{each.jobs:,}" if each.jobs else "",
            ", ".join(f"{group or '(none)'} {percent:.1f} %" for group, percent in each.stopped.items()),
        )
        for each in one.found.rounds
    ]
    return terminal.table(columns, rows)
