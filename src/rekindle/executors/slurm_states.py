"""What Slurm says of a batch's elements: rows of squeue and sacct, and what they mean."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from rekindle.domain.states import Cause
from rekindle.domain.texts.quantities import format_size
from rekindle.executors.placement import Phase, Seen

QUEUE_FIELDS = (
    *("ArrayJobID", "ArrayTaskID", "State", "exit_code", "Reason", "RestartCnt", "NodeList", "MinMemory", "Name"),
    "WorkDir",  # last: it may contain the separator
)
QUEUE_FORMAT = ",".join(f"{field}:|" for field in QUEUE_FIELDS)
"""For `squeue -O`. The separator in place of a width leaves fields as long as they are."""

ACCOUNTING_FIELDS = ("JobID", "State", "ExitCode", "NodeList", "MaxRSS", "ReqMem", "JobName", "WorkDir")
ACCOUNTING_FORMAT = ",".join(ACCOUNTING_FIELDS)

_PENDING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}

_CAUSES = {
    "COMPLETED": None,
    "FAILED": Cause.LOST,
    "CANCELLED": Cause.CANCELED,
    "TIMEOUT": Cause.TIMEOUT,
    "DEADLINE": Cause.TIMEOUT,
    "OUT_OF_MEMORY": Cause.OOM,
    "NODE_FAIL": Cause.LOST,
    "PREEMPTED": Cause.LOST,
    "BOOT_FAIL": Cause.LOST,
    "REVOKED": Cause.LOST,
}
"""The states in which an element has ended."""

OVER_LIMIT = re.compile(r"(Assoc|QOS)(Min|Max.*(PerJob|PerNode|WallDuration))")
"""Limits that a job is over by itself, whatever else runs."""

_NEVER_STARTS = re.compile(
    rf"{OVER_LIMIT.pattern}|Partition(Config|NodeLimit|TimeLimit)$|BadConstraints|DependencyNeverSatisfied|"
    r"InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed|MaxMemPerLimit|ReservationDeleted"
)
"""Reasons that no waiting can lift."""

_OVER_MEMORY = re.compile(rb"exceeded (job )?memory limit", re.IGNORECASE)

_STDERR_TAIL = 65536

REST = -1
"""The index of a row for those tasks of an array that have none of their own: canceled before one of them started."""
_KILL = 9
_TOKEN_LENGTH = 16


class Element(msgspec.Struct, kw_only=True):
    """An element of a batch, as Slurm lists it."""

    job: int  # the id of the array
    index: int
    name: str
    folder: str  # where the job's stderr is: `Batch.folder`
    state: str
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    restarts: int = 0
    node: str = ""
    memory: int = 0  # bytes that it has requested
    max_rss: int = 0  # from accounting: bytes that a step used
    canceled_by: int | None = None  # from accounting: a user id
    accounted: bool = False  # accounting has been read
    unlisted: bool = False  # the queue, which lists its job, does not list it, and did not say how it ended

    @property
    def token(self) -> str:
        """The token of its batch, if it is one of a batch."""
        return self.name[-_TOKEN_LENGTH:]

    @property
    def ended(self) -> bool:
        """Whether it has ended, whatever of its end is known."""
        return self.state in _CAUSES

    @property
    def unclear(self) -> bool:
        """Whether accounting may say more of its end."""
        return self.unlisted or (self.ended and self.state != "COMPLETED" and not self.accounted)

    def rank(self) -> tuple[bool, bool, int]:
        """Return an order of elements of one index in several jobs: the last one is that which runs, or may run."""
        return (not self.ended, self.state not in _PENDING, self.job)

    def complete(self, row: Element) -> None:
        """Take from accounting what the queue does not say."""
        self.max_rss, self.canceled_by, self.memory = row.max_rss, row.canceled_by, row.memory or self.memory
        self.accounted = True


def read_queue(text: str) -> list[Element]:
    """Read the answer of squeue in QUEUE_FORMAT."""
    elements = []
    for line in text.splitlines():
        fields = line.split("|", len(QUEUE_FIELDS) - 1)
        if len(fields) < len(QUEUE_FIELDS):
            continue
        job, index, state, status, reason, restarts, node, memory, name, folder = fields
        elements.append(
            Element(
                job=int(job),
                index=int(index) if index.isdecimal() else REST,
                name=name,
                folder=folder.removesuffix("|"),
                state=state,
                exit_code=int(status) >> 8,
                signal=int(status) & 127,
                reason="" if reason == "None" else reason,
                restarts=int(restarts),
                node=node,
                memory=_size(memory),
            )
        )
    return elements


def read_accounting(text: str) -> list[Element]:
    """Read the answer of `sacct --duplicates` in ACCOUNTING_FORMAT: a row for each run of an element, each followed by
    those of its steps. The last run counts."""
    elements: dict[tuple[int, int], Element] = {}
    current: Element | None = None
    for line in text.splitlines():
        fields = line.split("|", len(ACCOUNTING_FIELDS) - 1)
        if len(fields) < len(ACCOUNTING_FIELDS):
            continue
        job, state, status, node, max_rss, memory, name, folder = fields
        if "." in job:
            if current is not None:
                current.max_rss = max(current.max_rss, _size(max_rss))
            continue
        current = None
        match = re.match(r"(\d+)(?:_(\d+)$)?", job)  # 12_3; 12 or 12_[3-5]: the rest of an array
        if not match:
            continue
        state, _, canceled_by = state.partition(" by ")
        exit_code, _, signal = status.partition(":")
        key = (int(match[1]), REST if match[2] is None else int(match[2]))
        earlier = elements.get(key)
        elements[key] = current = Element(
            job=key[0],
            index=key[1],
            name=name,
            folder=folder,
            state=state,
            exit_code=int(exit_code or 0),
            signal=int(signal or 0),
            restarts=earlier.restarts + 1 if earlier is not None and earlier.name == name else 0,
            node="" if node == "None assigned" else node,
            memory=_size(memory),
            canceled_by=int(canceled_by) if canceled_by.isdecimal() else None,
            accounted=True,
        )
    return list(elements.values())


def describe(handle: str, element: Element) -> Seen:
    """Say what an element's row means."""
    if element.unlisted:
        canceled = element.state in _PENDING
        return Seen(
            handle=handle,
            element=element.index,
            phase=Phase.ENDED,
            cause=Cause.CANCELED if canceled else Cause.LOST,
            message=f"Slurm lists no job {element.job}_{element.index} any more: "
            + ("it was canceled before it started, or it ended long ago" if canceled else "it ended long ago"),
            evidence=_evidence(element),
            restarts=element.restarts,
        )
    if not element.ended:
        pending = element.state in _PENDING
        return Seen(
            handle=handle,
            element=element.index,
            phase=Phase.PENDING if pending else Phase.RUNNING,
            evidence=_evidence(element),
            restarts=element.restarts,
            waits_for=element.reason if pending else "",
            never_starts=pending and _NEVER_STARTS.match(element.reason) is not None,
        )
    cause = _CAUSES[element.state]
    if element.signal == _KILL and element.state in ("FAILED", "CANCELLED") and _exceeded_memory(element):
        cause = Cause.OOM
    elif element.state == "FAILED" and element.reason == "BadConstraints":
        cause = Cause.START
    return Seen(
        handle=handle,
        element=element.index,
        phase=Phase.ENDED,
        cause=cause,
        message="" if cause is None else _message(element, cause),
        evidence=_evidence(element),
        restarts=element.restarts,
        node_down=element.state == "NODE_FAIL",
    )


def index_ranges(indices: Iterable[int]) -> Iterator[str]:
    """Write indices as Slurm takes them: 0-3, 7."""
    first = last = None
    for index in sorted(indices):
        if first is None or last is None or index > last + 1:
            if first is not None:
                yield f"{first}" if first == last else f"{first}-{last}"
            first = index
        last = index
    if first is not None:
        yield f"{first}" if first == last else f"{first}-{last}"


def _evidence(element: Element) -> dict[str, Any]:
    state = "UNLISTED" if element.unlisted else element.state
    evidence: dict[str, Any] = {"slurm_job": f"{element.job}_{element.index}", "state": state}
    if element.ended:
        evidence |= {"exit_code": element.exit_code, "signal": element.signal}
    for name in ("node", "reason", "memory", "max_rss"):
        if value := getattr(element, name):
            evidence[name] = value
    if element.canceled_by is not None:
        evidence["canceled_by"] = _user(element.canceled_by)
    return evidence


def _message(element: Element, cause: Cause) -> str:
    text = f"Slurm job {element.job}_{element.index} ended as {element.state}"
    if element.node:
        text += f" on {element.node}"
    if element.canceled_by is not None and cause is Cause.CANCELED:
        text += f", canceled by {_user(element.canceled_by)}"
    if cause is Cause.OOM:
        used = f" ({format_size(element.max_rss)} used)" if element.max_rss else ""
        text += f": over its memory{f' of {format_size(element.memory)}' if element.memory else ''}{used}"
    elif element.exit_code:
        text += f" with exit code {element.exit_code}"
    elif element.signal and element.state == "FAILED":
        text += f" by signal {element.signal}"
    if element.reason and element.reason not in ("NonZeroExitCode", "JobLaunchFailure"):
        text += f" ({element.reason})"
    return text


def _exceeded_memory(element: Element) -> bool:
    """Return whether Slurm killed an element for its memory. Without cgroups, stderr and accounting alone show it."""
    if element.max_rss and element.memory and element.max_rss >= element.memory:
        return True
    try:
        with open(f"{element.folder}/{element.index}.err", "rb") as file:
            file.seek(max(0, file.seek(0, 2) - _STDERR_TAIL))
            return _OVER_MEMORY.search(file.read()) is not None
    except OSError:
        return False


def _size(text: str) -> int:
    """Read a size as Slurm writes it: 100M, 307864K, 1.50G; empty or anything else is 0."""
    match = re.match(r"([\d.]+)([KMGTP]?)", text)
    return int(float(match[1]) * 1024 ** " KMGTP".index(match[2] or " ")) if match else 0


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
