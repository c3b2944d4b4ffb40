"""What the files say now of a batch: whatever runs again does so by its latest definition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from rekindle.dialects.resim.asked import Asked
from rekindle.dialects.resim.words import Batch
from rekindle.domain.definition import Definition
from rekindle.domain.errors import Refused, RekindleError
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.engine.submitting.submit import preview, submit


def latest_definition(session: Session, batch: Batch, *, sync_with_test_suite: bool = False) -> Definition | None:
    """The batch as its file says it now; None: as it is stored. Parameters stay those that the batch was made with.
    With `sync_with_test_suite` experiences that its suite has gained come in. Raises SpecError for a file in which
    something is wrong."""
    if batch.asked is not None:
        found = _by_experiences(batch, batch.asked, sync_with_test_suite)
    elif sync_with_test_suite:
        raise Refused(f"{batch.name} has no test suite", hint="leave out --sync-with-test-suite")
    else:
        found = _by_spec(batch)
    if found is None or preview(session, found, revision_of=batch.workflow.id).submitted.unchanged:
        return None
    return found


def take_in(session: Session, batch: Batch) -> None:
    """Submit what the file says now, and say so. What cannot be taken in is told, and the stored definition holds."""
    try:
        found = latest_definition(session, batch)
        if found is None:
            return
        done = submit(session, found, revision_of=batch.workflow.id)
    except RekindleError as error:
        click.echo(f"the latest definition is not taken in: {error}", err=True)
        return
    click.echo(f"{batch.name}: revision {done.revision} is taken in", err=True)


def _by_experiences(batch: Batch, asked: Asked, sync_with_test_suite: bool) -> Definition | None:
    from rekindle.dialects.resim.configured import read_configured
    from rekindle.dialects.resim.defining import choose, define

    config = Path(batch.workflow.directory, asked.config)
    if not sync_with_test_suite and not config.exists():
        return None
    found = read_configured(config)
    names = {one.name for one in found.experiences}
    own = [one.experience for one in batch.tests if one.job.added_by is None]
    gone = [name for name in own if name not in names]
    if gone:
        raise Refused(
            f"{found.path} has no experience {gone[0]!r:.60} any more, of which {batch.name} has a test",
            hint="put it back, or create another batch",
        )
    suite = asked.test_suite if sync_with_test_suite else None
    if sync_with_test_suite and suite is None:
        raise Refused(f"{batch.name} was not created from a test suite", hint="leave out --sync-with-test-suite")
    chosen = choose(found, experiences=own, suite=suite)
    return define(found, asked, batch.workflow.name, batch.workflow.project, chosen)


def _by_spec(batch: Batch) -> Definition | None:
    from rekindle.spec import load

    workflow = batch.workflow
    if workflow.source is None or look.spec_state(workflow) in ("same", "gone", "no_folder"):
        return None
    path = Path(workflow.source)
    found = load(path)
    if given := _given(found.params, batch.params):
        found = load(path, params=given)
    return replace(found, name=workflow.name)


def _given(now: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, str]:
    """Parameters whose values the batch has otherwise than the file, as they would be typed."""
    return {name: json.dumps(stored[name]) for name, value in now.items() if name in stored and stored[name] != value}
