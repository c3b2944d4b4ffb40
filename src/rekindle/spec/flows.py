"""Edges from files: who reads a file that another writes needs that other."""

from __future__ import annotations

import os.path
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from rekindle.domain.texts.globs import base, is_pattern, location, reaches, split
from rekindle.domain.texts.substitution import references, render
from rekindle.spec.problems import Place, Placed, Problems
from rekindle.spec.roster import Edges, Roster


class Flows:
    """The declared files of all jobs. Paths start at the project's folder; what a `workdir: attempt` job writes is
    in a folder of its own, where nobody else looks: such outputs make no edges and never clash."""

    def __init__(self, roster: Roster, edges: Edges, directory: str, problems: Problems) -> None:
        self._roster = roster
        self._edges = edges
        self._directory = directory
        self._problems = problems
        self._writers: dict[str, int] = {}
        self._sorted: list[str] | None = None  # the paths of `_writers`

    def follow(self) -> None:
        """Add an edge for each file that one job writes and another reads; tell which files two jobs write."""
        for entry, draft in enumerate(self._roster.drafts):
            own_folder = draft.template.workdir == "attempt"
            for path in draft.outputs.values():
                self._write(entry, path, own_folder)
        for entry, draft in enumerate(self._roster.drafts):
            for path in draft.inputs.values():
                self._read(entry, path)

    def _write(self, entry: int, path: Placed, own_folder: bool) -> None:
        clashes = 0
        first = ""
        for job, where in self._paths(entry, path):
            if not where:
                self._tell_empty(job, path)
                return
            if own_folder and not where.startswith("/"):
                continue
            writer = self._writers.setdefault(self._absolute(where), job)
            if writer != job:
                clashes += 1
                first = first or f"{self._name(writer)} and {self._name(job)} both write {where}"
        if clashes:
            others = f" (and {clashes - 1:,} more such)" if clashes > 1 else ""
            self._problems.add(path.place, first + others, "every output has one writer: put ${matrix.…} into the path")

    def _read(self, entry: int, path: Placed) -> None:
        span = self._roster.spans[entry]
        if not references(path.text):
            writer = self._writers.get(self._absolute(path.text))
            if writer is not None:
                self._edges.add((writer,), [job for job in span if job != writer], path.place)
            elif is_pattern(path.text):
                self._read_pattern(path.text, span, path.place)
            return
        for job, where in self._paths(entry, path):
            if not where:
                self._tell_empty(job, path)
                return
            writer = self._writers.get(self._absolute(where))
            if writer is not None and writer != job:
                self._edges.add((writer,), (job,), path.place)
            elif writer is None and is_pattern(where):
                self._read_pattern(where, (job,), path.place)

    def _read_pattern(self, pattern: str, readers: Sequence[int], place: Place) -> None:
        """Add edges from the jobs that write what a pattern matches, a file in that, or a folder around it."""
        if self._sorted is None:
            self._sorted = sorted(self._writers)
        path = location(self._directory, pattern)
        folder, rest = base(path, pattern), split(pattern)[1]
        below = folder.rstrip("/") + "/"
        writers: dict[int, None] = {}
        while folder != os.path.dirname(folder):  # noqa: PTH120 as above
            if folder in self._writers:
                writers[self._writers[folder]] = None
            folder = os.path.dirname(folder)  # noqa: PTH120
        for written in self._sorted[bisect_left(self._sorted, below) :]:
            if not written.startswith(below):
                break
            if reaches(rest, written[len(below) :]):
                writers[self._writers[written]] = None
        own = writers.keys() & set(readers)
        self._edges.add([job for job in writers if job not in own], readers, place)
        for writer in own:
            self._edges.add((writer,), [job for job in readers if job != writer], place)

    def _paths(self, entry: int, path: Placed) -> Iterator[tuple[int, str]]:
        """Each job of the entry with its path; rendered only where that makes a difference."""
        varies = bool(references(path.text))
        for job in self._roster.spans[entry]:
            yield job, render(path.text, self._roster.scope(job)) if varies else path.text

    def _absolute(self, where: str) -> str:
        return os.path.normpath(os.path.join(self._directory, where))  # noqa: PTH118 pathlib is ten times as slow

    def _name(self, job: int) -> str:
        return self._roster.jobs[job].name

    def _tell_empty(self, job: int, path: Placed) -> None:
        self._problems.add(
            path.place, f"the path {path.text!r} is empty for {self._name(job)}", "give the value a text"
        )
