"""Import click and msgspec without the modules that they import and a short command does not use. These modules take a
third of the time of a short command.

While the libraries are imported, stand-ins take the places of these modules. A stand-in has what the libraries use when
they are imported; whatever else is looked up in it later comes from the module itself, which is then imported."""

from __future__ import annotations

import importlib
import os
import re
import sys
import typing
from _thread import _local
from types import ModuleType
from typing import Any

_LOADED = (re, typing)
"""What both libraries use is imported before: `re` and `typing` shall not get stand-ins."""


class _StandIn(ModuleType):
    """Stands for a module, with these attributes of its own."""

    def __init__(self, name: str, **own: Any) -> None:
        super().__init__(name)
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of the import system
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


class _PlainDict(dict[str, Any]):
    """Stands for `typing.TypedDict`, which compiles the type of each key, as click never uses it."""

    def __init_subclass__(cls, **_: Any) -> None:
        super().__init_subclass__()


def _later(module: str, name: str) -> Any:
    """Return a function that calls the function of a module, which is imported by the first call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call


def _cleandoc(text: str) -> str:
    """Return a help text without indentation: each option of click calls `inspect.cleandoc`."""
    if "\n" in text:
        return str(importlib.import_module("inspect").cleandoc(text))
    return text.expandtabs().lstrip()


def _stand_ins() -> list[_StandIn]:
    return [
        _StandIn("inspect", cleandoc=_cleandoc),
        _StandIn("gettext", gettext=lambda text: text, ngettext=lambda one, many, n: one if n == 1 else many),
        _StandIn("platform", system=lambda: os.uname().sysname),  # for uuid
        _StandIn("threading", local=_local),
        _StandIn("urllib.parse", quote_from_bytes=_later("urllib.parse", "quote_from_bytes")),  # for pathlib
        _StandIn("msgspec.inspect"),
        _StandIn(
            "msgspec._json_schema",
            schema=_later("msgspec._json_schema", "schema"),
            schema_components=_later("msgspec._json_schema", "schema_components"),
        ),
        _StandIn("msgspec.msgpack"),
        _StandIn("msgspec.toml"),
        _StandIn("msgspec.yaml"),
    ]


def import_libraries() -> None:
    """Import click and msgspec, if they are not yet imported."""
    if "click" in sys.modules or "msgspec" in sys.modules:
        return
    own = [one for one in _stand_ins() if one.__name__ not in sys.modules]
    places: dict[str, Any] = {one.__name__: one for one in own}
    if "typing_extensions" not in sys.modules:
        places["typing_extensions"] = None  # msgspec then uses `typing`, which has all of it since Python 3.11
    sys.modules.update(places)
    typed_dict, typing.TypedDict = typing.TypedDict, _PlainDict  # type: ignore[assignment]
    try:
        import pathlib  # noqa: F401

        import click  # noqa: F401
        import msgspec  # noqa: F401
    finally:
        typing.TypedDict = typed_dict
        for name, stand_in in places.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
