"""CommandLineTask: a command whose arguments, inputs and outputs are described one by one."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec
from rekindle.dialects.fireworks.tasks.processes import Printed, failed

Part = dict[str, Any]
"""An input or output: `binding` (prefix, separator), `source` and `target` (type, value)."""


def command_line_task(given: Given, spec: Spec) -> dict[str, Any]:
    """`command_spec`: {command: [words], LABEL: {binding: {prefix, separator}, source: {type, value}, target: {…}}} ·
    `inputs`, `outputs`: labels · `chunk_number`: outputs are appended in the spec of what comes after. A text where a
    source, target or label is described names a key of the spec. Types: path, data, stdin, stdout, stderr.
    RuntimeError when the command fails."""
    described = given.need("command_spec")
    if not isinstance(described, Mapping) or not isinstance(described.get("command"), list):
        raise BadTask("`command_spec` of CommandLineTask has no list `command`")
    inputs, outputs = given.texts("inputs"), given.texts("outputs")
    found = _Command(given, [str(word) for word in described["command"]])
    with ExitStack() as stack:
        for label in inputs:
            for part in _described(given, spec, described, label):
                found.take(part, stack)
        targets = [found.give(_described(given, spec, described, label)[0], stack) for label in outputs]
        printed = found.run()
    for target, source in targets:
        if source is not None:
            shutil.copyfile(source, target["value"])
        if target["type"] == "data":
            target["value"] = printed.strip()
    if given.get("chunk_number") is not None:
        pushed = [{"_push": {label: target}} for label, (target, _) in zip(outputs, targets, strict=True)]
        return {"mod_spec": pushed}
    return {"update_spec": {label: target for label, (target, _) in zip(outputs, targets, strict=True)}}


def _described(given: Given, spec: Spec, described: Mapping[str, Any], label: str) -> list[Part]:
    """What a label stands for: one part, or those that the spec lists."""
    if label not in described:
        raise BadTask(f"`command_spec` of CommandLineTask does not describe {label!r:.60}")
    if isinstance(described[label], str):
        found = given.from_spec(spec, described[label])
        parts = found if isinstance(found, list) else [found]
        return [dict(part) if "source" in part else {"source": part} for part in parts]
    part: Part = {}
    for key in ("binding", "source", "target"):
        value = described[label].get(key)
        if value is not None:
            part[key] = given.from_spec(spec, value) if isinstance(value, str) else value
            if not isinstance(part[key], Mapping):
                raise BadTask(f"`{key}` of {label!r:.60} is an object, not {part[key]!r:.60}")
    return [part]


class _Command:
    """The words of a command as they come together, and where it reads and writes."""

    def __init__(self, given: Given, words: list[str]) -> None:
        self._given = given
        self._words = words
        self._stdin: Any = None
        self._told: bytes | None = None
        self._out: Any = None
        self._err: Any = None
        self._read_back = False

    def take(self, part: Part, stack: ExitStack) -> None:
        """An input."""
        source = _end(part, "source", ("path", "data"))
        text = str(source["value"])
        if "target" not in part:
            self._word(part, text)
            return
        _end(part, "target", ("stdin",))
        if source["type"] == "path":
            path = Path(text)
            self._stdin = stack.enter_context(path.open("rb"))
        else:
            self._stdin, self._told = subprocess.PIPE, text.encode()
        self._word(part, "")

    def give(self, part: Part, stack: ExitStack) -> tuple[Part, str | None]:
        """An output: (its target, the file that is copied there afterwards)."""
        target = dict(_end(part, "target", ("path", "data")))
        if target["type"] == "data":
            self._read_back = True
            self._word(part, "")
            return target, None
        if not target.get("value"):
            raise BadTask("an output of CommandLineTask with the type `path` has no `value`")
        path = Path(str(target["value"]))
        path = path / str(uuid.uuid4()) if path.is_dir() else path
        target["value"] = str(path)
        kind = (part.get("source") or {}).get("type")
        if kind == "stdout":
            self._out = stack.enter_context(path.open("wb"))
        elif kind == "stderr":
            self._err = stack.enter_context(path.open("wb"))
        self._word(part, "" if kind in ("stdout", "stderr", "path") else str(path))
        return target, str(part["source"]["value"]) if kind == "path" else None

    def run(self) -> str:
        """What it printed, when an output is made of that."""
        with Printed(1) as out, Printed(2) as err:
            process = subprocess.Popen(
                self._words,
                stdin=self._stdin,
                stdout=out.fd if self._out is None else self._out,
                stderr=err.fd if self._err is None else self._err,
            )
            process.communicate(self._told)
            if process.returncode:
                message = f"CommandLineTask: {self._words[0]} ended with {process.returncode}"
                raise failed(message, self._words, out, err)
            return out.text() if self._read_back else ""

    def _word(self, part: Part, text: str) -> None:
        binding = part.get("binding") or {}
        word = f"{binding.get('prefix') or ''}{binding.get('separator') or ''}{text}"
        if word:
            self._words.append(word)


def _end(part: Part, key: str, kinds: tuple[str, ...]) -> Mapping[str, Any]:
    found = part.get(key)
    if not isinstance(found, Mapping) or found.get("type") not in kinds:
        kind = found.get("type") if isinstance(found, Mapping) else found
        raise BadTask(f"a `{key}` of CommandLineTask has the type {kind!r:.60}", hint=f"it can be {' or '.join(kinds)}")
    if key == "source" and found.get("value") is None:
        raise BadTask("a `source` of CommandLineTask has no `value`")
    return found
