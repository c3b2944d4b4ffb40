"""The placement on a Dask cluster that runs already: `--executor dask --address tcp://HOST:8786`.

Each element is a Dask task, which runs the element's command as a process on a Dask worker. The scheduler keeps the
tasks and a record of them (`rekindle.executors.dask_elements`), so that elements continue without this process. A
scheduler that restarts has forgotten all: `poll` leaves the elements out, and `adopt` finds nothing."""

from __future__ import annotations

import asyncio
import logging
import platform
import signal
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import cloudpickle
from distributed import Client

from rekindle.domain.errors import UsageError
from rekindle.domain.states import Cause
from rekindle.executors import dask_elements
from rekindle.executors.placement import (
    CALL_SECONDS,
    Batch,
    Phase,
    Placement,
    PlacementRefused,
    PlacementUnreachable,
    Seen,
)

PYTHON = platform.python_version()

_THREAD = "rekindle-dask"

CLOSE_SECONDS = 2.0

cloudpickle.register_pickle_by_value(dask_elements)

# What these log of the connections here is raised as PlacementUnreachable; a user would see tracebacks besides.
for _logger in ("distributed.client", "distributed.core", "distributed.batched", "distributed.comm.tcp"):
    logging.getLogger(_logger).addFilter(lambda record: record.threadName != _THREAD)


class DaskPlacement(Placement):
    """Starts elements as tasks of a Dask cluster."""

    name = "dask"

    def __init__(self, address: str | None, *, seconds: float = CALL_SECONDS) -> None:
        """Connect. A call lasts at most `seconds`.

        Raise PlacementUnreachable, or PlacementRefused if the scheduler may run an element twice."""
        if not address:
            raise UsageError("the executor dask needs the address of a scheduler", hint="--address tcp://HOST:8786")
        self._address, self._seconds = address, seconds
        self._client: Client | None = None
        self._closing: list[asyncio.Task[None]] = []
        # A loop of its own, because calls of a client that is not asynchronous cannot all be given a time limit.
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # of what distributed leaves behind when a call is cut off
        self._thread = threading.Thread(target=self._loop.run_forever, name=_THREAD, daemon=True)
        self._thread.start()
        try:
            self._require_same_python(self._run(self._call(platform.python_version)))
            self._require_no_repeats(self._run(self._call(dask_elements.allowed_failures)))
        except BaseException:
            self.close()
            raise

    def submit(self, batch: Batch) -> str:
        """Start a batch; return when the scheduler has its tasks."""
        self._run(self._submit(batch, _resources(batch)))
        return batch.name

    async def _submit(self, batch: Batch, resources: dict[str, float]) -> None:
        self._require_no_repeats(await self._ask("expect", batch.name, batch.elements, create=True))
        futures = (await self._connected()).map(
            _WithCode(dask_elements.run_element),
            [batch.name] * batch.elements,
            range(batch.elements),
            argv=batch.argv,
            folder=batch.folder,
            seconds=batch.seconds,
            key=[f"{batch.name}-{index}" for index in range(batch.elements)],
            resources=resources or None,
            retries=0,
            pure=False,
        )
        while (known := await self._ask("count", batch.name)) != len(futures):
            if known is None:
                raise PlacementUnreachable(f"the Dask scheduler at {self._address} has restarted")
            await asyncio.sleep(0.02)

    def poll(self, handles: Collection[str]) -> Sequence[Seen]:
        """Return what the scheduler knows of the elements."""
        return [_seen(found) for found in self._run(self._ask("look", list(handles))) or ()]

    def cancel(self, elements: Mapping[str, Collection[int]]) -> None:
        """Drop tasks; a running element gets SIGTERM, and SIGKILL half a minute later."""
        self._run(self._ask("cancel", {handle: list(indices) for handle, indices in elements.items()}))

    def adopt(self, tokens: Collection[str]) -> Mapping[str, str]:
        """Return the names of the batches that the scheduler knows, by token."""
        found: dict[str, str] = self._run(self._ask("find", list(tokens))) or {}
        return found

    def close(self) -> None:
        """Disconnect. The tasks stay in the scheduler."""
        if self._thread.is_alive():
            with suppress(PlacementUnreachable):
                self._run(self._disconnect())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_SECONDS)
            if not self._loop.is_running():
                self._loop.close()

    def _require_same_python(self, there: str) -> None:
        if there.split(".")[:2] != PYTHON.split(".")[:2]:
            raise PlacementRefused(
                f"the Dask scheduler at {self._address} has Python {there}, and this is Python {PYTHON}: "
                "code cannot be sent from one to the other",
                hint=f"run rekindle with Python {'.'.join(there.split('.')[:2])}",
            )

    def _require_no_repeats(self, allowed: int) -> None:
        if allowed != 0:
            raise PlacementRefused(
                f"the Dask scheduler at {self._address} starts a task again when its worker has died "
                f"(distributed.scheduler.allowed-failures is {allowed})",
                hint="start it with DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0 in its environment",
            )

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the loop, for a limited time."""
        if not self._thread.is_alive():
            work.close()
            raise PlacementUnreachable("the connection to the Dask scheduler is closed")
        running = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, 0.8 * self._seconds), self._loop)
        try:
            return running.result()
        except (TimeoutError, OSError) as error:
            self._loop.call_soon_threadsafe(self._forget_client)  # the next call connects again
            raise PlacementUnreachable(
                f"the Dask scheduler at {self._address} does not answer: {str(error) or 'no answer in time'}"
            ) from error

    async def _ask(self, method: str, *arguments: object, create: bool = False) -> Any:
        return await self._call(dask_elements.ask_records, method, *arguments, create=create)

    async def _call(self, function: Callable[..., Any], *arguments: object, **options: object) -> Any:
        """Call a function in the scheduler."""
        return await (await self._connected()).run_on_scheduler(function, *arguments, **options)

    async def _connected(self) -> Client:
        if self._client is not None and self._client.status != "running":
            self._forget_client()
        if self._client is None:
            self._client = Client(
                self._address, asynchronous=True, timeout=0.5 * self._seconds, set_as_default=False, name="rekindle"
            )
            try:
                await self._client
            except ValueError as error:
                raise UsageError(f"{self._address!r} is not an address of Dask: {error}") from error
        return self._client

    def _forget_client(self) -> None:
        """Begin to close the client. If the scheduler does not answer, this takes longer than a call may."""
        client, self._client = self._client, None
        if client is not None:
            self._closing = [task for task in self._closing if not task.done()]
            self._closing.append(self._loop.create_task(_close(client)))

    async def _disconnect(self) -> None:
        self._forget_client()
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_SECONDS)


async def _close(client: Client) -> None:
    with suppress(TimeoutError, OSError):
        await client.close()


class _WithCode:
    """A function of `dask_elements` that is pickled with its code. Within a graph, Dask lets pickle write a reference
    to the module, although cloudpickle is asked for the code."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function

    def __call__(self, *arguments: Any, **options: Any) -> None:
        self.function(*arguments, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return cloudpickle.loads, (cloudpickle.dumps(self.function),)


def _resources(batch: Batch) -> dict[str, float]:
    """Return the resources of Dask that the options ask for: `resources.NAME=NUMBER` each."""
    if batch.at_once is not None:
        raise PlacementRefused(
            "Dask cannot limit how many elements of a batch run at once",
            hint="give the workers a resource (dask worker --resources SLOT=2) and ask for it: resources.SLOT=1",
        )
    found = {}
    for option in batch.options:
        name, equals, number = option.removeprefix("resources.").partition("=")
        try:
            found[name] = float(number)
            if not (option.startswith("resources.") and name and equals and found[name] > 0):
                raise ValueError
        except ValueError:
            raise PlacementRefused(
                f"the executor dask does not know the option {option!r}",
                hint="resources.NAME=NUMBER, as resources.GPU=1",
            ) from None
    return found


def _seen(found: Mapping[str, Any]) -> Seen:
    """Translate what the records in the scheduler say of one element."""
    starts = found["starts"]
    evidence = {
        f"dask_{key}" if key == "worker" else key: value for key, value in (starts[-1] if starts else {}).items()
    }
    end = found.get("end", {})
    cause, message = _cause(end, canceled=found["canceled"]) if end else (None, "")
    if end:
        evidence["started"] = bool(starts)
        evidence |= {"exit_code": end["code"]} if end["code"] is not None else {}
        evidence |= {"error": end["error"]} if end.get("error") else {}
        evidence |= {"dask_worker": end["worker"]} if end.get("worker") else {}
    return Seen(
        handle=found["name"],
        element=found["index"],
        phase=Phase(found["phase"]),
        cause=cause,
        message=message,
        evidence=evidence,
        restarts=max(0, len(starts) - 1),
        node_down=end.get("silent", False),
        waits_for=found.get("waits_for", ""),
    )


def _cause(end: Mapping[str, Any], *, canceled: bool) -> tuple[Cause | None, str]:
    stopped, code = end["stopped"], end["code"]
    if stopped == "dropped":
        return (Cause.CANCELED, "canceled") if canceled else (Cause.LOST, "the task was canceled in Dask")
    if stopped == "time":
        return Cause.TIMEOUT, "exceeded its time limit"
    if stopped == "worker":
        return Cause.LOST, "the Dask worker was closed"
    if stopped == "erred":
        return Cause.LOST, end["error"] or "the Dask worker died"
    if code:
        return Cause.LOST, f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
    return None, ""
