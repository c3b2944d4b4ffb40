"""`rekindle workflows diff`: two revisions, or one and the spec file."""

from __future__ import annotations

from pathlib import Path

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, pairs
from rekindle.cli.showing import drawing, revisionshapes, revisionshow, shapes
from rekindle.domain.definition import Definition
from rekindle.domain.errors import Refused, UsageError
from rekindle.domain.models import Workflow
from rekindle.engine.looking import look
from rekindle.engine.submitting.revising import compare_revisions


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("revisions", nargs=-1, type=click.IntRange(min=1), metavar="[REV [REV]]")
@click.option("--spec", type=click.Path(path_type=Path), metavar="FILE", help="Compare with this spec file.")
@click.option("--param", multiple=True, metavar="K=V", help="As if the file were submitted with it; repeat for more.")
@click.option("-v", "--verbose", is_flag=True, help="Name every job.")
@json_option
def diff(
    workflow: str,
    revisions: tuple[int, ...],
    spec: Path | None,
    param: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> None:
    """Show what differs between two revisions, or from a spec file. Nothing is stored.

    One REV is compared with the latest. Without any: what submitting the workflow's spec file would change; where the
    file is as it was stored, what the latest revision has changed.

    \b
    Example:
      rekindle workflows diff sweep
      rekindle workflows diff sweep 2 4
      rekindle workflows diff sweep 2 --spec other.yaml --param alpha=0.2
    """
    if len(revisions) > (1 if spec or param else 2):
        raise UsageError("at most two revisions can be compared, or one with a spec file")
    with opened() as session:
        known = look.find_workflow(session, workflow)
        file = spec or _own_file(known, revisions, bool(param))
        a, b = _sides(known, revisions, file)
        other = _loaded(file, param) if file else b
        found = None if other is None else compare_revisions(session, known, a, other)
    if as_json:
        unchanged = found is None or found == type(found)()
        names = {"workflow": known.id, "name": known.name, "from": a, "to": b, "spec": str(file) if file else None}
        shapes.emit({**names, "unchanged": unchanged, **revisionshapes.revision_diff(found)})
        return
    name = drawing.flat(known.name)
    if found is None:
        where = "the spec file is as stored in" if known.source else "made by the Python API,"
        click.echo(f"{name}: {where} revision {known.revision}, the only one")
        return
    click.echo(f"{name}: revision {a} -> {drawing.flat(str(file)) if file else f'revision {b}'}")
    revisionshow.draw_diff(found, verbose=verbose)


def _own_file(known: Workflow, revisions: tuple[int, ...], with_params: bool) -> Path | None:
    """The workflow's own spec file, where it is meant: none is named, and it is not as it was stored."""
    if with_params and known.source is None:
        raise Refused(f"{known.name} was made by the Python API: --param needs a file", hint="--spec FILE names one")
    if known.source is None or (revisions and not with_params):
        return None
    meant = with_params or look.spec_state(known) in ("changed", "invalid")
    return Path(known.source) if meant else None


def _sides(known: Workflow, revisions: tuple[int, ...], file: Path | None) -> tuple[int, int | None]:
    """The revisions that are compared; the second is None where there is none, or the file stands in its place."""
    if file is not None:
        return (revisions or (known.revision,))[0], None
    if len(revisions) == 2:
        return revisions[0], revisions[1]
    if revisions:
        return revisions[0], known.revision
    return (known.revision - 1, known.revision) if known.revision > 1 else (known.revision, None)


def _loaded(file: Path, param: tuple[str, ...]) -> Definition:
    from rekindle.spec import load

    return load(file, params=pairs("--param", param))
