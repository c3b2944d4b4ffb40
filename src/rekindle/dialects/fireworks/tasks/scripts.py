"""ScriptTask: commands, one after the other, until one fails."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.tasks.given import BadTask, Given, Spec
from rekindle.dialects.fireworks.tasks.processes import Printed, failed


def script_task(given: Given, spec: Spec) -> dict[str, Any]:
    """`script`: a command or a list of them · `use_shell` (true), `shell_exe` · `stdin_file`, `stdin_key` (of spec),
    `stdout_file`, `stderr_file` (appended to) · `store_stdout`, `store_stderr` · `fizzle_bad_rc` (true),
    `defuse_bad_rc` · `use_global_spec`. Several commands write one output. RuntimeError for a bad return code."""
    params = given.or_global(spec)
    _check(params)
    scripts = params.need("script")
    shell = params.get("use_shell", True)
    with Printed(1) as out, Printed(2) as err:
        codes = []
        for script in [scripts] if isinstance(scripts, str) else scripts:
            command = str(script) if shell else shlex.split(str(script))
            codes.append(_run(command, params, spec, out, err))
            if codes[-1]:
                break
        _write(params, out, err)
        stored = {
            **({"stdout": out.text()} if params.get("store_stdout") else {}),
            **({"stderr": err.text()} if params.get("store_stderr") else {}),
            "returncode": codes[-1] if codes else 0,
            "all_returncodes": codes,
        }
        if any(codes) and params.get("fizzle_bad_rc", not params.get("defuse_bad_rc")):
            # The words are FireWorks' own: what looks for failures looks for them.
            raise failed(f"ScriptTask fizzled! Return code: {codes}", command, out, err)
    defuse = any(codes) and bool(params.get("defuse_bad_rc"))
    return {"stored_data": stored, "defuse_children": defuse}


def _check(params: Given) -> None:
    if params.get("stdin_file") and params.get("stdin_key"):
        raise BadTask("ScriptTask has both `stdin_file` and `stdin_key`", hint="there is one standard input")
    if params.get("defuse_bad_rc") and params.get("fizzle_bad_rc"):
        raise BadTask("ScriptTask has both `defuse_bad_rc` and `fizzle_bad_rc`", hint="a bad return code does one")


def _run(command: str | list[str], params: Mapping[str, Any], spec: Spec, out: Printed, err: Printed) -> int:
    with ExitStack() as open_files:
        told: bytes | None = None
        stdin: Any = None
        if params.get("stdin_file"):
            stdin = open_files.enter_context(open(params["stdin_file"], "rb"))
        elif params.get("stdin_key"):
            found = Given("ScriptTask", params).from_spec(spec, params["stdin_key"])
            told = found if isinstance(found, bytes) else str(found).encode()
            stdin = subprocess.PIPE
        process = subprocess.Popen(
            command,
            shell=isinstance(command, str),
            executable=params.get("shell_exe"),
            stdin=stdin,
            stdout=out.fd,
            stderr=err.fd,
        )
        process.communicate(told)
        return process.returncode


def _write(params: Mapping[str, Any], out: Printed, err: Printed) -> None:
    for key, printed in (("stdout_file", out), ("stderr_file", err)):
        if params.get(key):
            with Path(params[key]).open("a", encoding="utf-8") as file:
                file.write(printed.text())
