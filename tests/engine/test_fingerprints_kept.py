"""The recorded dependencies of attempts: those that workers report, and those found by claims."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest
from engine_project import settle

from rekindle.domain.changes.fingerprints import FileContent, FileFingerprints
from rekindle.domain.rerun.request import FROM_FAILED_STEP, How
from rekindle.domain.states import Cause, State
from rekindle.engine.rerun import rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import Session
from rekindle.files.digests import digest_of, digest_of_mapping
from rekindle.files.sources import CodeDigester, search_path
from rekindle.testing import FakeClock, ScriptedExecutor, ScriptedOutcome

LONG_AGO = 1_700_000_000_123_456_789


def put(path: Path, text: str) -> Path:
    """Write a file of long ago, whose times have settled on return: the digest of others is not kept."""
    path.write_text(text)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    settle(path)
    return path


def kept(project, part: str) -> dict:
    with project.session.store.read() as archive:
        everything = [one.id for one in archive.attempts.listing(None, None)]
        return getattr(archive.fingerprints, part)(everything)


def cached(project, *paths: Path) -> dict:
    with project.session.store.read() as archive:
        return archive.fingerprints.known_files([str(path) for path in paths])


def scripted(project, outcome: ScriptedOutcome) -> None:
    """The script of every attempt."""
    clock = FakeClock()
    session = Session(project.session.store, clock)
    executor = ScriptedExecutor(session.store.folder, lambda _: outcome, clock)
    work(session, WorkOptions(slots=1, executor="scripted"), executor=executor)


FLOW = """
    name: flow
    jobs:
      make: {run: cp raw made, inputs: {raw: raw}, outputs: {made: made}}
      other: {run: 'true'}
      use: {call: 'm:f', inputs: {made: made}, needs: [other]}
      last: {run: 'false', needs: [use]}
"""


def test_a_run_keeps_files_modules_and_what_was_needed(project):
    raw = put(project.folder / "raw", "x")
    (project.folder / "m.py").write_text("import n\ndef f(): return 1\n")
    (project.folder / "n.py").write_text("")
    project.run(FLOW)
    make, other, use, last = (project.attempts(name)[0] for name in ("make", "other", "use", "last"))
    digest = digest_of(str(raw))
    made = FileContent("made", str(project.folder / "made"), digest)
    assert kept(project, "files") == {
        make.id: FileFingerprints((FileContent("raw", str(raw), digest),), (made,)),
        use.id: FileFingerprints((made,)),
    }
    needs = {project.job(name): one.id for name, one in (("make", make), ("other", other), ("use", use))}
    use_job = needs.pop(project.job("use"))
    assert kept(project, "needed") == {use.id: needs, last.id: {project.job("use"): use_job}}
    with project.session.store.read() as archive:
        modules = archive.fingerprints.sources([use.code])[use.code]
    files = {name: digest for name, digest in modules.items() if name in ("m", "n")}
    assert files == {name: digest_of(str(project.folder / f"{name}.py")) for name in ("m", "n")}
    assert digest_of_mapping(modules) == use.code
    assert cached(project, raw)[str(raw)].digest == digest


def test_a_rerun_records_its_own_and_leaves_the_archived(project):
    raw = put(project.folder / "raw", "x")
    project.run("{name: a, jobs: {make: {run: 'true', inputs: {raw: raw}}}}")
    before = kept(project, "files")
    raw.write_text("y")
    project.rerun("make")
    project.work()
    after = kept(project, "files")
    first, second = (one.id for one in project.attempts("make"))
    assert after[first] == before[first]
    assert after[second].inputs[0].digest == digest_of(str(raw)) != before[first].inputs[0].digest


def test_reports_about_an_ended_attempt_change_nothing(project):
    from rekindle.engine.running.ingest import JournalBatch, ingest
    from rekindle.journal.records import Ended, RecordedCode, Started

    put(project.folder / "raw", "x")
    project.submit("{name: a, jobs: {make: {run: 'true', inputs: {raw: raw}}}}")
    scripted(project, ScriptedOutcome(cause=Cause.LOST, fails_at="run"))
    [attempt] = project.attempts("make")
    prints = FileFingerprints((FileContent("raw", "/raw", "0" * 64),))
    ended = Ended(attempt.id, State.COMPLETED, 2.0, token=attempt.token, prints=prints, code="c0de")
    records = [RecordedCode("c0de", {"m": "1"}), Started(attempt.id, attempt.token, 1.0), ended]
    page = JournalBatch(attempt.worker, records, 10**6)
    with project.session.store.write() as archive:
        ingest(archive, [page], 3.0, os.path.exists)
    assert kept(project, "files") == {}
    with project.session.store.read() as archive:
        assert archive.fingerprints.sources(["c0de"]) == {"c0de": {"m": "1"}}


def test_parameters_that_actions_changed_are_kept_as_the_claim_saw_them(project):
    action = json.dumps({"set_children": {"x": 5, "_unset": {"y": ""}}})
    (project.folder / "action.json").write_text(action)
    project.run(
        """
        name: acts
        params: {x: 1, y: 2, z: 3}
        jobs:
          a: {run: cp action.json $REKINDLE_ACTION}
          b: {run: 'true', needs: [a]}
          c: {run: 'true', needs: [b]}
        """
    )
    [b] = project.attempts("b")
    assert kept(project, "patched") == {b.id: {"x": 5, "y": None}}


def test_a_large_input_that_is_known_is_not_read_again(project):
    large = put(project.folder / "make-large", "x" * 2**20)
    small = put(project.folder / "small", "x")
    project.run("{name: a, jobs: {make: {run: 'true', inputs: {large: '${job.name}-large', small: small}}}}")
    with project.session.store.write() as archive:
        told = [
            msgspec.structs.replace(one, digest="told of", taken_ns=time.time_ns())
            for one in archive.fingerprints.known_files([str(large), str(small)]).values()
        ]
        archive.fingerprints.remember_files(told)
    project.rerun("make")
    project.work()
    prints = kept(project, "files")[project.attempts("make")[-1].id]
    assert {one.name: one.digest for one in prints.inputs} == {"large": "told of", "small": digest_of(str(small))}


def test_an_input_that_was_another_for_the_steps_that_are_kept_is_unstable(project):
    raw, same = put(project.folder / "raw", "x"), put(project.folder / "same", "y")
    project.run(
        """
        name: a
        jobs:
          j:
            inputs: {raw: raw, same: same}
            steps: [{name: one, run: 'true'}, {name: two, run: test -e go}, {name: three, run: test -e on}]
        """
    )
    resume = How(start=FROM_FAILED_STEP)
    assert kept(project, "files")[1].unstable == ()
    raw.write_text("z")
    (project.folder / "go").touch()
    project.rerun("j", how=resume)
    project.work()
    put(project.folder / "on", "")
    project.rerun("j", how=resume)
    assert project.work().completed == 1
    found = kept(project, "files")
    assert [found[one.id].unstable for one in project.attempts("j")] == [(), ("raw",), ("raw",)]
    assert same.exists()
    project.rerun("j")
    project.work()
    assert kept(project, "files")[project.attempts("j")[-1].id].unstable == ()


def test_files_identified_by_mtime_are_recorded_so(project):
    put(project.folder / "raw", "xyz")
    project.run(
        """
        name: a
        defaults: {files: {by: mtime, over: 3B}}
        jobs: {j: {run: 'printf xy > out', inputs: {raw: raw}, outputs: {out: out}}}
        """
    )
    [prints] = kept(project, "files").values()
    assert [(one.by, one.digest) for one in prints.inputs] == [("mtime", f"mtime:3:{LONG_AGO}")]
    assert [one.by for one in prints.outputs] == ["content"]


@pytest.mark.parametrize("own", [None, FileFingerprints((FileContent("raw", "/raw", "as scripted"),))])
def test_scripted_attempts_depend_on_what_is_there_or_what_is_scripted(project, own):
    raw = put(project.folder / "raw", "x")
    (project.folder / "m.py").write_text("")
    project.submit("{name: a, jobs: {j: {call: 'm:f', inputs: {raw: raw}, outputs: {raw: raw}}}}")
    scripted(project, ScriptedOutcome(prints=own, code="scripted" if own else None))
    [attempt] = project.attempts("j")
    raw_content = (FileContent("raw", str(raw), digest_of(str(raw))),)
    assert kept(project, "files") == {attempt.id: own or FileFingerprints(raw_content, raw_content)}
    modules = CodeDigester(search_path()).code(["m:f"], str(project.folder))
    assert attempt.code == ("scripted" if own else digest_of_mapping(modules))


def test_undo_keeps_fingerprints_and_deletion_removes_them(project):
    put(project.folder / "raw", "x")
    project.run("{name: a, jobs: {j: {run: 'true', inputs: {raw: raw}}}}")
    before = kept(project, "files")
    applied = project.rerun("j")
    rerun.undo(project.session, applied.rerun)
    assert kept(project, "files") == before
    with project.session.store.write() as archive:
        archive.workflows.delete(1)
        assert archive.fingerprints.files(before) == {}
