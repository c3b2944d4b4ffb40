"""`rekindle resim`: ReSim's commands, on the local store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from rekindle.dialects.original_commands import OriginalGroup
from rekindle.dialects.resim.create import create, run
from rekindle.dialects.resim.rerun import rerun
from rekindle.dialects.resim.show import cancel, get, logs, tests
from rekindle.dialects.resim.supervise import supervise, wait
from rekindle.domain.errors import Refused, UsageError


class ExitOneGroup(OriginalGroup):
    """A group in which every refused command line exits with 1, as in ReSim.

    `aliases` are other names of its commands. `global_options`, which take a value, may follow the command.
    """

    def __init__(
        self, *args: Any, aliases: Mapping[str, str] | None = None, global_options: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._aliases, self._global_options = aliases or {}, global_options

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Move global options to the front, then parse."""
        with _usage_errors_as_refused():
            return super().make_context(info_name, _move_to_front(args, self._global_options), parent, **extra)

    def full_name(self, typed: str) -> str:
        """Return the name of the command of that name or alias."""
        return self._aliases.get(typed, typed)

    def invoke(self, ctx: click.Context) -> Any:
        """Raise Refused for usage errors."""
        with _usage_errors_as_refused():
            return super().invoke(ctx)


def _move_to_front(args: list[str], options: Sequence[str]) -> list[str]:
    """Move the given options and their values before all other words."""
    taken: list[str] = []
    rest: list[str] = []
    left = iter(args)
    for word in left:
        if word in options:
            taken += [word, *(value for value in [next(left, None)] if value is not None)]
        else:
            (taken if word.partition("=")[0] in options else rest).append(word)
    return [*taken, *rest]


@contextmanager
def _usage_errors_as_refused() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except UsageError as error:
        raise Refused(error.message, hint=error.hint) from error
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "rekindle resim"
        raise Refused(error.format_message(), hint=f"see `{path} --help`") from error


_SIGNING_IN = ("--url", "--auth-url", "--client-id", "--client-secret")
_GROUPS = {"batch": "batches", "test-suite": "test-suites", "suites": "test-suites", "suite": "test-suites"}


@click.group(cls=ExitOneGroup, aliases=_GROUPS, global_options=_SIGNING_IN)
@click.option("--url", metavar="URL", expose_value=False, help="Ignored: there is no server.")
@click.option("--auth-url", metavar="URL", expose_value=False, help="Ignored.")
@click.option("--client-id", metavar="ID", expose_value=False, help="Ignored.")
@click.option("--client-secret", metavar="SECRET", expose_value=False, help="Ignored.")
def resim() -> None:
    """Speak ReSim: its commands for batches of tests.

    \b
    Example:
      rekindle resim batches create --project car --build-id planner-7 --experience-tags nightly
      rekindle resim batches supervise --batch-id 3 --rerun-on-states Error
      rekindle resim batches rerun --batch-id 3 --test-ids 7,8
    """


@click.group(cls=ExitOneGroup, aliases={"jobs": "tests"})
def batches() -> None:
    """Create, inspect, wait for, rerun and supervise batches.

    A batch is a workflow, and its ID the workflow's; a test is a job, and its ID the job's. Every workflow is a batch;
    its aggregates are the batch metrics.

    \b
    Example:
      rekindle resim batches get --batch-id 3
      rekindle resim batches tests --batch-id 3
    """


@click.group("test-suites", cls=ExitOneGroup)
def suites() -> None:
    """Run test suites of the experience file.

    \b
    Example:
      rekindle resim test-suites run --project car --test-suite nightly --build-id planner-7
    """


for _command in (create, get, tests, wait, logs, cancel, rerun, supervise):
    batches.add_command(_command)
suites.add_command(run)
resim.add_command(batches)
resim.add_command(suites)
