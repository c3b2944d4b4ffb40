"""torc's global options, workflow argument, filters and output."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from rekindle.domain.errors import BadSelection, NotFound, Refused, UnknownWord
from rekindle.domain.texts.display import did_you_mean
from rekindle.engine.queries import selections, workflow_queries

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow
    from rekindle.engine.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])

_KEY_VARIABLES = ("TORC_WORKFLOW_KEY", "TORC_WORKFLOW_ID")


class TorcOptions(msgspec.Struct, frozen=True):
    """The options before the command."""

    as_json: bool = False
    prompts: bool = True
    key: str | None = None


def torc_options() -> TorcOptions:
    """Return the options of the running command."""
    found = click.get_current_context().find_object(TorcOptions)
    return found or TorcOptions()


def key_argument(command: Command) -> Command:
    """Add the argument `key`: the workflow, which -k before the command may name instead."""
    return click.argument("key", required=False, metavar="[WORKFLOW_KEY]")(command)


def selected_workflow(session: Session, key: str | None) -> Workflow:
    """Return the workflow of this key or name, else of -k, else of the environment, else the only one of the store.
    Raises NotFound if there is none, and Refused if there are several."""
    meant = key or torc_options().key or next(filter(None, map(os.environ.get, _KEY_VARIABLES)), None)
    if meant is not None:
        return selections.find_workflow(session, meant)
    known = workflow_queries.workflows(session)
    if not known:
        raise NotFound("there is no workflow", hint="rekindle torc workflows create SPEC")
    if len(known) > 1:
        listed = ", ".join(f"{one.id} {one.name}" for one in known[-20:])
        raise Refused(f"there are {len(known)} workflows: {listed}", hint="say which: its key, or -k KEY before it")
    return known[0]


def confirm(question: str) -> None:
    """Ask on a terminal, unless -n is given. Raises click's Abort on a no."""
    if torc_options().prompts and sys.stdin.isatty():
        click.confirm(f"{question}\nContinue?", abort=True, err=True)


def _ask_nothing(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.obj = msgspec.structs.replace(ctx.find_object(TorcOptions) or TorcOptions(), prompts=False)


no_prompts_option = click.option(
    "--no-prompts", is_flag=True, expose_value=False, callback=_ask_nothing, help="Do not ask."
)
"""The same as -n before the command."""


user_option = click.option("-u", "--user", expose_value=False, help="Accepted and ignored: a store has one owner.")


class ListOptions(msgspec.Struct, frozen=True):
    """The options of a list: which entries, in which order, and how many."""

    filters: tuple[str, ...]
    limit: int | None
    offset: int
    sort_by: str | None
    reverse_sort: bool

    def narrowed(self, **values: Any) -> ListOptions:
        """Return the options with more filters: fields that must have these values, unless these are None."""
        added = (f"{field}={value}" for field, value in values.items() if value is not None)
        return msgspec.structs.replace(self, filters=(*self.filters, *added))


_LIST_OPTIONS = (
    click.option(
        *("-f", "--filters"),
        multiple=True,
        metavar="FIELD=VALUE",
        help="Only entries with this value; FIELD!=VALUE: with another one. May be repeated.",
    ),
    click.option("-l", "--limit", type=click.IntRange(min=0), help="At most this many entries. [default: all]"),
    click.option("-o", "--offset", "--skip", type=click.IntRange(min=0), default=0, help="Leave out this many first."),
    click.option("--sort-by", metavar="FIELD", help="Sort by this field."),
    click.option("--reverse-sort", is_flag=True, help="Sort in the reverse order."),
)


def list_options(command: Command) -> Command:
    """Add --filters, --limit, --offset, --sort-by and --reverse-sort, passed as `listed`."""

    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> Any:
        listed = ListOptions(**{field: kwargs.pop(field) for field in ListOptions.__struct_fields__})
        return command(*args, listed=listed, **kwargs)

    decorated: Any = with_options
    for option in reversed(_LIST_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_ALIASES = {"_key": "key", "id": "key"}


def list_documents(
    documents: Sequence[dict[str, Any]],
    listed: ListOptions,
    fields: Sequence[str],
    also: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the documents that match every filter, sorted and cut. `also`: by field, another field that may match
    instead."""
    left = list(documents)
    for written in listed.filters:
        field, mark, value = written.partition("=")
        field, differs = field.removesuffix("!").strip(), field.endswith("!")
        if not mark:
            raise BadSelection(
                f"cannot read the filter {written!r}", hint="write FIELD=VALUE or FIELD!=VALUE, as in status=ready"
            )
        name = _known_field(field, fields)
        names = [name, *([also[name]] if also and name in also else [])]
        left = [one for one in left if any(_matches(one.get(field), value.strip()) for field in names) != differs]
    if listed.sort_by is not None:
        name = _known_field(listed.sort_by, fields)
        left.sort(key=lambda one: _sort_key(one.get(name)))
    if listed.reverse_sort:
        left.reverse()
    return left[listed.offset :][: listed.limit]


def _known_field(field: str, fields: Sequence[str]) -> str:
    name = field if field in fields else _ALIASES.get(field, field)
    if name not in fields:
        raise UnknownWord(f"there is no field {field!r}", hint=did_you_mean(field, fields))
    return name


def _sort_key(value: Any) -> tuple[bool, bool, float, str]:
    """Return a key by which values of any kinds are compared: none first, then numbers, then texts. Keys are numbers in
    texts."""
    number = isinstance(value, (int, float)) or (isinstance(value, str) and value.isdecimal())
    return value is not None, not number, float(value) if number else 0.0, "" if number else _cell(value)


def print_list(name: str, documents: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print `{"jobs": […]}`, or a table of these columns."""
    if torc_options().as_json:
        print_json({name: list(documents)})
        return
    rows = [list(columns), *([_cell(one.get(column)) for column in columns] for one in documents)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _matches(found: Any, value: str) -> bool:
    if isinstance(found, str):
        return found.casefold() == value.casefold()
    try:
        wanted = json.loads(value)
    except ValueError:
        return value.casefold() == _cell(found).casefold()
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)
