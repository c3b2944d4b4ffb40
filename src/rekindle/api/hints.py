"""The commands of the command line and their calls in Python: for the hints of errors, and for the test that no command
lacks a call."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.display import did_you_mean

CALLS = {
    "run": "client.run(spec)",
    "submit": "client.submit(spec)",
    "work": "client.work()",
    "status": "client.status()",
    "workflows list": "client.workflows.list()",
    "workflows show": "client.workflows.show(workflow)",
    "workflows diff": "client.workflows.diff(workflow)",
    "workflows compare": "client.workflows.compare(a, b)",
    "workflows archive": "client.workflows.archive(workflow)",
    "workflows delete": "client.workflows.delete(workflow)",
    "jobs list": "client.jobs()",
    "jobs show": "client.jobs.show(job)",
    "attempts list": "client.attempts()",
    "attempts show": "client.attempts.show(attempt)",
    "attempts diff": "client.attempts.diff(a, b)",
    "logs": "client.logs(job)",
    "failures": "client.failures()",
    "flaky": "client.flaky()",
    "lineage": "client.lineage(path)",
    "forecast": "client.forecast()",
    "reproduce": "client.reproduce(attempt)",
    "verify": "client.verify(jobs)",
    "why": "client.why(jobs)",
    "rerun": "client.plan_rerun(jobs)",
    "apply": "client.apply(client.plans.load(path))",
    "supervise": "client.supervise(workflow)",
    "restart": "client.restart(workflow)",
    "reset": "client.reset(jobs)",
    "accept": "client.accept(jobs)",
    "complete": "client.complete(jobs)",
    "undo": "client.undo()",
    "reruns list": "client.reruns.list()",
    "reruns show": "client.reruns.show(rerun)",
    "events list": "client.events()",
    "cancel": "client.cancel(jobs)",
    "hold": "client.hold(jobs)",
    "release": "client.release(jobs)",
    "report": "client.workflows.report(workflow, path)",
    "token new": "client.tokens.new(scopes)",
    "token list": "client.tokens.list()",
    "token revoke": "client.tokens.revoke(token)",
    "store check": "client.store.check()",
    "store copy": "client.store.copy(target)",
    "store vacuum": "client.store.vacuum()",
    "prune": "client.prune(jobs)",
    "cache list": "client.cache.list()",
    "cache prune": "client.cache.prune()",
    "cache verify": "client.cache.verify()",
    "export": "client.export(workflow, path)",
    "import bundle": "client.import_bundle(path)",
    "spec check": "client.preview(spec)",
}
"""The call in Python for each command that has one."""

_COMMAND = re.compile(
    rf"(?P<tick>`?)rekindle (?P<command>{'|'.join(sorted(CALLS, key=len, reverse=True))})\b(?P<rest>[^`;,]*)(?P=tick)"
)
_STORE_FLAG = re.compile(r"--store FOLDER\b|--store\b")

Class = TypeVar("Class", bound=type)
Call = TypeVar("Call", bound=Callable[..., Any])


def in_python(text: str) -> str:
    """Return a text of an error with calls of the Python API for commands."""
    text = text.replace("-w WORKFLOW", "client.select(job, workflow=…)")
    return _STORE_FLAG.sub("Client(store)", _COMMAND.sub(lambda found: f"`{CALLS[found['command']]}`", text))


def no_call(owner: object, noun: str, word: str) -> AttributeError:
    """Return the error of a call that `owner` lacks: it names the call for a command of this word, or a similar one.
    `noun`: the calls' noun, "" for the client's own."""
    command = next((one for one in (f"{noun}s {word}", f"{noun} {word}", word) if one in CALLS), None)
    if word == "rerun":
        hint = f"{CALLS['rerun']}, then client.apply(plan)"
    elif command is not None:
        hint = CALLS[command]
    else:
        hint = did_you_mean(word, [name for name in dir(owner) if not name.startswith("_")])
    return AttributeError(f"{type(owner).__name__} has no call {word!r}: {hint}", name=word, obj=owner)


def python_hints(kind: Class) -> Class:
    """Let the public calls of a class raise errors whose hints name calls of the Python API."""
    for name, member in vars(kind).copy().items():
        if inspect.isfunction(member) and (not name.startswith("_") or name in ("__init__", "__call__")):
            setattr(kind, name, _with_python_hints(member))
    return kind


def _with_python_hints(call: Call) -> Call:
    @functools.wraps(call)
    def wrapped(*args: Any, **named: Any) -> Any:
        try:
            return call(*args, **named)
        except RekindleError as error:
            error.message, error.hint = in_python(error.message), in_python(error.hint)
            raise

    return wrapped  # type: ignore[return-value]
