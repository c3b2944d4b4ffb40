"""A process that works again and again, as a notebook or `serve --work` does, keeps no files open."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from engine_project import Project

from rekindle.domain.errors import RekindleError
from rekindle.domain.selection import Compare, Op
from rekindle.journal.processes import wait_readable

pytestmark = pytest.mark.new_interpreters

TIMES = 5


def open_files() -> list[str]:
    gc.collect()
    found = []
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.append(str(file.readlink()))
    return sorted(found)


def runs(project: Project) -> None:
    project.submit("{name: one, jobs: {job: {run: 'true'}}}")
    assert project.work().completed == 1
    project.rerun("job")


def refused_run(project: Project) -> None:
    project.submit("{name: one, jobs: {job: {run: 'true'}}}")
    with pytest.raises(RekindleError, match="colour"):
        project.work(only=Compare("colour", Op.EQ, "red"))


@pytest.mark.parametrize("act", [runs, refused_run])
def test_work_that_is_repeated_leaves_no_file_open(project: Project, act: Callable[[Project], None]) -> None:
    act(project)
    before = open_files()
    for _ in range(TIMES):
        act(project)
    added = [file for file in open_files() if file not in before]
    assert len(open_files()) <= len(before), added


@pytest.fixture
def descriptor_above_1023() -> Iterator[tuple[int, int]]:
    """The ends of a pipe: the reader's descriptor is above 1023, the greatest that select(2) takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"no more than {hard} files may be open (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    low, writer = os.pipe()
    high = 1500
    os.dup2(low, high)
    os.close(low)
    try:
        yield high, writer
    finally:
        os.close(high)
        os.close(writer)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_above_1023_are_waited_for(descriptor_above_1023: tuple[int, int]) -> None:
    reader, writer = descriptor_above_1023
    assert wait_readable((reader,), 0.0) == set()
    os.write(writer, b"!")
    assert wait_readable((reader,)) == {reader}
