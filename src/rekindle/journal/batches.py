"""The files of a batch in the store's spool: who its elements are. See executors.placement for the terms.

The folder of a batch also takes the engine's own files, such as the elements' standard error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from rekindle.files.store_files import make_folder, write_file
from rekindle.journal.encoding import json_reader, to_json

_MANIFEST, _ATTEMPTS, _HANDLE, _WAITS = "batch.json", "attempts", "handle", "waits.json"


class BatchManifest(msgspec.Struct, frozen=True):
    """The elements of a batch. It is written before the batch is submitted, and never changed."""

    token: str
    store: str  # absolute: the spool, with the elements' journals and orders
    workers: tuple[str, ...]  # the name of each element's worker, by index


class ElementWait(msgspec.Struct, frozen=True):
    """Why an element has not started, in its engine's words. `never`: it cannot without a change by somebody."""

    reason: str
    never: bool = False


_decode = json_reader(BatchManifest)
_decode_waits = json_reader(dict[int, ElementWait])


def batch_folder(store: str, token: str) -> str:
    """Return the folder of a batch."""
    return f"{store}/batches/{token}"


def orders_path(scratch: str) -> str:
    """Return the file from which an element reads its orders. Only its runner, or that runner's successor, writes."""
    return f"{scratch}/orders"


def write_manifest(manifest: BatchManifest, attempts: Sequence[Collection[str]] = ()) -> str:
    """Make the folder of a batch, and return it. `attempts`: the tokens of each element's attempts, by index."""
    folder = batch_folder(manifest.store, manifest.token)
    make_folder(folder)
    _put(f"{folder}/{_ATTEMPTS}", "\n".join(map(" ".join, attempts)).encode())
    _put(f"{folder}/{_MANIFEST}", to_json(manifest))
    return folder


def read_manifest(folder: str) -> BatchManifest:
    """Return the elements of a batch. Raise OSError or ValueError if its folder has no manifest."""
    with open(f"{folder}/{_MANIFEST}", "rb") as file:
        manifest: BatchManifest = _decode(file.read())
        return manifest


def manifests(store: str) -> Iterator[BatchManifest]:
    """Yield the batches in a spool whose folders are not removed."""
    with contextlib.suppress(FileNotFoundError):
        for token in sorted(os.listdir(f"{store}/batches")):
            with contextlib.suppress(OSError, ValueError):
                yield read_manifest(batch_folder(store, token))


def write_handle(folder: str, handle: str) -> None:
    """Record the handle of a submitted batch."""
    _put(f"{folder}/{_HANDLE}", handle.encode())


def read_handle(folder: str) -> str | None:
    """Return the handle of a batch; None: it is not known to be submitted."""
    with contextlib.suppress(FileNotFoundError), open(f"{folder}/{_HANDLE}", encoding="utf-8") as file:
        return file.read()
    return None


def write_waits(folder: str, waits: Mapping[int, ElementWait]) -> None:
    """Record why elements of a batch wait, by index."""
    _put(f"{folder}/{_WAITS}", to_json(dict(waits)))


def read_waits(store: str) -> dict[str, ElementWait]:
    """Return why the elements in a spool wait that have not started, by worker."""
    return {manifest.workers[index]: wait for manifest, waits in _waits(store) for index, wait in waits.items()}


def read_attempt_waits(store: str) -> dict[str, ElementWait]:
    """Return why the elements wait that have attempts and have not started, by the tokens of the attempts."""
    found: dict[str, ElementWait] = {}
    for manifest, waits in _waits(store):
        with contextlib.suppress(OSError), open(f"{batch_folder(store, manifest.token)}/{_ATTEMPTS}") as file:
            for index, line in enumerate(file):
                if index in waits:
                    found.update(dict.fromkeys(line.split(), waits[index]))
    return found


def _waits(store: str) -> Iterator[tuple[BatchManifest, dict[int, ElementWait]]]:
    """Yield the batches with elements that wait, and why these wait, by index."""
    for manifest in manifests(store):
        with contextlib.suppress(OSError, ValueError):
            with open(f"{batch_folder(store, manifest.token)}/{_WAITS}", "rb") as file:
                waits: dict[int, ElementWait] = _decode_waits(file.read())
            yield manifest, waits


def _put(path: str, content: bytes) -> None:
    """Write a file that is whole once it has its name."""
    write_file(f"{path}.new", content.decode())
    os.replace(f"{path}.new", path)
