"""The calls of a client that make attempts again aside."""

from __future__ import annotations

import os

import msgspec

from rekindle.api import arguments
from rekindle.api.hints import python_hints
from rekindle.api.reader import Reader
from rekindle.domain.errors import Refused
from rekindle.presentation.comparison_values import Reproduction, VerifiedJob
from rekindle.presentation.row_lists import RowList


@python_hints
class Reproducer(Reader):
    """An open store whose attempts can be made again aside."""

    def reproduce(
        self,
        attempt: int,
        *,
        into: str | os.PathLike[str] | None = None,
        subtask: int | None = None,
        accept_drift: bool = False,
    ) -> Reproduction:
        """Run one attempt again in a folder of its own, and compare how it ends. The store and the project stay as
        they are. Ctrl-C cancels it.

        Args:
            attempt: Its id.
            into: An empty folder, made if it is missing. None: a new temporary one.
            subtask: Run only this item of its fan-out, behind the steps before that.
            accept_drift: Run although something differs today from what it ran with.

        Raises:
            NotFound: There is no such attempt or subtask.
            Refused: It has not ended, was pruned or must not run twice; or something differs today.
        """
        from rekindle.engine.reproduction import reproduce as engine
        from rekindle.engine.reproduction import stepping
        from rekindle.presentation import reproductions

        number = arguments.count("attempt", attempt) or 0
        prepared = engine.prepare(self._session, number)
        engine.check_may_run(prepared)
        position = stepping.choose_step(prepared.one, None, subtask)
        if subtask is not None:
            stepping.find_subtask(prepared.one, position, subtask)
        if prepared.drift.reasons and not accept_drift:
            raise Refused(
                f"attempt {number} ran with something else: {reproductions.drift_text(prepared)}",
                hint="accept_drift=True runs it with what is there today",
            )
        scratch = engine.lay_out_folder(prepared, None if into is None else os.fspath(into))
        found = engine.reproduce(prepared, scratch, step=position, subtask=subtask)
        return Reproduction.of(msgspec.to_builtins(reproductions.reproduction(found)))

    def verify(self, jobs: arguments.Jobs, *, slots: int | None = None) -> RowList[VerifiedJob]:
        """Run completed jobs again in folders of their own, and compare their outputs and results. Jobs that have not
        completed are left out. The workflow stays as it is; `flaky` has what was found last. Ctrl-C cancels what runs.

        Args:
            jobs: A selection, ids, or one id.
            slots: At most this many jobs run at once. None: one for each processor.
        """
        from rekindle.engine.reproduction.verify import verify
        from rekindle.presentation import reproductions

        ids = arguments.job_ids(self._session, jobs)
        found = verify(self._session, ids, arguments.count("slots", slots))
        return RowList.of(VerifiedJob, map(msgspec.to_builtins, reproductions.verification(found)["jobs"]))
