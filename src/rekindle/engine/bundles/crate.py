"""The RO-Crate metadata of a bundle: a Workflow Run Crate, as far as it fits.

The templates are the workflow. The run of the workflow is an action, and so is each attempt of the first jobs; the rows
in the bundle have all attempts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rekindle.domain.states import State
from rekindle.engine.bundles.manifest import ATTEMPTS, CRATE, PROJECT, rows_member
from rekindle.journal.encoding import from_json

if TYPE_CHECKING:
    from rekindle.files.bundle_files import Member

_MOST = 1_000  # jobs whose attempts are listed as actions, and attempts of them

_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_WORKFLOW, _LANGUAGE, _RUN = rows_member("template"), "#rekindle", "#run"
_STATUS = {
    State.COMPLETED: "http://schema.org/CompletedActionStatus",
    State.FAILED: "http://schema.org/FailedActionStatus",
    State.CANCELED: "http://schema.org/FailedActionStatus",
}
_FORMATS = {".jsonl": "application/jsonl", ".tar": "application/x-tar", ".json": "application/json"}


class CrateBuilder:
    """Collects what the metadata says of a bundle while its rows are written."""

    def __init__(self) -> None:
        self._jobs: dict[int, str] = {}
        self._attempts: dict[int, Mapping[str, Any]] = {}
        self._files: dict[int, Mapping[str, Any]] = {}

    def see(self, table: str, columns: Sequence[str], row: Sequence[Any]) -> None:
        """Keep a row if it is among the first that the metadata lists."""
        if table == "job":
            if len(self._jobs) < _MOST:
                self._jobs[row[columns.index("id")]] = row[columns.index("name")]
        elif table == "attempt":
            if len(self._attempts) < _MOST and row[columns.index("job")] in self._jobs:
                self._attempts[row[columns.index("id")]] = dict(zip(columns, row, strict=True))
        elif row[columns.index("attempt")] in self._attempts and row[columns.index("part")] == "files":
            self._files[row[columns.index("attempt")]] = from_json(row[columns.index("document")])

    def text(self, name: str, newest: float, attempts: int, members: Sequence[Member]) -> bytes:
        """Return the metadata of a bundle with these members."""
        known = {one.name for one in members}
        actions = [self._action(number, known) for number in self._attempts]
        listed = f"the first {len(actions)} of {attempts} attempts" if len(actions) < attempts else "all attempts"
        root = {
            "@id": "./",
            "@type": "Dataset",
            "name": name,
            "description": f"The workflow {name} with its history, exported by rekindle. Actions: {listed}; "
            f"{rows_member('attempt')} has all of them.",
            "datePublished": _time(newest),
            "license": "The licence of the workflow and its data is not recorded.",
            "conformsTo": [{"@id": one} for one in _PROFILES],
            "hasPart": [{"@id": _id(one.name)} for one in members],
            "mainEntity": {"@id": _WORKFLOW},
            "mentions": [{"@id": _RUN}, *({"@id": one["@id"]} for one in actions)],
        }
        entities = [_descriptor(), root, *_profiles(), _language()]
        entities += [_file(one, name) for one in members]
        entities += [self._run(name, known), *actions]
        return json.dumps({"@context": _CONTEXT, "@graph": entities}, ensure_ascii=False, indent=1).encode()

    def _run(self, name: str, known: set[str]) -> dict[str, Any]:
        started = [one["started"] for one in self._attempts.values() if one["started"] is not None]
        ended = [one["ended"] for one in self._attempts.values() if one["ended"] is not None]
        files = [self._named(number, "inputs", known) for number in self._attempts]
        made = [self._named(number, "outputs", known) for number in self._attempts]
        return {
            "@id": _RUN,
            "@type": "CreateAction",
            "name": f"Run of {name}",
            "instrument": {"@id": _WORKFLOW},
            **({"startTime": _time(min(started))} if started else {}),
            **({"endTime": _time(max(ended))} if ended else {}),
            "object": _references(files),
            "result": _references(made) or [{"@id": rows_member("attempt")}],
        }

    def _action(self, number: int, known: set[str]) -> dict[str, Any]:
        one = self._attempts[number]
        state = State(one["state"])
        return {
            "@id": f"#attempt-{number}",
            "@type": "CreateAction",
            "name": f"Attempt {one['number']} of {self._jobs[one['job']]}",
            "instrument": {"@id": _WORKFLOW},
            "actionStatus": {"@id": _STATUS[state]},
            **({"startTime": _time(one["started"])} if one["started"] is not None else {}),
            **({"endTime": _time(one["ended"])} if one["ended"] is not None else {}),
            **({"error": one["error_message"]} if one["error_message"] else {}),
            "object": _references([self._named(number, "inputs", known)]),
            "result": _references([self._named(number, "outputs", known)]),
        }

    def _named(self, attempt: int, what: str, known: set[str]) -> list[str]:
        """Return the members that an attempt read or wrote."""
        paths = [one["path"] for one in self._files.get(attempt, {}).get(what, ())]
        return [name for path in paths if (name := PROJECT + path.removeprefix("./")) in known]


def _references(names: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    return [{"@id": _id(name)} for name in sorted({name for several in names for name in several})]


def _descriptor() -> dict[str, Any]:
    conforms = ["https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"]
    return {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": [{"@id": one} for one in conforms],
    }


def _profiles() -> list[dict[str, Any]]:
    return [
        {"@id": one, "@type": "CreativeWork", "name": name, "version": one.rpartition("/")[2]}
        for one, name in _PROFILES.items()
    ]


def _language() -> dict[str, Any]:
    return {"@id": _LANGUAGE, "@type": ["ComputerLanguage", "SoftwareApplication"], "name": "rekindle"}


def _file(member: Member, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@id": _id(member.name),
        "@type": "File",
        "name": member.name,
        "contentSize": str(member.size),
        "sha256": member.sha256,
    }
    if kind := next((kind for end, kind in _FORMATS.items() if member.name.endswith(end)), None):
        found["encodingFormat"] = kind
    if member.name == ATTEMPTS:
        found["description"] = "Logs of attempts, and other files of theirs; N.0.out is of attempt N."
    if member.name == _WORKFLOW:
        found |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": name,
            "programmingLanguage": {"@id": _LANGUAGE},
        }
    return found


def _id(name: str) -> str:
    """Return the id of a file: its path as a URI."""
    return quote(name)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
