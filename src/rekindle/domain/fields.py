"""The fields that filters may name: one catalogue for who reads filters and who compiles them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "number", "text", "state", "bool", "time"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its kind, and whether it is the job's own or its live attempt's."""

    kind: Kind
    of: Literal["job", "attempt", "workflow"]
    about: str


FIELDS: dict[str, Field] = {
    "id": Field("int", "job", "the job's id"),
    "name": Field("text", "job", "the job's name, matrix values included"),
    "template": Field("text", "job", "the name in the spec, without matrix values"),
    "state": Field("state", "job", "waiting, ready, queued, running, completed, failed or canceled"),
    "held": Field("bool", "job", "whether it is held"),
    "held.reason": Field("text", "job", "why it is held"),
    "retired": Field("bool", "job", "whether a later revision left it out"),
    "priority": Field("int", "job", "higher is claimed first"),
    "attempts": Field("int", "job", "how many attempts there have been"),
    "last_active": Field("time", "job", "when an attempt of it, live or archived, was last queued, started or ended"),
    "workflow": Field("text", "workflow", "the workflow's name"),
    "workflow.id": Field("int", "workflow", "the workflow's id"),
    "project": Field("text", "workflow", "the workflow's project label"),
    "workflow.submitted": Field("time", "workflow", "when the workflow was submitted first"),
    "workflow.archived": Field("bool", "workflow", "whether the workflow is archived"),
    "cause": Field("text", "attempt", "why the live attempt did not succeed"),
    "exit_code": Field("int", "attempt", "the return code of its last command"),
    "signal": Field("int", "attempt", "the signal that killed it"),
    "host": Field("text", "attempt", "where it ran"),
    "runner": Field("text", "attempt", "what its runner is called; without a name, where that ran"),
    "verdict": Field("text", "attempt", "passed, warning or blocker"),
    "attempt.id": Field("int", "attempt", "the live attempt's id"),
    "attempt.state": Field("state", "attempt", "how the live attempt stands, as a job's state"),
    "workdir": Field("text", "attempt", "the folder that it worked in"),
    "queued": Field("time", "attempt", "when it was handed to an executor (ISO 8601, UTC)"),
    "started": Field("time", "attempt", "when it started (ISO 8601, UTC)"),
    "ended": Field("time", "attempt", "when it ended (ISO 8601, UTC)"),
    "seconds": Field("number", "attempt", "how long it ran"),
    "cpu_seconds": Field("number", "attempt", "processor time"),
    "max_rss_bytes": Field("int", "attempt", "peak memory"),
    "signature": Field("text", "attempt", "digest of its failure"),
    "error.type": Field("text", "attempt", "exception type"),
    "error.message": Field("text", "attempt", "error message"),
    "error.traceback": Field("text", "attempt", "traceback"),
    "error.stderr": Field("text", "attempt", "the tail of stderr"),
}

PREFIXES: dict[str, str] = {
    "matrix.": "a value of the job's matrix, for instance matrix.alpha, or what lies within one: matrix.model.depth",
    "params.": "a parameter of the job's, with what actions have changed, for instance params.alpha",
    "result.": "what lies within the live attempt's result, for instance result.loss",
}
"""Open families of fields: the name behind the dot is the user's. Their kind follows from the stored value."""
