"""`rekindle rerun --submit`: a new revision and a rerun of its jobs in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from rekindle.cli.options import pairs
from rekindle.cli.showing import drawing, shapes
from rekindle.cli.showing.reading import reading_shown
from rekindle.domain.errors import PlanRefused, UsageError
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.selection import Selection
from rekindle.engine.results import Preview, Proposal
from rekindle.engine.session import Session


def check_submit(spec: str | None, param: tuple[str, ...], save_plan: Path | None, *, revise: bool) -> None:
    """UsageError for flags that do not go together."""
    if revise and spec is None:
        raise UsageError("--revise is about a spec that is submitted", hint="--submit SPEC --revise")
    if param and spec is None:
        raise UsageError("--param sets a parameter of a spec that is submitted", hint="--submit SPEC, or --set K=V")
    if spec is not None and save_plan is not None:
        raise UsageError(
            "--save-plan cannot be used with --submit: a saved plan holds for jobs as they stand, and the new "
            "revision would change them",
            hint="`rekindle submit` first, then save the plan",
        )


def proposed(
    session: Session,
    spec: str,
    param: tuple[str, ...],
    selection: Selection,
    how: How,
    request: Mapping[str, Any],
    note: str | None,
    slots: int | None,
    canary: int | None,
    *,
    revise: bool,
    as_json: bool,
) -> Proposal | None:
    """What submitting the file and rerunning the selection would do; None, and it is said, for an empty selection."""
    from rekindle.engine.rerunning import resubmitting
    from rekindle.spec import load

    definition = load(Path(spec), params=pairs("--param", param))
    definition = resubmitting.meant(session, definition, selection.workflow, revise=revise)
    pick, why = resubmitting.picked(definition, selection, how), None
    if selection.changed:
        with reading_shown() as tell:
            changed = resubmitting.changed_by(session, definition, selection, tell, revise=revise)
        tell_unknown(len(changed.unknown))
        pick, why = resubmitting.these(list(changed.stale), how), changed.stale
    asked = {**request, "submit": definition.source}
    try:
        found = resubmitting.propose(
            session, definition, pick, asked, note, why=why, slots=slots, canary=canary, revise=revise
        )
    except PlanRefused as refusal:
        if as_json:
            shapes.emit(shapes.nothing_planned(refusal.refused))
        raise
    if isinstance(found, Proposal):
        return found
    _tell_nothing(found, spec, as_json, "nothing is stale" if selection.changed else "nothing selected")
    return None


def tell_unknown(number: int) -> None:
    """Say how many of the selected jobs are unknown."""
    if number:
        click.echo(
            f"{drawing.unknown_jobs(number)}: there is nothing to compare; -n NAME selects a job by name", err=True
        )


def _tell_nothing(found: Preview, spec: str, as_json: bool, text: str) -> None:
    if as_json:
        shapes.emit(shapes.nothing_planned())
        return
    click.echo(text)
    if not found.submitted.unchanged:
        click.echo(f"  and nothing is submitted: `rekindle submit {drawing.flat(spec)}` does that alone", err=True)
