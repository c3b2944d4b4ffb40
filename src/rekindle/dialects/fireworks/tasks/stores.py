"""The store that a launch is of, as far as a task can tell."""

from __future__ import annotations

import os
from pathlib import Path

from rekindle.dialects.fireworks.tasks.given import BadTask

FOLDER, VARIABLE = ".rekindle", "REKINDLE_STORE"


def nearest_store(who: str) -> str:
    """`$REKINDLE_STORE`, else the nearest .rekindle at or above the working directory. BadTask where there is none:
    the store was named on the command line, and launches are not told."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    here = Path.cwd()
    for folder in (here, *here.parents):
        store = folder if folder.name == FOLDER else folder / FOLDER
        if store.is_dir():
            return str(store)
    raise BadTask(f"{who} finds no {FOLDER} at or above {here}", hint=f"set ${VARIABLE} where launches are run")


def store_folder(who: str) -> Path:
    """The folder of that store. BadTask where it is in none."""
    named = nearest_store(who).removeprefix("sqlite:///")
    if "://" in named or not Path(named).is_dir():
        raise BadTask(f"{who} keeps files in the folder of a store, and {named} is none")
    return Path(named)
