r"""Stored paths: relative to the store, so that a store and the projects beside it can be moved and copied together.

`@/attempts/0000/00/1` lies in the store's folder, `./data/in.csv` in the folder that holds it (the store's parent);
`@` and `.` are these folders themselves. Every other text is stored as it is: a path outside stays absolute. A path
with bytes that are not UTF-8 is stored as a JSON text, `"./caf\udce9"`. Above the store all paths are absolute.
Whatever is written with a path in it is encoded here, and decoded where it is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from rekindle.domain.changes.prints import Content, Prints
from rekindle.domain.models import PartialOutput
from rekindle.domain.rerunning.plan_form import seal
from rekindle.domain.rerunning.rerun import PLAIN, Manner, Reason, ReasonKind, RerunPlan, SavedFile

_NO_TEXT = re.compile("[\udc80-\udcff]")
_ESCAPED = re.compile(r"\\udc[89a-f][0-9a-f].*\"$")

Text = TypeVar("Text", str, str | None)

Convert = Callable[[str], str]
"""`StoredPaths.encode`, `StoredPaths.decode`, or one after the other."""

_OF_FILES = (ReasonKind.INPUT, ReasonKind.OUTPUT, ReasonKind.UNSTABLE)
"""Reasons with an absolute path in their detail."""

_OF_REQUESTS = ("source", "submit")
"""Keys of a rerun's request that hold the path of a spec file."""


class StoredPaths:
    """Encodes and decodes the paths of one store. `folder` is the store's folder, absolute, without symbolic links."""

    __slots__ = ("_inside", "_parent", "folder", "parent")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.parent = str(Path(folder).parent)
        self._inside = f"{folder}/"
        self._parent = f"{self.parent.rstrip('/')}/"

    def encode(self, path: Text) -> Text:
        """Return a path as it is stored."""
        if path is None:
            return path
        if "/../" in path or path.endswith("/.."):
            path = os.path.normpath(path)
        return stored_text(self._relative(path))

    def _relative(self, path: str) -> str:
        if path.startswith(self._inside):
            return f"@/{path[len(self._inside) :]}"
        if path.startswith(self._parent):
            return f"./{path[len(self._parent) :]}" if path != self.folder else "@"
        return "." if path == self.parent else path

    def decode(self, text: Text) -> Text:
        """Return a stored path as it is now: absolute."""
        if text is None:
            return text
        text = path_of(text)
        if text.startswith("./"):
            return f"{self._parent}{text[2:]}"
        if text.startswith("@/"):
            return f"{self._inside}{text[2:]}"
        return self.parent if text == "." else self.folder if text == "@" else text


def stored_text(path: str) -> str:
    """Return a path as a text that a database takes: as JSON where it has bytes that are not UTF-8."""
    return json.dumps(path) if not path.isascii() and _NO_TEXT.search(path) else path


def path_of(text: str) -> str:
    """Return the path that `stored_text` returned this text for."""
    path: str = json.loads(text) if text.startswith('"') and _ESCAPED.search(text) else text
    return path


def moved(before: str, now: str) -> Convert | None:
    """Return what converts an absolute path from when the store's folder was `before` to when it is `now`; None when
    both are the same."""
    if before == now:
        return None
    then, new = StoredPaths(before), StoredPaths(now)
    return lambda path: new.decode(then.encode(path))


def with_prints(prints: Prints, convert: Convert) -> Prints:
    """Return fingerprints with converted paths."""
    if not (prints.inputs or prints.outputs):
        return prints
    values = (_contents(prints.inputs, convert), _contents(prints.outputs, convert), *_OF_PRINTS(prints))
    return Prints(*values)


def _contents(contents: tuple[Content, ...], convert: Convert) -> tuple[Content, ...]:
    return tuple([Content(one.name, convert(one.path), *_OF_CONTENT(one)) for one in contents])


_OF_PRINTS: Callable[[Prints], tuple[Any, ...]] = attrgetter(*(one.name for one in fields(Prints)[2:]))
_OF_CONTENT: Callable[[Content], tuple[Any, ...]] = attrgetter(*(one.name for one in fields(Content)[2:]))
"""All but the first two fields, of many: `dataclasses.replace` takes six times as long."""


def with_manner(manner: Manner, convert: Convert) -> Manner:
    """Return how a job's next attempts are made, with converted paths."""
    if manner is PLAIN or not (manner.folder or manner.saves):
        return manner
    folder = None if manner.folder is None else convert(manner.folder)
    return replace(manner, folder=folder, saves=tuple(convert(path) for path in manner.saves))


def with_reasons(reasons: tuple[Reason, ...], convert: Convert) -> tuple[Reason, ...]:
    """Return reasons with converted paths."""
    if not any(reason.kind in _OF_FILES for reason in reasons):
        return reasons
    return tuple(Reason(one.kind, _with_detail(one.kind, one.detail, convert)) for one in reasons)


def _with_detail(kind: str, detail: Mapping[str, Any], convert: Convert) -> Mapping[str, Any]:
    """Return the detail of a reason with its path converted, if it has one."""
    return {**detail, "path": convert(detail["path"])} if kind in _OF_FILES and "path" in detail else detail


def with_saved(saved: Sequence[SavedFile], convert: Convert) -> tuple[SavedFile, ...]:
    """Return saved outputs with converted paths."""
    return tuple(replace(one, path=convert(one.path), kept=convert(one.kept)) for one in saved)


def with_partial(partial: Sequence[PartialOutput], convert: Convert) -> tuple[PartialOutput, ...]:
    """Return partial outputs with converted paths."""
    return tuple(
        replace(one, path=convert(one.path), aside=None if one.aside is None else convert(one.aside)) for one in partial
    )


def with_request(request: Mapping[str, Any], convert: Convert) -> dict[str, Any]:
    """Return a rerun's request with the paths of spec files converted."""
    paths = {key: convert(request[key]) for key in _OF_REQUESTS if isinstance(request.get(key), str)}
    return {**request, **paths}


def with_checked(checked: Mapping[str, Any], convert: Convert) -> dict[str, Any]:
    """Return the look at a reserve with the paths in its reasons converted."""
    if not (reasons := checked.get("reasons")):
        return {**checked}
    return {**checked, "reasons": [_with_detail(one["kind"], one, convert) for one in reasons]}


def with_plan(plan: RerunPlan, convert: Convert) -> RerunPlan:
    """Return a plan with converted paths, and the digest that it has then."""
    jobs = tuple(
        replace(job, manner=with_manner(job.manner, convert), reasons=with_reasons(job.reasons, convert))
        for job in plan.jobs
    )
    return seal(replace(plan, jobs=jobs))
