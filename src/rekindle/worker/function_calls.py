"""Call a function: find it by name, encode its result as JSON, turn its errors into results. `Context` is the `ctx`
argument of a called function."""

from __future__ import annotations

import contextvars
import importlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.actions import BAD_ACTION, Action, BadAction, action_document, read_action
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Failure
from rekindle.domain.states import Cause
from rekindle.domain.texts.function_source import function_name, is_source, shown_call
from rekindle.domain.verdicts import Verdict, make_verdict, worst_verdict
from rekindle.files.store_files import make_folder
from rekindle.journal.encoding import to_json
from rekindle.worker.attempt_folders import MAX_DEPTH, MAX_RESULT, BadResult, json_value
from rekindle.worker.steps import MAX_TRACEBACK, StartError

if TYPE_CHECKING:
    from types import TracebackType

    from rekindle.journal.orders import Assignment, TaskTemplate

_EXIT_BITS = 31  # of an exit code


class CallResult(msgspec.Struct, frozen=True):
    """The result of a call, or a cause and an error."""

    result: str | None = None
    passed_on: str | None = None  # the result for the jobs that need this one, if different
    cause: Cause | None = None
    failure: Failure | None = None
    exit_code: int | None = None
    action: str | None = None  # JSON text
    verdict: Verdict | None = None

    @classmethod
    def not_started(cls, message: str, kind: str = "", traceback: str = "") -> CallResult:
        """Return the result of a function that could not be called."""
        return cls(cause=Cause.START, failure=Failure(kind, message, traceback))


class FunctionCache:
    """The functions found so far. They are kept until the process ends, which it does when their code changes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Callable[..., Any], bool]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def find(self, name: str) -> tuple[Callable[..., Any], bool] | CallResult:
        """Return (function, whether it takes `ctx`) for `module:function`, or a result with the error."""
        found = self._known.get(name)
        if found is not None:
            return found
        try:
            function = _load(name)
        except StartError as error:
            return CallResult.not_started(str(error))
        except RekindleError as error:
            return CallResult.not_started(f"cannot import {shown_call(name)}: {error}", traceback=_traceback(error))
        except BaseException as error:  # noqa: BLE001 - whatever a user's module raises is the outcome
            kind = _type_name(error)
            return CallResult.not_started(
                f"cannot import {shown_call(name)}: {kind}: {_message(error)}", kind, _traceback(error)
            )
        self._known[name] = found = function, _takes_context(function)
        return found


def call_function(function: Callable[..., Any], arguments: Mapping[str, Any]) -> CallResult:
    """Call a function and encode its result as JSON. Context variables that it sets (the decimal context is one) end
    with it."""
    try:
        value = contextvars.copy_context().run(function, **arguments)
    except SystemExit as error:
        return _exit_result(error)
    except BaseException as error:  # noqa: BLE001 - whatever a user's function raises is the outcome
        return CallResult(cause=Cause.EXCEPTION, failure=Failure(_type_name(error), _message(error), _traceback(error)))
    return _action_result(value) if isinstance(value, Action) else _as_json(value)


def _load(name: str) -> Callable[..., Any]:
    if is_source(name):
        return _define(name)
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise StartError(f"{name!r} names no function", hint="write module:function")
    importlib.invalidate_caches()
    value: Any = importlib.import_module(module_name)
    for part in path.split("."):
        if not hasattr(value, part):
            raise StartError(f"module {module_name} has no function {path}")
        value = getattr(value, part)
    if not callable(value):
        raise StartError(f"{name} is a {type(value).__name__}, not a function")
    function: Callable[..., Any] = value
    return function


def _define(source: str) -> Callable[..., Any]:
    """Return the function that a source defines. Its tracebacks show the source."""
    import __future__

    import linecache
    from types import ModuleType

    name = function_name(source)
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    code = compile(source, file, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
    module = ModuleType(name)
    exec(code, vars(module))  # noqa: S102  the function is a part of the workflow, as its commands are
    function: Callable[..., Any] = getattr(module, name)
    return function


def _takes_context(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    if code is not None and not hasattr(function, "__wrapped__"):
        return "ctx" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    import inspect

    try:
        return "ctx" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False


def _as_json(value: Any) -> CallResult:
    if value is None:
        return CallResult()
    try:
        text = _encoded(value).decode()
    except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything
        return _bad_result(f"the result, a {type(value).__qualname__}, cannot be written as JSON: {_message(error)}")
    if len(text) > MAX_RESULT:
        return _bad_result("the result is larger than 16 MiB as JSON; write large data to a file and return its path")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        try:
            json_value(text, "the result", BadResult)
        except BadResult as error:
            return _bad_result(str(error))
    return CallResult(result=text)


def _action_result(action: Action) -> CallResult:
    """Check an action that a function returned, as the JSON document that it stands for."""
    try:
        text = _encoded(action_document(action))
        read_action(json_value(text.decode(), "the action", BadAction))
    except BadAction as error:
        return _bad_action(str(error))
    except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything
        return _bad_action(f"the action cannot be written as JSON: {_message(error)}")
    if len(text) > MAX_RESULT:
        return _bad_action("the action is larger than 16 MiB as JSON")
    found = _as_json(action.result)
    if action.result_for_children is not None and found.cause is None:
        other = _as_json(action.result_for_children)
        found = msgspec.structs.replace(found, passed_on=other.result) if other.cause is None else other
    return found if found.cause is not None or text == b"{}" else msgspec.structs.replace(found, action=text.decode())


def _bad_action(message: str) -> CallResult:
    return CallResult(cause=Cause.EXCEPTION, failure=Failure(BAD_ACTION, message))


def _bad_result(message: str) -> CallResult:
    return CallResult(cause=Cause.EXCEPTION, failure=Failure("BadResult", message))


def _encoded(value: Any) -> bytes:
    """Encode a value as JSON. Raise ValueError for NaN and infinities, which msgspec writes as null."""
    text = to_json(value, _plain)
    if b"null" in text:
        _refuse_not_finite(msgspec.to_builtins(value, str_keys=True, enc_hook=_plain), "")
    return text


def _refuse_not_finite(value: Any, at: str) -> None:
    """Raise ValueError for a number in `value` that JSON does not have; `at` is the path of `value`."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value}{at and f' at {at:.80}'} is no number of JSON")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_not_finite(inner, f"{at}[{key!r}]")
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            _refuse_not_finite(inner, f"{at}[{position}]")


def _plain(value: Any) -> Any:
    """Encode numbers of array libraries (no dimensions, an `item` method) and paths."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no form in JSON")


def _exit_result(error: SystemExit) -> CallResult:
    """Return the result for sys.exit: None is 0, a number is the code, anything else is a message and 1."""
    if error.code is None or error.code == 0:
        return CallResult(exit_code=0)
    code = error.code if isinstance(error.code, int) else 1
    if code.bit_length() > _EXIT_BITS:
        code = 255  # as Python itself does
    message = f"exit code {code}" if isinstance(error.code, int) else _message(error.code)
    return CallResult(cause=Cause.EXIT, exit_code=code, failure=Failure("SystemExit", message, _traceback(error)))


def _message(error: object) -> str:
    """Return an error's message; its end if it is very long."""
    try:
        text = str(error)
    except Exception as worse:  # noqa: BLE001 - its own method may raise anything
        return f"<no message: str() raised {type(worse).__name__}>"
    return text if len(text) <= MAX_TRACEBACK else "…" + text[-MAX_TRACEBACK:]


def _type_name(error: BaseException) -> str:
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__", None) else f"{kind.__module__}."
    return module + kind.__qualname__


def _traceback(error: BaseException) -> str:
    """Return the traceback without the frames of rekindle and importlib around the user's. If the failing code is
    rekindle's own, a dialect's task, keep its frames."""
    import linecache
    import traceback

    linecache.checkcache()
    found: TracebackType | None = error.__traceback__
    while found is not None and _is_call_machinery(found):
        found = found.tb_next
    theirs = found
    while theirs is not None and (_is_call_machinery(theirs) or _is_in_rekindle(theirs)):
        theirs = theirs.tb_next
    text = "".join(traceback.format_exception(type(error), error, theirs or found))
    return text if len(text) <= MAX_TRACEBACK else "…" + text[-MAX_TRACEBACK:]


def _is_call_machinery(entry: TracebackType) -> bool:
    path = entry.tb_frame.f_code.co_filename
    return path in (__file__, importlib.__file__) or path.startswith("<frozen importlib")


def _is_in_rekindle(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_PACKAGE_FOLDER)


_PACKAGE_FOLDER = __file__.removesuffix("worker/function_calls.py")


def flush_streams() -> None:
    """Flush Python's and C's streams, so that the output lands in this attempt's log."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:  # noqa: BLE001 - replaced or closed by the call: whatever its flush raises
            continue
    _flush_c()


def _flush_c() -> None:
    global _fflush
    if _fflush is None:
        import ctypes

        _fflush = ctypes.PyDLL(None).fflush
    _fflush(None)


_fflush: Any = None


class Context:
    """Passed to a function that has a parameter named `ctx`.

    workflow, job_name, step: names · job: the job's id · attempt: the attempt's number within the job, from 1 · params:
    the workflow's parameters · matrix: the job's matrix values · steps: results of this attempt's earlier steps, by
    name · item: the item of this call, for a fan-out step · given: the verdict so far."""

    def __init__(
        self, template: TaskTemplate, assignment: Assignment, step: str, params: Mapping[str, Any], item: Any = None
    ) -> None:
        self.workflow = template.workflow
        self.job_name = assignment.name
        self.job = assignment.job
        self.attempt = assignment.number
        self.step = step
        self.item = item
        self.params = params
        self.matrix: Mapping[str, Any] = assignment.binding
        self.steps: Mapping[str, Any] = assignment.kept
        self._folder = assignment.folder
        self._inputs = assignment.inputs
        self._before = assignment.before
        self.given: Verdict | None = None

    @property
    def dir(self) -> Path:
        """This attempt's own folder (the subtask's own, for a fan-out step). It exists."""
        folder = Path(self._folder)
        if not folder.is_dir():  # a subtask's, in the store
            make_folder(folder)
        return folder

    def verdict(self, word: str, message: str = "") -> None:
        """Report a verdict: `passed`, `warning` or `blocker`, and why. The worst of several counts, and the first of
        equal ones. Raise BadVerdict (a ValueError) for another word."""
        self.given = worst_verdict((self.given, make_verdict(word, message)))

    @property
    def before(self) -> dict[str, Any] | None:
        """How this job's previous attempt ended: `attempt` (its number), `state`, `cause` and `error` (of a failed
        one: `type`, `message`, `traceback`, `stderr`). None if there was none."""
        found: dict[str, Any] | None = json.loads(self._before) if self._before else None
        return found

    @property
    def inputs(self) -> dict[str, Any]:
        """The needed jobs by name: `{"result": …, "outputs": {name: absolute path}}`. For an aggregate, or with
        `when: finished`, also `job` (its id), `state`, `verdict`, `verdict_message`, `partial`, `attempt` (its
        number) and `error` (of a failed one: `type`, `message`, `traceback`, `stderr`)."""
        found: dict[str, Any] = json.loads(self._inputs) if self._inputs else {}
        return found
