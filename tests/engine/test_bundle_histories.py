"""Property test: a bundle of any history, imported into a store, exports the same bytes, and can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from any_history import EDGES, OPERATIONS, History, history
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rekindle.domain.rerun.request import How
from rekindle.engine.bundles.exporting import ExportOptions, export_workflow
from rekindle.engine.bundles.importing import Bundle, ImportReport, import_bundle
from rekindle.engine.queries import job_queries
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import archive_workflow
from rekindle.testing import FakeClock

EVERYTHING = ExportOptions(inputs=True, outputs=True)


def bring(session: Session, path: Path, **more: Any) -> ImportReport:
    with Bundle(path) as bundle:
        return import_bundle(session, bundle, **more)


@settings(phases=(Phase.generate,), max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edges=EDGES, operations=st.lists(OPERATIONS, min_size=1, max_size=7), used=st.booleans())
def test_an_imported_history_exports_the_same_bytes(
    edges: set[tuple[int, int]], operations: list[tuple[Any, ...]], used: bool
) -> None:
    with history(edges) as one:
        for name, *arguments in [("run", frozenset({0, 1})), *operations]:
            getattr(one, name)(*arguments)
        folder = Path(one.session.store.folder).parent
        first, again = folder / "first", folder / "again"
        export_workflow(one.session, "any", first, EVERYTHING)
        with open_session(str(folder / "other" / ".rekindle")) as opened:
            session = Session(opened.store, FakeClock())
            if used:  # ids of the bundle and of the store differ
                bring(session, first, name="before")
            report = bring(session, first, name="any" if used else None)
            assert report.workflow is not None
            export_workflow(session, "any", again, EVERYTHING)
            assert again.read_bytes() == first.read_bytes()
            with session.store.read() as archive:
                assert archive.check() == []
                assert not archive.queue.ready(None, 10)
            assert len(job_queries.attempts(session, None)) == (1 + used) * len(job_queries.attempts(one.session, None))
            archive_workflow(session, report.workflow, back=True)
            imported = History(session, one.patch, report.workflow)
            imported.check()
            imported.rerun(frozenset({0}), How(start="failed-step"))
            imported.run(frozenset())
            imported.check()
