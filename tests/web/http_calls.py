"""Plain HTTP requests to a served project, and a project with something of everything."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from served import ServedProject

from project_folder import until
from rekindle.engine.api_tokens import new_token
from rekindle.engine.session import open_session

EVERYTHING = """
name: sweep
project: alloys
params: {alpha: 0.1}
jobs:
  prepare: {run: "echo data > data.txt; echo hello", outputs: {data: data.txt}}
  train: {needs: [prepare], matrix: {k: {range: [0, 3]}}, run: "echo '<b>bad</b>' >&2; exit 3"}
  slices: {steps: [{name: process, each: ["a", "b"], run: "test ${item} = a"}]}
  late: {needs: ["train*"], run: "true"}
  long: {run: "while ! [ -e go ]; do sleep 0.05; done"}
"""
"""A spec of which jobs complete, fail, wait and run."""


class Answer(NamedTuple):
    """A response. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Caller:
    """Sends requests to a server with a token; "" sends none."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self._token = url, token
        self.host = urlsplit(url).netloc

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request. Underscores in names of headers are hyphens. `host=""` leaves the header out."""
        given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        if self._token:
            given.setdefault("authorization", f"Bearer {self._token}")
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            host = given.pop("host", self.host)
            for name, value in (({"host": host} if host else {}) | given).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """Read something of the API."""
        return self.send("GET", f"/api/v1{path}", **headers)

    def post(self, path: str, document: Any, **headers: str) -> Answer:
        """Send a JSON document to the API."""
        headers.setdefault("content_type", "application/json")
        return self.send("POST", f"/api/v1{path}", json.dumps(document).encode(), **headers)

    def raw(self, request: bytes, seconds: float = 10.0) -> bytes:
        """Send bytes, and return what comes back until the server closes the connection or falls silent."""
        name, _, port = self.host.rpartition(":")
        with socket.create_connection((name, int(port)), timeout=seconds) as connection:
            connection.sendall(request)
            found = b""
            try:
                while piece := connection.recv(1 << 16):
                    found += piece
            except TimeoutError:
                pass
            return found


class FullProject(ServedProject):
    """A served project with completed, failed, waiting, running and archived things."""

    def fill(self) -> None:
        """Run the spec until its `long` job runs and the others have ended, then rerun one."""
        self.spec(EVERYTHING)
        self.rekindle("submit", "spec.yaml")
        self.serve("--work", "-j", "4")
        until(lambda: list(self.states().values()).count("failed") == 4, "jobs have failed")
        self.rekindle("rerun", "train[k=0]", "--yes")
        until(lambda: len(self.attempts()) == 7 and self.states()["train[k=0]"] == "failed", "it has failed again")
        until(lambda: self.states()["long"] == "running", "one runs")

    def token(self, scopes: str, name: str = "") -> str:
        """Return a new API token, made in this process."""
        with open_session(str(self.folder / ".rekindle"), create=False) as session:
            return new_token(session, scopes.split(","), name)

    def caller(self, scopes: str = "", name: str = "") -> Caller:
        """Return what calls with a new token; without scopes, with none."""
        return Caller(self.url, self.token(scopes, name) if scopes else "")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullProject]:
    """A filled project for the tests of a module."""
    folder: Path = tmp_path_factory.mktemp("full")
    made = FullProject(folder)
    try:
        made.fill()
        yield made
    finally:
        made.write("go", "")
        made.close()
