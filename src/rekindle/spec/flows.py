"""Edges from files: a job that reads what another job writes needs that job."""

from __future__ import annotations

import os.path
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from rekindle.domain.texts.globs import base, is_pattern, location, reaches, split
from rekindle.domain.texts.substitution import references, render
from rekindle.spec.problems import Placed, Problems
from rekindle.spec.roster import Edges, Roster


class PathIndex:
    """Which job writes which path. A path also stands for everything below it, since it may be a directory."""

    def __init__(self, writers: Mapping[str, int]) -> None:
        """`writers`: absolute, normalised paths."""
        self._writers = writers
        self._sorted: list[str] = []
        self._outer: dict[str, tuple[str, int] | None] = {"/": None}

    def around(self, path: str) -> tuple[str, int] | None:
        """The nearest written directory that contains the path, and its writer."""
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
        """The written paths inside the directory, sorted."""
        if len(self._sorted) != len(self._writers):
            self._sorted = sorted(self._writers)
        start = path.rstrip("/") + "/"
        first = bisect_left(self._sorted, start)
        return self._sorted[first : bisect_left(self._sorted, start[:-1] + "0", first)]  # "0" follows "/"

    def below(self, path: str) -> dict[int, None]:
        """The jobs that write something inside the directory."""
        return dict.fromkeys(self._writers[one] for one in self._inside(path) if one != path)

    def matching(self, folder: str, rest: str) -> dict[int, None]:
        """The jobs that write what a pattern matches, something inside that, or a directory around it. `folder` is the
        literal folder of the pattern, `rest` what follows."""
        below = len(folder.rstrip("/")) + 1
        found = dict.fromkeys(self._writers[one] for one in self._inside(folder) if reaches(rest, one[below:]))
        if folder in self._writers:
            found[self._writers[folder]] = None
        elif (outer := self.around(folder)) is not None:
            found[outer[1]] = None
        return found

    def of(self, path: str) -> dict[int, None]:
        """The jobs that write the path: that path itself, a directory around it, or something inside it."""
        found = self.below(path)
        if path in self._writers:
            found[self._writers[path]] = None
        elif (outer := self.around(path)) is not None:
            found[outer[1]] = None
        return found


def absolute(directory: str, where: str) -> str:
    """A declared path, absolute and normalised: `d//a`, `./d/a` and `d/x/../a` are one file."""
    path = os.path.normpath(os.path.join(directory, where))  # noqa: PTH118 pathlib is ten times as slow
    return path[1:] if path.startswith("//") else path


def _is_known_early(text: str) -> bool:
    """Return whether the pattern of a fan-out is one path, known before any job runs."""
    found = references(text)
    if len(found) == 1 and found[0].text == text:
        return False  # it may be a list
    return all(one.scope in ("params", "matrix") or (one.scope, one.path) == ("job", ("name",)) for one in found)


class Flows:
    """The declared files of all jobs, and the files that the patterns of fan-outs match. Paths start at the project's
    folder; what a `workdir: attempt` job writes is in a folder of its own, where nobody else looks: such outputs make
    no edges and never clash."""

    def __init__(self, roster: Roster, edges: Edges, directory: str, problems: Problems) -> None:
        self._roster = roster
        self._edges = edges
        self._directory = directory
        self._problems = problems
        self._writers: dict[str, int] = {}
        self._declared: list[tuple[Placed, str, int]] = []  # outputs, as declared, with path and job
        self._index = PathIndex(self._writers)
        self._real: dict[str, str] = {}  # folders, with symbolic links followed

    def follow(self) -> None:
        """Add an edge for each file that one job writes and another reads; report the files that two jobs write."""
        for entry, draft in enumerate(self._roster.drafts):
            own_folder = draft.template.workdir == "attempt"
            for path in draft.outputs.values():
                self._write(entry, path, own_folder)
        self._refuse_nested()
        for entry, draft in enumerate(self._roster.drafts):
            for path in draft.inputs.values():
                self._read(entry, path)
            for step in draft.template.steps if draft.template.workdir == "project" else ():
                if step.each is not None and step.each.glob is not None and _is_known_early(step.each.glob):
                    self._read(entry, Placed(step.each.glob, draft.place))

    def _absolute(self, where: str) -> str:
        """See `absolute`; two spellings of a folder, one through a symbolic link, are one folder."""
        path = absolute(self._directory, where)
        return os.path.join(self._folder(os.path.dirname(path)), os.path.basename(path))  # noqa: PTH118, PTH119, PTH120

    def _folder(self, folder: str) -> str:
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder]

    def _write(self, entry: int, path: Placed, own_folder: bool) -> None:
        clashes = 0
        first = ""
        for job, where in self._paths(entry, path):
            if not where:
                self._tell_empty(job, path)
                return
            if own_folder and not where.startswith("/"):
                continue
            target = self._absolute(where)
            writer = self._writers.setdefault(target, job)
            self._declared.append((path, target, job))
            if writer != job:
                clashes += 1
                first = first or f"{self._name(writer)} and {self._name(job)} both write {where}"
        if clashes:
            others = f" (and {clashes - 1:,} more such)" if clashes > 1 else ""
            self._problems.add(path.place, first + others, "every output has one writer: put ${matrix.…} into the path")

    def _refuse_nested(self) -> None:
        """Report outputs that lie in a directory which another job writes. A job may nest its own outputs."""
        clashes: dict[int, list[tuple[Placed, str, str]]] = {}
        for path, target, job in self._declared:
            outer = self._index.around(target)
            while outer is not None and outer[1] == job:
                outer = self._index.around(outer[0])
            if outer is not None:
                folder = self._relative(outer[0])
                text = f"jobs {self._name(outer[1])} and {self._name(job)} both write {folder}"
                clashes.setdefault(id(path), []).append((path, text, f"{folder} contains {self._relative(target)}"))
        for found in clashes.values():
            path, text, why = found[0]
            others = f" (and {len(found) - 1:,} more such)" if len(found) > 1 else ""
            hint = "every output has one writer: declare the files instead of the directory, or another directory"
            self._problems.add(path.place, f"{text}: {why}{others}", hint)

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self._directory.rstrip('/')}/") or path

    def _read(self, entry: int, path: Placed) -> None:
        span = self._roster.spans[entry]
        if not references(path.text):
            for writer in self._writing(path.text):
                self._edges.add((writer,), [job for job in span if job != writer], path.place)
            return
        for job, where in self._paths(entry, path):
            if not where:
                self._tell_empty(job, path)
                return
            writers = self._writing(where)
            writers.pop(job, None)
            self._edges.add(tuple(writers), (job,), path.place)

    def _writing(self, where: str) -> dict[int, None]:
        """The jobs that write an input, a folder around it, something inside it, or a file that it matches."""
        path = self._absolute(where)
        if is_pattern(where) and path not in self._writers:
            folder = base(location(self._directory, where), where)
            return self._index.matching(self._folder(folder), split(where)[1])
        return self._index.of(path)

    def _paths(self, entry: int, path: Placed) -> Iterator[tuple[int, str]]:
        """Each job of the entry with its path; rendered only where that makes a difference."""
        varies = bool(references(path.text))
        for job in self._roster.spans[entry]:
            yield job, render(path.text, self._roster.scope(job)) if varies else path.text

    def _name(self, job: int) -> str:
        return self._roster.jobs[job].name

    def _tell_empty(self, job: int, path: Placed) -> None:
        self._problems.add(
            path.place, f"the path {path.text!r} is empty for {self._name(job)}", "give the value a text"
        )
