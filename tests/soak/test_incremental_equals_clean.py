"""Random projects with random edits: after `run`, they are equal to the result of a run in an empty folder.

Each sequence of edits is a function of its seed. A failure prints the sequence as commands. To repeat one:

    python -m pytest -m "" "tests/soak/test_incremental_equals_clean.py::test_eight_sequences[0]"
    SEED=17 python -m pytest tests/soak/test_incremental_equals_clean.py -k one_seed

SEED plays that sequence alone and then drops the edits that the failure does not need. WITHOUT="each copy_project"
leaves features (named, globs, folders, each, calls, matrix, aggregates, finished, failures, params, env) and edits
(names of functions in project_edits.py) out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from random import Random

import pytest
from edited_project import Commands, Edited, Wrong
from project_edits import random_edit, random_model

WITHOUT = frozenset(os.environ.get("WITHOUT", "").split())


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


def rounds(seed: int) -> list[int]:
    """Return the number of edits before each `run`."""
    rng = Random(f"{seed} rounds")
    return [0, *(rng.randint(1, 3) for _ in range(rng.randint(1, 3)))]


def play(project: Edited, seed: int, drop: Collection[int]) -> None:
    """Make the edits of a seed, except dropped ones; run after every few, and check."""
    numbers = iter(range(100))
    project.write(Random(seed))
    last = len(rounds(seed)) - 1
    for number, edits in enumerate(rounds(seed)):
        for edit in [next(numbers) for _ in range(edits)]:
            if edit not in drop:
                random_edit(project, Random(f"{seed} edit {edit}"))
        project.slots = 2 if Random(f"{seed} slots {number}").random() < 0.3 else 1
        code = project.update()
        if number == last or (number and Random(f"{seed} round {number}").random() < 0.3):
            code = project.retry_failed(code)
            project.check_nothing_left(code)
            project.check_clean(code)
    project.check_originals()


def played(commands: Commands, folder: Path, seed: int, drop: Collection[int] = ()) -> tuple[Edited, str]:
    """Make the edits of a seed. Return (project, the violation or None)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    project = Edited(commands, folder, random_model(Random(f"{seed} model"), WITHOUT), WITHOUT)
    try:
        play(project, seed, drop)
    except Wrong as wrong:
        return project, str(wrong)
    return project, ""


def report(seed: int, project: Edited, wrong: str) -> str:
    again = f"SEED={seed} python -m pytest tests/soak/{Path(__file__).name} -k one_seed"
    lines = [f"seed {seed} (in {project.folder})", *project.log, "", f"again: {again}", f"seed {seed}: {wrong}"]
    return "\n".join(lines)


def check(commands: Commands, folder: Path, seeds: Collection[int]) -> None:
    """Check some seeds, and fail with the log of each violation."""
    reports = []
    for seed in seeds:
        project, wrong = played(commands, folder / str(seed), seed)
        if wrong:
            reports.append(report(seed, project, wrong))
        else:
            shutil.rmtree(folder / str(seed))
    if reports:
        pytest.fail("\n\n".join(reports), pytrace=False)


def test_a_project_follows_from_its_seed() -> None:
    first, second = (random_model(Random("1 model"), WITHOUT).files() for _ in range(2))
    assert first == second != random_model(Random("2 model"), WITHOUT).files()


@pytest.mark.parametrize("chunk", range(2))
def test_eight_sequences(commands: Commands, tmp_path: Path, chunk: int) -> None:
    check(commands, tmp_path, range(chunk * 4, chunk * 4 + 4))


@pytest.mark.soak
@pytest.mark.parametrize("chunk", range(104))
def test_two_thousand_sequences(commands: Commands, tmp_path: Path, chunk: int) -> None:
    check(commands, tmp_path, range(8 + chunk * 20, 28 + chunk * 20))


if "SEED" in os.environ:

    def test_one_seed(commands: Commands, tmp_path: Path) -> None:
        """Check $SEED, and minimize a failing sequence by dropping edits."""
        seed = int(os.environ["SEED"])
        project, wrong = played(commands, tmp_path / "play", seed)
        dropped: set[int] = set()
        for edit in reversed(range(sum(rounds(seed)))) if wrong else ():
            shorter, still = played(commands, tmp_path / "play", seed, {*dropped, edit})
            if still:
                dropped.add(edit)
                project, wrong = shorter, still
        if wrong:
            played(commands, tmp_path / "play", seed, dropped)
            pytest.fail(report(seed, project, wrong), pytrace=False)
