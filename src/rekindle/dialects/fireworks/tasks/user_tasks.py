"""Users' own Firetasks: classes found by name, and run unchanged with the package fireworks."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle.dialects.fireworks.tasks.launch_environment import (
    Configuration,
    configuration,
    current_fworker,
    launch_store,
)
from rekindle.dialects.fireworks.tasks.task_parameters import BadTask, Spec, TaskParameters, needs_package

if TYPE_CHECKING:
    from types import ModuleType

_classes_by_name: dict[tuple[str, str], type[Any]] = {}
_Fits = Callable[[object], bool]


def user_task(parameters: TaskParameters, spec: Spec) -> Any:
    """Run the Firetask of this name: `{{package.module.Class}}` with or without braces, `package.module:Class`, or a
    name that a class of USER_PACKAGES registers. FireWorks decodes the task and its spec, so that serialized objects
    in them are objects."""
    found = find_class(parameters.name)
    task = found.from_dict(dict(parameters))
    if spec.get("_add_launchpad_and_fw_id"):
        from rekindle.dialects.fireworks import LaunchPad

        task.fw_id = int(os.environ["REKINDLE_JOB"])
        task.launchpad = LaunchPad(store=launch_store(parameters.name))
    if spec.get("_add_fworker"):
        settings = {
            key: value for key, value in current_fworker().items() if key in ("name", "category", "query", "env")
        }
        task.fworker = importlib.import_module("fireworks.core.fworker").FWorker(**settings)
    return task.run_task(_decode_spec(spec))


def find_class(name: str) -> type[Any]:
    """Return the class of a Firetask. Raises BadTask if there is none or several, or if the package fireworks is
    missing."""
    return _find_class(name, "Firetask", _is_task)


def find_dupefinder(name: str) -> type[Any]:
    """Return the class of a user's duplicate finder. Raises BadTask as `find_class`."""
    return _find_class(name, "duplicate finder", _is_dupefinder)


def _find_class(name: str, kind: str, fits: _Fits) -> type[Any]:
    if (kind, name) not in _classes_by_name:
        importlib.invalidate_caches()
        known = configuration()
        with _in_config_folder(known):
            found = _named(name, kind, fits) or _registered(name, known, kind, fits) or _missing(name, known, kind)
        _classes_by_name[kind, name] = found
    return _classes_by_name[kind, name]


def _named(name: str, kind: str, fits: _Fits) -> type[Any] | None:
    """Return the class for `package.module.Class`, or None if the module or class does not exist."""
    module_name, _, class_name = name.replace(":", ".").rpartition(".")
    if not module_name or "::" in name or not name.replace(":", ".").replace(".", "").isidentifier():
        return None
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if _lacks_fireworks(error):
            raise needs_package(f"the {kind} {name}", "fireworks") from error
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        return None
    found = getattr(module, class_name, None)
    return found if fits(found) else None


def _registered(name: str, known: Configuration, kind: str, fits: _Fits) -> type[Any] | None:
    """Return the class that is registered under this name in the first package that has one. For `root::Class`,
    FireWorks' default name, that root is searched too."""
    root, _, class_name = name.partition("::")
    packages = (root, *known.packages) if class_name else known.packages
    for package in packages:
        classes = {found for module in _modules(package, f"{kind} {name}") for found in _classes(module, name, fits)}
        if len(classes) > 1:
            every = ", ".join(sorted(f"{{{{{one.__module__}.{one.__name__}}}}}" for one in classes))
            raise BadTask(f"several {kind}s are named {name!r:.120}: {every}", hint="write one of these as `_fw_name`")
        if classes:
            return classes.pop()
    return None


def _missing(name: str, known: Configuration, kind: str) -> type[Any]:
    if importlib.util.find_spec("fireworks") is None:
        raise needs_package(f"the {kind} {name}", "fireworks")
    raise BadTask(
        f"there is no {kind} {name!r:.120}; looked in {', '.join(known.packages)}",
        hint=f"name its package in ADD_USER_PACKAGES of {known.file or 'FW_config.yaml'}, "
        "or write {{package.module.Class}}",
    )


def _modules(package: str, wanted: str) -> Iterator[ModuleType]:
    """Yield a package and all its modules that can be imported. `wanted`: what is looked for."""
    try:
        root = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if _lacks_fireworks(error) and package.partition(".")[0] != "fireworks":
            raise needs_package(f"the {wanted}", "fireworks") from error
        return
    yield root
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}.", onerror=lambda _: None):
        try:
            yield importlib.import_module(found.name)
        except ImportError:  # a module may need a package that is not installed
            continue


def _classes(module: ModuleType, name: str, fits: _Fits) -> Iterator[type[Any]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        default = f"{module.__name__.partition('.')[0]}::{found.__name__}"
        registered = getattr(found, "_fw_name", default)
        if found.__module__ == module.__name__ and fits(found) and registered in (name, f"{{{{{name}}}}}"):
            yield found


def _is_task(found: object) -> bool:
    return inspect.isclass(found) and callable(getattr(found, "run_task", None)) and hasattr(found, "from_dict")


def _is_dupefinder(found: object) -> bool:
    return inspect.isclass(found) and any(callable(getattr(found, one, None)) for one in ("verify", "query"))


def _lacks_fireworks(error: ModuleNotFoundError) -> bool:
    return error.name == "fireworks"


def _decode_spec(spec: Spec) -> dict[str, Any]:
    """Return the spec as FireWorks decodes it. FireWorks' own keys (`_tasks`, `_dupefinder`, …) are not decoded."""
    decode = importlib.import_module("fireworks.utilities.fw_serializers").recursive_deserialize
    theirs = {key: value for key, value in spec.items() if not key.startswith("_")}
    objects: dict[str, Any] = decode(lambda _, found: found)(None, theirs)
    return {**spec, **objects}


@contextmanager
def _in_config_folder(known: Configuration) -> Iterator[None]:
    """Change to the folder of the configuration file: FireWorks reads its configuration from the working directory
    when it is first imported."""
    here = Path.cwd()
    if known.file is not None:
        os.chdir(known.file.parent)
    try:
        yield
    finally:
        os.chdir(here)
