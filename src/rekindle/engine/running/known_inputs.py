"""What the store knows of a job's larger inputs goes with it to its worker, which then need not read them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.texts.substitution import render
from rekindle.journal.orders import Assignment, Recipe
from rekindle.store.port import Archive

WORTH_TELLING = 1024 * 1024
"""Bytes from which a file takes longer to read than to tell of."""


def with_known_inputs(
    archive: Archive, recipe_of: Callable[[int], Recipe], work: Sequence[Assignment]
) -> list[Assignment]:
    """The assignments, with what is known of the larger files among their inputs."""
    paths = {one.attempt: _paths(recipe, one) for one in work if (recipe := recipe_of(one.recipe)).inputs}
    wanted = {path for found in paths.values() for path in found}
    if not wanted:
        return list(work)
    known = {one.path: one for one in archive.fingerprints.known_files(wanted).values() if one.size >= WORTH_TELLING}
    return [
        msgspec.structs.replace(one, seen=tuple(known[path] for path in paths[one.attempt] if path in known))
        if known and one.attempt in paths
        else one
        for one in work
    ]


def _paths(recipe: Recipe, one: Assignment) -> list[str]:
    """Where its inputs are, as the worker will see it; none where a text has no value, which it will tell."""
    params = {**recipe.params, **(one.params or {})}
    scope = {"params": params, "matrix": one.binding, "job": {"name": one.name, "id": one.job}}
    try:
        found = [render(text, scope) for text in recipe.inputs.values()]
    except RekindleError:
        return []
    return [os.path.normpath(Path(recipe.directory, path)) for path in found]
