"""The "module:function" by which a worker finds a function again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rekindle.domain.errors import UsageError

_HINT = "define it with `def` at the top of a module, and give that: call=function, or call='module:function'"


def reference(function: Callable[..., Any], directory: str) -> str:
    """`module:qualname` of a function that a worker can import, with `directory` as the project's folder.

    A function of the running script is found by the script's own name, if that lies in `directory`; the script then
    makes its workflow under `if __name__ == "__main__":`, since a worker imports it. Raises UsageError for what no
    import finds: lambdas, functions within functions, bound methods, partials."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if not (callable(function) and isinstance(module, str) and isinstance(name, str)):
        raise UsageError(f"{function!r:.80} is not a function that can be imported", hint=_HINT)
    if "<lambda>" in name:
        raise UsageError("a lambda has no name to be imported by", hint=_HINT)
    if "<locals>" in name:
        raise UsageError(f"{name.replace('.<locals>', '')} is defined within a function", hint=_HINT)
    if _found(module, name) is not function:
        raise UsageError(f"{module}:{name} is not what an import of that name finds", hint=_HINT)
    return f"{_main_module(name, directory) if module == '__main__' else module}:{name}"


def _found(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _main_module(name: str, directory: str) -> str:
    """The name under which the running script can be imported."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    if file is None:
        raise UsageError(f"{name} was typed, and is in no file", hint="save it in a module and import it from there")
    script = Path(file).resolve()
    if not script.stem.isidentifier() or script.suffix != ".py":
        raise UsageError(f"{script.name} cannot be imported by its name", hint=f"move {name} to a module of its own")
    if str(script.parent) != directory:
        raise UsageError(
            f"{script} is not in the project's folder, {directory}",
            hint=f"give Workflow(directory={str(script.parent)!r}), or move {name} to a module",
        )
    return script.stem
