"""A workflow made in Python: the same keys as a spec file, the same checks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rekindle.domain.definition import Definition
from rekindle.domain.errors import UsageError
from rekindle.files.modes import working_directory
from rekindle.spec.assemble import Origin, assemble
from rekindle.spec.callables import reference
from rekindle.spec.nodes import from_python
from rekindle.spec.problems import Place, Problems

_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True, slots=True)
class JobHandle:
    """A job that was added to a workflow: what the `needs` of others take."""

    name: str


class Workflow:
    """A workflow under construction. Its keys and values are those of a spec file, with functions as well as
    "module:function" for `call`."""

    def __init__(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        project: str | None = None,
        directory: str | Path | None = None,
        workdir: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        stale_on: Sequence[str] | None = None,
        implicit_inputs: bool | None = None,
    ) -> None:
        """`directory`: the project's folder; by default that of the file that calls this, or the working directory
        where there is no such file."""
        self.name = name
        self.directory = str(Path(directory).resolve() if directory is not None else _calling_folder())
        self._top = _given(
            name=name,
            params=params,
            env=env,
            project=project,
            workdir=workdir,
            defaults=defaults,
            stale_on=stale_on,
            implicit_inputs=implicit_inputs,
        )
        self._jobs: dict[str, dict[str, Any]] = {}

    def job(
        self,
        name: str,
        run: str | Sequence[str] | None = None,
        call: str | Callable[..., Any] | None = None,
        args: Mapping[str, Any] | None = None,
        *,
        steps: Sequence[Mapping[str, Any]] | None = None,
        needs: Sequence[JobHandle | str] | JobHandle | str | None = None,
        matrix: Mapping[str, Any] | None = None,
        zip: Mapping[str, Any] | None = None,  # noqa: A002 the key's name in a spec
        inputs: Mapping[str, str | Path | Mapping[str, Any]] | None = None,
        outputs: Mapping[str, str | Path | Mapping[str, Any]] | None = None,
        resources: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        priority: int | None = None,
        workdir: str | None = None,
        shell: str | None = None,
        each: str | Sequence[Any] | Mapping[str, Any] | Callable[..., Any] | None = None,
        max_failed: int | None = None,
        resubmit: int | None = None,
        parallel: int | None = None,
        aggregate: bool | None = None,
        when: str | None = None,
        retry: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        grace: str | None = None,
        stale_on: Sequence[str] | None = None,
        implicit_inputs: bool | None = None,
        leave_running: bool | None = None,
        partial: str | None = None,
    ) -> JobHandle:
        """Add a job, as an entry of `jobs:` does. Raises UsageError for a name that is taken and for a function
        that no worker could import; everything else is checked by `definition`."""
        keys = {key: value for key, value in locals().items() if key not in ("self", "name")}
        if name in self._jobs:
            raise UsageError(f"the workflow {self.name!r} has a job {name!r} already", hint="give it another name")
        keys["call"] = self._callable(call)
        keys["steps"] = None if steps is None else [self._step(step) for step in steps]
        keys["needs"] = _names(needs)
        keys["each"] = self._each(each)
        self._jobs[name] = _given(**keys)
        return JobHandle(name)

    def definition(self) -> Definition:
        """The workflow, checked like a spec file. Raises SpecError with every problem and the keys it is under."""
        problems = Problems(f"workflow {self.name!r}")
        root = from_python({**self._top, "jobs": self._jobs}, Place(), problems)
        return assemble(root, {}, Origin(self.directory), problems)

    def _callable(self, call: object) -> object:
        return reference(call, self.directory) if callable(call) else call

    def _step(self, step: object) -> object:
        if not isinstance(step, Mapping):
            return step
        named = {key: self._callable(step[key]) for key in ("call",) if key in step}
        return {**step, **named, **({"each": self._each(step["each"])} if "each" in step else {})}

    def _each(self, each: object) -> object:
        if callable(each):
            return {"call": self._callable(each)}
        if not isinstance(each, Mapping) or "call" not in each:
            return each
        return {**each, "call": self._callable(each["call"])}


def _given(**keys: Any) -> dict[str, Any]:
    """What was not left out."""
    return {key: value for key, value in keys.items() if value is not None}


def _names(needs: object) -> object:
    """Names for handles; whatever else is wrong is told with everything else."""
    if isinstance(needs, JobHandle):
        return needs.name
    if isinstance(needs, list | tuple):
        return [need.name if isinstance(need, JobHandle) else need for need in needs]
    return needs


def _calling_folder() -> Path:
    """The folder of the first file up the stack that is not rekindle's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    file = Path(frame.f_globals.get("__file__") or "")
    return file.resolve().parent if file.is_file() else working_directory()
