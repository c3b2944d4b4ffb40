"""The options that say how a rerun is done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from rekindle.cli.options import pairs, parse_subtasks
from rekindle.domain.errors import UsageError
from rekindle.domain.overrides import Overrides
from rekindle.domain.rerun.request import FROM_BEGINNING, MAX_RUNS, How
from rekindle.domain.subtasks import SubtaskChoice

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--from",
        "start",
        metavar="beginning|failed-step|STEP",
        help="Start each job here. [default: beginning, or the kept resume point]",
    ),
    click.option(
        "--from-attempt",
        type=click.IntRange(min=1),
        metavar="ID",
        help="Resume from this archived attempt instead of the latest one.",
    ),
    click.option(
        "--downstream",
        type=click.Choice(["all", "changed", "none"]),
        default="all",
        show_default=True,
        help="Rerun all downstream jobs, only changed ones, or none (completed ones become stale).",
    ),
    click.option(
        "--definition",
        type=click.Choice(["latest", "pinned"]),
        default="latest",
        show_default=True,
        help="Use the definition of the latest revision, or of each job's earlier attempt.",
    ),
    click.option(
        "--workdir",
        type=click.Choice(["new", "copy", "same"]),
        help="For `workdir: attempt`: a new folder, a copy of the last attempt's, or the same. "
        "[default: new, or copy if steps are kept]",
    ),
    click.option("--keep-recovery", is_flag=True, help="Start later plain reruns at this resume point, too."),
    click.option("--clear-recovery", is_flag=True, help="Drop the kept resume point."),
    click.option(
        "--set", "set_", multiple=True, metavar="K=V", help="Set a parameter for these jobs; repeat for more."
    ),
    click.option("--env", multiple=True, metavar="K=V", help="Set an environment variable; repeat for more."),
    click.option("--memory", metavar="SIZE|xF", help="Set the memory limit (8G), or multiply the current one (x1.5)."),
    click.option("--time", metavar="DURATION|xF", help="Set the time limit (2h), or multiply the current one (x1.5)."),
    click.option("--cpus", type=float, metavar="N", help="Set the number of cpus."),
    click.option(
        "--keep-outputs",
        is_flag=True,
        help="Save declared outputs before they are overwritten; undo restores missing ones.",
    ),
    click.option(
        "--repeat",
        type=click.IntRange(min=1, max=MAX_RUNS),
        metavar="N",
        help="Run each job N times, whether or not it fails, to measure how flaky it is. Each run is an attempt and "
        "overwrites the outputs. The last run counts; downstream jobs wait for it.",
    ),
    click.option(
        "--keep-modified",
        is_flag=True,
        help="Keep the modifications of an earlier rerun; those of this rerun take precedence.",
    ),
    click.option(
        "--cancel-running",
        is_flag=True,
        help="Cancel running jobs that would be reset; nothing starts before they have ended.",
    ),
    click.option(
        "--undo-dynamic",
        is_flag=True,
        help="Roll back the dynamic actions of the jobs that run again.",
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
    """Add the options of a rerun to a command. The command gets them as one argument, `how`."""

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
    if not (set_ or env) and memory is None and time is None and cpus is None:
        return None
    params: dict[str, Any] = {}
    if set_:
        from rekindle.spec.yaml_reader import typed_value

        params = {name: typed_value(text) for name, text in pairs("--set", set_).items()}
    asked = Overrides.asked(params, pairs("--env", env), memory, time, cpus)
    return None if asked == Overrides() else asked


class FanOutFlags(msgspec.Struct, frozen=True):
    """The values of `--subtasks` and `--accept-partial`."""

    subtasks: SubtaskChoice | None = None
    accept_partial: bool = False

    def how(self, how: How) -> How:
        """Return `how` with these values."""
        return msgspec.structs.replace(how, subtasks=self.subtasks, accept_partial=self.accept_partial)


def fan_out_options(command: Command) -> Command:
    """Add `--subtasks` and `--accept-partial` to a command. The command gets them as one argument, `fan_out`."""

    @functools.wraps(command)
    def with_flags(*args: Any, **kwargs: Any) -> Any:
        subtasks, accept = kwargs.pop("subtasks"), kwargs.pop("accept_partial")
        flags = FanOutFlags(None if subtasks is None else parse_subtasks(subtasks), accept)
        return command(*args, fan_out=flags, **kwargs)

    accept = click.option(
        "--accept-partial", is_flag=True, help="Continue after the failed fan-out, without its failed items."
    )
    which = click.option(
        "--subtasks",
        metavar="failed|all|0,3-5",
        help="Rerun these items of a resumed fan-out. [default: the incomplete ones]",
    )
    decorated: Any = which(accept(with_flags))
    return decorated  # type: ignore[no-any-return]
