"""Users' own Firetasks: classes found by their names, run unchanged with the real fireworks package."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from rekindle.dialects.fireworks.tasks.configuration import Configuration, configuration
from rekindle.dialects.fireworks.tasks.fworkers import fworker
from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec, needs_package
from rekindle.dialects.fireworks.tasks.stores import nearest_store

_found: dict[str, type[Any]] = {}


def foreign_task(given: Given, spec: Spec) -> Any:
    """Run the Firetask of that name: `{{package.module.Class}}`, with or without the braces, `package.module:Class`, or
    a name under which a class of USER_PACKAGES is registered. It and its spec are decoded by FireWorks itself, so that
    objects in them are objects."""
    found = find_class(given.name)
    task = found.from_dict(dict(given))
    if spec.get("_add_launchpad_and_fw_id"):
        from rekindle.dialects.fireworks import LaunchPad

        task.fw_id = int(os.environ["REKINDLE_JOB"])
        task.launchpad = LaunchPad(store=nearest_store(given.name))
    if spec.get("_add_fworker"):
        told = {key: value for key, value in fworker().items() if key in ("name", "category", "query", "env")}
        task.fworker = importlib.import_module("fireworks.core.fworker").FWorker(**told)
    return task.run_task(_decoded(spec))


def find_class(name: str) -> type[Any]:
    """The class of a Firetask. BadTask when there is none, or several, or the fireworks package is missing."""
    if name not in _found:
        importlib.invalidate_caches()
        known = configuration()
        with _read_by_fireworks(known):
            _found[name] = _named(name) or _registered(name, known) or _missing(name, known)
    return _found[name]


def _named(name: str) -> type[Any] | None:
    """Of `package.module.Class`; None: there is no such module or class."""
    module_name, _, class_name = name.replace(":", ".").rpartition(".")
    if not module_name or "::" in name or not name.replace(":", ".").replace(".", "").isidentifier():
        return None
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if _lacks_fireworks(error):
            raise needs_package(f"the Firetask {name}", "fireworks") from error
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        return None
    found = getattr(module, class_name, None)
    return found if _is_task(found) else None


def _registered(name: str, known: Configuration) -> type[Any] | None:
    """Of the first package that has a class of that name; `root::Class`, which FireWorks gives to those without a name
    of their own, is looked for in that root too."""
    root, _, class_name = name.partition("::")
    packages = (root, *known.packages) if class_name else known.packages
    for package in packages:
        classes = {found for module in _modules(package, name) for found in _classes(module, name)}
        if len(classes) > 1:
            every = ", ".join(sorted(f"{{{{{one.__module__}.{one.__name__}}}}}" for one in classes))
            raise BadTask(
                f"several Firetasks are named {name!r:.120}: {every}", hint="write one of these as `_fw_name`"
            )
        if classes:
            return classes.pop()
    return None


def _missing(name: str, known: Configuration) -> type[Any]:
    if importlib.util.find_spec("fireworks") is None:
        raise needs_package(f"the Firetask {name}", "fireworks")
    raise BadTask(
        f"there is no Firetask {name!r:.120}; looked in {', '.join(known.packages)}",
        hint=f"name its package in ADD_USER_PACKAGES of {known.file or 'FW_config.yaml'}, "
        "or write {{package.module.Class}}",
    )


def _modules(package: str, name: str) -> Iterator[ModuleType]:
    """A package and all in it that can be imported."""
    try:
        root = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if _lacks_fireworks(error) and package.partition(".")[0] != "fireworks":
            raise needs_package(f"the Firetask {name}", "fireworks") from error
        return
    yield root
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}.", onerror=lambda _: None):
        try:
            yield importlib.import_module(found.name)
        except ImportError:  # one of a package's modules may need what is not installed here
            continue


def _classes(module: ModuleType, name: str) -> Iterator[type[Any]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        default = f"{module.__name__.partition('.')[0]}::{found.__name__}"
        registered = getattr(found, "_fw_name", default)
        if found.__module__ == module.__name__ and _is_task(found) and registered in (name, f"{{{{{name}}}}}"):
            yield found


def _is_task(found: object) -> bool:
    return inspect.isclass(found) and callable(getattr(found, "run_task", None)) and hasattr(found, "from_dict")


def _lacks_fireworks(error: ModuleNotFoundError) -> bool:
    return error.name == "fireworks"


def _decoded(spec: Spec) -> dict[str, Any]:
    """The spec as FireWorks decodes it; what is FireWorks' own in it (`_tasks`, `_dupefinder`, …) stays as it is."""
    decode = importlib.import_module("fireworks.utilities.fw_serializers").recursive_deserialize
    theirs = {key: value for key, value in spec.items() if not key.startswith("_")}
    objects: dict[str, Any] = decode(lambda _, found: found)(None, theirs)
    return {**spec, **objects}


@contextmanager
def _read_by_fireworks(known: Configuration) -> Iterator[None]:
    """FireWorks reads its configuration in the folder where it is first imported: in that of the file that counts."""
    here = Path.cwd()
    if known.file is not None:
        os.chdir(known.file.parent)
    try:
        yield
    finally:
        os.chdir(here)
