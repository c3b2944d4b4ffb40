"""A shop floor for tests: real workers in a temporary store, given work and watched through their journals."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rekindle.domain.definition import Step
from rekindle.executors.local import LocalExecutor
from rekindle.executors.port import WorkerInfo
from rekindle.journal.ledger import read
from rekindle.journal.orders import Assignment, Recipe
from rekindle.journal.processes import start_of
from rekindle.journal.records import Ended, Record, Returned, Started

BOUND = 30.0


class Floor:
    """Workers of a LocalExecutor, a project folder, and everything journalled so far."""

    def __init__(self, folder: Path, slots: int = 1) -> None:
        self.store = folder / "store"
        self.store.mkdir()
        self.project = folder / "project"
        self.project.mkdir()
        self.executor = LocalExecutor(str(self.store))
        self.workers: list[WorkerInfo] = list(self.executor.open(slots))
        self.journals: dict[str, str] = {worker.name: worker.journal for worker in self.workers}
        self.records: dict[str, list[Record]] = {}
        self.gone: list[str] = []
        self._positions: dict[str, int] = {}
        self._recipes: list[Recipe] = []
        self._attempts = 0

    def recipe(self, *steps: Step, **more: Any) -> Recipe:
        """A new recipe for the project folder."""
        more.setdefault("directory", str(self.project))
        recipe = Recipe(id=len(self._recipes) + 1, workflow="wf", steps=steps, **more)
        self._recipes.append(recipe)
        return recipe

    def make(self, recipe: Recipe, **more: Any) -> Assignment:
        """A new assignment; it is not given to anybody yet."""
        self._attempts += 1
        number = self._attempts
        values: dict[str, Any] = {
            "attempt": number,
            "token": secrets.token_hex(8),  # what has died is looked for by it, on the whole machine
            "job": 100 + number,
            "name": f"job{number}",
            "number": 1,
            "recipe": recipe.id,
            "folder": str(self.store / "attempts" / "00" / str(number)),
        }
        return Assignment(**{**values, **more})

    def give(self, *work: Assignment, worker: int = -1) -> None:
        """Hand work to a worker (the newest one)."""
        self.executor.assign(self.workers[worker].name, self._recipes, work)

    def run(self, *steps: Step, more: dict[str, Any] | None = None, **recipe: Any) -> Ended:
        """One attempt of a new recipe, from its start to its end."""
        work = self.make(self.recipe(*steps, **recipe), **(more or {}))
        self.give(work)
        return self.end_of(work)

    def command(self, run: str | tuple[str, ...], **recipe: Any) -> Ended:
        """One attempt of one command."""
        return self.run(Step("main", run=run), **recipe)

    def module(self, name: str, text: str) -> None:
        """Write a Python module into the project."""
        (self.project / f"{name}.py").write_text(text)

    def call(self, name: str, args: dict[str, Any] | None = None, **recipe: Any) -> Ended:
        """One attempt of one call."""
        return self.run(Step("main", call=name, args=args or {}), **recipe)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Read journals until `condition` holds; its value."""
        limit = time.monotonic() + BOUND
        while not (found := condition()):
            assert time.monotonic() < limit, f"waited in vain; journalled: {self.records}"
            self.executor.wait(0.05)
            self.look()
        return found

    def look(self) -> None:
        """Read what has been journalled since, and note who is gone."""
        self.gone += [gone.name for gone in self.executor.gone()]
        for name, path in self.journals.items():
            records, self._positions[name] = read(path, self._positions.get(name, 0))
            self.records.setdefault(name, []).extend(records)

    def all(self, kind: type[Any]) -> list[Any]:
        """Every record of a kind, over all journals."""
        return [record for records in self.records.values() for record in records if isinstance(record, kind)]

    def ends(self) -> dict[str, Ended]:
        """By token; each attempt ends once only."""
        found: dict[str, Ended] = {}
        for record in self.all(Ended):
            assert record.token not in found, f"{record.token} ended twice"
            found[record.token] = record
        return found

    def end_of(self, work: Assignment) -> Ended:
        """Wait for the end of an attempt."""
        end: Ended = self.until(lambda: self.ends().get(work.token))
        return end

    def started(self, work: Assignment) -> bool:
        """Its start is journalled."""
        return any(record.token == work.token for record in self.all(Started))

    def returned(self) -> list[str]:
        """The tokens that were given back."""
        return [token for record in self.all(Returned) for token in record.tokens]

    def log(self, work: Assignment, stream: str = "out", position: int = 0) -> str | None:
        """What a step printed; None: there is no such file."""
        path = Path(f"{work.folder}.{position}.{stream}")
        return path.read_text() if path.exists() else None

    def replace(self, worker: WorkerInfo) -> None:
        """Start another in the place of one that is gone."""
        info = self.executor.replace(worker.name)
        self.workers.append(info)
        self.journals[info.name] = info.journal

    def close(self) -> None:
        """End all workers."""
        self.executor.close(0.0)


def pid_in(path: Path) -> int | None:
    """The pid that a test's process has written there, once it is whole."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None


def alive(pid: int) -> bool:
    """A process runs (a zombie does not)."""
    return start_of(pid) is not None


def write_pid(path: Path) -> str:
    """A shell fragment that writes the shell's pid there, whole at once."""
    return f"echo $$ > {path}.new && mv {path}.new {path}"


def only_files_in(folder: Path) -> list[str]:
    """The names of all that is under a folder, directories left out."""
    return sorted(os.path.relpath(path, folder) for path in folder.rglob("*") if path.is_file())
