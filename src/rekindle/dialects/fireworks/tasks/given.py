"""What a Firetask is given: its parameters, checked as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rekindle.domain.errors import RekindleError

Spec = Mapping[str, Any]
"""A Firework's spec as one task sees it."""


class BadTask(RekindleError):
    """A Firetask that cannot be run as it is written."""


def needs_package(what: str, package: str) -> BadTask:
    """What is said where a package of the `fireworks` extra is missing."""
    return BadTask(
        f"{what} needs the package {package}, which is not installed", hint="pip install rekindle[fireworks]"
    )


class Given(dict[str, Any]):
    """The parameters of a task, with its name for what is to be said about them."""

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        """`params` as they stand in `_tasks`."""
        super().__init__(params)
        self.name = name

    def need(self, key: str) -> Any:
        """A parameter that must be there."""
        if key not in self:
            raise BadTask(f"{self.name} needs the parameter {key!r}")
        return self[key]

    def texts(self, key: str) -> list[str]:
        """A list of names; nothing given is none."""
        found = self.get(key)
        if found is None:
            return []
        if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
            raise BadTask(f"`{key}` of {self.name} is a list of names, not {found!r:.80}")
        return list(found)

    def from_spec(self, spec: Spec, key: str) -> Any:
        """What the spec has under `key`, which a parameter of this task names."""
        if key not in spec:
            raise BadTask(f"{self.name} wants {key!r:.80} of the spec, which has no such key")
        return spec[key]

    def or_global(self, spec: Spec) -> Given:
        """These parameters, or with `use_global_spec` those that stand in the spec itself."""
        return Given(self.name, spec) if self.get("use_global_spec") else self


Perform = Callable[[Given, Spec], Any]
"""Runs a task: returns an FWAction (FireWorks' own object or its dict), or None for an empty one."""
