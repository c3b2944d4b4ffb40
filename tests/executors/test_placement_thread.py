"""The thread between a runner and a placement: lost, refused and doubtful submissions, and confirmed ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from rekindle.executors import placement_thread
from rekindle.executors.placement import (
    Batch,
    Phase,
    PlacementBusy,
    PlacementRefused,
    PlacementUnreachable,
    Seen,
)
from rekindle.executors.placement_thread import PlacementThread
from rekindle.journal.batches import BatchManifest, ElementWait, read_handle, read_waits, write_manifest


class ScriptedPlacement:
    """A placement whose answers a test sets; it counts the calls."""

    name = "scripted"

    def __init__(self) -> None:
        self.submissions: list[str] = []
        self.errors: list[Exception] = []  # raised by the next calls of submit
        self.loses_answers = False  # a submission is taken, and its answer lost
        self.known: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.canceled: list[tuple[str, int]] = []
        self.away = False
        self.polls = 0

    def max_elements(self) -> int | None:
        return None

    def submit(self, batch: Batch) -> str:
        if self.errors:
            raise self.errors.pop(0)
        self.submissions.append(batch.token)
        self.known[batch.token] = f"handle-{batch.token}"
        if self.loses_answers:
            self.loses_answers = False
            raise PlacementUnreachable("no answer")
        return self.known[batch.token]

    def poll(self, handles: Collection[str]) -> Sequence[Seen]:
        if self.away:
            raise PlacementUnreachable("no answer")
        self.polls += 1
        return [one for one in self.seen if one.handle in handles]

    def cancel(self, elements: Mapping[str, Collection[int]]) -> None:
        self.canceled += [(handle, index) for handle, indices in elements.items() for index in indices]

    def adopt(self, tokens: Collection[str]) -> Mapping[str, str]:
        return {token: self.known[token] for token in tokens if token in self.known}

    def close(self) -> None:
        pass


@pytest.fixture
def placement() -> ScriptedPlacement:
    return ScriptedPlacement()


@pytest.fixture
def thread(placement: ScriptedPlacement, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlacementThread]:
    monkeypatch.setattr(placement_thread, "RETRY_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(placement_thread, "FIRST_POLL_SECONDS", 0.01)
    monkeypatch.setattr(placement_thread, "LAST_POLL_SECONDS", 0.02)
    made = PlacementThread(placement, lambda: None)
    yield made
    made.close(5)


def batch(folder: Path, elements: int = 2) -> Batch:
    """Return a batch whose manifest is written."""
    token = "0123456789abcdef"
    place = write_manifest(BatchManifest(token, str(folder), tuple(f"w{index}" for index in range(elements))))
    return Batch(token=token, name=f"rekindle-{token}", argv=("true",), elements=elements, folder=place)


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def seen(one: Batch, phase: Phase, element: int = 0, **more: object) -> Seen:
    return Seen(handle=f"handle-{one.token}", element=element, phase=phase, **more)


def test_a_submitted_batch_has_its_handle_on_disk(thread, placement, tmp_path):
    one = batch(tmp_path)
    thread.submit(one)
    until(lambda: read_handle(one.folder))
    assert read_handle(one.folder) == placement.known[one.token]


def test_a_submission_whose_answer_was_lost_is_found_and_not_repeated(thread, placement, tmp_path):
    placement.loses_answers = True
    one = batch(tmp_path)
    thread.submit(one)
    until(lambda: read_handle(one.folder))
    assert placement.submissions == [one.token]


def test_a_submission_that_never_arrived_is_repeated_after_two_looks(thread, placement, tmp_path):
    placement.errors = [PlacementUnreachable("no answer")]
    one = batch(tmp_path)
    thread.submit(one)
    until(lambda: read_handle(one.folder))
    assert placement.submissions == [one.token]


def test_a_refused_batch_is_not_tried_again(thread, placement, tmp_path):
    placement.errors = [PlacementRefused("no such partition"), AssertionError("tried again")]
    one = batch(tmp_path)
    thread.submit(one)
    until(lambda: thread.state(one.token, 1).refused)
    assert thread.state(one.token, 1).refused == "no such partition"
    assert len(placement.errors) == 1


def test_a_busy_engine_is_tried_again_and_the_reason_is_told(thread, placement, tmp_path, monkeypatch):
    monkeypatch.setattr(placement_thread, "RETRY_SECONDS", (0.3,))
    placement.errors = [PlacementBusy("too many jobs")]
    one = batch(tmp_path)
    thread.submit(one)
    until(lambda: read_waits(str(tmp_path)))
    assert read_waits(str(tmp_path))["w1"] == ElementWait("too many jobs")
    until(lambda: read_handle(one.folder))


def test_a_batch_that_is_too_large_can_be_withdrawn_and_is_then_never_submitted(thread, placement, tmp_path):
    placement.errors = [PlacementBusy("too many jobs")] * 1000
    one = batch(tmp_path)
    thread.submit(one)
    taken: list[Batch] = []
    until(lambda: taken.extend(thread.withdraw_busy()) or taken)
    placement.errors = []
    time.sleep(0.1)
    assert (taken, placement.submissions) == ([one], [])


def test_an_end_counts_after_two_polls(thread, placement, tmp_path):
    one = batch(tmp_path)
    placement.seen = [seen(one, Phase.RUNNING)]
    thread.submit(one)
    until(lambda: thread.state(one.token, 0).seen)
    placement.seen = [seen(one, Phase.ENDED, message="killed")]
    until(lambda: thread.state(one.token, 0).has_ended)
    assert thread.state(one.token, 0).confirmed >= 2


def test_an_element_that_ends_and_runs_again_has_not_ended(thread, placement, tmp_path):
    one = batch(tmp_path)
    placement.seen = [seen(one, Phase.ENDED)]
    thread.submit(one)
    until(lambda: thread.state(one.token, 0).seen)
    placement.seen = [seen(one, Phase.RUNNING, restarts=1)]
    until(lambda: thread.state(one.token, 0).seen.phase is Phase.RUNNING)
    assert not thread.state(one.token, 0).has_ended


def test_an_element_that_the_engine_leaves_out_twice_is_unknown(thread, placement, tmp_path):
    one = batch(tmp_path)
    placement.seen = [seen(one, Phase.RUNNING)]
    thread.submit(one)
    until(lambda: thread.state(one.token, 1).is_unknown)
    assert not thread.state(one.token, 0).is_unknown


def test_an_engine_that_is_away_proves_nothing(thread, placement, tmp_path):
    one = batch(tmp_path)
    placement.seen = [seen(one, Phase.RUNNING)]
    thread.submit(one)
    until(lambda: thread.state(one.token, 0).seen)
    placement.away = True
    until(lambda: thread.unreachable)
    time.sleep(0.1)
    assert not thread.state(one.token, 0).is_unknown
    placement.away = False
    until(lambda: not thread.unreachable)


def test_the_batch_of_another_process_is_adopted_by_its_token(thread, placement, tmp_path):
    one = batch(tmp_path)
    placement.known[one.token] = f"handle-{one.token}"
    placement.seen = [seen(one, Phase.RUNNING)]
    thread.watch(one.token, one.folder, one.elements)
    until(lambda: thread.state(one.token, 0).seen)
    assert placement.submissions == []


def test_a_batch_of_another_process_that_the_engine_does_not_know_is_unknown(thread, placement, tmp_path):
    one = batch(tmp_path)
    thread.watch(one.token, one.folder, one.elements)
    until(lambda: thread.state(one.token, 0).is_unknown)
    assert placement.submissions == []


def test_a_cancellation_is_sent_once_the_batch_is_submitted(thread, placement, tmp_path):
    one = batch(tmp_path)
    thread.submit(one)
    thread.cancel(one.token, [1])
    until(lambda: placement.canceled)
    assert placement.canceled == [(f"handle-{one.token}", 1)]


def test_a_reason_that_no_waiting_can_lift_is_counted(thread, placement, tmp_path):
    one = batch(tmp_path)
    placement.seen = [
        seen(one, Phase.PENDING, index, waits_for="PartitionConfig", never_starts=True) for index in (0, 1)
    ]
    thread.submit(one)
    until(lambda: "w0" in read_waits(str(tmp_path)))
    assert thread.never_start() == {"PartitionConfig": 2}
    assert read_waits(str(tmp_path))["w0"] == ElementWait("PartitionConfig", never=True)
