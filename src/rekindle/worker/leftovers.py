"""Declared outputs of an attempt that does not complete: named with its end, set aside where the job asks for it, and
brought back for an attempt that goes on from there."""

from __future__ import annotations

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.states import State
from rekindle.journal import partial
from rekindle.journal.beneath import below
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.places import outputs_aside
from rekindle.journal.records import Ended
from rekindle.worker.findings import StartError
from rekindle.worker.frame import Frame, absolute, frame_of, own_surroundings


class Left:
    """The declared outputs of one attempt, as they were before its first step."""

    def __init__(self, recipe: Recipe, assignment: Assignment, frame: Frame, before: partial.Before | None = None):
        """`before` is given where the attempt has ended already."""
        self._recipe, self._assignment = recipe, assignment
        self._outputs = absolute(frame.directory, frame.outputs) if frame.outputs else {}
        self._before = before or (partial.outputs_before(self._outputs) if self._outputs else None)
        self._aside = assignment.aside

    def bring_back(self) -> None:
        """Before the first step: put outputs back that the attempts it goes on from have set aside. StartError where
        that cannot be."""
        aside, self._aside = self._aside, ()
        try:
            missing = partial.missing_copies(aside)
            if not missing:
                partial.bring_back(aside, self._recipe.directory)
        except FileExistsError as error:
            raise StartError(
                f"the partial output of an earlier attempt cannot be put back, for there is another {error.filename}; "
                f"move that, or {error.filename2}, away"
            ) from error
        except OSError as error:
            raise StartError(
                f"the partial outputs of an earlier attempt cannot be put back: {error.strerror or error} "
                f"({error.filename})"
            ) from error
        if missing:
            raise StartError(f"{partial.missing_text(missing)}; {partial.missing_hint(self._assignment.job)}")

    def complete(self, ended: Ended) -> Ended:
        """Return the record of the attempt's end with the outputs that it leaves without completing."""
        if self._before is None or ended.state == State.COMPLETED:
            return ended
        found = partial.partial_outputs(self._outputs, self._before)
        if not found:
            return ended
        if self._recipe.partial == "aside":
            own = self._assignment.folder if self._recipe.workdir == "attempt" else None
            apart = [one for one in found if own is not None and below(own, one.path) is not None]  # seen by no other
            moved = partial.set_aside(
                [one for one in found if one not in apart],
                list(self._outputs),
                self._before,
                self._recipe.directory,
                outputs_aside(self._assignment.beside),
            )
            found = (*apart, *moved)
        return msgspec.structs.replace(ended, left=found)


def with_left(ended: Ended, recipe: Recipe, assignment: Assignment) -> Ended:
    """Complete the record of an attempt's end whose process has died."""
    if not recipe.outputs or ended.started is None:
        return ended
    try:
        frame = frame_of(recipe, assignment, own_surroundings())
    except RekindleError:
        return ended
    return Left(recipe, assignment, frame, partial.outputs_between(ended.started)).complete(ended)
