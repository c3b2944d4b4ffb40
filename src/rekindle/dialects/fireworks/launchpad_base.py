"""The store behind a LaunchPad: how it is named and opened, and its errors."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from rekindle.dialects.fireworks.stored_fireworks import StoredFirework, read_fireworks
from rekindle.domain.errors import NotFound, Refused, UsageError
from rekindle.engine.queries import workflow_queries
from rekindle.engine.running import reconcile
from rekindle.engine.session import Session, open_session

if TYPE_CHECKING:
    from rekindle.domain.models import Workflow

LOG = logging.getLogger("rekindle.fireworks")
"""Logs changes and refused changes, as FireWorks' LaunchPad does."""


class LaunchPadNotFound(NotFound, ValueError):
    """A firework, launch or file does not exist. Also a ValueError, which scripts for FireWorks catch."""


class LaunchPadRefused(Refused, ValueError):
    """An operation is not possible in the present state. Also a ValueError, which scripts for FireWorks catch."""


class LaunchPadBase:
    """A store that is opened for each call.

    `store`: a folder or URL as `rekindle --store` takes it. Default: the nearest store, or a new one in the working
    directory. The parameters of a MongoDB (host, port, name, …) are accepted and ignored. A file for `from_file` may
    also contain `store`."""

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        name: str | None = None,
        *database: object,
        store: str | Path | None = None,
        logdir: str | None = None,
        **more: object,
    ) -> None:
        self.host, self.port, self.name, self.logdir = host, port, name, logdir
        self.store = None if store is None else str(store)
        unknown = sorted(set(more) - _IGNORED_PARAMETERS)
        if unknown or len(database) > len(_IGNORED_PARAMETERS):
            raise TypeError(f"LaunchPad has no parameter {', '.join(unknown) or 'beyond those of FireWorks'}")

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Make a LaunchPad from `to_dict` output, of this class or of FireWorks'."""
        known = {key: value for key, value in found.items() if key in {"host", "port", "name", "logdir", "store"}}
        return cls(**known)

    @classmethod
    def from_file(cls, filename: str | Path, f_format: str | None = None) -> Self:
        """Make a LaunchPad from a my_launchpad.yaml (or .json). Raises LaunchPadNotFound if the file is missing."""
        from rekindle.spec.loading import read_bytes, read_tree
        from rekindle.spec.nodes import Problems
        from rekindle.spec.values import data, table

        path = Path(filename)
        if not path.is_file():
            raise LaunchPadNotFound(f"no such file: {path}", hint="LaunchPad() needs none: it is the nearest store")
        problems = Problems(str(path))
        suffix = f".{f_format}" if f_format else path.suffix
        found = table(read_tree(read_bytes(path), suffix, problems), "a LaunchPad's file", problems)
        document = data(found, "a LaunchPad's file", problems) if found is not None else {}
        problems.raise_any()
        return cls.from_dict(document)

    @classmethod
    def auto_load(cls) -> Self:
        """Make a LaunchPad over the nearest store, as LaunchPad() does."""
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters of this LaunchPad."""
        return {key: getattr(self, key) for key in ("host", "port", "name", "logdir", "store")}

    def get_logdir(self) -> str | None:
        """Return the given log folder. Nothing is logged there."""
        return self.logdir

    def opened(self) -> Session:
        """Open the store. Use the session as a context manager."""
        return open_session(self.store, create=True)

    @contextmanager
    def reconciled(self) -> Iterator[Session]:
        """Open the store for a change: the ends of dead runners' attempts are recorded before and after it."""
        with replace(self.opened(), note=LOG.warning) as session, reconcile.reconciled(session):
            yield session


_IGNORED_PARAMETERS = frozenset(
    {
        "username",
        "password",
        "logdir",
        "strm_lvl",
        "user_indices",
        "wf_user_indices",
        "authsource",
        "uri_mode",
        "mongoclient_kwargs",
    }
)
"""Further parameters of FireWorks' LaunchPad."""


def existing_fireworks(session: Session, ids: Iterable[int]) -> list[StoredFirework]:
    """Return these fireworks. Raises LaunchPadNotFound, a ValueError, for the first unknown id."""
    wanted = [int(one) for one in ids]
    found = read_fireworks(session, wanted)
    there = {one.id for one in found}
    for one in wanted:
        if one not in there:
            raise LaunchPadNotFound(f"No Firework exists with id: {one}", hint="get_fw_ids() lists them")
    return found


def workflow_of_firework(session: Session, fw_id: int) -> Workflow:
    """Return the workflow of a firework."""
    existing_fireworks(session, [fw_id])
    (found,) = workflow_queries.owners(session, [fw_id])
    return found


def fireworks_class(name: str) -> Any:
    """Return a class of the package fireworks. Raises UsageError if the package is not installed."""
    try:
        package = importlib.import_module("fireworks")
    except ImportError:
        raise UsageError(
            f"{name} objects are made by the package fireworks, which is not installed",
            hint="pip install 'rekindle[fireworks]'; get_fw_dict_by_id gives the same as a dict",
        ) from None
    return getattr(package, name)
