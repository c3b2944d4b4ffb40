"""Identities: one number for everything in the definition of a job that matters to its result.

Attempts with the identity of a job are those that may be reused for it. Files, code and the results of other jobs do
not count here: they are compared when a job with such an attempt is ready."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rekindle.domain.changes.staleness import FilledTemplate, definition_text, values_used
from rekindle.domain.overrides import decode_overrides

if TYPE_CHECKING:
    from rekindle.domain.definition import JobTemplate


def may_be_reused(template: JobTemplate) -> bool:
    """Return whether earlier attempts may complete jobs of a template: of the same job, or of others that share its
    identity.

    Jobs that always run, that act on something outside (`pure: false`, `manual`, `leave_running`), with a fan-out, with
    a folder of their own, or with nothing to compare, have no identity."""
    if template.pure is False or template.runs_whenever or template.rerun_forbidden or template.leave_running:
        return False
    if template.workdir == "attempt" or any(step.each is not None for step in template.steps):
        return False
    return bool(template.inputs or template.outputs or template.pure)


_OWN_VALUES = (b"${job.", b"REKINDLE_JOB", b"REKINDLE_WORKFLOW", b"REKINDLE_ATTEMPT")
"""What stands for a value that each job has for itself, in texts and in programs within texts."""


def _is_shared(text: bytes) -> bool:
    """Return whether a filled definition uses no value that each job has for itself."""
    return not any(name in text for name in _OWN_VALUES)


class TemplateIdentity:
    """The identities of the jobs of a template with one set of parameters. Jobs share one if they leave outputs or are
    said to be pure, and use no value that each job has for itself."""

    def __init__(self, template: JobTemplate, params: Mapping[str, Any]) -> None:
        self._template, self._params = template, params
        self._usable, self._shared = may_be_reused(template), bool(template.outputs or template.pure)
        self._prefix = b""
        if self._usable:
            used = values_used(template)
            self._matrix = None if used.everything else sorted(used.matrix)
            self._prefix = definition_text(FilledTemplate(template, params, {})).encode()

    def of(self, job: int, binding: str, overrides: str | None) -> int | None:
        """Return the identity, 63 bits, of a job with these matrix values and overrides (JSON texts); None: no earlier
        attempt may be reused. Jobs that share nothing have identities of their own."""
        if not self._usable:
            return None
        text, matrix = self._prefix, b""
        if overrides is None:
            matrix = self._matrix_text(binding)
        else:
            filled = FilledTemplate(self._template, self._params, json.loads(binding))
            text = definition_text(filled, decode_overrides(overrides)).encode()
        shared = self._shared and _is_shared(text) and _is_shared(matrix)
        return _number(text, matrix, b"" if shared else b"%d" % job)

    def _matrix_text(self, binding: str) -> bytes:
        """Return the matrix values that the template uses."""
        if binding == "{}" or self._matrix == []:
            return b""
        values = json.loads(binding)
        if self._matrix is not None:
            values = {path[0]: values[path[0]] for path in self._matrix if path[0] in values}
        return json.dumps(values, sort_keys=True).encode()


def _number(*parts: bytes) -> int:
    from hashlib import blake2b  # loads OpenSSL

    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return int.from_bytes(digest.digest(), "big") >> 1
