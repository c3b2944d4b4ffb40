"""The options that say how a rerun is done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from rekindle.domain.overrides import pairs
from rekindle.domain.rerun.request import MAX_RUNS, How, HowFlags, parse_how
from rekindle.domain.subtasks import SubtaskChoice, parse_subtasks

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--from",
        "start",
        metavar="beginning|failed-step|STEP",
        help="Start each job here; failed-step-or-beginning: at the failed step where there is one. "
        "[default: beginning, or the kept resume point]",
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
        help="Rerun all downstream jobs, only changed ones (earlier attempts complete the others), or none "
        "(completed ones become stale).",
    ),
    click.option(
        "--definition",
        type=click.Choice(["latest", "pinned"]),
        help="Use the definition of the latest revision, or of each job's earlier attempt. [default: as the job's "
        "`definition` says: latest]",
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

_NAMES = tuple(flag for flag in HowFlags.__struct_fields__ if flag not in ("subtasks", "accept_partial", "set"))


def how_options(command: Command) -> Command:
    """Add the options of a rerun to a command. The command gets them as one argument, `how`."""

    @functools.wraps(command)
    def with_how(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _NAMES}
        given["set"], given["env"] = _typed(kwargs.pop("set_")), pairs("--env", given["env"])
        how = parse_how(HowFlags(**given))
        return command(*args, how=how, **kwargs)

    decorated: Any = with_how
    for decorate in reversed(_OPTIONS):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def _typed(given: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of `--set`, which are typed as in a spec."""
    if not given:
        return {}
    from rekindle.spec.yaml_reader import typed_value

    return {name: typed_value(text) for name, text in pairs("--set", given).items()}


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
