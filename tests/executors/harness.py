"""A test harness: real workers in a temporary store, which are assigned work and whose journals are read."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rekindle.domain.definition import Step
from rekindle.executors.local import LocalExecutor
from rekindle.executors.pool import WorkerInfo
from rekindle.journal.log import read_records
from rekindle.journal.orders import Assignment, TaskTemplate
from rekindle.journal.processes import start_of
from rekindle.journal.records import Ended, Record, Returned, Started

BOUND = 30.0


class WorkerHarness:
    """Workers of a LocalExecutor, a project folder, and the records journalled so far."""

    def __init__(self, folder: Path, slots: int = 1) -> None:
        self.store = folder / "store"
        self.store.mkdir()
        self.project = folder / "project"
        self.project.mkdir()
        self.executor = LocalExecutor(str(self.store))
        self.workers: list[WorkerInfo] = [self.executor.open() for _ in range(slots)]
        self.journals: dict[str, str] = {worker.name: worker.journal for worker in self.workers}
        self.records: dict[str, list[Record]] = {}
        self.gone: list[str] = []
        self._positions: dict[str, int] = {}
        self._recipes: list[TaskTemplate] = []
        self._attempts = 0

    def recipe(self, *steps: Step, **more: Any) -> TaskTemplate:
        """Make a task template for the project folder."""
        more.setdefault("directory", str(self.project))
        recipe = TaskTemplate(id=len(self._recipes) + 1, workflow="wf", steps=steps, **more)
        self._recipes.append(recipe)
        return recipe

    def make(self, recipe: TaskTemplate, **more: Any) -> Assignment:
        """Make an assignment. It is not given to a worker yet."""
        self._attempts += 1
        number = self._attempts
        values: dict[str, Any] = {
            "attempt": number,
            "token": secrets.token_hex(8),  # unique: processes of dead workers are found by it on the whole host
            "job": 100 + number,
            "name": f"job{number}",
            "number": 1,
            "template": recipe.id,
            "folder": str(self.store / "attempts" / "00" / str(number)),
        }
        return Assignment(**{**values, **more})

    def give(self, *work: Assignment, worker: int = -1) -> None:
        """Assign work to a worker, by default the newest one."""
        self.executor.assign(self.workers[worker].name, self._recipes, work)

    def run(self, *steps: Step, more: dict[str, Any] | None = None, **recipe: Any) -> Ended:
        """Run one attempt of a new task template, and return its end."""
        work = self.make(self.recipe(*steps, **recipe), **(more or {}))
        self.give(work)
        return self.end_of(work)

    def command(self, run: str | tuple[str, ...], **recipe: Any) -> Ended:
        """Run one attempt of one command."""
        return self.run(Step("main", run=run), **recipe)

    def module(self, name: str, text: str) -> None:
        """Write a Python module into the project."""
        (self.project / f"{name}.py").write_text(text)

    def call(self, name: str, args: dict[str, Any] | None = None, **recipe: Any) -> Ended:
        """Run one attempt of one call."""
        return self.run(Step("main", call=name, args=args or {}), **recipe)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Read journals until `condition` holds, and return its value."""
        limit = time.monotonic() + BOUND
        while not (found := condition()):
            assert time.monotonic() < limit, f"waited for {BOUND} s; journalled: {self.records}"
            self.executor.wait(0.05)
            self.look()
        return found

    def look(self) -> None:
        """Read new records of all journals, and note the workers that have ended."""
        self.gone += [gone.name for gone in self.executor.gone()]
        for name, path in self.journals.items():
            records, self._positions[name] = read_records(path, self._positions.get(name, 0))
            self.records.setdefault(name, []).extend(records)

    def all(self, kind: type[Any]) -> list[Any]:
        """Return all records of a kind, from all journals."""
        return [record for records in self.records.values() for record in records if isinstance(record, kind)]

    def ends(self) -> dict[str, Ended]:
        """Return the ends by token, and assert that each attempt ends once."""
        found: dict[str, Ended] = {}
        for record in self.all(Ended):
            assert record.token not in found, f"{record.token} ended twice"
            found[record.token] = record
        return found

    def end_of(self, work: Assignment) -> Ended:
        """Wait for the end of an attempt, and return it."""
        end: Ended = self.until(lambda: self.ends().get(work.token))
        return end

    def started(self, work: Assignment) -> bool:
        """Return whether the start of an attempt is journalled."""
        return any(record.token == work.token for record in self.all(Started))

    def returned(self) -> list[str]:
        """Return the tokens that were given back."""
        return [token for record in self.all(Returned) for token in record.tokens]

    def log(self, work: Assignment, stream: str = "out", position: int = 0) -> str | None:
        """Return the log of a step, or None if there is no file."""
        path = Path(f"{work.folder}.{position}.{stream}")
        return path.read_text() if path.exists() else None

    def add_worker(self) -> None:
        """Start another worker."""
        info = self.executor.open()
        self.workers.append(info)
        self.journals[info.name] = info.journal

    def close(self) -> None:
        """Stop all workers."""
        self.executor.close(0.0)


def pid_in(path: Path) -> int | None:
    """Return the pid that a process has written to a file, or None before it is complete."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None


def alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    return start_of(pid) is not None


def write_pid(path: Path) -> str:
    """Return a shell fragment that writes the shell's pid to a file, atomically."""
    return f"echo $$ > {path}.new && mv {path}.new {path}"


def only_files_in(folder: Path) -> list[str]:
    """Return the relative paths of all files in a folder."""
    return sorted(os.path.relpath(path, folder) for path in folder.rglob("*") if path.is_file())
