"""The parameters of a Firetask, checked when they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rekindle.domain.errors import RekindleError

Spec = Mapping[str, Any]
"""A firework's spec as one task sees it."""


class BadTask(RekindleError):
    """A Firetask cannot be run as it is written."""


def needs_package(what: str, package: str) -> BadTask:
    """Return the error for a missing package of the `fireworks` extra."""
    return BadTask(
        f"{what} needs the package {package}, which is not installed", hint="pip install rekindle[fireworks]"
    )


class TaskParameters(dict[str, Any]):
    """The parameters of a task, with its name for error messages."""

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        """`params`: the task's entry in `_tasks`."""
        super().__init__(params)
        self.name = name

    def need(self, key: str) -> Any:
        """Return a required parameter. Raises BadTask if it is missing."""
        if key not in self:
            raise BadTask(f"{self.name} needs the parameter {key!r}")
        return self[key]

    def texts(self, key: str) -> list[str]:
        """Return a list of names, [] if the parameter is missing."""
        found = self.get(key)
        if found is None:
            return []
        if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
            raise BadTask(f"`{key}` of {self.name} is a list of names, not {found!r:.80}")
        return list(found)

    def from_spec(self, spec: Spec, key: str) -> Any:
        """Return the spec's value for `key`, which a parameter names. Raises BadTask if there is none."""
        if key not in spec:
            raise BadTask(f"{self.name} needs the key {key!r:.80} of the spec, which does not exist")
        return spec[key]

    def or_global(self, spec: Spec) -> TaskParameters:
        """Return these parameters, or with `use_global_spec` those in the spec itself."""
        return TaskParameters(self.name, spec) if self.get("use_global_spec") else self


TaskFunction = Callable[[TaskParameters, Spec], Any]
"""Runs a task. Returns an FWAction (a FireWorks object or its dict), or None for an empty one."""
