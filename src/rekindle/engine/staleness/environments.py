"""The code and the environment that attempts ran with: where each part is looked up now, and comparisons that attempts
share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from rekindle.domain.changes.differences import code_reasons, environment_part_reasons, environment_parts
from rekindle.domain.errors import RekindleError
from rekindle.domain.overrides import decode_overrides
from rekindle.domain.rerun.plan import Reason
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.staleness.contents import EnvironmentLookup
from rekindle.files.dependencies import DEFAULT_PATH, program_file

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import EnvironmentPart
    from rekindle.domain.definition import JobTemplate


class SharedComparisons(msgspec.Struct):
    """Comparisons of code and environments, each made once for attempts that share it."""

    known: dict[tuple[int, int], tuple[Reason, ...]] = msgspec.field(default_factory=dict)

    def code(self, then: Mapping[str, str], now: Mapping[str, str]) -> tuple[Reason, ...]:
        """Return CODE reasons."""
        key = id(then), id(now)
        if key not in self.known:
            self.known[key] = tuple(code_reasons(then, now))
        return self.known[key]

    def environment(
        self, then: Mapping[EnvironmentLookup, str], now: Mapping[EnvironmentLookup, str]
    ) -> tuple[Reason, ...]:
        """Return ENVIRONMENT reasons."""
        key = id(then), id(now)
        if key not in self.known:
            self.known[key] = tuple(
                environment_part_reasons({each.part: (value, now[each]) for each, value in then.items()})
            )
        return self.known[key]


class EnvironmentLookups(msgspec.Struct):
    """The recorded environments of attempts, and where to look up each part now. `files`: the recorded program
    files."""

    environment: Mapping[str, str]
    files: set[str] = msgspec.field(default_factory=set)
    known: dict[tuple[int, int, str | None, str], dict[EnvironmentLookup, str]] = msgspec.field(default_factory=dict)

    def of(
        self, recorded: Mapping[str, str], body: JobTemplate, overrides: str | None, directory: str
    ) -> Mapping[EnvironmentLookup, str]:
        """Return the environment in a recording of code. `body`: the definition; `overrides`: JSON text."""
        key = (id(recorded), id(body), overrides, directory)
        if key not in self.known:
            text = {**body.env, **decode_overrides(overrides).env}.get(
                "PATH", self.environment.get("PATH", DEFAULT_PATH)
            )
            found = environment_parts(recorded)
            self.known[key] = {self._surrounding(part, text, directory): value for part, value in found.items()}
            self.files |= {program_file(value) for part, value in found.items() if part.kind == "program"}
        return self.known[key]

    def _surrounding(self, part: EnvironmentPart, path: str, directory: str) -> EnvironmentLookup:
        if part.kind != "program":
            return EnvironmentLookup(part)
        try:
            return EnvironmentLookup(part, render_text(path, {"env": self.environment}), directory)
        except RekindleError:  # PATH uses a value that only a job has
            return EnvironmentLookup(part, self.environment.get("PATH", DEFAULT_PATH), directory)
