"""FireWorks' document on rerunning a Firework or Workflow, from top to bottom, with its lines beside the commands."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from lpad_folder import AFTER, CHAIN, ODD, PREP, RELAX, Done, Lpad

STATES = ("prep", "relax", "after", "odd", "fine")


class Document:
    """The lines of the document in a shell with `lpad` and `rlaunch` installed."""

    def __init__(self, lpad: Lpad) -> None:
        self.lpad = lpad

    def __call__(self, line: str) -> Done:
        """Run a line, which has to succeed."""
        done = self.lpad.shell(line)
        assert done.code == 0, (line, done)
        return done

    def states(self) -> dict[str, str]:
        return self.lpad.states()

    def firework(self, number: int) -> Any:
        return json.loads(self(f"lpad get_fws -i {number} -d all").out)


@pytest.fixture
def document(lpad: Lpad, lpad_bin: Path, monkeypatch: pytest.MonkeyPatch) -> Document:
    """The chain, added and not run: relax waits for a file before its third task."""
    monkeypatch.setenv("PATH", str(lpad_bin), prepend=":")
    waits = "until test -e $LPAD_PLACE/go; do sleep 0.05; done; echo three"
    lpad.add(CHAIN.replace("echo three", waits))
    return Document(lpad)


def kill_while(document: Document, name: str) -> None:
    """Launch the fireworks until this one runs its third task, then kill rlaunch, its worker and the task."""
    rlaunch = subprocess.Popen(["rlaunch", "-s", "rapidfire"], cwd=document.lpad.folder, start_new_session=True)
    deadline = time.monotonic() + 60
    try:
        log = document.lpad.folder / "log"
        while document.states()[name] != "RUNNING" or not log.exists() or "two" not in log.read_text():
            assert time.monotonic() < deadline, "it never ran"
            time.sleep(0.05)
    finally:
        below = psutil.Process(rlaunch.pid).children(recursive=True)
        rlaunch.kill()
        for one in below:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended in this moment
                one.kill()
        rlaunch.wait()
        psutil.wait_procs(below, timeout=30)
    document.lpad.log()


def test_the_document_from_top_to_bottom(document: Document) -> None:
    lpad = document.lpad
    # "your computing resource may have crashed [...], leading to your first launch being FIZZLED"
    kill_while(document, "relax")
    assert f"{RELAX}" in document("lpad detect_lostruns --fizzle").out
    (lpad.folder / "go").touch()
    document("rlaunch -s rapidfire")
    states = dict(zip(STATES, ("COMPLETED", "FIZZLED", "WAITING", "FIZZLED", "COMPLETED"), strict=True))
    assert document.states() == states
    lost = document.firework(RELAX)["launches"]

    # "Rerunning a Firework": "lpad rerun_fws -i <FW_IDS>"
    before = document.firework(PREP)["launches"]
    document(f"lpad rerun_fws -i {PREP}")
    # "previous launches are archived [...] for all the children of the Firework (but not the parents)"
    assert document.firework(PREP)["archived_launches"] == before
    assert document.firework(RELAX)["archived_launches"] == lost
    # "The Firework's state is reset back to READY. The state of all children is reset back to WAITING"
    reset = {**states, "prep": "READY", "relax": "WAITING"}
    assert document.states() == reset
    # "The archived launches can be read by the user but do not affect the operation of the Firework."
    assert document(f"lpad get_launchdir {RELAX}").out == "None\n"
    document("rlaunch -s rapidfire")
    assert lpad.log() == ["one", "two", "three"]
    assert document.states() == states

    # "Re-running a Firework does not reset any dynamic actions taken by that Firework": prep has changed relax's spec
    assert document.firework(RELAX)["spec"]["total"] == 6
    assert "--undo-dynamic" in document(f"lpad rerun_fws -i {PREP}").err
    assert document.firework(RELAX)["spec"]["total"] == 6
    document("rlaunch -s rapidfire")
    lpad.log()

    # "(or a list of comma-separated ids)", in another rendering "space-separated"
    for ids in (f"{RELAX},{ODD}", f"{RELAX} {ODD}"):
        assert "Finished setting 2 FWs" in document(f"lpad rerun_fws -i {ids}").out
        document("rlaunch -s rapidfire")
    # "lpad rerun_fws [-i FW_IDS] [-n NAME] [-s STATE] [-q QUERY]"
    document(f"""lpad rerun_fws -i {RELAX} -n relax -s FIZZLED -q '{{"fw_id": {RELAX}}}'""")
    # "Note that all children of a re-run Firework will also be re-run."
    assert document.states() == {**states, "relax": "READY"}
    document("rlaunch -s rapidfire")
    # "Refer to the documentation (lpad rerun_fws -h) for more information."
    assert "--task-level" in document("lpad rerun_fws -h").out

    # "Example: Rerunning all FIZZLED FireWorks"
    assert "Finished setting 2 FWs" in document("lpad rerun_fws -s FIZZLED").out
    document("rlaunch -s rapidfire")
    assert document.states() == states


def test_the_task_level_reruns_of_the_document(document: Document) -> None:
    lpad = document.lpad
    (lpad.folder / "go").touch()
    document("rlaunch -s rapidfire")
    (first,) = document.firework(RELAX)["launches"]
    lpad.log()
    # "This data can later be used to restart at the task level": "lpad rerun_fws -s FIZZLED  --task-level"
    document("lpad rerun_fws -s FIZZLED  --task-level")
    document("rlaunch -s rapidfire")
    assert lpad.log() == ["three"]
    # "attempt to copy data from the previous run into the new run attempt [...] via --copy-data"
    document(f"lpad rerun_fws -i {RELAX} --task-level --copy-data -lid {first['launch_id']}")
    document("rlaunch -s rapidfire")
    (copied,) = document.firework(RELAX)["launches"]
    assert copied["launch_dir"] != first["launch_dir"]
    assert (Path(copied["launch_dir"]) / "trace").read_text() == "one\ntwo\n"
    # "attempt to rerun in the same directory (--previous-dir)"
    document(f"lpad rerun_fws -i {RELAX} --task-level --previous-dir")
    document("rlaunch -s rapidfire")
    (again,) = document.firework(RELAX)["launches"]
    assert again["launch_dir"] == copied["launch_dir"]
    # "future standard (i.e. non-task-level) reruns will retain the recovery"
    lpad.log()
    document(f"lpad rerun_fws -i {RELAX}")
    document("rlaunch -s rapidfire")
    assert lpad.log() == ["three"]
    # "using the --clear-recovery flag, e.g. lpad rerun_fws -i <FW_IDS> --clear-recovery"
    (lpad.folder / "mended").touch()
    document(f"lpad rerun_fws -i {RELAX} --clear-recovery")
    document("rlaunch -s rapidfire")
    assert lpad.log() == ["one", "two", "three"]
    assert (document.firework(RELAX)["state"], document.firework(AFTER)["state"]) == ("COMPLETED", "COMPLETED")


def test_the_error_message_of_the_document(document: Document) -> None:
    (document.lpad.folder / "go").touch()
    document("rlaunch -s rapidfire")
    query = """-q '{"action.stored_data._exception._stacktrace": {"$regex": "My custom error message"}}' -lm"""
    # "the same arguments will work for other commands, e.g. the lpad get_fws command, in case you want to preview"
    assert json.loads(document(f"lpad get_fws {query} -d ids").out) == ODD
    # "You can rerun jobs that have a certain text in the error stack trace"
    assert "Finished setting 1 FWs" in document(f"lpad rerun_fws {query}").out
    assert document.states()["odd"] == "READY"
