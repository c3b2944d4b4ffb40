"""The tools of `rekindle mcp`: operations of the HTTP API with their arguments as one object, and bounded answers. A
plan is applied only if this server has shown it: by its digest."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import asdict
from starlette.responses import Response

from rekindle.domain.errors import NotFound, PlanOutdated, Refused, UsageError
from rekindle.domain.texts.display import did_you_mean, show_bytes
from rekindle.journal.encoding import to_json
from rekindle.presentation import answers
from rekindle.web import api_bodies, api_reads, api_writes
from rekindle.web.access import Principal
from rekindle.web.api_bodies import NoQuery, PlanBody, RerunBody, Whole, Word
from rekindle.web.api_operations import Call

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.web.api_operations import Operation

MOST_BYTES = 100_000
"""The most bytes of an answer. Longer ones are shortened, and say so."""

MOST_TEXT = 4_000
"""The most characters of one text in an answer that is too long."""

MOST_PLANS = 50
"""The plans that are remembered, for `apply`."""

MOST_LOG_BYTES = 64_000

PAGE = 50
"""Rows of a list, unless the call asks for another number."""


_Number = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class Tool(NamedTuple):
    """A tool: the type of its arguments, and what it does. `scope`: what the server must allow."""

    name: str
    about: str
    scope: str
    arguments: type[Any]
    act: Callable[[Agent, Session, Any], Any]

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, with the types that it refers to."""
        (found,), components = msgspec.json.schema_components([self.arguments], ref_template="#/$defs/{name}")
        own = components.pop(found["$ref"].rpartition("/")[2]) if "$ref" in found else found
        return {**own, **({"$defs": components} if components else {})}


class Digest(msgspec.Struct, forbid_unknown_fields=True):
    """A plan that was shown."""

    digest: Annotated[str, Meta(max_length=64, description="`digest` of a plan that plan_rerun returned.")]


class UndoneBy(msgspec.Struct, forbid_unknown_fields=True):
    """A rerun to undo."""

    rerun: Annotated[int, Meta(ge=1, le=2**63 - 1, description="The number of the rerun.")]


class LogTail(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A part of a log: by default its end."""

    attempt: _Number
    step: Annotated[Word, Meta(description="The step; by default the last one that has printed.")] | None = None
    stream: Literal["stdout", "stderr"] = "stdout"
    subtask: Annotated[Whole, Meta(description="The index of an item of a fan-out; needs `step`.")] | None = None
    offset: Annotated[int, Meta(ge=-(2**62), le=2**62, description="The first byte; negative: from the end.")] = (
        -MOST_LOG_BYTES // 4
    )
    limit: Annotated[int, Meta(ge=1, le=MOST_LOG_BYTES, description="The most bytes.")] = MOST_LOG_BYTES // 4


class FileOf(msgspec.Struct, forbid_unknown_fields=True):
    """A file of the project."""

    path: Annotated[Word, Meta(description="The path, relative to the folder that holds the store, or absolute.")]


class Agent:
    """What one server may do, and the plans that it has shown."""

    def __init__(self, scopes: Sequence[str], name: str) -> None:
        self.principal = Principal(name, frozenset(scopes))
        self._plans: OrderedDict[str, PlanBody] = OrderedDict()

    def tools(self) -> list[Tool]:
        """Return the tools that the scopes allow."""
        return [one for one in TOOLS.values() if one.scope in self.principal.scopes]

    def tool(self, name: str) -> Tool:
        """Return a tool. Raise NotFound for an unknown one, and Refused for one that the scopes do not allow."""
        found = TOOLS.get(name)
        if found is None:
            raise NotFound(f"there is no tool {name!r:.80}", hint=did_you_mean(name, list(TOOLS)))
        if found.scope not in self.principal.scopes:
            scopes = ",".join([*sorted(self.principal.scopes), found.scope])
            raise Refused(f"{name} needs the scope {found.scope}", hint=f"start the server with --scope {scopes}")
        return found

    def call(self, session: Session, tool: Tool, given: Mapping[str, Any]) -> bytes:
        """Return the answer of a tool as JSON text. Raise UsageError for malformed arguments."""
        try:
            arguments = msgspec.convert(given, tool.arguments)
        except (msgspec.ValidationError, OverflowError) as error:
            raise UsageError(f"the arguments of {tool.name} are malformed: {error}") from None
        for path in _paths(arguments):
            project_path(session, path)
        return bounded(tool.act(self, session, arguments))

    def plan(self, session: Session, body: PlanBody) -> dict[str, Any]:
        """Plan a rerun, and remember the request by the plan's digest."""
        found: dict[str, Any] = _PLAN.act(session, self._request(body=body))  # type: ignore[misc]
        if digest := found.get("digest"):
            self._plans[digest] = body
            self._plans.move_to_end(digest)
            while len(self._plans) > MOST_PLANS:
                self._plans.popitem(last=False)
        return found

    def apply(self, session: Session, given: Digest) -> dict[str, Any]:
        """Apply a plan that was shown. Raise NotFound for another, and PlanOutdated if it would be another now."""
        body = self._plans.get(given.digest)
        if body is None:
            raise NotFound(
                f"no plan with the digest {given.digest!r:.80} was shown", hint="call plan_rerun, and look at its plan"
            )
        request = RerunBody(digest=given.digest, **{name: getattr(body, name) for name in body.__struct_fields__})
        found = _APPLY.act(session, self._request(body=request))  # type: ignore[misc]
        del self._plans[given.digest]
        if isinstance(found, Response):
            raise PlanOutdated(
                "nothing is changed: jobs of the plan have moved", hint="call plan_rerun again, and look at its plan"
            )
        return dict(found)

    def operate(self, session: Session, operation: Operation, arguments: Any) -> Any:
        """Call an operation: arguments that are in its path, and those of its query."""
        given = asdict(arguments)
        path = {name: str(given.pop(name)) for name in _path_names(operation)}
        query = NoQuery() if operation.query is NoQuery else operation.query(**given)
        return operation.act(session, self._request(path, query))  # type: ignore[misc]

    def _request(self, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None) -> Call:
        return Call(self.principal, path or {}, query or NoQuery(), body)


def project_path(session: Session, path: str) -> str:
    """Return the absolute path of a file of the project. Raise Refused for one that is in no folder of a project: that
    which holds the store, and those of its workflows."""
    project = Path(session.store.folder).parent
    found = os.path.abspath(project / path)  # noqa: PTH100  names are recorded as they are given
    with session.store.read() as archive:
        folders = [str(project), *archive.workflows.directories()]
    real = os.path.realpath(found)
    if any(Path(real).is_relative_to(os.path.realpath(folder)) for folder in folders):
        return found
    raise Refused(f"{show_bytes(path):.200} is outside of the project", hint=f"name a file below {project}")


def bounded(document: Any, most: int = MOST_BYTES) -> bytes:
    """Return a document as JSON text of at most about `most` bytes. Where it was shortened, the key `truncated` says
    what is left out: entries of lists, and characters of texts."""
    text = to_json(document)
    rows = 256
    while len(text) > most and rows:
        left_out: dict[str, int] = {}
        shorter = _shortened(msgspec.json.decode(to_json(document)), rows, "", left_out)
        shorter = shorter if isinstance(shorter, dict) else {"answer": shorter}
        text = to_json({**shorter, "truncated": left_out})
        rows //= 2
    return text if len(text) <= most else to_json({"truncated": {"bytes": len(text)}})


def _shortened(value: Any, rows: int, key: str, left_out: dict[str, int]) -> Any:
    if isinstance(value, dict):
        return {
            name: _shortened(each, rows, f"{key}.{name}" if key else name, left_out) for name, each in value.items()
        }
    if isinstance(value, list):
        if len(value) > rows:
            left_out[key] = left_out.get(key, 0) + len(value) - rows
        return [_shortened(each, rows, key, left_out) for each in value[:rows]]
    if isinstance(value, str) and len(value) > MOST_TEXT:
        left_out[key] = left_out.get(key, 0) + len(value) - MOST_TEXT
        return value[:MOST_TEXT]
    return value


def _paths(arguments: Any) -> list[str]:
    """Return the paths in arguments."""
    selection = arguments.selection if isinstance(arguments, PlanBody) else arguments
    return [*getattr(selection, "from_file", ()), *([arguments.path] if isinstance(arguments, FileOf) else [])]


def _log(agent: Agent, session: Session, given: LogTail) -> dict[str, Any]:
    fields = {name: getattr(given, name) for name in api_bodies.LogPart.__struct_fields__}
    call = Call(agent.principal, {"attempt": str(given.attempt)}, api_bodies.LogPart(**fields), None)
    found: Response = _READ_LOG.act(session, call)  # type: ignore[misc]
    start, size = int(found.headers["Rekindle-Log-Offset"]), int(found.headers["Rekindle-Log-Size"])
    return {
        "attempt": given.attempt,
        "step": found.headers["Rekindle-Log-Step"],
        "stream": given.stream,
        "text": bytes(found.body).decode(errors="replace"),
        "offset": start,
        "end": start + len(found.body),
        "size": size,
    }


def _lineage(_: Agent, session: Session, given: FileOf) -> dict[str, Any]:
    return answers.lineage(session, project_path(session, given.path), api_reads.reading_limit())


def _path_names(operation: Operation) -> list[str]:
    return re.findall(r"\{(\w+)\}", operation.path)


def _named(name: str) -> Operation:
    operations = (*api_reads.OPERATIONS, *api_writes.OPERATIONS)
    return next(one for one in operations if one.name == name)


_PLAN, _APPLY, _UNDO, _READ_LOG = map(_named, ("planRerun", "applyRerun", "undoRerun", "readLog"))


def _read_tool(operation: Operation) -> Tool:
    """Return the tool of a reading operation: its path and its query are the arguments."""
    name = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", operation.name)
    by_name = "/workflows/" in operation.path
    fields: list[Any] = [(one, api_bodies.Id if by_name else _Number) for one in _path_names(operation)]
    if "limit" in operation.query.__struct_fields__:
        fields.append(("limit", api_bodies.Limit, PAGE))
    arguments = msgspec.defstruct(
        f"{operation.name[0].upper()}{operation.name[1:]}",
        fields,
        bases=(operation.query,),
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return Tool(
        name, operation.about, "read", arguments, lambda agent, session, given: agent.operate(session, operation, given)
    )


def _undo(agent: Agent, session: Session, given: UndoneBy) -> Any:
    return agent.operate(session, _UNDO, given)


_PLAN_ABOUT = (
    "Plan a rerun: which jobs run again, and why. Nothing is changed. Show the plan to the user, then call `apply` "
    "with its digest."
)

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        *(_read_tool(one) for one in api_reads.OPERATIONS if one is not _READ_LOG),
        Tool("read_log", "Read a part of a log, by default the end.", "read", LogTail, _log),
        Tool("lineage", "Show where a file comes from, and what used it. Reads the file.", "read", FileOf, _lineage),
        Tool("plan_rerun", _PLAN_ABOUT, "rerun", PlanBody, lambda agent, session, body: agent.plan(session, body)),
        Tool(
            "apply",
            "Apply a plan that plan_rerun has shown, by its digest; refused if it has become outdated.",
            "rerun",
            Digest,
            lambda agent, session, given: agent.apply(session, given),
        ),
        Tool("undo", _UNDO.about, "rerun", UndoneBy, _undo),
    )
}
"""All tools by name."""
