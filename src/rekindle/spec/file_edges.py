"""Edges from files: a job that reads a file needs the job that writes it."""

from __future__ import annotations

import os.path
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rekindle.domain.texts.patterns import glob_base, glob_location, glob_reaches, is_glob, split_glob
from rekindle.domain.texts.substitution import find_references, parse_text, render_text
from rekindle.spec.nodes import PlacedText, Problems

if TYPE_CHECKING:
    from rekindle.spec.job_index import EdgeSet, JobIndex


class PathIndex:
    """Maps paths to the jobs that write them. A path may be a directory, so it also stands for every path below it."""

    def __init__(self, writers: Mapping[str, int]) -> None:
        """`writers` maps absolute, normalised paths to job positions."""
        self._writers = writers
        self._sorted: list[str] = []
        self._outer: dict[str, tuple[str, int] | None] = {"/": None}

    def enclosing(self, path: str) -> tuple[str, int] | None:
        """Return the nearest written directory that contains the path, and its writer."""
        folder = os.path.dirname(path)  # noqa: PTH120 pathlib is ten times as slow
        missing = []
        while folder not in self._outer:
            missing.append(folder)
            if folder in self._writers:
                self._outer[folder] = (folder, self._writers[folder])
                break
            folder = os.path.dirname(folder)  # noqa: PTH120
        found = self._outer[folder]
        self._outer |= dict.fromkeys(missing, found)
        return found

    def _inside(self, path: str) -> Sequence[str]:
        """Return the written paths inside the directory, sorted."""
        if len(self._sorted) != len(self._writers):
            self._sorted = sorted(self._writers)
        start = path.rstrip("/") + "/"
        first = bisect_left(self._sorted, start)
        return self._sorted[first : bisect_left(self._sorted, start[:-1] + "0", first)]  # "0" follows "/"

    def writers_inside(self, path: str) -> dict[int, None]:
        """Return the jobs that write something inside the directory."""
        return dict.fromkeys(self._writers[one] for one in self._inside(path) if one != path)

    def writers_matching(self, folder: str, rest: str) -> dict[int, None]:
        """Return the jobs that write a match of a pattern, something inside a match, or a directory around the matches.

        `folder` is the literal folder of the pattern, `rest` the part that follows.
        """
        below = len(folder.rstrip("/")) + 1
        found = dict.fromkeys(self._writers[one] for one in self._inside(folder) if glob_reaches(rest, one[below:]))
        if folder in self._writers:
            found[self._writers[folder]] = None
        elif (outer := self.enclosing(folder)) is not None:
            found[outer[1]] = None
        return found

    def writers_of(self, path: str) -> dict[int, None]:
        """Return the jobs that write the path itself, a directory around it, or something inside it."""
        found = self.writers_inside(path)
        if path in self._writers:
            found[self._writers[path]] = None
        elif (outer := self.enclosing(path)) is not None:
            found[outer[1]] = None
        return found


def absolute(directory: str, where: str) -> str:
    """Return a declared path as absolute and normalised: `d//a`, `./d/a` and `d/x/../a` are one file."""
    path = os.path.normpath(os.path.join(directory, where))  # noqa: PTH118 pathlib is ten times as slow
    return path[1:] if path.startswith("//") else path


def _is_known_early(text: str) -> bool:
    """Return whether the pattern of a fan-out is one path, known before any job runs."""
    found = find_references(text)
    if len(found) == 1 and found[0].text == text:
        return False  # the reference may stand for a list
    return all(one.scope in ("params", "matrix") or (one.scope, one.path) == ("job", ("name",)) for one in found)


class FileEdges:
    """Adds edges for the declared files of all jobs and for the files that fan-out patterns match.

    Paths are relative to the project's folder. A `workdir: attempt` job writes into its own folder, which no other job
    reads, so its relative outputs make no edges and never clash.
    """

    def __init__(self, job_index: JobIndex, edges: EdgeSet, directory: str, problems: Problems) -> None:
        self._job_index = job_index
        self._edges = edges
        self._directory = directory
        self._problems = problems
        self._writers: dict[str, int] = {}
        self._outputs: list[tuple[PlacedText, str, int]] = []  # (declared path, absolute path, job)
        self._index = PathIndex(self._writers)
        self._real: dict[str, str] = {}  # folder -> folder with symbolic links resolved

    def add_edges(self) -> None:
        """Add an edge for each file that one job writes and another reads. Report files with two writers."""
        for entry, draft in enumerate(self._job_index.drafts):
            own_folder = draft.template.workdir == "attempt"
            for path in draft.outputs.values():
                self._write(entry, path, own_folder)
        self._refuse_nested()
        for entry, draft in enumerate(self._job_index.drafts):
            for path in draft.inputs.values():
                self._read(entry, path)
            for step in draft.template.steps if draft.template.workdir == "project" else ():
                if step.each is not None and step.each.glob is not None and _is_known_early(step.each.glob):
                    self._read(entry, PlacedText(step.each.glob, draft.place))

    def _absolute(self, where: str) -> str:
        """Return the absolute path with symbolic links in its folder resolved, so that one folder has one spelling."""
        path = absolute(self._directory, where)
        return os.path.join(self._folder(os.path.dirname(path)), os.path.basename(path))  # noqa: PTH118, PTH119, PTH120

    def _folder(self, folder: str) -> str:
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder]

    def _write(self, entry: int, path: PlacedText, own_folder: bool) -> None:
        clashes = 0
        first = ""
        for job, where in self._paths(entry, path):
            if not where:
                self._report_empty_path(job, path)
                return
            if own_folder and not where.startswith("/"):
                continue
            target = self._absolute(where)
            writer = self._writers.setdefault(target, job)
            self._outputs.append((path, target, job))
            if writer != job:
                clashes += 1
                first = first or f"{self._name(writer)} and {self._name(job)} both write {where}"
        if clashes:
            others = f" (and {clashes - 1:,} more)" if clashes > 1 else ""
            self._problems.add(path.place, first + others, "every output has one writer: put ${matrix.…} into the path")

    def _refuse_nested(self) -> None:
        """Report outputs inside a directory that another job writes. A job may nest its own outputs."""
        clashes: dict[int, list[tuple[PlacedText, str, str]]] = {}
        for path, target, job in self._outputs:
            outer = self._index.enclosing(target)
            while outer is not None and outer[1] == job:
                outer = self._index.enclosing(outer[0])
            if outer is not None:
                folder = self._relative(outer[0])
                text = f"jobs {self._name(outer[1])} and {self._name(job)} both write {folder}"
                clashes.setdefault(id(path), []).append((path, text, f"{folder} contains {self._relative(target)}"))
        for found in clashes.values():
            path, text, why = found[0]
            others = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
            hint = "every output has one writer: declare the files instead of the directory, or another directory"
            self._problems.add(path.place, f"{text}: {why}{others}", hint)

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self._directory.rstrip('/')}/") or path

    def _read(self, entry: int, path: PlacedText) -> None:
        span = self._job_index.spans[entry]
        if not find_references(path.text):
            for writer in self._writing(path.text):
                self._edges.add((writer,), [job for job in span if job != writer], path.place)
            return
        if not self._writers and any(isinstance(piece, str) for piece in parse_text(path.text)):
            return  # no job writes a file, and the path is not empty for any job
        for job, where in self._paths(entry, path):
            if not where:
                self._report_empty_path(job, path)
                return
            writers = self._writing(where)
            writers.pop(job, None)
            self._edges.add(tuple(writers), (job,), path.place)

    def _writing(self, where: str) -> dict[int, None]:
        """Return the jobs that write the input, a folder around it, something inside it, or a match of its pattern."""
        path = self._absolute(where)
        if is_glob(where) and path not in self._writers:
            folder = glob_base(glob_location(self._directory, where), where)
            return self._index.writers_matching(self._folder(folder), split_glob(where)[1])
        return self._index.writers_of(path)

    def _paths(self, entry: int, path: PlacedText) -> Iterator[tuple[int, str]]:
        """Yield each job of the entry with its path. A path without references is not rendered."""
        varies = bool(find_references(path.text))
        for job, node in self._job_index.of_entry(entry):
            yield job, render_text(path.text, self._job_index.scope(node)) if varies else path.text

    def _name(self, job: int) -> str:
        return self._job_index.jobs[job].name

    def _report_empty_path(self, job: int, path: PlacedText) -> None:
        self._problems.add(
            path.place, f"the path {path.text!r} is empty for {self._name(job)}", "give the value a text"
        )
