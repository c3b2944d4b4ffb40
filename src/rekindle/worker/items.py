"""A fan-out step's items where a command prints them or a function returns them."""

from __future__ import annotations

import os

from rekindle.domain.definition import Each, Step
from rekindle.domain.errors import BadValue
from rekindle.files.leaves import open_leaf
from rekindle.journal.encoding import from_json
from rekindle.journal.items import texts
from rekindle.worker.findings import StepEnd
from rekindle.worker.folders import MOST_RESULT


def items_step(step: Step) -> Step:
    """The command or call that finds the items, as a step."""
    each = step.each or Each()
    return Step(step.name, run=each.run, shell=each.shell, call=each.call, args=each.args)


def items_of(each: Each, end: StepEnd, printed: str) -> list[str]:
    """The items as JSON texts, after what finds them has completed; `printed`: the path of what it printed. BadValue
    when they cannot be read."""
    if each.call is None:
        return texts(_lines(printed))
    value = None if end.result is None else from_json(end.result)
    if not isinstance(value, list):
        raise BadValue(f"{each.call} returned no list of items, but {end.result or 'nothing'!s:.80}")
    return texts(value)


def _lines(path: str) -> list[str]:
    """Lines that are not empty."""
    try:
        with open_leaf(path) as file:
            content = file.read(MOST_RESULT + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadValue(f"the list of items cannot be read: {error.strerror}") from error
    if len(content) > MOST_RESULT:
        raise BadValue("the list of items is longer than 16 MiB")
    return [line for line in os.fsdecode(content).splitlines() if line.strip()]
