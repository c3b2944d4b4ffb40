"""Names and ids that complete a word of the command line, in lists that are bounded however large the store is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from rekindle.domain.states import State
from rekindle.store.queries import load

if TYPE_CHECKING:
    from rekindle.store.database import Database

SQL = load("completions")

MOST = 100
"""The most names of a list."""

SCANNED = 1_000
"""The number of the newest rows among which ids that begin with typed digits are looked for."""

Named = tuple[str, str]
"""A word, and a remark about what it names."""

_LAST = chr(0x10FFFF)
_STATES = tuple(state.label for state in State)


class Completions:
    """Reads names and ids. `workflow` restricts a list to one workflow; None: all that are not archived."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def workflows(self, typed: str) -> list[Named]:
        """Return the workflows whose names begin with `typed`."""
        return _distinct((name, f"workflow {number}") for name, number in self._begin("workflow_names", typed))

    def jobs(self, typed: str, workflow: int | None) -> list[Named]:
        """Return jobs whose names begin with `typed`."""
        rows = self._begin("job_names", typed, workflow=workflow)
        return _distinct((name, _STATES[state]) for name, state in rows)

    def templates(self, typed: str, workflow: int | None) -> list[tuple[str, tuple[str, ...]]]:
        """Return the newest templates whose names begin with `typed`, each with the names of its steps."""
        rows = self._begin("template_bodies", typed, workflow=workflow)
        return [(name, tuple(step["name"] for step in msgspec.json.decode(body)["steps"])) for name, body in rows]

    def parameters(self, workflow: int | None) -> list[str]:
        """Return the names of the parameters of the newest revisions."""
        rows = self._db.rows(SQL["parameter_texts"], workflow=workflow, limit=MOST)
        return list(dict.fromkeys(name for (text,) in rows for name in msgspec.json.decode(text)))

    def revisions(self, workflow: str) -> list[Named]:
        """Return the numbers of the newest revisions of a workflow, which is named by its id or name."""
        return [(str(number), "") for (number,) in self._newest("revision_numbers", name=workflow)]

    def job_ids(self) -> list[Named]:
        """Return the ids of the newest jobs."""
        return [(str(number), f"{name}: {_STATES[state]}") for number, name, state in self._newest("newest_jobs")]

    def signatures(self) -> list[Named]:
        """Return the newest signatures of failures."""
        rows = self._newest("newest_signatures")
        return [(digest, f"{kind}: {message}" if kind else message) for digest, kind, message in rows]

    def tokens(self) -> list[Named]:
        """Return the ids of the newest tokens."""
        return [(str(number), name) for number, name in self._newest("newest_tokens")]

    def reruns(self) -> list[Named]:
        """Return the ids of the newest reruns."""
        rows = self._newest("newest_reruns")
        return [
            (str(number), f"{kind}, {jobs} jobs" + (f": {note}" if note else "")) for number, kind, jobs, note in rows
        ]

    def attempts(self) -> list[Named]:
        """Return the ids of the newest attempts."""
        rows = self._newest("newest_attempts")
        return [
            (str(number), f"{job}, attempt {nth}: {cause or _STATES[state]}") for number, job, nth, state, cause in rows
        ]

    def _begin(self, query: str, typed: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        return iter(self._db.rows(SQL[query], low=typed, high=typed + _LAST, limit=MOST + 1, **values))

    def _newest(self, query: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        return iter(self._db.rows(SQL[query], limit=SCANNED, **values))


def _distinct(found: Iterator[Named]) -> list[Named]:
    """Return the first remark of each word."""
    words: dict[str, str] = {}
    for word, remark in found:
        words.setdefault(word, remark)
    return list(words.items())
