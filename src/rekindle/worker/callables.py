"""Calling a function: found by its name, its result made JSON, its errors made findings."""

from __future__ import annotations

import contextvars
import importlib
import math
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import msgspec

from rekindle.domain.actions import BAD_ACTION, Action, BadAction, action_document, read_action
from rekindle.domain.causes import Cause
from rekindle.domain.errors import RekindleError
from rekindle.domain.models import Failure
from rekindle.domain.verdicts import Verdict
from rekindle.journal.encoding import to_json
from rekindle.worker.findings import MOST_TRACEBACK, StartError
from rekindle.worker.folders import DEEPEST, MOST_RESULT, BadResult, json_value

_EXIT_BITS = 31  # of an exit code


class Finding(msgspec.Struct, frozen=True):
    """What came of a call: a result, or a cause with what it said."""

    result: str | None = None
    cause: Cause | None = None
    failure: Failure | None = None
    exit_code: int | None = None
    action: str | None = None  # JSON text
    verdict: Verdict | None = None

    @classmethod
    def not_started(cls, message: str, kind: str = "", traceback: str = "") -> Finding:
        """The function could not be called at all."""
        return cls(cause=Cause.START, failure=Failure(kind, message, traceback))


class Functions:
    """The functions found so far. They are kept as long as the process: it ends when their code changes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Callable[..., Any], bool]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def find(self, name: str) -> tuple[Callable[..., Any], bool] | Finding:
        """(the function, whether it takes `ctx`) for `module:function`; a finding when it cannot be had."""
        found = self._known.get(name)
        if found is not None:
            return found
        try:
            function = _load(name)
        except StartError as error:
            return Finding.not_started(str(error))
        except RekindleError as error:
            return Finding.not_started(f"cannot import {name}: {error}", traceback=_traceback(error))
        except BaseException as error:  # noqa: BLE001 - whatever a user's module raises is the outcome
            kind = _type_name(error)
            return Finding.not_started(f"cannot import {name}: {kind}: {_message(error)}", kind, _traceback(error))
        self._known[name] = found = function, _takes_context(function)
        return found


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Finding:
    """Call it and make its result JSON. What it sets of context variables (the decimal context is one) ends with it."""
    try:
        value = contextvars.copy_context().run(function, **arguments)
    except SystemExit as error:
        return _exited(error)
    except BaseException as error:  # noqa: BLE001 - whatever a user's function raises is the outcome
        return Finding(cause=Cause.EXCEPTION, failure=Failure(_type_name(error), _message(error), _traceback(error)))
    return _acted(value) if isinstance(value, Action) else _as_json(value)


def _load(name: str) -> Callable[..., Any]:
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


def _takes_context(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    if code is not None and not hasattr(function, "__wrapped__"):
        return "ctx" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    import inspect

    try:
        return "ctx" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in ones do not tell
        return False


def _as_json(value: Any) -> Finding:
    if value is None:
        return Finding()
    try:
        text = _encoded(value).decode()
    except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything
        return _bad_result(f"the result, a {type(value).__qualname__}, cannot be written as JSON: {_message(error)}")
    if len(text) > MOST_RESULT:
        return _bad_result("the result is larger than 16 MiB as JSON; write large data to a file and return its path")
    if text.count("[") + text.count("{") > DEEPEST:
        try:
            json_value(text, "the result", BadResult)
        except BadResult as error:
            return _bad_result(str(error))
    return Finding(result=text)


def _acted(action: Action) -> Finding:
    """A function returned an action: checked as the JSON document that it stands for."""
    try:
        text = _encoded(action_document(action))
        read_action(json_value(text.decode(), "the action", BadAction))
    except BadAction as error:
        return _bad_action(str(error))
    except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything
        return _bad_action(f"the action cannot be written as JSON: {_message(error)}")
    if len(text) > MOST_RESULT:
        return _bad_action("the action is larger than 16 MiB as JSON")
    found = _as_json(action.result)
    return found if found.cause is not None or text == b"{}" else msgspec.structs.replace(found, action=text.decode())


def _bad_action(message: str) -> Finding:
    return Finding(cause=Cause.EXCEPTION, failure=Failure(BAD_ACTION, message))


def _bad_result(message: str) -> Finding:
    return Finding(cause=Cause.EXCEPTION, failure=Failure("BadResult", message))


def _encoded(value: Any) -> bytes:
    """Encode a value as JSON. ValueError for NaN and the infinities, which msgspec writes as null."""
    text = to_json(value, _plain)
    if b"null" in text:
        _refuse_not_finite(msgspec.to_builtins(value, str_keys=True, enc_hook=_plain), "")
    return text


def _refuse_not_finite(value: Any, at: str) -> None:
    """Raise ValueError for a number in `value` that JSON cannot have; `at` is the path of `value`."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value}{at and f' at {at:.80}'} is no number of JSON")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_not_finite(inner, f"{at}[{key!r}]")
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            _refuse_not_finite(inner, f"{at}[{position}]")


def _plain(value: Any) -> Any:
    """Numbers of array libraries (no dimensions, an `item` method) and paths, as JSON has them."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no form in JSON")


def _exited(error: SystemExit) -> Finding:
    """What sys.exit means: None is 0, a number is the code, anything else is a message and 1."""
    if error.code is None or error.code == 0:
        return Finding(exit_code=0)
    code = error.code if isinstance(error.code, int) else 1
    if code.bit_length() > _EXIT_BITS:
        code = 255  # as Python itself ends with it
    message = f"exit code {code}" if isinstance(error.code, int) else _message(error.code)
    return Finding(cause=Cause.EXIT, exit_code=code, failure=Failure("SystemExit", message, _traceback(error)))


def _message(error: object) -> str:
    """Return what an error says, its end where that is very long."""
    try:
        text = str(error)
    except Exception as worse:  # noqa: BLE001 - its own method may raise anything
        return f"<no message: str() raised {type(worse).__name__}>"
    return text if len(text) <= MOST_TRACEBACK else "…" + text[-MOST_TRACEBACK:]


def _type_name(error: BaseException) -> str:
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__", None) else f"{kind.__module__}."
    return module + kind.__qualname__


def _traceback(error: BaseException) -> str:
    """The traceback without rekindle's and importlib's own frames around the user's. Where what fails is rekindle's
    itself, a dialect's task, it shows where."""
    import linecache
    import traceback

    linecache.checkcache()
    found: TracebackType | None = error.__traceback__
    while found is not None and _is_ours(found):
        found = found.tb_next
    theirs = found
    while theirs is not None and (_is_ours(theirs) or _is_of_the_house(theirs)):
        theirs = theirs.tb_next
    text = "".join(traceback.format_exception(type(error), error, theirs or found))
    return text if len(text) <= MOST_TRACEBACK else "…" + text[-MOST_TRACEBACK:]


def _is_ours(frame: TracebackType) -> bool:
    path = frame.tb_frame.f_code.co_filename
    return path in (__file__, importlib.__file__) or path.startswith("<frozen importlib")


def _is_of_the_house(frame: TracebackType) -> bool:
    return frame.tb_frame.f_code.co_filename.startswith(_HOUSE)


_HOUSE = __file__.removesuffix("worker/callables.py")


def flush() -> None:
    """Write out what Python's streams and C's hold back, so that it lands in this attempt's log."""
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
