"""`rekindle reproduce` and `verify`: attempts again, aside."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import click

from rekindle.cli.options import json_option
from rekindle.cli.output import json_output, terminal
from rekindle.cli.output.file_progress import reading_progress
from rekindle.cli.selection_options import required_selection, selection_options
from rekindle.cli.sessions import reconciled
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.states import State
from rekindle.engine.reproduction import reproduce as engine
from rekindle.engine.reproduction import stepping
from rekindle.presentation import reproductions, words
from rekindle.streams import terminal_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rekindle.domain.subtasks import Subtask
    from rekindle.engine.reproduction.recorded import RecordedAttempt
    from rekindle.engine.reproduction.reproduce import PreparedReproduction, Reproduction
    from rekindle.engine.reproduction.scratch import Scratch
    from rekindle.engine.reproduction.stepping import StepCommand
    from rekindle.engine.reproduction.verify import VerifiedJob
    from rekindle.query.selections import SelectionFlags

Mode = Literal["run", "shell", "pdb", "print"]

_MODES: tuple[Mode, ...] = ("shell", "pdb", "print")
"""The modes that have a flag."""


@click.command()
@click.argument("attempt", type=click.IntRange(min=1), metavar="ATTEMPT")
@click.option("--shell", is_flag=True, help="Open a shell in the prepared folder, and run nothing.")
@click.option("--pdb", is_flag=True, help="Run a Python step in the debugger.")
@click.option("--print", "prints", is_flag=True, help="Print a shell script of the steps, and run nothing.")
@click.option("--step", metavar="NAME", help="With --shell, --pdb or --print: begin with this step.")
@click.option("--subtask", type=click.IntRange(min=0), metavar="K", help="Run only this item of a fan-out.")
@click.option("--into", type=click.Path(), metavar="DIR", help="Use this empty folder. [default: a new temporary one]")
@click.option("--yes", is_flag=True, help="Run although something differs today.")
@json_option
def reproduce(
    attempt: int,
    shell: bool,
    pdb: bool,
    prints: bool,
    step: str | None,
    subtask: int | None,
    into: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Run one attempt again in a folder of its own, and compare how it ends. The store and the project stay as they
    are.

    It has its own definition, overrides, inputs and upstream results. What differs today is named before it runs. Its
    files are copies: recorded inputs, and small files of the project.

    The exit code is 0 if it completes, 2 if it fails.

    \b
    Example:
      rekindle reproduce 12
      rekindle reproduce 12 --pdb
      rekindle reproduce 12 --print > again.sh
    """
    mode = _chosen_mode(shell=shell, pdb=pdb, print=prints)
    if step is not None and mode == "run":
        raise UsageError("--step needs --shell, --pdb or --print", hint="without them, all steps run")
    if as_json and mode in ("shell", "pdb"):
        raise UsageError(f"--json and --{mode} exclude each other", hint=f"leave out --json with --{mode}")
    with reconciled(looks=True) as session, reading_progress() as on_read:
        prepared = engine.prepare(session, attempt, on_read)
    one = prepared.one
    if mode in ("run", "pdb"):
        engine.check_may_run(prepared)
    position = stepping.choose_step(one, step, subtask)
    item = None if subtask is None else stepping.find_subtask(one, position, subtask)
    if mode in ("shell", "pdb"):
        _check_item(one, position, item)
    _say(f"attempt {attempt} of {words.one_line(one.job.name)}, workflow {words.one_line(one.workflow)}", as_json)
    for line in reproductions.drift_lines(prepared):
        _say(line, as_json)
    if mode in ("run", "pdb") and prepared.drift.reasons:
        _confirm(prepared, yes, as_json)
    scratch = engine.lay_out_folder(prepared, into)
    _say(reproductions.folder_line(scratch), as_json)
    if mode == "print":
        _print_steps(prepared, scratch, position, item, chosen=step is not None, as_json=as_json)
        return
    if mode != "run":
        assignment = stepping.run_steps_before(one, scratch, position, engine.never)
        _open(mode, stepping.step_command(scratch, assignment, position, item))
        return
    found = engine.reproduce(prepared, scratch, step=position, subtask=subtask)
    _show(found, as_json)
    click.get_current_context().exit(found.exit_code)


def _chosen_mode(**flags: bool) -> Mode:
    """Return the mode whose flag is given. Raise UsageError for two of them."""
    chosen = [mode for mode in _MODES if flags[mode]]
    if len(chosen) > 1:
        raise UsageError(
            " and ".join(f"--{mode}" for mode in chosen) + " exclude each other", hint="leave out all but one of them"
        )
    return chosen[0] if chosen else "run"


def _say(line: str, as_json: bool) -> None:
    """Print a line about what will run on stderr, so that stdout has only what was asked for."""
    if not as_json:
        click.echo(terminal.cut_painted(line, terminal_columns()) if sys.stderr.isatty() else line, err=True)


def _confirm(prepared: PreparedReproduction, yes: bool, as_json: bool) -> None:
    """Ask whether to run with what differs today. Raise Refused if the answer is no, or nobody can be asked."""
    if yes:
        return
    count = words.plural(len(prepared.drift.reasons), "difference")
    refusal = Refused(f"nothing is run: {count} from what attempt {prepared.one.attempt.id} ran with", hint="add --yes")
    if as_json:
        refusal.document = reproductions.prepared_document(prepared)
        raise refusal
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or not click.confirm("Run it with these?", err=True):
        raise refusal


def _check_item(one: RecordedAttempt, position: int, item: Subtask | None) -> None:
    step = one.body.steps[position]
    if step.each is not None and item is None:
        raise UsageError(f"step {step.name} is a fan-out", hint="--subtask 0 chooses its first item")


def _print_steps(
    prepared: PreparedReproduction,
    scratch: Scratch,
    position: int,
    item: Subtask | None,
    *,
    chosen: bool,
    as_json: bool,
) -> None:
    """Print how steps are started: the chosen one, or all until one fails, as in the attempt."""
    one = prepared.one
    steps = [position] if chosen or item is not None else range(len(one.body.steps))
    found: list[StepCommand | str] = []
    for at in steps:
        if one.body.steps[at].each is not None and item is None:
            found.append(_fan_out_message(one, at))
            continue
        try:
            assignment = stepping.recorded_results(one, scratch, at)
            found.append(stepping.step_command(scratch, assignment, at, item))
        except Refused as error:  # without the result of a step that failed
            if len(steps) == 1:
                raise
            found.append(error.message)
    if as_json:
        documents = [reproductions.step_document(each) for each in found if not isinstance(each, str)]
        document = reproductions.prepared_document(prepared)
        notes = [*document["notes"], *(each for each in found if each and isinstance(each, str))]
        json_output.emit({**document, "notes": notes, "folder": scratch.folder, "steps": documents})
        return
    click.echo("#!/bin/sh")
    click.echo(f"# attempt {one.attempt.id} of {words.one_line(one.job.name)}, in {scratch.folder}")
    for line in _script([each for each in found if each]):
        click.echo(line)


def _fan_out_message(one: RecordedAttempt, at: int) -> str:
    """Return why a script ends at a fan-out; "" if the fan-out had no items."""
    name, count = one.body.steps[at].name, len(one.subtasks.get(at, ()))
    ended = any(step.position == at and step.state is State.COMPLETED for step in one.attempt.steps)
    if ended and not count:
        return ""
    return f"step {name} is a fan-out: --subtask K prints an item (0 is the first), --step NAME a later step"


def _script(found: Sequence[StepCommand | str]) -> Iterator[str]:
    """Yield the lines of a script of steps, which ends with the exit code of the first that fails. At a message instead
    of a step, it prints the message and ends."""
    if not found:
        return
    if len(found) == 1 and not isinstance(found[0], str):
        yield from [f"# step {found[0].step}", *found[0].script()]
        return
    yield "("  # `exit` leaves this shell, not one that the lines are pasted into
    for each in found:
        if isinstance(each, str):
            yield from [f"echo {shlex.quote(words.one_line(each))} >&2", "exit 1"]
            break
        *lines, end = each.script()
        yield from [f"# step {each.step}", *lines, f"{end} || exit"]
    yield ")"


def _open(mode: Mode, command: StepCommand) -> None:
    """Give the terminal to a shell in the step's directory, or to the debugger."""
    if mode == "pdb":
        if command.debugger is None:
            raise UsageError(
                f"--pdb needs a Python function or a `python script`; step {command.step} is {command.command_line}",
                hint="--shell opens a shell in its folder",
            )
        argv = command.debugger
    else:
        argv = [os.environ.get("SHELL") or "/bin/sh"]
        click.echo(f"step {command.step}: {command.command_line}", err=True)
        click.echo("`exit` leaves the shell", err=True)
    signal.signal(signal.SIGINT, lambda *_: None)  # it is for what runs in the terminal
    try:
        subprocess.run(argv, cwd=command.directory, env=command.environment, check=False)
    except OSError as error:
        raise Refused(
            f"{shlex.join(argv)} cannot be started: {error.strerror}", hint="$SHELL names the shell"
        ) from error


def _show(found: Reproduction, as_json: bool) -> None:
    if as_json:
        json_output.emit(reproductions.reproduction(found))
        return
    for line in reproductions.result_lines(found):
        click.echo(line)
    if found.exit_code:
        click.echo(f"its logs are beside {found.scratch.folder}/attempt")


@click.command()
@selection_options
@click.option("-j", "--jobs", "slots", type=click.IntRange(min=1), metavar="N", help="Run up to N at once.")
@json_option
def verify(flags: SelectionFlags, slots: int | None, as_json: bool) -> None:
    """Run completed jobs of a SELECTION again in folders of their own, and compare their outputs and results. The
    workflow stays as it is.

    Each is `reproducible`, `differs` (where first; its folder is kept) or `unknown`: what it ran with differs today,
    it left nothing to compare, or it was completed by hand. `rekindle flaky` shows what was found last.

    The exit code is 2 if a job differs, else 1 if one that ran is unknown, else 0.

    \b
    Example:
      rekindle verify -w sweep -j 4
      rekindle verify 'train*' --json
    """
    from rekindle.engine.queries import selections
    from rekindle.engine.reproduction.verify import verify as run

    selection = required_selection(flags, "verify", "-w sweep")
    with reconciled(looks=True) as session, reading_progress() as on_read:
        ids = selections.select(session, selection, on_read)
        found = run(session, ids, slots, (lambda _: None) if as_json else _show_verified)
    if as_json:
        json_output.emit(reproductions.verification(found))
    else:
        click.echo(reproductions.verified_summary(found) if ids else "nothing selected")
    click.get_current_context().exit(found.exit_code)


def _show_verified(one: VerifiedJob) -> None:
    click.echo(terminal.cut_painted(reproductions.verified_line(one), terminal_columns()))
    if one.folder is not None:
        click.echo(f"{'':14}kept in {one.folder}")
