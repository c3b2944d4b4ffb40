"""Which store a LaunchPad is, and how it is made."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from rekindle.dialects.fireworks.standing import Standing, owners, standing
from rekindle.domain.errors import NotFound, Refused, UsageError
from rekindle.domain.models import Workflow
from rekindle.engine.running import reconciling
from rekindle.engine.session import Session, open_session

LOG = logging.getLogger("rekindle.fireworks")
"""What is done, and what is left as it is: what FireWorks' LaunchPad logs."""


class NoSuch(NotFound, ValueError):
    """A firework, launch or workflow that is not there. Scripts catch FireWorks' ValueError."""


class Impossible(Refused, ValueError):
    """What cannot be done as things stand. Scripts catch FireWorks' ValueError."""


class Pad:
    """A store, opened for each call.

    `store` is a folder or URL as `rekindle --store` takes it; without it the one that is nearest, or a new one in the
    working directory. All that says where a MongoDB is (host, port, name, …) is taken and has no effect: a file
    that `from_file` reads may say `store`, too.
    """

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
        unknown = sorted(set(more) - _DATABASE)
        if unknown or len(database) > len(_DATABASE):
            raise TypeError(f"LaunchPad has no parameter {', '.join(unknown) or 'beyond those of FireWorks'}")

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """What `to_dict` gave, or FireWorks' own LaunchPad."""
        known = {key: value for key, value in found.items() if key in {"host", "port", "name", "logdir", "store"}}
        return cls(**known)

    @classmethod
    def from_file(cls, filename: str | Path, f_format: str | None = None) -> Self:
        """What a my_launchpad.yaml (or .json) says. NotFound where there is none."""
        from rekindle.spec.files import read_bytes, read_tree
        from rekindle.spec.problems import Problems
        from rekindle.spec.values import data, table

        path = Path(filename)
        if not path.is_file():
            raise NoSuch(f"no such file: {path}", hint="LaunchPad() needs none: it is the nearest store")
        problems = Problems(str(path))
        suffix = f".{f_format}" if f_format else path.suffix
        found = table(read_tree(read_bytes(path), suffix, problems), "a LaunchPad's file", problems)
        document = data(found, "a LaunchPad's file", problems) if found is not None else {}
        problems.raise_any()
        return cls.from_dict(document)

    @classmethod
    def auto_load(cls) -> Self:
        """The nearest store, as LaunchPad() does."""
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """How it was made."""
        return {key: getattr(self, key) for key in ("host", "port", "name", "logdir", "store")}

    def get_logdir(self) -> str | None:
        """As it was given; nothing is logged there."""
        return self.logdir

    def opened(self) -> Session:
        """The store, open: a context manager."""
        return open_session(self.store, create=True)

    @contextmanager
    def reconciled(self) -> Iterator[Session]:
        """Open the store for a call that acts: dead runners are reconciled with before and after."""
        with replace(self.opened(), note=LOG.warning) as session, reconciling.reconciled(session):
            yield session


_DATABASE = frozenset(
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
"""What FireWorks' LaunchPad takes beside host, port and name."""


def fireworks(session: Session, ids: Iterable[int]) -> list[Standing]:
    """These fireworks. NoSuch, a ValueError, names the first that is not there."""
    wanted = [int(one) for one in ids]
    found = standing(session, wanted)
    there = {one.id for one in found}
    for one in wanted:
        if one not in there:
            raise NoSuch(f"No Firework exists with id: {one}", hint="get_fw_ids() lists them")
    return found


def workflow_of(session: Session, fw_id: int) -> Workflow:
    """The workflow that a firework is of."""
    (firework,) = fireworks(session, [fw_id])
    return next(one for one in owners(session, [firework.id]) if one.id == firework.job.workflow)


def real(name: str) -> Any:
    """A class of the real package. UsageError where it is not installed."""
    try:
        package = importlib.import_module("fireworks")
    except ImportError:
        raise UsageError(
            f"{name} objects are made by the package fireworks, which is not installed",
            hint="pip install 'rekindle[fireworks]'; get_fw_dict_by_id gives the same as a dict",
        ) from None
    return getattr(package, name)
