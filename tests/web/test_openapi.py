"""Requests made from the OpenAPI document, valid and not: no answer is a 5xx, and each is as the document says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from http_calls import FullProject
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rekindle.web import api_reads, api_writes
from rekindle.web.connections import LONGEST_HEAD

EXAMPLES = 8
"""The requests of each kind that are made of an operation."""

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullProject]:
    """A filled project, whose server runs no jobs: what is submitted is not run."""
    folder: Path = tmp_path_factory.mktemp("quiet")
    made = FullProject(folder)
    try:
        made.fill()
        made.started[-1].kill()
        made.started[-1].wait(timeout=30)
        made.serve()
        yield made
    finally:
        made.write("go", "")
        made.close()


OPERATIONS = [(one.method, f"/api/v1{one.path}") for one in (*api_reads.OPERATIONS, *api_writes.OPERATIONS)]


@pytest.fixture(scope="module")
def schema(quiet: FullProject) -> Any:
    """The schema of the server."""
    return schemathesis.openapi.from_dict(quiet.caller("read").get("/openapi.json").document)


@pytest.fixture(scope="module")
def token(quiet: FullProject) -> str:
    """A token of all scopes but that of pilots."""
    return quiet.token("read,rerun,submit", "generated")


@pytest.mark.parametrize("mode", [*GenerationMode])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_breaks_the_server_or_the_document(
    quiet: FullProject, schema: Any, token: str, method: str, path: str, mode: GenerationMode
) -> None:
    operation = schema[path][method]
    seen: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        assume(len(urlencode(case.query or {}, doseq=True)) < LONGEST_HEAD // 2)  # longer ones are cut by the server
        answer = case.call(base_url=quiet.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        case.validate_response(answer, checks=CHECKS)
        seen.add(answer.status_code)

    send()
    assert seen


def test_the_document_names_every_route_of_the_api(quiet: FullProject) -> None:
    document = quiet.caller("read").get("/openapi.json").document
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert {"/api/v1/jobs", "/api/v1/plans", "/api/v1/pilots", "/api/v1/attempts/{attempt}/log"} <= set(paths)
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(operation["summary"].endswith(".") for operation in operations)
