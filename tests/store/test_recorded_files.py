"""Finding attempts by the files that they recorded."""

from __future__ import annotations

import pytest
from store_driving import claim, submit

from rekindle.domain.changes.fingerprints import FileContent, FileFingerprints

NAMES = ["plain.txt", "a%b_c!d.txt", "%", 'quo"te\\back.txt', "naïve日本.txt", "caf\udce9", "PLAIN.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_attempts_are_found_by_the_exact_path_of_a_file(store, name):
    workflow = submit(store, {f"job{at}": [] for at in range(len(NAMES))})
    attempts = {one.id: other for one, other in zip(claim(store, workflow), NAMES, strict=True)}
    folder = store.folder.rpartition("/")[0]
    recorded = {
        attempt: FileFingerprints(outputs=(FileContent("o", f"{folder}/{each}", "0a"),))
        for attempt, each in attempts.items()
    }
    with store.write() as archive:
        archive.fingerprints.put_files(recorded)
    with store.read() as archive:
        found = archive.fingerprints.making(f"{folder}/{name}")
        assert [attempts[one] for one in found] == [name]
        assert archive.fingerprints.making(f"{folder}/{name}x") == {}


def test_the_newest_attempts_come_first(store):
    workflow = submit(store, {f"job{at}": [] for at in range(4)})
    attempts = [one.id for one in claim(store, workflow)]
    same = FileFingerprints(inputs=(FileContent("i", "/elsewhere/in", "0a"),))
    with store.write() as archive:
        archive.fingerprints.put_files(dict.fromkeys(attempts, same))
    with store.read() as archive:
        assert list(archive.fingerprints.reading("/elsewhere/in", archived=True)) == sorted(attempts, reverse=True)
