"""Options that several commands share: specs, plans, runners. Selections are in `selection_options`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from rekindle.domain.errors import BadValue, UsageError
from rekindle.streams import outlives_reader

if TYPE_CHECKING:
    from rekindle.domain.verdicts import VerdictLevel
    from rekindle.engine.results import WorkOptions

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
"""Passed to the command as `as_json`."""

JsonForm = Literal["document", "lines"]
"""How a list is printed as JSON: as one document, or each row as a document in a line of its own."""


def json_rows_options(command: Command) -> Command:
    """Add `--json` and `--jsonl` to a command that lists rows: `as_json` is a JsonForm, or None for text."""
    document = click.option(
        "--json", "as_json", flag_value="document", help="Print one JSON document and nothing else."
    )
    lines = click.option(
        "--jsonl", "as_json", flag_value="lines", help="Print each row as a JSON document in a line of its own."
    )
    return document(lines(command))


dry_run_option = click.option("--dry-run", is_flag=True, help="Show what submitting would do, and change nothing.")
"""Passed to the command as `dry_run`."""

workflow_option = click.option("-w", "--workflow", metavar="ID|NAME", help="Restrict the command to this workflow.")
"""Passed to the command as `workflow`."""


def read_duration(_: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return seconds from `90s`, `1h30m`. A click callback; BadValue names the option."""
    from rekindle.domain.texts.quantities import parse_duration

    return None if value is None else _named(parse_duration, value, param)


def read_size(_: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return bytes from `512M`, `8G`. A click callback; BadValue names the option."""
    from rekindle.domain.texts.quantities import parse_size

    return None if value is None else int(_named(parse_size, value, param))


def _named(read: Callable[[str], float], text: str, param: click.Parameter) -> float:
    try:
        return read(text)
    except BadValue as bad:
        raise BadValue(f"{param.opts[-1]}: {bad.message}", hint=bad.hint) from None


revise_option = click.option(
    "--revise", is_flag=True, help="Make SPEC the next revision of its workflow, even if that came from another file."
)
"""Passed to the command as `revise`."""


def spec_options(command: Command) -> Command:
    """Add a spec file and the options of submitting to a command: `spec`, `param`, `name`, `new` and `revise`."""
    return click.argument("spec", metavar="SPEC")(submit_options(command))


def submit_options(command: Command) -> Command:
    """Add the options of submitting to a command: `param`, `name`, `new` and `revise`."""
    for decorate in reversed(
        (
            click.option("--param", multiple=True, metavar="K=V", help="Set a parameter of the spec; repeat for more."),
            click.option("--as", "name", metavar="NAME", help="Name the workflow; overrides the name in the spec."),
            click.option("--new", is_flag=True, help="Make another workflow of the same name, not a revision."),
            revise_option,
        )
    ):
        command = decorate(command)
    return command


def check_text(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a text that the store keeps. Raise UnicodeEncodeError for bytes that are not UTF-8. A click callback."""
    if value is not None:
        value.encode()
    return value


def plan_options(command: Command) -> Command:
    """Add `note`, `dry_run`, `yes` and `verbose` to a command that shows a plan, asks, and applies it."""
    for decorate in reversed(
        (
            click.option(
                "--note",
                metavar="TEXT",
                callback=check_text,
                help="Keep a note with the rerun, for the history.",
            ),
            click.option("--dry-run", is_flag=True, help="Show the plan and change nothing."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            click.option("-v", "--verbose", is_flag=True, help="Show every row of a long plan."),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def then_work_options(command: Command) -> Command:
    """Add `and_work` and `slots` to a command that can run the jobs that it made ready. See `check_then_work`."""
    slots = click.IntRange(min=1)
    for decorate in reversed(
        (
            click.option("--work", "and_work", is_flag=True, help="Run the jobs at once."),
            click.option("-j", "--jobs", "slots", type=slots, metavar="N", help="With --work: run N jobs at once."),
        )
    ):
        command = decorate(command)
    return outlives_reader(command)


def check_then_work(and_work: bool, slots: int | None, *, no_reuse: bool = False) -> None:
    """Raise UsageError for -j or --no-reuse without --work."""
    if slots is not None and not and_work:
        raise UsageError("-j needs --work", hint="add --work, or leave -j out")
    if no_reuse and not and_work:
        raise UsageError("--no-reuse needs --work", hint="add --work, or run the jobs with: rekindle work --no-reuse")


_CAPACITY_NAMES = (
    *("slots", "executor", "address", "executor_option", "memory", "gpus", "licence", "retries_at_most", "no_reuse"),
)


_retries_option = click.option(
    "--retries-at-most",
    type=click.IntRange(min=0),
    metavar="N",
    help="Let `retry:` policies make N retries in this run, of all jobs together; then failed jobs stay failed.",
)


no_reuse_option = click.option(
    "--no-reuse", is_flag=True, help="Run every job, also where an earlier attempt could complete it."
)


def capacity_options(command: Command) -> Command:
    """Add the options of a runner to a command: its capacity, and how many retries it makes. The command gets them as
    one argument, `capacity`: the WorkOptions of a runner, without what else the command asks of it."""

    @functools.wraps(command)
    def with_capacity(*args: Any, **kwargs: Any) -> Any:
        capacity = _capacity(**{name: kwargs.pop(name) for name in _CAPACITY_NAMES})
        return command(*args, capacity=capacity, **kwargs)

    decorated: Any = with_capacity
    for decorate in reversed(
        (
            click.option(
                "-j",
                "--jobs",
                "slots",
                type=click.IntRange(min=1),
                metavar="N",
                help="Run N jobs at once; with another executor, N elements. [default: one for each processor; 1000]",
            ),
            click.option(
                "--executor",
                metavar="NAME",
                help="Run attempts with this executor: local, slurm, dask, or one of an installed package. "
                "[default: $REKINDLE_EXECUTOR, else local]",
            ),
            click.option(
                "--address",
                metavar="URL",
                help="Address of the executor's engine: tcp://HOST:PORT for dask. [default: $REKINDLE_ADDRESS]",
            ),
            click.option(
                "--executor-option",
                multiple=True,
                metavar="TEXT",
                help="Pass an option to the executor's engine as it is: --executor-option=--partition=long.",
            ),
            click.option(
                "--memory",
                callback=read_size,
                metavar="SIZE",
                help="Memory for all running jobs together. [default: all]",
            ),
            click.option(
                "--gpus",
                type=click.IntRange(min=0),
                default=0,
                metavar="N",
                help="Number of GPUs for all running jobs together.",
            ),
            click.option(
                "--licence", multiple=True, metavar="NAME=N", help="Number of licences for all running jobs together."
            ),
            _retries_option,
            no_reuse_option,
        )
    ):
        decorated = decorate(decorated)
    return outlives_reader(decorated)  # type: ignore[no-any-return]


def _capacity(**given: Any) -> WorkOptions:
    from rekindle.engine.results import WorkOptions
    from rekindle.engine.running.executor_choice import check_executor

    options = WorkOptions(
        slots=given["slots"],
        executor=given["executor"],
        address=given["address"],
        executor_options=given["executor_option"],
        memory=given["memory"],
        gpus=given["gpus"],
        licences=_licences(given["licence"]),
        retries_at_most=given["retries_at_most"],
        reuse=not given["no_reuse"],
    )
    check_executor(options, os.environ)
    return options


def report_options(command: Command) -> Command:
    """Add the options of reports to a command, which gets them as one argument, `reports`."""

    @functools.wraps(command)
    def with_reports(*args: Any, junit: Path | None, server: str | None, **kwargs: Any) -> Any:
        from rekindle.cli.output.reports import RunReports, detected_server

        chosen = detected_server() if server == "auto" else server
        return command(*args, reports=RunReports(junit, chosen), **kwargs)  # type: ignore[arg-type]

    decorated: Any = with_reports
    for decorate in reversed(
        (
            click.option(
                "--junit",
                type=click.Path(path_type=Path, dir_okay=False),
                callback=_check_folder,
                metavar="FILE",
                help="At the end, write all jobs of the workflow to FILE as JUnit XML.",
            ),
            click.option(
                "--ci",
                "server",
                type=click.Choice(["github", "gitlab", "auto"]),
                metavar="github|gitlab|auto",
                help="Fold the log for GitHub or GitLab; on GitHub, also write annotations and a step summary. "
                "auto: for the server that $GITHUB_ACTIONS or $GITLAB_CI names.",
            ),
        )
    ):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


def _check_folder(_: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Return a path to write to. Raise BadValue if its folder does not exist, before a run of hours finds out."""
    if path is not None and not path.absolute().parent.is_dir():
        raise BadValue(f"{param.opts[-1]} {path}: there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    return path


def fail_on_option(command: Command) -> Command:
    """Add `fail_on` to a command: the verdicts that make its exit code 7 or 8."""
    help_text = "Exit with 7 for verdict blocker, 8 for warning: blocker, warning, or both with a comma."
    return click.option("--fail-on", callback=_read_verdicts, metavar="VERDICTS", help=help_text)(command)


def _read_verdicts(_: click.Context, param: click.Parameter, text: str | None) -> frozenset[VerdictLevel]:
    return frozenset(_read_verdict(param, word) for word in text.split(",")) if text is not None else frozenset()


def _read_verdict(param: click.Parameter, text: str) -> VerdictLevel:
    from rekindle.domain.verdicts import VerdictLevel

    for word in (VerdictLevel.WARNING, VerdictLevel.BLOCKER):
        if text.strip().lower() == word.value:
            return word
    raise BadValue(f"{param.opts[-1]}: {text.strip()!r} is neither warning nor blocker", hint="--fail-on blocker")


def _licences(texts: tuple[str, ...]) -> dict[str, int]:
    """Return `NAME=N` words as counts. Raise BadValue for any other word."""
    from rekindle.domain.overrides import pairs

    found: dict[str, int] = {}
    for name, count in pairs("--licence", texts).items():
        if not count.isdigit():
            raise BadValue(f"--licence {name}={count}: {count!r} is not a whole number", hint="--licence matlab=2")
        found[name] = int(count)
    return found
