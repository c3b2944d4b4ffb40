"""Jobs of matrices, made while they are read: a matrix is one template and a product of axes, and a workflow of a
million jobs holds no million of objects."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import msgspec

from rekindle.domain.definition import JobNode, value_label

BindingText = Callable[[Mapping[str, Any]], str]
"""Returns matrix values as the text of a JSON object, the same for equal values."""

JobText = tuple[str, int, str]
"""The name of a job, the position of its template, and its binding as text."""

_KEPT = 65_536
"""The most combinations of inner axes that are kept while the outer axis is walked."""


class Axis(msgspec.Struct, frozen=True):
    """One key of a matrix with its values, or the keys of a zip with their values side by side."""

    keys: tuple[str, ...]
    columns: tuple[Sequence[Any], ...]  # of equal lengths, one for each key

    def __len__(self) -> int:
        return len(self.columns[0])

    def row(self, position: int) -> dict[str, Any]:
        """Return the values at a position, by key."""
        return {key: column[position] for key, column in zip(self.keys, self.columns, strict=True)}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the values at each position, by key."""
        for values in zip(*self.columns, strict=True):
            yield dict(zip(self.keys, values, strict=True))

    def labels(self) -> Iterator[str]:
        """Yield the label at each position, as in job names: `alpha=0.1`."""
        if len(self.keys) == 1:
            start, column = f"{self.keys[0]}=", self.columns[0]
            label = str if isinstance(column, range) else value_label
            return (start + label(value) for value in column)
        return (",".join([f"{key}={value_label(value)}" for key, value in row.items()]) for row in self.rows())

    def texts(self, encode: BindingText) -> Iterator[tuple[str, str]]:
        """Yield the label at each position, and the members of the JSON object of its values."""
        if len(self.keys) == 1 and isinstance(self.columns[0], range):
            start = encode({self.keys[0]: 0})[1:-2]
            return ((label, start + label[len(self.keys[0]) + 1 :]) for label in self.labels())
        return zip(self.labels(), (encode(row)[1:-1] for row in self.rows()), strict=True)


class _JobSequence(Sequence[JobNode]):
    """Jobs that are made when they are read."""

    _length: int

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, position: int) -> JobNode: ...
    @overload
    def __getitem__(self, position: slice) -> list[JobNode]: ...
    def __getitem__(self, position: int | slice) -> JobNode | list[JobNode]:
        if isinstance(position, slice):
            return [self[one] for one in range(self._length)[position]]
        return self._job(range(self._length)[position])

    def _job(self, position: int) -> JobNode:
        """Return the job at a position from 0 up to the length."""
        raise NotImplementedError


class MatrixJobs(_JobSequence):
    """The jobs of one template, for each combination of the rows of its axes. The last axis varies fastest."""

    def __init__(self, name: str, template: int, axes: Sequence[Axis]) -> None:
        self._name, self._template, self._axes = name, template, axes
        self._length = math.prod(len(axis) for axis in axes)
        self._positions: list[dict[str, int]] | None = None

    def _job(self, position: int) -> JobNode:
        left = position
        binding: list[dict[str, Any]] = []
        for axis in reversed(self._axes):
            left, at = divmod(left, len(axis))
            binding.append(axis.row(at))
        values = {key: value for row in reversed(binding) for key, value in row.items()}
        label = ",".join([f"{key}={value_label(value)}" for key, value in values.items()])
        return JobNode(f"{self._name}[{label}]", self._template, values)

    def __iter__(self) -> Iterator[JobNode]:
        for label, values in _nodes(self._axes):
            yield JobNode(f"{self._name}[{label}]", self._template, values)

    def texts(self, encode: BindingText) -> Iterator[JobText]:
        """Yield each job as text."""
        name, template = self._name, self._template
        for label, members in _texts(self._axes, encode):
            yield f"{name}[{label}]", template, f"{{{members}}}"

    def position(self, name: str) -> int | None:
        """Return the position of the job of a name; None if there is none."""
        if self._positions is None:
            self._positions = self._index()
        if len(self._positions) == 1:
            return self._positions[0].get(name)
        labels = name[len(self._name) + 1 : -1].split(",")
        if len(labels) != len(self._axes) or not name.startswith(f"{self._name}[") or not name.endswith("]"):
            return None
        found = 0
        for axis, known, label in zip(self._axes, self._positions, labels, strict=True):
            at = known.get(label)
            if at is None:
                return None
            found = found * len(axis) + at
        return found

    def _index(self) -> list[dict[str, int]]:
        """Return, for each axis, the position of each label. If labels contain commas, or there is one axis: one
        mapping of whole names."""
        if len(self._axes) > 1:
            found = [{label: at for at, label in enumerate(axis.labels())} for axis in self._axes]
            if not any("," in label for known in found for label in known):
                return found
        return [{job.name: at for at, job in enumerate(self)}]

    def names_differ(self) -> bool:
        """Return whether no two jobs have the same name: a name shows which label it has from each axis."""
        return all(isinstance(axis.columns[0], range) or len(set(axis.labels())) == len(axis) for axis in self._axes)


def _texts(axes: Sequence[Axis], encode: BindingText) -> Iterable[tuple[str, str]]:
    """Yield the label of each combination, and the members of the JSON object of its values."""
    first, rest = axes[0].texts(encode), axes[1:]
    if not rest:
        yield from first
        return
    kept = list(_texts(rest, encode)) if math.prod(len(axis) for axis in rest) <= _KEPT else None
    for label, members in first:
        for other, more in kept if kept is not None else _texts(rest, encode):
            yield f"{label},{other}", f"{members},{more}"


def _nodes(axes: Sequence[Axis]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the label and the values of each combination."""
    first, rest = zip(axes[0].labels(), axes[0].rows(), strict=True), axes[1:]
    if not rest:
        yield from first
        return
    kept = list(_nodes(rest)) if math.prod(len(axis) for axis in rest) <= _KEPT else None
    for label, values in first:
        for other, more in kept if kept is not None else _nodes(rest):
            yield f"{label},{other}", {**values, **more}


class ExpandedJobs(_JobSequence):
    """The jobs of all entries of a spec, in order. Only those of a plain matrix are made while they are read."""

    def __init__(self) -> None:
        self._parts: list[MatrixJobs | list[JobNode]] = []
        self._starts: list[int] = []
        self._length = 0

    def add(self, jobs: MatrixJobs | list[JobNode]) -> range:
        """Add the jobs of an entry. Return their positions."""
        span = range(self._length, self._length + len(jobs))
        last = self._parts[-1] if self._parts else None
        if isinstance(jobs, list) and isinstance(last, list):
            last += jobs
        else:
            self._parts.append(jobs if isinstance(jobs, MatrixJobs) else list(jobs))  # copied: it grows
            self._starts.append(self._length)
        self._length = span.stop
        return span

    def _job(self, position: int) -> JobNode:
        part = bisect_right(self._starts, position) - 1
        return self._parts[part][position - self._starts[part]]

    def __iter__(self) -> Iterator[JobNode]:
        return itertools.chain.from_iterable(self._parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def texts(self, encode: BindingText) -> Iterator[JobText]:
        """Yield each job as text."""
        for part in self._parts:
            if isinstance(part, MatrixJobs):
                yield from part.texts(encode)
            else:
                yield from _listed_texts(part, encode)


def job_texts(jobs: Sequence[JobNode], encode: BindingText) -> Iterator[JobText]:
    """Yield each job of a definition as text."""
    return jobs.texts(encode) if isinstance(jobs, ExpandedJobs) else _listed_texts(jobs, encode)


def _listed_texts(jobs: Iterable[JobNode], encode: BindingText) -> Iterator[JobText]:
    for job in jobs:
        yield job.name, job.template, encode(job.binding)
