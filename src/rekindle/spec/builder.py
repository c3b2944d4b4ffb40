"""Build a workflow in Python, with the keys and checks of a spec file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rekindle.domain.errors import BadValue, UsageError
from rekindle.domain.texts.function_source import check_source
from rekindle.files.store_files import working_directory
from rekindle.spec.loading import SpecSource, assemble
from rekindle.spec.nodes import Problems, SourcePlace, from_python

if TYPE_CHECKING:
    from rekindle.domain.definition import Definition

_PACKAGE = __name__.partition(".")[0]


class JobHandle(msgspec.Struct, frozen=True):
    """A job that was added to a workflow. Pass it to `needs` of other jobs."""

    name: str


class Workflow:
    """A workflow under construction. Keys and values are those of a spec file; `call` also takes a function."""

    def __init__(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        project: str | None = None,
        directory: str | Path | None = None,
        workdir: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        stale_on: Sequence[str] | None = None,
        implicit_inputs: bool | None = None,
        on: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        """`directory` is the project's folder. The default is the folder of the calling file, or the working directory
        if the caller is not in a file.
        """
        self.name = name
        self.directory = str(Path(directory).resolve() if directory is not None else _caller_folder())
        self._top = _without_none(
            name=name,
            params=params,
            env=env,
            project=project,
            workdir=workdir,
            defaults=defaults,
            stale_on=stale_on,
            implicit_inputs=implicit_inputs,
            on=on,
        )
        self._jobs: dict[str, dict[str, Any]] = {}

    def job(
        self,
        name: str,
        run: str | Sequence[str] | None = None,
        call: str | Callable[..., Any] | None = None,
        args: Mapping[str, Any] | None = None,
        *,
        steps: Sequence[Mapping[str, Any]] | None = None,
        needs: Sequence[JobHandle | str] | JobHandle | str | None = None,
        matrix: Mapping[str, Any] | None = None,
        zip: Mapping[str, Any] | None = None,  # noqa: A002 the key's name in a spec
        inputs: Mapping[str, str | Path | Mapping[str, Any]] | None = None,
        outputs: Mapping[str, str | Path | Mapping[str, Any]] | None = None,
        resources: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        priority: int | None = None,
        workdir: str | None = None,
        shell: str | None = None,
        each: str | Sequence[Any] | Mapping[str, Any] | Callable[..., Any] | None = None,
        max_failed: int | None = None,
        resubmit: int | None = None,
        parallel: int | None = None,
        aggregate: bool | None = None,
        when: str | None = None,
        retry: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        grace: str | None = None,
        stale_on: Sequence[str] | None = None,
        implicit_inputs: bool | None = None,
        leave_running: bool | None = None,
        definition: str | None = None,
        partial: str | None = None,
        labels: Mapping[str, str] | None = None,
        quarantine: Mapping[str, Any] | None = None,
        manual: Mapping[str, str] | None = None,
        on_unknown_failure: str | None = None,
        judge: str | Sequence[str] | Literal[False] | None = None,
        cache: bool | None = None,
        pure: bool | None = None,
    ) -> JobHandle:
        # its docstring, which is longer than the function, is _JOB
        keys = {key: value for key, value in locals().items() if key not in ("self", "name")}
        if name in self._jobs:
            raise UsageError(f"the workflow {self.name!r} has a job {name!r} already", hint="give it another name")
        keys["call"] = self._callable(call)
        keys["steps"] = None if steps is None else [self._step(step) for step in steps]
        keys["needs"] = _names(needs)
        keys["each"] = self._each(each)
        self._jobs[name] = _without_none(**keys)
        return JobHandle(name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {len(self._jobs)} job{'' if len(self._jobs) == 1 else 's'}>"

    def definition(self) -> Definition:
        """Return the checked Definition. Raise SpecError with every problem and its path of keys."""
        problems = Problems(f"workflow {self.name!r}")
        root = from_python({**self._top, "jobs": self._jobs}, SourcePlace(), problems)
        return assemble(root, {}, SpecSource(self.directory), problems)

    def _callable(self, call: object) -> object:
        return import_reference(call, self.directory) if callable(call) else call

    def _step(self, step: object) -> object:
        if not isinstance(step, Mapping):
            return step
        named = {key: self._callable(step[key]) for key in ("call",) if key in step}
        return {**step, **named, **({"each": self._each(step["each"])} if "each" in step else {})}

    def _each(self, each: object) -> object:
        if callable(each):
            return {"call": self._callable(each)}
        if not isinstance(each, Mapping) or "call" not in each:
            return each
        return {**each, "call": self._callable(each["call"])}


_JOB = """Add a job. The arguments are the keys of an entry of `jobs:` in a spec file; `definition` checks them.

Args:
    name: Its name. With a matrix it becomes several jobs, such as `train[alpha=0.1,seed=0]`.
    run: A command: a text, as `/bin/sh` reads it, or a list of words. `${params.x}`, `${matrix.x}`, `${inputs.x}`,
        `${outputs.x}`, `${env.X}`, `${job.name}` and `${item}` are filled in.
    call: A function, or "module:function". A worker imports it; a function that was typed in a notebook is kept as
        source, and must be self-contained. It returns JSON, or an Action.
    args: Its keyword arguments.
    steps: Several steps in order, each a mapping with a `name` and `run` or `call`; in place of `run` and `call`.
    needs: Jobs that must be completed before it starts: handles, names or patterns.
    matrix: Lists of values: a job for each combination. A range is `{"range": [0, 10]}` or `range(10)`.
    zip: Lists of values: a job for the first of each, for the second of each, and so on.
    inputs: Files that it reads, by name, relative to the project's folder. An edge follows from an output elsewhere.
    outputs: Files that it writes, by name. They must exist after it.
    resources: `cpus`, `memory` ("2G"), `time` ("10m"), `gpus`, `licences` and `options`.
    env: Environment variables.
    priority: Ready jobs with a higher one start first.
    workdir: "project", or "attempt": a folder of each attempt.
    shell: The shell of a command that is a text, such as "bash".
    each: Items, for each of which the step runs: a pattern of files, a list, or a function that returns a list.
    max_failed: How many items may fail.
    resubmit: How often a failed item runs again at once.
    parallel: How many items run at once.
    aggregate: Run again whenever anything that it needs has run again.
    when: "completed", or "finished": jobs that it needs may have failed.
    retry: When and how often it runs again by itself, such as `{"max": 2, "on": ["timeout"], "delay": "30s"}`.
    grace: How long a canceled process may take to end, such as "10s".
    stale_on: What else makes it stale: `["environment"]`.
    implicit_inputs: Whether files that its commands name count as inputs.
    leave_running: Whether processes that it leaves behind may go on.
    definition: "pinned": its reruns use the definition of its earlier attempt.
    partial: "keep" or "aside": what becomes of outputs of an attempt that did not complete.
    labels: Words to select it by, such as `{"team": "optics"}`.
    quarantine: Failures do not count until a day: `{"until": "2030-01-31", "why": "fails on slow machines"}`.
    manual: `{"rerun": "forbidden", "reason": "it pays the invoices"}`: the job runs at most once.
    on_unknown_failure: "hold": a failure that no attempt has had before waits for a person.
    judge: A command that gets the failed attempt as JSON, and answers retry, fail or hold.
    cache: Whether the outputs of completed attempts are kept in the content store.
    pure: Whether its result depends only on what is compared. False: no earlier attempt is reused for it. True: also
        where it declares no outputs. None: where it declares outputs.

Returns:
    A handle, for `needs` of other jobs.

Raises:
    UsageError: The name is taken, or a worker could not find the function.
"""
Workflow.job.__doc__ = _JOB


def _without_none(**keys: Any) -> dict[str, Any]:
    """Return the arguments that are not None."""
    return {key: value for key, value in keys.items() if value is not None}


def _names(needs: object) -> object:
    """Replace handles by names. Anything else is left for the checks of `definition`."""
    if isinstance(needs, JobHandle):
        return needs.name
    if isinstance(needs, list | tuple):
        return [need.name if isinstance(need, JobHandle) else need for need in needs]
    return needs


def _caller_folder() -> Path:
    """Return the folder of the first file up the stack that does not belong to rekindle."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    file = Path(frame.f_globals.get("__file__") or "")
    return file.resolve().parent if file.is_file() else working_directory()


_HINT = "define it with `def` at the top of a module, and give that: call=function, or call='module:function'"


def import_reference(function: Callable[..., Any], directory: str) -> str:
    """Return the `module:qualname` by which a worker imports a function, with `directory` as the project's folder; for
    a function that was typed in a notebook or an interpreter, its source.

    A function of the running script is named by the script, which must lie in `directory`. A worker imports the
    script, so the script must build its workflow under `if __name__ == "__main__":`. Raise UsageError for objects that
    cannot be imported: lambdas, nested functions, bound methods, partials.
    """
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if not (callable(function) and isinstance(module, str) and isinstance(name, str)):
        raise UsageError(f"{function!r:.80} is not a function that can be imported", hint=_HINT)
    if "<lambda>" in name:
        raise UsageError("a lambda has no name to be imported by", hint=_HINT)
    if "<locals>" in name:
        raise UsageError(f"{name.replace('.<locals>', '')} is defined within a function", hint=_HINT)
    if module == "__main__" and _is_typed(function):
        return _source(function, name)
    if _imported(module, name) is not function:
        raise UsageError(f"an import of {module}:{name} finds another object", hint=_HINT)
    return f"{_main_module(name, directory) if module == '__main__' else module}:{name}"


def _is_typed(function: Callable[..., Any]) -> bool:
    """Return whether a function of the main program is not in the program's file."""
    code = getattr(function, "__code__", None)
    file = getattr(sys.modules["__main__"], "__file__", None)
    return code is not None and (file is None or not Path(code.co_filename).is_file())


def _source(function: Callable[..., Any], name: str) -> str:
    """Return the source of a function that was typed. Raise UsageError if it is not known or not self-contained."""
    import inspect
    import textwrap

    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise UsageError(
            f"{name} was typed, is in no file, and its source is not known", hint="type it in IPython, or " + _HINT
        ) from None
    try:
        check_source(text)
    except BadValue as error:
        raise UsageError(
            f"{name} was typed, and cannot be taken by its source: {error.message}", hint=error.hint
        ) from None
    return text if text.endswith("\n") else f"{text}\n"


def _imported(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _main_module(name: str, directory: str) -> str:
    """Return the name under which the running script can be imported."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    if file is None:  # an object without code of its own
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
