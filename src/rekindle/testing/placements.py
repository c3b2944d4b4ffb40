"""A contract suite for placements: what rekindle expects of each, as tests for pytest.

A package that offers a placement subclasses PlacementContract in a module of its tests:

    import pytest

    pytest.register_assert_rewrite("rekindle.testing.placements")  # so that failed assertions show their values
    from rekindle.testing.placements import PlacementContract

    class TestMyEngine(PlacementContract):
        executor = "my-engine"  # the name of the entry point

        @pytest.fixture
        def address(self, my_server):  # what users type after --address
            return my_server.address

The engine runs, is idle, and has room for two elements of one cpu at once. The elements are small shell commands that
write files; no store is needed. This is the only module of rekindle that imports pytest."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from rekindle.domain.states import Cause
from rekindle.executors.placement import (
    CALL_SECONDS,
    Batch,
    Phase,
    Placement,
    PlacementRefused,
    PlacementUnreachable,
    Seen,
)
from rekindle.executors.placements import find_placement

HOLD = 'while [ -e hold ]; do echo >> "$1.ticks"; sleep 0.1; done'
"""A shell command that runs until `Trial.release`."""

_BEGIN = 'cd "$0" || exit 99; echo $$ >> "$1.starts"; '

_SUBMIT_AND_DIE = """
import os, signal, sys
import msgspec
from rekindle.executors.placement import Batch
from rekindle.executors.placements import find_placement
name, address, batch = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[str, str | None, Batch])
print(find_placement(name, address).submit(batch), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Trial:
    """A batch of shell commands in a folder of its own: what its elements have written, and what the placement says."""

    def __init__(self, placement: Placement, folder: Path, seconds: float, command: str, elements: int) -> None:
        self.placement, self.folder, self.seconds = placement, folder, seconds
        token = secrets.token_hex(8)
        folder.mkdir()
        self.batch = Batch(
            token=token,
            name=f"rekindle-contract-{token}",
            argv=("/bin/sh", "-c", _BEGIN + command, str(folder)),
            elements=elements,
            folder=str(folder),
        )
        self.handle = ""
        (folder / "hold").touch()

    def submit(self) -> str:
        """Submit the batch."""
        self.handle = self.call(self.placement.submit, self.batch)
        return self.handle

    def release(self) -> None:
        """Let elements that run HOLD go on."""
        (self.folder / "hold").unlink(missing_ok=True)

    def call(self, method: Callable[..., Any], *arguments: object) -> Any:
        """Call a method of the placement, which must return or raise in time."""
        began = time.monotonic()
        try:
            return method(*arguments)
        finally:
            took = time.monotonic() - began
            assert took <= CALL_SECONDS + 1, f"{method.__name__} took {took:.1f} s"

    def poll(self) -> dict[int, Seen]:
        """Return what the placement says of the elements."""
        seen: list[Seen] = list(self.call(self.placement.poll, [self.handle]))
        assert {one.handle for one in seen} <= {self.handle}
        found = {one.element: one for one in seen}
        assert len(found) == len(seen), "an element was returned twice"
        assert set(found) <= set(range(self.batch.elements))
        return found

    def until(self, phase: Phase, elements: Collection[int] | None = None) -> dict[int, Seen]:
        """Poll until these elements (all) are in a phase; return what the placement then says."""
        wanted = range(self.batch.elements) if elements is None else elements
        limit = time.monotonic() + self.seconds
        while True:
            seen = self.poll()
            if all(index in seen and seen[index].phase is phase for index in wanted):
                return seen
            assert time.monotonic() < limit, f"not {phase.value} after {self.seconds} s: {seen}"
            time.sleep(0.1)

    def starts(self, index: int) -> int:
        """Return how often an element has started."""
        return self._lines(f"{index}.starts")

    def runs(self, index: int) -> bool:
        """Return whether an element that runs HOLD is alive."""
        before = self._lines(f"{index}.ticks")
        time.sleep(1)
        return self._lines(f"{index}.ticks") > before

    def _lines(self, name: str) -> int:
        try:
            return len((self.folder / name).read_text().splitlines())
        except FileNotFoundError:
            return 0


class PlacementEngine:
    """What the suite must know of an engine. Subclasses of PlacementContract override what differs from this."""

    executor: ClassVar[str]
    """The name that users give to `--executor`."""

    seconds: ClassVar[float] = 90.0
    """The time in which the engine starts a small batch, or notices its end."""

    @pytest.fixture
    def address(self) -> str | None:
        """Return what users give to `--address`."""
        return None

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Return an empty folder that the hosts of the engine share."""
        return tmp_path

    @pytest.fixture
    def placement(self, address: str | None) -> Iterator[Placement]:
        """Return a placement, connected to the engine."""
        made = find_placement(self.executor, address)
        yield made
        made.close()

    @pytest.fixture
    def silence(self) -> Callable[[], AbstractContextManager[object]]:
        """Return a function whose context is a time in which the engine does not answer (for example with SIGSTOP)."""
        pytest.skip("the tests of this placement do not stop its engine")

    def one_at_a_time(self, batch: Batch) -> Batch:
        """Return the batch changed such that the engine runs one element at a time."""
        return msgspec.structs.replace(batch, at_once=1)

    def too_large(self, batch: Batch) -> Batch:
        """Return the batch changed such that no host of the engine has room for an element."""
        return msgspec.structs.replace(batch, cpus=100_000)

    @pytest.fixture
    def trial(self, placement: Placement, folder: Path, address: str | None) -> Iterator[Callable[..., Trial]]:
        """Return a function that makes a batch of a shell command. Remaining elements are canceled after the test."""
        made: list[Trial] = []

        def make(command: str, elements: int = 2) -> Trial:
            made.append(Trial(placement, folder / f"batch-{len(made)}", self.seconds, command, elements))
            return made[-1]

        yield make
        for one in made:
            one.release()
        with closing(find_placement(self.executor, address)) as last:  # a test may have closed its own
            elements = {one.batch.token: range(one.batch.elements) for one in made}
            last.cancel({handle: elements[token] for token, handle in last.adopt(list(elements)).items()})

    @pytest.fixture
    def another(self, address: str | None) -> Iterator[Callable[[], Placement]]:
        """Return a function that makes a further placement for the same engine."""
        with ExitStack() as left:

            def make() -> Placement:
                made = find_placement(self.executor, address)
                left.callback(made.close)
                return made

            yield make


class PlacementContract(PlacementEngine):
    """What each placement must do. A subclass names the executor."""

    # Starting

    def test_it_has_a_name(self, placement: Placement) -> None:
        assert placement.name

    def test_each_element_starts_once_with_its_index_and_ends(self, trial: Callable[..., Trial]) -> None:
        one = trial("true", elements=30)
        handle = one.submit()
        seen = one.until(Phase.ENDED)
        assert handle
        assert {index: (end.cause, end.restarts) for index, end in seen.items()} == dict.fromkeys(range(30), (None, 0))
        assert {index: one.starts(index) for index in range(30)} == dict.fromkeys(range(30), 1)

    def test_arguments_reach_an_element_as_they_are(self, trial: Callable[..., Trial]) -> None:
        one = trial("true", elements=1)
        odd = ["two words", "", "$HOME", "'\"", "%{JOB_ID} %A", "é\n*"]
        code = "import json, sys; open(sys.argv[1] + '/arguments', 'w').write(json.dumps(sys.argv[2:]))"
        one.batch = msgspec.structs.replace(one.batch, argv=(sys.executable, "-c", code, str(one.folder), *odd))
        one.submit()
        one.until(Phase.ENDED)
        assert msgspec.json.decode((one.folder / "arguments").read_bytes()) == [*odd, "0"]

    def test_a_running_element_is_running(self, trial: Callable[..., Trial]) -> None:
        one = trial(HOLD)
        one.submit()
        one.until(Phase.RUNNING)
        assert one.runs(0)
        assert one.runs(1)
        one.release()
        assert [end.cause for end in one.until(Phase.ENDED).values()] == [None, None]

    def test_the_elements_of_two_batches_are_kept_apart(self, trial: Callable[..., Trial]) -> None:
        held, quick = trial(HOLD, elements=1), trial("exit 3", elements=1)
        held.submit()
        quick.submit()
        quick.until(Phase.ENDED)
        assert held.until(Phase.RUNNING)[0].cause is None
        both = held.call(held.placement.poll, [held.handle, quick.handle])
        assert {(one.handle, one.phase) for one in both} == {
            (held.handle, Phase.RUNNING),
            (quick.handle, Phase.ENDED),
        }

    def test_the_engine_writes_only_into_the_folder_of_the_batch(
        self, trial: Callable[..., Trial], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        monkeypatch.chdir(elsewhere)
        one = trial("echo out; echo error >&2", elements=1)
        one.submit()
        one.until(Phase.ENDED)
        assert list(elsewhere.iterdir()) == []

    def test_one_element_runs_at_a_time_where_the_batch_asks_for_it(self, trial: Callable[..., Trial]) -> None:
        one = trial("mkdir alone || exit 5; sleep 0.3; rmdir alone", elements=4)
        one.batch = self.one_at_a_time(one.batch)
        one.submit()
        assert [end.cause for end in one.until(Phase.ENDED).values()] == [None] * 4

    # Ends

    def test_an_exit_code_and_a_signal_are_in_the_evidence(self, trial: Callable[..., Trial]) -> None:
        one = trial("case $1 in 0) exit 7;; 1) kill -9 $$;; esac", elements=3)
        one.submit()
        seen = one.until(Phase.ENDED)
        assert [seen[index].cause for index in range(3)] == [Cause.LOST, Cause.LOST, None]
        code, killed = (f"{seen[index].message} {dict(seen[index].evidence)}" for index in (0, 1))
        assert re.search(r"\b7\b", code)
        assert re.search(r"\b9\b|\b137\b|SIGKILL", killed)  # 137: as shells say it
        assert [one.starts(index) for index in range(3)] == [1, 1, 1]

    # Refusal

    def test_an_option_that_the_engine_does_not_know_refuses_the_batch(self, trial: Callable[..., Trial]) -> None:
        one = trial("true")
        one.batch = msgspec.structs.replace(one.batch, options=("--no-engine-has-this-option",))
        with pytest.raises(PlacementRefused) as refused:
            one.submit()
        assert refused.value.message
        assert one.call(one.placement.adopt, [one.batch.token]) == {}
        assert [one.starts(index) for index in range(2)] == [0, 0]

    def test_a_batch_without_a_host_for_it_is_refused_or_waits_for_a_reason(self, trial: Callable[..., Trial]) -> None:
        one = trial("true")
        one.batch = self.too_large(one.batch)
        with suppress(PlacementRefused):
            one.submit()
            self._until_reason(one)
            one.call(one.placement.cancel, {one.handle: [0, 1]})
            assert [end.cause for end in one.until(Phase.ENDED).values()] == [Cause.CANCELED] * 2
        assert [one.starts(index) for index in range(2)] == [0, 0]

    def _until_reason(self, trial: Trial) -> None:
        limit = time.monotonic() + self.seconds
        while not all(one.waits_for for one in trial.until(Phase.PENDING).values()):
            assert time.monotonic() < limit, "no reason why the elements are pending"
            time.sleep(0.1)

    # Cancel

    def test_one_running_element_is_canceled_and_the_other_goes_on(self, trial: Callable[..., Trial]) -> None:
        one = trial(HOLD)
        one.submit()
        one.until(Phase.RUNNING)
        one.call(one.placement.cancel, {one.handle: [0]})
        seen = one.until(Phase.ENDED, [0])
        assert seen[0].cause is Cause.CANCELED
        assert not one.runs(0)
        assert one.runs(1)
        one.release()
        assert one.until(Phase.ENDED)[1].cause is None

    def test_the_processes_of_a_canceled_element_end(self, trial: Callable[..., Trial]) -> None:
        one = trial('(while sleep 0.1; do echo >> "$1.ticks"; done) & wait', elements=1)
        one.submit()
        one.until(Phase.RUNNING)
        assert one.runs(0)
        one.call(one.placement.cancel, {one.handle: [0]})
        one.until(Phase.ENDED)
        assert not one.runs(0)

    def test_a_pending_element_is_canceled_and_never_starts(self, trial: Callable[..., Trial]) -> None:
        one = trial(HOLD)
        one.batch = self.one_at_a_time(one.batch)
        one.submit()
        running = self._until_one_runs(one)
        waiting = 1 - running
        one.call(one.placement.cancel, {one.handle: [waiting]})
        assert one.until(Phase.ENDED, [waiting])[waiting].cause is Cause.CANCELED
        one.release()
        assert one.until(Phase.ENDED)[running].cause is None
        assert (one.starts(running), one.starts(waiting)) == (1, 0)

    def _until_one_runs(self, trial: Trial) -> int:
        limit = time.monotonic() + self.seconds
        while True:
            phases = {index: seen.phase for index, seen in trial.poll().items()}
            if sorted(phase.value for phase in phases.values()) == ["pending", "running"]:
                return next(index for index, phase in phases.items() if phase is Phase.RUNNING)
            assert time.monotonic() < limit, f"not one that runs and one that waits: {phases}"
            time.sleep(0.1)

    def test_cancel_ignores_what_has_ended(self, trial: Callable[..., Trial]) -> None:
        one = trial("true")
        one.submit()
        one.until(Phase.ENDED)
        one.call(one.placement.cancel, {one.handle: [0, 1]})
        one.call(one.placement.cancel, {one.handle: [0]})
        assert all(end.cause is None for end in one.poll().values())

    # Handles and tokens

    @pytest.mark.parametrize("handle", ["no-such-handle", "999999", "", "a b\nc"])
    def test_a_handle_that_the_engine_does_not_know_is_left_out(self, trial: Callable[..., Trial], handle: str) -> None:
        one = trial("true", elements=1)
        one.submit()
        one.call(one.placement.cancel, {handle: [0]})
        assert one.call(one.placement.poll, [handle]) in ([], ())
        assert {seen.handle for seen in one.call(one.placement.poll, [handle, one.handle])} <= {one.handle}
        assert one.until(Phase.ENDED)[0].cause is None

    def test_adopt_leaves_out_a_token_that_the_engine_does_not_know(self, trial: Callable[..., Trial]) -> None:
        one, unknown = trial("true", elements=1), secrets.token_hex(8)
        one.submit()
        assert one.call(one.placement.adopt, [unknown]) == {}
        assert set(one.call(one.placement.adopt, [unknown, one.batch.token])) == {one.batch.token}

    def test_elements_continue_after_close_and_another_placement_adopts_them(
        self, trial: Callable[..., Trial], another: Callable[[], Placement]
    ) -> None:
        one, first = trial(HOLD), another()
        one.handle = one.call(first.submit, one.batch)
        one.until(Phase.RUNNING)
        one.call(first.close)
        self._adopt(one, another())

    def test_elements_survive_the_process_that_submitted_them(
        self, trial: Callable[..., Trial], another: Callable[[], Placement], address: str | None
    ) -> None:
        one = trial(HOLD)
        done = subprocess.run(
            [sys.executable, "-c", _SUBMIT_AND_DIE],
            input=msgspec.json.encode((self.executor, address, one.batch)),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == -9, done.stderr.decode()
        one.handle = done.stdout.decode().rstrip("\n")
        one.until(Phase.RUNNING)
        self._adopt(one, another())

    def _adopt(self, trial: Trial, placement: Placement) -> None:
        """A placement finds a running batch by its token, cancels one element, and sees the other's end."""
        trial.placement = placement
        trial.handle = trial.call(placement.adopt, [trial.batch.token])[trial.batch.token]
        trial.until(Phase.RUNNING)
        trial.call(placement.cancel, {trial.handle: [0]})
        assert trial.until(Phase.ENDED, [0])[0].cause is Cause.CANCELED
        trial.release()
        assert trial.until(Phase.ENDED)[1].cause is None
        assert [trial.starts(index) for index in range(2)] == [1, 1]

    # An engine that does not answer

    def test_calls_return_in_time_while_the_engine_does_not_answer(
        self, trial: Callable[..., Trial], silence: Callable[[], AbstractContextManager[object]]
    ) -> None:
        one, late = trial(HOLD), trial("true")
        one.submit()
        one.until(Phase.RUNNING)
        with silence():
            with pytest.raises(PlacementUnreachable):
                list(one.call(one.placement.poll, [one.handle]))
            with pytest.raises(PlacementUnreachable):
                late.submit()
            with suppress(PlacementUnreachable):  # an engine may leave cancellations where elements find them
                one.call(one.placement.cancel, {one.handle: [0]})
        one.release()
        one.until(Phase.ENDED)
        assert [one.starts(index) for index in range(2)] == [1, 1]
