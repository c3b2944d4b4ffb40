"""Which completed jobs are not what the latest revision says: another template, or other parameters that they use."""

from __future__ import annotations

from rekindle.domain.selection import Compare, Op
from rekindle.domain.states import State
from rekindle.engine.session import Session
from rekindle.store.port import Archive


def outdated(session: Session, workflow: int) -> list[tuple[int, str]]:
    """(id, name) of the completed jobs of a workflow whose live attempt ran another template than theirs is now,
    or the same under parameters of which one that the template names has changed since."""
    with session.store.read() as archive:
        found = archive.workflows.find(workflow)
        if found is None or found.revision == 1:
            return []
        ids = archive.jobs.select(Compare("state", Op.EQ, State.COMPLETED), workflow)
        live = archive.jobs.live(ids)
        moved = _Moved(archive, workflow, found.revision)
        return [
            (job.id, job.name)
            for job in archive.jobs.get(ids)
            if (attempt := live.get(job.id)) is not None
            and (attempt.template != job.template or moved.uses(job.template, attempt.revision))
        ]


class _Moved:
    """Whether parameters that a template names differ between a revision and the latest."""

    def __init__(self, archive: Archive, workflow: int, latest: int) -> None:
        self._archive, self._workflow, self._latest = archive, workflow, latest
        self._texts = {number: repr(template) for number, template in archive.workflows.templates(workflow)}
        self._params = archive.workflows.params(workflow, latest)
        self._changed: dict[int, list[str]] = {latest: []}
        self._known: dict[tuple[int, int], bool] = {}

    def uses(self, template: int, revision: int) -> bool:
        key = (template, revision)
        if key not in self._known:
            text = self._texts.get(template, "")
            self._known[key] = any(f"${{params.{name}}}" in text for name in self._since(revision))
        return self._known[key]

    def _since(self, revision: int) -> list[str]:
        if revision not in self._changed:
            then = self._archive.workflows.params(self._workflow, revision)
            names = {*then, *self._params}
            self._changed[revision] = sorted(one for one in names if then.get(one) != self._params.get(one))
        return self._changed[revision]
