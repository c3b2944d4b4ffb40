"""Users' own Firetasks run unchanged: those of an installed package that depends on fireworks, and the tutorials'."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rekindle.dialects.fireworks.defining import define
from rekindle.dialects.fireworks.reading import read_document
from rekindle.domain.causes import Cause
from rekindle.domain.models import Attempt
from rekindle.domain.rerunning.rerun import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.looking import look
from rekindle.engine.rerunning import rerun
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.run import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submitting.submit import submit

pytest.importorskip("fireworks")

FOUNDRY = '''
"""Firetasks of a foundry."""

import datetime
from pathlib import Path

from fireworks import FiretaskBase, Firework, FWAction, Workflow, explicit_serialize


class Melt(FiretaskBase):
    _fw_name = "Melt"
    required_params = ["metal"]
    optional_params = ["degrees"]

    def run_task(self, fw_spec):
        with open("melted.txt", "a") as file:
            print(self["metal"], file=file)
        return FWAction(stored_data={"at": self.get("degrees")}, update_spec={"melt": {"metal": self["metal"]}})


@explicit_serialize
class Cast(FiretaskBase):
    required_params = ["moulds"]

    def run_task(self, fw_spec):
        print("casting", fw_spec["melt"]["metal"])
        mould = Path(self["moulds"], fw_spec["mould"])
        if not mould.exists():
            raise LookupError(f"no mould for {fw_spec['melt']['metal']}: {mould.name}")
        polish = Firework(Polish(cast=mould.read_text()), name="polish")
        return FWAction(
            stored_data={"cast": mould.read_text(), "melted": Path("melted.txt").read_text()},
            mod_spec=[{"_push": {"casts": mould.name}}],
            additions=[Workflow([polish])],
        )


class Polish(FiretaskBase):
    def run_task(self, fw_spec):
        started = self.get("started")
        return FWAction(stored_data={"polished": self["cast"], "date": isinstance(started, datetime.datetime)})


@explicit_serialize
class Ask(FiretaskBase):
    def run_task(self, fw_spec):
        return FWAction(stored_data={"fw_id": self.fw_id, "fworker": self.fworker.name, "env": fw_spec["_fw_env"]})


@explicit_serialize
class Leave(FiretaskBase):
    def run_task(self, fw_spec):
        raise SystemExit(0)
'''


class Foundry:
    """A project whose fireworks are made of these tasks."""

    def __init__(self, folder: Path, session: Session) -> None:
        self.folder, self._session = folder, session

    def add(self, *tasks: dict[str, Any], **spec: Any) -> int:
        """Submit a firework; its id."""
        flow = read_document({"name": "cast", "spec": {**spec, "_tasks": list(tasks)}})
        submitted = submit(self._session, define(flow, str(self.folder)), new=True)
        return look.select(self._session, Selection(workflow=str(submitted.workflow)))[0]

    def work(self) -> None:
        work(self._session, WorkOptions(slots=1))

    def resume(self, job: int) -> None:
        """From the task that failed."""
        rerun.plan_and_apply(self._session, [([job], How("failed-step"))], {})
        self.work()

    def state(self, job: int) -> State:
        return look.jobs(self._session, [job])[0].job.state

    def attempts(self, job: int) -> list[Attempt]:
        return list(look.attempts(self._session, [job]))

    def did(self, job: int) -> list[Any]:
        """What the tasks of the newest attempt returned."""
        return [json.loads(step.result or "{}") for step in self.attempts(job)[-1].steps]

    def added_by(self, job: int) -> list[int]:
        """Jobs of its workflow beside it."""
        workflow = look.jobs(self._session, [job])[0].job.workflow
        return [one for one in look.select(self._session, Selection(workflow=str(workflow))) if one != job]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a package with Firetasks."""
    folder = tmp_path_factory.mktemp("wheels")
    wheel = folder / "foundry-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: foundry\nVersion: 1.0\nRequires-Dist: FireWorks\n"
    files = {
        "foundry/__init__.py": "",
        "foundry/firetasks/__init__.py": "",
        "foundry/firetasks/casting.py": FOUNDRY,
        "foundry/firetasks/broken.py": "import a_package_that_is_not_there\n",
        "foundry-1.0.dist-info/METADATA": about,
        "foundry-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        record = "foundry-1.0.dist-info/RECORD"
        archive.writestr(record, "".join(f"{name},,\n" for name in (*files, record)))
    target = folder / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", target, wheel]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return target


@pytest.fixture
def foundry(tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Foundry]:
    """A project; its FW_config.yaml names the package."""
    known = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(known))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "FW_config.yaml").write_text("ADD_USER_PACKAGES: [foundry]\nFW_NAME_UPDATES: {Old Melt: Melt}\n")
    (tmp_path / "moulds").mkdir()
    with open_session(str(tmp_path / ".rekindle"), create=True) as session:
        yield Foundry(tmp_path, session)


def test_a_firetask_of_an_installed_package_runs_fails_and_resumes(foundry: Foundry) -> None:
    moulds = str(foundry.folder / "moulds")
    melt = {"_fw_name": "Melt", "metal": "tin", "degrees": 232}
    cast = {"_fw_name": "{{foundry.firetasks.casting.Cast}}", "moulds": moulds}
    job = foundry.add(melt, cast, mould="bell")
    foundry.work()
    failed = foundry.attempts(job)[-1]
    assert foundry.state(job) is State.FAILED
    assert failed.cause is Cause.EXCEPTION
    assert failed.failure.type == "LookupError"
    assert failed.failure.message == "no mould for tin: bell"
    assert "foundry/firetasks/casting.py" in failed.failure.traceback

    (foundry.folder / "moulds" / "bell").write_text("a bell")
    foundry.resume(job)
    assert foundry.state(job) is State.COMPLETED
    melted, done = foundry.did(job)
    assert melted == {"stored_data": {"at": 232}, "update_spec": {"melt": {"metal": "tin"}}}
    assert done["stored_data"] == {"cast": "a bell", "melted": "tin\n"}, "the first task has run once"
    assert done["mod_spec"] == [{"_push": {"casts": "bell"}}]
    assert len(foundry.attempts(job)) == 2

    (polish,) = foundry.added_by(job)
    assert foundry.state(polish) is State.COMPLETED
    assert foundry.did(polish) == [{"stored_data": {"polished": "a bell", "date": False}}]


def test_names_and_what_a_firetask_asks_of_its_launch(foundry: Foundry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_FWORKER", '{"name": "oven", "env": {"scratch": "/s"}}')
    melts = [
        foundry.add({"_fw_name": name, "metal": "zinc"})
        for name in ("foundry.firetasks.casting.Melt", "foundry.firetasks.casting:Melt", "Old Melt")
    ]
    dated = {"_fw_name": "foundry::Polish", "cast": "x", "started": "2024-01-02T03:04:05"}
    polish = foundry.add(dated)
    ask = foundry.add(
        {"_fw_name": "{{foundry.firetasks.casting.Ask}}"}, _add_launchpad_and_fw_id=True, _add_fworker=True
    )
    tutorial = foundry.add({"_fw_name": "Addition Task"}, input_array=[1, 2])
    hello = foundry.add({"_fw_name": "{{fireworks.examples.custom_firetasks.hello_world.hello_world_task.HelloTask}}"})
    leave = foundry.add({"_fw_name": "{{foundry.firetasks.casting.Leave}}"}, {"_fw_name": "Melt", "metal": "lead"})
    unknown = foundry.add({"_fw_name": "Melting"})
    lacking = foundry.add({"_fw_name": "Melt"})
    foundry.work()

    assert [foundry.did(job)[0]["update_spec"] for job in melts] == [{"melt": {"metal": "zinc"}}] * 3
    assert foundry.did(polish) == [{"stored_data": {"polished": "x", "date": True}}], "dates are dates"
    assert foundry.did(ask) == [{"stored_data": {"fw_id": ask, "fworker": "oven", "env": {"scratch": "/s"}}}]
    assert foundry.did(tutorial)[0]["stored_data"] == {"sum": 3}
    assert foundry.state(hello) is State.COMPLETED
    told = {job: foundry.attempts(job)[-1].failure.message for job in (leave, unknown, lacking)}
    assert told[leave] == "foundry.firetasks.casting.Leave called sys.exit(0)"
    assert told[unknown].startswith("there is no Firetask 'Melting'; looked in foundry, fireworks.user_objects")
    assert str(foundry.folder / "FW_config.yaml") in told[unknown]
    assert "Required parameter metal not specified" in told[lacking]
