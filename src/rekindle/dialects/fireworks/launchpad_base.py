"""The store behind a LaunchPad: how it is named and opened, and its errors."""

from __future__ import annotations

import importlib
import json
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
    from rekindle.engine.running.detached import DetachedOrder

LOG = logging.getLogger("rekindle.fireworks")
"""Logs changes and refused changes, as FireWorks' LaunchPad does."""


class LaunchPadNotFound(NotFound, ValueError):
    """A firework, launch or file does not exist. Also a ValueError, which scripts for FireWorks catch."""


class LaunchPadFileNotFound(LaunchPadNotFound, FileNotFoundError):
    """A file does not exist. Also a FileNotFoundError, which FireWorks raises."""


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
        self._orders: dict[int, DetachedOrder] = {}  # of the launches that this object has reserved
        unknown = sorted(set(more) - _IGNORED_PARAMETERS)
        if unknown or len(database) > len(_IGNORED_PARAMETERS):
            raise TypeError(f"LaunchPad has no parameter {', '.join(unknown) or 'beyond those of FireWorks'}")

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Make a LaunchPad from `to_dict` output, of this class or of FireWorks'."""
        known = {key: value for key, value in d.items() if key in {"host", "port", "name", "logdir", "store"}}
        return cls(**known)

    @classmethod
    def from_file(cls, filename: str | Path, f_format: str | None = None) -> Self:
        """Make a LaunchPad from a my_launchpad.yaml (or .json). Raises LaunchPadNotFound if the file is missing."""
        from rekindle.spec.loading import read_bytes

        path = Path(filename)
        if not path.is_file():
            raise LaunchPadFileNotFound(
                f"No such file or directory: '{path}'", hint="LaunchPad() needs none: it is the nearest store"
            )
        return cls._read(read_bytes(path), f_format or path.suffix.removeprefix("."), str(path))

    @classmethod
    def from_format(cls, f_str: str, f_format: str = "json") -> Self:
        """Make a LaunchPad from the text that `to_format` returns."""
        return cls._read(f_str.encode(), _known_format(f_format), "a LaunchPad's text")

    @classmethod
    def _read(cls, content: bytes, f_format: str, where: str) -> Self:
        from rekindle.spec.loading import read_tree
        from rekindle.spec.nodes import Problems
        from rekindle.spec.values import data, table

        problems = Problems(where)
        found = table(read_tree(content, f".{f_format}", problems), "a LaunchPad's file", problems)
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

    def as_dict(self) -> dict[str, Any]:
        """Return the same as `to_dict`."""
        return self.to_dict()

    def to_db_dict(self) -> dict[str, Any]:
        """Return the same as `to_dict`."""
        return self.to_dict()

    def to_format(self, f_format: str = "json", **kwargs: Any) -> str:
        """Return the parameters of this LaunchPad as a text: json (`kwargs` as for json.dumps) or yaml."""
        if _known_format(f_format) == "json":
            return json.dumps(self.to_dict(), **kwargs)
        import yaml

        text: str = yaml.safe_dump(self.to_dict(), default_flow_style=False, allow_unicode=True)
        return text

    def to_file(self, filename: str | Path, f_format: str | None = None, **kwargs: Any) -> None:
        """Write the parameters of this LaunchPad to a file, in the format that its name ends with."""
        path = Path(filename)
        text = self.to_format(f_format or path.suffix.removeprefix("."), **kwargs)
        path.write_text(text, encoding="utf-8")

    @property
    def fw_name(self) -> str:
        """Return the name under which FireWorks serializes a LaunchPad."""
        return "fireworks::LaunchPad"

    @property
    def m_logger(self) -> logging.Logger:
        """Return the logger of changes and refused changes."""
        return LOG

    def log_message(self, level: int, message: str) -> None:
        """Log a message."""
        LOG.log(level, message)

    def tuneup(self, bkground: bool = True) -> None:  # noqa: ARG002 (FireWorks' signature)
        """Do nothing: the store has its indexes."""
        LOG.info("Performing db tune-up")

    def restore_backup_data(self, launch_id: int, fw_id: int) -> None:
        """Do nothing: an end that cannot be recorded leaves launch and firework as they were."""

    def get_new_fw_id(self, quantity: int = 1) -> int:  # noqa: ARG002 (FireWorks' signature)
        """Raise LaunchPadRefused: the store numbers fireworks when they are added."""
        raise LaunchPadRefused(
            "Could not get next FW id: the store numbers fireworks when they are added",
            hint="add_wf and append_wf return the new ids by those in the workflow",
        )

    def get_new_launch_id(self) -> int:
        """Raise LaunchPadRefused: the store numbers launches when they begin."""
        raise LaunchPadRefused(
            "Could not get next launch id: the store numbers launches when they begin",
            hint="reserve_fw and checkout_fw return the new id",
        )

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


def _known_format(f_format: str) -> str:
    if f_format not in _FORMATS:
        raise LaunchPadRefused(f"Unsupported format {f_format}", hint=f"formats are {', '.join(_FORMATS)}")
    return f_format


_FORMATS = ("json", "yaml")

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


NO_FIREWORK, NO_FW, NO_WORKFLOW = (
    "No Firework exists with id: {}",
    "FW with id: {} not found!",
    "Could not find a Workflow with fw_id={}",
)
"""FireWorks' messages for an unknown id, which scripts search for."""


def existing_fireworks(session: Session, ids: Iterable[int], message: str = NO_FIREWORK) -> list[StoredFirework]:
    """Return these fireworks. Raises LaunchPadNotFound, a ValueError, with this message for the first unknown id."""
    wanted = [int(one) for one in ids]
    found = read_fireworks(session, wanted)
    there = {one.id for one in found}
    for one in wanted:
        if one not in there:
            raise LaunchPadNotFound(message.format(one), hint="get_fw_ids() lists them")
    return found


def workflow_of_firework(session: Session, fw_id: int) -> Workflow:
    """Return the workflow of a firework."""
    existing_fireworks(session, [fw_id], NO_WORKFLOW)
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
