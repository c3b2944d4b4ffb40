"""Keep outputs in the content store and restore them, beside a copy by `cp`."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import command
from benchmarks.harness import CommandFailed, Measurement, Row, Samples, beside, progress
from rekindle.files.digests import FileReader
from rekindle.journal.content_store import ContentStore
from rekindle.journal.kept_outputs import keep_outputs
from rekindle.journal.restored_outputs import RestoreTarget, restore
from rekindle.journal.trees import remove_path

if TYPE_CHECKING:
    from rekindle.domain.changes.fingerprints import FileContent

COPY, KEEP, RESTORE = "cp -a", "keep", "restore"
SMALL_BYTES = 4096
_PIECE = os.urandom(1 << 20)


def small_files(count: int, rounds: int) -> list[Measurement]:
    """Measure with a folder of `count` files of 4 KiB."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-", dir=Path.cwd()) as folder:
        out = Path(folder) / "project" / "out"
        out.mkdir(parents=True)
        for number in range(count):
            (out / str(number)).write_bytes(os.urandom(SMALL_BYTES))
        return _measure(Path(folder), rounds)


def large_file(count: int, rounds: int) -> list[Measurement]:
    """Measure with one file of `count` MiB."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-", dir=Path.cwd()) as folder:
        out = Path(folder) / "project" / "out"
        out.parent.mkdir()
        with out.open("wb") as file:
            for _ in range(count):
                file.write(_PIECE)
        return _measure(Path(folder), rounds)


def _measure(folder: Path, rounds: int) -> list[Measurement]:
    samples, out, store = Samples(), folder / "project" / "out", folder / "store"
    store.mkdir(mode=0o700)
    for number in range(rounds):
        progress.round = f"round {number + 1} of {rounds}"
        for name in ("cache", "copy"):
            remove_path(str(store / name))
        os.sync()  # no operation waits for what the one before has written
        samples.take(COPY, lambda: command(["cp", "-a", str(out), str(store / "copy")], folder))
        reader = FileReader()
        recorded = reader.content("out", str(out))  # as the fingerprint of an attempt, which is taken anyway
        os.sync()
        samples.take(KEEP, partial(_keep, str(store), recorded, reader))
        remove_path(str(out))
        os.sync()
        samples.take(RESTORE, partial(_restore, str(store), recorded))
    return samples.seconds({COPY: [], KEEP: [beside(COPY)], RESTORE: [beside(COPY)]})


def _keep(store: str, recorded: FileContent, reader: FileReader) -> None:
    keep_outputs(ContentStore(store), 1, [recorded], reader, 1 << 40)


def _restore(store: str, recorded: FileContent) -> None:
    target = RestoreTarget(recorded.name, recorded.path, recorded.digest, str(Path(recorded.path).parent))
    if (problem := restore(store, 1, [target])) is not None:
        raise CommandFailed(problem.text)


ROWS = (
    Row("cache-small", "keep and restore a folder of small files", small_files, sizes=(1_000,), quick=(100,)),
    Row("cache-large", "keep and restore one file of so many MiB", large_file, sizes=(1_024,), quick=(16,)),
)
