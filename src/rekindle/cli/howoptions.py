"""The options that say how a rerun is done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from rekindle.cli.options import pairs
from rekindle.domain.errors import UsageError
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerunning.asking import MOST_RUNS
from rekindle.domain.rerunning.rerun import FROM_BEGINNING, How

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--from",
        "start",
        metavar="beginning|failed-step|STEP",
        help="Where each job starts. [default: beginning, or the resume point that was kept]",
    ),
    click.option(
        "--from-attempt",
        type=click.IntRange(min=1),
        metavar="ID",
        help="Go on from this attempt of the job, an archived one, and not from its latest.",
    ),
    click.option(
        "--downstream",
        type=click.Choice(["all", "changed", "none"]),
        default="all",
        show_default=True,
        help="Below: all runs again; what depends on something changed; none (what is done there is stale then).",
    ),
    click.option(
        "--definition",
        type=click.Choice(["latest", "pinned"]),
        default="latest",
        show_default=True,
        help="Which commands and parameters: of the latest revision, or of each job's earlier attempt.",
    ),
    click.option(
        "--workdir",
        type=click.Choice(["new", "copy", "same"]),
        help="For `workdir: attempt`: a new folder, a copy of the last attempt's, or the same. "
        "[default: new, and copy where steps are kept]",
    ),
    click.option("--keep-recovery", is_flag=True, help="Let later plain reruns start at this resume point too."),
    click.option("--clear-recovery", is_flag=True, help="Drop the resume point that was kept."),
    click.option(
        "--set", "set_", multiple=True, metavar="K=V", help="Set a parameter for these jobs; repeat it for more."
    ),
    click.option("--env", multiple=True, metavar="K=V", help="Set an environment variable; repeat it for more."),
    click.option("--memory", metavar="SIZE|xF", help="Allow so much memory, or F times as much as now."),
    click.option("--time", metavar="DURATION|xF", help="Allow so much time, or F times as much as now."),
    click.option("--cpus", type=float, metavar="N", help="Take N cpus."),
    click.option(
        "--keep-outputs",
        is_flag=True,
        help="Save declared outputs before they are overwritten; undo restores missing ones.",
    ),
    click.option(
        "--repeat",
        type=click.IntRange(min=1, max=MOST_RUNS),
        metavar="N",
        help="Run them N times, whatever comes of each, to measure how flaky they are: each time is an attempt of its "
        "own and writes over the outputs. What needs them waits for the last, which counts.",
    ),
    click.option("--keep-modified", is_flag=True, help="Keep what an earlier rerun modified, under this one's."),
    click.option(
        "--cancel-running",
        is_flag=True,
        help="Cancel what runs and would be reset; nothing starts before it has ended.",
    ),
    click.option(
        "--undo-dynamic",
        is_flag=True,
        help="Take back what actions of the jobs that run again had added, changed, held or canceled.",
    ),
)

_NAMES = (
    "start",
    "from_attempt",
    "downstream",
    "definition",
    "workdir",
    "keep_recovery",
    "clear_recovery",
    "set_",
    "env",
    "memory",
    "time",
    "cpus",
    "keep_modified",
    "undo_dynamic",
    "keep_outputs",
    "cancel_running",
    "repeat",
)


def how_options(command: Command) -> Command:
    """Give a command the options of a HOW; it gets them as one argument, `how`."""

    @functools.wraps(command)
    def with_how(*args: Any, **kwargs: Any) -> Any:
        how = _how(**{name: kwargs.pop(name) for name in _NAMES})
        return command(*args, how=how, **kwargs)

    decorated: Any = with_how
    for decorate in reversed(_OPTIONS):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def _how(start: str | None, keep_recovery: bool, clear_recovery: bool, **more: Any) -> How:
    if start is not None and start.startswith("-"):
        raise UsageError(f"--from takes beginning, failed-step or a step's name, not {start!r}")
    if keep_recovery and clear_recovery:
        raise UsageError("--keep-recovery and --clear-recovery contradict each other", hint="give one of them")
    if keep_recovery and start == FROM_BEGINNING:
        raise UsageError(
            "--keep-recovery keeps a resume point, and --from beginning has none", hint="--from failed-step has"
        )
    recovery: Any = "keep" if keep_recovery else "clear" if clear_recovery or start == FROM_BEGINNING else None
    repeat: int | None = more.pop("repeat")
    return How(
        start=start or FROM_BEGINNING,
        attempt=more.pop("from_attempt"),
        downstream=more.pop("downstream"),
        definition=more.pop("definition"),
        workdir=more.pop("workdir"),
        recovery=recovery,
        keep_modified=more.pop("keep_modified"),
        undo_dynamic=more.pop("undo_dynamic"),
        keep_outputs=more.pop("keep_outputs"),
        cancel_running=more.pop("cancel_running"),
        repeats=None if repeat is None else repeat - 1,
        overrides=_overrides(**more),
    )


def _overrides(
    set_: tuple[str, ...], env: tuple[str, ...], memory: str | None, time: str | None, cpus: float | None
) -> Overrides | None:
    from rekindle.spec.scalars import typed_value

    params = {name: typed_value(text) for name, text in pairs("--set", set_).items()}
    asked = Overrides.asked(params, pairs("--env", env), memory, time, cpus)
    return None if asked == Overrides() else asked
