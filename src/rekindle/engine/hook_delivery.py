"""Run one hook: a command in the project's folder, or a request to a URL. Both are bounded in time."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.domain.hooks import DELAYS, sign
from rekindle.domain.texts.substitution import render_text
from rekindle.engine.outside_commands import OutsideCommand, end_text, own_environment
from rekindle.files.store_files import make_folder, open_file

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

    from rekindle.store.hooks import Delivery

COMMAND_SECONDS = 60.0
"""How long a command may run; then its process group is killed."""

REQUEST_SECONDS = 10.0
"""How long a request may take, answer included."""

SECRET_VARIABLE = "REKINDLE_WEBHOOK_SECRET"
"""The variable with the secret that signs requests. It is stored nowhere."""


class Result(msgspec.Struct, frozen=True):
    """How a hook ended, in words. `log` is the file with the output of a command."""

    text: str
    failed: bool = False
    tries: int = 1
    log: str = ""


def run_hook(delivery: Delivery, store_folder: str, note: Callable[[str], None] | None = None) -> Result:
    """Run a hook. A failure is a result, not an exception. `note` gets a message before each further try."""
    if delivery.hook.url is None:
        return _run_command(delivery, store_folder)
    try:
        url = render_text(delivery.hook.url, {"env": os.environ})
    except RekindleError as error:
        return Result(error.message, failed=True)
    return _post(url, delivery, note)


# --- commands


def _run_command(delivery: Delivery, store_folder: str) -> Result:
    """Run a command with the document on stdin. Its output goes to a file in the store's folder."""
    log = Path(store_folder, "hooks", f"{delivery.token}.log")
    document = f"{delivery.document}\n".encode()
    command = OutsideCommand(delivery.hook.run or "", delivery.directory, _environment(delivery), COMMAND_SECONDS)
    try:
        make_folder(log.parent)
        with open(open_file(log, os.O_WRONLY | os.O_APPEND), "ab") as output:
            code = command.run(document, output, subprocess.STDOUT)
    except (OSError, ValueError) as error:
        return Result(f"it cannot start: {getattr(error, 'strerror', None) or error}", failed=True)
    if code is None:
        return Result(f"killed after {COMMAND_SECONDS:g} s", failed=True, log=str(log))
    if code:
        return Result(end_text(code), failed=True, log=str(log))
    return Result("done", log=str(log))


def _environment(delivery: Delivery) -> dict[str, str]:
    """Return this process's variables, without those of a job that it may belong to, and those of the hook."""
    document = json.loads(delivery.document)
    return own_environment(SECRET_VARIABLE) | {
        "REKINDLE_EVENT": delivery.hook.event,
        "REKINDLE_WORKFLOW": document["workflow"]["name"],
        "REKINDLE_WORKFLOW_ID": str(delivery.workflow),
        "REKINDLE_STATE": document["state"],
        "REKINDLE_COUNTS": json.dumps(document["counts"]),
        "REKINDLE_DELIVERY": delivery.token,
    }


# --- requests


def _post(url: str, delivery: Delivery, note: Callable[[str], None] | None) -> Result:
    """Send the document, and again after each of DELAYS if the receiver may be able to take it later."""
    answer = _Answer("")
    for number, delay in enumerate((0.0, *DELAYS), 1):
        if delay and note is not None:
            note(f"the hook `{delivery.hook.event}` is sent again in {delay:g} s: {answer.text}")
        time.sleep(delay)
        answer = _Request(url, delivery).answer()
        if not answer.again:
            return Result(answer.text, failed=answer.failed, tries=number)
    return Result(answer.text, failed=True, tries=number)


class _Answer(msgspec.Struct, frozen=True):
    text: str
    failed: bool = False
    again: bool = False


class _Request:
    """One request. A thread makes it, because the time limit of a socket holds for each of its reads only."""

    def __init__(self, url: str, delivery: Delivery) -> None:
        self._url, self._delivery = url, delivery
        self._answer = _Answer(f"no answer within {REQUEST_SECONDS:g} s", failed=True, again=True)

    def answer(self) -> _Answer:
        """Return how the receiver answered."""
        thread = threading.Thread(target=self._send, daemon=True)
        thread.start()
        thread.join(REQUEST_SECONDS)
        return self._answer

    def _send(self) -> None:
        from urllib.request import Request

        body = self._delivery.document.encode()
        try:
            request = Request(self._url, body, _headers(self._delivery, body, os.environ), method="POST")
            with _opener().open(request, timeout=REQUEST_SECONDS) as response:
                self._answer = _Answer(f"HTTP {response.status}")
        except HTTPError as error:
            later = error.code >= 500 or error.code in (408, 425, 429)
            self._answer = _Answer(f"HTTP {error.code}", failed=True, again=later)
            error.close()
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                return
            text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            self._answer = _Answer(text, failed=True, again=True)
        except ValueError as error:  # an invalid URL, or a header that cannot be sent
            self._answer = _Answer(f"not a valid URL: {error}", failed=True)


def _opener() -> OpenerDirector:
    """Return an opener that follows no redirects: a document goes to the host that the spec names, or nowhere."""
    from urllib.request import HTTPRedirectHandler, build_opener

    class NoRedirects(HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    return build_opener(NoRedirects)


def _headers(delivery: Delivery, body: bytes, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request. It is signed if there is a secret."""
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "rekindle",
        "X-Rekindle-Event": delivery.hook.event,
        "X-Rekindle-Delivery": delivery.token,
        "X-Rekindle-Timestamp": str(timestamp),
    }
    if secret := environment.get(SECRET_VARIABLE):
        headers["X-Rekindle-Signature"] = f"sha256={sign(secret, timestamp, body)}"
    return headers
