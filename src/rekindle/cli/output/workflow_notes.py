"""Print notes about a workflow: a changed spec file, another folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rekindle.engine.queries.workflow_queries import spec_state
from rekindle.presentation import words
from rekindle.presentation.workflows import spec_note

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow


def note_other_folders(workflows: Sequence[Workflow]) -> None:
    """Print a note for each workflow that runs in another folder, if this folder has a file of its spec's name: this
    folder may be a copy of the workflow's."""
    here = Path.cwd()
    for one in workflows:
        elsewhere = Path(one.directory) != here and Path(one.directory).is_dir()
        if one.source and elsewhere and (here / Path(one.source).name).is_file():
            click.echo(f"note: {words.one_line(one.name)} runs in {words.one_line(one.directory)}, not here", err=True)


def note_spec_changes(workflows: Sequence[Workflow]) -> None:
    """Print a note for each workflow whose spec file differs from the stored revision."""
    note_other_folders(workflows)
    for workflow in workflows:
        spec = spec_state(workflow)
        if (note := spec_note(workflow, spec)) is not None:
            click.echo(f"note: {words.one_line(workflow.name)}: {note[0]}", err=True)
            submit = "; `--submit FILE` submits it" if spec == "changed" else ""
            click.echo(f"  hint: `{note[1]}` shows it{submit}", err=True)
