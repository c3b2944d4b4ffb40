"""ScriptTask and CommandLineTask. The output of their commands goes to the attempt's log, and is read back from
there."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rekindle.dialects.fireworks.tasks.task_parameters import BadTask, Spec, TaskParameters

if TYPE_CHECKING:
    from types import TracebackType


def script_task(parameters: TaskParameters, spec: Spec) -> dict[str, Any]:
    """Run ScriptTask: commands one after the other, until one fails.

    `script`: a command or a list. `use_shell` (true), `shell_exe`. `stdin_file`, `stdin_key` (of the spec),
    `stdout_file`, `stderr_file` (appended to). `store_stdout`, `store_stderr`. `fizzle_bad_rc` (true),
    `defuse_bad_rc`. `use_global_spec`. All commands share one output. Raises RuntimeError for a bad return code."""
    params = parameters.or_global(spec)
    _check_script_task(params)
    scripts = params.need("script")
    shell = params.get("use_shell", True)
    with CapturedOutput(1) as out, CapturedOutput(2) as err:
        codes = []
        for script in [scripts] if isinstance(scripts, str) else scripts:
            command = str(script) if shell else shlex.split(str(script))
            codes.append(_run_script(command, params, spec, out, err))
            if codes[-1]:
                break
        _write_outputs(params, out, err)
        stored = {
            **({"stdout": out.text()} if params.get("store_stdout") else {}),
            **({"stderr": err.text()} if params.get("store_stderr") else {}),
            "returncode": codes[-1] if codes else 0,
            "all_returncodes": codes,
        }
        if any(codes) and params.get("fizzle_bad_rc", not params.get("defuse_bad_rc")):
            # FireWorks' own text, which users search for.
            raise command_error(f"ScriptTask fizzled! Return code: {codes}", command, out, err)
    defuse = any(codes) and bool(params.get("defuse_bad_rc"))
    return {"stored_data": stored, "defuse_children": defuse}


def _check_script_task(params: TaskParameters) -> None:
    if params.get("stdin_file") and params.get("stdin_key"):
        raise BadTask("ScriptTask has both `stdin_file` and `stdin_key`", hint="there is one standard input")
    if params.get("defuse_bad_rc") and params.get("fizzle_bad_rc"):
        raise BadTask("ScriptTask has both `defuse_bad_rc` and `fizzle_bad_rc`", hint="a bad return code does one")


def _run_script(
    command: str | list[str], params: Mapping[str, Any], spec: Spec, out: CapturedOutput, err: CapturedOutput
) -> int:
    with ExitStack() as open_files:
        stdin_data: bytes | None = None
        stdin: Any = None
        if params.get("stdin_file"):
            stdin = open_files.enter_context(open(params["stdin_file"], "rb"))
        elif params.get("stdin_key"):
            found = TaskParameters("ScriptTask", params).from_spec(spec, params["stdin_key"])
            stdin_data = found if isinstance(found, bytes) else str(found).encode()
            stdin = subprocess.PIPE
        process = subprocess.Popen(
            command,
            shell=isinstance(command, str),
            executable=params.get("shell_exe"),
            stdin=stdin,
            stdout=out.fd,
            stderr=err.fd,
        )
        process.communicate(stdin_data)
        return process.returncode


def _write_outputs(params: Mapping[str, Any], out: CapturedOutput, err: CapturedOutput) -> None:
    for key, printed in (("stdout_file", out), ("stderr_file", err)):
        if params.get(key):
            with Path(params[key]).open("a", encoding="utf-8") as file:
                file.write(printed.text())


Part = dict[str, Any]
"""An input or output: `binding` (prefix, separator), `source` and `target` (type, value)."""


def command_line_task(parameters: TaskParameters, spec: Spec) -> dict[str, Any]:
    """Run CommandLineTask: a command whose inputs and outputs are described one by one.

    `command_spec`: {command: [words], LABEL: {binding: {prefix, separator}, source: {type, value}, target: {…}}}.
    `inputs`, `outputs`: labels. `chunk_number`: append outputs in the specs of later fireworks. A text in place of a
    source, target or label names a key of the spec. Types: path, data, stdin, stdout, stderr. Raises RuntimeError if
    the command fails."""
    described = parameters.need("command_spec")
    if not isinstance(described, Mapping) or not isinstance(described.get("command"), list):
        raise BadTask("`command_spec` of CommandLineTask has no list `command`")
    inputs, outputs = parameters.texts("inputs"), parameters.texts("outputs")
    found = _CommandLine(parameters, [str(word) for word in described["command"]])
    with ExitStack() as stack:
        for label in inputs:
            for part in _described_parts(parameters, spec, described, label):
                found.add_input(part, stack)
        targets = [
            found.add_output(_described_parts(parameters, spec, described, label)[0], stack) for label in outputs
        ]
        printed = found.run()
    for target, source in targets:
        if source is not None:
            shutil.copyfile(source, target["value"])
        if target["type"] == "data":
            target["value"] = printed.strip()
    if parameters.get("chunk_number") is not None:
        pushed = [{"_push": {label: target}} for label, (target, _) in zip(outputs, targets, strict=True)]
        return {"mod_spec": pushed}
    return {"update_spec": {label: target for label, (target, _) in zip(outputs, targets, strict=True)}}


def _described_parts(parameters: TaskParameters, spec: Spec, described: Mapping[str, Any], label: str) -> list[Part]:
    """Return the parts of a label: one, or the list in the spec."""
    if label not in described:
        raise BadTask(f"`command_spec` of CommandLineTask does not describe {label!r:.60}")
    if isinstance(described[label], str):
        found = parameters.from_spec(spec, described[label])
        parts = found if isinstance(found, list) else [found]
        return [dict(part) if "source" in part else {"source": part} for part in parts]
    part: Part = {}
    for key in ("binding", "source", "target"):
        value = described[label].get(key)
        if value is not None:
            part[key] = parameters.from_spec(spec, value) if isinstance(value, str) else value
            if not isinstance(part[key], Mapping):
                raise BadTask(f"`{key}` of {label!r:.60} is an object, not {part[key]!r:.60}")
    return [part]


class _CommandLine:
    """A command line that is being built, and its streams."""

    def __init__(self, parameters: TaskParameters, words: list[str]) -> None:
        self._parameters = parameters
        self._words = words
        self._stdin: Any = None
        self._stdin_data: bytes | None = None
        self._out: Any = None
        self._err: Any = None
        self._read_back = False

    def add_input(self, part: Part, stack: ExitStack) -> None:
        """Add an input to the command line, or connect it to stdin."""
        source = _checked_end(part, "source", ("path", "data"))
        text = str(source["value"])
        if "target" not in part:
            self._word(part, text)
            return
        _checked_end(part, "target", ("stdin",))
        if source["type"] == "path":
            path = Path(text)
            self._stdin = stack.enter_context(path.open("rb"))
        else:
            self._stdin, self._stdin_data = subprocess.PIPE, text.encode()
        self._word(part, "")

    def add_output(self, part: Part, stack: ExitStack) -> tuple[Part, str | None]:
        """Add an output. Returns its target, and the file to copy there after the run, if any."""
        target = dict(_checked_end(part, "target", ("path", "data")))
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
        """Run the command. Returns its stdout if an output needs it."""
        with CapturedOutput(1) as out, CapturedOutput(2) as err:
            process = subprocess.Popen(
                self._words,
                stdin=self._stdin,
                stdout=out.fd if self._out is None else self._out,
                stderr=err.fd if self._err is None else self._err,
            )
            process.communicate(self._stdin_data)
            if process.returncode:
                message = f"CommandLineTask: {self._words[0]} ended with {process.returncode}"
                raise command_error(message, self._words, out, err)
            return out.text() if self._read_back else ""

    def _word(self, part: Part, text: str) -> None:
        binding = part.get("binding") or {}
        word = f"{binding.get('prefix') or ''}{binding.get('separator') or ''}{text}"
        if word:
            self._words.append(word)


def _checked_end(part: Part, key: str, kinds: tuple[str, ...]) -> Mapping[str, Any]:
    found = part.get(key)
    if not isinstance(found, Mapping) or found.get("type") not in kinds:
        kind = found.get("type") if isinstance(found, Mapping) else found
        raise BadTask(f"a `{key}` of CommandLineTask has the type {kind!r:.60}", hint=f"it can be {' or '.join(kinds)}")
    if key == "source" and found.get("value") is None:
        raise BadTask("a `source` of CommandLineTask has no `value`")
    return found


TAIL = 4 * 1024
"""Bytes of each stream that are shown for a failed command."""

_MAX_LAST_LINE = 300  # characters of the last line in a message


class CapturedOutput:
    """Captures what commands print to stdout (1) or stderr (2) while this is open.

    The output goes to this process's stream. If that is not a regular file of its own, the output is kept in a
    temporary file and copied at the end."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._aside: IO[bytes] | None = None

    def __enter__(self) -> CapturedOutput:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if _is_own_file(self._stream):
            self.fd, self._start = self._stream, os.fstat(self._stream).st_size
        else:
            self._aside = tempfile.TemporaryFile()
            self.fd, self._start = self._aside.fileno(), 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._aside is not None:
            self._aside.seek(0)
            with os.fdopen(os.dup(self._stream), "wb") as out:
                shutil.copyfileobj(self._aside, out)
            self._aside.close()

    def text(self) -> str:
        """Return all of the output."""
        return self._read(self._start)

    def tail(self) -> str:
        """Return the end of the output."""
        return self._read(max(self._start, os.fstat(self.fd).st_size - TAIL))

    def _read(self, start: int) -> str:
        found = b""
        while chunk := os.pread(self.fd, 1 << 20, start + len(found)):
            found += chunk
        return found.decode("utf-8", "replace")


def command_error(message: str, command: str | Sequence[str], out: CapturedOutput, err: CapturedOutput) -> RuntimeError:
    """Return the error for a failed command: the message with the last line of stderr, and notes with the command and
    the ends of its output, which tracebacks show."""
    tails = {"stderr": err.tail(), "stdout": out.tail()}
    last = next((line.strip() for line in reversed(tails["stderr"].splitlines()) if line.strip()), "")
    error = RuntimeError(f"{message}: {last[:_MAX_LAST_LINE]}" if last else message)
    error.add_note(f"command: {command if isinstance(command, str) else subprocess.list2cmdline(command)}")
    for stream, tail in tails.items():
        if tail.strip():
            error.add_note(f"{stream}: {tail.rstrip()}")
    return error


def _is_own_file(fd: int) -> bool:
    """Return whether a stream is a readable regular file that no other stream of this process writes to."""
    found, other = os.fstat(fd), os.fstat(3 - fd)
    if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) == (other.st_dev, other.st_ino):
        return False
    try:
        os.pread(fd, 1, 0)
    except OSError:  # opened for writing only
        return False
    return True
