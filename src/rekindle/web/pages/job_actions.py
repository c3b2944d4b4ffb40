"""What the console does with selected jobs besides reruns: hold, release, cancel, accept changes, complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rekindle.engine.queries.selections import moved_text
from rekindle.engine.rerun import control
from rekindle.engine.running import reconcile
from rekindle.presentation import controls, words
from rekindle.web.forms import fields_of, one_of
from rekindle.web.selections import Fields, selection_of, typed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rekindle.domain.errors import RefusedJob
    from rekindle.engine.results import CancelResult, HoldResult
    from rekindle.engine.session import Session
    from rekindle.web.access import Principal
    from rekindle.web.console import Console

Act = Callable[["Session", Fields], Iterator[str]]
"""Does something with the jobs of the selection of a form, and says what."""

LONGEST_NOTE = 1_000

MOST_NAMED = 5


def add(console: Console) -> None:
    """Add the actions. Each answers with what it did, for the notices of a page."""
    for name, act in (
        ("hold", _hold),
        ("release", _release),
        ("cancel", _cancel),
        ("accept", _accept),
        ("complete", _complete),
    ):
        console.add_action(f"/jobs/{name}", "rerun", _handler(console, act))


def _handler(console: Console, act: Act) -> Callable[[Request, Principal], object]:
    async def handle(request: Request, principal: Principal) -> Response:
        fields = await fields_of(request)

        def done(session: Session) -> dict[str, object]:
            with session.store.written_by(principal.name):
                return {"lines": list(act(session, fields))}

        return await console.show("notice.html", done, principal)

    return handle


def _note(fields: Fields) -> str | None:
    return one_of(fields, "note").strip()[:LONGEST_NOTE] or None


def _hold(session: Session, fields: Fields) -> Iterator[str]:
    selection = selection_of(fields)
    with reconcile.reconciled(session):
        done = control.hold(session, selection, _note(fields) or "held")
    yield from (*controls.held(done), *_moved(done))


def _release(session: Session, fields: Fields) -> Iterator[str]:
    selection = selection_of(fields)
    with reconcile.reconciled(session):
        done = control.release(session, selection, _note(fields))
    yield from (*controls.released(done), *_moved(done))


def _cancel(session: Session, fields: Fields) -> Iterator[str]:
    done = reconcile.cancel(session, selection_of(fields), _note(fields))
    yield from (*controls.canceled(done), *_moved(done))


def _accept(session: Session, fields: Fields) -> Iterator[str]:
    from rekindle.engine.rerun.accept import accept

    selection = selection_of(fields)
    with reconcile.reconciled(session):
        done = accept(session, selection, {"selection": typed(fields)}, _note(fields))
    if done.rerun is None:
        yield "nothing is stale: there is nothing to accept"
        return
    current = f"; {len(done.current):,} current already" if done.current else ""
    yield f"rerun {done.rerun} is recorded: {words.plural(len(done.plan.jobs), 'job')} accepted{current}"
    yield from _refused(done.plan.refused)


def _complete(session: Session, fields: Fields) -> Iterator[str]:
    from rekindle.engine.rerun.complete import CompleteOptions, complete

    selection = selection_of(fields)
    with reconcile.reconciled(session):
        done = complete(session, selection, {"selection": typed(fields)}, CompleteOptions(note=_note(fields)))
    yield from controls.completed(done)
    yield from _refused(done.plan.refused)


def _refused(refused: Sequence[RefusedJob]) -> Iterator[str]:
    yield from (f"{one.name}: {one.why}" for one in refused[:MOST_NAMED])
    if len(refused) > MOST_NAMED:
        yield f"and {len(refused) - MOST_NAMED:,} more were refused"


def _moved(done: HoldResult | CancelResult) -> Iterator[str]:
    if done.moved:
        yield f"left alone: {moved_text(done.moved)}"
