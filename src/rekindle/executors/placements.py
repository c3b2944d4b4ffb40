"""Find a placement by the executor's name: a part of rekindle, or an entry point of another package."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from rekindle.domain.errors import ExecutorError, UnknownWord
from rekindle.executors.placement import ENTRY_POINTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rekindle.executors.placement import Placement


class BuiltIn(NamedTuple):
    """A placement in rekindle: its module, its class, and the extra that installs what the module imports."""

    module: str
    factory: str
    extra: str = ""


BUILT_IN = {
    "slurm": BuiltIn("rekindle.executors.slurm", "SlurmPlacement"),
    "dask": BuiltIn("rekindle.executors.dask", "DaskPlacement", "dask"),
}


def find_placement(name: str, address: str | None) -> Placement:
    """Return the placement of an executor, for the engine at `address`. A built-in name precedes an entry point.

    Raise UnknownWord if there is no such executor, and ExecutorError if it cannot be imported."""
    return find_factory(name)(address)


def find_factory(name: str) -> Callable[[str | None], Placement]:
    """Return the function that makes the placement of an executor of an address. Raises as `find_placement` does."""
    return _built_in(BUILT_IN[name]) if name in BUILT_IN else _offered(name)


def placement_names() -> list[str]:
    """Return the names of the executors that have a placement."""
    return sorted({*BUILT_IN, *entry_points(group=ENTRY_POINTS).names})


def _built_in(found: BuiltIn) -> Callable[[str | None], Placement]:
    try:
        factory: Callable[[str | None], Placement] = getattr(import_module(found.module), found.factory)
    except ModuleNotFoundError as error:
        if not found.extra or (error.name or "").startswith("rekindle"):
            raise
        raise ExecutorError(
            f"the executor needs the Python module {error.name}, which is not installed",
            hint=f"pip install 'rekindle[{found.extra}]'",
        ) from None
    return factory


def _offered(name: str) -> Callable[[str | None], Placement]:
    offered = entry_points(group=ENTRY_POINTS)
    if name not in offered.names:
        raise UnknownWord(
            f"there is no executor {name!r}", hint=f"executors here: {', '.join(sorted(['local', *placement_names()]))}"
        )
    point = offered[name]
    try:
        factory: Callable[[str | None], Placement] = point.load()
    except (ImportError, AttributeError) as error:
        package = f" of {point.dist.name}" if point.dist else ""
        raise ExecutorError(f"the executor {name!r}{package} cannot be loaded from {point.value}: {error}") from error
    return factory
