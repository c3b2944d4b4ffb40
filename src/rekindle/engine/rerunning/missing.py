"""Inputs that are not there and that no job makes: whoever starts jobs that read them starts them in vain."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rekindle.domain.actions import effective
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Job
from rekindle.domain.overrides import modified_of
from rekindle.domain.texts.globs import base, is_pattern, location, reaches, split
from rekindle.domain.texts.substitution import render
from rekindle.engine.params import changes_in_force
from rekindle.files.reading import matching
from rekindle.journal.encoding import from_json
from rekindle.store.port import Archive


@dataclass(frozen=True, slots=True)
class Missing:
    """A declared input of a job. `path` is absolute; of a pattern, its location."""

    job: str
    name: str
    path: str


def missing_inputs(archive: Archive, jobs: Sequence[int], overrides: Mapping[int, str | None]) -> list[Missing]:
    """The inputs of these jobs, as they would be called for an attempt now, that are neither there nor written by
    anything that their jobs need. `overrides`: JSON texts of jobs that run modified otherwise than they are now."""
    wanted = _Paths(archive, jobs, overrides)
    gone = [
        (job, name, path, pattern)
        for job, name, path, pattern in wanted.of_inputs()
        if not os.path.exists(path) and not (pattern and matching(path, pattern))  # noqa: PTH110 many
    ]
    if not gone:
        return []
    readers = sorted({one[0].id for one in gone})
    needed = archive.jobs.parents(readers)
    writers = _Paths(archive, sorted({one for ids in needed.values() for one in ids}), {})
    made: dict[int, list[str]] = {}
    for job, _, path in writers.of_outputs():
        made.setdefault(job.id, []).append(path)
    return [
        Missing(job.name, name, path)
        for job, name, path, pattern in gone
        if not any(_makes(output, path, pattern) for parent in needed[job.id] for output in made.get(parent, ()))
    ]


def _makes(output: str, path: str, pattern: str | None) -> bool:
    """Whether a declared output is an input or one of the files that match it, or one of the two contains the other."""
    if _within(path, output) or _within(output, path):
        return True
    if pattern is None:
        return False
    folder = base(path, pattern)
    return _within(folder, output) or (
        _within(output, folder) and reaches(split(pattern)[1], output[len(folder) :].lstrip("/"))
    )


def _within(path: str, output: str) -> bool:
    return path == output or path.startswith(output + "/")


def _absolute(directory: str, path: str) -> str:
    return os.path.normpath(os.path.join(directory, path))  # noqa: PTH118 many


class _Paths:
    """What the declared files of some jobs are called."""

    def __init__(self, archive: Archive, jobs: Sequence[int], overrides: Mapping[int, str | None]) -> None:
        self._archive, self._overrides = archive, overrides
        self._jobs = archive.jobs.get(jobs)
        self._templates = {one: archive.workflows.template(one) for one in {job.template for job in self._jobs}}
        self._changes = changes_in_force(archive, jobs)
        self._owners = {one: archive.workflows.find(one) for one in {job.workflow for job in self._jobs}}
        self._params: dict[int, Mapping[str, Any]] = {}

    def of_inputs(self) -> Iterator[tuple[Job, str, str, str | None]]:
        """(job, name, absolute path, pattern) of those that have to be there."""
        for job in self._jobs:
            template = self._templates[job.template]
            texts = {name: text for name, text in template.inputs.items() if name not in template.optional}
            for _, name, directory, text in self._rendered(job, texts):
                pattern = text if is_pattern(text) else None
                path = location(directory, text) if pattern else _absolute(directory, text)
                yield job, name, path, pattern

    def of_outputs(self) -> Iterator[tuple[Job, str, str]]:
        """(job, name, absolute path); those of jobs that run in folders of their own are left out."""
        for job in self._jobs:
            template = self._templates[job.template]
            own_folder = template.workdir == "attempt"
            for one, name, directory, path in self._rendered(job, template.outputs):
                if not own_folder or template.outputs[name].startswith("/"):
                    yield one, name, _absolute(directory, path)

    def _rendered(self, job: Job, texts: Mapping[str, str]) -> Iterator[tuple[Job, str, str, str]]:
        """(job, name, the project's folder, path as declared)."""
        owner = self._owners[job.workflow]
        if not texts or owner is None:
            return
        scope = self._scope(job, owner.revision)
        for name, text in texts.items():
            try:
                path = render(text, scope)
            except RekindleError:  # a value that has not the part which the path names: the attempt will say so
                continue
            yield job, name, owner.directory, path

    def _scope(self, job: Job, revision: int) -> dict[str, Any]:
        if job.workflow not in self._params:
            self._params[job.workflow] = self._archive.workflows.params(job.workflow, revision)
        modified = modified_of(self._overrides.get(job.id, job.overrides)).params
        return {
            "params": {**effective(self._params[job.workflow], self._changes.get(job.id, ())), **modified},
            "matrix": from_json(job.binding) if job.binding != "{}" else {},
            "job": {"name": job.name, "id": job.id},
        }
