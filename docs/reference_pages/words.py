"""The reference of words: states, causes, reasons, events, filter fields, errors and exit codes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import rekindle
from reference_pages.markdown import block, code, definitions, escaped, table, texts
from rekindle.domain import errors as error_module
from rekindle.domain.errors import RekindleError
from rekindle.domain.selection import FIELD_PREFIXES, FIELDS
from rekindle.domain.states import TRANSITIONS

_SOURCE = Path(rekindle.__file__).parent


def states() -> str:
    """Return the states."""
    return _defined("states")


def transitions() -> str:
    """Return the table of transitions."""
    rows = [
        (code(before.label), escaped(event.value), code(after.label)) for (before, event), after in TRANSITIONS.items()
    ]
    return table(["state", "event", "next state"], rows)


def causes() -> str:
    """Return the causes."""
    return _defined("causes")


def reasons() -> str:
    """Return the kinds of reasons."""
    return _defined("reasons")


def events() -> str:
    """Return the kinds of events."""
    return _defined("events")


def fields() -> str:
    """Return the fields of filters."""
    own = [(code(name), field.kind, escaped(field.about)) for name, field in FIELDS.items()]
    families = [(code(f"{prefix}NAME"), "any", escaped(about)) for prefix, about in FIELD_PREFIXES.items()]
    return table(["field", "kind", "value"], [*own, *families])


class ErrorClass(NamedTuple):
    """A class of errors."""

    name: str
    base: str
    module: str
    about: str


def errors() -> str:
    """Return the tree of errors, each error, and the errors of single parts of rekindle."""
    tree = (error_module.__doc__ or "").partition("\n\n")[2]
    found = error_classes()
    main = [one for one in found if one.module == error_module.__name__]
    rest = sorted((one for one in found if one not in main), key=lambda one: one.module)
    main_rows = [(f"{code(one.name)} (exit {exit_code(one.name)})", escaped(one.about)) for one in main]
    rest_rows = [(f"{code(one.name)}, a {code(one.base)} of {code(one.module)}", escaped(one.about)) for one in rest]
    return "\n\n".join(
        [block(tree, "text"), definitions(main_rows), "## Errors of single parts", definitions(rest_rows)]
    )


def exit_code(name: str) -> int:
    """Return the exit code of an error of `domain/errors.py`."""
    code: int = getattr(error_module, name).exit_code
    return code


def error_classes() -> list[ErrorClass]:
    """Return every public subclass of RekindleError, in the order of the files."""
    classes: list[ErrorClass] = []
    for path in sorted(_SOURCE.rglob("*.py")):
        module = ".".join(("rekindle", *path.relative_to(_SOURCE).with_suffix("").parts))
        for one in ast.walk(ast.parse(path.read_text())):
            if isinstance(one, ast.ClassDef) and one.bases:
                base = ast.unparse(one.bases[0]).rpartition(".")[2]
                classes.append(ErrorClass(one.name, base, module, ast.get_docstring(one) or ""))
    known = {RekindleError.__name__}
    while len(known) < len(known := known | {one.name for one in classes if one.base in known}):
        pass
    return [one for one in classes if one.name in known and not one.name.startswith("_")]


def exit_codes() -> str:
    """Return the exit codes."""
    return _defined("codes")


def event_kinds() -> set[str]:
    """Return the kinds of events that the source writes."""
    found: set[str] = set()
    for folder in ("engine", "store", "dialects", "web"):
        for path in sorted((_SOURCE / folder).rglob("*.py")):
            found.update(_kinds_written(ast.parse(path.read_text())))
    return found


def _kinds_written(module: ast.Module) -> Iterator[str]:
    named = {
        target.id: one.value.value
        for one in module.body
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    for call in ast.walk(module):
        if not isinstance(call, ast.Call):
            continue
        function = ast.unparse(call.func)
        if function.endswith(".events.add") or function == "changes.write":
            place = 1 if function.endswith(".add") else 2
        elif function.endswith("._add_events"):
            place = 0
        else:
            continue
        for part in ast.walk(call.args[place]):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
            elif isinstance(part, ast.Name) and isinstance(named.get(part.id), str):
                yield str(named[part.id])


def _defined(section: str) -> str:
    return definitions((code(word), about) for word, about in texts("words")[section].items())
