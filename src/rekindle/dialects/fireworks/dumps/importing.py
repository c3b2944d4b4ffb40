"""A dump of a LaunchPad's collections is brought in: what is taken, what is not, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from rekindle.dialects.fireworks.dumps.documents import Document, Dump, listed
from rekindle.dialects.fireworks.dumps.workflows import IMPORTED, Taken, Untaken, identity, take
from rekindle.dialects.fireworks.words import WORKFLOW
from rekindle.domain.errors import Refused
from rekindle.engine.looking import look
from rekindle.engine.session import Session
from rekindle.engine.submitting.histories import BroughtIn, bring_in


@dataclass(frozen=True, slots=True)
class Imported:
    """A workflow that was taken."""

    taken: Taken
    brought: BroughtIn

    @property
    def launches(self) -> tuple[int, int]:
        """How many there are, and how many of them are archived."""
        every = [one for job in self.taken.past.jobs for one in job.attempts]
        return len(every), sum(one.archived for one in every)


@dataclass(slots=True)
class Report:
    """What came of importing a dump."""

    imported: list[Imported] = field(default_factory=list)
    untaken: list[tuple[str, str]] = field(default_factory=list)  # (what, why)
    notes: list[str] = field(default_factory=list)

    @property
    def ids_kept(self) -> bool:
        """Fireworks and launches are called what they were called."""
        return all(one.brought.jobs == one.taken.fireworks for one in self.imported)


def import_dump(session: Session, dump: Dump, source: str, directory: str) -> Report:
    """Bring in what the dump holds and the store does not, in one transaction. `source` is where it comes from, for
    the record, `directory` where users' functions are looked for. Refused, and nothing is done, where nothing can be
    taken."""
    report = Report()
    known = _imported(session)
    following = count(max((*dump.launches, *_shared_beyond(dump)), default=0) + 1)
    takens = []
    for workflow in sorted(dump.workflows, key=lambda one: min(listed(one.get("nodes")), default=0)):
        before = known.get(identity(workflow))
        if before is not None:
            report.untaken.append((_told(workflow), f"it has been imported already, as workflow {before}"))
            continue
        try:
            takens.append(take(workflow, dump, directory, lambda: next(following)))
        except Untaken as why:
            report.untaken.append((_told(workflow), str(why)))
    if not takens:
        raise Refused(_nothing(report), hint="`lpad get_wflows` shows what is there")
    brought = bring_in(session, [one.past for one in takens], source)
    report.imported = [Imported(*pair) for pair in zip(takens, brought, strict=True)]
    report.notes = [note for one in takens for note in one.notes] + _left_out(dump, takens)
    return report


def _imported(session: Session) -> dict[str, int]:
    """What has been imported before, by what tells it from others, as which workflow."""
    found = {}
    for workflow in look.workflows(session, archived=True):
        about = look.params(session, replace(workflow, revision=1)).get(WORKFLOW)
        if isinstance(about, dict) and IMPORTED in about:
            found[about[IMPORTED]] = workflow.id
    return found


def _shared_beyond(dump: Dump) -> list[int]:
    """Launches that fireworks name and the dump lacks: their ids are not given to others."""
    return [
        one
        for firework in dump.fireworks.values()
        for key in ("launches", "archived_launches")
        for one in listed(firework.get(key))
    ]


def _told(workflow: Document) -> str:
    nodes = sorted(listed(workflow.get("nodes")))
    shown = f"{nodes[0]}–{nodes[-1]}" if len(nodes) > 1 else "".join(str(one) for one in nodes)  # noqa: RUF001
    return f"workflow {workflow.get('name')!r} (firework{'s' * (len(nodes) > 1)} {shown})"


def _nothing(report: Report) -> str:
    shown = "; ".join(f"{what}: {why}" for what, why in report.untaken[:3])
    more = len(report.untaken) - 3
    return f"nothing is imported: {shown}" + (f"; and {more} more" if more > 0 else "")


def _left_out(dump: Dump, takens: Sequence[Taken]) -> list[str]:
    """What of the dump is nowhere, for it has no place here."""
    found = []
    owned = {one for workflow in dump.workflows for one in listed(workflow.get("nodes"))}
    stray = sorted(set(dump.fireworks) - owned)
    if stray:
        found.append(f"fireworks of no workflow are left out: {', '.join(str(one) for one in stray[:10])}")
    tracked = sum(bool(one.get("trackers")) for one in dump.launches.values())
    if tracked:
        found.append(f"the contents of trackers are left out, of {tracked} launches")
    ours = {one for each in takens for one in each.fireworks}
    pushed = [one for one in dump.launches.values() if one.get("fw_id") in ours and _changes_others(one)]
    if pushed:
        told = ", ".join(str(one) for one in sorted({one["fw_id"] for one in pushed})[:10])
        found.append(
            f"what fireworks {told} changed in the specs of others is part of these specs by now, and the fireworks "
            "that they added are as any: a rerun of one that had done so does it again"
        )
    if dump.others:
        found.append(f"{dump.others} documents of other collections are left out")
    return found


def _changes_others(launch: Document) -> bool:
    action = launch.get("action")
    keys = ("update_spec", "mod_spec", "additions", "detours", "append_wfs")
    return isinstance(action, dict) and any(action.get(key) for key in keys)
