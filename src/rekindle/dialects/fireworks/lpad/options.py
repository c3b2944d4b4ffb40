"""Options that lpad's commands share, how they are parsed, and which fireworks or workflows they select."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from msgspec.structs import replace

from rekindle.dialects.fireworks.firework_operations import read_matching
from rekindle.dialects.fireworks.fw_states import STATES
from rekindle.dialects.fireworks.lpad.messages import confirm_change, print_unchanged
from rekindle.dialects.fireworks.queries import select_fireworks, select_workflows
from rekindle.dialects.fireworks.stored_fireworks import StoredFirework, read_fireworks
from rekindle.domain.errors import BadSelection, NotFound, UsageError
from rekindle.query.job_keys import parse_ids

if TYPE_CHECKING:
    from rekindle.engine.session import Session

_IDS = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]*(?:-[0-9]+)?)*,?")


class MultiValueOption(click.Option):
    """An option that takes all words up to the next option (`-i 1 2 3`); with `ids`, as long as they look like ids."""

    def __init__(self, *args: Any, ids: bool = False, **kwargs: Any) -> None:
        kwargs["multiple"] = True
        super().__init__(*args, **kwargs)
        self.ids = ids

    def accepts(self, word: str) -> bool:
        """Return whether this word is another value."""
        return bool(_IDS.fullmatch(word)) if self.ids else not word.startswith("-")


class LpadCommand(click.Command):
    """A command whose options may take several words and whose long options may be abbreviated."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite the words for click, then parse them."""
        return super().parse_args(ctx, list(_expand_words(args, self.params)))


def _expand_words(words: Sequence[str], params: Sequence[click.Parameter]) -> Iterator[str]:
    """Yield the words with the option's full name before each of its values.

    While a positional argument is missing, an option takes a single value: the next word is the argument."""
    options = {name: one for one in params if isinstance(one, click.Option) for name in one.opts}
    arguments_left = sum(isinstance(one, click.Argument) and one.nargs != -1 for one in params)
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if word == "--":
            yield from (word, *remaining)
            return
        name, equals, value = word.partition("=")
        name = _full_name(name, options)
        option = options.get(name)
        if option is None:
            arguments_left -= not word.startswith("-")
            yield word
            continue
        yield name + equals + value
        if option.is_flag or (not equals and not remaining):
            continue
        if not equals:
            yield remaining.pop(0)
        while (
            remaining and isinstance(option, MultiValueOption) and arguments_left <= 0 and option.accepts(remaining[0])
        ):
            yield from (name, remaining.pop(0))


def _full_name(name: str, options: dict[str, click.Option]) -> str:
    """Return the full name of an abbreviated long option, if it is unambiguous."""
    if name in options or not name.startswith("--") or name == "--":
        return name
    found = [known for known in options if known.startswith(name)]
    same = {id(options[known]) for known in found}
    return found[0] if len(same) == 1 else name


_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])

STATE = click.Choice(STATES, case_sensitive=False)

DISPLAYS = ("all", "more", "less", "ids", "count", "reservations")

_QUERY_HELP = """A MongoDB filter, for instance '{"spec.alpha": {"$gt": 0.5}}'."""

password_option = click.option(
    "--password",
    metavar="DATE",
    help="Today's date (2012-02-25): change more than 10 entries without a question.",
)
"""Sets `password`."""

display_option = click.option(
    *("-d", "--display_format"),
    type=click.Choice(DISPLAYS, case_sensitive=False),
    default="less",
    help="How much to show. [default: less]",
)
"""Sets `display_format`."""

launches_option = click.option(
    *("-lm", "--launches_mode", "--launch_mode"),
    "launches",
    is_flag=True,
    help="Match -s and -q against live launches.",
)
"""Sets `launches`."""


def firework_options(command: _CommandT) -> _CommandT:
    """Add options that select fireworks: `ids`, `name`, `state`, `query` and `launches`."""
    return _filter_options("fireworks")(launches_option(command))


def workflow_options(command: _CommandT) -> _CommandT:
    """Add options that select workflows: `ids`, `name`, `state` and `query`."""
    return _filter_options("workflows")(command)


def sort_options(command: _CommandT) -> _CommandT:
    """Add `most`, `sort` and `rsort`."""
    field = click.Choice(["created_on", "updated_on"])
    command = click.option("--rsort", type=field, help="Newest first, by this date.")(command)
    command = click.option("--sort", type=field, help="Oldest first, by this date.")(command)
    return click.option(
        "-m", "--max", "most", type=click.IntRange(min=0), default=0, metavar="N", help="Show at most this many."
    )(command)


def _filter_options(what: str) -> Callable[[_CommandT], _CommandT]:
    def decorate(command: _CommandT) -> _CommandT:
        which = "Fireworks" if what == "fireworks" else "Workflows with fireworks"
        for option in reversed(
            [
                click.option(
                    *("-i", "--fw_id", "ids"),
                    cls=MultiValueOption,
                    ids=True,
                    metavar="IDS",
                    help=f"{which} by id: 1 2 3 or 1,2,3.",
                ),
                click.option("-n", "--name", metavar="NAME", help=f"{what.capitalize()} of this name."),
                click.option("-s", "--state", type=STATE, help=f"{what.capitalize()} in this state."),
                click.option("-q", "--query", metavar="JSON", help=_QUERY_HELP),
            ]
        ):
            command = option(command)
        return command

    return decorate


_QUERY_HINT = """as in -q '{"state": "FIZZLED"}'"""


class FireworkFilter(msgspec.Struct, frozen=True):
    """The selection options of a command. Each one narrows the selection."""

    ids: tuple[str, ...] = ()
    name: str | None = None
    state: str | None = None
    query: str | None = None
    launches: bool = False  # match state and query against launches
    most: int = 0  # 0: all
    sort: tuple[str, bool] | None = None  # (field, whether it descends)

    @property
    def is_empty(self) -> bool:
        """Return whether no option selects anything."""
        return not self.ids and self.name is None and self.state is None and self.query is None

    @property
    def by_state(self) -> bool:
        """Return whether a firework can match at one time and not at another."""
        return self.state is not None or self.query is not None

    @property
    def whole(self) -> FireworkFilter:
        """Return the filter without order and limit."""
        return replace(self, most=0, sort=None)

    def as_document(self) -> dict[str, Any]:
        """Return the given options, for the record of a rerun."""
        given = {"ids": list(self.ids), "name": self.name, "state": self.state, "query": self.query}
        return {key: value for key, value in given.items() if value} | ({"launches": True} if self.launches else {})


def sort_order(sort: str | None, rsort: str | None) -> tuple[str, bool] | None:
    """Return the field of --sort or --rsort and whether it is descending. Raises UsageError for both."""
    if sort is not None and rsort is not None:
        raise UsageError("--sort and --rsort exclude each other", hint="--sort: oldest first; --rsort: newest first")
    return (sort, False) if sort is not None else (rsort, True) if rsort is not None else None


def required_fireworks(session: Session, chosen: FireworkFilter, what: str) -> list[int]:
    """Return the fireworks that a command changes. Raises UsageError without a selection, and NotFound for an unknown
    id or name."""
    _check_not_empty(chosen, f"{what} what? nothing says which fireworks")
    ids = _filter_ids(chosen)
    if ids:
        _check_known(session, ids, _UNKNOWN_FIREWORK.get(what, "No Firework exists with id: {}"))
    found = filter_fireworks(session, chosen)
    if chosen.name is not None and not found and not select_fireworks(session, {"name": chosen.name}):
        raise NotFound(f"no firework is named {chosen.name!r:.100}", hint="`lpad get_fws` lists them; nothing is done")
    return found


def required_workflows(session: Session, chosen: FireworkFilter, what: str) -> list[int]:
    """Return the workflows that a command changes, by store id. Raises as `required_fireworks`."""
    _check_not_empty(chosen, f"{what} what? nothing says which workflows")
    ids = _filter_ids(chosen)
    if ids:
        _check_known(session, ids, _UNKNOWN_WORKFLOW.get(what, "Could not find a Workflow with fw_id={}"))
    found = filter_workflows(session, chosen)
    if chosen.name is not None and not found and not select_workflows(session, {"name": chosen.name}):
        raise NotFound(
            f"no workflow is named {chosen.name!r:.100}", hint="`lpad get_wflows` lists them; nothing is done"
        )
    return found


def confirmed_fireworks(
    session: Session, chosen: FireworkFilter, what: str, password: str | None
) -> tuple[dict[int, str], list[StoredFirework], dict[int, str]]:
    """Ask before many fireworks are changed. Return the names of those that were selected, those that are still
    selected after the answer, and the reason for each of the others."""
    ids = required_fireworks(session, chosen, what)
    confirm_change(ids, password)
    names = {one.id: one.job.name for one in read_fireworks(session, ids)}
    matching = partial(filter_fireworks, session, chosen.whole) if chosen.by_state else None
    return names, *read_matching(session, ids, matching)


def confirmed_workflows(session: Session, chosen: FireworkFilter, what: str, password: str | None) -> list[int]:
    """Ask before many workflows are changed. Return those that are still selected after the answer, by store id."""
    workflows = required_workflows(session, chosen, what)
    confirm_change(workflows, password)
    if not chosen.by_state:
        return workflows
    kept = set(filter_workflows(session, chosen.whole))
    gone = [(one, "it is not selected any more") for one in workflows if one not in kept]
    print_unchanged(gone, {number: "(workflow)" for number, _ in gone})
    return [one for one in workflows if one in kept]


def parse_query(text: str) -> dict[str, Any]:
    """Parse a filter, written as JSON or as a Python dict. Raises BadSelection."""
    try:
        found = json.loads(text)
    except ValueError as wrong:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise BadSelection(f"-q is not a filter: {wrong}", hint=_QUERY_HINT) from None
    if not isinstance(found, dict):
        raise BadSelection(f"-q is an object, not {text!r:.60}", hint=_QUERY_HINT)
    return found


def _filter_ids(chosen: FireworkFilter) -> tuple[int, ...]:
    return parse_ids(chosen.ids) if chosen.ids else ()


def filter_fireworks(session: Session, chosen: FireworkFilter) -> list[int]:
    """Return the selected fireworks; all without a selection."""
    sort, query = _sort(chosen), _state_and_query(chosen)
    plain = _all_of(_ids_query("fw_id", _filter_ids(chosen)), {} if chosen.name is None else {"name": chosen.name})
    if not chosen.launches:
        return select_fireworks(session, _all_of(plain, query), sort=sort, limit=chosen.most)
    found = select_fireworks(session, query, launches=True, sort=sort)
    if plain:
        kept = set(select_fireworks(session, plain))
        found = [one for one in found if one in kept]
    return found[: chosen.most or None]


def filter_workflows(session: Session, chosen: FireworkFilter) -> list[int]:
    """Return the selected workflows by store id; all without a selection."""
    plain = _all_of(_ids_query("nodes", _filter_ids(chosen)), {} if chosen.name is None else {"name": chosen.name})
    return select_workflows(session, _all_of(plain, _state_and_query(chosen)), sort=_sort(chosen), limit=chosen.most)


def _ids_query(field: str, ids: Sequence[int]) -> dict[str, Any]:
    return {field: {"$in": list(ids)}} if ids else {}


def _all_of(*queries: dict[str, Any]) -> dict[str, Any]:
    found = [one for one in queries if one]
    return found[0] if len(found) == 1 else {"$and": found} if found else {}


def _state_and_query(chosen: FireworkFilter) -> dict[str, Any]:
    query = {} if chosen.query is None else parse_query(chosen.query)
    return _all_of({} if chosen.state is None else {"state": chosen.state}, query)


def _sort(chosen: FireworkFilter) -> list[tuple[str, int]]:
    return [] if chosen.sort is None else [(chosen.sort[0], -1 if chosen.sort[1] else 1)]


def _check_not_empty(chosen: FireworkFilter, message: str) -> None:
    if chosen.is_empty:
        raise UsageError(message, hint="-i IDS, -n NAME, -s STATE or -q QUERY; -q '{}' means all")


_UNKNOWN_FIREWORK = {
    "rerun": "FW with id: {} not found!",
    "defuse": "FW with id: {} not found!",
    "pause": "No pausable (WAITING,READY,RESERVED) Firework exists with fw_id={}",
}
_UNKNOWN_WORKFLOW = {"unlock": "Could not find workflow in database: {}"}
"""FireWorks' messages for unknown ids, by what a command does; scripts search for them."""


def _check_known(session: Session, ids: Sequence[int], message: str) -> None:
    known = set(select_fireworks(session, _ids_query("fw_id", ids)))
    missing = [str(one) for one in ids if one not in known]
    if missing:
        more = ", ".join(missing[1:10]) + (" …" if len(missing) > 10 else "")
        said = message.format(missing[0]) + (f" (nor {more})" if more else "")
        raise NotFound(f"{said}: nothing is done", hint="`lpad get_fws` lists them")
