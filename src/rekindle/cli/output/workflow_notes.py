"""Notes about a workflow: held jobs, a changed spec file, another folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.cli.output import terminal
from rekindle.engine.queries.workflow_queries import spec_state

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.results import SpecState


def held_lines(held: Mapping[str, int], workflow: str | None) -> Iterator[str]:
    """Yield `3 jobs are held: reset    let go: rekindle restart -w 1` for each reason."""
    from rekindle.domain.rerun.request import RESET_HOLD

    scope = f" -w {workflow}" if workflow else ""
    for reason, number in held.items():
        jobs = f"{terminal.plural(number, 'job')} {'is' if number == 1 else 'are'} {terminal.coloured('held')}"
        what = f": {terminal.one_line(reason)}" if reason != "held" else ""
        way = f"restart{scope}" if reason == RESET_HOLD else f"release{scope} -f held=true"
        yield f"{jobs}{what}    let go: rekindle {way}"


def spec_note(one: Workflow, spec: SpecState) -> tuple[str, str] | None:
    """Return how the spec file differs from the stored revision, and a command; None if it is unchanged."""
    folder = terminal.one_line(one.directory)
    file, revision = terminal.one_line(one.source or ""), f"revision {one.revision}"
    return {
        "no_folder": (f"its folder is missing: {folder}; its jobs cannot run", f"rekindle workflows show {one.id}"),
        "changed": (f"the spec file differs from {revision}, which is what runs", f"rekindle workflows diff {one.id}"),
        "invalid": (
            f"the spec file has changed since {revision}, and has mistakes in it",
            f"rekindle workflows diff {one.id}",
        ),
        "gone": (f"the spec file is gone; {revision} runs without it", f"rekindle workflows show {one.id}"),
        "unreadable": (f"the spec file cannot be read; {revision} runs without it", f"ls -l {file}"),
    }.get(spec)


def note_other_folders(workflows: Sequence[Workflow]) -> None:
    """Print a note for each workflow that runs in another folder, if this folder has a file of its spec's name: this
    folder may be a copy of the workflow's."""
    here = Path.cwd()
    for one in workflows:
        elsewhere = Path(one.directory) != here and Path(one.directory).is_dir()
        if one.source and elsewhere and (here / Path(one.source).name).is_file():
            click.echo(
                f"note: {terminal.one_line(one.name)} runs in {terminal.one_line(one.directory)}, not here", err=True
            )


def note_spec_changes(workflows: Sequence[Workflow]) -> None:
    """Print a note for each workflow whose spec file differs from the stored revision."""
    note_other_folders(workflows)
    for workflow in workflows:
        spec = spec_state(workflow)
        if (note := spec_note(workflow, spec)) is not None:
            click.echo(f"note: {terminal.one_line(workflow.name)}: {note[0]}", err=True)
            submit = "; `--submit FILE` submits it" if spec == "changed" else ""
            click.echo(f"  hint: `{note[1]}` shows it{submit}", err=True)
