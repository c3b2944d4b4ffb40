"""The parts of a definition that apply to the steps that an attempt keeps, and to those that it ran."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rekindle.domain.changes.fingerprints import METHOD, whole_key
from rekindle.domain.changes.template_uses import functions_called, names_used
from rekindle.domain.definition import Step

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate


def only_steps(template: JobTemplate, steps: Collection[str], subtasks: Collection[str]) -> JobTemplate:
    """Return a template with these steps only, and with the inputs and outputs that they may use. Of the fan-outs named
    in `subtasks`, without what decides which items they have."""
    kept = tuple(
        replace(step, each=None) if step.name in subtasks else step for step in template.steps if step.name in steps
    )
    if functions_called(kept):  # a function may use all of them
        return replace(template, steps=kept)
    inputs, outputs = (names_used(kept, scope) for scope in ("inputs", "outputs"))
    return replace(
        template,
        steps=kept,
        inputs={name: text for name, text in template.inputs.items() if name in inputs},
        outputs={name: text for name, text in template.outputs.items() if name in outputs},
    )


def without_steps(template: JobTemplate, steps: Collection[str]) -> JobTemplate:
    """Return a template whose order of steps is complete, and in which these steps do nothing."""
    return replace(template, steps=tuple(Step(step.name) if step.name in steps else step for step in template.steps))


def code_within(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the part of recorded code that fewer functions reach: `now` is the present code of these functions."""
    modules = {key.partition(":")[0] for key in now}
    wanted = {METHOD, *now, *map(whole_key, modules)}
    return {key: value for key, value in then.items() if key in wanted}
