"""Launch fireworks: an fworker, the folders of launches, and a runner that claims what the fworker selects."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from rekindle.dialects.fireworks.launch_output import Launch
from rekindle.dialects.fireworks.offline import end_reservations, run_offline
from rekindle.dialects.fireworks.queries import fireworks_predicate, select_fireworks
from rekindle.dialects.fireworks.tasks.launch_environment import FWORKER_VARIABLE
from rekindle.domain.errors import NotFound, RekindleError
from rekindle.domain.models import GivenFolder, ReadyJob
from rekindle.domain.selection import AllOf, Compare, Op, Predicate
from rekindle.domain.states import ACTIVE
from rekindle.engine.results import WorkOptions, WorkReport
from rekindle.spec.loading import read_bytes, read_tree
from rekindle.spec.nodes import MappingNode, Node, Problems, SourcePlace
from rekindle.spec.values import data, table, text

if TYPE_CHECKING:
    from rekindle.dialects.fireworks.launch_output import LaunchOutput
    from rekindle.engine.running.detached_run import DetachedEnd
    from rekindle.engine.session import Session

DEFAULT_FWORKER_NAME = "Automatically generated Worker"
"""FireWorks' name for an fworker without a description."""

FWORKER_FILE = "my_fworker.yaml"
"""The file that describes the fworker, in the configuration folder."""

NO_CATEGORY = "__none__"
"""The category of an fworker that only launches fireworks without a category."""


class FWorker(msgspec.Struct, frozen=True):
    """What FireWorks calls an fworker: a machine that launches fireworks.

    `category`: it launches only fireworks of this `_category`, or of one of several; "": of any. `query`: only those
    that match this filter. `env`: what tasks find as `_fw_env` in their specs."""

    name: str = DEFAULT_FWORKER_NAME
    category: str | tuple[str, ...] = ""
    query: Mapping[str, Any] = msgspec.field(default_factory=dict)
    env: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def filter(self) -> dict[str, Any]:
        """Return the MongoDB filter for the fireworks that it launches. Fireworks with `_fworker` are launched only
        by that one."""
        mine: dict[str, Any] = {"$or": [{"spec._fworker": None}, {"spec._fworker": self.name}]}
        parts = [dict(self.query), mine] if self.query else [mine]
        if self.category == NO_CATEGORY:
            parts.append({"spec._category": {"$exists": False}})
        elif self.category:
            named = [self.category] if isinstance(self.category, str) else list(self.category)
            parts.append({"spec._category": {"$in": named}})
        return parts[0] if len(parts) == 1 else {"$and": parts}

    @property
    def predicate(self) -> Predicate:
        """Return the predicate for the fireworks that it launches."""
        return fireworks_predicate(self.filter)

    @property
    def document(self) -> dict[str, Any]:
        """Return it as FireWorks writes it."""
        category = self.category if isinstance(self.category, str) else list(self.category)
        return {"name": self.name, "category": category, "query": json.dumps(self.query), "env": dict(self.env)}


def as_fworker(given: Any) -> FWorker:
    """Return an FWorker for rekindle's or FireWorks' own, or one that launches everything for None."""
    if given is None:
        return FWorker()
    if isinstance(given, FWorker):
        return given
    found = given.to_dict()
    category = found.get("category") or ""
    query = found.get("query") or {}
    return FWorker(
        found["name"],
        category if isinstance(category, str) else tuple(category),
        json.loads(query) if isinstance(query, str) else query,
        found.get("env") or {},
    )


def read_fworker(path: Path) -> FWorker:
    """Read an fworker file. Raises SpecError with every problem, including those of its query."""
    problems = Problems(str(path))
    root = table(read_tree(read_bytes(path), path.suffix, problems), "an fworker file", problems)
    if root is None and not len(problems):
        problems.add(SourcePlace(), "the file is empty", "as in `name: my machine`")
    problems.raise_any()
    assert root is not None
    found = FWorker(
        text(root.get("name"), "`name`", problems) or DEFAULT_FWORKER_NAME,
        _category(root.get("category"), problems),
        _query(root.get("query"), problems),
        _object(root.get("env"), "`env`", problems),
    )
    problems.raise_any()
    return found


def _category(node: Node | None, problems: Problems) -> str | tuple[str, ...]:
    found = None if node is None else data(node, "`category`", problems)
    if node is None or found is None or isinstance(found, str):
        return found or ""
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return tuple(found)
    problems.add(node.place, "`category` must be a text, or a list of texts")
    return ""


def _query(node: Node | None, problems: Problems) -> Mapping[str, Any]:
    """Read a query: an object, or the JSON text of one."""
    if node is None or isinstance(node, MappingNode):
        found = _object(node, "`query`", problems)
    else:
        written = data(node, "`query`", problems)
        try:
            found = json.loads(written or "{}")
        except (TypeError, ValueError) as error:
            found = None
            problems.add(node.place, f"`query` is not JSON: {error}", """as in query: '{"spec.size": 3}'""")
        if found is not None and not isinstance(found, dict):
            problems.add(node.place, "`query` must be a JSON object")
    if not isinstance(found, dict):
        return {}
    try:
        fireworks_predicate(found)
    except RekindleError as error:
        assert node is not None
        problems.add(node.place, f"`query`: {error.message}", error.hint)
    return found


def _object(node: Node | None, what: str, problems: Problems) -> dict[str, Any]:
    if node is None or (not isinstance(node, MappingNode) and data(node, what, problems) in (None, "")):
        return {}
    found = table(node, what, problems)
    return {} if found is None else dict(data(found, what, problems))


LAUNCHER = "launcher_"
"""The prefix of new folders."""


class LaunchFolders(msgspec.Struct):
    """Chooses the folder of each launch, and records the launches.

    With `here` launches run in `directory` itself, unless a copy of another launch's folder is requested."""

    directory: str  # absolute
    here: bool = False
    launches: list[Launch] = msgspec.field(default_factory=list)

    def __call__(self, job: ReadyJob, attempt: int, now: float) -> GivenFolder:
        """Return the folder for an attempt that is claimed now."""
        launch_dir = json.loads(job.binding).get("spec", {}).get("_launch_dir")
        path = self._path(launch_dir) if launch_dir else self.directory if self.here else None
        shared = path is not None and (job.next.take != "copy" or job.next.folder == path)
        if path is None or not shared:
            path = f"{self.directory}/{LAUNCHER}{_stamp(now, attempt)}"
        taken = job.next.folder if job.next.take == "same" else None
        self.launches.append(Launch(job.id, attempt, taken or path, new=taken is None and not shared))
        return GivenFolder(path, shared)

    def _path(self, launch_dir: object) -> str:
        written = os.path.expandvars(os.path.expanduser(str(launch_dir)))  # noqa: PTH111 - an unknown user's ~ stays
        return str(Path(self.directory, written))


def _stamp(now: float, attempt: int) -> str:
    """Return a UTC date to the microsecond, as FireWorks does. Its last three digits are the attempt's, so that
    folders are unique."""
    date = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d-%H-%M-%S")
    return f"{date}-{int(now * 1000) % 1000:03d}{attempt % 1000:03d}"


SLEEP = 60.0
"""Seconds between two loops, as in FireWorks."""


class RapidfireOptions(msgspec.Struct, frozen=True):
    """Options of rapidfire.

    `most`: launch at most this many; None: all. `endless`: then wait for more. `loops`: look for ready fireworks this
    often, `sleep` seconds apart; None: as needed. `timeout`: launch nothing after this many seconds. `parallel`: how
    many launches run at once."""

    most: int | None = None
    endless: bool = False
    loops: int | None = None
    sleep: float = SLEEP
    timeout: float | None = None
    parallel: int = 1


class LaunchResult(msgspec.Struct, frozen=True):
    """The launches, and the report of the last runner."""

    launches: tuple[Launch, ...]
    report: WorkReport | None = None


def launch_one(
    session: Session,
    fworker: FWorker,
    directory: Path,
    firework: int | None = None,
    output: LaunchOutput | None = None,
) -> LaunchResult:
    """Launch one ready firework in `directory`: the first that the fworker selects, or `firework`, which may also be
    reserved. `output` prints the launch. Raises NotFound if `firework` does not exist."""
    only = fworker.predicate
    if firework is not None:
        if not select_fireworks(session, {"fw_id": firework}):
            raise NotFound(f"there is no firework {firework}", hint="`lpad get_fws -d ids` lists them")
        only = AllOf((Compare("id", Op.EQ, firework),))
        end_reservations(session, [firework])
    folders = LaunchFolders(str(directory), here=True)
    options = WorkOptions(slots=1, only=only, most=1, linger=False, place=folders, label=fworker.name)
    return _work_as(session, fworker, options, folders, output)


def launch_many(
    session: Session,
    fworker: FWorker,
    directory: Path,
    how: RapidfireOptions,
    output: LaunchOutput | None = None,
) -> LaunchResult:
    """Launch the fireworks that the fworker selects, each in a new folder in `directory`. `output` prints the
    launches."""
    folders = LaunchFolders(str(directory))
    options = WorkOptions(
        slots=how.parallel,
        only=fworker.predicate,
        most=how.most,
        watch=how.endless,
        claim_for=how.timeout,
        place=folders,
        label=fworker.name,
    )
    if how.loops is None:
        return _work_as(session, fworker, options, folders, output)
    began, done = time.monotonic(), LaunchResult(())
    for loop in range(how.loops):  # look for ready fireworks this often, and sleep in between
        left = None if how.timeout is None else how.timeout - (time.monotonic() - began)
        most = None if how.most is None else how.most - len(folders.launches)
        if most == 0 or (left is not None and left <= 0):
            break
        once = replace(options, watch=False, linger=False, most=most, claim_for=left)
        done = _work_as(session, fworker, once, folders, output)
        assert done.report is not None
        if done.report.interrupted or not (how.endless or any(done.report.counts.get(one) for one in ACTIVE)):
            break
        if loop < how.loops - 1:
            time.sleep(how.sleep if left is None else min(how.sleep, left))
    return done


def launch_offline(fworker: FWorker, directory: Path) -> DetachedEnd:
    """Run the launch that is set up in a folder, without any store."""
    with _fworker_environment(fworker):
        return run_offline(directory)


def _work_as(
    session: Session, fworker: FWorker, options: WorkOptions, folders: LaunchFolders, output: LaunchOutput | None
) -> LaunchResult:
    from rekindle.engine.running.work import work

    def show(_: object = None) -> None:
        if output is not None:
            output.show(session, folders.launches)

    with _fworker_environment(fworker):
        report = work(session, options, show)
    show()
    return LaunchResult(tuple(folders.launches), report)


@contextmanager
def _fworker_environment(fworker: FWorker) -> Iterator[None]:
    """Put the fworker into the environment of launches."""
    before = os.environ.get(FWORKER_VARIABLE)
    os.environ[FWORKER_VARIABLE] = json.dumps(fworker.document)
    try:
        yield
    finally:
        if before is None:
            del os.environ[FWORKER_VARIABLE]
        else:
            os.environ[FWORKER_VARIABLE] = before
